"""What can go wrong between a node and a cluster."""

from __future__ import annotations


class ClusterError(Exception):
    """The cluster can't be used now; the message says why and, where somebody can help, how."""

"""What goes wrong when files are assembled."""

from __future__ import annotations


class AssembleError(Exception):
    """The files given can't be read as one DICOM series; names no path and no patient.

    A series that can be read and yet not be measured is its subclass
    :class:`~dicomnode.assemble.refusal.SeriesRefusedError`.
    """

"""From a card's network section to a module; a new network is one file beside this one."""

from __future__ import annotations

import importlib
import re

from torch import nn

from dicomnode.segment.card import ModelError, NetworkSpec

PACKAGE = "dicomnode.segment.networks"


def build_network(spec: NetworkSpec) -> nn.Module:
    """The network a card names, freshly initialised.

    Raises
    ------
    ModelError
        If there is no such network or it doesn't take the parameters.
    """
    try:
        return network_class(spec)(**spec.parameters)
    except TypeError as error:
        raise ModelError(f"network {spec.class_name} doesn't take {spec.parameters}: {error}") from error


def network_class(spec: NetworkSpec) -> type[nn.Module]:
    """The class a card names.

    Raises
    ------
    ModelError
        If there is no such network.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", spec.module):
        raise ModelError(f"network module {spec.module!r} is no module name inside {PACKAGE}")
    try:
        cls = getattr(importlib.import_module(f"{PACKAGE}.{spec.module}"), spec.class_name)
    except (ModuleNotFoundError, AttributeError) as error:
        raise ModelError(f"no network {spec.module}.{spec.class_name} in {PACKAGE}: {error}") from error
    if not (isinstance(cls, type) and issubclass(cls, nn.Module)):
        raise ModelError(f"{spec.module}.{spec.class_name} is no network")
    return cls

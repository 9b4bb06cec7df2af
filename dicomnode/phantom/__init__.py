"""A thorax with known truth, built by code and saved as valid CT DICOM; for the demo, tests and training."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dicomnode.phantom.build import Phantom, build_phantom
    from dicomnode.phantom.options import PatientPosition, PixelFormat, SeriesOptions, SliceOrder
    from dicomnode.phantom.series import write_series
    from dicomnode.phantom.spec import Kernel, LesionKind, LesionSpec, PhantomError, PhantomSpec, Place

_HOME = {
    "Kernel": "spec",
    "LesionKind": "spec",
    "LesionSpec": "spec",
    "Phantom": "build",
    "PhantomError": "spec",
    "PhantomSpec": "spec",
    "Place": "spec",
    "PixelFormat": "options",
    "PatientPosition": "options",
    "SliceOrder": "options",
    "SeriesOptions": "options",
    "build_phantom": "build",
    "write_series": "series",
}
__all__ = [
    "Kernel",
    "LesionKind",
    "LesionSpec",
    "PatientPosition",
    "Phantom",
    "PhantomError",
    "PhantomSpec",
    "PixelFormat",
    "Place",
    "SeriesOptions",
    "SliceOrder",
    "build_phantom",
    "write_series",
]


def __getattr__(name: str) -> Any:
    """Load a public name on first use, so that importing the package stays cheap."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)

"""Pixels of one slice in the transfer syntax asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from dicomnode.phantom.spec import PhantomError

NATIVE = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
)
BY_PYDICOM = (RLELossless, JPEGLSLossless, JPEG2000Lossless)
TRANSFER_SYNTAXES: tuple[str, ...] = tuple(str(uid) for uid in (*NATIVE, *BY_PYDICOM, JPEGLosslessSV1))
"""Transfer syntax UIDs a phantom can be written in; all are lossless."""


def set_pixels(dataset: Dataset, stored: NDArray[np.integer[Any]]) -> None:
    """Put one frame into ``dataset``, whose image pixel module and transfer syntax are set.

    Parameters
    ----------
    dataset:
        Gets PixelData.
    stored:
        Stored values, (rows, columns), int16 or uint16 as PixelRepresentation says.

    Raises
    ------
    PhantomError
        If the encoder of that transfer syntax is not installed or can't encode this frame.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax in NATIVE:
        little = stored.astype(stored.dtype.newbyteorder("<"))
        dataset.PixelData = (little.byteswap() if syntax == ExplicitVRBigEndian else little).tobytes()
        dataset["PixelData"].VR = "OW"
    elif syntax in BY_PYDICOM:
        try:
            dataset.compress(syntax, stored, generate_instance_uid=False)
        except (RuntimeError, ValueError) as error:
            raise PhantomError(f"can't encode the phantom as {syntax.name}: {error}") from error
    elif syntax == JPEGLosslessSV1:
        dataset.PixelData = encapsulate([_jpeg_lossless(stored, int(dataset.BitsStored))])
        dataset["PixelData"].VR = "OB"
    else:
        raise PhantomError(f"a phantom can't be written in transfer syntax {syntax}; see TRANSFER_SYNTAXES")


def _jpeg_lossless(stored: NDArray[np.integer[Any]], bits_stored: int) -> bytes:
    """One frame as JPEG Lossless, Process 14 selection value 1 (PS3.5 A.4.1), encoded by GDCM."""
    try:
        import gdcm  # noqa: PLC0415  (only this transfer syntax needs it)
    except ImportError as error:
        raise PhantomError("JPEG Lossless needs the package python-gdcm") from error
    writer = gdcm.ImageWriter()  # owns the image: it must outlive it
    image = writer.GetImage()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((stored.shape[1], stored.shape[0], 1))
    # GDCM checks the sample format against the photometric interpretation and aborts without one.
    grey = gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.MONOCHROME2)
    image.SetPhotometricInterpretation(grey)
    signed = int(stored.dtype.kind == "i")
    image.SetPixelFormat(gdcm.PixelFormat(1, 16, bits_stored, bits_stored - 1, signed))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.ExplicitVRLittleEndian))
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetByteStringValue(stored.astype(stored.dtype.newbyteorder("<")).tobytes())
    image.SetDataElement(element)
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(image)
    if not change.Change():
        raise PhantomError("GDCM could not encode the phantom as JPEG Lossless")
    fragments = change.GetOutput().GetDataElement().GetSequenceOfFragments()
    parts = []
    for index in range(fragments.GetNumberOfFragments()):
        text = fragments.GetFragment(index).GetByteValue().GetBuffer()
        parts.append(text.encode("utf-8", "surrogateescape"))
    return b"".join(parts)

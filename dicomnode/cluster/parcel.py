"""Files that travel together: one buffer, which an object store hands on without copying it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from dicomnode.cluster.errors import ClusterError


@dataclass(frozen=True)
class Parcel:
    """Files by relative name.

    Parameters
    ----------
    names:
        Relative POSIX paths, each once.
    ends:
        Where each file ends in ``data``, in bytes.
    data:
        The contents one after the other (uint8).

    Raises
    ------
    ClusterError
        If a name leads out of a folder or the lengths don't fit: parcels come from other machines.
    """

    names: tuple[str, ...]
    ends: tuple[int, ...]
    data: NDArray[np.uint8]

    def __post_init__(self) -> None:
        for name in self.names:
            path = PurePosixPath(name)
            if not name or "\0" in name or path.is_absolute() or ".." in path.parts or name != str(path):
                raise ClusterError(f"a parcel names a file {name!r}, which leads out of its folder")
        edges = (0, *self.ends)
        ordered = all(begin <= end for begin, end in zip(edges, self.ends, strict=False))
        if len(set(self.names)) != len(self.names) or len(self.ends) != len(self.names) or not ordered:
            raise ClusterError("a parcel's list of files contradicts itself")
        if edges[-1] != self.data.size:
            raise ClusterError(f"a parcel has {self.data.size} bytes where its list says {edges[-1]}")

    @classmethod
    def of(cls, files: Sequence[tuple[str, Path]]) -> Parcel:
        """Read files; each is a name and where it lies.

        Raises
        ------
        ClusterError
            If one can't be read.
        """
        try:
            contents = [np.fromfile(path, np.uint8) for _, path in files]
        except OSError as error:
            raise ClusterError(f"a file can't be read: {error.strerror}") from error
        ends = np.cumsum([content.size for content in contents], dtype=np.int64)
        data = np.concatenate(contents) if contents else np.zeros(0, np.uint8)
        return cls(tuple(name for name, _ in files), tuple(int(end) for end in ends), data)

    def unpack(self, directory: Path) -> None:
        """Write the files below ``directory``."""
        begin = 0
        for name, end in zip(self.names, self.ends, strict=True):
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            self.data[begin:end].tofile(path)
            begin = end

    def below(self, folder: str) -> Parcel:
        """The files in ``folder``, named from there."""
        prefix, begin = f"{folder}/", 0
        names, ends, parts, size = [], [], [self.data[:0]], 0
        for name, end in zip(self.names, self.ends, strict=True):
            if name.startswith(prefix):
                size += end - begin
                names.append(name.removeprefix(prefix))
                ends.append(size)
                parts.append(self.data[begin:end])
            begin = end
        return Parcel(tuple(names), tuple(ends), np.concatenate(parts))

"""The files of a folder tree: each header is read once in its life, and again only when the file changed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from dicomnode.assemble.errors import AssembleError
from dicomnode.assemble.series import identify
from dicomnode.cohort.journal import Journal

FILES_AT_ONCE = 1000
"""So many files are kept in one transaction; a kill costs reading them again."""

Watch = Callable[[int], None]
"""Is told how many files were met so far."""


def scan(folders: Sequence[Path], journal: Journal, *, without: Path, watch: Watch = lambda _: None) -> int:
    """Enter every file below ``folders`` into the journal; how many headers were read.

    Links to folders are not followed; ``without`` is the folder of the results, should it lie inside.
    A folder or a file that can't be read is entered as damaged: slices may be missing.
    """
    files = _files(folders, without.resolve(), journal)
    met = read = 0
    more = True
    while more:
        with journal.transaction():
            more = False
            for number, path in enumerate(files, 1):
                read += _enter(path, journal)
                met += 1
                if number == FILES_AT_ONCE:
                    more = True
                    break
        watch(met)
    journal.finish_scan()
    return read


def _enter(path: Path, journal: Journal) -> bool:
    """Whether the header had to be read."""
    try:
        status = path.stat()
    except OSError:
        if path.is_symlink():  # it leads nowhere
            return False
        journal.add_other(path, -1, -1, damaged=True)
        return False
    if journal.still_there(path, status.st_size, status.st_mtime_ns):
        return False
    stamp = (status.st_size, status.st_mtime_ns)
    try:
        identity = identify(path)
    except AssembleError:
        journal.add_other(path, *stamp, damaged=True)
        return True
    if identity is None:
        journal.add_other(path, *stamp, damaged=False)
    else:
        journal.add_image(path, *stamp, identity)
    return True


def _files(folders: Sequence[Path], without: Path, journal: Journal) -> Iterator[Path]:
    def unreadable(error: OSError) -> None:
        journal.add_other(Path(error.filename), -1, -1, damaged=True)

    for folder in folders:
        for name, below, files in os.walk(folder.resolve(), onerror=unreadable):
            here = Path(name)
            below[:] = sorted(inner for inner in below if here / inner != without)
            if here != without:
                yield from (here / file for file in sorted(files))

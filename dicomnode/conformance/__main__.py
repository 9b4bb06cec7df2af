"""Print the DICOM conformance statement of this version, or write it to a file.

python -m dicomnode.conformance [--out docs/conformance.md]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dicomnode.conformance.render import render


def main() -> None:
    """Render."""
    parser = argparse.ArgumentParser(prog="python -m dicomnode.conformance", description=__doc__)
    parser.add_argument("--out", type=Path, help="write to this file instead of standard output")
    arguments = parser.parse_args()
    if arguments.out:
        arguments.out.write_text(render(), encoding="utf-8")
    else:
        sys.stdout.write(render())


if __name__ == "__main__":
    main()

"""Draws the rooms of the package and who imports whom, from the imports themselves.

    python -m benchmarks.rooms --out docs/images/rooms.svg

The corridor stands in a row; an arc leads from a room to an earlier one whose types it takes. Below are the
rooms beside the corridor, each with the rooms that it uses. ``tests/test_documents.py`` holds it to the code.
"""

from __future__ import annotations

import argparse
import ast
import textwrap
from collections.abc import Iterator
from html import escape
from pathlib import Path

import dicomnode

PACKAGE = Path(dicomnode.__file__).parent
CORRIDOR = {
    "receive": "C-STORE SCP",
    "spool": "files, ledger",
    "assemble": "Volume in HU",
    "segment": "label map",
    "measure": "mL, %, g",
    "report": "SEG, SR",
    "deliver": "C-STORE, STOW",
}
BESIDE = {
    "web": "the page, metrics",
    "audit": "audit trail",
    "priors": "earlier results",
    "correct": "edited masks",
    "cluster": "the same on Ray",
    "cohort": "archives, statistics",
    "train": "data to weights",
    "phantom": "chests of known truth",
    "demo": "node and PACS here",
    "conformance": "its statement",
}
WIDTH, GAP, LEFT, TOP, HEIGHT = 136, 28, 24, 196, 58
COLUMNS, ROW = 5, 112
STYLE = """
text{font-family:system-ui,sans-serif;fill:#1d2733}
.name{font-size:17px;font-weight:600}.what{font-size:12.5px;fill:#5b6876}
.room{fill:#fff;stroke:#9aa7b4}.corridor{fill:#e8f1f8;stroke:#2f6f9f;stroke-width:1.5}
.way{stroke:#2f6f9f;stroke-width:3;fill:none}.takes{stroke:#9aa7b4;stroke-width:1.3;fill:none}
.sheet{fill:#fff}
@media (prefers-color-scheme:dark){text{fill:#e4ebf1}.what{fill:#9fb0bf}.room{fill:#20282f}
.corridor{fill:#17344a;stroke:#6fb1de}.way{stroke:#6fb1de}.sheet{fill:#12181d}}
""".strip()


def uses_of(room: str) -> set[str]:
    """Rooms whose modules ``room`` imports, itself apart."""
    return {
        other for path in sorted((PACKAGE / room).rglob("*.py")) for other in _imported(path) if other != room
    }


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dicomnode."):
            room = str(node.module).split(".")[1]
            if (PACKAGE / room).is_dir():
                yield room


def draw() -> str:
    """The drawing as SVG."""
    beside = {name: what for name, what in BESIDE.items() if (PACKAGE / name).is_dir()}
    rows = -(-len(beside) // COLUMNS)
    width = 2 * LEFT + len(CORRIDOR) * WIDTH + (len(CORRIDOR) - 1) * GAP
    height = TOP + HEIGHT + 50 + rows * ROW
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        'aria-label="The rooms of the package: a corridor of seven, and those beside it">',
        f"<style>{STYLE}</style>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0 0L8 4L0 8z" fill="#9aa7b4"/></marker></defs>',
        f'<rect class="sheet" width="{width}" height="{height}"/>',
        f'<text class="what" x="{LEFT}" y="28">Arcs: whose types a room takes. A series goes from left to '
        "right; nothing reaches back.</text>",
        *_corridor(),
        *_beside(beside, width),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _corridor() -> Iterator[str]:
    names = list(CORRIDOR)
    middles = {name: LEFT + WIDTH / 2 + index * (WIDTH + GAP) for index, name in enumerate(names)}
    for name in names:
        for other in sorted(uses_of(name) & set(names), key=names.index):
            start, end = middles[name] - 14, middles[other] + 14
            rise = TOP - 20 - 0.17 * abs(start - end)
            yield (
                f'<path class="takes" marker-end="url(#tip)" d="M{start:g} {TOP}C{start:g} {rise:g} '
                f'{end:g} {rise:g} {end:g} {TOP - 3}"/>'
            )
    for name, what in CORRIDOR.items():
        yield from _box(name, what, middles[name] - WIDTH / 2, TOP, WIDTH, "corridor")
        if name != names[-1]:
            edge = middles[name] + WIDTH / 2
            yield f'<path class="way" d="M{edge:g} {TOP + HEIGHT / 2}h{GAP}"/>'


def _beside(rooms: dict[str, str], width: int) -> Iterator[str]:
    top = TOP + HEIGHT + 46
    wide = (width - 2 * LEFT - (COLUMNS - 1) * GAP) / COLUMNS
    yield f'<text class="what" x="{LEFT}" y="{top - 12}">Beside it, and which of its rooms each uses:</text>'
    for index, (name, what) in enumerate(rooms.items()):
        left, above = LEFT + index % COLUMNS * (wide + GAP), top + index // COLUMNS * ROW
        yield from _box(name, what, left, above, wide, "room")
        used = ", ".join(sorted(uses_of(name) & set(CORRIDOR), key=list(CORRIDOR).index)) or "none"
        for line, words in enumerate(textwrap.wrap(used, 30)):
            below = above + HEIGHT + 17 + 15 * line
            yield f'<text class="what" x="{left:g}" y="{below:g}">{escape(words)}</text>'


def _box(name: str, what: str, left: float, top: float, width: float, kind: str) -> Iterator[str]:
    yield f'<rect class="{kind}" x="{left:g}" y="{top:g}" width="{width:g}" height="{HEIGHT}" rx="7"/>'
    middle = left + width / 2
    yield f'<text class="name" text-anchor="middle" x="{middle:g}" y="{top + 26:g}">{escape(name)}</text>'
    yield f'<text class="what" text-anchor="middle" x="{middle:g}" y="{top + 45:g}">{escape(what)}</text>'


def main() -> None:
    """Write the drawing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.out.write_text(draw(), encoding="utf-8")
    print(f"picture: {arguments.out}")


if __name__ == "__main__":
    main()

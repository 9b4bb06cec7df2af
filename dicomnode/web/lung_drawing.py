"""The lungs from the front as a drawing, each lobe in the colour of its involvement."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from dicomnode.web.palette import EXTENT_RGB, LOBES, SIDES, extent_colour, hexadecimal

RIGHT = (
    "M134 20C108 12 76 42 58 88C42 130 31 180 30 216C30 236 44 242 64 236C94 227 118 224 138 224"
    "C147 224 150 216 150 206L150 58C150 38 146 24 134 20Z"
)
LEFT = (
    "M186 20C212 12 244 42 262 88C278 130 289 180 290 216C290 236 276 242 256 236C232 229 212 226 196 226"
    "C186 226 186 216 190 206C198 188 194 164 180 156C172 150 170 140 170 126L170 58C170 38 174 24 186 20Z"
)
"""Outlines in a box of 320 by 260."""

PARTS: Mapping[str, tuple[str, str, tuple[int, int]]] = {
    "right_lower": ("right", "M0 0H160V260H0Z", (72, 206)),
    "right_upper": ("right", "M0 0H160V124L104 118L20 150Z", (104, 88)),
    "right_middle": ("right", "M160 124L104 118L62 134L104 214L160 236Z", (124, 166)),
    "left_lower": ("left", "M160 0H320V260H160Z", (254, 196)),
    "left_upper": ("left", "M160 0H320V120L262 132L206 236L160 236Z", (216, 100)),
}
"""Which lung, shape (cut by the lung's outline) and place of the figure; later ones lie on earlier ones."""

WHOLE: Mapping[str, tuple[str, str, tuple[int, int]]] = {
    "right": ("right", "M0 0H160V260H0Z", (98, 140)),
    "left": ("left", "M160 0H320V260H160Z", (224, 120)),
}


def draw_lungs(extents: Mapping[str, float]) -> Markup:
    """The drawing, by lobes where their extents (in %) are known, else by sides; empty without either."""
    parts = PARTS if all(name in extents for name in PARTS) else WHOLE
    if not all(name in extents for name in parts):
        return Markup("")
    names = LOBES | SIDES
    said = ", ".join(f"{names[name]} {extents[name]:.1f} %" for name in (*LOBES, *SIDES) if name in parts)
    shapes, figures = Markup(""), Markup("")
    for name, (side, path, (x, y)) in parts.items():
        colour = hexadecimal(extent_colour(extents[name]))
        shapes += Markup('<path class="lobe" clip-path="url(#lung-{})" d="{}" fill="{}"/>').format(
            side, path, colour
        )
        figures += Markup('<text class="figure" x="{}" y="{}">{:.1f} %</text>').format(x, y, extents[name])
    return Markup(
        '<svg class="lungs" viewBox="0 0 320 260" role="img" aria-label="Lesion extent: {}">'
        '<defs><clipPath id="lung-right"><path d="{}"/></clipPath>'
        '<clipPath id="lung-left"><path d="{}"/></clipPath></defs>{}'
        '<path class="outline" d="{}"/><path class="outline" d="{}"/>{}'
        '<text class="side" x="14" y="20">R</text><text class="side" x="298" y="20">L</text></svg>'
    ).format(said, RIGHT, LEFT, shapes, RIGHT, LEFT, figures)


def draw_scale() -> Markup:
    """What the colours mean."""
    bars = Markup("").join(
        Markup('<rect x="{}" y="0" width="3.3" height="10" fill="{}"/>').format(
            4 + 3 * percent, hexadecimal(extent_colour(percent))
        )
        for percent in range(81)
    )
    figures = Markup("").join(
        Markup('<text class="tick" x="{}" y="24">{:g}</text>').format(4 + 3 * percent, percent)
        for percent, _ in EXTENT_RGB
    )
    return Markup(
        '<svg class="scale" viewBox="0 0 260 28" role="img" aria-label="Colours from 0 to 75 % and more">'
        "{}{}</svg>"
    ).format(bars, figures)

"""Small drawing vocabulary of the pages: colours, fonts and text that knows where it stands."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from PIL import Image, ImageDraw, ImageFont

Rgb = tuple[int, int, int]
Box = tuple[int, int, int, int]

BACKGROUND: Rgb = (13, 16, 21)
PANEL: Rgb = (21, 26, 33)
RULE: Rgb = (44, 52, 63)
TEXT: Rgb = (232, 236, 241)
MUTED: Rgb = (142, 154, 168)
WARNING: Rgb = (255, 205, 96)

Align = Literal["left", "center", "right"]
ANCHORS: dict[Align, str] = {"left": "ls", "center": "ms", "right": "rs"}
SHARE_TO_THE_LEFT: dict[Align, float] = {"left": 0.0, "center": 0.5, "right": 1.0}


@lru_cache(maxsize=32)
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's built-in font: the same on every machine, no font file needed."""
    return ImageFont.load_default(size)


@dataclass(frozen=True)
class Words:
    """A line of text on a page; pixels, from the upper left corner."""

    content: str
    left: float
    baseline: float
    width: float
    size: int


@dataclass(frozen=True, eq=False)
class Page:
    """A finished picture and the text that was drawn into it."""

    image: Image.Image
    words: tuple[Words, ...] = ()


class Canvas:
    """An RGB picture to draw on; text is placed by its baseline."""

    def __init__(self, width: int, height: int) -> None:
        self.image = Image.new("RGB", (width, height), BACKGROUND)
        self._draw = ImageDraw.Draw(self.image)
        self._words: list[Words] = []

    def page(self) -> Page:
        """What was drawn so far."""
        return Page(self.image, tuple(self._words))

    def text(
        self,
        x: float,
        y: float,
        content: str,
        size: int,
        fill: Rgb = TEXT,
        align: Align = "left",
        bold: bool = False,
    ) -> float:
        """Draw one line with its baseline at ``y``; return its width in pixels."""
        self._draw.text(
            (x, y),
            content,
            fill=fill,
            font=font(size),
            anchor=ANCHORS[align],
            stroke_width=0.5 if bold else 0,
        )
        return self._note(x, y, content, size, align)

    def label(self, x: float, y: float, content: str, size: int, align: Align = "left") -> float:
        """Like :meth:`text`, with a dark rim that keeps it readable on bright tissue."""
        self._draw.text(
            (x, y),
            content,
            fill=TEXT,
            font=font(size),
            anchor=ANCHORS[align],
            stroke_width=3,
            stroke_fill=BACKGROUND,
        )
        return self._note(x, y, content, size, align)

    def rimmed_line(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Light line with a dark rim, readable on bright tissue."""
        (x0, y0), (x1, y1) = start, end
        self._draw.rectangle((x0 - 2, y0 - 2, x1 + 2, y1 + 3), fill=BACKGROUND)
        self._draw.rectangle((x0, y0, x1, y1 + 1), fill=TEXT)

    def width(self, content: str, size: int) -> float:
        """Width of a line in pixels."""
        return float(self._draw.textlength(content, font=font(size)))

    def wrapped(self, content: str, size: int, width: float, lines: int) -> list[str]:
        """``content`` broken into at most ``lines`` of at most ``width`` pixels; what is cut ends in dots."""
        broken = [""]
        for word in content.split():
            for part in self._fitting(word, size, width):
                longer = f"{broken[-1]} {part}".lstrip()
                if self.width(longer, size) <= width:
                    broken[-1] = longer
                else:
                    broken.append(part)
        if len(broken) > lines:
            broken = [*broken[: lines - 1], self.shortened(f"{broken[lines - 1]} ...", size, width)]
        return broken

    def shortened(self, content: str, size: int, width: float) -> str:
        """``content``, or as much of its beginning as fits, with dots."""
        while self.width(content, size) > width and len(content) > 1:
            content = content[:-4].rstrip() + "..."
        return content

    def _note(self, x: float, y: float, content: str, size: int, align: Align) -> float:
        width = self.width(content, size)
        self._words.append(Words(content, x - width * SHARE_TO_THE_LEFT[align], y, width, size))
        return width

    def _fitting(self, word: str, size: int, width: float) -> list[str]:
        """``word``, in pieces where it is wider than a line."""
        pieces = [""]
        for character in word:
            if pieces[-1] and self.width(pieces[-1] + character, size) > width:
                pieces.append("")
            pieces[-1] += character
        return pieces

    def panel(self, box: Box, fill: Rgb = PANEL, radius: int = 10) -> None:
        """Filled rectangle with round corners."""
        self._draw.rounded_rectangle(box, radius=radius, fill=fill)

    def line(
        self, start: tuple[float, float], end: tuple[float, float], fill: Rgb = RULE, width: int = 1
    ) -> None:
        """Straight line."""
        self._draw.line([start, end], fill=fill, width=width)

    def picture(self, picture: Image.Image, x: int, y: int, radius: int = 8) -> None:
        """Paste a picture with round corners."""
        mask = Image.new("L", (picture.width * 4, picture.height * 4), 0)
        ImageDraw.Draw(mask).rounded_rectangle((0, 0, mask.width - 1, mask.height - 1), radius * 4, fill=255)
        self.image.paste(picture, (x, y), mask.resize(picture.size, Image.Resampling.BOX))

    def area(self, points: list[tuple[float, float]], fill: Rgb) -> None:
        """Filled polygon with smooth edges."""
        left, top = (int(min(p[i] for p in points)) - 1 for i in (0, 1))
        right, bottom = (int(max(p[i] for p in points)) + 2 for i in (0, 1))
        mask = Image.new("L", ((right - left) * 4, (bottom - top) * 4), 0)
        ImageDraw.Draw(mask).polygon([((x - left) * 4, (y - top) * 4) for x, y in points], fill=255)
        size = (right - left, bottom - top)
        self.image.paste(fill, (left, top), mask.resize(size, Image.Resampling.BOX))

    def shares(self, box: Box, parts: list[tuple[float, Rgb]], whole: float = 100.0) -> None:
        """Bar of stacked parts of a whole on a dark track."""
        left, top, right, bottom = box
        self._draw.rounded_rectangle(box, radius=(bottom - top) // 2, fill=RULE)
        x = float(left)
        for value, rgb in parts:
            end = min(x + (right - left) * value / whole, right)
            if end - x >= 0.5:
                self._draw.rounded_rectangle((x, top, end, bottom), radius=(bottom - top) // 2, fill=rgb)
            x = end

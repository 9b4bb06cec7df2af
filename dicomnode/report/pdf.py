"""The page of a result as PDF: the picture with text that can be selected, then the report's words."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import groupby
from xml.sax.saxutils import escape

from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4, landscape
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase.pdfmetrics import registerFont, stringWidth
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas as PdfCanvas
from reportlab.platypus import (
    BaseDocTemplate,
    CondPageBreak,
    Flowable,
    Frame,
    NextPageTemplate,
    PageBreak,
    PageTemplate,
    Paragraph,
    Spacer,
)

from dicomnode.report.canvas import BACKGROUND, Page
from dicomnode.report.header import RESEARCH_USE

TITLE = "Lung opacities on chest CT"
FONT, BOLD = "Vera", "VeraBd"
"""Of reportlab, written into the document: a viewer without Helvetica takes wider letters, which overlap."""

for _name in (FONT, BOLD):
    registerFont(TTFont(_name, f"{_name}.ttf"))

DARK, GRAY = HexColor("#16202b"), HexColor("#5a6675")
WIDTH, HEIGHT = landscape(A4)
EDGE = 16 * mm
INVISIBLE = 3
"""Text rendering mode: neither filled nor stroked, but found, selected and read aloud (PDF 32000, 9.3.6)."""

_HEAD = ParagraphStyle("head", fontName=BOLD, fontSize=9.5, leading=12, textColor=DARK, spaceBefore=5)
_BODY = ParagraphStyle("body", fontName=FONT, fontSize=7.5, leading=10.5, textColor=DARK, spaceAfter=2)

Chapter = tuple[str, str]
"""A heading and one paragraph; paragraphs of one heading follow each other."""


def pdf_of(page: Page, chapters: Sequence[Chapter]) -> bytes:
    """A PDF of landscape A4 pages: ``page`` as large as it fits, then ``chapters`` in two columns.

    The same input gives the same bytes: no date of today and no random identifier. The fonts have Latin
    letters only.
    """
    written = io.BytesIO()
    document = BaseDocTemplate(
        written, pagesize=(WIDTH, HEIGHT), title=TITLE, author="dicomnode", invariant=1
    )
    column = (WIDTH - 2.5 * EDGE) / 2
    height = HEIGHT - 2.6 * EDGE
    document.addPageTemplates(
        [
            PageTemplate("picture", [Frame(0, 0, WIDTH, HEIGHT)], onPage=lambda pdf, _: _draw(pdf, page)),
            PageTemplate(
                "words",
                [Frame(left, 1.1 * EDGE, column, height, 0, 0, 0, 0) for left in (EDGE, EDGE * 1.5 + column)],
                onPage=lambda pdf, _: _frame(pdf),
            ),
        ]
    )
    document.build([Spacer(1, 1), NextPageTemplate("words"), PageBreak(), *_story(chapters)])
    return written.getvalue()


def _story(chapters: Sequence[Chapter]) -> list[Flowable]:
    story: list[Flowable] = []
    for title, paragraphs in groupby(chapters, key=lambda chapter: chapter[0]):
        story += [CondPageBreak(14 * mm), Paragraph(escape(title), _HEAD)]
        story += [Paragraph(escape(words), _BODY) for _, words in paragraphs]
    return story


def _draw(pdf: PdfCanvas, page: Page) -> None:
    """The picture on its own background, and its words where they stand, unseen."""
    scale = min(WIDTH / page.image.width, HEIGHT / page.image.height)
    left, top = (WIDTH - page.image.width * scale) / 2, (HEIGHT + page.image.height * scale) / 2
    pdf.setFillColorRGB(*(value / 255 for value in BACKGROUND))
    pdf.rect(0, 0, WIDTH, HEIGHT, stroke=0, fill=1)
    bottom = top - page.image.height * scale
    size = page.image.width * scale, page.image.height * scale
    pdf.drawImage(ImageReader(page.image), left, bottom, *size)
    words = pdf.beginText()
    words.setTextRenderMode(INVISIBLE)
    for word in page.words:
        natural = stringWidth(word.content, FONT, word.size * scale)
        if natural > 0:
            words.setFont(FONT, word.size * scale)
            words.setHorizScale(100 * word.width * scale / natural)
            words.setTextOrigin(left + word.left * scale, top - word.baseline * scale)
            words.textOut(word.content)
    pdf.drawText(words)


def _frame(pdf: PdfCanvas) -> None:
    """Title and foot of a page of words."""
    pdf.setFillColor(DARK)
    pdf.setFont(BOLD, 15)
    pdf.drawString(EDGE, HEIGHT - EDGE, TITLE)
    pdf.setStrokeColor(GRAY)
    pdf.setLineWidth(0.5)
    pdf.line(EDGE, HEIGHT - EDGE - 7, WIDTH - EDGE, HEIGHT - EDGE - 7)
    pdf.line(EDGE, EDGE * 0.85, WIDTH - EDGE, EDGE * 0.85)
    pdf.setFont(BOLD, 7.5)
    pdf.drawString(EDGE, EDGE * 0.55, RESEARCH_USE)
    pdf.setFillColor(GRAY)
    pdf.setFont(FONT, 7.5)
    whose = "No patient data on these pages: the DICOM object that holds them names the patient."
    pdf.drawRightString(WIDTH - EDGE, EDGE * 0.55, f"{whose}   Page {pdf.getPageNumber()}")

"""The report as a document, and the two ways it is read: one HTML file without a network, or text in a terminal.

A document is sections of blocks: paragraphs, lists, tables, figures, pictures. Knows nothing of studies.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from al_cli.report.table import ReportTable

if TYPE_CHECKING:
    from PIL.Image import Image as Picture


@dataclass(frozen=True)
class Paragraph:
    text: str
    strong: bool = False  # the sentence that everything else explains


@dataclass(frozen=True)
class Bullets:
    items: Sequence[str]


@dataclass(frozen=True)
class Figure:
    """A vector figure: `draw` writes it to each path in the format that its suffix names. The caption is read aloud too.
    `folded`: the page shows its title alone until one clicks on it (empty: it is not folded)."""

    name: str
    caption: str
    draw: Callable[..., None]
    folded: str = ""


@dataclass(frozen=True)
class Photo:
    """A picture of pixels, written as <name>.jpg."""

    name: str
    caption: str
    picture: Picture


Block = Paragraph | Bullets | ReportTable | Figure | Photo


@dataclass
class Section:
    """`id` is its anchor; a section without blocks is left out."""

    id: str
    title: str
    blocks: list[Block] = field(default_factory=list)


@dataclass(frozen=True)
class Document:
    """`attached` are tables and pictures that are too long to be read: they are written as files and not shown."""

    title: str
    subtitle: str
    sections: Sequence[Section]
    attached: Sequence[ReportTable | Photo] = ()

    def blocks(self) -> Iterator[Block]:
        """Everything that becomes a file or a piece of the page, in order."""
        yield from self.attached
        for section in self.sections:
            yield from section.blocks


def write_files(document: Document, folder: Path, step: Callable[[], None]) -> list[Path]:
    """Every table as csv, md and tex, every figure as png and svg, every photo as jpg. `step` is called after each block."""
    written: list[Path] = []
    for block in document.blocks():
        if isinstance(block, ReportTable):
            written += block.write(folder)
        elif isinstance(block, Figure):
            paths = [folder / f"{block.name}.png", folder / f"{block.name}.svg"]
            block.draw(*paths)
            written += paths
        elif isinstance(block, Photo):
            from al_cli.report.drawing.sheets import save_sheet

            written.append(save_sheet(block.picture, folder / f"{block.name}.jpg"))
        step()
    return written


def html(document: Document, folder: Path) -> str:
    """The page, with the figures that `write_files` wrote into the folder inside it: its first section open, the others
    folded."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("al_cli.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    template = environment.get_template("page.html.j2")
    sections = [
        {"id": section.id, "title": section.title, "blocks": [_html_block(block, folder) for block in section.blocks]}
        for section in document.sections
        if section.blocks
    ]
    return template.render(title=document.title, subtitle=document.subtitle, sections=sections)


def _html_block(block: Block, folder: Path) -> str:
    if isinstance(block, Paragraph):
        return f'<p class="answer">{escape(block.text)}</p>' if block.strong else f"<p>{escape(block.text)}</p>"
    if isinstance(block, Bullets):
        return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in block.items) + "</ul>"
    if isinstance(block, ReportTable):
        note = f'<p class="note">{escape(block.note)}</p>' if block.note else ""
        table = f'<div class="wide" tabindex="0">{block.html()}</div>{note}'
        return f"<details><summary>{escape(block.title)}</summary>{table}</details>" if block.folded else table
    caption = f"<figcaption>{escape(block.caption)}</figcaption>"
    if isinstance(block, Figure):
        svg = inline_svg((folder / f"{block.name}.svg").read_text(encoding="utf-8"), block.name, block.caption)
        figure = f'<figure><div class="card" tabindex="0">{svg}</div>{caption}</figure>'
        return f"<details><summary>{escape(block.folded)}</summary>{figure}</details>" if block.folded else figure
    data = base64.b64encode((folder / f"{block.name}.jpg").read_bytes()).decode()
    image = f'<img src="data:image/jpeg;base64,{data}" alt="{escape(block.caption)}">'
    return f'<figure><div class="card" tabindex="0">{image}</div>{caption}</figure>'


def inline_svg(text: str, name: str, label: str) -> str:
    """The svg element of a file, to stand in a page: without prolog and metadata, its ids made its own by `name`.

    Its width is in the variable --w, from which the page decides how small it may become.
    """
    svg = text[text.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\b(id="|xlink:href="#|url\(#)', lambda found: f"{found[0]}{name}-", svg)
    width = re.search(r'<svg[^>]* width="([\d.]+pt)"', svg)
    size = f' style="--w:{width[1]}"' if width else ""
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(label)}"{size} ', 1)


def markdown(document: Document) -> str:
    """The sentences and tables as text for a terminal; a figure is the line that says where it will be."""
    lines = [f"# {document.title}", "", document.subtitle, ""]
    return "\n".join([*lines, *(section_markdown(section) for section in document.sections if section.blocks)])


def section_markdown(section: Section) -> str:
    """One section as text."""
    lines = [f"## {section.title}", ""]
    for block in section.blocks:
        lines += [*_markdown_block(block), ""]
    return "\n".join(lines)


def _markdown_block(block: Block) -> list[str]:
    if isinstance(block, Paragraph):
        return [f"**{block.text}**" if block.strong else block.text]
    if isinstance(block, Bullets):
        return [f"- {item}" for item in block.items]
    if isinstance(block, ReportTable):
        return [f"{block.title}:", "", block.markdown().rstrip("\n")]
    return [f"(figure {block.name}: {block.caption})"]

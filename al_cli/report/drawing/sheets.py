"""Sheets of images with boxes, or with their class as a caption: the picked images of a round, tightly in a grid.

Drawn with Pillow: every image is scaled to its cell first and the boxes are drawn on top, so that lines and letters
stay sharp whatever the size of the image. Reads the image files, nothing else.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from al_cli.errors import DatasetError
from al_cli.report.drawing.letters import font_for
from al_cli.report.drawing.style import COLORS, GREY
from al_cli.system import write_atomic
from al_cli.types import Dataset, Image, LabelKind, Predictions, RoundRecord

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

MAX_IMAGES = 24
CELL_PX, GAP_PX, CAPTION_PX, TITLE_PX = 260, 8, 20, 30
FONT_PX, LINE_PX, FRAME_PX = 12, 2, 6


@dataclass(frozen=True)
class Mark:
    """One box to draw: xyxy in px of the original image, what to write on it, and its colour."""

    box: tuple[float, float, float, float]
    text: str
    color: str


def contact_sheet(
    record: RoundRecord, train: Dataset, limit: int = MAX_IMAGES, label: LabelKind = "objects"
) -> Picture:
    """The images a round picked, in the order it picked them, with their true boxes, or, where a label is an image, with their
    class in place of their name. Says so when there are more."""
    shown = record.picked[:limit]
    cells = []
    for image_id, score in zip(shown, record.scores, strict=False):
        image = train[image_id]
        cell, name = true_cell(image, train.class_names, label)
        cells.append((cell, name if score is None else f"{name}   score {score:.3g}"))
    drawn = record.round == 0 and all(score is None for score in record.scores)
    what = "initial images" if drawn else "picked images"
    first = f", the first {len(shown)} shown" if len(shown) < len(record.picked) else ""
    return grid(cells, f"round {record.round}: {len(record.picked)} {what}{first}")


def true_cell(
    image: Image, class_names: Sequence[str], label: LabelKind, cell_px: int = CELL_PX
) -> tuple[Picture, str]:
    """An image with its true labels, and what to call it: boxes on it and its name; or bare, and the name of its class."""
    if label == "image":
        return draw_marks(load(image), [], cell_px), class_names[image.classes[0]]
    return draw_marks(load(image), true_marks(image, class_names), cell_px), image.name


def true_marks(image: Image, class_names: Sequence[str]) -> list[Mark]:
    """The annotated objects; crowd regions in grey."""
    return [
        Mark(tuple(box), f"{class_names[c]} (crowd)" if crowd else class_names[c], GREY if crowd else color_of(c))
        for box, c, crowd in zip(image.boxes.tolist(), image.classes.tolist(), image.crowd.tolist(), strict=True)
    ]


def predicted_marks(predictions: Predictions, class_names: Sequence[str], threshold: float) -> list[Mark]:
    """The boxes of one image's predictions that score at least `threshold`, the best drawn last."""
    keep = np.flatnonzero(predictions.scores >= threshold)[::-1]
    boxes, classes, scores = predictions.boxes, predictions.classes, predictions.scores
    return [
        Mark(tuple(boxes[row].tolist()), f"{class_names[classes[row]]} {scores[row]:.2f}", color_of(int(classes[row])))
        for row in keep
    ]


def framed(cell: Picture, color: str) -> Picture:
    """The cell with a broad frame of this colour."""
    from PIL import ImageDraw

    width, height = cell.size
    ImageDraw.Draw(cell).rectangle((0, 0, width - 1, height - 1), outline=color, width=FRAME_PX)
    return cell


def color_of(label: int) -> str:
    """The colour of a class: the same in every sheet. Black would vanish in dark images and is left out."""
    return COLORS[label % (len(COLORS) - 1)]


def load(image: Image) -> Picture:
    """The pixels as RGB, upright. DatasetError when the file is gone or broken, or no longer has the recorded size."""
    from PIL import Image as PILImage
    from PIL import ImageOps

    try:
        with PILImage.open(image.path) as file:
            upright = ImageOps.exif_transpose(file)
            picture = _to_rgb(upright)
    except (OSError, ValueError, SyntaxError, PILImage.DecompressionBombError) as error:
        raise DatasetError(f"the image cannot be read: {error}", where=str(image.path), remedy="restore it") from error
    if picture.size != (image.width, image.height):
        sizes = f"{picture.width}x{picture.height}, recorded as {image.width}x{image.height}"
        raise DatasetError(f"the image has changed: {sizes}", where=str(image.path), remedy="restore it")
    return picture


def _to_rgb(picture: Picture) -> Picture:
    """Eight bits a channel; 16-bit grey is scaled, where Pillow's own conversion would clip it to white."""
    from PIL import Image as PILImage

    if picture.mode.startswith("I"):
        values = np.asarray(picture, dtype=np.float64)
        return PILImage.fromarray((values / 257 if values.max() > 255 else values).astype(np.uint8)).convert("RGB")
    if picture.mode == "F":
        raise ValueError("its values are floating-point numbers, which have no white")
    return picture.convert("RGB")


def draw_marks(picture: Picture, marks: Sequence[Mark], cell_px: int = CELL_PX) -> Picture:
    """A square cell with the image centred in it and the boxes on top."""
    from PIL import Image as PILImage
    from PIL import ImageDraw

    scale = cell_px / max(picture.size)
    width, height = (max(1, round(side * scale)) for side in picture.size)
    left, top = (cell_px - width) // 2, (cell_px - height) // 2
    cell = PILImage.new("RGB", (cell_px, cell_px), "#F2F2F2")
    smooth = PILImage.Resampling.BICUBIC if scale > 1 else PILImage.Resampling.LANCZOS
    cell.paste(picture.resize((width, height), smooth), (left, top))
    draw = ImageDraw.Draw(cell)
    placed = [(*_scaled(mark.box, scale, left, top, cell_px), mark) for mark in marks]
    for x0, y0, x1, y1, mark in placed:
        draw.rectangle((x0, y0, x1, y1), outline=mark.color, width=LINE_PX)
    for x0, y0, _, y1, mark in placed:  # labels after all boxes, so that no line crosses a name
        _write_label(draw, mark, x0, y0, y1, cell_px)
    return cell


def _scaled(box: Sequence[float], scale: float, left: int, top: int, cell_px: int) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = (
        min(max(value * scale + shift, 0), cell_px - 1) for value, shift in zip(box, (left, top) * 2, strict=True)
    )
    return x0, y0, max(x0, x1), max(y0, y1)


def _write_label(draw: Any, mark: Mark, x0: float, y0: float, y1: float, cell_px: int) -> None:
    """Above the box; below it where there is no room; never outside the cell."""
    font, text = _font_for(mark.text)
    width, height = draw.textlength(text, font=font) + 4, FONT_PX + 3
    x = min(max(0.0, x0), max(0.0, cell_px - width))
    y = y0 - height if y0 >= height else min(y1, cell_px - height)
    draw.rectangle((x, y, x + width, y + height), fill=mark.color)
    draw.text((x + 2, y + height / 2), text, fill="white", font=font, anchor="lm")


def grid(cells: Sequence[tuple[Picture, str]], title: str, columns: int | None = None) -> Picture:
    """Captioned cells in rows under one title. All cells have the size of the first."""
    from PIL import Image as PILImage
    from PIL import ImageDraw

    columns = columns or min(6, max(1, math.ceil(math.sqrt(len(cells) * 1.5))))
    rows = math.ceil(len(cells) / columns)
    cell_w, cell_h = cells[0][0].size if cells else (CELL_PX, 0)
    step_x, step_y = cell_w + GAP_PX, cell_h + CAPTION_PX + GAP_PX
    sheet = PILImage.new("RGB", (columns * step_x + GAP_PX, TITLE_PX + rows * step_y + GAP_PX), "white")
    draw = ImageDraw.Draw(sheet)
    font, title = _font_for(title, FONT_PX + 3)
    draw.text((GAP_PX, TITLE_PX / 2 + 2), title, fill="#222222", font=font, anchor="lm")
    for number, (cell, caption) in enumerate(cells):
        x, y = GAP_PX + number % columns * step_x, TITLE_PX + number // columns * step_y
        sheet.paste(cell, (x, y))
        font, text = _shorten(draw, caption, cell_w)
        draw.text((x, y + cell_h + CAPTION_PX / 2), text, fill="#444444", font=font, anchor="lm")
    return sheet


def rows_sheet(rows: Sequence[tuple[str, Sequence[tuple[Picture, str]]]]) -> Picture:
    """Rows of captioned cells, each under its own title: the images of one method next to those of another.

    All cells have the size of the first; a row without cells is its title alone. At least one row has a cell.
    """
    from PIL import Image as PILImage
    from PIL import ImageDraw

    cell_px = next(cells[0][0].size[0] for _, cells in rows if cells)
    step_x, step_y = cell_px + GAP_PX, TITLE_PX + cell_px + CAPTION_PX
    width = max(len(cells) for _, cells in rows) * step_x + GAP_PX
    sheet = PILImage.new("RGB", (width, sum(step_y if cells else TITLE_PX for _, cells in rows) + GAP_PX), "white")
    draw = ImageDraw.Draw(sheet)
    top = 0
    for title, cells in rows:
        font, title = _font_for(title, FONT_PX + 3)
        draw.text((GAP_PX, top + TITLE_PX / 2 + 2), title, fill="#222222", font=font, anchor="lm")
        for number, (cell, caption) in enumerate(cells):
            x, y = GAP_PX + number * step_x, top + TITLE_PX
            sheet.paste(cell, (x, y))
            font, text = _shorten(draw, caption, cell_px)
            draw.text((x, y + cell_px + CAPTION_PX / 2), text, fill="#444444", font=font, anchor="lm")
        top += step_y if cells else TITLE_PX
    return sheet


def _shorten(draw: Any, text: str, width_px: int) -> tuple[Any, str]:
    """A font, and the end of a long text, where file names differ."""
    font, text = _font_for(text)
    if draw.textlength(text, font=font) <= width_px:
        return font, text
    while text and draw.textlength("…" + text, font=font) > width_px:
        text = text[1:]
    return font, "…" + text


def _font_for(text: str, size_px: int = FONT_PX) -> tuple[Any, str]:
    """A font that has the letters of the text, and the text; it is spelled in other letters where no font has them."""
    path, text = font_for(text)
    return _font(path, size_px), text


@lru_cache
def _font(path: Path, size_px: int) -> Any:
    from PIL import ImageFont

    return ImageFont.truetype(path, size_px)


def save_sheet(sheet: Picture, path: Path) -> Path:
    """Write a sheet as PNG, or as JPEG where the path says so: a tenth of the bytes, for sheets inside a page."""
    buffer = io.BytesIO()
    if path.suffix == ".jpg":
        sheet.save(buffer, format="JPEG", quality=80, optimize=True)
    else:
        sheet.save(buffer, format="PNG")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, buffer.getvalue())
    return path

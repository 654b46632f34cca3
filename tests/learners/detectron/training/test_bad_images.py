"""An image that went bad after the dataset was read is named in one sentence, by whichever mapper reads it."""

import numpy as np
import pytest
from PIL import Image

from al_cli.errors import DatasetError
from al_cli.learners.detectron.training.data import CachedMapper, ImageCache, ordered_batches, stock_mapper


def cut(path):
    path.write_bytes(path.read_bytes()[:-200])


def zero(path):
    path.write_bytes(b"\0" * path.stat().st_size)


def resize(path):
    Image.new("RGB", (20, 16)).save(path)


def deepen(path):
    Image.fromarray(np.full((32, 40), 3000, dtype=np.uint16)).save(path)


def floating(path):
    Image.fromarray(np.full((32, 40), 0.5, dtype=np.float32)).save(path, format="TIFF")


CASES = [
    (cut, "cannot be read"),
    (zero, "cannot be read"),
    (lambda path: path.unlink(), "not there any more"),
    (resize, "20 x 16 pixels, and was 40 x 32"),
    (deepen, "more than 8 bits"),
    (floating, "more than 8 bits"),
]


@pytest.mark.parametrize("stock", [False, True])
@pytest.mark.parametrize(("spoil", "said"), CASES, ids=["cut", "zeroed", "gone", "resized", "16 bit", "float"])
def test_a_bad_image_is_named(tmp_path, spoil, said, stock):
    path = tmp_path / "a [1].png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 40, 3), dtype=np.uint8)).save(path)
    record = {"file_name": str(path), "image_id": 1, "height": 32, "width": 40, "annotations": []}
    mapper = (
        stock_mapper([], "BGR", labels=True) if stock else CachedMapper(ImageCache(), "BGR", labels=True, flip=False)
    )
    assert mapper(dict(record))["image"].shape == (3, 32, 40)
    spoil(path)
    mapper = (
        stock_mapper([], "BGR", labels=True) if stock else CachedMapper(ImageCache(), "BGR", labels=True, flip=False)
    )
    with pytest.raises(DatasetError) as error:
        list(ordered_batches([record], mapper, batch_size=1))
    assert said in str(error.value) and str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_process_that_decodes_says_the_same_sentence(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"nothing")
    record = {"file_name": str(path), "image_id": 1, "height": 32, "width": 40, "annotations": []}
    with pytest.raises(DatasetError) as error:
        list(ordered_batches([record], stock_mapper([], "BGR", labels=True), batch_size=1, workers=1))
    assert str(error.value).startswith("the image cannot be read: ") and "\n" not in str(error.value)

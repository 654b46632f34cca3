"""How a classifier reads images: what comes out is what Pillow says, whatever the file's mode; and crops are really crops."""

import time

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

from al_cli.errors import DatasetError
from al_cli.learners.classifier.images import ImageReader, statistics
from al_cli.learners.classifier.spec import ClassifierSpec
from al_cli.types import Dataset, Image

CPU = torch.device("cpu")


def reader(image_size=None, **options):
    return ImageReader(ClassifierSpec("tiny_cnn", "tiny_cnn", image_size=image_size).check(), CPU, **options)


def an_image(path, size, number=0):
    return Image(number, path, *size, np.array([[0, 0, *size]]), np.array([0]))


def dataset(tmp_path, pictures, suffix="png", **options):
    images = []
    for number, picture in enumerate(pictures):
        path = tmp_path / f"{number}.{suffix}"
        picture.save(path, **options)
        images.append(an_image(path, picture.size, number))
    return Dataset(("a",), tuple(images))


def noise(*shape, seed=0, dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def pixels(data, **options):
    """[N, K, H, W] in 0..255, of all images at once."""
    return torch.cat(list(reader(**options).batches(data, 2))).numpy() * 255


def test_batches_have_every_image_once_in_order_in_0_to_1(tmp_path):
    values = noise(5, 6, 4, 3)
    data = dataset(tmp_path, map(PILImage.fromarray, values))
    batches = list(reader().batches(data, 2))
    assert [tuple(batch.shape) for batch in batches] == [(2, 3, 6, 4), (2, 3, 6, 4), (1, 3, 6, 4)]
    assert torch.equal(torch.cat(batches), torch.from_numpy(values).permute(0, 3, 1, 2).float() / 255)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_every_mode_is_as_pillow_converts_it(tmp_path, mode):
    picture = PILImage.fromarray(noise(6, 6, 3)).convert(mode)
    suffix = "tif" if mode in ("CMYK", "YCbCr") else "png"
    grey = mode in ("1", "L", "LA")
    data = dataset(tmp_path, [picture], suffix)
    with PILImage.open(data.images[0].path) as file:
        expected = np.asarray(file.convert("L" if grey else "RGB"), dtype=float).reshape(6, 6, -1)
    assert reader().channels(data) == (1 if grey else 3)
    assert np.allclose(pixels(data)[0], expected.transpose(2, 0, 1), atol=1e-3)


@pytest.mark.parametrize("highest", [65535, 255])
def test_grey_of_16_bits_is_scaled_and_not_clipped(tmp_path, highest):
    values = (noise(6, 6, dtype=np.uint16) % highest).astype(np.uint16)
    values[0, 0] = highest
    data = dataset(tmp_path, [PILImage.fromarray(values)])
    expected = values // 257 if highest > 255 else values
    assert reader().channels(data) == 1 and np.allclose(pixels(data)[0, 0], expected, atol=1e-3)


def test_an_image_is_upright_as_its_exif_says(tmp_path):
    values = noise(4, 6, 3)
    exif = PILImage.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    PILImage.fromarray(values).save(tmp_path / "a.png", exif=exif)
    data = Dataset(("a",), (an_image(tmp_path / "a.png", (4, 6)),))
    assert np.allclose(pixels(data)[0].transpose(1, 2, 0), np.rot90(values, -1), atol=1e-3)


def bands(tmp_path, counts, dtype=np.uint8):
    images = []
    for number, count in enumerate(counts):
        pages = [PILImage.fromarray(page) for page in noise(count, 5, 4, seed=number, dtype=dtype)]
        pages[0].save(tmp_path / f"{number}.tif", save_all=True, append_images=pages[1:])
        images.append(an_image(tmp_path / f"{number}.tif", (4, 5), number))
    return Dataset(("a",), tuple(images))


def test_a_tiff_has_as_many_channels_as_pages(tmp_path):
    data = bands(tmp_path, [11, 11])
    assert reader().channels(data) == 11
    assert np.allclose(pixels(data)[1], noise(11, 5, 4, seed=1), atol=1e-3)
    assert pixels(data, image_size=3).shape == (2, 11, 3, 3)
    deep = bands(tmp_path, [2], np.uint16)
    assert reader().channels(deep) == 2 and pixels(deep).max() == noise(2, 5, 4, dtype=np.uint16).max() // 257


def test_another_number_of_pages_is_refused_by_name(tmp_path):
    with pytest.raises(DatasetError, match=r"has 7 channels, and the first has 11 .*1\.tif"):
        pixels(bands(tmp_path, [11, 7]))
    (tmp_path / "more").mkdir()
    mixed = Dataset(("a",), (*bands(tmp_path, [11]).images, an_image(tmp_path / "more" / "1.png", (4, 5), 1)))
    PILImage.fromarray(noise(5, 4)).save(tmp_path / "more" / "1.png")
    with pytest.raises(DatasetError, match="has 1 channels, and the first has 11"):
        pixels(mixed)


def test_grey_images_among_colored_ones_are_read_as_rgb(tmp_path):
    grey, colored = PILImage.fromarray(noise(5, 5)), PILImage.fromarray(noise(5, 5, 3))
    data = dataset(tmp_path, [grey, colored])
    assert reader().channels(data) == 3
    assert np.allclose(pixels(data)[0], np.asarray(grey), atol=1e-3)


def test_colors_among_images_that_were_grey_are_said_once(tmp_path, caplog):
    """The first set decides: its network has one channel."""
    greys = dataset(tmp_path, [PILImage.fromarray(noise(5, 5))] * 2)
    read = reader()
    list(read.batches(greys, 2))
    (tmp_path / "c").mkdir()
    colored = dataset(tmp_path / "c", [PILImage.fromarray(noise(5, 5, 3))] * 2)
    [batch] = read.batches(colored, 2)
    assert batch.shape == (2, 1, 5, 5) and caplog.text.count("has colors and is read as grey") == 1


def test_the_owner_of_weights_may_say_how_many_channels_there_are(tmp_path):
    read = reader()
    read.bands = 3
    [batch] = read.batches(dataset(tmp_path, [PILImage.fromarray(noise(5, 5))]), 1)
    assert batch.shape == (1, 3, 5, 5)


# ---- sizes


def test_image_size_makes_squares_by_a_filter_that_averages(tmp_path):
    stripes = np.tile(np.array([0, 255], np.uint8), (16, 8))  # 16 x 16 of alternate columns
    data = dataset(tmp_path, [PILImage.fromarray(stripes), PILImage.fromarray(noise(20, 9))])
    made = pixels(data, image_size=4)
    assert made.shape == (2, 1, 4, 4)
    assert np.abs(made[0, 0, :, 1:3] - 127.5).max() <= 1  # without it these were 0 or 255
    assert pixels(data, image_size=32).shape == (2, 1, 32, 32)


def test_sizes_that_differ_are_refused_by_name_with_the_remedy(tmp_path):
    data = dataset(tmp_path, [PILImage.fromarray(noise(*size)) for size in ((6, 6), (6, 6), (6, 7))])
    with pytest.raises(DatasetError, match=r"is 7 x 6 px, and the first is 6 x 6 .*2\.png.*model\.image_size=64"):
        list(reader().batches(data, 2))


@pytest.mark.parametrize(
    "spoil, said",
    [
        (lambda path: path.unlink(), "is not there any more"),
        (lambda path: path.write_bytes(b"no image"), "cannot be read: cannot identify image file"),
        (lambda path: path.write_bytes(path.read_bytes()[:60]), "cannot be read"),
        (lambda path: PILImage.fromarray(noise(8, 8)).save(path), "is 8 x 8 px, and was 6 x 6 when"),
        (lambda path: PILImage.fromarray(np.zeros((6, 6), np.float32)).save(path, "TIFF"), "floating-point"),
    ],
)
def test_a_bad_file_is_named_in_one_sentence(tmp_path, spoil, said):
    data = dataset(tmp_path, [PILImage.fromarray(noise(6, 6))] * 2)
    spoil(data.images[1].path)
    with pytest.raises(DatasetError) as error:
        pixels(data)
    assert said in str(error.value) and str(error.value).count("1.png") == 1


def test_images_are_decoded_once_as_long_as_they_fit(tmp_path):
    data = dataset(tmp_path, [PILImage.fromarray(noise(6, 6, seed=n)) for n in range(3)])
    read = reader(limit=80)  # two of 36 bytes
    before = torch.cat(list(read.batches(data, 3)))
    assert torch.equal(torch.cat(list(read.batches(data, 3))), before)  # the third is decoded again
    data.images[0].path.unlink()
    assert torch.equal(read.batch(data.images[:1], None, False, None), before[:1])
    data.images[2].path.unlink()
    with pytest.raises(DatasetError, match="is not there any more"):
        read.batch(data.images[2:], None, False, None)


# ---- augmentation


def test_crops_are_windows_of_the_padded_image_at_all_places_and_half_are_mirrored(tmp_path):
    values = noise(5, 6, 3)
    image = dataset(tmp_path, [PILImage.fromarray(values)]).images[0]
    padded = np.pad(values, ((2, 2), (2, 2), (0, 0)))
    windows = {}
    for top in range(5):
        for left in range(5):
            window = padded[top : top + 5, left : left + 6]
            windows[window.tobytes()] = (top, left, False)
            windows[window[:, ::-1].tobytes()] = (top, left, True)
    batch = reader().batch([image] * 1000, np.random.default_rng(0), flip=True, crop_px=2)
    crops = (batch.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
    seen = [windows[crop.tobytes()] for crop in crops]  # KeyError for what is no window
    assert {(top, left) for top, left, _ in seen} == {(top, left) for top in range(5) for left in range(5)}
    assert abs(sum(mirrored for *_, mirrored in seen) - 500) < 50


def test_the_padding_has_the_color_that_is_asked_for(tmp_path):
    image = dataset(tmp_path, [PILImage.new("RGB", (4, 4), (255, 255, 255))]).images[0]
    fill = torch.tensor([0.2, 0.4, 0.6]).view(3, 1, 1)
    batch = reader().batch([image] * 200, np.random.default_rng(0), False, 4, fill=fill)
    assert all(set(batch[:, band].unique().tolist()) == {np.float32(fill[band].item()), 1.0} for band in range(3))


def test_equal_generators_give_equal_batches_and_none_changes_nothing(tmp_path):
    data = dataset(tmp_path, [PILImage.fromarray(noise(6, 6, 3, seed=n)) for n in range(8)])
    read = reader()
    plain = read.batch(data.images, None, flip=True, crop_px=2)
    one, two, other = (read.batch(data.images, np.random.default_rng(seed), True, 2) for seed in (0, 0, 1))
    assert torch.equal(one, two) and not torch.equal(one, other)
    assert torch.equal(read.batch(data.images, None, flip=True, crop_px=2), plain)  # what is kept is as it was
    assert torch.equal(read.batch(data.images, np.random.default_rng(0), False, None), plain)


def test_a_batch_of_128_small_images_takes_milliseconds(tmp_path):
    image = dataset(tmp_path, [PILImage.fromarray(noise(32, 32, 3))]).images[0]
    read, rng, took = reader(), np.random.default_rng(0), []
    for _ in range(20):
        start = time.perf_counter()
        read.batch([image] * 128, rng, True, 4)
        took.append(time.perf_counter() - start)
    assert min(took) < 0.005


# ---- statistics


def test_statistics_are_numpys_over_all_pixels():
    x = np.random.default_rng(0).random((5, 2, 4, 3))
    x[:, 1] = 0.25
    mean, deviation = statistics(torch.from_numpy(part).float() for part in (x[:2], x[2:]))
    assert mean.dtype == torch.float64 and mean.shape == deviation.shape == (2, 1, 1)
    exact = x.astype(np.float32).astype(np.float64)
    assert np.allclose(mean.flatten(), exact.mean((0, 2, 3)), atol=1e-14)
    assert deviation[0].item() == pytest.approx(exact[:, 0].std(), abs=1e-12)
    assert deviation[1].item() == 1  # a channel of one value
    with pytest.raises(ValueError, match="no images"):
        statistics([])

"""Laws of looking alike: what is the same picture to a person is found, whatever its bytes; what is another one is not."""

import itertools

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from al_cli.datasets import near
from al_cli.datasets.digits import write_digits
from al_cli.datasets.headers import EXIF_ORIENTATION


def scene(seed, size=(160, 120)):
    """A picture with light, dark and edges: smooth patches and three rectangles."""
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    for _ in range(3):
        x, y = (int(rng.integers(0, side - 30)) for side in size)
        image.paste(tuple(rng.integers(0, 256, 3).tolist()), (x, y, x + 30, y + 24))
    return image


def copies(image, folder):
    """{what was done: path} of copies that a person would call the same picture."""
    folder.mkdir(parents=True, exist_ok=True)
    half = (image.width // 2, image.height // 2)
    made = {
        "png": (image, "png", {}),
        "jpeg 90": (image, "jpg", {"quality": 90}),
        "jpeg 30": (image, "jpg", {"quality": 30}),
        "progressive": (image, "jpg", {"quality": 80, "progressive": True}),
        "webp": (image, "webp", {}),
        "half": (image.resize(half), "png", {}),
        "twice": (image.resize((image.width * 2, image.height * 2)), "jpg", {}),
        "darker": (ImageEnhance.Brightness(image).enhance(0.7), "png", {}),
        "brighter": (ImageEnhance.Brightness(image).enhance(1.15), "png", {}),
        "less contrast": (ImageEnhance.Contrast(image).enhance(0.6), "png", {}),
        "grey": (image.convert("L"), "png", {}),
        "palette": (image.convert("P", palette=Image.Palette.ADAPTIVE), "png", {}),
        "with alpha": (image.convert("RGBA"), "png", {}),
        "CMYK": (image.convert("CMYK"), "jpg", {}),
    }
    paths = {}
    for name, (picture, suffix, options) in made.items():
        paths[name] = folder / f"{name}.{suffix}"
        picture.save(paths[name], **options)
    for orientation, turn in near.TURNS.items():  # stored turned, and turned back by who shows it
        back = {
            Image.Transpose.ROTATE_90: Image.Transpose.ROTATE_270,
            Image.Transpose.ROTATE_270: Image.Transpose.ROTATE_90,
        }
        exif = Image.Exif()
        exif[EXIF_ORIENTATION] = orientation
        for suffix in ("jpg", "tif", "png"):
            path = paths[f"EXIF {orientation} {suffix}"] = folder / f"exif{orientation}.{suffix}"
            image.transpose(back.get(turn, turn)).save(path, exif=exif)
    return paths


def test_copies_are_found_and_other_pictures_are_not(tmp_path):
    families = [copies(scene(seed), tmp_path / str(seed)) for seed in range(2)]
    paths = [path for family in families for path in family.values()]
    thumbnails, broken = near.look_at(paths)
    assert not broken
    groups = [{paths[n] for n in group} for group in near.groups_of(thumbnails)]
    assert groups == [set(family.values()) for family in families]


def test_different_scenes_of_digits_are_not_alike(tmp_path):
    root = write_digits(tmp_path / "digits", train=1, val=1, test=60)
    paths = sorted((root / "images" / "test").glob("*.png"))
    assert len(paths) == 60
    assert near.groups_of(near.look_at(paths).thumbnails) == []


@pytest.mark.parametrize("noise", [0, 2])
def test_pictures_of_one_gray_value_are_not_alike(noise):
    """Neither with one another nor with a picture, however noise decides their hash."""
    rng = np.random.default_rng(0)
    flat = np.full((40, 32, 32), 128) + rng.integers(-noise, noise + 1, (40, 32, 32))
    thumbnails = np.concatenate([flat.astype(np.uint8), np.asarray(scene(1).convert("L").resize((32, 32)))[None]])
    assert near.is_flat(thumbnails).tolist() == [True] * 40 + [False]
    assert near.groups_of(thumbnails) == []
    assert near.groups_of(thumbnails[:0]) == []


def test_the_buckets_find_what_comparing_all_pairs_finds(monkeypatch):
    rng = np.random.default_rng(3)
    base = rng.integers(0, 2**63, 60, dtype=np.uint64)
    flips = [sum(1 << int(bit) for bit in rng.choice(63, rng.integers(0, 12), replace=False)) for _ in range(240)]
    hashes = np.repeat(base, 4) ^ np.array(flips, dtype=np.uint64)
    monkeypatch.setattr(near, "ROWS", 7)  # so that pairs lie in other blocks too
    everything = near._Alike(np.ones((240, 4), dtype=np.uint8), np.zeros(240), np.ones(240))
    found = list(near._across(hashes, everything))
    values = sorted(set(hashes.tolist()))
    expected = {(a, b) for a, b in itertools.combinations(values, 2) if (a ^ b).bit_count() <= near.MOST_BITS}
    assert {tuple(sorted((int(hashes[i]), int(hashes[j])))) for i, j in found} == expected
    assert len(found) == len(expected) > 100  # each pair once


def test_images_with_one_hash_are_compared_with_one_of_their_kind():
    """Two kinds that a hash does not tell apart, many times: the correlation does, with few comparisons."""
    pixels = np.array([[0, 9, 0, 9], [9, 0, 9, 0]] * 50, dtype=np.uint8)
    alike = near._Alike(pixels, pixels.mean(axis=1), pixels.std(axis=1))
    pairs = list(near._with_one_hash(np.zeros(100, dtype=np.uint64), alike))
    assert pairs == [(0, n) for n in range(2, 100, 2)] + [(1, n) for n in range(3, 100, 2)]


@pytest.mark.parametrize(
    ("suffix", "options"), [("jpg", {}), ("jpg", {"progressive": True}), ("png", {}), ("webp", {})]
)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_truncated_image_is_broken(tmp_path, suffix, options, share):
    path = tmp_path / f"a.{suffix}"
    scene(5).save(path, **options)
    whole = path.read_bytes()
    assert near.look_at([path]).broken == []
    path.write_bytes(whole[: int(len(whole) * share)])
    [(what, where)] = near.look_at([path]).broken
    assert where == str(path) and what.startswith("is not a readable image")


def test_a_file_of_no_pixels_is_not_handed_to_a_program(tmp_path):
    """Pillow starts Ghostscript for PostScript, whatever the file is called."""
    path = tmp_path / "a.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
    assert near.look_at([path]).broken == [("is not a readable image: no known image format", str(path))]

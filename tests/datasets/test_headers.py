"""Image sizes against Pillow's own exif_transpose; the cache by what is (not) read again."""

import hashlib
import io
import json
import os
import struct
import zlib

import pytest
from PIL import Image, ImageOps

from al_cli import system
from al_cli.datasets import headers
from al_cli.datasets.headers import cache_dir, read_digests, read_sizes, read_traits
from al_cli.errors import DatasetError


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(headers, "SETTLED_NS", -(10**18))  # files of tests have just been written


def picture(path, width=40, height=20, orientation=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", (width, height), (width, height, 7))
    if orientation:
        exif = Image.Exif()
        exif[0x0112] = orientation
        options["exif"] = exif
    image.save(path, **options)
    return path


def seen_size(path):
    """The reference: decode everything and let Pillow turn the pixels."""
    with Image.open(path) as image:
        image.load()
        return ImageOps.exif_transpose(image).size


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_size_is_of_the_oriented_image(tmp_path, suffix, orientation):
    path = picture(tmp_path / f"a.{suffix}", orientation=orientation)
    expected = (20, 40) if orientation >= 5 else (40, 20)
    assert read_sizes([path]) == [expected] == [seen_size(path)]


@pytest.mark.parametrize("suffix", ["bmp", "jfif", "jpeg", "JPG", "mpo", "pgm", "png", "ppm", "tif", "TIFF", "webp"])
def test_every_accepted_type_is_read(tmp_path, suffix):
    image = Image.new("L" if suffix == "pgm" else "RGB", (33, 17))
    image.save(tmp_path / f"a.{suffix}")
    assert read_sizes([tmp_path / f"a.{suffix}"]) == [(33, 17)]


@pytest.mark.parametrize("kind", [b"eXIf", b"iTXt"])
def test_png_orientation_that_follows_the_pixels(tmp_path, kind):
    exif = Image.Exif()
    exif[0x0112] = 6
    xmp = b'XML:com.adobe.xmp\0\0\0\0\0<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    data = exif.tobytes().removeprefix(b"Exif\0\0") if kind == b"eXIf" else xmp
    chunk = struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    buffer = io.BytesIO()
    Image.new("RGB", (40, 20)).save(buffer, "PNG")
    whole = buffer.getvalue()
    path = tmp_path / "late.png"
    path.write_bytes(whole[:-12] + chunk + whole[-12:])  # IEND is the last 12 bytes
    assert read_sizes([path]) == [(20, 40)] == [seen_size(path)]


def test_only_the_header_is_read(tmp_path):
    """Half the pixels are missing and the size is still told: nothing was decoded."""
    for suffix in ("jpg", "png", "bmp"):
        path = tmp_path / f"cut.{suffix}"
        Image.effect_noise((200, 100), 90).convert("RGB").save(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(OSError), Image.open(path) as image:
            image.load()
        assert read_sizes([path]) == [(200, 100)]


def test_broken_exif_is_no_orientation(tmp_path):
    path = tmp_path / "a.jpg"
    Image.new("RGB", (40, 20)).save(path, exif=b"Exif\0\0not an exif block at all")
    assert read_sizes([path]) == [(40, 20)]


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n\0\0", b"\xff\xd8\xff", b"not an image"])
def test_unreadable_image_is_an_error_that_names_the_file(tmp_path, content):
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"not a readable image.*broken\.png"):
        read_sizes([path])


def test_missing_image_is_an_error_that_names_the_file(tmp_path):
    with pytest.raises(DatasetError, match=r"No such file.*gone\.png"):
        read_sizes([tmp_path / "gone.png"])


def test_report_gets_every_unreadable_file_and_the_rest_is_read(tmp_path):
    paths = [
        picture(tmp_path / "a.png"),
        tmp_path / "gone.png",
        tmp_path / "bad.png",
        picture(tmp_path / "b.png", 5, 6),
    ]
    paths[2].write_bytes(b"nothing")
    told = []
    assert read_sizes(paths, lambda what, where: told.append(where)) == [(40, 20), (0, 0), (0, 0), (5, 6)]
    assert sorted(told) == sorted([str(paths[1]), str(paths[2])])


def test_order_is_that_of_the_paths_over_many_chunks(tmp_path):
    paths = [picture(tmp_path / f"{n}.bmp", width=1 + n, height=300 - n) for n in range(200)]
    assert read_sizes(paths) == [(1 + n, 300 - n) for n in range(200)]
    assert read_sizes(paths[::-1]) == [(1 + n, 300 - n) for n in range(200)][::-1]
    assert read_sizes([]) == []


def reads(monkeypatch):
    """The names of the files that are opened from now on."""
    opened, real = [], headers._header
    monkeypatch.setattr(headers, "_header", lambda path: opened.append(path.name) or real(path))
    return opened


def test_sizes_and_traits_come_from_one_look_at_the_header(tmp_path, monkeypatch):
    paths = [picture(tmp_path / f"{orientation}.jpg", orientation=orientation) for orientation in (1, 6)]
    Image.new("L", (5, 4)).save(tmp_path / "grey.png")
    opened = reads(monkeypatch)
    assert read_sizes([*paths, tmp_path / "grey.png"]) == [(40, 20), (20, 40), (5, 4)]
    assert read_traits([*paths, tmp_path / "grey.png"]) == [(1, False), (6, False), (1, True)]
    assert sorted(opened) == ["1.jpg", "6.jpg", "grey.png"]


def test_second_look_reads_only_what_changed(tmp_path, monkeypatch):
    paths = [picture(tmp_path / f"{name}.png") for name in "abc"]
    opened = reads(monkeypatch)
    assert read_sizes(paths) == [(40, 20)] * 3
    assert sorted(opened) == ["a.png", "b.png", "c.png"]
    opened.clear()
    assert read_sizes(paths) == [(40, 20)] * 3
    assert opened == []
    stat = paths[0].stat()
    picture(paths[0], 7, 9)
    os.utime(paths[0], ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    os.utime(paths[1], ns=(1, 1))
    assert read_sizes(paths) == [(7, 9), (40, 20), (40, 20)]
    assert sorted(opened) == ["a.png", "b.png"]
    opened.clear()
    picture(paths[1], 90, 80)  # other bytes at the same time, as a fast writer or a coarse clock leaves them
    os.utime(paths[1], ns=(1, 1))
    assert read_sizes(paths) == [(7, 9), (90, 80), (40, 20)]
    assert opened == ["b.png"]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]", b'{"x": 1}', b'{"x": [1, 2, "3"]}', b'{"x": [1, 2, [3]]}', b"\xff\xfe"]
)
def test_corrupt_cache_costs_only_time(tmp_path, content, caplog):
    paths = [picture(tmp_path / "a.png")]
    read_sizes(paths)
    (store,) = (tmp_path / "cache" / "headers").glob("*-headers-2.json")
    store.write_bytes(content)
    with caplog.at_level("WARNING", "al"):
        assert read_sizes(paths) == [(40, 20)]
    assert "ignoring the cache" in caplog.text
    caplog.clear()
    assert read_sizes(paths) == [(40, 20)]
    assert not caplog.text  # it was written again


def test_unwritable_cache_costs_only_time(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("in the way of a folder")
    monkeypatch.setenv("AL_CACHE", str(tmp_path / "file" / "below"))
    with caplog.at_level("WARNING", "al"):
        assert read_sizes([picture(tmp_path / "a.png")]) == [(40, 20)]
    assert "cannot keep the cache" in caplog.text


def test_cache_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    paths = [picture(tmp_path / "a.png")]
    read_sizes(paths)
    (store,) = (tmp_path / "cache" / "headers").iterdir()  # and no temporary file next to it
    before = store.read_bytes()

    def full(_):
        raise OSError("No space left on device")

    monkeypatch.setattr(system.os, "fsync", full)
    assert read_sizes([*paths, picture(tmp_path / "b.png")]) == [(40, 20)] * 2
    assert store.read_bytes() == before
    assert list(store.parent.iterdir()) == [store]


def test_digests_are_sha256_of_the_bytes(tmp_path):
    paths = [tmp_path / "a", tmp_path / "b"]
    paths[0].write_bytes(b"abc")
    paths[1].write_bytes(b"")
    expected = [hashlib.sha256(data).hexdigest()[:32] for data in (b"abc", b"")]
    assert read_digests(paths) == expected == read_digests(paths)
    assert expected[0] == "ba7816bf8f01cfea414140de5dae2223"  # FIPS 180-4, the worked example


def test_two_files_that_swap_places_are_read_again(tmp_path):
    """Of one length and one time of change, as an archive unpacks them: a rename changes the inode that a path names."""
    a, b, spare = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    for path, content in ((a, b"one"), (b, b"two")):
        path.write_bytes(content)
        os.utime(path, (10**9, 10**9))
    before = read_digests([a, b])
    a.rename(spare), b.rename(a), spare.rename(b)
    assert read_digests([a, b]) == before[::-1]


def test_a_file_that_has_just_changed_is_not_remembered(tmp_path, monkeypatch):
    """It may change again within a step of the file system's clock."""
    monkeypatch.setattr(headers, "SETTLED_NS", 2 * 10**9)
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    read_digests([path])
    [cache] = (tmp_path / "cache/headers").iterdir()
    assert json.loads(cache.read_text()) == {}


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_pixels_that_would_be_clipped_are_refused(tmp_path, mode):
    """Pillow clips them to 0..255 when it converts them to RGB: an X-ray becomes white, without a word."""
    path = tmp_path / ("a.png" if mode == "I;16" else "a.tif")
    Image.new(mode, (4, 4)).save(path)
    with pytest.raises(DatasetError, match=r"pixels, more than 8 bits each.*convert it to 8 bits"):
        read_sizes([path])


@pytest.mark.parametrize("mode", ["P", "CMYK", "LA", "RGBA", "1", "L"])
def test_other_pixels_are_read(tmp_path, mode):
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.new(mode, (4, 5)).save(path)
    assert read_sizes([path]) == [(4, 5)]


def test_a_pipe_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(DatasetError, match="is not a regular file"):
        read_sizes([tmp_path / "a.png"])


def test_cache_folder_follows_the_environment(tmp_path, monkeypatch):
    assert cache_dir() == tmp_path / "cache"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AL_CACHE", "~/mine")
    assert cache_dir() == tmp_path / "mine"
    monkeypatch.delenv("AL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir() == tmp_path / "xdg" / "al"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_dir() == tmp_path / ".cache" / "al"

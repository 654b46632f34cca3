"""TFRecords against tensorboard's writer, Examples against Google's protocol buffers, checksums against RFC 3720."""

import struct

import numpy as np
import pytest
from record_files import example, write_records
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import crc32c as tensorboards
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

from al_cli.datasets.tfrecords import crc32c, masked, parse_example, read_records
from al_cli.errors import DatasetError


@pytest.mark.parametrize(
    ("data", "checksum"),
    [  # RFC 3720, appendix B.4, whose bytes are written lowest first
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(reversed(range(32))), 0x113FDB5C),
        (b"123456789", 0xE3069283),
        (b"", 0),
    ],
)
def test_checksums_are_those_of_the_standard(data, checksum):
    assert crc32c(data) == checksum


@pytest.mark.parametrize("length", [1, 127, 128, 129, 255, 256, 1000])
def test_checksums_are_tensorboards_at_every_border_of_a_block(length):
    data = np.random.default_rng(length).integers(0, 256, length, dtype=np.uint8).tobytes()
    assert crc32c(data) == tensorboards(data)
    assert masked(crc32c(data)) == masked_crc32c(data)


def test_records_are_found_with_their_places(tmp_path):
    path = write_records(tmp_path / "part", b"one", b"", b"x" * 300)
    assert list(read_records(path)) == [(0, b"one"), (19, b""), (35, b"x" * 300)]
    assert list(read_records(write_records(tmp_path / "empty"))) == []


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda data: data[:-1], "the file ends inside a record"),
        (lambda data: data[:25], "the file ends inside a record"),
        (lambda data: data[:-5] + b"?" + data[-4:], "the checksum of the record's data does not fit"),
        (lambda data: data[:19] + b"\1" + data[20:], "is no TFRecord"),
    ],
)
def test_a_broken_record_names_file_and_offset(tmp_path, spoil, message):
    path = write_records(tmp_path / "part", b"one", b"two")
    path.write_bytes(spoil(path.read_bytes()))
    records = read_records(path)
    assert next(records) == (0, b"one"), "what is before is read"
    with pytest.raises(DatasetError, match=message) as error:
        next(records)
    assert error.value.where == f"{path}, byte 19"


def test_a_length_beyond_the_file_takes_no_memory(tmp_path):
    length = struct.pack("<Q", 2**62)
    (tmp_path / "part").write_bytes(length + struct.pack("<I", masked_crc32c(length)) + bytes(50))
    with pytest.raises(DatasetError, match="ends inside a record"):
        list(read_records(tmp_path / "part"))


@pytest.mark.parametrize("packed", [True, False])
def test_examples_are_read_as_protocol_buffers_write_them(packed):
    features = {"B1": [b"\0\x80"], "label": [3], "many": [0, 127, 128, 2**40, -1, 2**63 - 1, -(2**63)], "none": []}
    data = example(features | {"float": [0.5]}, packed)
    assert parse_example(data, "x") == features, "floats are left out"
    assert parse_example(b"", "x") == {}


def test_what_is_no_example_is_refused():
    good = example({"label": [3], "B1": [b"picture"]})
    for data in (good[:-2], b"\x0b", b"\xff" * 11):
        with pytest.raises(DatasetError, match="no Example") as error:
            parse_example(data, "part, byte 7")
        assert error.value.where == "part, byte 7"

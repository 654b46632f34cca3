"""TensorFlow's record files, read without TensorFlow: the framing of records, and the Example messages in them.

A file is records one after another. A record is its length (8 bytes, little-endian), a checksum of these 8 bytes, its data,
and a checksum of the data. A checksum is CRC-32C (Castagnoli), turned by 15 bits and moved by a constant, 4 bytes
(tensorflow/core/lib/io/record_writer.h). The data is a protocol buffer (tensorflow/core/example): Example { features = 1 },
Features { feature = 1, a map }, Feature { bytes_list = 1, float_list = 2, int64_list = 3 }, each list { repeated value = 1 }.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from al_cli.errors import DatasetError
from al_cli.system import open_regular

Feature = list[bytes] | list[int]  # the values of one name
CASTAGNOLI = 0x82F63B78  # CRC-32C's polynomial, lowest bit first
MASK = 0xA282EAD8  # added to a checksum, so that one of data that holds checksums is no trivial case
BLOCK_BYTES = 128  # bytes of which a checksum is computed at a time, see `crc32c`
VARINT, EIGHT_BYTES, LENGTH, FOUR_BYTES = 0, 1, 2, 5  # wire types of protocol buffers
BROKEN = "copy the file again from where it was published"


def read_records(path: Path) -> Iterator[tuple[int, bytes]]:
    """(offset, data) of each record of a file. DatasetError, with file and offset, where a checksum does not fit or the file
    ends inside a record."""
    try:
        with open_regular(path) as file:
            offset = 0
            while head := file.read(12):
                data = _record(file, head, f"{path}, byte {offset}")
                yield offset, data
                offset += 16 + len(data)
    except OSError as error:
        raise DatasetError(f"cannot be read: {error.strerror}", where=str(path), remedy=BROKEN) from error


def _record(file: BinaryIO, head: bytes, where: str) -> bytes:
    if len(head) < 12:
        raise DatasetError("the file ends inside a record", where=where, remedy=BROKEN)
    length, checksum = struct.unpack("<QI", head)
    if masked(crc32c(head[:8])) != checksum:
        what = "is no TFRecord: the checksum of the record's length does not fit"
        raise DatasetError(what, where=where, remedy=BROKEN)
    if length + 4 > os.fstat(file.fileno()).st_size - file.tell():
        raise DatasetError("the file ends inside a record", where=where, remedy=BROKEN)
    data, checksum = file.read(length), int.from_bytes(file.read(4), "little")
    if masked(crc32c(data)) != checksum:
        raise DatasetError("the checksum of the record's data does not fit", where=where, remedy=BROKEN)
    return data


def masked(checksum: int) -> int:
    """A CRC-32C as a record file has it."""
    return ((checksum >> 15 | checksum << 17) + MASK) & 0xFFFFFFFF


def crc32c(data: bytes) -> int:
    """CRC-32C of the bytes (RFC 3720, appendix B.4); that of b"123456789" is 0xE3069283.

    A loop over bytes takes 10 ms a 100 kB in Python. The checksum is linear: each of `BLOCK_BYTES` bytes adds what its value
    and its distance to the block's end say, and the register that the blocks before left adds its own part.
    """
    register = 0xFFFFFFFF
    whole = len(data) // BLOCK_BYTES * BLOCK_BYTES
    for byte in data[: len(data) - whole]:
        register = int(BYTE[(register ^ byte) & 0xFF]) ^ register >> 8
    blocks = np.frombuffer(data, np.uint8, whole, len(data) - whole).reshape(-1, BLOCK_BYTES)
    for own in np.bitwise_xor.reduce(MOVED[BLOCK_BYTES - 1 - np.arange(BLOCK_BYTES), blocks], axis=1).tolist():
        register = own ^ _moved_by_block(register)
    return register ^ 0xFFFFFFFF


def _moved_by_block(register: int) -> int:
    """The register after `BLOCK_BYTES` bytes of zero."""
    parts = (register & 0xFF, register >> 8 & 0xFF, register >> 16 & 0xFF, register >> 24)
    return ZEROS[0][parts[0]] ^ ZEROS[1][parts[1]] ^ ZEROS[2][parts[2]] ^ ZEROS[3][parts[3]]


def _byte_table() -> NDArray[np.uint32]:
    """[256] the register after one byte, from zero."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(CASTAGNOLI), table >> 1).astype(np.uint32)
    return table


def _moved_table() -> NDArray[np.uint32]:
    """[BLOCK_BYTES, 256] the register after one byte and so many zeros more, from zero."""
    rows = [BYTE]
    for _ in range(BLOCK_BYTES - 1):
        rows.append(BYTE[rows[-1] & 0xFF] ^ rows[-1] >> 8)
    return np.stack(rows)


BYTE = _byte_table()
MOVED = _moved_table()
# What byte 0, 1, 2, 3 of a register contributes after a block of zeros: it is as if that byte were the block's first data.
ZEROS = [MOVED[BLOCK_BYTES - 1 - place].tolist() for place in range(4)]


def parse_example(data: bytes, where: str) -> dict[str, Feature]:
    """{name: values} of the features of an Example, bytes and whole numbers; features of floats are left out.

    DatasetError, with `where`, for data that is no Example.
    """
    try:
        features: dict[str, Feature] = {}
        for group in _fields(data, 1):
            for entry in _fields(group, 1):
                name, feature = b"", b""
                for number, value in _messages(entry):
                    if isinstance(value, bytes):
                        name, feature = (value, feature) if number == 1 else (name, value)
                if (values := _values(feature)) is not None:
                    features[name.decode()] = values
    except (IndexError, ValueError) as error:
        raise DatasetError("the record is no Example of TensorFlow", where=where, remedy=BROKEN) from error
    return features


def _values(feature: bytes) -> Feature | None:
    """The values of a Feature message; None for floats, and where it has no list."""
    for number, value in _messages(feature):
        if number == 1 and isinstance(value, bytes):
            return _fields(value, 1)
        if number == 3 and isinstance(value, bytes):
            return [_signed(whole) for whole in _numbers(value)]
    return None


def _numbers(message: bytes) -> Iterator[int]:
    """The values of an Int64List: packed (all in one field) or each in a field of its own."""
    for number, value in _messages(message):
        if number == 1 and isinstance(value, int):
            yield value
        elif number == 1 and isinstance(value, bytes):
            place = 0
            while place < len(value):
                whole, place = _varint(value, place)
                yield whole


def _signed(whole: int) -> int:
    return whole - 2**64 if whole >= 2**63 else whole


def _fields(message: bytes, wanted: int) -> list[bytes]:
    """The contents of each field of that number which has a length."""
    return [value for number, value in _messages(message) if number == wanted and isinstance(value, bytes)]


def _messages(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(field number, value) of each field. IndexError or ValueError where the bytes are no protocol buffer."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        number, kind = tag >> 3, tag & 7
        if kind == VARINT:
            whole, place = _varint(message, place)
            yield number, whole
            continue
        if kind == LENGTH:
            size, place = _varint(message, place)
        elif kind in (EIGHT_BYTES, FOUR_BYTES):
            size = 8 if kind == EIGHT_BYTES else 4
        else:
            raise ValueError(f"wire type {kind}")
        if place + size > len(message):
            raise ValueError("a field is longer than its message")
        yield number, message[place : place + size]
        place += size


def _varint(message: bytes, place: int) -> tuple[int, int]:
    """(value, where the next byte is) of a number in groups of 7 bits, the lowest first."""
    value = shift = 0
    while True:
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")

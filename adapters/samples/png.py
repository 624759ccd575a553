"""Pictures without an imaging library: write and read PNG files, and lay frames out on one contact sheet.

The format is that of the PNG specification (ISO/IEC 15948). Only what the samples write is read back: 8-bit RGB, not
interlaced, every row filtered "up". A picture is an array of shape (height, width, 3), dtype uint8.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from adapters.samples.contract import write_atomically

Picture: TypeAlias = NDArray[np.uint8]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_RGB_8_BIT = (8, 2, 0, 0, 0)
"""Bit depth, colour type, compression, filter method, interlace: the one kind of file read and written here."""
_FILTER_UP = 2
_SHEET_GAP_PX = 4
_SHEET_COLOUR = (18, 20, 24)


class PngError(ValueError):
    """The file is not a picture these samples wrote."""


def encode(picture: Picture) -> bytes:
    """Return the bytes of a PNG file; equal pictures give equal bytes."""
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or picture.size == 0:
        raise ValueError(f"a picture is (height, width, 3) of uint8, not {picture.shape} of {picture.dtype}")
    height, width, _ = picture.shape
    header = struct.pack(">II5B", width, height, *_RGB_8_BIT)
    packed = zlib.compress(_filter_up(picture), 6)
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")


def decode(content: bytes) -> Picture:
    """Return the picture in the bytes of a PNG file; raise PngError if they are damaged or of another kind."""
    chunks = list(_chunks(content))
    if not chunks or chunks[0][0] != b"IHDR" or chunks[-1][0] != b"IEND":
        raise PngError("the file does not hold a whole PNG picture")
    width, height, *kind = struct.unpack(">II5B", chunks[0][1])
    if tuple(kind) != _RGB_8_BIT:
        raise PngError("only 8-bit RGB pictures that are not interlaced can be read")
    packed = b"".join(body for name, body in chunks if name == b"IDAT")
    return _unfilter_up(_inflate(packed, height * (1 + width * 3)), width, height)


def write_png(path: Path, picture: Picture) -> None:
    """Write the picture so that a reader of `path` sees the old one or the whole new one, never a part."""
    write_atomically(path, encode(picture))


def read_png(path: Path) -> Picture:
    """Read a picture that `write_png` wrote; raise PngError naming the file if it is not one."""
    try:
        return decode(path.read_bytes())
    except PngError as error:
        raise PngError(f"{path}: {error}") from error


def contact_sheet(paths: Sequence[Path], columns: int) -> Picture:
    """Lay pictures of one size out in reading order with small gaps; a last row that is not full stays dark.

    The sheet has at most `columns` columns. Raises ValueError for no pictures, no columns, or unequal sizes.
    """
    if not paths or columns < 1:
        raise ValueError("a contact sheet needs at least one picture and one column")
    frames = [read_png(path) for path in paths]
    height, width, _ = frames[0].shape
    columns = min(columns, len(frames))
    rows = -(-len(frames) // columns)
    cell_height, cell_width = height + _SHEET_GAP_PX, width + _SHEET_GAP_PX
    sheet = np.empty((rows * cell_height + _SHEET_GAP_PX, columns * cell_width + _SHEET_GAP_PX, 3), np.uint8)
    sheet[:] = _SHEET_COLOUR
    for index, (path, frame) in enumerate(zip(paths, frames, strict=True)):
        if frame.shape != frames[0].shape:
            raise ValueError(f"{path} is {frame.shape[1]}x{frame.shape[0]}, the first is {width}x{height}")
        top = _SHEET_GAP_PX + index // columns * cell_height
        left = _SHEET_GAP_PX + index % columns * cell_width
        sheet[top : top + height, left : left + width] = frame
    return sheet


def _filter_up(picture: Picture) -> bytes:
    """Replace each row by its difference from the row above (modulo 256), which packs far better."""
    height, width, _ = picture.shape
    rows = picture.reshape(height, width * 3)
    filtered = np.empty((height, 1 + width * 3), np.uint8)
    filtered[:, 0] = _FILTER_UP
    filtered[0, 1:] = rows[0]
    filtered[1:, 1:] = rows[1:] - rows[:-1]
    return filtered.tobytes()


def _unfilter_up(raw: bytes, width: int, height: int) -> Picture:
    rows = np.frombuffer(raw, np.uint8).reshape(height, 1 + width * 3)
    if (rows[:, 0] != _FILTER_UP).any():
        raise PngError("only rows with the filter `up` can be read")
    # A running sum in eight bits wraps exactly as the differences did.
    return np.cumsum(rows[:, 1:], axis=0, dtype=np.uint8).reshape(height, width, 3)


def _inflate(packed: bytes, size: int) -> bytes:
    """Unpack exactly `size` bytes; asking for one more notices a longer picture without unpacking it."""
    try:
        raw = zlib.decompressobj().decompress(packed, size + 1)
    except zlib.error as error:
        raise PngError(f"the picture cannot be unpacked: {error}") from error
    if len(raw) != size or size == 0:
        raise PngError("the picture has not the size its header states")
    return raw


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield (name, body) of each chunk, its checksum compared."""
    if not content.startswith(_SIGNATURE):
        raise PngError("the file does not start like a PNG picture")
    position = len(_SIGNATURE)
    while position < len(content):
        if position + 12 > len(content):
            raise PngError("the file ends inside a chunk")
        length = int.from_bytes(content[position : position + 4], "big")
        name, body = content[position + 4 : position + 8], content[position + 8 : position + 8 + length]
        position += 12 + length
        if content[position - 4 : position] != struct.pack(">I", zlib.crc32(name + body)):
            raise PngError(f"the checksum of chunk {name!r} does not match")
        yield name, body

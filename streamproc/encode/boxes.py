"""The few boxes of an MP4 file that have to be found or changed (ISO/IEC 14496-12)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

# Matrices for a picture that must be turned clockwise for display, without the translation (8.3.2.3).
_TURNED = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}


def boxes(data: bytes | bytearray, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(type, first byte of the payload, end) of each box between ``start`` and ``end``."""
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, start)
        header = 8
        if size == 1:
            size, header = struct.unpack_from(">Q", data, start + 8)[0], 16
        elif size == 0:
            size = end - start
        if size < header:
            return
        yield kind, start + header, start + size
        start += size


def init_length(data: bytes) -> int:
    """Length of the initialisation section: everything up to the end of ``moov``."""
    for kind, _, end in boxes(data, 0, len(data)):
        if kind == b"moov":
            return end
    raise ValueError("no moov box")


def rotated(data: bytes, rotation: int, width: int, height: int) -> bytes:
    """The same file with the first track turned clockwise by ``rotation`` degrees for display (``tkhd`` matrix)."""
    if rotation not in _TURNED:
        return data
    patched = bytearray(data)
    for path in _tracks(data):
        for kind, start, _ in boxes(data, *path):
            if kind == b"tkhd":
                a, b, c, d = _TURNED[rotation]
                x = width if a < 0 else height if c < 0 else 0
                y = height if d < 0 else width if b < 0 else 0
                at = start + (40 if data[start] == 0 else 52)
                one = 1 << 16
                struct.pack_into(
                    ">9i", patched, at, a * one, b * one, 0, c * one, d * one, 0, x * one, y * one, 1 << 30
                )
                return bytes(patched)
    return data


def _tracks(data: bytes) -> Iterator[tuple[int, int]]:
    for kind, start, end in boxes(data, 0, len(data)):
        if kind == b"moov":
            for inner, first, last in boxes(data, start, end):
                if inner == b"trak":
                    yield first, last

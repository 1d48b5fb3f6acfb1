"""What a coded picture's NAL units say without decoding them: does it begin a closed group of pictures?

Sources: ISO/IEC 14496-15, 5.3.3 (avcC) and 8.3.3 (hvcC); ITU-T H.264, table 7-1; ITU-T H.265, table 7-1.
"""

from __future__ import annotations

from collections.abc import Iterator

CODECS = {
    "V_MPEG4/ISO/AVC": "h264",
    "V_MPEG/ISO/AVC": "h264",  # AWS's documentation prints it so
    "V_MPEGH/ISO/HEVC": "hevc",
    "V_MPEG/ISO/HEVC": "hevc",
}
"""Matroska CodecID -> FFmpeg's name of the decoder."""

_H264_IDR = {5}
# CRA (21) is a random access point whose leading pictures may refer to what stands before it.
_HEVC_IDR = {19, 20}
_H264_SLICE = range(1, 6)
_HEVC_SLICE = range(32)


def starts_closed_gop(codec: str, codec_private: bytes, data: bytes) -> bool:
    """Whether this picture is an IDR picture: nothing after it refers to anything before it.

    Args:
        codec: ``h264`` or ``hevc``.
        codec_private: The avcC or hvcC record; anything else means start codes (Annex B).
        data: One access unit as it stands in the block.
    """
    hevc = codec == "hevc"
    slices, idr = (_HEVC_SLICE, _HEVC_IDR) if hevc else (_H264_SLICE, _H264_IDR)
    for first in _first_bytes(_length_size(hevc, codec_private), data):
        kind = (first >> 1) & 0x3F if hevc else first & 0x1F
        if kind in slices:
            return kind in idr
    return False


def _length_size(hevc: bool, codec_private: bytes) -> int:
    """Bytes before each NAL unit that say its length; 0 for start codes."""
    at = 21 if hevc else 4
    if len(codec_private) > at and codec_private[0] == 1:
        return (codec_private[at] & 3) + 1
    return 0


def _first_bytes(length_size: int, data: bytes) -> Iterator[int]:
    """The first byte of each NAL unit."""
    if length_size:
        at = 0
        while at + length_size < len(data):
            size = int.from_bytes(data[at : at + length_size], "big")
            at += length_size
            if size == 0:
                continue
            yield data[at]
            at += size
        return
    at = data.find(b"\0\0\1")
    while 0 <= at < len(data) - 3:
        yield data[at + 3]
        at = data.find(b"\0\0\1", at + 3)

"""Small media and clients for the tests of the stand-in."""

from __future__ import annotations

import functools
import io
import re
from typing import Any

import av
import boto3
import numpy as np
from botocore.config import Config

from streamproc.model.media import Block, Track, TrackKind
from streamproc.standin import MediaFragment, StandIn
from streamproc.standin.media import fragments_of_video

_SESSION = boto3.Session(aws_access_key_id="x", aws_secret_access_key="y", region_name="us-east-1")


def video(frames: int = 30, gop: int = 6, rate: int = 30, codec: str = "libx264", container: str = "matroska",
          b_frames: int = 0, audio: bool = False) -> bytes:  # fmt: skip
    """An ordinary video file, 160x120; every picture is of one grey that tells its number apart."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        stream.codec_context.gop_size = gop
        if codec == "libx264":
            stream.options = {"bf": str(b_frames), "x264-params": f"keyint={gop}:min-keyint={gop}:scenecut=0:b-adapt=0"}
        else:
            params = f"keyint={gop}:min-keyint={gop}:scenecut=0:open-gop=0:bframes={b_frames}:b-adapt=0:log-level=none"
            stream.options = {"x265-params": params, "preset": "ultrafast"}
        sound = output.add_stream("aac", rate=16000, layout="mono") if audio else None
        for index in range(frames):
            picture = av.VideoFrame.from_ndarray(np.full((180, 160), 16 + index * 5 % 220, np.uint8), format="yuv420p")
            picture.pts = index
            output.mux(stream.encode(picture))
        output.mux(stream.encode(None))
        if sound is not None:
            for index in range(frames * 16000 // rate // 1024):
                piece = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.int16), format="s16", layout="mono")
                piece.sample_rate, piece.pts = 16000, index * 1024
                output.mux(sound.encode(piece))
            output.mux(sound.encode(None))
    return file.getvalue()


@functools.cache
def fragments(frames: int = 30, gop: int = 6, codec: str = "libx264", b_frames: int = 0) -> tuple[MediaFragment, ...]:
    """Fragments of 200 ms by default, as short as the service takes them at five per second."""
    return tuple(fragments_of_video(io.BytesIO(video(frames, gop, codec=codec, b_frames=b_frames))))


def made(count: int = 5, duration_ms: int = 200, blocks: int = 4) -> list[MediaFragment]:
    """Fragments whose blocks hold their own numbers; they cannot be decoded."""
    track = Track(1, TrackKind.VIDEO, "V_MPEG4/ISO/AVC", b"\x01private", 160, 120)
    step = duration_ms * 1000 // blocks
    return [
        MediaFragment(
            (track,),
            tuple(Block(1, b * step // 1000 * 1000, b == 0, f"block {f}.{b};".encode() * 20) for b in range(blocks)),
            duration_ms * 1000,
        )
        for f in range(count)
    ]


def client(standin: StandIn, service: str, **config: Any) -> Any:
    """A plain boto3 client that comes to the stand-in."""
    settings = Config(retries={"total_max_attempts": 1}, read_timeout=5, **config)
    return _SESSION.client(service, endpoint_url=standin.url, config=settings)


def open_media(standin: StandIn, stream: str = "cam", kind: str = "EARLIEST", **selector: Any) -> Any:
    """The Payload of a GetMedia call."""
    media = client(standin, "kinesis-video-media")
    return media.get_media(StreamName=stream, StartSelector={"StartSelectorType": kind, **selector})["Payload"]


def tags(body: bytes, name: str) -> list[str]:
    """Values of a tag in the order of the body."""
    pattern = re.compile(b"AWS_KINESISVIDEO_" + name.encode() + b"\x44\x87(.)", re.DOTALL)
    return [body[m.end() : m.end() + (m[1][0] & 0x7F)].decode() for m in pattern.finditer(body)]


def decoded(body: bytes) -> int:
    """How many pictures PyAV gets out of a whole body."""
    with av.open(io.BytesIO(body)) as container:
        return sum(1 for _ in container.decode(video=0))


def blocks(body: bytes) -> list[str]:
    """Numbers of the made blocks that a body holds."""
    return list(dict.fromkeys(re.findall(r"block (\d+\.\d+);", body.decode("latin-1"))))


def jpeg(width: int = 160, height: int = 120) -> bytes:
    """A grey picture."""
    import simplejpeg

    return simplejpeg.encode_jpeg(np.full((height, width, 3), 128, np.uint8), colorspace="RGB")

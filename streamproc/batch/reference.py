"""Where the faces of a recording really are, frame by frame: read from JSON, or made of detections on every frame."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from streamproc.errors import ConfigurationError, shown_text
from streamproc.model.detection import Detection, Seen
from streamproc.model.geometry import Box

DETECTED, WEAK, FILLED = "det", "low", "fill"
_KINDS = {DETECTED: DETECTED, WEAK: WEAK, FILLED: FILLED, "gap": FILLED}
_HOW = "see the README's section on evaluate for the format"


@dataclass(frozen=True, slots=True)
class Face:
    """One face in one frame.

    Attributes:
        track: Which face it is, the same number in all its frames.
        box: In shares of the coded picture, clipped to it.
        score: A detector's confidence, in [0, 1].
        kind: ``det`` seen by a detector, ``low`` with little confidence, ``fill`` not seen but known from the frames
            around it.
    """

    track: int
    box: Box
    score: float = 1.0
    kind: str = DETECTED


@dataclass(frozen=True, slots=True)
class Reference:
    """The faces of one recording.

    Attributes:
        fps: Frames per second on average, more than 0.
        frames: The faces of each frame, in the order in which the frames are decoded.
    """

    width: int
    height: int
    fps: float
    frames: tuple[tuple[Face, ...], ...]


def answer(faces: Sequence[Face], min_confidence: float) -> Seen:
    """What a detector would have said about a frame with these faces: it saw none of the filled ones."""
    seen = (f for f in faces if f.kind != FILLED and f.score >= min_confidence)
    return Seen(tuple(Detection(f.box, "face", min(1.0, max(0.0, f.score))) for f in seen))


def parse_reference(text: bytes, name: str) -> Reference:
    """Read ``{"w", "h", "fps", "n", "frames": [[{"t": track, "b": [x0, y0, x1, y1], "s": score, "k": kind}, ...]]}``.

    Boxes are in pixels and are clipped to the picture; ``s`` (1) and ``k`` (``det``) may be left out.

    Args:
        name: Of the file, for messages.

    Raises:
        ConfigurationError: It is something else.
    """
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError):
        raise ConfigurationError(f"{name}: is not JSON; {_HOW}") from None
    if not isinstance(raw, dict) or not isinstance(raw.get("frames"), list):
        raise ConfigurationError(f'{name}: has no list "frames"; {_HOW}')
    width, height, fps = (_positive(raw, key, name) for key in ("w", "h", "fps"))
    frames = raw["frames"]
    if raw.get("n", len(frames)) != len(frames):
        raise ConfigurationError(
            f'{name}: says "n": {shown_text(str(raw["n"]))} and has {len(frames)} frames; correct it'
        )
    tracks: dict[str, int] = {}
    read = []
    for index, faces in enumerate(frames):
        if not isinstance(faces, list):
            raise ConfigurationError(f"{name}: frame {index}: should be a list of faces; {_HOW}")
        read.append(tuple(_face(face, width, height, tracks, f"{name}: frame {index}") for face in faces))
    return Reference(round(width), round(height), fps, tuple(read))


def _positive(raw: dict[str, Any], key: str, name: str) -> float:
    value = _number(raw.get(key))
    if value is None or value <= 0:
        raise ConfigurationError(f'{name}: "{key}" should be a number over 0; {_HOW}')
    return value


def _face(raw: Any, width: float, height: float, tracks: dict[str, int], where: str) -> Face:
    edges = raw.get("b") if isinstance(raw, dict) else None
    if not isinstance(edges, list) or len(edges) != 4 or any(_number(edge) is None for edge in edges):
        raise ConfigurationError(f'{where}: a face should have "b": [x0, y0, x1, y1] in pixels; {_HOW}')
    left, top, right, bottom = edges
    box = Box(left / width, top / height, right / width, bottom / height).clip()
    if box.empty:
        raise ConfigurationError(
            f"{where}: the box {edges} has no area inside the picture of {width:g}x{height:g}; correct or remove it"
        )
    score, kind = _number(raw.get("s", 1.0)), _KINDS.get(str(raw.get("k", DETECTED)))
    if score is None or kind is None:
        raise ConfigurationError(f'{where}: "s" should be a number and "k" one of det, low, fill; {_HOW}')
    track = tracks.setdefault(json.dumps(raw.get("t")), len(tracks))
    return Face(track, box, score, kind)


def _number(value: Any) -> float | None:
    """The number, if it is a finite one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None

"""The curve of a sweep as a picture: what more calls buy."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from streamproc.batch.evaluation import Score

_Picture = NDArray[np.uint8]
_Colour = tuple[int, int, int]  # blue, green, red

_WIDTH, _HEIGHT = 1000, 720
_LEFT, _RIGHT = 110, _WIDTH - 40
_PANELS = ((116, 400), (480, 640))  # top and bottom of each
_INK: _Colour = (60, 50, 45)
_PALE: _Colour = (228, 224, 220)
_BLUE: _Colour = (170, 95, 30)
_RED: _Colour = (40, 40, 200)
_TICKS = 5
_DOT_PX = 7


def curve(scores: Sequence[Score], title: str) -> bytes:
    """A PNG: coverage above and over-redaction below, over calls per second.

    Points with an exposure of over 100 ms are red.

    Args:
        scores: One per rate, at least one.
    """
    canvas: _Picture = np.full((_HEIGHT, _WIDTH, 3), 255, np.uint8)
    points = sorted(scores, key=lambda s: s.calls_per_second)
    rates = [s.calls_per_second for s in points]
    across = _ticks(0.0, max(rates) * 1.04)
    _text(canvas, title, (_LEFT, 40), 24, weight=600)
    _text(canvas, "red: an exposure of over 100 ms", (_LEFT, 66), 16, _RED)
    lowest = min(s.coverage for s in points)
    # No finer than a tenth of a percent: what is left there is noise.
    floor = 100 * lowest - max(0.1, 100 * (1 - lowest) * 0.15)
    panels = (
        ("coverage of face-frames, %", _ticks(max(0.0, floor), 100.0), [100 * s.coverage for s in points]),
        (
            "over-redaction, % of the picture",
            _ticks(0.0, max(0.1, *(112 * s.over_redaction for s in points))),
            [100 * s.over_redaction for s in points],
        ),
    )
    for (top, bottom), (name, up, values) in zip(_PANELS, panels, strict=True):
        _axes(canvas, top, bottom, across, up, name)
        places = [
            (_place(rate, across, _LEFT, _RIGHT), _place(value, up, bottom, top))
            for rate, value in zip(rates, values, strict=True)
        ]
        cv2.polylines(canvas, [np.array(places, np.int32)], False, _BLUE, 2, cv2.LINE_AA)
        for place, value, point in zip(places, values, points, strict=True):
            cv2.circle(canvas, place, _DOT_PX, _RED if point.long_exposures else _BLUE, -1, cv2.LINE_AA)
            # Above the point where there is room, else below.
            dy = -14 if place[1] - 34 > top else 28
            # Rounded down: only what is covered without exception is 100 %.
            label = f"{math.floor(100 * value + 1e-6) / 100:.2f}"
            _text(canvas, label, (place[0], place[1] + dy), 15, centred=True, clear=True)
    _text(canvas, "calls per second of video", ((_LEFT + _RIGHT) // 2, _HEIGHT - 24), 18, centred=True)
    return bytes(cv2.imencode(".png", canvas)[1])


def _axes(canvas: _Picture, top: int, bottom: int, across: list[float], up: list[float], name: str) -> None:
    for value in across:
        x = _place(value, across, _LEFT, _RIGHT)
        cv2.line(canvas, (x, top), (x, bottom), _PALE, 1)
        _text(canvas, _number(value, across), (x, bottom + 24), 16, centred=True)
    for value in up:
        y = _place(value, up, bottom, top)
        cv2.line(canvas, (_LEFT, y), (_RIGHT, y), _PALE, 1)
        _text(canvas, _number(value, up), (_LEFT - 12, y + 6), 16, right=True)
    cv2.line(canvas, (_LEFT, top), (_LEFT, bottom), _INK, 1)
    cv2.line(canvas, (_LEFT, bottom), (_RIGHT, bottom), _INK, 1)
    _text(canvas, name, (_LEFT + 10, top - 6), 17, weight=600)


def _place(value: float, ticks: list[float], low_px: int, high_px: int) -> int:
    share = (value - ticks[0]) / (ticks[-1] - ticks[0])
    return round(low_px + share * (high_px - low_px))


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers from ``low`` or below to ``high`` or above, about five."""
    raw = max(high - low, 1e-6) / _TICKS
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * n for n in (1, 2, 2.5, 5, 10) if size * n >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(n * step, 9) for n in range(first, max(last, first + 1) + 1)]


def _number(value: float, ticks: list[float]) -> str:
    """With as many places as the steps need."""
    places = next(n for n in range(10) if all(abs(round(t, n) - t) < 1e-9 for t in ticks))
    return f"{value:.{places}f}"


def _text(
    canvas: _Picture,
    text: str,
    at: tuple[int, int],
    size: int,
    colour: _Colour = _INK,
    weight: int = 400,
    *,
    centred: bool = False,
    right: bool = False,
    clear: bool = False,
) -> None:
    """Write on the line through ``at``: from there, about there, or up to there; ``clear`` of what is drawn there."""
    font = cv2.FontFace("sans")
    left, _, width, _ = cv2.getTextSize((_WIDTH, _HEIGHT), text, (0, 0), font, size, weight)
    shift = width // 2 if centred else width if right else 0
    if clear:
        x = at[0] - shift
        cv2.rectangle(canvas, (x - 2, at[1] - size + 2), (x + width + 2, at[1] + 3), (255, 255, 255), -1)
    cv2.putText(canvas, text, (at[0] - shift - left, at[1]), colour, font, size, weight)

"""Laws of looking by need: regular looks, rest while nothing changes, haste while the camera swings."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from streamproc.model.detection import Answer, Detection, Seen
from streamproc.model.frame import Cover, Decision
from streamproc.model.geometry import Box
from streamproc.pipeline.covering import Covering
from streamproc.pipeline.work import CoverOptions

OPTIONS = CoverOptions(5.0, 1_500_000, 0.1, 400_000, every_us=500_000, ask_us=100_000, calm_us=2_000_000)
FACE = Detection(Box(0.4, 0.4, 0.5, 0.6))
RATE = 30


def wide_texture() -> NDArray[np.uint8]:
    noise = np.random.default_rng(5).normal(0, 1, (180, 4000)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 4) * 300 + cv2.GaussianBlur(noise, (0, 0), 15) * 900
    return np.clip(soft + 128, 0, 255).astype(np.uint8)


TEXTURE = wide_texture()


def watch(
    pictures: list[NDArray[np.uint8]], options: CoverOptions, answer: Answer | None = None
) -> tuple[list[int], list[Cover]]:
    """Run over pictures at 30 a second; answers come five frames later. Returns the looks and the covers."""
    covering = Covering(options)
    looks: list[int] = []
    due: list[tuple[int, int]] = []
    covers: list[Cover] = []
    for i, picture in enumerate(pictures):
        for _, ticket in [d for d in due if d[0] <= i]:
            new = covering.answer(ticket, answer or Seen((FACE,)))
            looks += new
            due += [(i + 5, t) for t in new]
        due = [d for d in due if d[0] > i]
        new = covering.frame(i, i * 1_000_000 // RATE, picture)
        looks += new
        due += [(i + 5, t) for t in new]
        covers += [c for _, c in covering.decided()]
    looks += covering.tail(needed=True)
    for ticket in [t for _, t in due] + looks[-1:]:
        covering.answer(ticket, answer or Seen((FACE,)))
    covering.close()
    covers += [c for _, c in covering.decided()]
    assert len(covers) == len(pictures)
    return looks, covers


def panned(speed: float, seconds: float = 4) -> list[NDArray[np.uint8]]:
    """The camera swings over the texture by so many widths (320) a second."""
    return [
        np.ascontiguousarray(TEXTURE[:, (x := int(i * speed * 320 / RATE)) : x + 320])
        for i in range(int(seconds * RATE))
    ]


def test_calm_camera_is_looked_at_only_as_often_as_told_and_every_frame_is_covered_as_before() -> None:
    pictures = panned(0, 10)
    looks, covers = watch(pictures, OPTIONS)
    assert len(looks) <= 10 / 2 + 3
    assert all(any(r.box.contains(FACE.box) for r in c.regions) for c in covers[1:])
    assert sum(c.decision is Decision.SEEN for c in covers) == len(set(looks))
    always, _ = watch(pictures, replace(OPTIONS, calm_us=0))
    assert len(always) >= 10 / 0.5


def test_something_new_ends_the_rest() -> None:
    pictures = [p.copy() for p in panned(0, 4)]
    for picture in pictures[60:]:
        picture[40:110, 200:240] = 255 - picture[40:110, 200:240]
    looks, _ = watch(pictures, replace(OPTIONS, calm_us=8_000_000))
    assert any(60 <= look <= 76 for look in looks)


def test_looks_are_closer_while_the_camera_swings_and_never_more_than_are_paid_for() -> None:
    calm, _ = watch(panned(0), replace(OPTIONS, calm_us=0))
    swung, _ = watch(panned(2.2), OPTIONS)
    assert len(swung) > len(calm)
    assert len(swung) <= 5 * 4 + 2

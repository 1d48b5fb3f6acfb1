"""Laws of looking by need: regular looks, rest while nothing changes, haste while the camera swings."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamproc.model.detection import Answer, Detection, Failed, Failure, Seen
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


def test_frames_whose_time_is_up_are_covered_whole_and_the_next_look_still_counts() -> None:
    looks, covers = watch(panned(1), replace(OPTIONS, lookahead_us=100_000, every_us=800_000))
    assert sum(c.decision is Decision.WHOLE for c in covers) > len(covers) / 2
    assert [covers[i].decision for i in looks[1:-1]] == [Decision.SEEN] * (len(looks) - 2)


def odd_picture(kind: str, number: int) -> NDArray[np.uint8]:
    if kind == "noise":
        return np.random.default_rng(number).integers(0, 255, (180, 320)).astype(np.uint8)
    if kind == "black":
        return np.zeros((180, 320), np.uint8)
    if kind == "small":
        return np.full((16, 20), number % 200, np.uint8)
    at = number * 40 % 3600 if kind == "swung" else 0
    return np.ascontiguousarray(TEXTURE[:, at : at + 320])


boxes = st.builds(Box, *(st.floats(-0.5, 1.5) for _ in range(4)))
said = st.one_of(
    st.just(None),
    st.sampled_from(Failure).map(Failed),
    st.lists(st.builds(Detection, boxes), max_size=4).map(lambda found: Seen(tuple(found))),
)


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["calm", "calm", "swung", "noise", "black", "small"]),
            st.sampled_from([0, 1, 33_333, 33_333, 200_000, 900_000]),
            said,
            st.booleans(),
        ),
        max_size=40,
    ),
    st.builds(
        CoverOptions,
        st.sampled_from([1.0, 5.0, 30.0]),
        st.sampled_from([100_000, 1_500_000]),
        st.just(0.1),
        st.sampled_from([0, 400_000]),
        st.sampled_from([0, 500_000]),
        st.sampled_from([0, 100_000]),
        st.sampled_from([0, 2_000_000]),
    ),
)
def test_whatever_comes_every_frame_is_decided_once_and_no_answer_is_needed_for_that(
    shots: list[tuple[str, int, Answer | None, bool]], options: CoverOptions
) -> None:
    covering = Covering(options)
    time_us = looks = 0
    decided: list[int] = []
    for ticket, (kind, step_us, answer, tail) in enumerate(shots):
        time_us += step_us
        open_ = covering.frame(ticket, time_us, odd_picture(kind, ticket), apart=kind == "small", damaged=step_us == 1)
        open_ += covering.tail() if tail else []
        while open_:
            looks += 1
            one = open_.pop()
            if answer is not None:
                open_ += covering.answer(one, answer)
        decided += [t for t, _ in covering.decided()]
    covering.close()
    decided += [t for t, _ in covering.decided()]
    assert decided == list(range(len(shots)))
    assert looks <= options.calls_per_second * time_us / 1_000_000 + 1

"""Reading references, and making them of detections."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.batch.linking import link
from streamproc.batch.reference import DETECTED, FILLED, WEAK, Face, answer, parse_reference
from streamproc.errors import ConfigurationError
from streamproc.model.detection import Detection
from streamproc.model.geometry import Box

GOOD: dict[str, Any] = {
    "w": 200,
    "h": 100,
    "fps": 25.0,
    "n": 2,
    "cuts": [],
    "frames": [
        [
            {"t": 4, "b": [20, 10, 60, 50], "s": 0.9, "k": "det"},
            {"t": "x", "b": [-10, 0, 20, 20], "s": 0.4, "k": "low"},
        ],
        [{"t": 4, "b": [20, 10, 60, 50], "s": 0.7, "k": "fill"}, {"b": [0, 0, 1, 1]}],
    ],
}


def parsed(change: dict[str, Any] | None = None) -> Any:
    return parse_reference(json.dumps({**GOOD, **(change or {})}).encode(), "r.json")


def test_reference_is_read_in_shares_of_the_picture() -> None:
    reference = parsed()
    assert (reference.width, reference.height, reference.fps) == (200, 100, 25.0)
    first, second = reference.frames
    assert first[0] == Face(first[0].track, Box(0.1, 0.1, 0.3, 0.5), 0.9, DETECTED)
    assert first[1].box == Box(0, 0, 0.1, 0.2), "clipped to the picture"
    assert [face.kind for face in (*first, *second)] == [DETECTED, WEAK, FILLED, DETECTED]
    assert first[0].track == second[0].track != first[1].track
    assert second[1].score == 1.0


def test_detector_sees_all_but_the_filled_and_the_too_weak() -> None:
    first, second = parsed().frames
    assert [d.confidence for d in answer(first, 0.3).detections] == [0.9, 0.4]
    assert [d.confidence for d in answer(first, 0.5).detections] == [0.9]
    assert [d.box for d in answer(second, 0.3).detections] == [Box(0, 0, 0.005, 0.01)]


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "no width": ({"w": None}, '"w" should be a number over 0'),
    "no rate": ({"fps": 0}, '"fps" should be'),
    "endless rate": ({"fps": 1e999}, '"fps" should be'),
    "true is no number": ({"h": True}, '"h" should be'),
    "frames are missing": ({"frames": {}}, 'no list "frames"'),
    "another count": ({"n": 3}, "has 2 frames"),
    "a frame is no list": ({"n": 1, "frames": [5]}, "frame 0: should be a list"),
    "a face is no object": ({"n": 1, "frames": [[[0, 0, 1, 1]]]}, "frame 0: a face should have"),
    "three edges": ({"n": 1, "frames": [[{"b": [0, 0, 1]}]]}, "frame 0: a face should have"),
    "an edge is text": ({"n": 1, "frames": [[{"b": [0, 0, 1, "1"]}]]}, "frame 0: a face should have"),
    "an edge is nowhere": ({"n": 1, "frames": [[{"b": [0, 0, 1, float("nan")]}]]}, "frame 0: a face should have"),
    "no area": ({"n": 1, "frames": [[{"b": [9, 9, 9, 20]}]]}, "no area inside the picture of 200x100"),
    "outside": ({"n": 1, "frames": [[{"b": [200, 0, 220, 20]}]]}, "no area inside the picture"),
    "another kind": ({"n": 1, "frames": [[{"b": [0, 0, 9, 9], "k": "cat"}]]}, "one of det, low, fill"),
    "no score": ({"n": 1, "frames": [[{"b": [0, 0, 9, 9], "s": "high"}]]}, '"s" should be a number'),
}


@pytest.mark.parametrize("case", FAULTS)
def test_fault_is_named_with_its_place(case: str) -> None:
    change, said = FAULTS[case]
    with pytest.raises(ConfigurationError) as raised:
        parsed(change)
    assert str(raised.value).startswith("r.json: ")
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


@given(st.binary(max_size=60) | st.recursive(st.none() | st.integers() | st.text(max_size=3), st.lists).map(
    lambda value: json.dumps(value).encode()
))  # fmt: skip
def test_anything_else_is_refused_by_the_same_error(text: bytes) -> None:
    with pytest.raises(ConfigurationError):
        parse_reference(text, "r.json")


# ---- made of detections

FPS = 30.0
SIZE = 0.1


def seen(x: float, y: float = 0.4, confidence: float = 0.9) -> Detection:
    return Detection(Box(x, y, x + SIZE, y + SIZE), "face", confidence)


def linked(frames: list[list[Detection]], cuts: tuple[int, ...] = ()) -> Any:
    return link(frames, cuts, 640, 480, FPS)


@given(st.integers(3, 30), st.floats(-0.05, 0.05))
def test_a_face_that_moves_on_is_one_face(count: int, step: float) -> None:
    frames = [[seen(0.45 + step * i / 2)] for i in range(count)]
    reference = linked(frames)
    assert {face.track for faces in reference.frames for face in faces} == {0}
    assert [faces[0].box for faces in reference.frames] == [each[0].box for each in frames]


@given(st.integers(1, 5))
def test_short_gap_is_filled_where_the_face_must_have_been(gap: int) -> None:
    frames = [*([seen(0.2)] for _ in range(4)), *([] for _ in range(gap)), *([seen(0.25)] for _ in range(4))]
    faces = linked(frames).frames
    assert all(len(each) == 1 and each[0].track == 0 for each in faces)
    assert [each[0].kind for each in faces] == [DETECTED] * 4 + [FILLED] * gap + [DETECTED] * 4
    lefts = [each[0].box.left for each in faces]
    assert lefts == sorted(lefts)
    assert len(set(lefts)) == gap + 2


def test_long_gap_and_cut_end_a_face() -> None:
    four = [[seen(0.2)] for _ in range(4)]
    nobody: list[list[Detection]] = [[] for _ in range(6)]
    for frames, cuts in (([*four, *nobody, *four], ()), ([*four, *four], (4,))):
        reference = linked(frames, cuts)
        assert {face.track for faces in reference.frames for face in faces} == {0, 1}
        assert all(face.kind != FILLED for faces in reference.frames for face in faces)


def test_what_is_never_seen_for_sure_is_no_face_and_weak_sightings_of_a_face_are() -> None:
    weak = [[seen(0.2, confidence=0.4)] for _ in range(20)]
    assert all(faces == () for faces in linked(weak).frames)
    assert all(faces == () for faces in linked([*weak[:5], [seen(0.2)], [seen(0.2)], *weak[:5]]).frames)
    known = linked([*weak[:5], [seen(0.2)], [seen(0.2)], [seen(0.2)], *weak[:5]])
    assert [faces[0].kind for faces in known.frames] == [WEAK] * 5 + [DETECTED] * 3 + [WEAK] * 5


@given(st.permutations(range(4)))
def test_neighbours_keep_apart_whatever_the_order_of_detections(order: list[int]) -> None:
    places = [seen(0.1), seen(0.15), seen(0.6), seen(0.1, y=0.47)]
    reference = linked([places, places, [places[i] for i in order], places])
    of = [{face.box: face.track for face in faces} for faces in reference.frames]
    assert all(each == of[0] for each in of)
    assert len(set(of[0].values())) == 4

"""An answer is believed whole or not at all, and no garbage is ever "nobody there"."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.detect.response import MOST_FACES, parse_faces
from streamproc.model.detection import Failed, Failure, Seen
from streamproc.model.geometry import Box

NONSENSE = Failed(Failure.NONSENSE)


def face(left=0.1, top=0.2, width=0.3, height=0.4, confidence=99.0):
    return {
        "BoundingBox": {"Left": left, "Top": top, "Width": width, "Height": height},
        "Confidence": confidence,
        "Landmarks": [{"Type": "eyeLeft", "X": 0.2, "Y": 0.3}],
    }


def without(key, inner=None):
    entry = face()
    del (entry[inner] if inner else entry)[key]
    return entry


@pytest.mark.parametrize(
    ("entries", "boxes"),
    [
        ([], []),
        ([face()], [Box(0.1, 0.2, 0.4, 0.6)]),
        ([face(left=-0.1)], [Box(0.0, 0.2, 0.2, 0.6)]),
        ([face(top=-0.3)], [Box(0.1, 0.0, 0.4, 0.1)]),
        ([face(left=0.9)], [Box(0.9, 0.2, 1.0, 0.6)]),
        ([face(-1, -1, 3, 3)], [Box(0, 0, 1, 1)]),
        ([face(0, 0, 1, 1)], [Box(0, 0, 1, 1)]),
        ([face(), face(left=0.5)], [Box(0.1, 0.2, 0.4, 0.6), Box(0.5, 0.2, 0.8, 0.6)]),
    ],
    ids=["nobody", "one", "cut-left", "cut-top", "cut-right", "beyond-all-borders", "whole", "two"],
)
def test_boxes_are_clipped_to_the_picture_not_dropped(entries, boxes):
    answer = parse_faces({"FaceDetails": entries})
    assert isinstance(answer, Seen)
    assert len(answer.detections) == len(boxes)
    for got, wanted in zip(answer.detections, boxes, strict=True):
        assert got.kind == "face"
        assert got.confidence == 0.99
        assert got.box.contains(wanted)
        assert wanted.contains(got.box)


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        "",
        {},
        {"FaceDetails": None},
        {"FaceDetails": {}},
        {"FaceDetails": "none"},
        {"FaceDetails": [None]},
        *(
            {"FaceDetails": [face(), entry]}
            for entry in [
                without("BoundingBox"),
                without("Confidence"),
                *(without(k, "BoundingBox") for k in ("Left", "Top", "Width", "Height")),
                face(left="0.1"),
                face(top=False),
                face(width=True),
                face(confidence=True),
                face(left=float("nan")),
                face(width=float("inf")),
                face(left=10**400),
                face(left=1e308, width=1e308),
                face(width=0),
                face(height=-0.1),
                face(width=1e-30),
                face(left=1.0),
                face(left=-0.3, width=0.3),
                face(top=7),
                face(confidence=-1),
                face(confidence=101),
                face(confidence=float("nan")),
                face(confidence=None),
            ]
        ),
    ],
)
def test_an_answer_wrong_in_one_place_is_nonsense_not_an_empty_picture(answer):
    assert parse_faces(answer) == NONSENSE


@pytest.mark.parametrize("least", [0.0, 1.0])
def test_an_answer_as_long_as_answers_can_be_is_not_known_to_be_complete(least):
    assert isinstance(parse_faces({"FaceDetails": [face()] * (MOST_FACES - 1)}, least), Seen)
    assert parse_faces({"FaceDetails": [face()] * MOST_FACES}, least) == NONSENSE
    assert parse_faces({"FaceDetails": [face()] * (10 * MOST_FACES)}, least) == NONSENSE


def test_nonsense_is_noticed_below_the_least_confidence_too():
    assert parse_faces({"FaceDetails": [face(width=-1, confidence=1)]}, 0.5) == NONSENSE


@given(st.lists(st.floats(0, 100), max_size=20), st.floats(0, 1))
def test_faces_below_the_least_confidence_are_left_out(percents, least):
    answer = parse_faces({"FaceDetails": [face(confidence=p) for p in percents]}, least)
    assert isinstance(answer, Seen)
    assert [d.confidence for d in answer.detections] == [p / 100 for p in percents if p / 100 >= least]


NUMBERS = st.one_of(
    st.floats(-0.5, 1.5), st.floats(), st.integers(), st.sampled_from([0, 1, 99.5, -0.0, 1e308, 10**400])
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=4)),
    max_leaves=8,
)
EDGES = st.one_of(NUMBERS, JSON)
FACES = st.fixed_dictionaries(
    {},
    optional={
        "BoundingBox": st.one_of(
            JSON, st.fixed_dictionaries({}, optional=dict.fromkeys(("Left", "Top", "Width", "Height"), EDGES))
        ),
        "Confidence": EDGES,
    },
)
NEARLY_FACES = st.builds(face, *[st.floats(-0.6, 1.6)] * 4, st.floats(-1, 101))
ANSWERS = st.one_of(
    JSON,
    st.fixed_dictionaries({"FaceDetails": JSON}),
    st.fixed_dictionaries({"FaceDetails": st.lists(st.one_of(FACES, NEARLY_FACES), max_size=4)}),
)


@given(ANSWERS, st.floats(0, 1))
def test_any_garbage_is_a_failure_or_valid_boxes_and_never_an_exception(answer, least):
    parsed = parse_faces(answer, least)
    if parsed == NONSENSE:
        return
    assert isinstance(parsed, Seen)
    assert isinstance(answer["FaceDetails"], list)
    assert len(parsed.detections) <= len(answer["FaceDetails"])
    for detection in parsed.detections:
        box = detection.box
        assert 0 <= box.left < box.right <= 1
        assert 0 <= box.top < box.bottom <= 1
        assert least <= detection.confidence <= 1


@given(st.floats(-2, 2), st.floats(-2, 2), st.floats(0.001, 2), st.floats(0.001, 2))
def test_a_face_is_seen_exactly_if_some_of_it_is_inside(left, top, width, height):
    inside = left + width > 0 and left < 1 and top + height > 0 and top < 1
    answer = parse_faces({"FaceDetails": [face(left, top, width, height)]})
    assert isinstance(answer, Seen) == inside
    if isinstance(answer, Seen):
        assert Box(left, top, left + width, top + height).contains(answer.detections[0].box)

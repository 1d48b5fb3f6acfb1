"""Laws of the score, against counting squares."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamproc.batch.evaluation import Score, covered_share, pooled, score, union_area
from streamproc.batch.reference import Face, Reference
from streamproc.model.geometry import WHOLE_PICTURE, Box

# Boxes stand on a grid of COLUMNS x ROWS cells; 5 % of a cell's side is one square, so enlarged boxes are countable.
COLUMNS, ROWS, SQUARES = 7, 5, 20


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    x0, x1 = sorted(draw(st.lists(st.integers(0, COLUMNS), min_size=2, max_size=2, unique=True)))
    y0, y1 = sorted(draw(st.lists(st.integers(0, ROWS), min_size=2, max_size=2, unique=True)))
    return Box(x0 / COLUMNS, y0 / ROWS, x1 / COLUMNS, y1 / ROWS)


def squares(box: Box) -> NDArray[np.bool_]:
    """Which of the small squares lie in the box."""
    width, height = COLUMNS * SQUARES, ROWS * SQUARES
    inside = np.zeros((height, width), bool)
    x0, x1 = (max(0, round(edge * width)) for edge in (box.left, box.right))
    y0, y1 = (max(0, round(edge * height)) for edge in (box.top, box.bottom))
    inside[y0:y1, x0:x1] = True
    return inside


def union(of: list[Box]) -> NDArray[np.bool_]:
    return np.any([squares(box) for box in of] or [squares(Box(0, 0, 0, 0))], axis=0)


frames = st.lists(
    st.tuples(st.lists(boxes(), max_size=3), st.lists(boxes(), max_size=4)), min_size=1, max_size=6
)  # of each frame: faces, cover


def reference_of(faces: list[list[Box]], fps: float = 30.0) -> Reference:
    return Reference(640, 480, fps, tuple(tuple(Face(t, box) for t, box in enumerate(each)) for each in faces))


def scored(made: list[tuple[list[Box], list[Box]]], fps: float = 30.0) -> Score:
    return score(reference_of([faces for faces, _ in made], fps), [cover for _, cover in made], calls=3)


@given(frames)
def test_figures_are_those_of_counting_squares(made: list[tuple[list[Box], list[Box]]]) -> None:
    exposed = over = area = 0.0
    for faces, cover in made:
        hidden = union(cover)
        exposed += sum((hidden & squares(face)).sum() < 0.9 * squares(face).sum() for face in faces)
        over += (hidden & ~union([face.enlarge(0.1) for face in faces])).mean()
        area += hidden.mean()
    found = scored(made)
    assert found.face_frames == sum(len(faces) for faces, _ in made)
    assert found.exposed == exposed
    assert found.coverage == pytest.approx(1 - exposed / found.face_frames if found.face_frames else 1)
    assert found.over_redaction == pytest.approx(over / len(made))
    assert found.covered_area == pytest.approx(area / len(made))


@given(frames, st.lists(boxes(), min_size=1, max_size=3))
def test_covering_more_exposes_nothing(made: list[tuple[list[Box], list[Box]]], more: list[Box]) -> None:
    less, wider = scored(made), scored([(faces, cover + more) for faces, cover in made])
    assert wider.exposed <= less.exposed
    assert wider.longest_ms <= less.longest_ms
    assert wider.over_redaction >= less.over_redaction - 1e-9
    assert wider.covered_area >= less.covered_area - 1e-9


@given(frames, st.randoms())
def test_order_and_repetition_of_boxes_count_for_nothing(made: list[tuple[list[Box], list[Box]]], random) -> None:  # type: ignore[no-untyped-def]
    other = [(faces, random.sample(cover, len(cover)) + cover[:1]) for faces, cover in made]
    a, b = scored(made), scored(other)
    assert replace(a, over_redaction=0, covered_area=0) == replace(b, over_redaction=0, covered_area=0)
    assert a.over_redaction == pytest.approx(b.over_redaction, abs=1e-12)


@given(frames)
def test_exactly_the_faces_is_perfect_and_the_whole_picture_wasteful(made: list[tuple[list[Box], list[Box]]]) -> None:
    exact = scored([(faces, faces) for faces, _ in made])
    assert (exact.exposed, exact.exposures, exact.longest_ms) == (0, 0, 0)
    assert exact.over_redaction == pytest.approx(0, abs=1e-12)
    whole = scored([(faces, [WHOLE_PICTURE]) for faces, _ in made])
    assert whole.exposed == 0
    assert whole.covered_area == pytest.approx(1)
    nothing = scored([(faces, []) for faces, _ in made])
    assert nothing.exposed == nothing.face_frames
    assert nothing.over_redaction == 0


@given(st.sets(st.integers(0, 40)), st.sampled_from([10.0, 25.0, 29.97, 30.0]))
def test_exposures_are_the_runs_of_one_face(bare: set[int], fps: float) -> None:
    face, other = Box(0.1, 0.1, 0.3, 0.3), Box(0.6, 0.6, 0.9, 0.9)
    found = scored([([face, other], [other] if i in bare else [face, other]) for i in range(42)], fps)
    runs = "".join("x" if i in bare else " " for i in range(42)).split()
    assert (found.exposed, found.exposures) == (len(bare), len(runs))
    assert found.longest_ms == pytest.approx(max(map(len, runs), default=0) * 1000 / fps)
    assert found.long_exposures == sum(len(run) * 1000 / fps > 100 for run in runs)
    assert found.seconds == pytest.approx(42 / fps)


def test_three_frames_of_30_a_second_are_100_ms_and_not_more() -> None:
    face = Box(0.1, 0.1, 0.3, 0.3)
    three = [([face], [])] * 3 + [([face], [face])]
    assert (scored(three).long_exposures, scored(three).longest_ms) == (0, 100)
    assert scored(three, fps=29.97).long_exposures == 1


def test_two_faces_exposed_in_turn_are_two_exposures() -> None:
    a, b = Box(0.1, 0.1, 0.3, 0.3), Box(0.6, 0.6, 0.9, 0.9)
    found = scored([([a, b], [a]), ([a, b], [b])])
    assert (found.exposed, found.exposures) == (2, 2)
    assert found.longest_ms == pytest.approx(1000 / 30)


def test_ninety_percent_are_covered_in_parts_too() -> None:
    face = Box(0.0, 0.0, 1.0, 0.5)
    assert covered_share(face, [Box(0, 0, 0.5, 1), Box(0.4, 0, 0.9, 1)]) == pytest.approx(0.9)
    assert covered_share(face, []) == 0
    assert union_area([Box(0.2, 0.2, 0.2, 0.9), Box(0.5, 0.5, 0.4, 0.9)]) == 0


@given(st.lists(frames, min_size=1, max_size=4))
def test_pooled_is_as_if_it_were_one_recording(several: list[list[tuple[list[Box], list[Box]]]]) -> None:
    found = pooled([scored(made) for made in several])
    # With a frame between them that nobody is in, so that no exposure runs on.
    one = scored([frame for made in several for frame in [*made, ([], [])]])
    assume(one.frames)
    assert (found.face_frames, found.exposed, found.exposures) == (one.face_frames, one.exposed, one.exposures)
    assert found.longest_ms == one.longest_ms
    assert found.coverage == pytest.approx(one.coverage)
    assert found.over_redaction * found.frames == pytest.approx(one.over_redaction * one.frames)
    assert found.calls == 3 * len(several)
    assert found.calls_per_second == pytest.approx(found.calls / found.seconds)
    assert found.dollars_per_hour == pytest.approx(found.calls / found.seconds * 3.6)


def test_cover_of_other_frames_than_the_reference_has_is_refused() -> None:
    with pytest.raises(ValueError):
        score(reference_of([[], []]), [[]], calls=0)

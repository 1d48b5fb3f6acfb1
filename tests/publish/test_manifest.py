"""Laws of the audit record and of the objects' metadata."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from publish_cases import T0, frame_id, segment

from streamproc.model.frame import Cover, Decision, Region
from streamproc.model.geometry import Box
from streamproc.model.segment import Position
from streamproc.publish.manifest import (
    begins_with,
    origin_from_metadata,
    policy_hash,
    position_from_metadata,
    published_from_metadata,
    segment_metadata,
    sidecar,
)

EDGE = st.one_of(st.floats(0, 1), st.integers(0, 10_000).map(lambda n: n / 10_000), st.sampled_from([0.07, 0.29, 1.0]))
DIGITS = st.integers(0, 10**128 - 1).map(str)
POSITION = st.builds(
    Position,
    fragment=st.one_of(st.just(""), DIGITS),
    frames=st.one_of(st.none(), st.integers(0, 10**6)),
    server_us=st.integers(0, 2**53),
    after=st.one_of(st.just(""), DIGITS),
)


def lines(body: bytes) -> list[dict[str, object]]:
    return [json.loads(line, parse_float=Fraction) for line in gzip.decompress(body).decode().splitlines()]


def test_sidecar_has_one_line_per_frame_and_no_field_more() -> None:
    made = lines(sidecar(segment(frame_id(7, 0), frame_id(8, 0, T0 + 1)), "cam", {"effect": "blur"}))
    assert [line["fragment"] for line in made] == ["7", "8"]
    assert made[1] == {
        "v": 1,
        "stream": "cam",
        "ts": "2026-11-19T13:36:11.123001Z",
        "fragment": "8",
        "frame": 0,
        "width": 1280,
        "height": 720,
        "decision": "seen",
        "regions": [
            {
                "kind": "face",
                "x": Fraction(1, 4),
                "y": Fraction(1, 4),
                "w": Fraction(1, 4),
                "h": Fraction(1, 4),
                "origin": "seen",
            }
        ],
        "policy": policy_hash({"effect": "blur"}),
    }


@pytest.mark.parametrize(
    ("weak", "marked"),
    [((), {}), (("effect.cells=12", "effect.plates=blur"), {"weak": ["effect.cells=12", "effect.plates=blur"]})],
    ids=["strong", "weak"],
)
def test_every_line_says_which_settings_are_weak(weak: tuple[str, ...], marked: dict[str, object]) -> None:
    policy = {"effect": "blur", "weak": weak}
    made = lines(sidecar(segment(frame_id(7, 0), frame_id(8, 0, T0 + 1)), "cam", policy))
    assert len(made) == 2
    for line in made:
        assert {key: line[key] for key in line if key == "weak"} == marked
        assert line["policy"] == policy_hash(policy) != policy_hash({"effect": "blur", "weak": ("effect.cells=13",)})


@given(EDGE, EDGE, EDGE, EDGE)
def test_a_recorded_region_never_shrinks_nor_leaves_the_picture(a: float, b: float, c: float, d: float) -> None:
    box = Box(min(a, b), min(c, d), max(a, b), max(c, d))
    cover = Cover(Decision.EXTENDED, (Region(box, "plate", Decision.EXTENDED),))
    (line,) = lines(sidecar(segment(cover=cover), "s", {}))
    (region,) = line["regions"]  # type: ignore[misc]
    x, y, w, h = (Fraction(region[name]) for name in "xywh")
    assert 0 <= x <= box.left
    assert box.right <= x + w <= 1
    assert 0 <= y <= box.top
    assert box.bottom <= y + h <= 1
    edges = ((box.left, x), (x + w, box.right), (box.top, y), (y + h, box.bottom))
    assert all(Fraction(large) - Fraction(small) < Fraction(1, 10_000) for large, small in edges)


def test_a_region_beyond_the_border_is_recorded_as_far_as_the_picture_goes() -> None:
    cover = Cover(Decision.SEEN, (Region(Box(-0.5, 0.875, 0.125, 1.7), "face", Decision.SEEN),))
    (line,) = lines(sidecar(segment(cover=cover), "s", {}))
    assert line["regions"] == [
        {"kind": "face", "x": 0, "y": Fraction(7, 8), "w": Fraction(1, 8), "h": Fraction(1, 8), "origin": "seen"}
    ]


def test_the_same_segment_gives_the_same_bytes_at_any_time() -> None:
    made = sidecar(segment(), "s", {"a": 1, "b": 2})
    assert made == sidecar(segment(), "s", {"b": 2, "a": 1})
    assert made[4:8] == bytes(4)  # MTIME, RFC 1952, 2.3.1


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        pytest.param({}, {}, True, id="empty"),
        pytest.param({"kind": "blur", "cells": 6}, {"cells": 6, "kind": "blur"}, True, id="order"),
        pytest.param({"kind": "blur"}, {"kind": "solid"}, False, id="value"),
        pytest.param({"kind": "blur"}, {"kind": "blur", "cells": 6}, False, id="setting more"),
    ],
)
def test_policy_hash_tells_settings_apart(one: dict[str, object], other: dict[str, object], same: bool) -> None:
    assert (policy_hash(one) == policy_hash(other)) == same


@given(POSITION)
def test_position_survives_the_metadata(position: Position) -> None:
    made = segment_metadata(segment(end=position), "d" * 64, "p" * 12, 3)
    assert position_from_metadata(made) == position


@given(
    st.integers(-(2**62), 2**62),
    st.integers(0, 2**40),
    st.booleans(),
    st.binary(max_size=40),
    DIGITS,
    st.integers(0, 9),
)
def test_published_segment_survives_the_metadata(
    time_us: int, duration_us: int, discontinuity: bool, init: bytes, number: str, index: int
) -> None:
    start = frame_id(number, index, time_us)
    made = segment(start, discontinuity=discontinuity, init=init, duration_us=duration_us)
    metadata = segment_metadata(made, "d" * 64, "p" * 12, 0)
    found = published_from_metadata("k", metadata)
    assert (found.key, found.time_us, found.duration_us, found.discontinuity) == (
        "k",
        time_us,
        duration_us,
        discontinuity,
    )
    assert (found.bytes, found.init_bytes) == (len(made.data), len(init))
    assert origin_from_metadata(metadata) == T0
    assert origin_from_metadata({**metadata, "origin-us": "-"}) is None
    assert begins_with(metadata, start)
    assert not begins_with(metadata, replace(start, index=index + 1))


@given(POSITION)
def test_metadata_is_what_s3_keeps_unchanged(position: Position) -> None:
    made = segment_metadata(segment(end=position), "d" * 64, "p" * 12, 0)
    assert all(name == name.lower() and name.isascii() for name in made)
    assert all(value and value.isascii() and value == value.strip() for value in made.values())
    assert sum(len(name) + len(value) for name, value in made.items()) <= 2048


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param({}, id="empty"),
        pytest.param({"schema": "2"}, id="other schema"),
        pytest.param({"schema": "1"}, id="fields missing"),
        pytest.param({**segment_metadata(segment(), "d", "p", 0), "end-frames": "some"}, id="not a number"),
    ],
)
def test_foreign_metadata_is_refused(metadata: dict[str, str]) -> None:
    with pytest.raises(ValueError):
        position_from_metadata(metadata)

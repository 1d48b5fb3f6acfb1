"""Whatever happens to a stream and to the process, each frame is published once, or its fragment is in the ledger."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest
from histories import Damage, History, lived
from media_made import Piece, clip, pieces

CODINGS: dict[str, dict[str, Any]] = {
    "h264": {},
    "reordered": {"bframes": 2},
    "reordered, open": {"bframes": 2, "open_gop": True},
    "hevc": {"codec": "hevc", "bframes": 2},
}
PER_FRAGMENT = 12
FRAMES = 96


def media(coding: str, random: Random) -> list[Piece]:
    """Fragments that begin with keyframes, or anywhere."""
    source = clip(count=FRAMES, gop=random.choice((6, 12, 24)), **CODINGS[coding])
    if random.random() < 0.7:
        return pieces(source)
    return pieces(source, cuts=range(PER_FRAGMENT, FRAMES, PER_FRAGMENT))


def check(coding: str, seed: int, folder: Path, patch: pytest.MonkeyPatch) -> None:
    random = Random(f"{coding} {seed}")
    fragments = media(coding, random)
    history = History.made(random, fragments)
    outcome = lived(fragments, history, folder, patch)
    told = [str(history), *outcome.notes, *map(str, outcome.gaps)]
    assert outcome.faults(fragments, history) == [], "\n".join(told)


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("seed", range(6))
def test_each_frame_is_published_once_or_its_fragment_is_in_the_ledger(
    coding: str, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(coding, seed, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("coding", CODINGS)
def test_each_frame_is_published_once_in_many_histories(
    coding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(100, 150):
        with monkeypatch.context() as patch:
            check(coding, seed, tmp_path / str(seed), patch)


@pytest.mark.parametrize(
    ("coding", "per_fragment", "history"),
    [
        # A fragment without a keyframe is resumed at the one before, although no number before that is known.
        ("reordered", 12, History(sessions=(68296, 6986), runs=(("kill", 10, False),))),
        # The first block of the next fragment goes into the decoder before the last frames of this one come out.
        (
            "hevc",
            0,
            History(
                {"102": Damage(11, "garbage")},
                sessions=(31521, 37236),
                runs=(("kill", 6, True), ("kill", 10, False)),
            ),
        ),
    ],
)
def test_histories_that_went_wrong_once(
    coding: str, per_fragment: int, history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = clip(count=FRAMES, gop=24 if per_fragment else 12, **CODINGS[coding])
    fragments = pieces(source, cuts=range(per_fragment, FRAMES, per_fragment) if per_fragment else None)
    assert lived(fragments, history, tmp_path, monkeypatch).faults(fragments, history) == []


def test_an_undisturbed_stream_leaves_no_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for coding in CODINGS:
        history = History(sessions=(20_000, 9_001), runs=(("kill", 5, True), ("stop", 3, True)))
        fragments = pieces(clip(count=FRAMES, gop=12, **CODINGS[coding]))
        outcome = lived(fragments, history, tmp_path / coding, monkeypatch)
        assert outcome.faults(fragments, history) == []
        if coding != "reordered, open":  # there, pictures before a keyframe refer to the group before
            assert outcome.gaps == []


@pytest.mark.parametrize("behind", [False, True])
def test_killed_at_any_write_nothing_is_lost_or_repeated(
    behind: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fragments = pieces(clip(count=FRAMES, gop=12))
    damage = {"103": Damage(5, "breaks"), "107": Damage(11, "garbage")}
    for at in range(1, 30):
        history = History(damage, runs=(("kill", at, behind),))
        with monkeypatch.context() as patch:
            outcome = lived(fragments, history, tmp_path / str(at), patch, segment_s=1.3)  # the last one is flushed
        assert outcome.faults(fragments, history) == [], at
        assert {gap.fragment for gap in outcome.gaps} == {"103", "107"}

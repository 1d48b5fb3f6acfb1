"""Which frames are looked at, by the audit records of whole runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from histories import History, lived, recorded
from media_made import clip, drawn, pieces
from numpy.typing import NDArray

CUT = 50


def two_scenes(number: int, width: int, height: int) -> NDArray[np.uint8]:
    picture = drawn(number, width, height)
    if number >= CUT:
        y, x = np.mgrid[16:height, 0:width]
        picture[16:height] = np.where((x // 40 + y // 30) % 2, 220, 20)
    return picture


def test_last_frame_before_a_cut_and_first_behind_it_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fragments = pieces(clip(count=96, gop=12, draw=two_scenes))
    assert lived(fragments, History(), tmp_path, monkeypatch).faults(fragments, History()) == []
    decisions = [line["decision"] for line in recorded(tmp_path / "out")]
    assert decisions[CUT - 1 : CUT + 1] == ["seen", "seen"]
    assert set(decisions) == {"seen", "carried"}
    assert decisions.count("seen") <= 10 * 96 / 25 + 1

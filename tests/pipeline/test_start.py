"""Where a run begins: by request, behind its checkpoint, or at what is newest; and what it says is missing for it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from histories import History, Outcome, lived
from media_made import T0, clip, pieces

FRAGMENTS = pieces(clip(count=96, gop=12))
CUT = 4
"""A first run has published so many of them."""


def when(fragment: int) -> datetime:
    return datetime.fromtimestamp((T0 + fragment * 480_000) / 1e6, UTC)


def begun(folder: Path, patch: pytest.MonkeyPatch, start: str | None, known: bool, seen: int = 0) -> Outcome:
    """A run over the fragments from ``seen`` on, behind the checkpoint of another one or without any."""
    if known:
        lived(FRAGMENTS[:CUT], History(), folder, patch)
    return lived(FRAGMENTS[seen:], History(), folder, patch, start=start)


@pytest.mark.parametrize(
    ("start", "selector"),
    [
        (None, {"StartSelectorType": "NOW"}),
        ("now", {"StartSelectorType": "NOW"}),
        ("earliest", {"StartSelectorType": "EARLIEST"}),
        ("checkpoint", {"StartSelectorType": "EARLIEST"}),
        ("after:101", {"StartSelectorType": "FRAGMENT_NUMBER", "AfterFragmentNumber": "101"}),
        ("token:101", {"StartSelectorType": "CONTINUATION_TOKEN", "ContinuationToken": "101"}),
        (when(2).isoformat(), {"StartSelectorType": "PRODUCER_TIMESTAMP", "StartTimestamp": when(2)}),
        (f"server:{when(2).isoformat()}", {"StartSelectorType": "SERVER_TIMESTAMP", "StartTimestamp": when(2)}),
    ],
)
def test_without_a_checkpoint_the_service_is_asked_for_what_was_wanted(
    start: str | None, selector: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert begun(tmp_path, monkeypatch, start, known=False).selectors[0] == selector


@pytest.mark.parametrize("start", [None, "earliest", "checkpoint"])
def test_run_goes_on_behind_its_checkpoint(start: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = begun(tmp_path, monkeypatch, start, known=True)
    assert outcome.selectors[0] == {"StartSelectorType": "FRAGMENT_NUMBER", "AfterFragmentNumber": "103"}
    assert (outcome.faults(FRAGMENTS, History()), outcome.gaps) == ([], [])


@pytest.mark.parametrize("start", ["now", "after:105", when(6).isoformat()])
def test_what_lies_between_checkpoint_and_a_later_start_is_in_the_ledger(
    start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = begun(tmp_path, monkeypatch, start, known=True, seen=6)
    assert [(gap.reason, gap.after) for gap in outcome.gaps] == [("skipped", "103")]
    assert {number for number, _ in outcome.published} == {"100", "101", "102", "103", "106", "107"}


@pytest.mark.parametrize("start", ["after:100", when(1).isoformat(), "now"])
def test_what_is_published_already_is_not_published_again(
    start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = begun(tmp_path, monkeypatch, start, known=True, seen=1)
    assert outcome.faults(FRAGMENTS, History()) == []
    assert set(outcome.published.values()) == {1}

"""What a run does with an effect below the floor: says it once, and hands it to every audit record."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamproc import app
from streamproc.settings import load_settings

REFUSED = ("effect.cells=12", "effect.plates=pixelate")


@pytest.mark.parametrize("weak", [(), REFUSED], ids=["strong", "weak"])
def test_a_run_says_once_which_settings_are_weak(
    weak: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    assignments = [*weak, "effect.allow_weak=true", f"state.dir={tmp_path / 'state'}"]
    settings = load_settings(None, {}, assignments).settings
    notes: list[str] = []
    app.LiveRun(app.RunRequest("cam", str(tmp_path / "out"), settings), notes.append).close()
    told = [note for note in notes if "weaker" in note]
    assert len(told) == bool(weak)
    assert all(name in told[0] for name in weak)


@pytest.mark.parametrize("weak", [(), REFUSED], ids=["strong", "weak"])
def test_weak_settings_reach_the_policy_of_the_audit_record(weak: tuple[str, ...]) -> None:
    settings = load_settings(None, {}, [*weak, "effect.allow_weak=true"]).settings
    assert sorted(app._policy(settings)["weak"]) == sorted(weak)  # type: ignore[call-overload]

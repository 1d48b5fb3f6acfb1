"""The figures on a terminal, and where there is none."""

from __future__ import annotations

import io
from dataclasses import replace

from publish.publish_cases import T0, segment
from rich.console import Console

from streamproc.console.terminal import Terminal
from streamproc.pipeline.tally import Tally

CALLS = {"DetectFaces": {"ok": 40, "failed": 1, "throttled": 2, "shed": 9, "late": 1}}
NAMES = ("STREAM", "STATE", "LAG", "p50", "p99", "FPS", "FACES", "CALLS", "SEGMENTS")


def status(segments: int) -> dict[str, object]:
    tally = Tally()
    for _ in range(segments):
        tally.published(replace(segment(duration_us=40_000), encoded_us=T0), T0 + 1_234_000, False)
    return {"stream": "cam", **tally.status(T0, CALLS)}


def written(tty: bool, *statuses: tuple[dict[str, object], float]) -> str:
    out = io.StringIO()
    with Terminal(Console(file=out, force_terminal=tty, width=110, highlight=False)) as terminal:
        terminal.say("note [with] brackets")
        for shown, now_s in statuses:
            terminal.show(shown, now_s)
    return out.getvalue()


def test_table_shows_every_figure_under_its_name() -> None:
    shown = written(True, (status(2), 0.0))
    assert all(name in shown for name in NAMES)
    row = next(line for line in shown.splitlines() if "cam" in line)
    assert [cell for cell in row.split() if cell not in {"s", "cam"}][-7:] == [
        "1.23",
        "1.23",
        "1.23",
        "25",
        "1",
        "43",
        "2",
    ]
    assert "note [with] brackets" in shown


def test_plain_lines_have_no_control_characters_and_come_every_two_seconds() -> None:
    shown = written(False, *((status(1), float(second) / 2) for second in range(20, 32)))
    lines = shown.splitlines()
    assert lines[0] == "note [with] brackets"
    assert len(lines) == 1 + 3
    assert "cam  idle  lag 1.23 s  p50 1.23 s  p99 1.23 s  fps 25  faces 1  calls 43  segments 1" in lines[1]
    assert shown.isprintable() or set(shown) - {"\n"} == {c for c in shown if c.isprintable()}


def test_before_the_first_segment_there_are_dashes() -> None:
    starting = {"stream": "cam", "state": "starting"}
    assert "cam  starting  lag -  p50 -  p99 -  fps -  faces -  calls 0  segments 0" in written(False, (starting, 9.0))

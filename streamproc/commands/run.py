"""``streamproc run``: one live stream, until told to stop."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streamproc.commands.options import check_writable, load, settings_options, unwritable

if TYPE_CHECKING:
    from streamproc.app import LiveRun

_TELL_EVERY_S = 10.0


@click.command()
@click.argument("stream")
@click.option("--output", required=True, metavar="s3://BUCKET/PREFIX|DIR", help="Where segments and playlists go.")
@click.option(
    "--from",
    "start",
    metavar="now|earliest|checkpoint|TIMESTAMP|after:FRAGMENT",
    help="Where to begin: by default at the checkpoint, or now where there is none. Also token:TOKEN, "
    "producer:TIMESTAMP, server:TIMESTAMP. What is published already is never published again.",
)
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="Drain and end after so many seconds.")
@click.option(
    "--until-idle",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Drain and end when no media came for so long.",
)
@click.option("--summary", type=click.Path(dir_okay=False, path_type=Path), help="Write what was done, as JSON.")
@settings_options
def run(
    stream: str,
    output: str,
    start: str | None,
    seconds: float | None,
    until_idle: float | None,
    summary: Path | None,
    file: Path | None,
    assignments: tuple[str, ...],
) -> None:
    """Redact one live stream until told to stop.

    Reads STREAM by GetMedia, finds faces, covers them, and stores rolling segments with a live playlist. SIGTERM or
    Ctrl-C drains: what was read is finished, published and checkpointed, and the exit code is 0.

    \b
    Examples:
      streamproc run my-camera --output s3://my-bucket/redacted
      streamproc run my-camera --output ./redacted --from earliest --set segment.seconds=2
    """
    settings = load(file, assignments).settings
    if summary is not None:
        check_writable("--summary", summary)
    from streamproc.app import LiveRun, RunRequest, run_live

    live = LiveRun(RunRequest(stream, output, settings, start, until_idle), lambda text: _say(stream, text))
    _say(stream, f"redacting to {live.summary()['output']}")
    try:
        run_live(live, seconds, lambda: _say(stream, now_in_words(live.status())), _TELL_EVERY_S)
    finally:
        _say(stream, in_words(live))
        unwritten = _write(summary, live) if summary is not None else ""
        if unwritten:
            _say(stream, unwritten)
    if unwritten:
        click.get_current_context().exit(1)


def _write(summary: Path, live: LiveRun) -> str:
    """Write the summary. Returns why it could not be; that must not hide how the run itself ended."""
    try:
        summary.write_text(json.dumps(live.summary(), indent=2) + "\n")
    except OSError as error:
        return unwritable("--summary", summary, error)
    return ""


def now_in_words(status: dict[str, Any]) -> str:
    """What a run does now, in one line."""
    newest, frames = status["newest"], status["frames"]
    words = [status["state"]]
    if newest:
        words.append(
            f"lag {newest['lag']['p50_ms'] / 1000:.1f} s (whole run p99 {status['lag']['p99_ms'] / 1000:.1f} s)"
        )
        words.append(f"{newest['fps']:.0f} fps")
    words.append(f"{frames['out']} frames in {status['segments']} segments")
    if frames["whole"]:
        words.append(f"{frames['whole']} covered whole")
    if status["gaps"]:
        words.append(f"{len(status['gaps'])} gaps")
    return ", ".join(words)


def in_words(live: LiveRun) -> str:
    """What a run has done, in one line."""
    done = live.summary()
    frames, lag = done["frames"], done["lag"]
    words = [f"{frames['out']} frames in {done['segments']} segments"]
    if frames["whole"]:
        words.append(f"{frames['whole']} of them covered whole")
    if lag["count"]:
        words.append(f"lag p50 {lag['p50_ms'] / 1000:.1f} s, p99 {lag['p99_ms'] / 1000:.1f} s")
    if done["gaps"]:
        words.append(f"{len(done['gaps'])} gaps recorded")
    return "; ".join(words)


def _say(stream: str, text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {stream}: {text}", file=sys.stderr, flush=True)

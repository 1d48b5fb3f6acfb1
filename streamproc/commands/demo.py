"""``streamproc demo``: the very same run as ``streamproc run``, with the outside world played on this machine."""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import threading
import time
import webbrowser
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streamproc.errors import ConfigurationError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

    from streamproc.app import LiveRun
    from streamproc.console.app import Piece, Span
    from streamproc.console.objects import BucketObjects
    from streamproc.console.terminal import Terminal
    from streamproc.standin import StandIn

STREAM = "demo-camera"
BUCKET = "streamproc-demo"
PREFIX = "redacted"
ON_AWS = "streamproc run my-stream --output s3://my-bucket/redacted"

_EXTRA = ("moto.server", "flask", "flask_cors", "rich", "starlette", "uvicorn")
_TICK_S = 0.5
# The stand-in's bucket lives in memory; 720p fills about 20 MB of it per minute.
_KEPT_S = 300.0
_SWEEP_S = 15.0


@click.command()
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="Drain and end after so many seconds.")
@click.option("--no-browser", is_flag=True, help="Do not open the page in a browser.")
@click.option("--port", type=click.IntRange(0, 65535), default=8800, show_default=True, help="Of the page; 0 for any.")
@click.option(
    "--video",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="What the camera sees, over and over: H.264 or H.265. By default people passing in a street.",
)
def demo(seconds: float | None, no_browser: bool, port: int, video: Path | None) -> None:
    """See it work here, without an AWS account.

    A stand-in for Kinesis Video Streams and Rekognition, and moto for S3, answer over HTTP on this machine. A
    recording is played as a camera in real time, and redacted by the same run that 'streamproc run' makes. A page
    shows the redacted video and its lag. Nothing is kept: the bucket is in memory. Ctrl-C ends.
    """
    _check_extra()
    weights = _weights()
    if video is not None and not video.is_file():
        raise ConfigurationError(f"--video {video}: there is no such file")
    from streamproc.console.terminal import Terminal

    # What was started is ended before a TERM takes effect; the run itself listens on its own while it runs.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    terminal = Terminal()
    with ExitStack() as stack:
        world = stack.enter_context(_world(weights))
        watched = _Watched(world.objects)
        url = stack.enter_context(_page(watched, port))
        terminal.say(
            f"Kinesis Video and Rekognition  {world.standin.url}  stand-in; {STREAM}: {video or 'a street scene'}"
        )
        terminal.say(f"S3                             {world.s3_url}  moto, in memory; s3://{BUCKET}/{PREFIX}")
        terminal.say(f"Watch                          {url}  redacted video and its lag. Ctrl-C ends")
        if not no_browser and terminal.interactive and _has_display():
            webbrowser.open(url)
        _switch_camera_on(world.standin, video, watched, terminal, stack)
        state = stack.enter_context(tempfile.TemporaryDirectory(prefix="streamproc-demo-"))
        live = _run(Path(state), seconds, watched, terminal)
        for text in _closing(live):
            terminal.say(text)


def _check_extra() -> None:
    for module in _EXTRA:
        try:
            import_module(module)
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                f"the demo needs the package {error.name}: pip install 'streamproc[demo]'"
            ) from None


def _weights() -> Path:
    from streamproc.detect.local import HOW_TO_GET_IT, find_centerface

    found = find_centerface()
    if found is None:
        raise ConfigurationError(f"the demo needs a face model that answers for Rekognition: {HOW_TO_GET_IT}")
    return found


@dataclass(frozen=True, slots=True)
class _World:
    standin: StandIn
    s3_url: str
    objects: BucketObjects


@contextmanager
def _world(weights: Path) -> Iterator[_World]:
    """Start what plays AWS, and point this process at it as a user would: by the environment."""
    import boto3
    from moto.server import ThreadedMotoServer

    from streamproc.console.objects import BucketObjects
    from streamproc.detect.local import CenterFace
    from streamproc.standin import StandIn

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    # Read when onnxruntime is imported: without it, its wheel writes a session file and may report usage to its maker.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    with StandIn(CenterFace(weights, 0.3, threads=2)) as standin:
        moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        moto.start()
        swept = threading.Event()
        try:
            host, port = moto.get_host_and_port()
            s3_url = f"http://{host}:{port}"
            _point_at({**standin.environment(), "AWS_ENDPOINT_URL_S3": s3_url})
            client = boto3.client("s3")
            client.create_bucket(Bucket=BUCKET)
            threading.Thread(target=_sweep, args=(client, swept), name="sweep", daemon=True).start()
            yield _World(standin, s3_url, BucketObjects(client, BUCKET, PREFIX))
        finally:
            swept.set()
            moto.stop()


def _point_at(environment: Mapping[str, str]) -> None:
    """Nothing of the user's own AWS settings may take part: no profile, no credentials, no endpoint, no proxy."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(environment)
    os.environ.update(AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull)
    os.environ.update(AWS_EC2_METADATA_DISABLED="true", NO_PROXY="127.0.0.1", no_proxy="127.0.0.1")


def _sweep(client: S3Client, ended: threading.Event) -> None:
    """Delete old objects, as a lifecycle rule would."""
    while not ended.wait(_SWEEP_S):
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
            for found in page.get("Contents", []):
                if time.time() - found["LastModified"].timestamp() > _KEPT_S:
                    client.delete_object(Bucket=BUCKET, Key=found["Key"])


class _Watched:
    """What the page sees of the run."""

    def __init__(self, objects: BucketObjects) -> None:
        self._objects = objects
        self.now: Mapping[str, Any] = {"stream": STREAM, "state": "starting"}

    def status(self) -> dict[str, Any]:
        return {"now_ms": time.time_ns() // 1_000_000, "streams": [self.now]}

    def read(self, key: str, span: Span | None) -> Piece | None:
        return self._objects.read(key, span)


@contextmanager
def _page(watched: _Watched, port: int) -> Iterator[str]:
    from streamproc.console.app import console_app
    from streamproc.console.server import ConsoleServer

    with ConsoleServer(console_app(watched), port) as server:
        yield server.url


def _has_display() -> bool:
    if sys.platform in {"darwin", "win32"}:
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _switch_camera_on(
    standin: StandIn, video: Path | None, watched: _Watched, terminal: Terminal, stack: ExitStack
) -> None:
    if video is None:
        from streamproc.standin.scene import scene_file

        note = "Drawing what the camera sees; it takes a few seconds…"
        watched.now = {**watched.now, "note": note}
        terminal.say(note)
        source = stack.enter_context(scene_file())
    else:
        source = video
    try:
        standin.add_stream(STREAM, source, loop=True, retention_s=60)
    except (ValueError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ConfigurationError(f"--video {video}: {reason}") from None
    watched.now = {**watched.now, "note": "Waiting for the first segment…"}


def _run(state: Path, seconds: float | None, watched: _Watched, terminal: Terminal) -> LiveRun:
    from streamproc.app import LiveRun, RunRequest, run_live
    from streamproc.settings import load_settings

    # As --set would; the user's own STREAMPROC_ variables are about another stream.
    wanted = ("segment.seconds=2", f"state.dir={state}")
    settings = load_settings(None, {}, wanted).settings
    live = LiveRun(RunRequest(STREAM, f"s3://{BUCKET}/{PREFIX}", settings), note=terminal.say)

    def look() -> None:
        watched.now = live.status()
        terminal.show(watched.now, time.monotonic())

    with terminal:
        run_live(live, seconds, look, _TICK_S)
        look()
    return live


def _closing(live: LiveRun) -> list[str]:
    from streamproc.commands.run import in_words

    done = live.summary()
    frames, calls = done["frames"], sum(c["ok"] for c in done["detector"].values())
    decisions = ", ".join(f"{frames[name]} {name}" for name in ("seen", "carried", "extended", "whole"))
    return [
        f"Done: {in_words(live)}",
        f"Each frame had a decision ({decisions}) from {calls} answered calls",
        "The same with AWS:",
        f"  {ON_AWS}",
    ]

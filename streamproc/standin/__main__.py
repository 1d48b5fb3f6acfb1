"""The command ``python -m streamproc.standin``."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Any

import click

from streamproc.errors import ConfigurationError
from streamproc.standin.faults import Fault
from streamproc.standin.local import StandIn
from streamproc.standin.matroska import Layout
from streamproc.standin.session import Limits


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option(
    "--stream",
    "streams",
    multiple=True,
    metavar="NAME=FILE",
    help="A stream and what its camera sees: a video file, "
    "a recorded GetMedia body, or 'scene' for the demo's own picture. Repeatable.",
)
@click.option("--host", default="127.0.0.1", help="Address to listen on.")
@click.option("--port", default=8700, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--loop", is_flag=True, help="Cameras start over at the end of their file.")
@click.option(
    "--delivery",
    type=click.Choice(["forward", "whole"]),
    default="forward",
    help="Live blocks are readable as they arrive, or when their fragment has ended.",
)
@click.option("--speed", default=1.0, type=click.FloatRange(0, min_open=True), help="Times real time.")
@click.option("--archive", is_flag=True, help="Everything is there from the start, as if recorded until now.")
@click.option(
    "--history",
    "history_s",
    default=0.0,
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="The cameras began this long ago.",
)
@click.option(
    "--retention",
    "retention_s",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="Older fragments are gone. [default: keep all]",
)
@click.option("--fragment-seconds", type=click.FloatRange(0, 20, min_open=True), help="[default: one GOP each]")
@click.option("--audio", is_flag=True, help="Keep an AAC track.")
@click.option(
    "--latency",
    "camera_latency_s",
    default=0.0,
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="From capture to the service.",
)
@click.option("--unknown-cluster/--sized-cluster", default=True, help="Whether a Cluster leaves its size unknown.")
@click.option("--epoch-timecodes", is_flag=True, help="Cluster timecodes count from the epoch.")
@click.option("--session-seconds", default=2700.0, help="GetMedia sessions end after this long.")
@click.option("--idle-seconds", default=3.0, help="GetMedia sessions end this long after the camera goes quiet.")
@click.option(
    "--faces",
    default="none",
    metavar="none|fixed:L,T,W,H[;...]|model:PATH",
    help="What Rekognition sees: nothing, the same boxes always, or what a local face model sees.",
)
@click.option("--latency-ms", default=150.0, type=click.FloatRange(0), help="Of a Rekognition call.")
@click.option("--jitter-ms", default=0.0, type=click.FloatRange(0), help="Up to so much longer.")
@click.option("--tps", default=0.0, type=click.FloatRange(0), help="Rekognition calls per second; 0 for no limit.")
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="KIND[:NAME=VALUE,...]",
    help="Something that goes wrong, for instance cut:after_blocks=40 or throttle:times=0,probability=0.2. Repeatable.",
)
@click.option("--seed", default=0, help="Of every chance.")
@click.option("--log", type=click.Path(dir_okay=False, path_type=Path), help="One JSON line per Rekognition call.")
def main(streams: tuple[str, ...], host: str, port: int, faces: str, faults: tuple[str, ...], **options: Any) -> None:
    """A local Kinesis Video Streams and Rekognition over real HTTP, for plain AWS clients."""
    stopped = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.set()

    with ExitStack() as stack:
        try:
            standin = stack.enter_context(_standin(host, port, faces, faults, options))
            for text in streams:
                _add(standin, text, options, stack)
        except (ValueError, OSError, ConfigurationError) as error:
            raise click.ClickException(str(error)) from error
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        click.echo(f"Kinesis Video Streams and Rekognition stand-in at {standin.url}")
        for name in standin.video.streams:
            click.echo(f"  stream {name}")
        for variable, value in standin.environment().items():
            click.echo(f"export {variable}={value}")
        sys.stdout.flush()
        stopped.wait()
        calls = standin.rekognition
        counts = ", ".join(f"{name} {count}" for name, count in sorted(calls.calls.items())) or "none"
        click.echo(f"Rekognition calls: {counts}; at most {calls.most_in_flight} in flight")


def _standin(host: str, port: int, faces: str, faults: tuple[str, ...], options: dict[str, Any]) -> StandIn:
    from streamproc.standin.eyes import eyes_from_text

    return StandIn(
        eyes_from_text(faces),
        host=host,
        port=port,
        limits=Limits(options["session_seconds"], options["idle_seconds"]),
        latency_s=options["latency_ms"] / 1000,
        jitter_s=options["jitter_ms"] / 1000,
        tps=options["tps"],
        faults=[Fault.from_text(text) for text in faults],
        seed=options["seed"],
        log=options["log"],
    )


def _add(standin: StandIn, text: str, options: dict[str, Any], stack: ExitStack) -> None:
    name, _, source = text.partition("=")
    if not name or not source:
        raise ValueError(f"--stream is NAME=FILE, not {text!r}")
    if source == "scene":
        from streamproc.standin.scene import scene_file

        click.echo("drawing the scene, some ten seconds ...", err=True)
        source = str(stack.enter_context(scene_file()))
    try:
        standin.add_stream(
            name,
            source,
            loop=options["loop"],
            speed=options["speed"],
            delivery=options["delivery"],
            archive=options["archive"],
            history_s=options["history_s"],
            latency_s=options["camera_latency_s"],
            retention_s=options["retention_s"],
            fragment_seconds=options["fragment_seconds"],
            audio=options["audio"],
            layout=Layout(not options["unknown_cluster"], options["epoch_timecodes"]),
        )
    except (ValueError, OSError) as error:
        raise ValueError(f"stream {name}: {source}: {error}") from error


if __name__ == "__main__":
    main(prog_name="python -m streamproc.standin")

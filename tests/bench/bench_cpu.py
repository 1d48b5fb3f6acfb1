"""CPU of the whole pipeline over that of the ffmpeg command line for the same clip: faces on every frame.

    python tests/bench/bench_cpu.py [--seconds 12] [--rounds 3] [--parts] [FILE]

Each figure is the difference between a run of 2N seconds of video and one of N, so that starting up does not count.
The rounds are interleaved; the ratio is the median of the rounds' ratios. The bar is 1.15. The second reference is a
bare PyAV loop that decodes and encodes. ``--parts`` says where the time goes, by the clock of each thread.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

from rig import CLIP_S, GOP_S, ROOT, Rig, clip, frames_in, load, media, rig, table

BAR = 1.15
PRESET, CRF = "superfast", 23
X264 = "scenecut=0:sliced-threads=0"
LATENCY_S = 0.05


def pipeline(bench: Rig, name: str, path: Path, seconds: float) -> tuple[float, int]:
    """CPU seconds of ``streamproc run`` over an archive, and its frames."""
    fragments = media(path, seconds)
    bench.archive(name, fragments)
    outcome = bench.run([name], idle_s=2)[0]
    whole = outcome.summary["frames"]["whole"]
    if whole:
        raise SystemExit(f"{whole} frames were covered whole: the detector was too slow for this machine")
    return outcome.cpu_s, frames_in(fragments)


def ffmpeg(path: Path, seconds: float, frames: int) -> float:
    """CPU seconds of the command line with our encoder's settings."""
    with tempfile.NamedTemporaryFile(suffix=".mp4") as made:
        command = ["ffmpeg", "-v", "error", "-nostdin", "-y", "-threads", "1", "-stream_loop", "-1", "-i", str(path)]
        command += ["-frames:v", str(frames), "-an", "-c:v", "libx264", "-threads", "1", "-preset", PRESET]
        command += ["-tune", "zerolatency", "-crf", str(CRF), "-x264-params", X264]
        command += ["-force_key_frames", f"expr:gte(t,n_forced*{GOP_S})", "-g", "100000", "-fps_mode", "passthrough"]
        command += ["-filter_threads", "1", "-movflags", "frag_keyframe+empty_moov", made.name]
        process = subprocess.Popen(command)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode or count(Path(made.name)) != frames:
            raise SystemExit(f"ffmpeg did not transcode {frames} frames")
    return usage.ru_utime + usage.ru_stime


def count(path: Path) -> int:
    import av

    with av.open(str(path)) as container:
        return sum(packet.size > 0 for packet in container.demux(video=0))


def loop(path: Path, seconds: float, frames: int) -> float:
    """CPU seconds of decoding and encoding in a bare PyAV loop."""
    import av

    began, done = time.process_time(), 0
    while done < frames:
        with av.open(str(path)) as source:
            decoder = source.streams.video[0]
            decoder.codec_context.thread_count, decoder.codec_context.thread_type = 1, "NONE"
            encoder: Any = None
            for picture in source.decode(decoder):
                if encoder is None:
                    encoder = av.CodecContext.create("libx264", "w")
                    encoder.width, encoder.height, encoder.pix_fmt = picture.width, picture.height, picture.format.name
                    encoder.time_base, encoder.framerate, encoder.gop_size = decoder.time_base, 30, 1 << 20
                    encoder.thread_count, encoder.thread_type = 1, "NONE"
                    encoder.options = {"preset": PRESET, "tune": "zerolatency", "crf": str(CRF), "x264-params": X264}
                    origin = picture.pts
                second = float((picture.pts - origin) * picture.time_base)
                picture.pict_type = 1 if round(second * 1000) % (GOP_S * 1000) == 0 else 0
                for _ in encoder.encode(picture):
                    pass
                done += 1
                if done == frames:
                    break
    return time.process_time() - began


def measure(path: Path, seconds: float, rounds: int) -> list[tuple[float, float, float]]:
    """CPU per frame, ms, of each round: the pipeline, the command line, the bare loop."""
    found = []
    with rig(latency_s=LATENCY_S) as bench:
        for number in range(rounds):
            short, n = pipeline(bench, f"short{number}", path, seconds)
            long, m = pipeline(bench, f"long{number}", path, 2 * seconds)
            ways: Sequence[Callable[[Path, float, int], float]] = (ffmpeg, loop)
            reference, bare = (way(path, 2 * seconds, m) - way(path, seconds, n) for way in ways)
            found.append(((long - short) / (m - n) * 1e3, reference / (m - n) * 1e3, bare / (m - n) * 1e3))
    return found


# Where the time goes: the same run inside a process that knows the names of the parts.


def parts(path: Path, seconds: float) -> dict[str, Any]:
    with rig(latency_s=LATENCY_S) as bench:
        fragments = media(path, seconds)
        bench.archive("parts", fragments)
        command = [sys.executable, __file__, "--inside", str(bench.folder)]
        out = subprocess.run(command, env=bench.environment, check=True, stdout=subprocess.PIPE).stdout
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    found["expected"] = frames_in(fragments)
    return found


def inside(folder: str) -> None:
    """In the process to be measured: put clocks around the parts, run, and print their sums."""
    sys.path.insert(0, str(ROOT))
    from streamproc import app
    from streamproc.decode.pyav import Decoder
    from streamproc.detect.rekognition import RekognitionFaces
    from streamproc.encode.pyav import SegmentEncoder
    from streamproc.ingest.getmedia import GetMediaSource
    from streamproc.ingest.walker import Walker
    from streamproc.pipeline import decider
    from streamproc.progress.files import FileCheckpointStore
    from streamproc.publish.publisher import Publisher
    from streamproc.redact.redaction import Redaction
    from streamproc.settings.load import load_settings

    sums: dict[str, int] = {}
    calls: dict[str, int] = {}
    lock = threading.Lock()
    nested = threading.local()

    def add(part: str, ns: int) -> None:
        with lock:
            sums[part] = sums.get(part, 0) + ns
            calls[part] = calls.get(part, 0) + 1

    def timed(part: str, function: Any) -> Any:
        @wraps(function)
        def call(*args: Any, **named: Any) -> Any:
            outer = getattr(nested, "inner", 0)
            nested.inner = 0
            began = time.thread_time_ns()
            try:
                return function(*args, **named)
            finally:
                spent = time.thread_time_ns() - began
                add(part, spent - nested.inner)
                nested.inner = outer + spent

        return call

    def stepped(part: str, function: Any) -> Any:
        @wraps(function)
        def call(*args: Any, **named: Any) -> Iterator[Any]:
            step = timed(part, function(*args, **named).__next__)
            while True:
                try:
                    item = step()
                except StopIteration:
                    return
                yield item

        return call

    Walker.feed = timed("walk", Walker.feed)  # type: ignore[method-assign]
    for name in ("block", "start", "end"):
        setattr(Decoder, name, stepped("decode", getattr(Decoder, name)))
    GetMediaSource.events = stepped("read (HTTP, session)", GetMediaSource.events)  # type: ignore[method-assign]
    Redaction.redact = timed("redact", Redaction.redact)  # type: ignore[method-assign]
    for name in ("__init__", "add", "close"):
        setattr(SegmentEncoder, name, timed("encode", getattr(SegmentEncoder, name)))
    decider.encode_look = timed("JPEG", decider.encode_look)  # type: ignore[attr-defined]
    decider.Decider._pump = timed("pump (event loop)", decider.Decider._pump)  # type: ignore[method-assign]
    decider.Decider.take = timed("take (event loop)", decider.Decider.take)  # type: ignore[method-assign]
    RekognitionFaces.look = timed("boto3 DetectFaces", RekognitionFaces.look)  # type: ignore[method-assign]
    Publisher.publish = timed("publish", Publisher.publish)  # type: ignore[method-assign]
    FileCheckpointStore.commit = timed("checkpoint", FileCheckpointStore.commit)  # type: ignore[method-assign]

    assignments = (f"segment.seconds={GOP_S}", f"state.dir={folder}/state")
    settings = load_settings(None, os.environ, assignments).settings
    request = app.RunRequest("parts", f"{folder}/parts", settings, "earliest", 2.0)
    live = app.LiveRun(request, lambda text: None)
    threads: dict[str, int] = {}
    over = threading.Event()
    watch = threading.Thread(target=watch_threads, args=(threads, over), name="(the bench)", daemon=True)
    watch.start()
    began, loop_began = time.process_time_ns(), time.thread_time_ns()
    app.run_live(live, None)
    total, loop_ns = time.process_time_ns() - began, time.thread_time_ns() - loop_began
    over.set()
    watch.join()
    known = sum(ns for part, ns in sums.items() if "event loop" in part)
    sums["rest of the event loop's thread"] = loop_ns - known
    frames = live.summary()["frames"]
    print(
        json.dumps(
            {
                "sums": sums,
                "calls": calls,
                "threads": threads,
                "total": total,
                "frames": frames["out"],
                "whole": frames["whole"],
            }
        )
    )


def watch_threads(found: dict[str, int], over: threading.Event) -> None:
    """CPU of each thread, ns, under its name; a thread that lives less than 20 ms may be missed."""
    seen: dict[str, tuple[str, int]] = {}
    while not over.wait(0.02):
        names = {str(thread.native_id): thread.name for thread in threading.enumerate()}
        for task in Path("/proc/self/task").iterdir():
            try:
                spent = int((task / "schedstat").read_text().split()[0])
            except (OSError, ValueError):
                continue
            name = names.get(task.name) or seen.get(task.name, ("(not Python's)",))[0]
            seen[task.name] = re.sub(r"[-_ ]*[0-9]+( .*)?$", "", name), spent
    for name, spent in seen.values():
        found[name] = found.get(name, 0) + spent


def report_parts(found: dict[str, Any]) -> None:
    frames = found["frames"]
    rest = found["total"] - sum(found["sums"].values())
    rows: list[list[object]] = []
    for part, ns in [
        *sorted(found["sums"].items(), key=lambda item: -item[1]),
        ("other (threads' waits, hand-over)", rest),
    ]:
        share = f"{ns / found['total']:.1%}"
        rows.append([part, f"{ns / frames / 1e6:.3f}", share, found["calls"].get(part, "")])
    table(["thread", "ms/frame"], [[name, f"{ns / frames / 1e6:.3f}"] for name, ns in found["threads"].items()])
    print()
    rows.append(["whole", f"{found['total'] / frames / 1e6:.3f}", "100.0%", ""])
    table(["part", "ms/frame", "share", "calls"], rows)
    print(f"{frames} of {found['expected']} frames, {found['whole']} covered whole\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--seconds", type=float, default=CLIP_S)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--parts", action="store_true", help="only say where the time goes")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.inside:
        inside(asked.inside)
        return
    path = asked.file or clip()
    print(load())
    if asked.parts:
        report_parts(parts(path, 2 * asked.seconds))
        return
    if shutil.which("ffmpeg") is None:
        raise SystemExit("the reference is the ffmpeg command line: apt-get install ffmpeg")
    print(subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True).stdout.splitlines()[0])
    report(measure(path, asked.seconds, asked.rounds))


def report(found: list[tuple[float, float, float]]) -> None:
    ours, reference, bare = (statistics.median(values) for values in zip(*found, strict=True))
    to_reference = statistics.median(a / b for a, b, _ in found)
    to_bare = statistics.median(a / c for a, _, c in found)
    table(
        ["CPU ms per frame", "median", "pipeline over it"],
        [
            ["streamproc run", f"{ours:.2f}", ""],
            ["ffmpeg command line", f"{reference:.2f}", f"{to_reference:.3f}"],
            ["bare PyAV loop", f"{bare:.2f}", f"{to_bare:.3f}"],
        ],
    )
    each = ", ".join(f"{a / b:.3f}" for a, b, _ in found)
    print(f"ratio {to_reference:.3f} (bar {BAR}); rounds: {each}\n")


if __name__ == "__main__":
    main()

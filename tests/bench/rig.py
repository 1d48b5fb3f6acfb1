"""What the benchmarks share: a camera-like clip, the stand-in with its cameras, and ``streamproc run`` as processes.

Every run is checked: all frames that were sent came out, once and in order, without a gap.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import av

from streamproc.model.geometry import Box
from streamproc.standin import scene
from streamproc.standin.local import StandIn
from streamproc.standin.media import MediaFragment, read_media

ROOT = Path(__file__).parents[2]
FACES = (Box(0.30, 0.20, 0.42, 0.45), Box(0.60, 0.30, 0.70, 0.52))
"""What the detector sees in every picture."""

BIT_RATE, GOP_S = 4_000_000, 2
CLIP_S = 12
"""Length of the made clip; longer videos repeat it. The scene ends where it began."""

READY_S, IDLE_S = 4.0, 8.0
"""Cameras start when the processes are surely up, and the processes end when nothing came for so long."""


def clip(fps: int = 30, seconds: int = CLIP_S) -> Path:
    """The stand-in's scene as a camera sends it: 720p H.264, 4 Mb/s, closed groups of 2 s, no B-frames. It is kept."""
    folder = Path(tempfile.gettempdir()) / f"streamproc-bench-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"scene-{fps}fps-{seconds}s.mkv"
    if not path.exists():
        made = path.with_suffix(f".{os.getpid()}.tmp")
        _write(made, fps, seconds)
        made.replace(path)
    return path


def _write(path: Path, fps: int, seconds: int) -> None:
    import cv2

    with av.open(str(path), "w", format="matroska") as output:
        stream: Any = output.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = scene.WIDTH, scene.HEIGHT, "yuv420p", BIT_RATE
        stream.codec_context.thread_count = 1
        key = fps * GOP_S
        params = f"keyint={key}:min-keyint={key}:scenecut=0:open-gop=0:bframes=0"
        stream.options = {"preset": "veryfast", "tune": "zerolatency", "x264-params": params}
        for index in range(seconds * fps):
            planes: Any = cv2.cvtColor(scene.frame(round(index * scene.RATE / fps)), cv2.COLOR_BGR2YUV_I420)
            picture = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            picture.pts = index
            output.mux(stream.encode(picture))
        output.mux(stream.encode(None))


def media(path: Path, seconds: float) -> list[MediaFragment]:
    """The file's fragments, over and over until there are so many seconds; whole fragments only."""
    source = read_media(path)
    found: list[MediaFragment] = []
    length_us = 0
    while length_us < seconds * 1e6:
        found.append(source[len(found) % len(source)])
        length_us += found[-1].duration_us
    return found


def frames_in(fragments: Sequence[MediaFragment]) -> int:
    return sum(len(fragment.blocks) for fragment in fragments)


def seconds_in(fragments: Sequence[MediaFragment]) -> float:
    return sum(fragment.duration_us for fragment in fragments) / 1e6


@dataclass
class Outcome:
    """One process's run.

    Attributes:
        cpu_s: User and system, all threads.
        rss_mb: Resident size, one value a second.
        frames: (producer time µs, lag ms) of each published frame, in the order of the files.
    """

    summary: dict[str, Any]
    cpu_s: float
    wall_s: float
    rss_mb: list[float] = field(repr=False)
    frames: list[tuple[int, float]] = field(repr=False)

    def growth(self) -> tuple[float, float]:
        """p99 of the lag, ms, in the first and in the last minute (or the halves of a shorter run)."""
        begin, end = self.frames[0][0], self.frames[-1][0]
        part = min(60e6, (end - begin) / 2)
        first = [lag for at, lag in self.frames if at < begin + part]
        last = [lag for at, lag in self.frames if at > end - part]
        return quantile(first, 99), quantile(last, 99)


def quantile(values: Sequence[float], percent: float) -> float:
    ordered = sorted(values)
    return ordered[max(0, min(len(ordered) - 1, -(-len(ordered) * int(percent * 10) // 1000) - 1))]


class Rig:
    """A stand-in whose detector sees two faces in every picture, and processes that redact its streams."""

    def __init__(self, folder: Path, standin: StandIn) -> None:
        self.folder = folder
        self.standin = standin
        self.cameras: dict[str, Sequence[MediaFragment]] = {}

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, **self.standin.environment(), "PYTHONPATH": str(ROOT)}

    def camera(self, name: str, fragments: Sequence[MediaFragment], delivery: str = "forward") -> None:
        """A camera that does not run yet."""
        self.standin.add_stream(name, fragments, start=False, delivery=delivery)
        self.cameras[name] = fragments

    def archive(self, name: str, fragments: Sequence[MediaFragment]) -> None:
        """A stream that is all there."""
        self.standin.add_stream(name, fragments, archive=True)
        self.cameras[name] = fragments

    def run(self, names: Sequence[str], settings: Sequence[str] = (), idle_s: float = IDLE_S) -> list[Outcome]:
        """Redact these streams, one process each, from their beginning until they are over."""
        began = time.monotonic()
        processes = [self._start(name, settings, idle_s) for name in names]
        waiting = [name for name in names if not self.standin.cameras[name].stream.fragments()]
        if waiting:
            time.sleep(READY_S)
            for name in waiting:
                self.standin.cameras[name].start()
        ends: dict[int, Any] = {}
        samples: dict[int, list[float]] = {process.pid: [] for process in processes}
        over = threading.Event()
        sampler = threading.Thread(target=_sample, args=(samples, over))
        sampler.start()
        for process in processes:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            ends[process.pid] = (usage.ru_utime + usage.ru_stime, time.monotonic() - began)
        over.set()
        sampler.join()
        return [
            self._outcome(name, process, *ends[process.pid], samples[process.pid])
            for name, process in zip(names, processes, strict=True)
        ]

    def _start(self, name: str, settings: Sequence[str], idle_s: float) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "streamproc", "run", name, "--output", str(self.folder / name)]
        command += ["--from", "earliest", "--until-idle", str(idle_s), "--summary", str(self.folder / f"{name}.json")]
        for one in (f"segment.seconds={GOP_S}", f"state.dir={self.folder / 'state'}", *settings):
            command += ["--set", one]
        with open(self.folder / f"{name}.log", "wb") as log:
            return subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)

    def _outcome(
        self, name: str, process: subprocess.Popen[bytes], cpu_s: float, wall_s: float, rss_mb: list[float]
    ) -> Outcome:
        if process.returncode:
            raise SystemExit(f"{name}: exit code {process.returncode}\n{(self.folder / f'{name}.log').read_text()}")
        summary = json.loads((self.folder / f"{name}.json").read_text())
        outcome = Outcome(summary, cpu_s, wall_s, rss_mb, list(published(self.folder / name)))
        self._check(name, outcome)
        return outcome

    def _check(self, name: str, outcome: Outcome) -> None:
        expected, frames = frames_in(self.cameras[name]), outcome.summary["frames"]
        times = [at for at, _ in outcome.frames]
        wrong = [
            text
            for text, holds in (
                (f"{frames['in']} of {expected} frames read", frames["in"] == expected),
                (f"{frames['out']} of {expected} frames published", frames["out"] == expected),
                (f"{len(times)} of {expected} frames recorded", len(times) == expected),
                ("frames recorded twice or out of order", all(a < b for a, b in pairwise(times))),
                (f"gaps: {outcome.summary['gaps']}", not outcome.summary["gaps"]),
            )
            if not holds
        ]
        if wrong:
            raise SystemExit(f"{name}: {'; '.join(wrong)}\n{(self.folder / f'{name}.log').read_text()}")


def _sample(samples: dict[int, list[float]], over: threading.Event) -> None:
    page_mb = os.sysconf("SC_PAGE_SIZE") / 1e6
    while not over.wait(1.0):
        for pid, values in samples.items():
            try:
                resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            except (OSError, IndexError):
                continue
            if resident:
                values.append(resident * page_mb)


def published(output: Path) -> Iterator[tuple[int, float]]:
    """Each published frame's producer time, µs, and its lag, ms, until its file had its name.

    From the audit records and the files themselves, independent of what the program says about itself.
    """
    media_files = {path.stem: path for path in output.glob("video/**/*.mp4")}
    for record in sorted(output.glob("boxes/**/*.jsonl.gz"), key=lambda path: path.name):
        stem = record.name.removesuffix(".jsonl.gz").rsplit("-", 1)[0]
        durable_us = media_files[stem].stat().st_ctime_ns // 1000
        for line in gzip.decompress(record.read_bytes()).splitlines():
            at = datetime.fromisoformat(json.loads(line)["ts"])
            at_us = round(at.timestamp() * 1e6)
            yield at_us, (durable_us - at_us) / 1000


@contextmanager
def rig(latency_s: float = 0.15, faces: Callable[[bytes, str], Sequence[Box]] | None = None) -> Iterator[Rig]:
    with tempfile.TemporaryDirectory(prefix="streamproc-bench-") as folder:
        with StandIn(faces or (lambda jpeg, api: FACES), latency_s=latency_s) as standin:
            yield Rig(Path(folder), standin)


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table: words to the left, figures to the right."""
    text = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[i]) for row in text) for i in range(len(head))]
    for row in text:
        cells = [
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())


def load() -> str:
    """For the reader of the figures: how busy the machine is with other things."""
    return f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}"

"""``streamproc run`` as a real process over real HTTP, and what it published, read back from the objects alone."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
from media_made import Clip, clip, drawn, luma_of, number_in
from numpy.typing import NDArray

from streamproc.model.geometry import Box
from streamproc.model.media import Block
from streamproc.standin import MediaFragment

FACE = Box(0.35, 0.4, 0.6, 0.8)
"""Where the stand-in's Rekognition sees a face in every picture of the tests."""


def face_rows(height: int) -> slice:
    return slice(round(FACE.top * height), round(FACE.bottom * height))


def face_columns(width: int) -> slice:
    return slice(round(FACE.left * width), round(FACE.right * width))


def seen(picture: bytes, api: str) -> list[Box]:
    return [FACE]


def with_a_face(number: int, width: int, height: int) -> NDArray[np.uint8]:
    """The numbered picture, with fine detail where the face is."""
    picture = drawn(number, width, height)
    rows, columns = face_rows(height), face_columns(width)
    y, x = np.mgrid[rows, columns]
    picture[:height][rows, columns] = np.where((x // 2 + y // 2 + number) % 2, 190, 60)
    return picture


def filmed(codec: str = "h264", count: int = 125, gop: int = 25, bframes: int = 0) -> Clip:
    """A clip of numbered pictures, each with a face in it."""
    return clip(codec, count, gop=gop, bframes=bframes, draw=with_a_face)


def camera(source: Clip | None = None, per_fragment: int = 25) -> list[MediaFragment]:
    """Fragments of one second: 25 numbered pictures each, beginning with a keyframe."""
    source = source or filmed(gop=per_fragment)
    made = []
    for at in range(0, len(source.pictures), per_fragment):
        pictures = source.pictures[at : at + per_fragment]
        begin = min(p.time_us for p in pictures)
        blocks = tuple(Block(1, p.time_us - begin, p.keyframe, p.data) for p in pictures)
        made.append(MediaFragment((source.track,), blocks, len(pictures) * 40_000))
    return made


@dataclass
class Picture:
    """One published picture and its line in the audit record."""

    number: int
    luma: NDArray[np.uint8] = field(repr=False)
    record: dict[str, Any]
    key: str

    @property
    def covered_whole(self) -> bool:
        """No row of it has detail: whatever was in the picture, it cannot be seen."""
        return bool(np.abs(np.diff(self.luma.astype(int), axis=1)).max() < 20)

    @property
    def face_detail(self) -> float:
        """Mean difference between neighbouring pixels in the face: about 60 uncovered, next to nothing covered."""
        height, width = self.luma.shape
        place = self.luma[face_rows(height), face_columns(width)].astype(int)
        return float(np.abs(np.diff(place, axis=1)).mean())


@dataclass
class Output:
    """A folder that was published to."""

    root: Path

    @property
    def segments(self) -> list[Path]:
        """In order of time, as their keys sort."""
        return sorted(self.root.glob("video/**/*.mp4"))

    @property
    def playlist(self) -> Path:
        (path,) = self.root.glob("video/*/live.m3u8")
        return path

    def pictures(self) -> list[Picture]:
        """All published pictures in order, each with its audit record."""
        pictures = []
        records = self.records()
        for path in self.segments:
            with av.open(str(path)) as container:
                lumas = [luma_of(frame).copy() for frame in container.decode(video=0)]
            lines = records[path.stem]
            assert len(lines) == len(lumas), f"{path.name}: as many lines in the audit record as pictures"
            pictures += [
                Picture(number_in(luma), luma, line, path.name) for luma, line in zip(lumas, lines, strict=True)
            ]
        return pictures

    def records(self) -> dict[str, list[dict[str, Any]]]:
        """Lines of the audit records, by the stem of their segment."""
        found = {}
        for path in self.root.glob("boxes/**/*.jsonl.gz"):
            stem = path.name.removesuffix(".jsonl.gz").rpartition("-")[0]
            found[stem] = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
        return found


class LiveRun:
    """A running ``streamproc run``; ended with the ``with`` block."""

    def __init__(
        self,
        environment: Mapping[str, str],
        folder: Path,
        *arguments: str,
        stream: str = "cam",
        output: str = "",
        name: str = "run",
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.output = Output(folder / "out")
        self.state = folder / "state"
        self._summary = folder / f"{name}.json"
        self._said = folder / f"{name}.txt"
        command = [sys.executable, "-m", "streamproc", "run", stream, "--output", output or str(self.output.root)]
        command += ["--summary", str(self._summary), "--set", f"state.dir={self.state}"]
        command += ["--set", "segment.seconds=2", *arguments]
        with self._said.open("w") as said:
            self.process = subprocess.Popen(command, env={**os.environ, **environment}, stderr=said)

    def __enter__(self) -> LiveRun:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def wait(self, timeout_s: float = 60) -> int:
        return self.process.wait(timeout_s)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def terminate(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.wait(30)

    def wait_for_segments(self, count: int, timeout_s: float = 40) -> None:
        """Until so many segments are published."""
        until = time.monotonic() + timeout_s
        while len(self.output.segments) < count:
            assert self.process.poll() is None, f"the run ended early: {self.said}"
            assert time.monotonic() < until, f"{len(self.output.segments)} of {count} segments: {self.said}"
            time.sleep(0.02)

    @property
    def said(self) -> str:
        """What it told people."""
        return self._said.read_text()

    @property
    def summary(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._summary.read_text())
        return found


def run_to_end(environment: Mapping[str, str], folder: Path, *arguments: str, **options: Any) -> LiveRun:
    """Run over everything that the stream holds, and check that it ended well."""
    with LiveRun(environment, folder, "--from", "earliest", "--until-idle", "1", *arguments, **options) as run:
        assert run.wait() == 0, run.said
    return run


def numbers(pictures: Sequence[Picture]) -> list[int]:
    return [picture.number for picture in pictures]

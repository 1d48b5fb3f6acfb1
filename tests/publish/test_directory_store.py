"""Laws of the folder as a store: whole or not there, and one winner per name."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from streamproc.errors import StoreUnavailable
from streamproc.publish import files
from streamproc.publish.files import DirectoryStore

KEY = "video/stream=s/dt=2026-11-19/hour=13/a.mp4"


def visible(root: Path) -> list[str]:
    return sorted(
        str(path.relative_to(root)) for pattern in ("*.mp4", "*.m3u8", "*.jsonl.gz") for path in root.rglob(pattern)
    )


def test_first_writer_wins_and_its_metadata_stay(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "out")
    assert store.put_new(KEY, b"first", "video/mp4", {"end": "1"})
    assert not store.put_new(KEY, b"second", "video/mp4", {"end": "2"})
    assert (tmp_path / "out" / KEY).read_bytes() == b"first"
    assert store.metadata(KEY) == {"end": "1"}


def test_missing_object_has_no_metadata_and_plain_one_has_empty(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    assert store.metadata(KEY) is None
    assert store.put_new(KEY, b"x", "video/mp4", {})
    assert store.metadata(KEY) == {}


def test_put_replaces(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    store.put("video/live.m3u8", b"one", "text/plain")
    store.put("video/live.m3u8", b"two", "text/plain", "max-age=1")
    assert (tmp_path / "video/live.m3u8").read_bytes() == b"two"


def test_of_racing_writers_one_wins_and_the_metadata_are_its_own(tmp_path: Path) -> None:
    stores = [DirectoryStore(tmp_path) for _ in range(4)]
    for key in (f"k{number}.mp4" for number in range(15)):
        barrier = threading.Barrier(len(stores))
        won: list[int] = []

        def write(who: int, key: str = key, barrier: threading.Barrier = barrier, won: list[int] = won) -> None:
            barrier.wait()
            if stores[who].put_new(key, str(who).encode(), "video/mp4", {"who": str(who)}):
                won.append(who)

        threads = [threading.Thread(target=write, args=(who,)) for who in range(len(stores))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (winner,) = won
        assert (tmp_path / key).read_bytes() == str(winner).encode()
        assert stores[0].metadata(key) == {"who": str(winner)}


def _counted_kill(after: int) -> str:
    """A program that writes an object and a playlist, and kills itself at the n-th call to the system."""
    return f"""
import os, signal, fcntl, pathlib
from streamproc.publish import files
left = {after}
def killing(real):
    def call(*a, **k):
        global left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return real(*a, **k)
    return call
os.fsync, os.link = killing(os.fsync), killing(os.link)
fcntl.flock = killing(fcntl.flock)
for name in ("mkdir", "unlink", "replace", "open"):
    setattr(pathlib.Path, name, killing(getattr(pathlib.Path, name)))
store = files.DirectoryStore(pathlib.Path("out"))
store.put_new("v/a.mp4", b"whole" * 1000, "video/mp4", {{"end": "1"}})
store.put("v/live.m3u8", b"list" * 1000, "text/plain")
print("done")
"""


def test_killed_at_any_step_nothing_visible_is_incomplete_and_a_retry_mends_it(tmp_path: Path) -> None:
    package = Path(files.__file__).parents[2]
    whole = {"v/a.mp4": b"whole" * 1000, "v/live.m3u8": b"list" * 1000}
    done = False
    for step in range(60):
        folder = tmp_path / str(step)
        folder.mkdir()
        ran = subprocess.run(
            [sys.executable, "-c", _counted_kill(step)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(package)},
            capture_output=True,
            check=False,
        )
        out = folder / "out"
        for name in visible(out):
            assert (out / name).read_bytes() == whole[name]
        store = DirectoryStore(out)
        existed = (out / "v/a.mp4").exists()
        if existed:
            assert store.metadata("v/a.mp4") == {"end": "1"}
        assert store.put_new("v/a.mp4", b"again", "video/mp4", {"end": "2"}) is not existed
        assert store.metadata("v/a.mp4") == {"end": "1" if existed else "2"}
        if done := b"done" in ran.stdout:
            break
        assert ran.returncode == -signal.SIGKILL, ran.stderr
    assert done
    assert step > 10


def test_metadata_left_by_a_dead_writer_do_not_pass_to_the_next(tmp_path: Path) -> None:
    (tmp_path / ".meta").mkdir()
    (tmp_path / ".meta/a.mp4.json").write_text(json.dumps({"end": "dead"}))
    store = DirectoryStore(tmp_path)
    assert store.metadata("a.mp4") is None
    assert store.put_new("a.mp4", b"x", "video/mp4", {})
    assert store.metadata("a.mp4") == {}


def test_without_hard_links_an_object_is_still_created_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    store = DirectoryStore(tmp_path)
    assert store.put_new("a.mp4", b"x", "video/mp4", {"n": "1"})
    assert not store.put_new("a.mp4", b"y", "video/mp4", {"n": "2"})
    assert (tmp_path / "a.mp4").read_bytes() == b"x"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".meta", "a.mp4"]


@pytest.mark.parametrize(
    ("number", "says"),
    [(errno.ENOSPC, "disk is full"), (errno.EACCES, "permission denied"), (errno.EIO, "Input/output error")],
    ids=["full", "denied", "broken"],
)
def test_a_failing_disk_is_one_clear_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, says: str
) -> None:
    store = DirectoryStore(tmp_path)
    store.check()

    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        for write in (
            lambda: store.put_new("a.mp4", b"x", "video/mp4", {}),
            lambda: store.put("live.m3u8", b"x", "text/plain"),
        ):
            with pytest.raises(StoreUnavailable, match=says) as caught:
                write()
            assert str(tmp_path) in str(caught.value)
            assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    assert store.put_new("a.mp4", b"x", "video/mp4", {})


def test_check_creates_the_folder_and_leaves_it_empty(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "a/b")
    store.check()
    assert list((tmp_path / "a/b").iterdir()) == []
    assert store.describe() == str(tmp_path / "a/b")


@pytest.mark.parametrize("below", ["", "sub"], ids=["the folder", "a parent"])
def test_a_file_in_the_way_is_refused(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("mine")
    store = DirectoryStore(tmp_path / "file" / below)
    for call in (store.check, lambda: store.put("live.m3u8", b"x", "text/plain")):
        with pytest.raises(StoreUnavailable, match="file"):
            call()
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("key", ["../a.mp4", "/a.mp4", "a//b.mp4", "", "a/./b", "a/.."])
def test_a_key_cannot_leave_the_folder(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError):
        DirectoryStore(tmp_path / "out").put_new(key, b"x", "video/mp4", {})

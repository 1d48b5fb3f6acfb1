"""Laws of the files of progress: durable, whole, one owner, and nothing twice."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.errors import ConfigurationError, UnavailableError
from streamproc.model.segment import Checkpoint, Gap, Position, PublishedSegment
from streamproc.progress import files
from streamproc.progress.files import FileCheckpointStore
from streamproc.progress.record import (
    checkpoint_from_json,
    checkpoint_to_json,
    gap_from_json,
    gap_to_json,
)

TEXT = st.text(st.characters(codec="utf-8"), max_size=30)
INT = st.integers(-(2**63), 2**63)
PUBLISHED = st.builds(PublishedSegment, TEXT, INT, INT, INT, INT, TEXT, st.booleans())
POSITION = st.builds(Position, TEXT, st.none() | INT, INT, TEXT)
CHECKPOINT = st.builds(
    Checkpoint,
    stream=TEXT,
    created=TEXT,
    position=st.none() | POSITION,
    origin_us=st.none() | INT,
    last_end_us=st.none() | INT,
    segments=INT,
    media_sequence=INT,
    discontinuity_sequence=INT,
    window=st.lists(PUBLISHED, max_size=4).map(tuple),
)
FULL = Checkpoint("s", "2026", Position("7", 3, 5, "6"), 1, 2, 3, 4, 5, (PublishedSegment("k", 1, 2, 3, 4, "d", True),))
PACKAGE = Path(files.__file__).parents[2]


def gap(number: int = 7, reason: str = "truncated") -> Gap:
    return Gap(reason, str(number - 1), str(number), None, 1000 + number, "x")


def published(name: str) -> PublishedSegment:
    return PublishedSegment(name, 1, 2, 3, 4, "d")


@given(CHECKPOINT)
def test_checkpoint_survives_json(checkpoint: Checkpoint) -> None:
    assert checkpoint_from_json(json.loads(json.dumps(checkpoint_to_json(checkpoint)))) == checkpoint


@given(st.builds(Gap, TEXT, TEXT, TEXT, st.none() | INT, INT, TEXT))
def test_gap_survives_json(gap: Gap) -> None:
    assert gap_from_json(json.loads(json.dumps(gap_to_json(gap)))) == gap


@pytest.mark.parametrize("stream", ["s", "..", ".", "a.b-c_d", "x" * 256, "a/b", "s.gaps"])
def test_a_committed_checkpoint_is_found_by_the_next_process(tmp_path: Path, stream: str) -> None:
    folder = tmp_path / "state"
    with FileCheckpointStore(folder) as store:
        assert store.load(stream) is None
        for count in (1, 2):
            store.commit(replace(FULL, stream=stream, segments=count))
    with FileCheckpointStore(folder) as store:
        assert store.load(stream) == replace(FULL, stream=stream, segments=2)
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_streams_do_not_mix(tmp_path: Path) -> None:
    with FileCheckpointStore(tmp_path) as store:
        for stream in ("a", "a.5"):
            store.commit(replace(FULL, stream=stream))
            store.record_gap(stream, gap())
        for hour in range(6):
            for stream in ("a", "a.5"):
                store.record_segment(stream, hour, published(f"{stream}{hour}"))
        assert store.segments_of_hour("a", 5) == (published("a5"),)
        assert store.segments_of_hour("a.5", 5) == (published("a.55"),)
        assert store.load("a") == replace(FULL, stream="a")
        assert store.gaps("a") == [gap()]


_HOLD = """
import pathlib, sys
from streamproc.progress.files import FileCheckpointStore
store = FileCheckpointStore(pathlib.Path("."))
store.load("s")
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_process_is_refused_until_the_first_is_gone_even_by_kill(tmp_path: Path) -> None:
    other = subprocess.Popen(
        [sys.executable, "-c", _HOLD],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PACKAGE)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        store = FileCheckpointStore(tmp_path)
        for call in (lambda: store.load("s"), lambda: store.commit(FULL), lambda: store.record_gap("s", gap())):
            with pytest.raises(
                UnavailableError, match=rf"another streamproc \(pid {other.pid}\) .* stream s "
            ) as caught:
                call()
            assert "choose another state.dir" in str(caught.value)
        assert store.load("another") is None
        other.send_signal(signal.SIGKILL)
    assert store.load("s") is None
    store.close()


def test_a_second_store_object_is_refused_too(tmp_path: Path) -> None:
    with FileCheckpointStore(tmp_path) as one, FileCheckpointStore(tmp_path) as other:
        one.load("s")
        with pytest.raises(UnavailableError):
            other.load("s")
        one.close()
        assert other.load("s") is None


_COMMIT = """
import os, signal, pathlib
from streamproc.model.segment import Checkpoint
from streamproc.progress.files import FileCheckpointStore
left = {after}
def killing(real):
    def call(*a, **k):
        global left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return real(*a, **k)
    return call
store = FileCheckpointStore(pathlib.Path("."))
store.commit(Checkpoint("s", segments=1))
os.fsync = killing(os.fsync)
pathlib.Path.open, pathlib.Path.replace = killing(pathlib.Path.open), killing(pathlib.Path.replace)
store.commit(Checkpoint("s", segments=2))
print("done")
"""


def test_killed_at_any_step_the_checkpoint_is_the_old_or_the_new(tmp_path: Path) -> None:
    seen = []
    for step in range(9):
        folder = tmp_path / str(step)
        folder.mkdir()
        ran = subprocess.run(
            [sys.executable, "-c", _COMMIT.format(after=step)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(PACKAGE)},
            capture_output=True,
            check=False,
        )
        with FileCheckpointStore(folder) as store:
            checkpoint = store.load("s")
            assert checkpoint is not None
            seen.append(checkpoint.segments)
        if b"done" in ran.stdout:
            break
        assert ran.returncode == -signal.SIGKILL, ran.stderr
    assert seen == [1, 1, 1, 2, 2]


def test_gaps_keep_their_order_and_none_is_recorded_twice(tmp_path: Path) -> None:
    with FileCheckpointStore(tmp_path) as store:
        assert store.gaps("s") == []
        for one in (gap(9), gap(7), replace(gap(9), at_us=5), gap(9, "damaged")):
            store.record_gap("s", one)
    with FileCheckpointStore(tmp_path) as store:
        store.record_gap("s", replace(gap(7), at_us=6))
        assert store.gaps("s") == [gap(9), gap(7), gap(9, "damaged")]
    assert len((tmp_path / "s.gaps.jsonl").read_text().splitlines()) == 3


def test_a_line_torn_at_any_byte_is_cut_off_and_the_ledger_goes_on(tmp_path: Path) -> None:
    with FileCheckpointStore(tmp_path) as store:
        store.record_gap("s", gap(1))
        first = (tmp_path / "s.gaps.jsonl").read_bytes()
        store.record_gap("s", gap(2))
    both = (tmp_path / "s.gaps.jsonl").read_bytes()
    for size in range(len(first), len(both)):
        (tmp_path / "s.gaps.jsonl").write_bytes(both[:size])
        with FileCheckpointStore(tmp_path) as store:
            assert store.gaps("s") == [gap(1)]
            store.record_gap("s", gap(2))
        assert (tmp_path / "s.gaps.jsonl").read_bytes() == both


def test_a_write_that_the_disk_refuses_leaves_no_torn_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FileCheckpointStore(tmp_path) as store:
        store.record_gap("s", gap(1))
        store.commit(FULL)

        def full(_: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            for write in (
                lambda: store.record_gap("s", gap(2)),
                lambda: store.commit(replace(FULL, segments=99)),
                lambda: store.record_segment("s", 1, published("k")),
            ):
                with pytest.raises(UnavailableError, match="No space left on device; make room"):
                    write()
        assert store.gaps("s") == [gap(1)]
        assert store.load("s") == FULL
        store.record_gap("s", gap(2))
        store.record_segment("s", 1, published("k"))
    with FileCheckpointStore(tmp_path) as store:
        assert store.gaps("s") == [gap(1), gap(2)]
        assert store.segments_of_hour("s", 1) == (published("k"),)


def changed(**more: object) -> str:
    return json.dumps({**checkpoint_to_json(FULL), **more})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("", "is not JSON", id="empty"),
        pytest.param("\0" * 100, "is not JSON", id="zeros"),
        pytest.param(b"\xff\xfe\x00", "is not JSON", id="not text"),
        pytest.param("[]", "object was expected, not list", id="a list"),
        pytest.param("{}", "schema is None", id="foreign"),
        pytest.param(changed(schema=2), "schema is 2", id="newer"),
        pytest.param(changed(stream="other"), "belongs to the stream 'other'", id="another stream's"),
        pytest.param(changed(segments="3"), "'segments' is not of type int", id="text for a number"),
        pytest.param(changed(segments=True), "'segments' is not of type int", id="bool for a number"),
        pytest.param(changed(position={"fragment": "7"}), "'frames' is missing", id="half a position"),
        pytest.param(changed(window=[1]), "object was expected, not int", id="window of numbers"),
    ],
)
def test_a_foreign_checkpoint_is_never_taken_for_a_new_start(tmp_path: Path, text: str | bytes, reason: str) -> None:
    path = tmp_path / "s.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with FileCheckpointStore(tmp_path) as store:
        with pytest.raises(ConfigurationError) as caught:
            store.load("s")
    assert str(caught.value).startswith(f"{path}: ")
    assert reason in str(caught.value)
    assert str(caught.value).endswith("move the file away to start anew")


def test_a_damaged_line_inside_the_ledger_is_named(tmp_path: Path) -> None:
    (tmp_path / "s.gaps.jsonl").write_text("nonsense\n" + json.dumps(gap_to_json(gap())) + "\n")
    with FileCheckpointStore(tmp_path) as store:
        with pytest.raises(ConfigurationError, match=r"s\.gaps\.jsonl:1: is not JSON"):
            store.gaps("s")


def test_a_file_for_a_folder_is_a_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file/sub"):
        with pytest.raises(ConfigurationError, match=r"correct its permissions or state\.dir"):
            FileCheckpointStore(folder).load("s")


def test_journal_keeps_order_lists_each_key_once_and_survives(tmp_path: Path) -> None:
    with FileCheckpointStore(tmp_path) as store:
        for name in ("b", "a", "b"):
            store.record_segment("s", 5, published(name))
        assert store.segments_of_hour("s", 4) == ()
    with FileCheckpointStore(tmp_path) as store:
        store.record_segment("s", 5, published("a"))
        store.record_segment("s", 5, published("c"))
        assert [one.key for one in store.segments_of_hour("s", 5)] == ["b", "a", "c"]
    assert len((tmp_path / "s.5.segments.jsonl").read_text().splitlines()) == 3


def test_journal_forgets_all_but_three_hours(tmp_path: Path) -> None:
    with FileCheckpointStore(tmp_path) as store:
        for hour in range(-2, 6):
            store.record_segment("s", hour, published(str(hour)))
            assert len(list(tmp_path.glob("*.segments.jsonl"))) <= 3
            assert store.segments_of_hour("s", hour) == (published(str(hour)),)
        assert len(store._streams["s"].hours) <= 3

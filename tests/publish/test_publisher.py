"""Laws of the order of writes: each frame is published once, in order, whatever fails in between."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote

import m3u8
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from publish_cases import T0, Crash, Faults, MemoryProgress, MemoryStore, SteppedClock, frame_id, segment

from streamproc.errors import ConfigurationError, SegmentTaken, StoreUnavailable, UnavailableError
from streamproc.model.frame import FrameId
from streamproc.model.segment import Checkpoint, Position, Segment
from streamproc.progress.files import FileCheckpointStore
from streamproc.publish.files import DirectoryStore
from streamproc.publish.layout import hour_of, hour_playlist_key, live_playlist_key, media_key
from streamproc.publish.publisher import Publisher

FRAMES_PER_FRAGMENT = 4
FRAME_US = 500_000
SECOND_US = 1_000_000


@dataclass
class World:
    """What survives a crash: the store and the progress. All writes draw their fate from one plan."""

    faults: Faults = field(default_factory=Faults)
    start_us: int = T0

    def __post_init__(self) -> None:
        self.store = MemoryStore(self.faults)
        self.progress = MemoryProgress(self.faults)
        self.clock = SteppedClock()

    def publisher(self, window_segments: int = 3, epoch: int = 0) -> Publisher:
        checkpoint = self.progress.load("s") or Checkpoint("s")
        return Publisher(
            self.store, self.progress, "s", {}, window_segments, self.clock, checkpoint, target_s=1, epoch=epoch
        )

    def frames(self, count: int) -> list[FrameId]:
        return [
            replace(
                frame_id(n // FRAMES_PER_FRAGMENT + 1, n % FRAMES_PER_FRAGMENT),
                time_us=self.start_us + n * FRAME_US,
            )
            for n in range(count)
        ]

    def published_frames(self) -> list[str]:
        """The frames in the objects that the journal lists, in its order."""
        listed = [one for hour in sorted(self.progress.hours) for one in self.progress.hours[hour].values()]
        bodies = [self.store.objects[one.key][0] for one in listed]
        return [name for body in bodies for name in body.removeprefix(b"init").decode().split(",")]


def cut(frames: list[FrameId], after: Position | None, length: int) -> Segment:
    """The next segment of at most ``length`` frames behind a position."""
    ids = [one for one in frames if after is None or not after.covers(one)][:length]
    last = ids[-1]
    whole = last.index == FRAMES_PER_FRAGMENT - 1
    number = int(last.fragment.number)
    end = Position(last.fragment.number, None if whole else last.index + 1, 5, str(number - 1) if number > 1 else "")
    return segment(*ids, end=end, duration_us=len(ids) * FRAME_US)


def test_writes_are_in_the_order_that_makes_a_reader_safe() -> None:
    world = World()
    made = segment()
    done = world.publisher().publish(made)
    assert world.faults.seen == [
        "put_new boxes",
        "put_new video",
        "commit",
        "journal",
        "put live.m3u8",
        "put index.m3u8",
    ]
    assert done.segment.key == media_key("s", made.start)
    assert (done.adopted, done.durable_us) == (False, T0 + 1)
    assert world.progress.checkpoint is not None
    assert world.progress.checkpoint.position == made.end


def test_sidecar_of_the_segment_can_be_found_from_its_metadata() -> None:
    world = World()
    world.publisher(epoch=4).publish(segment())
    (key,) = [key for key in world.store.objects if key.startswith("boxes/")]
    (media,) = [key for key in world.store.objects if key.endswith(".mp4")]
    metadata = world.store.objects[media][1]
    assert metadata["sidecar-sha256"][:16] in key
    assert metadata["epoch"] == "4"
    assert json.loads(gzip.decompress(world.store.objects[key][0]))["decision"] == "seen"


@pytest.mark.parametrize("fate", ["b", "a"], ids=["before its effect", "after its effect"])
@pytest.mark.parametrize("step", range(4), ids=["sidecar", "media", "commit", "journal"])
def test_a_failed_write_may_be_tried_again(step: int, fate: str) -> None:
    world = World(Faults(["."] * step + [fate]))
    publisher, made = world.publisher(), segment()
    with pytest.raises(UnavailableError):
        publisher.publish(made)
    done = publisher.publish(made)
    assert done.segment.key == media_key("s", made.start)
    assert done.adopted == ((step, fate) in {(1, "a"), (2, "b"), (2, "a")})
    assert publisher.checkpoint == world.progress.checkpoint
    assert (publisher.checkpoint.segments, publisher.checkpoint.position) == (1, made.end)
    assert world.published_frames() == ["7:0"]


@pytest.mark.parametrize("step", [4, 5], ids=["live", "hour"])
def test_a_failed_playlist_is_written_with_the_next_segment(step: int) -> None:
    world = World(Faults(["."] * step + ["b"]))
    publisher, frames = world.publisher(), world.frames(8)
    publisher.publish(cut(frames, None, 4))
    assert publisher.playlist_failures == 1
    publisher.publish(cut(frames, publisher.checkpoint.position, 4))
    for key in (live_playlist_key("s"), hour_playlist_key("s", T0)):
        assert len(m3u8.loads(world.store.text(key)).segments) == 2


def test_the_same_object_of_another_writer_is_adopted() -> None:
    world = World()
    made = segment()
    world.publisher().publish(made)
    world.progress.checkpoint = None
    world.progress.hours.clear()
    done = world.publisher(epoch=1).publish(replace(made, data=made.data + b" encoded otherwise"))
    assert done.adopted
    assert done.segment.bytes == len(made.data)
    assert world.published_frames() == ["7:0"]


def test_another_end_of_another_writer_is_taken_over() -> None:
    world = World()
    frames = world.frames(12)
    world.publisher().publish(cut(frames, None, 6))
    world.progress.checkpoint = None
    world.progress.hours.clear()
    publisher = world.publisher()
    with pytest.raises(SegmentTaken):
        publisher.publish(cut(frames, None, 3))
    assert publisher.checkpoint.position == cut(frames, None, 6).end
    assert publisher.checkpoint == world.progress.checkpoint
    publisher.publish(cut(frames, publisher.checkpoint.position, 6))
    assert world.published_frames() == [f"{n // 4 + 1}:{n % 4}" for n in range(12)]


def test_the_timeline_of_an_adopted_object_is_gone_on_with() -> None:
    world = World()
    world.publisher().publish(segment(origin_us=T0 - 5))
    world.progress.checkpoint = None
    publisher = world.publisher()
    with pytest.raises(SegmentTaken):
        publisher.publish(segment(origin_us=T0))
    assert publisher.checkpoint.origin_us == T0 - 5
    following = segment(frame_id(8, 0, T0 + SECOND_US), origin_us=T0 - 5)
    assert not publisher.publish(following).adopted
    assert world.published_frames() == ["7:0", "8:0"]


@pytest.mark.parametrize("fate", [".", "b", "a"], ids=["well", "fails before", "fails after"])
def test_a_position_behind_the_last_segment_can_be_committed(fate: str) -> None:
    world = World()
    publisher = world.publisher()
    publisher.publish(segment())
    before = publisher.checkpoint
    world.faults.plan = [fate]
    further = Position("9", None, 1, "8")
    if fate != ".":
        with pytest.raises(UnavailableError):
            publisher.advance(further)
    publisher.advance(further)
    writes = len(world.faults.seen)
    publisher.advance(further)
    assert len(world.faults.seen) == writes
    assert world.progress.checkpoint == publisher.checkpoint == replace(before, position=further)


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param({}, id="no metadata"),
        pytest.param({"schema": "9"}, id="other schema"),
        pytest.param({"end-frames": "0"}, id="end before its start"),
        pytest.param({"end-fragment": "6"}, id="end in an earlier fragment"),
        pytest.param({"origin-us": "then"}, id="not a number"),
        pytest.param({"start-frame": "5"}, id="another start"),
    ],
)
def test_a_foreign_object_in_the_way_is_said_so(metadata: dict[str, str]) -> None:
    world = World()
    made = segment()
    world.publisher().publish(made)
    key = media_key("s", made.start)
    body, ours = world.store.objects[key]
    world.store.objects[key] = (body, {**ours, **metadata} if metadata else {})
    world.progress.checkpoint = None
    with pytest.raises(ConfigurationError, match="not written by streamproc"):
        world.publisher().publish(made)
    assert world.progress.checkpoint is None


def test_an_object_that_vanishes_is_worth_another_try() -> None:
    world = World()
    made = segment()
    world.publisher().publish(made)
    world.progress.checkpoint = None
    publisher = world.publisher()
    world.store.metadata = lambda key: None  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable, match="was there and is gone"):
        publisher.publish(made)


def test_close_ends_both_playlists_and_recover_opens_them_again() -> None:
    world = World()
    publisher = world.publisher()
    publisher.publish(segment())
    publisher.close()
    keys = (live_playlist_key("s"), hour_playlist_key("s", T0))
    assert all(m3u8.loads(world.store.text(key)).is_endlist for key in keys)
    world.publisher().recover()
    assert not any(m3u8.loads(world.store.text(key)).is_endlist for key in keys)
    assert all(len(m3u8.loads(world.store.text(key)).segments) == 1 for key in keys)


def test_close_and_recover_before_the_first_segment_write_nothing() -> None:
    world = World()
    publisher = world.publisher()
    publisher.recover()
    publisher.close()
    assert world.store.objects == {}


@pytest.mark.parametrize("crash_at", [None, 0, 1], ids=["running", "restarted before it", "killed at the turn"])
def test_an_hour_that_is_over_is_ended(crash_at: int | None) -> None:
    hour_us = (hour_of(T0) + 1) * 3600 * SECOND_US
    world = World(start_us=hour_us - 4 * FRAME_US)
    publisher, frames = world.publisher(), world.frames(12)
    for number in range(3):
        if number == crash_at:
            world.faults.plan = [".", ".", "y"]  # right behind the commit
        made = cut(frames, publisher.checkpoint.position, 4)
        if number == crash_at:
            with pytest.raises(Crash):
                publisher.publish(made)
            publisher = world.publisher()
            publisher.recover()
        else:
            publisher.publish(made)
    first, second = (m3u8.loads(world.store.text(hour_playlist_key("s", hour_us + us))) for us in (-1, 0))
    assert (len(first.segments), first.is_endlist) == (1, True)
    assert not second.is_endlist
    publisher.close()
    second = m3u8.loads(world.store.text(hour_playlist_key("s", hour_us)))
    assert (len(second.segments), second.is_endlist) == (2, True)


def test_hour_playlist_is_written_at_most_every_ten_seconds_and_complete_in_the_end() -> None:
    world = World()
    publisher, frames = world.publisher(), world.frames(160)
    for _ in range(40):
        publisher.publish(cut(frames, publisher.checkpoint.position, 4))
    assert world.faults.seen.count("put live.m3u8") == 40
    assert world.faults.seen.count("put index.m3u8") == 8
    publisher.close()
    assert len(m3u8.loads(world.store.text(hour_playlist_key("s", T0))).segments) == 40


def test_target_duration_grows_but_never_shrinks() -> None:
    world = World()
    publisher, frames = world.publisher(1), world.frames(60)
    seen = []
    for length in (2, 8, *[2] * 20):
        publisher.publish(cut(frames, publisher.checkpoint.position, length))
        seen.append(m3u8.loads(world.store.text(live_playlist_key("s"))).target_duration)
    assert seen == [1] + [4] * 21


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from("....bayx"), max_size=60),
    st.lists(st.integers(1, 9), min_size=1, max_size=40),
    st.integers(1, 4),
)
def test_every_frame_is_published_once_in_order_after_any_faults_and_crashes(
    fates: list[str], lengths: list[int], window: int
) -> None:
    world = World(Faults(fates))
    frames = world.frames(24)
    publisher = world.publisher(window)
    recovered = False
    retry: Segment | None = None
    turn = 0
    while True:
        position = publisher.checkpoint.position
        if recovered and retry is None and position is not None and position.covers(frames[-1]):
            break
        try:
            if not recovered:
                publisher.recover()
                recovered = True
                continue
            # After a crash the cuts fall elsewhere: the lengths go on from where they were.
            made = retry or cut(frames, position, lengths[turn % len(lengths)])
            turn += retry is None
            retry = made
            done = publisher.publish(made)
            retry = None
            assert done.segment.key == media_key("s", made.start)
            assert publisher.checkpoint.position == made.end
        except SegmentTaken:
            retry = None
        except UnavailableError:
            pass
        except Crash:
            publisher, recovered, retry = world.publisher(window), False, None
    world.faults.plan.clear()
    publisher.close()

    expected = [f"{n // 4 + 1}:{n % 4}" for n in range(24)]
    assert world.published_frames() == expected
    final = world.progress.checkpoint
    assert final == publisher.checkpoint
    assert final.segments == sum(len(hour) for hour in world.progress.hours.values())
    assert final.media_sequence + len(final.window) == final.segments
    hour = m3u8.loads(world.store.text(hour_playlist_key("s", T0)))
    live = m3u8.loads(world.store.text(live_playlist_key("s")))
    assert len(hour.segments) == final.segments
    assert [one.uri.rsplit("/", 1)[-1] for one in live.segments] == [
        one.uri for one in hour.segments[final.media_sequence :]
    ]
    assert live.media_sequence == final.media_sequence
    assert hour.is_endlist
    assert live.is_endlist
    # Of each listed segment the audit record exists.
    for one in final.window:
        digest = world.store.metadata(one.key)["sidecar-sha256"]  # type: ignore[index]
        assert any(digest[:16] in key for key in world.store.objects)


def test_every_uri_leads_to_a_file_and_every_init_section_is_there(tmp_path: Path) -> None:
    root = tmp_path / "out"
    with FileCheckpointStore(tmp_path / "state") as progress:
        publisher = Publisher(DirectoryStore(root), progress, "a b", {}, 3, SteppedClock(), Checkpoint("a b"))
        frames = World().frames(24)
        for _ in range(6):
            publisher.publish(cut(frames, publisher.checkpoint.position, 4))
        publisher.close()
        assert progress.load("a b") == publisher.checkpoint
    assert len(list(root.rglob("*.mp4"))) == len(list(root.rglob("*.jsonl.gz"))) == 6
    for name, count in ((live_playlist_key("a b"), 3), (hour_playlist_key("a b", T0), 6)):
        read = m3u8.load(str(root / name))
        assert len(read.segments) == count
        for one in read.segments:
            assert (root / name).parent.joinpath(unquote(one.uri)).is_file()
            carrier = (root / name).parent.joinpath(unquote(one.init_section.uri))
            length = int(one.init_section.byterange.partition("@")[0])
            assert carrier.read_bytes()[:length] == b"init"

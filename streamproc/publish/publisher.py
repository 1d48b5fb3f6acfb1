"""The order of writes for one stream, so that each segment is published exactly once whatever fails in between.

1. the audit record, under a name made from its content: existing already is as good as written;
2. the media object, only if its key is free. If it is taken, whoever took it was first, and its metadata say how far it
   goes: we adopt it;
3. the checkpoint: from here on the segment counts as published;
4. the journal of the hour and the playlists, which can be made again from the checkpoint.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from streamproc.errors import ConfigurationError, SegmentTaken, StoreUnavailable, UnavailableError
from streamproc.model.segment import Checkpoint, Position, PublishedSegment, Segment
from streamproc.ports import CheckpointStore, Clock, ObjectStore
from streamproc.publish.layout import (
    HOUR_US,
    hour_of,
    hour_playlist_key,
    live_playlist_key,
    media_key,
    relative_uri,
    sidecar_key,
)
from streamproc.publish.manifest import (
    begins_with,
    origin_from_metadata,
    policy_hash,
    position_from_metadata,
    published_from_metadata,
    segment_metadata,
    sidecar,
)
from streamproc.publish.playlist import event_playlist, live_playlist, roll, target_duration_s

_PLAYLIST_TYPE = "application/vnd.apple.mpegurl"
_HOUR_PLAYLIST_EVERY_US = 10_000_000  # of producer time: late in the hour it is long


class ProgressStore(CheckpointStore, Protocol):
    """A checkpoint store that also keeps a journal of what was published, by hours."""

    def record_segment(self, stream: str, hour: int, segment: PublishedSegment) -> None:
        """Append to the journal of the hour (whole hours since the epoch); a key already there is not repeated."""

    def segments_of_hour(self, stream: str, hour: int) -> Sequence[PublishedSegment]:
        """What was recorded, in that order; empty once the hour has been forgotten."""


@dataclass(frozen=True, slots=True)
class Published:
    """A segment that is durable.

    Attributes:
        segment: As it stands in the store.
        durable_us: Wall clock at which its checkpoint was committed.
        adopted: The key was taken, by another writer or by an earlier try of ours, with the same end.
    """

    segment: PublishedSegment
    durable_us: int
    adopted: bool


class Publisher:
    """Publishes one stream's segments in their order, called from one thread.

    Every method may be called again after it has raised an :class:`~streamproc.errors.UnavailableError`, with the same
    argument, and then goes on where it stopped.

    Args:
        policy: The redaction settings, for the audit record.
        window_segments: How many segments the live playlist lists at least, once there are so many; at least 1.
        checkpoint: Where the stream stands in ``progress``, or a new one.
        target_s: Lower bound of the playlists' target duration: a segment's longest planned duration.
        epoch: Fencing token of this owner of the stream; it stands on the objects.
    """

    def __init__(
        self,
        store: ObjectStore,
        progress: ProgressStore,
        stream: str,
        policy: Mapping[str, object],
        window_segments: int,
        clock: Clock,
        checkpoint: Checkpoint,
        *,
        target_s: int = 1,
        epoch: int = 0,
    ) -> None:
        self._store = store
        self._progress = progress
        self._stream = stream
        self._policy = dict(policy)
        self._policy_id = policy_hash(policy)
        self._window_segments = window_segments
        self._clock = clock
        self._checkpoint = checkpoint
        self._epoch = epoch
        self._target_s = target_duration_s(checkpoint.window, target_s)
        self._durable_us = 0
        self._adopted = False
        self._hour: int | None = None
        self._hour_written_us: int | None = None
        self._hours_to_end: set[int] = set()
        self.playlist_failures = 0

    @property
    def checkpoint(self) -> Checkpoint:
        """As last committed by this publisher, or as handed in."""
        return self._checkpoint

    def recover(self) -> None:
        """Make journal and playlists agree with the checkpoint: a crash may have left them one segment behind."""
        window = self._checkpoint.window
        for segment in window:
            self._progress.record_segment(self._stream, hour_of(segment.time_us), segment)
        if window:
            self._hour = hour_of(window[-1].time_us)
            self._hours_to_end = {hour_of(one.time_us) for one in window} - {self._hour}
            self._hour_written_us = None
            self._write_playlists()

    def publish(self, segment: Segment) -> Published:
        """Make the segment durable and list it.

        Returns:
            The segment as it stands in the store; if its key was taken by an object with the same end, that object.

        Raises:
            SegmentTaken: The key was taken by an object with another end or timeline. That object is published now in
                place of ``segment``, and :attr:`checkpoint` says from where to go on.
            UnavailableError: Nothing is lost; call again with the same segment.
            ConfigurationError: The key is taken by an object that no streamproc wrote.
        """
        key = media_key(self._stream, segment.place)
        if not self._is_last(key):
            self._commit(key, segment)
        last = self._checkpoint.window[-1]
        hour = hour_of(last.time_us)
        self._progress.record_segment(self._stream, hour, last)
        self._turn_hour(hour)
        self._write_playlists()
        if not self._ends_as(segment):
            raise SegmentTaken(key)
        return Published(last, self._durable_us, self._adopted)

    def advance(self, position: Position) -> None:
        """Commit a position behind the last segment: what lies between could not be shown, and stands in the ledger.

        A position that is not further on changes nothing.
        """
        if self._checkpoint.position is None or position.order > self._checkpoint.position.order:
            checkpoint = replace(self._checkpoint, position=position)
            self._progress.commit(checkpoint)
            self._checkpoint = checkpoint

    def close(self) -> None:
        """Write the playlists with EXT-X-ENDLIST. Raises ``UnavailableError``; then they stay without it."""
        if not self._checkpoint.window:
            return
        self._write_live(ended=True)
        if self._hour is None:
            self._hour = hour_of(self._checkpoint.window[-1].time_us)
        for hour in sorted({*self._hours_to_end, self._hour}):
            self._write_hour(hour, ended=True)
            self._hours_to_end.discard(hour)

    def _is_last(self, key: str) -> bool:
        window = self._checkpoint.window
        return bool(window) and window[-1].key == key

    def _ends_as(self, segment: Segment) -> bool:
        position, end = self._checkpoint.position, segment.end
        return (
            position is not None
            and (position.fragment, position.frames) == (end.fragment, end.frames)
            and self._checkpoint.origin_us == segment.origin_us
        )

    def _commit(self, key: str, segment: Segment) -> None:
        record = sidecar(segment, self._stream, self._policy)
        digest = hashlib.sha256(record).hexdigest()
        self._store.put_new(sidecar_key(self._stream, segment.place, digest), record, "application/gzip", {})
        ours = segment_metadata(segment, digest, self._policy_id, self._epoch)
        created = self._store.put_new(key, segment.data, "video/mp4", ours)
        metadata = ours if created else self._winner(key, segment)
        published, position = published_from_metadata(key, metadata), position_from_metadata(metadata)
        target_s = target_duration_s([published], self._target_s)
        checkpoint = roll(self._checkpoint, published, position, self._window_segments, target_s)
        # An adopted object may lie on another timeline than ours (of an owner whose state was lost): we go on with its.
        checkpoint = replace(checkpoint, origin_us=origin_from_metadata(metadata))
        self._progress.commit(checkpoint)
        self._durable_us = self._clock.now_us()
        self._checkpoint, self._target_s, self._adopted = checkpoint, target_s, not created

    def _winner(self, key: str, segment: Segment) -> Mapping[str, str]:
        metadata = self._store.metadata(key)
        if metadata is None:
            raise StoreUnavailable(
                f"{key} in {self._store.describe()}: was there and is gone; it is worth trying again"
            )
        try:
            published_from_metadata(key, metadata)
            origin_from_metadata(metadata)
            sound = begins_with(metadata, segment.place) and position_from_metadata(metadata).covers(segment.place)
        except ValueError:
            sound = False
        if not sound:
            raise ConfigurationError(
                f"{key} in {self._store.describe()}: not written by streamproc, and in its way; "
                "move it away, or choose another output"
            )
        return metadata

    def _turn_hour(self, hour: int) -> None:
        if hour != self._hour:
            if self._hour is not None:
                self._hours_to_end.add(self._hour)
            self._hours_to_end.discard(hour)  # a producer's clock may go back into an hour
            self._hour, self._hour_written_us = hour, None

    def _write_playlists(self) -> None:
        """Bring the playlists up to date. A failure is only counted: the next segment's will say it all."""
        try:
            self._write_live(ended=False)
            for hour in sorted(self._hours_to_end):
                self._write_hour(hour, ended=True)
                self._hours_to_end.discard(hour)
            now_us, then_us = self._checkpoint.window[-1].time_us, self._hour_written_us
            if then_us is None or not 0 <= now_us - then_us < _HOUR_PLAYLIST_EVERY_US:
                self._write_hour(hour_of(now_us), ended=False)
                self._hour_written_us = now_us
        except UnavailableError:
            self.playlist_failures += 1

    def _write_live(self, *, ended: bool) -> None:
        key = live_playlist_key(self._stream)
        text = live_playlist(
            self._checkpoint, lambda one: relative_uri(key, one.key), ended=ended, target_s=self._target_s
        )
        self._store.put(key, text.encode(), _PLAYLIST_TYPE, "max-age=1")

    def _write_hour(self, hour: int, *, ended: bool) -> None:
        segments = self._progress.segments_of_hour(self._stream, hour)
        if not segments:
            return
        key = hour_playlist_key(self._stream, hour * HOUR_US)
        text = event_playlist(segments, lambda one: relative_uri(key, one.key), ended=ended, target_s=self._target_s)
        self._store.put(key, text.encode(), _PLAYLIST_TYPE, "max-age=10")

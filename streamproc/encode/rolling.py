"""Rolling segments: redacted frames in, complete segments with their position in the stream out."""

from __future__ import annotations

from collections import deque

import av.error

from streamproc.encode.pyav import EncodeOptions, SegmentEncoder
from streamproc.encode.segmenter import Cut, Segmenter, Shape
from streamproc.model.frame import FrameId, RedactedFrame
from streamproc.model.media import Fragment, FragmentNumber, Sound, Track
from streamproc.model.segment import Checkpoint, FrameRecord, Position, Segment
from streamproc.ports import Clock

# Pieces of sound kept for the next segment: between two segments a decoder that reorders holds the first picture back
# for a few frames. 128 pieces of AAC are 2.7 s, about 50 kB.
_EARLY_SOUNDS = 128


class RollingSegments:
    """Encodes the frames of one stream and closes a segment where :class:`Segmenter` says so.

    Used from one thread. Frames go out as they came: as many, at their times, in their size.

    Args:
        seconds: Wanted length of a segment.
        resume: Where the last process stopped; the output's timeline goes on from there.

    Attributes:
        refused: Why the last frame could not be encoded, "" if it could.
    """

    def __init__(self, seconds: float, options: EncodeOptions, clock: Clock, resume: Checkpoint) -> None:
        self.refused = ""
        self._segmenter = Segmenter(seconds)
        self._options = options
        self._clock = clock
        self._origin_us = resume.origin_us
        if resume.last_end_us is not None:
            self._segmenter.resume(resume.last_end_us)
        self._encoder: SegmentEncoder | None = None
        self._records: list[FrameRecord] = []
        self._shape: Shape | None = None
        self._opened: FrameId | None = None
        self._discontinuity = False
        self._entry_after = resume.position.after if resume.position else ""
        self._entry_us = resume.position.server_us if resume.position else 0
        self._position = resume.position
        self._audio: Track | None = None
        # Sound up to here is published; a fragment that is sent again brings it again.
        self._heard_us = None if resume.last_end_us is None else resume.last_end_us - 1
        self._early: deque[Sound] = deque(maxlen=_EARLY_SOUNDS)

    @property
    def position(self) -> Position | None:
        """How far everything that came in reaches; ahead of what is published while a segment is open."""
        return self._position

    @property
    def origin_us(self) -> int | None:
        """Producer's wall clock that is time zero of the output; moves where the producer's clock goes back."""
        return self._origin_us

    @property
    def open_since_us(self) -> int | None:
        """When the open segment's first frame arrived (our wall clock, µs), None if no segment is open."""
        records = self._records  # another thread may look
        return records[0].stamps.arrived_us if records else None

    def carry_audio(self, track: Track | None) -> None:
        """Segments that begin from now on carry this track."""
        self._audio = track

    def mark_gap(self) -> None:
        """Something before the next frame is lost: the player is told."""
        self._segmenter.mark_gap()

    def add(self, frame: RedactedFrame) -> list[Segment]:
        """Encode a frame; returns the segment that had to be closed before it, if any."""
        shape = Shape(frame.width, frame.height, frame.rotation, frame.picture.format.name)
        cut = self._segmenter.before(frame.id, shape)
        done = self._close(frame.id.time_us, goes_on=cut is Cut.SEGMENT) if cut is not Cut.NONE else []
        if cut is Cut.DISCONTINUITY:
            self._discontinuity = True
            self._heard_us = None
        encoder = self._encoder or SegmentEncoder(frame, self._origin_for(frame.id), self._options, self._audio)
        for sound in self._early:
            encoder.add_sound(sound)
        self._early.clear()
        try:
            encoder.add(frame)
        except av.error.FFmpegError as error:
            if self._encoder is not None:
                raise
            what = f"{frame.width}x{frame.height} in {shape.format}"
            self.refused = f"a picture of {what} cannot be encoded ({type(error).__name__})"
            self.passed(frame.id)
            return done
        if self._encoder is None:
            self._opened = self._place(frame.id)
        self._encoder, self._shape, self.refused = encoder, shape, ""
        self._segmenter.add(frame.id, shape)
        self._records.append(FrameRecord(frame.id, frame.cover, frame.stamps))
        self.passed(frame.id)
        return done

    def passed(self, frame: FrameId) -> None:
        """This frame was added, or will never be published (withheld)."""
        fragment = frame.fragment
        self._position = Position(fragment.number, frame.index + 1, self._entry_us, self._entry_after)

    def entry(self, after: FragmentNumber, server_us: int) -> None:
        """The frames that follow can be decoded from here on; see :class:`Position`."""
        self._entry_after, self._entry_us = after, server_us

    def sound(self, sound: Sound) -> None:
        """Add sound to the open segment, or to the next one if none is open. What was added before is dropped."""
        if self._heard_us is not None and sound.time_us <= self._heard_us:
            return
        self._heard_us = sound.time_us
        if self._encoder is not None:
            self._encoder.add_sound(sound)
        elif self._audio is not None:
            self._early.append(sound)

    def fragment_done(self, fragment: Fragment, after: FragmentNumber | None = None) -> list[Segment]:
        """All frames of a fragment were added; returns the segment that ends with it, if one does.

        Args:
            after: The fragment to resume after; None for this one.
        """
        self._position = Position(fragment.number, None, self._entry_us, fragment.number if after is None else after)
        return self._close() if self._segmenter.ends_with_fragment() else []

    def flush(self) -> list[Segment]:
        """Close the open segment wherever it stands."""
        return self._close()

    def _place(self, frame: FrameId) -> FrameId:
        """The first frame that could stand in a segment that is opened with this one."""
        position, fragment = self._position, frame.fragment
        goes_on = position is not None and position.fragment == fragment.number
        return FrameId(fragment, (goes_on and position and position.frames) or 0, fragment.producer_us)

    def _origin_for(self, frame: FrameId) -> int:
        """Time zero such that the output's timeline never goes back."""
        end = self._segmenter.end_us
        if self._origin_us is None:
            self._origin_us = frame.time_us
        elif end is not None and frame.time_us <= end - self._segmenter.frame_us:
            self._origin_us += frame.time_us - end
        return self._origin_us

    def _close(self, next_us: int | None = None, goes_on: bool = False) -> list[Segment]:
        encoder, shape, end_us = self._encoder, self._shape, self._segmenter.end_us
        if encoder is None or shape is None or end_us is None or self._position is None:
            return []
        last_us = self._records[-1].id.time_us
        if next_us is not None and (goes_on or last_us < next_us < end_us):
            end_us = next_us  # known now; before, it was a guess
        encoded = encoder.close(end_us)
        first = self._records[0].id
        segment = Segment(
            start=first,
            end=self._position,
            duration_us=end_us - first.time_us,
            width=shape.width,
            height=shape.height,
            data=encoded.data,
            init_bytes=encoded.init_bytes,
            frames=tuple(self._records),
            discontinuity=self._discontinuity,
            encoded_us=self._clock.now_us(),
            origin_us=self._origin_us,
            opened=self._opened,
        )
        self._encoder, self._records, self._discontinuity = None, [], False
        self._segmenter.closed()
        return [segment]

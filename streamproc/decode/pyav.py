"""Decoding with PyAV: one persistent decoder, fed block by block.

Block by block a picture is there 1 ms after its bytes; opening each fragment as a file costs a fragment's length of lag
and loses the frames of fragments that do not begin with a keyframe.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import isqrt
from typing import cast

import av
import av.error
from av.codec.context import CodecContext
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from streamproc.decode.nal import CODECS, starts_closed_gop
from streamproc.decode.timeline import Timeline
from streamproc.errors import MediaError, shown_text
from streamproc.model.frame import Frame, Stamps
from streamproc.model.media import (
    Block,
    Fragment,
    FragmentEnd,
    FragmentNumber,
    FragmentStart,
    Sound,
    Track,
    TrackKind,
)
from streamproc.ports import Clock

_PLANAR = ("yuv420p", "yuvj420p")


@dataclass(frozen=True, slots=True)
class EntryPoint:
    """Where one must begin to read in order to decode this fragment: it, or an earlier one. Comes before its frames.

    A fragment that begins with an IDR picture needs none before it; one that begins with another keyframe needs the one
    that holds the keyframe before, for the pictures that are shown before its own; any other needs the fragment in
    which its group of pictures begins.

    Attributes:
        after: Number of the fragment before the one to begin with, "" if it is not known.
        server_us: Server timestamp of the one to begin with.
    """

    fragment: Fragment
    after: FragmentNumber
    server_us: int


@dataclass(frozen=True, slots=True)
class FragmentDecoded:
    """All frames of a fragment that will ever come have come.

    Attributes:
        complete: The fragment's end was seen, so a position behind it is right.
        lost: Blocks that gave no picture.
        problem: Why nothing of it could be decoded, "" if it could.
        entry: Where one must begin to read in order to decode what follows it.
    """

    fragment: Fragment
    complete: bool
    lost: int = 0
    problem: str = ""
    entry: EntryPoint | None = field(default=None, compare=False)


Decoded = Frame | Sound | EntryPoint | FragmentDecoded


class Decoder:
    """Turns a stream's events into frames. Used from one thread.

    Args:
        clock: For the stamps on the frames.
        max_pixels: Larger pictures are refused by the decoder before it allocates them, whatever the container says
            (by a tenth larger ones may pass where the container is silent).
        keep_audio: Pass audio blocks on as :class:`Sound`.
        after: Number of the fragment before the first one that will come, "" if it is not known.
    """

    def __init__(self, clock: Clock, max_pixels: int, keep_audio: bool = False, after: FragmentNumber = "") -> None:
        self._clock = clock
        self._max_pixels = max_pixels
        self._keep_audio = keep_audio
        self._timeline = Timeline()
        self._context: VideoCodecContext | None = None
        self._coding: tuple[str, bytes] | None = None
        self._fragment: Fragment | None = None
        self._video: Track | None = None
        self._audio: Track | None = None
        self._turn = 0
        self._problem = ""
        self._first_block = True
        self._inside = False
        self._begun = 0
        self._open_gops = False
        self._doubt = False  # a picture that later ones refer to is damaged or missing
        self._previous = after
        self._head: EntryPoint | None = None  # of the last fragment that began with a keyframe
        self._head_before: EntryPoint | None = None  # as it was before this fragment
        self._entries: dict[FragmentNumber, EntryPoint] = {}  # of fragments none of whose frames has come out
        self._unfinished: Fragment | None = None
        self._owed: list[FragmentDecoded] = []
        self.blocks = 0
        self.frames = 0

    def start(self, event: FragmentStart) -> Iterator[Decoded]:
        """A fragment begins. Yields what the decoder still held if the coding changes here."""
        fragment = event.fragment
        if self._unfinished is not None:
            if fragment.number and self._unfinished.number == fragment.number:
                yield from self._forget(self._unfinished)  # it is sent again from its start
            else:
                yield from self._finish(self._unfinished, complete=False, drain=True)
                self._doubt = True
            self._unfinished = None
        if self._fragment is not None and self._fragment.number != fragment.number:
            self._previous = self._fragment.number
        self._video = next((t for t in event.tracks if t.kind is TrackKind.VIDEO), None)
        self._audio = next((t for t in event.tracks if t.kind is TrackKind.AUDIO), None) if self._keep_audio else None
        self._fragment, self._first_block, self._problem, self._inside = fragment, True, "", True
        if self._video is None and event.tracks:
            self._problem = "there is no video track; let the camera send one, in H.264 or H.265"
        try:
            coding = self._checked(self._video)
        except MediaError as error:
            self._problem = str(error)
            coding = None
        if coding != self._coding:
            yield from self.drain()
            self._context, self._coding = None, coding
            self._begun, self._open_gops, self._doubt = 0, False, False
        self._timeline.begin(fragment)

    def block(self, event: Block, arrived_us: int) -> Iterator[Decoded]:
        """Decode one block; yields the frames that are ready, in order of presentation."""
        fragment, video = self._fragment, self._video
        if fragment is None:
            return
        if video is None or event.track != video.number:
            if self._audio is not None and event.track == self._audio.number:
                yield Sound(fragment, self._audio, fragment.producer_us + event.offset_us, event.data)
            return
        self.blocks += 1
        if self._problem or self._coding is None:
            return
        if self._first_block:
            self._first_block = False
            self._entries[fragment.number] = self._entered(
                fragment, event.keyframe, starts_closed_gop(*self._coding, event.data)
            )
        if not event.data:  # to FFmpeg an empty packet is the end of everything
            self._timeline.block(event.offset_us, arrived_us)
            self._doubt = True
            return
        packet = av.Packet(len(event.data))
        packet.update(event.data)  # copies with the padding that decoders read into
        packet.pts = packet.dts = self._timeline.block(event.offset_us, arrived_us)
        try:
            pictures = self._open().decode(packet)
        except (av.error.FFmpegError, ValueError) as error:
            self._doubt = True
            if self.frames == 0:
                self._problem = f"the decoder refuses it ({type(error).__name__})"
            return
        yield from self._framed(pictures)

    def end(self, event: FragmentEnd) -> Iterator[Decoded]:
        """A fragment is over: with its last frames, if the next one does not need what the decoder holds."""
        if self._fragment is None:
            return
        self._inside = False
        if not event.complete:
            # The service may send it again, whole: wait for what comes next.
            self._unfinished = event.fragment
            return
        yield from self._finish(event.fragment, complete=True, drain=self._stands_alone)

    def drain(self) -> Iterator[Decoded]:
        """What the decoder still holds. It needs a keyframe afterwards."""
        context = self._context
        if context is not None and context.is_open:
            try:
                pictures = context.decode(None)
            except (av.error.FFmpegError, ValueError):
                pictures = []
            yield from self._framed(pictures)
            context.flush_buffers()
        yield from self._settle()

    def drain_finished(self) -> Iterator[Decoded]:
        """At the end of all: what the decoder still holds, unless its fragment is not over (it will be sent again)."""
        if not self._inside and self._unfinished is None:
            yield from self.drain()

    def _entered(self, fragment: Fragment, keyframe: bool, closed: bool) -> EntryPoint:
        """The first block of a fragment is here: a keyframe or not, and then an IDR picture or not."""
        self._begun += 1
        self._open_gops |= not closed
        here = EntryPoint(fragment, self._previous, fragment.server_us)
        before = self._head_before = self._head
        self._head = here if closed or keyframe or self._head is None else self._head
        return here if closed or before is None else replace(before, fragment=fragment)

    def _finish(self, fragment: Fragment, complete: bool, drain: bool) -> Iterator[Decoded]:
        # As far as one knows the next fragment needs nothing of this one; or else it may need the last keyframe.
        head = None if self._stands_alone else self._head
        entry = head or EntryPoint(fragment, fragment.number, fragment.server_us)
        self._owed.append(FragmentDecoded(fragment, complete, 0, self._problem, entry))
        if not self._timeline.waiting:
            yield from self._settle()
        elif drain:
            yield from self.drain()
        # Else the next fragment refers to these pictures: the last of them come out with its first blocks.

    def _settle(self, until: Fragment | None = None) -> Iterator[FragmentDecoded]:
        """Close the fragments that are over and stand before ``until``: no frame of theirs can come any more."""
        while self._owed and self._owed[0].fragment != until:
            done = self._owed.pop(0)
            self._entries.pop(done.fragment.number, None)
            yield replace(done, lost=self._timeline.lost(done.fragment))

    @property
    def _stands_alone(self) -> bool:
        """Whether fragments of this stream, as far as one knows, do not refer to the one before.

        The first one proves nothing: encoders that work with open groups of pictures begin with an IDR picture too.
        """
        return self._begun >= 2 and not self._open_gops

    def _forget(self, fragment: Fragment) -> Iterator[Decoded]:
        """Drop what the decoder holds of this fragment, but not what it holds of those before."""
        if not self._first_block:  # it will begin once more
            self._begun, self._head = self._begun - 1, self._head_before
        self._timeline.forget(fragment)
        yield from self.drain()

    def _checked(self, track: Track | None) -> tuple[str, bytes] | None:
        if track is None:
            return None
        codec = CODECS.get(track.codec_id)
        if codec is None:
            raise MediaError(f"codec {shown_text(track.codec_id)} is not supported; set the camera to H.264 or H.265")
        if track.width * track.height > self._max_pixels:
            raise MediaError(f"picture of {track.width}x{track.height} is over limits.max_pixels = {self._max_pixels}")
        return codec, track.codec_private

    def _open(self) -> VideoCodecContext:
        if self._context is None:
            assert self._coding is not None
            name, private = self._coding
            context = cast(VideoCodecContext, CodecContext.create(name, "r"))
            if private:
                context.extradata = private
            # One thread adds no delay; the parallelism comes from the streams.
            context.thread_count, context.thread_type = 1, "NONE"
            # It counts before cropping, up to 63 rows and columns more: 1080p is coded as 1920x1088.
            context.options = {"max_pixels": str(self._max_pixels + 160 * isqrt(self._max_pixels) + 4096)}
            self._context = context
        return self._context

    def _framed(self, pictures: list[VideoFrame]) -> Iterator[Decoded]:
        for picture in pictures:
            overtaken = picture.pts is not None and self._timeline.overtaken(picture.pts)
            held = self._timeline.frame(picture.pts) if picture.pts is not None else None
            if held is None:
                continue
            frame_id, arrived_us = held
            yield from self._settle(until=frame_id.fragment)
            entry = self._entries.pop(frame_id.fragment.number, None)
            if entry is not None:
                yield entry
            self.frames += 1
            # A picture in another format is a new one, without these.
            self._doubt = (self._doubt and not picture.key_frame) or overtaken or picture.is_corrupt
            damaged, turn = self._doubt, round(-picture.rotation / 90) * 90 % 360
            if turn or picture.key_frame:
                self._turn = turn  # said once, it holds until the next keyframe
            if picture.format.name not in _PLANAR:
                full = picture.format.name.startswith("yuvj")
                picture = picture.reformat(format="yuvj420p" if full else "yuv420p", threads=1)
            rotation = (self._video.rotation if self._video else 0) or self._turn
            yield Frame(
                frame_id,
                picture,
                picture.width,
                picture.height,
                rotation,
                damaged,
                Stamps(arrived_us, self._clock.now_us()),
            )

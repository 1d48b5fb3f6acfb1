"""Laws of the published objects, read back from their bytes: every frame once, at its time, in complete files."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction as Ratio
from functools import lru_cache
from itertools import pairwise
from typing import Any

import av
import av.logging
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from media_made import STEP_US, T0, clip, drawn, luma_of, number_in, pieces

from streamproc.decode.pyav import Decoder, EntryPoint
from streamproc.encode.boxes import boxes, init_length
from streamproc.encode.pyav import EncodeOptions
from streamproc.encode.rolling import RollingSegments
from streamproc.model.frame import Cover, Decision, Frame, FrameId, RedactedFrame, Region
from streamproc.model.geometry import Box
from streamproc.model.media import Block, Fragment, FragmentStart, Sound, Track, TrackKind
from streamproc.model.segment import Checkpoint, Position, Segment
from streamproc.redact.effects import Effect
from streamproc.redact.redaction import Redaction

NOTHING = Cover(Decision.SEEN)
FRESH = Checkpoint("camera")
US = 1_000_000


class StillClock:
    def now_us(self) -> int:
        return 42

    def monotonic(self) -> float:
        return 0.0


@pytest.fixture(autouse=True)
def _no_warnings() -> Iterator[None]:
    """FFmpeg's warnings are failures."""
    level = av.logging.get_level()
    av.logging.set_level(av.logging.WARNING)
    try:
        with av.logging.Capture(local=False) as said:
            yield
    finally:
        av.logging.set_level(level)
    # The muxer then takes sound for one with pieces of any size, which is right for AAC.
    known = "codec frame size is not set"
    assert [line for line in said if line[0] <= av.logging.WARNING and known not in line[2]] == []


def fragment(number: int, start_us: int) -> Fragment:
    return Fragment(str(number), start_us, start_us + 40_000)


def redacted(
    number: int, frame_id: FrameId, size: tuple[int, int] = (160, 120), pix_fmt: str = "yuv420p", rotation: int = 0
) -> RedactedFrame:
    """A picture with this number in it, decided to have nothing to cover."""
    picture = av.VideoFrame.from_ndarray(drawn(number, *size), format=pix_fmt)
    frame = Frame(frame_id, picture, *size, rotation)
    done = Redaction(Effect()).redact(frame, NOTHING)
    assert done is not None
    return done


def rolling(seconds: float = 0.4, resume: Checkpoint = FRESH) -> RollingSegments:
    return RollingSegments(seconds, EncodeOptions("ultrafast", 20), StillClock(), resume)


def fragments_at(times_us: Iterable[int], every: int, first: int = 100) -> list[tuple[Fragment, list[FrameId]]]:
    """Frame times cut into fragments of so many frames."""
    times = list(times_us)
    made = []
    for number, at in enumerate(range(0, len(times), every)):
        one = fragment(first + number, times[at])
        made.append((one, [FrameId(one, i, t) for i, t in enumerate(times[at : at + every])]))
    return made


def publish(
    to: RollingSegments, fragments: list[tuple[Fragment, list[FrameId]]], first: int = 0, **kinds: Any
) -> list[Segment]:
    out: list[Segment] = []
    number = first
    for one, ids in fragments:
        for frame_id in ids:
            out += to.add(redacted(number, frame_id, **kinds))
            number += 1
        out += to.fragment_done(one)
    return out + to.flush()


def steady(count: int, step_us: int = STEP_US, start_us: int = T0) -> list[int]:
    return [start_us + i * step_us for i in range(count)]


def read(data: bytes) -> list[tuple[int, int]]:
    """(ticks of 1/90000 s, number in the picture) of every frame of a file, in order."""
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        assert stream.time_base == Ratio(1, 90_000)
        return [(f.pts, number_in(luma_of(f))) for f in container.decode(stream)]


def joined(segments: Iterable[Segment]) -> bytes:
    """One file: the first initialisation section, and all media behind it."""
    segments = list(segments)
    return segments[0].data[: segments[0].init_bytes] + b"".join(s.data[s.init_bytes :] for s in segments)


def tick(time_us: int, origin_us: int) -> int:
    return round(Ratio(time_us - origin_us) * 9 / 100)


def tfdt(segment: Segment) -> list[int]:
    """Decode times of the segment's tracks, in the order of its movie fragments (ISO/IEC 14496-12, 8.8.12)."""
    found = []
    for kind, start, end in boxes(segment.data, 0, len(segment.data)):
        if kind == b"moof":
            for inner, first, last in boxes(segment.data, start, end):
                if inner == b"traf":
                    for name, at, _ in boxes(segment.data, first, last):
                        if name == b"tfdt":
                            wide = segment.data[at] == 1
                            found.append(struct.unpack_from(">Q" if wide else ">I", segment.data, at + 4)[0])
    return found


MIXED = [0, *np.cumsum([16_667, 16_667, 100_000, 33_333, 41_001, 16_666, 66_667] * 6).tolist()]


@pytest.mark.parametrize("every", [1, 7, 10, 43], ids=lambda n: f"fragments-of-{n}")
@pytest.mark.parametrize("times", [steady(43), [T0 + t for t in MIXED]], ids=["steady", "10-to-60-fps"])
def test_every_frame_comes_out_once_in_order_and_at_its_time_to_the_tick(times: list[int], every: int) -> None:
    segments = publish(rolling(), fragments_at(times, every))
    assert len(segments) > 2
    expected = [(tick(t, T0), n) for n, t in enumerate(times)]
    assert [one for s in segments for one in read(s.data)] == expected  # each object alone
    assert read(joined(segments)) == expected  # and all as one file
    assert [f.id.time_us for s in segments for f in s.frames] == times
    assert not any(s.discontinuity for s in segments)


def test_decode_times_go_on_over_the_objects_and_the_head_is_the_same_in_all() -> None:
    times = [T0 + t for t in MIXED]
    segments = publish(rolling(), fragments_at(times, 43))
    assert [tfdt(s) for s in segments] == [[tick(s.start.time_us, T0)] for s in segments]
    assert len({s.data[: s.init_bytes] for s in segments}) == 1
    # A segment cut where the next frame is known ends exactly where that begins.
    assert [s.start.time_us + s.duration_us for s in segments[:-1]] == [s.start.time_us for s in segments[1:]]
    for segment in segments:
        kinds = [kind for kind, _, _ in boxes(segment.data, 0, len(segment.data))]
        assert kinds[:2] == [b"ftyp", b"moov"]
        assert segment.init_bytes == init_length(segment.data)
        assert set(kinds[2:]) == {b"moof", b"mdat"}
        assert (segment.width, segment.height, segment.encoded_us, segment.origin_us) == (160, 120, 42, T0)


def test_frame_lasts_until_the_next_begins() -> None:
    times = [T0 + t for t in MIXED]
    (segment,) = publish(rolling(60), fragments_at(times, 43))
    with av.open(io.BytesIO(segment.data)) as container:
        lengths = [p.duration for p in container.demux(video=0) if p.size]
    ticks_ = [tick(t, T0) for t in times]
    assert lengths[:-1] == [b - a for a, b in pairwise(ticks_)]
    assert segment.duration_us == times[-1] - times[0] + (times[-1] - times[-2])


def test_times_closer_than_a_tick_still_rise() -> None:
    times = [T0, T0 + 40_000, T0 + 40_003, T0 + 40_006]
    (segment,) = publish(rolling(60), fragments_at(times, 5))
    assert read(segment.data) == [(0, 0), (3600, 1), (3601, 2), (3602, 3)]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.sampled_from([0.1, 0.2, 0.4]), st.data())
def test_position_of_a_segment_is_all_that_came_before_its_end(
    lengths: list[int], seconds: float, data: st.DataObject
) -> None:
    to = rolling(seconds)
    flush_at = data.draw(st.sets(st.integers(0, sum(lengths)), max_size=2))
    withheld = data.draw(st.sets(st.integers(0, sum(lengths)), max_size=3))
    came: list[FrameId] = []
    done: list[str] = []
    number = 0

    def check(segments: list[Segment], all_but: int = 0) -> None:
        for segment in segments:
            seen = came[: len(came) - all_but]
            assert all(segment.end.covers(f) for f in seen)
            assert not any(segment.end.covers(f) for f in came[len(seen) :])
            assert not segment.end.covers(FrameId(fragment(999, T0), 0, T0))
            last = seen[-1]
            if last.fragment.number in done:
                assert segment.end == Position(last.fragment.number, None, last.fragment.server_us, done[-1])
                assert segment.end.after == last.fragment.number
            else:
                before = done[-1] if done else ""
                expected = Position(last.fragment.number, last.index + 1, last.fragment.server_us, before)
                assert segment.end == expected
                assert segment.end.after == before

    for place, length in enumerate(lengths):
        one = fragment(100 + place, T0 + number * STEP_US)
        to.entry(done[-1] if done else "", one.server_us)
        for index in range(length):
            frame_id = FrameId(one, index, T0 + number * STEP_US)
            came.append(frame_id)
            if number in withheld:
                to.passed(frame_id)
            else:
                check(to.add(redacted(number, frame_id)), all_but=1)
            if number in flush_at:
                check(to.flush())
            number += 1
        done.append(one.number)
        check(to.fragment_done(one))
    check(to.flush())


def test_timeline_never_goes_back_when_the_producers_clock_does() -> None:
    times = [*steady(12), *steady(12, start_us=T0 - 3_600 * US), *steady(12, start_us=T0 + 5 * US)]
    segments = publish(rolling(), fragments_at(times, 12))
    frames = [one for s in segments for one in read(s.data)]
    assert [n for _, n in frames] == list(range(36))
    assert all(b > a for (a, _), (b, _) in pairwise(frames))
    assert read(joined(segments)) == frames
    breaks = [s.start.fragment.number for s in segments if s.discontinuity]
    assert breaks == ["101", "102"]
    # Back: goes on at the end of what was there. Forward: the hole stays, as long as it was.
    assert frames[12][0] == tick(T0 + 12 * STEP_US, T0)
    assert [b - a for (a, _), (b, _) in pairwise(frames[12:24])] == [3600] * 11
    assert frames[24][0] - frames[23][0] == tick(times[24] - times[23], 0)


def test_hole_and_told_gap_stand_before_their_segment_and_nowhere_else() -> None:
    to = rolling(0.2)
    times = [*steady(10), *steady(10, start_us=T0 + 4 * US), *steady(10, start_us=T0 + 4 * US + 10 * STEP_US)]
    parts = fragments_at(times, 10)
    segments: list[Segment] = []
    for place, (one, ids) in enumerate(parts):
        if place == 2:
            to.mark_gap()
        for index, frame_id in enumerate(ids):
            segments += to.add(redacted(10 * place + index, frame_id))
        segments += to.fragment_done(one)
    segments += to.flush()
    firsts = [(s.start.fragment.number, s.start.index) for s in segments if s.discontinuity]
    assert firsts == [("101", 0), ("102", 0)]
    assert len(segments) > 4
    assert [n for s in segments for _, n in read(s.data)] == list(range(30))


def test_size_that_changes_begins_a_segment_of_its_own() -> None:
    to = rolling(10)
    parts = fragments_at(steady(20), 10)
    segments = []
    for size, (one, ids) in zip([(160, 120), (320, 240)], parts, strict=True):
        for frame_id in ids:
            segments += to.add(redacted(frame_id.index, frame_id, size))
        segments += to.fragment_done(one)
    segments += to.flush()
    assert [(s.width, s.height, s.discontinuity) for s in segments] == [(160, 120, False), (320, 240, True)]
    assert [[n for _, n in read(s.data)] for s in segments] == [list(range(10))] * 2
    assert tfdt(segments[1]) == [tick(T0 + 10 * STEP_US, T0)]


def test_next_process_keeps_the_timeline_of_the_last() -> None:
    parts = fragments_at(steady(40), 10)
    alone = publish(rolling(), parts)
    first = publish(rolling(), parts[:2])
    last = first[-1]
    checkpoint = Checkpoint(
        "camera",
        position=last.end,
        origin_us=last.origin_us,
        last_end_us=last.start.time_us + last.duration_us,
    )
    second = publish(rolling(resume=checkpoint), parts[2:], first=20)
    assert not second[0].discontinuity
    assert read(joined([*first, *second])) == read(joined(alone)) == [(i * 3600, i) for i in range(40)]
    assert len({s.data[: s.init_bytes] for s in [*first, *second]}) == 1
    assert second[0].end.after == "102"


def test_next_process_breaks_the_timeline_where_the_camera_was_away_or_set_its_clock_back() -> None:
    checkpoint = Checkpoint("camera", position=Position("99", None), origin_us=T0, last_end_us=T0 + 10 * US)
    for start_us, expected in ((T0 + 20 * US, 20 * 90_000), (T0 - 20 * US, 10 * 90_000)):
        segments = publish(rolling(resume=checkpoint), fragments_at(steady(10, start_us=start_us), 10))
        assert segments[0].discontinuity
        assert read(segments[0].data)[0] == (expected, 0)


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_turn_is_kept_for_players_and_read_back(rotation: int) -> None:
    segments = publish(rolling(), fragments_at(steady(20), 10), rotation=rotation)
    assert len({s.data[: s.init_bytes] for s in segments}) == 1
    for segment in segments:
        with av.open(io.BytesIO(segment.data)) as container:
            assert {-f.rotation % 360 for f in container.decode(video=0)} == {rotation}


def test_full_range_and_colours_are_kept() -> None:
    to = rolling(10)
    (one, ids), *_ = fragments_at(steady(5), 5)
    for frame_id in ids:
        frame = redacted(frame_id.index, frame_id, pix_fmt="yuvj420p")
        picture = frame.picture
        picture.color_range, picture.colorspace, picture.color_primaries, picture.color_trc = 2, 5, 5, 6
        to.add(frame)
    (segment,) = to.fragment_done(one) or to.flush()
    with av.open(io.BytesIO(segment.data)) as container:
        frames = list(container.decode(video=0))
    assert {f.format.name for f in frames} == {"yuvj420p"}
    assert {(f.color_range, f.colorspace, f.color_primaries, f.color_trc) for f in frames} == {(2, 5, 5, 6)}
    assert abs(luma_of(frames[0]).astype(int) - drawn(0, 160, 120)[:120].astype(int)).mean() < 4


def sei(payload_type: int, payload: bytes) -> bytes:
    """One SEI message as a NAL unit behind a length of four bytes (H.264, 7.3.2.3)."""
    body = bytes([6, payload_type, len(payload)]) + payload + b"\x80"
    return len(body).to_bytes(4, "big") + body


SECRET = b"GPS 52.5163 N 13.3777 E"
USER_DATA = sei(5, bytes(range(16)) + SECRET)
CAPTIONS = sei(4, b"\xb5\x00\x31GA94\x03\x42\xff\xfc\x41\x42\xfc\x43\x44\xff")


def test_user_data_and_captions_of_the_source_are_not_passed_on() -> None:
    decoder = Decoder(StillClock(), 1 << 20)
    to = rolling()
    segments: list[Segment] = []
    carried = set()
    for piece in pieces(clip()):
        for event in piece.events():
            if isinstance(event, FragmentStart):
                list(decoder.start(event))
            elif isinstance(event, Block):
                for item in decoder.block(replace(event, data=USER_DATA + CAPTIONS + event.data), 0):
                    if isinstance(item, EntryPoint):
                        continue
                    assert isinstance(item, Frame)
                    carried |= {str(d.type) for d in item.picture.side_data}
                    done = Redaction(Effect()).redact(item, NOTHING)
                    assert done is not None
                    segments += to.add(done)
    segments += to.flush()
    assert {kind.split(".")[-1] for kind in carried} >= {"A53_CC", "SEI_UNREGISTERED"}  # the decoder hands them on
    for segment in segments:
        assert SECRET not in segment.data
        assert b"GA94" not in segment.data
        with av.open(io.BytesIO(segment.data)) as container:
            kinds = {str(d.type).split(".")[-1] for f in container.decode(video=0) for d in f.side_data}
        assert "A53_CC" not in kinds
    assert [n for s in segments for _, n in read(s.data)] == list(range(36))


def test_covered_pictures_stay_covered_in_the_file() -> None:
    to = rolling(10)
    ((one, ids),) = fragments_at(steady(6), 6)
    region = Region(Box(0.3, 0.3, 0.7, 0.9), "face", Decision.SEEN)
    for frame_id in ids:
        picture = av.VideoFrame.from_ndarray(drawn(frame_id.index, 160, 120), format="yuv420p")
        frame = Frame(frame_id, picture, 160, 120, 0)
        done = Redaction(Effect("solid", "rectangle")).redact(frame, Cover(Decision.SEEN, (region,)))
        assert done is not None
        to.add(done)
    (segment,) = to.fragment_done(one) or to.flush()
    with av.open(io.BytesIO(segment.data)) as container:
        for picture in container.decode(video=0):
            assert abs(luma_of(picture)[44:104, 52:108].astype(int) - 126).max() <= 6
    assert [r.cover.regions for r in segment.frames] == [(region,)] * 6


# ---- sound


@lru_cache
def tone(count: int = 80, hz: int = 44_100) -> tuple[Track, tuple[bytes, ...]]:
    """A track of AAC, and its pieces of 1024 samples."""
    encoder: Any = av.CodecContext.create("aac", "w")
    encoder.sample_rate, encoder.format, encoder.layout, encoder.time_base = hz, "fltp", "mono", Ratio(1, hz)
    encoder.flags |= av.codec.context.Flags.global_header
    packets = []
    for i in range(count):
        wave = np.sin((np.arange(1024) + i * 1024) * 440 * 2 * np.pi / hz).astype(np.float32) * 0.3
        frame = av.AudioFrame.from_ndarray(wave[np.newaxis], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = hz, i * 1024, Ratio(1, hz)
        packets += [bytes(p) for p in encoder.encode(frame)]
    encoder.encode(None)
    track = Track(2, TrackKind.AUDIO, "A_AAC", bytes(encoder.extradata), sampling_hz=hz, channels=1)
    return track, tuple(packets)


def publish_with_sound(
    to: RollingSegments, parts: list[tuple[Fragment, list[FrameId]]], late_us: int = 0
) -> tuple[list[Segment], list[bytes]]:
    """Frames and sound in order of time; ``late_us``: a decoder that reorders hands pictures out so much later."""
    track, packets = tone()
    to.carry_audio(track)
    sounds = [Sound(parts[0][0], track, T0 + round(i * 1024 * US / 44_100), p) for i, p in enumerate(packets)]
    end_us = parts[-1][1][-1].time_us
    sounds = [s for s in sounds if s.time_us <= end_us]
    given = [s.data for s in sounds]
    out: list[Segment] = []
    number = 0
    for one, ids in parts:
        for frame_id in ids:
            while sounds and sounds[0].time_us < frame_id.time_us + late_us:
                to.sound(sounds.pop(0))
            out += to.add(redacted(number, frame_id))
            number += 1
        out += to.fragment_done(one)
    for sound in sounds:
        to.sound(sound)
    return out + to.flush(), given


def heard(data: bytes) -> list[tuple[float, bytes]]:
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.audio[0]
        assert stream.codec_context.name == "aac"
        return [(float(p.pts * p.time_base), bytes(p)) for p in container.demux(stream) if p.size]


@pytest.mark.parametrize("late_us", [0, 80_000], ids=["in-step", "pictures-late"])
def test_sound_is_kept_as_it_is_and_without_a_hole(late_us: int) -> None:
    segments, given_ = publish_with_sound(rolling(), fragments_at(steady(40), 10), late_us)
    assert len(segments) == 4
    whole = heard(joined(segments))
    assert [data for _, data in whole] == given_
    assert [one for s in segments for one in heard(s.data)] == whole
    for i, (at_s, _) in enumerate(whole):
        assert abs(at_s - i * 1024 / 44_100) < 0.0001
    assert [n for s in segments for _, n in read(s.data)] == list(range(40))
    assert len({s.data[: s.init_bytes] for s in segments}) == 1
    with av.open(io.BytesIO(joined(segments))) as container:
        wave = np.concatenate([f.to_ndarray()[0] for f in container.decode(audio=0)])
    assert 0.15 < wave[4096:].std() < 0.3  # the tone, of 0.3 at its peaks


def test_sound_that_goes_back_is_dropped_and_the_rest_goes_on() -> None:
    track, packets = tone()
    to = rolling(10)
    to.carry_audio(track)
    ((one, ids),) = fragments_at(steady(10), 10)
    for frame_id in ids:
        to.add(redacted(frame_id.index, frame_id))
        to.sound(Sound(one, track, frame_id.time_us, packets[frame_id.index]))
        to.sound(Sound(one, track, frame_id.time_us - 30 * US, b"\0" * 9))
        to.sound(Sound(one, track, frame_id.time_us, b"\0" * 9))
    (segment,) = to.fragment_done(one) or to.flush()
    assert [data for _, data in heard(segment.data)] == list(packets[:10])


def test_without_a_track_to_carry_sound_is_dropped() -> None:
    track, packets = tone()
    to = rolling(10)
    ((one, ids),) = fragments_at(steady(10), 10)
    to.sound(Sound(one, track, T0, packets[0]))
    for frame_id in ids:
        to.add(redacted(frame_id.index, frame_id))
        to.sound(Sound(one, track, frame_id.time_us, packets[0]))
    (segment,) = to.fragment_done(one) or to.flush()
    with av.open(io.BytesIO(segment.data)) as container:
        assert [s.type for s in container.streams] == ["video"]


def test_only_redacted_frames_are_encoded() -> None:
    ((_, ids),) = fragments_at(steady(1), 1)
    picture = av.VideoFrame.from_ndarray(drawn(0, 160, 120), format="yuv420p")
    raw = Frame(ids[0], picture, 160, 120, 0)

    class Posing(RedactedFrame):
        pass

    posing = Posing(ids[0], picture, 160, 120, 0, NOTHING)
    for one in (posing, raw):
        with pytest.raises(TypeError, match="only a RedactedFrame"):
            rolling().add(one)  # type: ignore[arg-type]


def test_nothing_in_gives_nothing_out() -> None:
    to = rolling()
    assert to.flush() == []
    assert to.fragment_done(fragment(1, T0)) == []
    assert to.position == Position("1", None, 0, "1")
    assert (to.origin_us, to.open_since_us) == (None, None)

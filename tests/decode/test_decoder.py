"""Laws of decoding, on real coded media: every block gives its frame, under its right name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction as Ratio
from typing import Any

import av
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext
from hypothesis import given, settings
from hypothesis import strategies as st
from media_made import T0, Clip, Piece, clip, luma_of, number_in, pieces

from streamproc.decode.nal import starts_closed_gop
from streamproc.decode.pyav import Decoded, Decoder, EntryPoint, FragmentDecoded
from streamproc.model.frame import Frame
from streamproc.model.media import Block, FragmentEnd, FragmentStart, MediaEvent, Sound, Track, TrackKind

ARRIVED = 7_000_000
Shown = tuple[str, int, int, int]


class CountingClock:
    def __init__(self) -> None:
        self.us = 10_000_000

    def now_us(self) -> int:
        self.us += 1
        return self.us

    def monotonic(self) -> float:
        return self.us / 1e6


def decoder(max_pixels: int = 1 << 20, keep_audio: bool = False) -> Decoder:
    return Decoder(CountingClock(), max_pixels, keep_audio)


def feed(to: Decoder, events: Iterable[MediaEvent]) -> list[Decoded]:
    out: list[Decoded] = []
    for event in events:
        out += taken(to, event)
    return without_entries(out)


def taken(to: Decoder, event: MediaEvent) -> Iterator[Decoded]:
    if isinstance(event, FragmentStart):
        return to.start(event)
    if isinstance(event, Block):
        return to.block(event, ARRIVED)
    assert isinstance(event, FragmentEnd)
    return to.end(event)


def without_entries(out: Iterable[Decoded]) -> list[Decoded]:
    return [d for d in out if not isinstance(d, EntryPoint)]


def play(fragments: Iterable[Piece], to: Decoder | None = None) -> list[Decoded]:
    to = to or decoder()
    out = feed(to, (event for piece in fragments for event in piece.events()))
    return out + without_entries(to.drain_finished())


def shown(decoded: Iterable[Decoded]) -> list[Shown]:
    return [
        (f.id.fragment.number, f.id.index, f.id.time_us, number_in(luma_of(f.picture)))
        for f in decoded
        if isinstance(f, Frame)
    ]


def wanted(fragments: Iterable[Piece]) -> list[Shown]:
    return [one for piece in fragments for one in piece.shown]


def ends(decoded: Iterable[Decoded]) -> list[FragmentDecoded]:
    return [d for d in decoded if isinstance(d, FragmentDecoded)]


def assert_ends_follow_their_frames(decoded: list[Decoded], fragments: list[Piece]) -> None:
    """Each fragment is closed once, in order, after all frames of its own and before any of the next."""
    order = [d.id.fragment.number if isinstance(d, Frame) else f"/{d.fragment.number}" for d in decoded]  # type: ignore[union-attr]
    expected = [n for p in fragments for n in [*[p.fragment.number] * len(p.pictures), f"/{p.fragment.number}"]]
    assert order == expected


def clean_cuts(coded: Clip) -> list[int]:
    """Places where all pictures before are shown before all pictures behind."""
    numbers = [p.number for p in coded.pictures]
    return [i for i in range(1, len(numbers)) if max(numbers[:i]) < min(numbers[i:])]


def test_entry_point_stands_before_the_first_frame_of_its_fragment() -> None:
    for made in ({"bframes": 2}, {"codec": "hevc", "bframes": 2, "open_gop": True}):
        coded = clip(**made)  # type: ignore[arg-type]
        fragments = pieces(coded, cuts=clean_cuts(coded)[1::3])
        to = decoder()
        out = [d for p in fragments for e in p.events() for d in taken(to, e)] + list(to.drain_finished())
        order = [
            d.fragment.number if isinstance(d, EntryPoint) else f"{d.id.fragment.number}[{d.id.index}]"
            for d in out
            if isinstance(d, EntryPoint | Frame)
        ]
        expected = [n for p in fragments for n in [p.fragment.number, *(f"{f}[{i}]" for f, i, _, _ in p.shown)]]
        assert order == expected


def closed(piece: Piece) -> bool:
    codec = "hevc" if "HEVC" in piece.track.codec_id else "h264"
    return starts_closed_gop(codec, piece.track.codec_private, piece.pictures[0].data)


CLIPS = [
    pytest.param({}, id="h264"),
    pytest.param({"bframes": 2}, id="h264-b"),
    pytest.param({"annex_b": True}, id="h264-start-codes"),
    pytest.param({"codec": "hevc"}, id="hevc"),
    pytest.param({"codec": "hevc", "bframes": 2}, id="hevc-b"),
    pytest.param({"codec": "hevc", "annex_b": True}, id="hevc-start-codes"),
    pytest.param({"bframes": 2, "open_gop": True}, id="h264-open"),
    pytest.param({"codec": "hevc", "bframes": 2, "open_gop": True}, id="hevc-open"),
]


@pytest.mark.parametrize("made", CLIPS)
def test_every_block_gives_its_frame_with_its_fragment_index_and_time(made: dict[str, Any]) -> None:
    fragments = pieces(clip(**made))
    out = play(fragments)
    assert shown(out) == wanted(fragments)
    assert_ends_follow_their_frames(out, fragments)
    assert [(e.complete, e.lost, e.problem) for e in ends(out)] == [(True, 0, "")] * 3


@pytest.mark.parametrize("made", CLIPS)
def test_fragments_that_do_not_begin_with_a_keyframe_lose_no_frame(made: dict[str, Any]) -> None:
    fragments = pieces(clip(**made), cuts=[c for c in clean_cuts(clip(**made)) if c not in (10, 11, 12)][1::3])
    assert len(fragments) > 3
    out = play(fragments)
    assert shown(out) == wanted(fragments)
    assert_ends_follow_their_frames(out, fragments)
    assert sum(e.lost for e in ends(out)) == 0


@settings(max_examples=40, deadline=None)
@given(st.data(), st.sampled_from([c.values[0] for c in CLIPS]))
def test_however_a_stream_is_cut_every_frame_comes_out_once_or_is_counted(data: st.DataObject, made: Any) -> None:
    coded = clip(**made)
    cuts = data.draw(st.sets(st.sampled_from(clean_cuts(coded)), max_size=8))
    fragments = pieces(coded, cuts=sorted(cuts))
    out = play(fragments)
    assert len(shown(out)) + sum(e.lost for e in ends(out)) == 36
    assert [e.fragment for e in ends(out)] == [p.fragment for p in fragments]
    if not made.get("bframes") or not fragments[1:] or not closed(fragments[1]):
        # Only where two fragments have promised closed groups, and a later one breaks it, may frames be lost.
        assert shown(out) == wanted(fragments)
        assert_ends_follow_their_frames(out, fragments)


def test_cut_through_reordered_pictures_is_counted_as_lost_and_never_shown_out_of_order() -> None:
    fragments = pieces(clip(bframes=2), cuts=[5])  # 0 3 1 2 6 | 4 5 9 ...: picture 6 is shown after 4 and 5
    out = play(fragments)
    assert [number for *_, number in shown(out)] == [n for n in range(36) if n != 6]
    assert [e.lost for e in ends(out)] == [1, 0]


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_frames_of_closed_fragments_are_out_when_the_fragment_is_over(codec: str) -> None:
    fragments = pieces(clip(codec, bframes=2))
    to = decoder()
    feed(to, fragments[0].events())
    out = feed(to, fragments[1].events())
    assert shown(out)[-12:] == fragments[1].shown
    assert ends(out)[-1].fragment == fragments[1].fragment


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_without_reordering_the_frame_comes_with_its_block(codec: str) -> None:
    fragments = pieces(clip(codec))
    to = decoder()
    for piece in fragments:
        for event in piece.events():
            out = feed(to, [event])
            assert len(shown(out)) == isinstance(event, Block)
            assert len(ends(out)) == isinstance(event, FragmentEnd)


def test_frames_carry_size_stamps_and_a_sound_picture() -> None:
    out = play(pieces(clip(size=(176, 144))))
    frames = [d for d in out if isinstance(d, Frame)]
    assert {(f.width, f.height, f.rotation, f.damaged) for f in frames} == {(176, 144, 0, False)}
    assert {f.stamps.arrived_us for f in frames} == {ARRIVED}
    decoded_us = [f.stamps.decoded_us for f in frames]
    assert decoded_us == sorted(decoded_us)
    assert decoded_us[0] > ARRIVED


def test_times_are_the_producers_to_the_microsecond_whatever_the_frame_rate() -> None:
    times = tuple(np.cumsum([0, *[16_667, 100_000, 33_333, 41_001, 1] * 7]).tolist())
    fragments = pieces(clip(times_us=times), cuts=[])
    assert [time - T0 for _, _, time, _ in shown(play(fragments))] == list(times)


def other(fragments: list[Piece], first: int) -> list[Piece]:
    return [
        replace(p, fragment=replace(p.fragment, number=str(first + i), producer_us=p.fragment.producer_us + 2_000_000))
        for i, p in enumerate(fragments)
    ]


@pytest.mark.parametrize(
    "second",
    [
        pytest.param({"codec": "hevc", "bframes": 2}, id="codec"),
        pytest.param({"size": (320, 240), "bframes": 2}, id="larger"),
        pytest.param({"size": (160, 96)}, id="smaller"),
        pytest.param({"annex_b": True}, id="framing"),
    ],
)
@pytest.mark.parametrize("end_seen", [True, False], ids=["whole", "cut"])
def test_change_of_coding_between_fragments_loses_nothing(second: dict[str, Any], end_seen: bool) -> None:
    before, after = pieces(clip(bframes=2)), other(pieces(clip(**second)), 200)
    to = decoder()
    out = feed(to, (e for p in before for e in p.events(complete=end_seen or p is not before[-1])))
    out += play(after, to)
    assert shown(out) == wanted([*before, *after])
    assert_ends_follow_their_frames(out, [*before, *after])


def test_size_that_changes_inside_the_stream_is_followed() -> None:
    before, after = pieces(clip(annex_b=True)), other(pieces(clip(size=(320, 240), annex_b=True)), 200)
    out = play([*before, *after])
    assert shown(out) == wanted([*before, *after])
    assert [(f.width, f.height) for f in out if isinstance(f, Frame)] == [(160, 120)] * 36 + [(320, 240)] * 36


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 12), st.sampled_from([c.values[0] for c in CLIPS[:6]]))
def test_fragment_sent_again_gives_the_same_frames_and_loses_none_before_it(seen: int, made: Any) -> None:
    fragments = pieces(clip(**made))
    to = decoder()
    out = feed(to, fragments[0].events())
    first = feed(to, fragments[1].events(blocks=seen, complete=False))
    again = play(fragments[1:], to)
    # Nothing of the fragment before is lost, in either part.
    out += first
    assert shown([*out, *again])[:12] == fragments[0].shown
    part = [s for s in shown(out) if s[0] == "101"]
    assert part == fragments[1].shown[: len(part)]
    assert [s for s in shown(again) if s[0] != "100"] == wanted(fragments[1:])
    assert [e.fragment.number for e in ends([*out, *again])] == ["100", "101", "102"]
    assert sum(e.lost for e in ends([*out, *again])) == 0


@pytest.mark.parametrize("seen", range(12))
def test_fragment_sent_again_keeps_what_the_next_one_refers_to(seen: int) -> None:
    coded = clip(count=48, gop=24, bframes=2)
    fragments = pieces(coded, cuts=[c for c in clean_cuts(coded) if c > 9][::4][:3])
    to = decoder()
    feed(to, fragments[0].events(min(seen, len(fragments[0].pictures) - 1), complete=False))
    out = play(fragments, to)
    assert [one for one in shown(out) if one[0] != "100"] == wanted(fragments[1:])
    assert sum(e.lost for e in ends(out)) == 0


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_break_inside_a_fragment_loses_no_frame_held_of_the_one_before(codec: str) -> None:
    fragments = pieces(clip(codec, bframes=2), cuts=[10, 24])  # its last pictures wait for the next fragment's
    to = decoder()
    out = feed(to, fragments[0].events())
    assert len(shown(out)) < 10
    out += feed(to, fragments[1].events(blocks=1, complete=False))
    out += feed(to, fragments[1].events())
    assert [s for s in shown(out) if s[0] == "100"] == fragments[0].shown
    assert ends(out)[0] == FragmentDecoded(fragments[0].fragment, True, 0)


def test_cut_fragment_that_is_not_sent_again_is_closed_as_incomplete_with_what_it_had() -> None:
    fragments = pieces(clip(bframes=2))
    to = decoder()
    out = feed(to, fragments[0].events())
    out += feed(to, fragments[1].events(blocks=5, complete=False))
    out += play(fragments[2:], to)
    assert [n for *_, n in shown(out)] == [*range(12), 12, 13, 14, 15, 18, *range(24, 36)]
    assert [(e.fragment.number, e.complete, e.lost) for e in ends(out)] == [
        ("100", True, 0),
        ("101", False, 0),
        ("102", True, 0),
    ]


def test_unfinished_fragment_at_the_end_of_all_is_not_closed() -> None:
    fragments = pieces(clip())
    to = decoder()
    feed(to, fragments[0].events())
    feed(to, fragments[1].events(complete=False))
    assert list(to.drain_finished()) == []


def spoil(piece: Piece, place: int, data: bytes) -> Piece:
    pictures = list(piece.pictures)
    pictures[place] = replace(pictures[place], data=data)
    return replace(piece, pictures=tuple(pictures))


@pytest.mark.parametrize("codec", ["h264", "hevc"])
@pytest.mark.parametrize("data", [b"\xff" * 40, b"\0\0\0\2\x41", b"\0\0\0\0"], ids=["garbage", "cut", "empty-unit"])
def test_damaged_block_is_counted_as_lost_and_the_others_keep_their_names(codec: str, data: bytes) -> None:
    fragments = pieces(clip(codec))
    broken = [fragments[0], spoil(fragments[1], 11, data), fragments[2]]
    out = play(broken)
    assert shown(out) == [s for s in wanted(fragments) if s[3] != 23]
    assert [(e.complete, e.lost, e.problem) for e in ends(out)] == [(True, 0, ""), (True, 1, ""), (True, 0, "")]


def test_frames_and_losses_add_up_to_the_blocks_whatever_is_damaged() -> None:
    fragments = pieces(clip(bframes=2))
    for place in range(12):
        data = fragments[1].pictures[place].data
        to = decoder()
        out = play([fragments[0], spoil(fragments[1], place, data[: len(data) // 2]), fragments[2]], to)
        assert to.blocks == 36
        assert len(shown(out)) + sum(e.lost for e in ends(out)) == 36
        assert [s for s in shown(out) if s[0] == "102"] == fragments[2].shown


@pytest.mark.parametrize("codec", ["h264", "hevc"])
@pytest.mark.parametrize("told", [(160, 120), (0, 0)], ids=["container-lies", "container-silent"])
def test_picture_over_the_limit_is_refused_though_the_container_says_small(codec: str, told: tuple[int, int]) -> None:
    large = pieces(clip(codec, size=(320, 240)))
    track = replace(large[0].track, width=told[0], height=told[1])
    lying = [replace(p, track=track) for p in large]
    small = other(pieces(clip(codec)), 200)
    out = play([*lying, *small], decoder(max_pixels=200 * 150))
    assert shown(out) == wanted(small)
    assert all(e.problem for e in ends(out)[:3])
    assert not any(e.problem or e.lost for e in ends(out)[3:])


def test_picture_over_the_limit_by_the_container_is_refused_in_words() -> None:
    out = play(pieces(clip(size=(320, 240))), decoder(max_pixels=200 * 150))
    assert shown(out) == []
    assert {e.problem for e in ends(out)} == {"picture of 320x240 is over limits.max_pixels = 30000"}


def test_picture_of_exactly_the_limit_is_decoded() -> None:
    assert len(shown(play(pieces(clip()), decoder(max_pixels=160 * 120)))) == 36


def test_unsupported_codec_gives_a_problem_and_the_next_fragment_goes_on() -> None:
    fragments = pieces(clip(bframes=2))
    strange = replace(fragments[1], track=replace(fragments[1].track, codec_id="V_VP9"))
    out = play([fragments[0], strange, fragments[2]])
    assert shown(out) == wanted([fragments[0], fragments[2]])
    refused = "codec 'V_VP9' is not supported; set the camera to H.264 or H.265"
    assert [e.problem for e in ends(out)] == ["", refused, ""]
    assert [e.fragment.number for e in ends(out)] == ["100", "101", "102"]


def test_fragment_without_video_or_blocks_is_closed_without_a_problem() -> None:
    piece = pieces(clip())[0]
    to = decoder()
    assert feed(to, [FragmentStart(piece.fragment, ()), FragmentEnd(piece.fragment, True)]) == [
        FragmentDecoded(piece.fragment, True)
    ]
    assert feed(to, [FragmentEnd(piece.fragment, True)])[0].complete  # type: ignore[union-attr]


def test_stream_without_video_is_told() -> None:
    piece = pieces(clip())[0]
    sound = Track(2, TrackKind.AUDIO, "A_AAC", b"\x11\x90")
    out = feed(decoder(), [FragmentStart(piece.fragment, (sound,)), FragmentEnd(piece.fragment, True)])
    assert [e.problem for e in ends(out)] == ["there is no video track; let the camera send one, in H.264 or H.265"]


FORMATS = ["yuv422p", "yuvj422p", "yuv444p", "yuv420p10le"]


@pytest.mark.parametrize("pix_fmt", FORMATS)
def test_other_sampling_and_depth_come_out_as_planes_of_420_with_the_same_light(pix_fmt: str) -> None:
    fragments = pieces(clip(pix_fmt=pix_fmt))
    plain = [d for d in play(pieces(clip())) if isinstance(d, Frame)]
    out = play(fragments)
    assert shown(out) == wanted(fragments)
    frames = [d for d in out if isinstance(d, Frame)]
    for frame, like in zip(frames, plain, strict=True):
        assert frame.picture.format.name == ("yuvj420p" if pix_fmt.startswith("yuvj") else "yuv420p")
        assert [(p.width, p.height) for p in frame.picture.planes] == [(160, 120), (80, 60), (80, 60)]
        if not pix_fmt.startswith("yuvj"):
            assert abs(luma_of(frame.picture).mean() - luma_of(like.picture).mean()) < 2


def test_ten_bit_h265_comes_out_as_planes_of_420() -> None:
    fragments = pieces(clip("hevc", pix_fmt="yuv420p10le", bframes=2))
    assert shown(play(fragments)) == wanted(fragments)


def test_full_range_stays_as_it_is() -> None:
    out = play(pieces(clip(pix_fmt="yuvj420p")))
    assert {f.picture.format.name for f in out if isinstance(f, Frame)} == {"yuvj420p"}


def with_orientation(coded: Clip, degrees: int) -> Clip:
    """The clip with a display orientation message (H.264, D.2.27) in its first picture."""
    context: Any = av.CodecContext.create("h264", "r")
    bitstream = BitStreamFilterContext(f"h264_metadata=display_orientation=insert:rotate={degrees}", _stream(context))
    pictures = []
    for picture in coded.pictures:
        packet = av.Packet(picture.data)
        packet.pts = packet.dts = 0
        packet.time_base = Ratio(1, 1000)
        packet.is_keyframe = picture.keyframe
        pictures += [replace(picture, data=bytes(p)) for p in bitstream.filter(packet)]
    return replace(coded, pictures=tuple(pictures))


def _stream(context: Any) -> Any:
    import io

    container = av.open(io.BytesIO(), "w", format="h264")
    return container.add_stream("libx264", rate=25)


@pytest.mark.parametrize(("turned", "expected"), [(0, 0), (90, 90), (180, 180), (270, 270), (44, 0), (91, 90)])
def test_turn_inside_the_coded_pictures_is_told_clockwise_in_quarters(turned: int, expected: int) -> None:
    # The message counts anticlockwise, and stands once: it holds until the next keyframe.
    coded = with_orientation(clip(annex_b=True, gop=36), -turned % 360)
    assert {f.rotation for f in play(pieces(coded)) if isinstance(f, Frame)} == {expected}


@pytest.mark.parametrize("turned", [0, 90, 180, 270])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p"])
def test_turn_of_the_container_is_on_every_frame(turned: int, pix_fmt: str) -> None:
    fragments = [replace(p, track=replace(p.track, rotation=turned)) for p in pieces(clip(pix_fmt=pix_fmt))]
    assert {f.rotation for f in play(fragments) if isinstance(f, Frame)} == {turned}


AUDIO = Track(2, TrackKind.AUDIO, "A_AAC", b"\x12\x08", sampling_hz=44_100, channels=1)


@pytest.mark.parametrize("keep", [False, True], ids=["drop", "keep"])
def test_sound_is_dropped_by_default_and_passed_on_untouched_on_request(keep: bool) -> None:
    piece = pieces(clip())[0]
    start, *blocks, end = piece.events()
    sounds = [Block(2, i * 23_220, True, bytes([i] * 9)) for i in range(12)]
    mixed = [x for pair in zip(blocks, sounds, strict=True) for x in pair]
    out = feed(decoder(keep_audio=keep), [replace(start, tracks=(piece.track, AUDIO)), *mixed, end])  # type: ignore[type-var]
    assert shown(out) == piece.shown
    heard = [d for d in out if isinstance(d, Sound)]
    assert heard == [Sound(piece.fragment, AUDIO, T0 + i * 23_220, bytes([i] * 9)) for i in range(12)][: 12 * keep]


def test_block_of_an_unknown_track_is_passed_over() -> None:
    piece = pieces(clip())[0]
    to = decoder(keep_audio=True)
    out = feed(to, [FragmentStart(piece.fragment, (piece.track,)), Block(9, 0, True, b"x")])
    assert out == []
    assert to.blocks == 0

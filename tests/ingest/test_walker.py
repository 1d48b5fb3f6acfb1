"""The walker's laws, on documents made by our own writer."""

from __future__ import annotations

import io
import itertools
import os
import random
import struct

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from matroska_writer import (
    Doc,
    block,
    block_body,
    cluster,
    el,
    error_document,
    group,
    header,
    leading,
    open_el,
    size,
    tags,
    track,
    trailing,
    unknown,
)

from streamproc.ingest import ebml, elements
from streamproc.ingest.walker import Limits, Walker
from streamproc.model.media import Block, Damage, FragmentEnd, FragmentStart, MediaEvent, ServiceError, TrackKind

CHUNKS = (1, 7, 1024, 65536, 1 << 30)


def walk(data: bytes, chunk: int = 1 << 30, limits: Limits | None = None) -> list[MediaEvent]:
    walker = Walker(limits or Limits())
    events: list[MediaEvent] = []
    for at in range(0, len(data), chunk):
        events += walker.feed(data[at : at + chunk])
    return events + walker.close()


def walk_all(data: bytes, limits: Limits | None = None) -> list[MediaEvent]:
    """The events, having seen that they are the same for every chunk size."""
    results = [walk(data, chunk, limits) for chunk in CHUNKS]
    assert all(result == results[0] for result in results)
    return results[0]


def of(kind: type, events: list[MediaEvent]) -> list:
    return [event for event in events if isinstance(event, kind)]


def payloads(events: list[MediaEvent]) -> list[bytes]:
    return [block.data for block in of(Block, events)]


def fragments(events: list[MediaEvent]) -> dict[str, tuple[list[Block], FragmentEnd]]:
    found: dict[str, tuple[list[Block], FragmentEnd]] = {}
    blocks: list[Block] = []
    for event in events:
        if isinstance(event, FragmentStart):
            blocks = []
        elif isinstance(event, Block):
            blocks.append(event)
        elif isinstance(event, FragmentEnd):
            found[event.fragment.number] = blocks, event
    return found


def document(inside: bytes, segment: bytes = b"\xff") -> bytes:
    return header() + b"\x18\x53\x80\x67" + segment + inside


TRACKS = el(ebml.TRACKS, track())


def test_a_fragment_comes_out_with_its_tags_times_tracks_and_blocks():
    before = tags([("MAJOR_BRAND", "M4V "), ("ENCODER", "a"), ("ENCODER", "b")])
    doc = Doc(before=before, after=tags([("DURATION", "00:10")], pad=b"\0\0"), producer="1511852108.5134567")
    start, *blocks, end = walk_all(doc.build())
    assert isinstance(start, FragmentStart)
    assert start.fragment.number == doc.number
    assert start.fragment.producer_us == 1_511_852_108_513_456
    assert start.fragment.server_us == 200_000_000
    assert start.fragment.tags == (("MAJOR_BRAND", "M4V "), ("ENCODER", "a"), ("ENCODER", "b"))
    assert [(t.number, t.kind, t.codec_id, t.codec_private, t.width, t.height) for t in start.tracks] == [
        (1, TrackKind.VIDEO, "V_MPEG4/ISO/AVC", b"\x01\x4d", 640, 360)
    ]
    assert blocks == [
        Block(1, 0, True, b"k" * 40),
        Block(1, 33_000, False, b"p" * 21),
        Block(1, 66_000, False, b"q" * 30),
    ]
    assert end == FragmentEnd(start.fragment, True, 1500, 0, (("DURATION", "00:10"),))


def test_a_block_comes_out_with_its_last_byte_and_the_end_with_the_last_tag():
    data = Doc().build()
    walker, seen = Walker(Limits()), []
    for at in range(len(data)):
        seen += [(at + 1, event) for event in walker.feed(data[at : at + 1])]
    for payload in Doc().payloads:
        assert [at for at, event in seen if isinstance(event, Block) and event.data == payload] == [
            data.index(payload) + len(payload)
        ]
    assert [at for at, event in seen if isinstance(event, FragmentEnd)] == [len(data)]
    assert [at for at, event in seen if isinstance(event, FragmentStart)] < [data.index(Doc().payloads[0])]


@pytest.mark.parametrize("width", range(1, 9))
@pytest.mark.parametrize("sized", [True, False])
def test_any_width_of_an_unknown_size_means_the_same(width, sized):
    body = TRACKS + tags(leading("5")) + cluster(block(b"x" * 9), 7, sized, width) + tags(trailing("5"))
    expected = walk(document(body, unknown(8)))
    assert [type(event) for event in expected] == [FragmentStart, Block, FragmentEnd]
    assert walk_all(document(body, unknown(width))) == expected


@pytest.mark.parametrize(
    ("scale", "clusters", "offsets"),
    [
        pytest.param(1_000_000, [(0, [0, 33])], [0, 33_000], id="relative"),
        pytest.param(1_000_000, [(1_726_677_688_724, [0, 40])], [0, 40_000], id="epoch"),
        pytest.param(100_000, [(5, [0, 333])], [0, 33_300], id="finer ticks"),
        pytest.param(1_000_000, [(100, [0]), (400, [-10, 5])], [0, 290_000, 305_000], id="two clusters"),
        pytest.param(1_000_000, [(400, [0]), (100, [0])], [0, -300_000], id="time goes back"),
    ],
)
def test_offsets_count_from_the_first_cluster(scale, clusters, offsets):
    body = el(ebml.INFO, el(ebml.TIMESTAMP_SCALE, scale)) + TRACKS + tags(leading("5"))
    body += b"".join(cluster(b"".join(block(b"x", t) for t in times), at) for at, times in clusters)
    events = walk_all(document(body + tags(trailing("5"))))
    assert [b.offset_us for b in of(Block, events)] == offsets


def test_a_block_group_is_a_keyframe_unless_it_refers_to_another():
    body = TRACKS + tags(leading("5")) + cluster(group(b"a") + group(b"b", 40, keyframe=False)) + tags(trailing("5"))
    assert [(b.data, b.keyframe, b.offset_us) for b in of(Block, walk_all(document(body)))] == [
        (b"a", True, 0),
        (b"b", False, 40_000),
    ]


def lace(frames: list[bytes], kind: int) -> bytes:
    head = bytes([len(frames) - 1])
    if kind == 1:
        for frame in frames[:-1]:
            head += b"\xff" * (len(frame) // 255) + bytes([len(frame) % 255])
    elif kind == 3:
        head += size(len(frames[0]))
        for one, two in itertools.pairwise(frames[:-1]):
            delta = len(two) - len(one)
            width = next(w for w in range(1, 9) if abs(delta) < 1 << 7 * w - 1 - 1)
            head += size(delta + (1 << 7 * width - 1) - 1, width)
    return head + b"".join(frames)


@given(st.lists(st.binary(max_size=600), min_size=2, max_size=8), st.sampled_from([1, 3]))
def test_laced_frames_come_out_as_they_went_in(frames, kind):
    body = TRACKS + tags(leading("5")) + cluster(block(lace(frames, kind), flags=kind << 1)) + tags(trailing("5"))
    assert payloads(walk(document(body))) == frames


def test_fixed_lacing_divides_evenly_and_frames_follow_each_other_by_the_default_duration():
    sound = el(ebml.TRACKS, track(kind=2, codec="A_AAC", more=el(ebml.DEFAULT_DURATION, 20_000_000)))
    body = sound + tags(leading("5")) + cluster(block(lace([b"aa", b"bb", b"cc"], 2), flags=4)) + tags(trailing("5"))
    assert [(b.data, b.offset_us) for b in of(Block, walk_all(document(body)))] == [
        (b"aa", 0),
        (b"bb", 20_000),
        (b"cc", 40_000),
    ]


def test_several_tracks_keep_their_numbers_even_beyond_one_byte():
    both = el(ebml.TRACKS, track(1) + track(300, kind=2, codec="A_AAC"))
    body = both + tags(leading("5")) + cluster(block(b"v") + block(b"a", 3, number=300)) + tags(trailing("5"))
    events = walk_all(document(body))
    assert [(t.number, t.kind) for t in of(FragmentStart, events)[0].tracks] == [
        (1, TrackKind.VIDEO),
        (300, TrackKind.AUDIO),
    ]
    assert [(b.track, b.data) for b in of(Block, events)] == [(1, b"v"), (300, b"a")]


def encoding(algorithm: int, settings_: bytes, scope: int = 1) -> bytes:
    compression = el(ebml.CONTENT_COMP_ALGO, algorithm) + el(ebml.CONTENT_COMP_SETTINGS, settings_)
    inside = el(ebml.CONTENT_ENCODING_SCOPE, scope) + el(ebml.CONTENT_COMPRESSION, compression)
    return el(ebml.CONTENT_ENCODINGS, el(ebml.CONTENT_ENCODING, inside))


def test_a_stripped_header_is_put_back_and_other_compressions_are_named_unreadable():
    tracks = el(ebml.TRACKS, track(1, more=encoding(3, b"\0\0")) + track(2, more=encoding(0, b"")))
    body = tracks + tags(leading("5")) + cluster(block(b"abc") + block(b"z", number=2)) + tags(trailing("5"))
    events = walk_all(document(body))
    assert payloads(events) == [b"\0\0abc", b"z"]
    assert [t.codec_id for t in of(FragmentStart, events)[0].tracks] == ["V_MPEG4/ISO/AVC", "V_MPEG4/ISO/AVC/ENCODED"]


@pytest.mark.parametrize("one_per_tag", [True, False])
def test_tags_may_be_one_or_several_per_tag_padded_and_in_the_other_spelling(one_per_tag):
    first = [
        ("AWS_KINESISVIDEO_FRAGMENT_NUMBER", "77"),
        ("AWS_KINESISVIDEO_SERVER_SIDE_TIMESTAMP", "2.5"),
        ("AWS_KINESISVIDEO_PRODUCER_SIDE_TIMESTAMP", "1.25"),
    ]
    body = TRACKS + tags(first, one_per_tag, b"\0\0") + cluster(block(b"x"))
    body += tags(first, one_per_tag) + tags(trailing("77"), one_per_tag, b"\0")
    events = walk_all(document(body))
    assert [type(event) for event in events] == [FragmentStart, Block, FragmentEnd]
    fragment = of(FragmentStart, events)[0].fragment
    assert (fragment.number, fragment.server_us, fragment.producer_us) == ("77", 2_500_000, 1_250_000)
    assert of(FragmentEnd, events)[0].complete


@pytest.mark.parametrize(
    ("value", "micros"),
    [
        ("", None),
        ("0", 0),
        ("45.000", 45_000_000),
        ("1511852108.513", 1_511_852_108_513_000),
        ("9007199254.740993", 9_007_199_254_740_993),
        ("0.1234569", 123_456),
        ("-1.5", -1_500_000),
        ("1e9", None),
        ("nan", None),
        ("٣", None),
        ("9" * 5000, None),
    ],
)
def test_seconds_are_read_exactly(value, micros):
    assert elements.read_seconds(value) == micros


def test_an_ordinary_file_is_one_fragment_without_a_number():
    body = TRACKS + cluster(block(b"a") + block(b"b", 40), 1000) + cluster(block(b"c"), 3000)
    data = document(body, size(len(body), 8))
    start, *blocks, end = walk_all(data)
    assert (start.fragment.number, start.fragment.producer_us) == ("", 1_000_000)
    assert [b.offset_us for b in blocks] == [0, 40_000, 2_000_000]
    assert end.complete
    cut = of(FragmentEnd, walk_all(data[:-3]))[0]
    assert (cut.complete, cut.reason) == (False, "truncated")
    twice = walk_all(data + data)
    assert [e.complete for e in of(FragmentEnd, twice)] == [True, True]


def test_a_fragment_without_media_starts_and_ends():
    body = TRACKS + tags(leading("5"))
    whole, cut = document(body + tags(trailing("5"))), document(body)
    assert [(type(e), getattr(e, "complete", None)) for e in walk_all(whole + Doc().build())][:2] == [
        (FragmentStart, None),
        (FragmentEnd, True),
    ]
    assert [e.complete for e in of(FragmentEnd, walk_all(cut))] == [False]


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        pytest.param(
            [("AWS_KINESISVIDEO_ERROR_ID", "4000"), ("AWS_KINESISVIDEO_ERROR_CODE", "NOT_FOUND")],
            ServiceError(4000, "NOT_FOUND"),
            id="id and code",
        ),
        pytest.param([("AWS_KINESISVIDEO_ERROR_ID", "5000")], ServiceError(5000, ""), id="id only"),
        pytest.param(
            [("AWS_KINESISVIDEO_EXCEPTION_ERROR_CODE", "4500"), ("AWS_KINESISVIDEO_EXCEPTION_MESSAGE", "no")],
            ServiceError(4500, "4500"),
            id="exception spelling",
        ),
    ],
)
def test_an_error_tag_is_an_error_not_a_fragment(pairs, expected):
    assert walk_all(document(tags(pairs))) == [expected]
    assert walk_all(document(tags(pairs, one_per_tag=True)) + Doc().build())[0] == expected


def test_an_error_after_an_unfinished_fragment_ends_it_first():
    events = walk_all(Doc(complete=False).build() + error_document())
    assert [type(e) for e in events[-2:]] == [FragmentEnd, ServiceError]
    assert not events[-2].complete


def test_left_overs_of_the_producers_file_are_skipped():
    extra = el(ebml.VOID, b"\0" * 300_000) + el(ebml.SEEK_HEAD, b"\0" * 70) + el(ebml.ATTACHMENTS, os.urandom(99))
    doc = Doc(before=extra, after=el(ebml.CUES, b"\x1a\x45\xdf\xa3" * 40) + el(ebml.CRC_32, b"abcd"))
    assert [b.data for b in of(Block, walk_all(doc.build() + Doc("9134385234").build()))] == [*doc.payloads] * 2


def test_the_ebml_id_in_a_picture_is_a_picture():
    pictures = [b"\x1a\x45\xdf\xa3" * 9, b"x\x1a\x45\xdf\xa3\xa3\x42\x86", b"y" * 50 + header(), b"z\x1a", b"w\x1a\x45"]
    doc = Doc(payloads=pictures)
    events = walk_all(doc.build())
    assert payloads(events) == pictures
    assert of(FragmentEnd, events)[0].complete


def test_every_truncation_leaves_only_true_blocks_and_the_next_fragment_whole():
    one, two = Doc("100", sized=False), Doc("101", payloads=[b"r" * 200, b"s" * 64])
    data, following = one.build(), two.build()
    for cut in range(1, len(data)):
        for chunk in (1 << 30, 64):
            events = walk(data[:cut] + following, chunk)
            found = fragments(events)
            blocks, end = found.pop("101")
            assert [b.data for b in blocks] == list(two.payloads), cut
            assert end.complete
            before = [b.data for part, _ in found.values() for b in part]
            for got, true in zip(before, one.payloads, strict=False):
                # One byte of the next header may hang on: see ``Walker._reaches``.
                assert got == true or (got == true[:-1] + b"\x1a"), cut
            assert not any(end.complete for _, end in found.values())
            assert found or of(Damage, events), cut
        ended = walk(data[:cut])
        assert not any(end.complete for end in of(FragmentEnd, ended))
        assert payloads(ended) == [p for p in one.payloads if data.index(p) + len(p) <= cut]


@pytest.mark.parametrize("chunk", CHUNKS)
def test_a_destroyed_element_costs_its_fragment_and_no_other(chunk):
    docs = [Doc(str(n), payloads=[bytes([n]) * 400] * 3) for n in (10, 11, 12)]
    data = bytearray(b"".join(doc.build() for doc in docs))
    at = data.index(b"\xa3", data.index(bytes([11]) * 400) + 400)
    data[at] = 0
    found = fragments(walk(bytes(data), chunk))
    assert {number: (len(blocks), end.complete) for number, (blocks, end) in found.items()} == {
        "10": (3, True),
        "11": (1, False),
        "12": (3, True),
    }
    end = found["11"][1]
    assert end.reason == "damaged"
    assert end.lost_bytes == data.index(b"\x1a\x45\xdf\xa3", at) - at


@pytest.mark.parametrize("sized", [True, False])
def test_a_block_cut_off_deep_before_its_end_does_not_swallow_the_next_fragment(sized):
    one = Doc("1", payloads=[b"a" * 50, b"b" * 9000], sized=sized).build()
    two = Doc("2", payloads=[b"c" * 8000, b"d" * 3000], sized=sized)
    found = fragments(walk_all(one[: one.index(b"b" * 9000) + 20] + two.build()))
    assert [b.data for b in found["1"][0]] == [b"a" * 50]
    assert (found["1"][1].complete, found["1"][1].reason) == (False, "truncated")
    assert [b.data for b in found["2"][0]] == list(two.payloads)


def test_only_the_token_ends_a_fragment():
    behind, token = trailing("5")
    head = document(TRACKS + tags(leading("5")) + cluster(block(b"x")) + tags([behind]))
    walker = Walker(Limits())
    assert not of(FragmentEnd, walker.feed(head + tags([("DURATION", "1")])))
    assert [(e.complete, e.tags) for e in walker.feed(tags([token]))] == [(True, (("DURATION", "1"),))]


numbers = st.integers(1, 1 << 157)
blobs = st.binary(min_size=0, max_size=300)
docs = st.builds(
    Doc,
    number=numbers.map(str),
    payloads=st.lists(blobs, min_size=1, max_size=6),
    start_ticks=st.sampled_from([0, 1, 4000, 1_726_677_688_724]),
    step=st.integers(0, 5000),
    sized=st.booleans(),
    segment=st.integers(1, 8).map(unknown),
    before=st.sampled_from([b"", tags([("a", "b")]), el(ebml.VOID, b"\0" * 40)]),
    after=st.sampled_from([b"", tags([("a", "b")], True), el(ebml.CUES, b"\0" * 40)]),
)


@given(st.lists(docs, min_size=1, max_size=4), st.integers(1, 500))
def test_what_was_written_is_read(written, chunk):
    events = walk(b"".join(doc.build() for doc in written), chunk)
    starts, ends = of(FragmentStart, events), of(FragmentEnd, events)
    assert [s.fragment.number for s in starts] == [doc.number for doc in written]
    assert [e.fragment for e in ends] == [s.fragment for s in starts]
    assert all(e.complete and not e.lost_bytes for e in ends)
    assert [(b.data, b.offset_us) for b in of(Block, events)] == [
        (payload, i * doc.step * 1000) for doc in written for i, payload in enumerate(doc.payloads)
    ]


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(docs, docs, st.data())
def test_damage_never_raises_and_never_loses_a_later_fragment(hurt, later, data):
    assume(int(hurt.number) != int(later.number))
    broken = bytearray(hurt.build())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(broken) - 1))
        match data.draw(st.sampled_from(["set", "cut", "insert"])):
            case "set":
                broken[at] = data.draw(st.integers(0, 255))
            case "cut":
                del broken[at : at + data.draw(st.integers(1, 50))]
            case "insert":
                broken[at:at] = data.draw(st.binary(min_size=1, max_size=50))
        if not broken:
            break
    whole = bytes(broken) + later.build()
    events = walk(whole)
    assert events == walk(whole, data.draw(st.integers(1, 400)))
    found = fragments(events)
    assert later.number in found
    blocks, end = found[later.number]
    assert [b.data for b in blocks] == list(later.payloads)
    assert end.complete


@given(st.binary(max_size=2000), st.integers(1, 100))
def test_noise_never_raises_and_every_byte_of_it_is_counted(noise, chunk):
    events = walk(noise, chunk)
    assert events == walk(noise)
    assume(b"\x1a\x45\xdf\xa3" not in noise)
    assert sum(e.lost_bytes for e in of(Damage, events)) == len(noise)


def test_an_element_over_the_limit_is_damage_and_is_not_kept():
    limits = Limits(element_bytes=10_000)
    data = Doc("1", payloads=[b"a" * 100, os.urandom(50_000), b"c"]).build() + Doc("2").build()
    walker, events = Walker(limits), []
    for at in range(0, len(data), 512):
        events += walker.feed(data[at : at + 512])
        assert len(walker._pending) <= limits.element_bytes + 512
    found = fragments(events)
    assert ([len(b.data) for b in found["1"][0]], found["1"][1].reason) == ([100], "damaged")
    assert found["1"][1].lost_bytes > 50_000
    assert found["2"][1].complete


@pytest.mark.parametrize(
    ("limits", "doc", "blocks"),
    [
        pytest.param(Limits(fragment_bytes=900), Doc("1", payloads=[b"a" * 400] * 4), 1, id="bytes"),
        pytest.param(Limits(fragment_us=50_000), Doc("1"), 2, id="duration"),
        pytest.param(Limits(max_pixels=640 * 360 - 1), Doc("1"), 0, id="pixels"),
    ],
)
def test_a_fragment_over_a_limit_ends_there_and_the_next_is_read(limits, doc, blocks):
    small = Doc("2", payloads=[b"z"], tracks=track(width=32, height=32))
    found = fragments(walk_all(doc.build() + small.build(), limits))
    assert (len(found["1"][0]), found["1"][1].complete, found["1"][1].reason) == (blocks, False, "limit")
    assert found["2"][1].complete


def test_too_many_tags_are_damage():
    limits = Limits(tags=20)
    found = walk_all(Doc("1", before=tags([("a", "b")] * 30)).build() + Doc("2").build(), limits)
    assert [type(e) for e in found[:2]] == [Damage, FragmentStart]
    assert fragments(found)["2"][1].complete


@pytest.mark.parametrize(("counter_clockwise", "clockwise"), [(0, 0), (90, 270), (180, 180), (270, 90), (-90, 90)])
def test_rotation_is_read_as_ffmpeg_writes_it(counter_clockwise, clockwise):
    sink = io.BytesIO()
    with av.open(sink, "w", format="matroska") as out:
        stream = out.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"
        if counter_clockwise:
            stream.set_display_rotation(counter_clockwise)
        picture = av.VideoFrame.from_ndarray(np.zeros((32, 64, 3), np.uint8), format="rgb24")
        out.mux(stream.encode(picture))
        out.mux(stream.encode())
    with av.open(io.BytesIO(sink.getvalue())) as read:
        said = next(read.decode(video=0)).rotation
    assert (said - counter_clockwise) % 360 == 0
    assert of(FragmentStart, walk(sink.getvalue()))[0].tracks[0].rotation == clockwise


@pytest.mark.parametrize("roll", [float("nan"), float("inf"), -float("inf")])
def test_a_nonsense_rotation_is_none(roll):
    assert elements.clockwise(roll) == 0


def test_one_byte_reads_of_a_large_block_stay_linear():
    data = Doc(payloads=[random.Random(1).randbytes(200_000)]).build()
    walker, calls = Walker(Limits()), 0
    original = Walker._element

    def counted(self, *args):
        nonlocal calls
        calls += 1
        return original(self, *args)

    Walker._element = counted
    try:
        for at in range(len(data)):
            walker.feed(data[at : at + 1])
    finally:
        Walker._element = original
    assert calls < 1000


def test_views_and_bytearrays_may_be_fed_and_reused():
    data = Doc().build()
    buffer = bytearray(len(data))
    buffer[:] = data
    walker = Walker(Limits())
    events = walker.feed(memoryview(buffer))
    buffer[:] = bytes(len(data))
    assert events + walker.close() == walk(data)


def test_a_float_of_a_wrong_length_is_not_ebml():
    with pytest.raises(ebml.EbmlError):
        ebml.floating(b"abc", 0, 3)
    assert ebml.floating(struct.pack(">f", 90.0), 0, 4) == 90.0
    assert block_body(b"") == b"\x81\0\0\x80"
    assert open_el(ebml.CLUSTER, b"", 1)[-1] == 0xFF

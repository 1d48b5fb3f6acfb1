"""GetMedia of the stand-in, read by plain boto3."""

from __future__ import annotations

import io
import re
import time
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from botocore.exceptions import ClientError
from standin_media import blocks, client, decoded, fragments, made, open_media, tags, video

from streamproc.standin import Layout, Limits, StandIn
from streamproc.standin.media import fragments_of_video
from streamproc.standin.recording import read_recording

QUICK = Limits(idle_s=0.3, fragments_per_second=1000)


@pytest.mark.parametrize("delivery", ["forward", "whole"])
def test_every_frame_of_the_camera_can_be_decoded_from_the_body(delivery: str) -> None:
    with StandIn(limits=QUICK) as standin:
        standin.add_stream("cam", fragments(), delivery=delivery)
        answer = client(standin, "kinesis-video-media").get_media(
            StreamName="cam", StartSelector={"StartSelectorType": "EARLIEST"}
        )
        body = answer["Payload"].read()
    assert answer["ContentType"] == "video/webm"
    assert decoded(body) == 30
    assert body.count(b"\x1a\x45\xdf\xa3") == 5


@pytest.mark.parametrize(
    "source",
    [
        pytest.param({"codec": "libx265", "b_frames": 0}, id="h265"),
        pytest.param({"codec": "libx265", "b_frames": 2}, id="h265 with B-frames"),
        pytest.param({"b_frames": 2}, id="h264 with B-frames"),
        pytest.param({"container": "mp4"}, id="mp4"),
        pytest.param({"container": "mov"}, id="mov"),
        pytest.param({"container": "mpegts"}, id="ts, Annex B"),
        pytest.param({"container": "mpegts", "codec": "libx265"}, id="ts, Annex B, h265"),
        pytest.param({"container": "mp4", "audio": True}, id="sound kept"),
    ],
)
def test_ordinary_video_goes_in_without_losing_a_frame(source: dict[str, object]) -> None:
    cut = fragments_of_video(io.BytesIO(video(24, gop=12, **source)), audio=True)  # type: ignore[arg-type]
    with StandIn(limits=QUICK) as standin:
        standin.add_stream("cam", cut, archive=True)
        body = open_media(standin).read()
    assert [sum(b.track == 1 for b in f.blocks) for f in cut] == [12, 12]
    assert all(f.blocks[0].keyframe for f in cut)
    assert all(f.tracks[0].codec_private[:1] == b"\x01" for f in cut)
    assert decoded(body) == 24
    assert (len(cut[0].tracks) == 2) == bool(source.get("audio"))


def test_b_frames_stay_in_decoding_order_with_their_times() -> None:
    offsets = [b.offset_us // 1000 for b in fragments(24, 12, b_frames=2)[0].blocks]
    assert offsets != sorted(offsets)
    assert sorted(offsets) == pytest.approx([round(i * 1000 / 30) for i in range(12)], abs=1)


@pytest.mark.parametrize(("gop", "seconds", "expected"), [(6, 0.4, 3), (30, 0.3, 4), (10, None, 3)])
def test_fragments_have_about_the_length_that_was_asked_for(gop: int, seconds: float | None, expected: int) -> None:
    cut = fragments_of_video(io.BytesIO(video(30, gop=gop)), seconds)
    assert abs(len(cut) - expected) <= 1
    assert sum(len(f.blocks) for f in cut) == 30
    assert sum(f.duration_us for f in cut) == pytest.approx(1_000_000, abs=2000)


@pytest.mark.parametrize(
    "layout",
    [
        pytest.param(Layout(sized_cluster=True), id="sized"),
        pytest.param(Layout(epoch_timecodes=True), id="epoch"),
        pytest.param(Layout(block_groups=True), id="groups"),
    ],
)
def test_every_layout_holds_the_same_blocks(layout: Layout) -> None:
    with StandIn(limits=QUICK) as standin:
        standin.add_stream("cam", fragments(), archive=True, layout=layout)
        body = open_media(standin).read()
    again = read_recording(body)
    clusters = [m.groups() for m in re.finditer(rb"\x1f\x43\xb6\x75([\x01-\xff].*?)\xe7(.)", body, re.DOTALL)]
    assert len(clusters) == 5
    assert all((size != b"\x01" + b"\xff" * 7) == layout.sized_cluster for size, _ in clusters)
    assert all((length > b"\x84") == layout.epoch_timecodes for _, length in clusters)
    assert decoded(body) == 30
    assert [[(b.offset_us, b.keyframe, b.data) for b in f.blocks] for f in again] == [
        [(b.offset_us, b.keyframe, b.data) for b in f.blocks] for f in fragments()
    ]


def test_a_recorded_body_is_sent_again_under_fresh_numbers() -> None:
    with StandIn(limits=QUICK) as standin:
        standin.add_stream("cam", fragments(), archive=True)
        first = open_media(standin).read()
        standin.add_stream("again", read_recording(first), archive=True)
        second = open_media(standin, "again").read()
    assert decoded(second) == 30
    assert not set(tags(first, "FRAGMENT_NUMBER")) & set(tags(second, "FRAGMENT_NUMBER"))
    assert len(tags(second, "FRAGMENT_NUMBER")) == len(tags(second, "CONTINUATION_TOKEN")) == 5


def test_each_selector_begins_with_its_fragment() -> None:
    with StandIn(limits=QUICK) as standin:
        stream = standin.add_stream("cam", made(), archive=True)
        third = stream.fragments()[2]

        def first(kind: str, **selector: object) -> list[str]:
            return blocks(open_media(standin, "cam", kind, **selector).read())[:1]

        inside = datetime.fromtimestamp((third.server_us + 50_000) / 1e6, UTC)
        assert first("EARLIEST") == ["0.0"]
        assert first("FRAGMENT_NUMBER", AfterFragmentNumber=str(third.number)) == ["3.0"]
        assert first("CONTINUATION_TOKEN", ContinuationToken=str(third.number)) == ["3.0"]
        assert first("SERVER_TIMESTAMP", StartTimestamp=inside) == ["2.0"]
        time.sleep(1.0)  # five calls per second
        assert first("PRODUCER_TIMESTAMP", StartTimestamp=inside) == ["2.0"]
        assert first("NOW") == []  # nothing is being received


def test_now_begins_with_the_fragment_that_is_being_received() -> None:
    with StandIn(limits=QUICK) as standin:
        standin.add_stream("cam", made(count=12), history_s=1.1)
        body = open_media(standin, "cam", "NOW").read()
    assert blocks(body)[0] in ("5.0", "6.0")
    assert blocks(body)[-1] == "11.3"


def test_forwarded_blocks_come_at_their_own_time() -> None:
    with StandIn(limits=QUICK) as standin:
        stream = standin.add_stream("cam", made(count=2, duration_ms=600, blocks=18))
        payload = open_media(standin)
        arrivals: dict[str, float] = {}
        seen = b""
        while data := payload._raw_stream.read1(65536):
            seen += data
            for number in blocks(seen):
                arrivals.setdefault(number, time.time())
        late = [
            arrivals[f"{f.index}.{b}"] - f.arrival_us(b) / 1e6
            for f in stream.fragments()
            for b in range(len(f.media.blocks))
        ]
    assert len(late) == 36
    assert min(late) > -0.005
    assert sorted(late)[18] < 0.05


def test_whole_fragments_come_when_they_have_ended() -> None:
    with StandIn(limits=QUICK) as standin:
        stream = standin.add_stream("cam", made(count=2, duration_ms=500), delivery="whole")
        payload = open_media(standin)
        payload._raw_stream.read1(1)
        came_us = time.time_ns() // 1000
        assert came_us >= stream.fragments()[0].end_us
        assert blocks(payload.read())[-1] == "1.3"


def test_trailing_tags_tell_the_service_clock() -> None:
    with StandIn(limits=QUICK) as standin:
        standin.add_stream("cam", made(count=4))
        before = time.time()
        body = open_media(standin).read()
    behind = [int(v) for v in tags(body, "MILLIS_BEHIND_NOW")]
    server = [float(v) for v in tags(body, "SERVER_TIMESTAMP")]
    clock = [s + b / 1000 for s, b in zip(server, behind, strict=True)]
    assert tags(body, "FRAGMENT_NUMBER") == tags(body, "CONTINUATION_TOKEN")
    assert all(200 <= b < 600 for b in behind)
    assert clock == sorted(clock)
    assert before < clock[0]
    assert clock[-1] < time.time() + 0.01
    assert tags(body, "PRODUCER_TIMESTAMP") == tags(body, "SERVER_TIMESTAMP")


def test_an_old_fragment_is_as_far_behind_as_it_is_old() -> None:
    with StandIn(limits=QUICK) as standin:
        standin.add_stream("cam", made(count=4), history_s=30, loop=False)
        behind = [int(v) for v in tags(open_media(standin).read(), "MILLIS_BEHIND_NOW")]
    assert behind[0] == pytest.approx(30_000, abs=500)
    assert behind[0] - behind[-1] == pytest.approx(600, abs=250)


def test_numbers_rise_by_one_and_jump_at_a_new_session() -> None:
    with StandIn(limits=QUICK) as standin:
        stream = standin.add_stream("cam", made(count=2), archive=True)
        standin.cameras["cam"].restart()
        numbers = [f.number for f in stream.fragments()]
    assert all(len(str(n)) == 47 for n in numbers)
    assert [(b >> 92) - (a >> 92) for a, b in pairwise(numbers)] == [1, 1000, 1]


def test_a_restarted_camera_goes_on_in_the_same_session_of_the_reader() -> None:
    with StandIn(limits=QUICK) as standin:
        standin.add_stream("cam", made(count=2))
        payload = open_media(standin)
        standin.cameras["cam"].wait()
        standin.cameras["cam"].restart()
        body = payload.read()
    assert len(tags(body, "CONTINUATION_TOKEN")) == 4


def test_a_stopped_camera_ends_its_fragment_with_the_blocks_that_came() -> None:
    with StandIn(limits=QUICK) as standin:
        stream = standin.add_stream("cam", made(count=1, duration_ms=4000, blocks=40))
        payload = open_media(standin)
        seen = b""
        while "0.2" not in blocks(seen):
            seen += payload._raw_stream.read1(65536)
        standin.cameras["cam"].stop()
        body = seen + payload.read()
    assert len(tags(body, "CONTINUATION_TOKEN")) == 1
    assert len(blocks(body)) == stream.fragments()[0].count < 20


def test_the_fourth_connection_is_refused_until_one_is_given_back() -> None:
    with StandIn(limits=QUICK) as standin:
        standin.add_stream("cam", made(), loop=True)
        held = [open_media(standin) for _ in range(3)]
        with pytest.raises(ClientError) as refused:
            open_media(standin)
        assert refused.value.response["Error"]["Code"] == "ConnectionLimitExceededException"
        held[0]._raw_stream.shutdown()
        held[0].close()
        deadline = time.monotonic() + 3
        while standin.video.connections("cam") == 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert standin.video.connections("cam") == 2
        open_media(standin).close()


def test_the_sixth_call_in_a_second_is_refused() -> None:
    with StandIn(limits=QUICK) as standin:
        standin.add_stream("cam")
        media = client(standin, "kinesis-video-media")
        codes = []
        for _ in range(6):
            try:
                media.get_media(StreamName="cam", StartSelector={"StartSelectorType": "NOW"})["Payload"].close()
            except ClientError as error:
                codes.append(error.response["Error"]["Code"])
    assert codes[-1] == "ClientLimitExceededException"


def test_no_more_than_five_fragments_are_sent_per_second() -> None:
    with StandIn(limits=Limits(idle_s=0.1)) as standin:
        standin.add_stream("cam", made(count=6), archive=True)
        started = time.monotonic()
        open_media(standin).read()
    assert time.monotonic() - started >= 1.0


def test_a_session_ends_cleanly_at_a_fragments_end() -> None:
    with StandIn(limits=Limits(session_s=0.7, idle_s=0.3)) as standin:
        standin.add_stream("cam", made(), loop=True)
        started = time.monotonic()
        body = open_media(standin).read()
    assert 0.7 <= time.monotonic() - started < 1.5
    assert len(tags(body, "FRAGMENT_NUMBER")) == len(tags(body, "CONTINUATION_TOKEN")) >= 3


def test_a_session_ends_when_the_camera_has_been_quiet() -> None:
    with StandIn(limits=Limits(idle_s=0.4)) as standin:
        standin.add_stream("cam")
        started = time.monotonic()
        assert open_media(standin, "cam", "NOW").read() == b""
    assert 0.4 <= time.monotonic() - started < 1.0


def test_a_fragment_that_is_no_longer_retained_answers_error_4000() -> None:
    with StandIn(limits=QUICK) as standin:
        stream = standin.add_stream("cam", made(), archive=True, retention_s=0.5)
        kept = stream.fragments()
        body = open_media(standin, "cam", "FRAGMENT_NUMBER", AfterFragmentNumber=str(kept[0].number - (1 << 92))).read()
    assert len(kept) < 5
    assert tags(body, "ERROR_ID") == ["4000"]
    assert tags(body, "FRAGMENT_NUMBER") == []


@pytest.mark.parametrize(
    ("call", "code", "status"),
    [
        pytest.param({"StreamName": "other"}, "ResourceNotFoundException", 404, id="unknown stream"),
        pytest.param({"StartSelector": {"StartSelectorType": "SOON"}}, "InvalidArgumentException", 400, id="selector"),
        pytest.param(
            {"StartSelector": {"StartSelectorType": "FRAGMENT_NUMBER"}}, "InvalidArgumentException", 400, id="number"
        ),
    ],
)
def test_a_wrong_call_is_refused_by_name(call: dict[str, object], code: str, status: int) -> None:
    with StandIn() as standin:
        standin.add_stream("cam")
        asked = {"StreamName": "cam", "StartSelector": {"StartSelectorType": "NOW"}} | call
        with pytest.raises(ClientError) as refused:
            client(standin, "kinesis-video-media").get_media(**asked)
    assert refused.value.response["Error"]["Code"] == code
    assert refused.value.response["Error"]["Message"]
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


def test_closing_ends_every_session_at_once() -> None:
    with StandIn() as standin:
        standin.add_stream("cam", made(count=1, duration_ms=20_000, blocks=2))
        payload = open_media(standin)
        payload._raw_stream.read1(65536)
        started = time.monotonic()
    assert time.monotonic() - started < 1.0

"""Faults of GetMedia on demand."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st
from standin_media import blocks, client, made, open_media, tags
from urllib3.exceptions import ProtocolError

from streamproc.standin import Fault, Faults, Limits, StandIn
from streamproc.standin.faults import MEDIA_KINDS, REKOGNITION_KINDS, Place

QUICK = Limits(idle_s=0.2, fragments_per_second=1000)
ALL = [f"{f}.{b}" for f in range(5) for b in range(4)]


def playing(*faults: Fault) -> StandIn:
    standin = StandIn(limits=QUICK, faults=faults)
    standin.add_stream("cam", made(), archive=True)
    return standin


def read_raw(payload: Any) -> tuple[bytes, str]:
    body = b""
    try:
        while data := payload._raw_stream.read1(65536):
            body += data
    except (ProtocolError, OSError) as error:
        return body, type(error).__name__
    return body, ""


def test_a_cut_ends_the_body_cleanly_inside_a_fragment_once() -> None:
    with playing(Fault("cut", after_blocks=6)) as standin:
        body, error = read_raw(open_media(standin))
        assert (blocks(body), error) == (ALL[:6], "")
        assert len(tags(body, "CONTINUATION_TOKEN")) == 1
        assert blocks(open_media(standin).read()) == ALL


def test_a_cut_after_bytes_is_exact_and_may_strike_every_session() -> None:
    with playing(Fault("cut", after_bytes=1234, times=0)) as standin:
        assert [len(open_media(standin).read()) for _ in range(2)] == [1234, 1234]


@pytest.mark.parametrize("kind", ["drop", "reset"])
def test_a_lost_connection_is_an_error_to_the_client(kind: str) -> None:
    with playing(Fault(kind, after_blocks=6)) as standin:
        body, error = read_raw(open_media(standin))
        assert error == "ProtocolError"
        assert blocks(body) in (ALL[:6], [], ALL[:4])  # a reset may take away what was not read yet
        assert kind == "reset" or blocks(body) == ALL[:6]
        deadline = time.monotonic() + 2
        while standin.video.connections("cam") and time.monotonic() < deadline:
            time.sleep(0.01)
        assert standin.video.connections("cam") == 0


def test_a_stall_is_silence_and_then_everything() -> None:
    with playing(Fault("stall", after_blocks=2, seconds=0.6)) as standin:
        started = time.monotonic()
        body = open_media(standin).read()
        assert time.monotonic() - started >= 0.6
        assert blocks(body) == ALL


def test_a_fault_without_end_strikes_each_session_once() -> None:
    with playing(Fault("stall", after_blocks=1, seconds=0.25, times=0)) as standin:
        for _ in range(2):
            started = time.monotonic()
            assert blocks(open_media(standin).read()) == ALL
            assert 0.25 <= time.monotonic() - started < 2


def test_garbage_stands_between_two_blocks() -> None:
    with playing(Fault("garbage", after_blocks=5, size=50)) as standin:
        bad = open_media(standin).read()
        good = open_media(standin).read()
    between = [body.index(b"block 1.1;") - body.index(b"block 1.0;") for body in (bad, good)]
    assert between[0] == between[1] + 50
    assert blocks(bad) == ALL


def test_error_tags_end_the_session() -> None:
    with playing(Fault("error", after_blocks=3, error_id=4500, code="KMS_KEY_ACCESS_DENIED")) as standin:
        body = open_media(standin).read()
    assert blocks(body) == ALL[:3]
    assert (tags(body, "ERROR_ID"), tags(body, "ERROR_CODE")) == (["4500"], ["KMS_KEY_ACCESS_DENIED"])


def test_a_denied_call_has_its_code_and_status() -> None:
    with playing(Fault("deny", code="InternalFailure", stream="cam")) as standin:
        with pytest.raises(ClientError) as refused:
            open_media(standin)
        assert refused.value.response["Error"]["Code"] == "InternalFailure"
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
        assert blocks(open_media(standin).read()) == ALL


def test_a_fault_of_another_stream_does_not_strike() -> None:
    with playing(Fault("cut", stream="other")) as standin:
        assert blocks(open_media(standin).read()) == ALL


def test_faults_can_be_armed_and_cleared_over_http() -> None:
    def call(method: str, path: str, body: object = None) -> Any:
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(standin.url + path, data, method=method)
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.load(answer)

    with playing() as standin:
        armed = call("POST", "/standin/faults", {"kind": "cut", "after_blocks": 2, "times": 0})
        assert armed["faults"][0]["after_blocks"] == 2
        assert blocks(open_media(standin).read()) == ALL[:2]
        assert call("GET", "/standin")["streams"]["cam"]["sessions"] == 1
        assert call("DELETE", "/standin/faults") == {"faults": []}
        assert blocks(open_media(standin).read()) == ALL
        assert call("POST", "/standin/cameras/cam/restart")["camera"] == "cam"
        assert len(blocks(open_media(standin).read())) == 20
        assert call("GET", "/standin")["streams"]["cam"]["fragments"] == 10
        for path, body, status in (("/standin/faults", {"kind": "x"}, 400), ("/standin/nothing", {}, 404)):
            with pytest.raises(urllib.error.HTTPError) as refused:
                call("POST", path, body)
            assert refused.value.code == status


def test_chances_repeat_with_their_seed() -> None:
    def struck(seed: int) -> list[bool]:
        faults = Faults([Fault("throttle", times=0, probability=0.3)], seed)
        return [faults.strike(REKOGNITION_KINDS) is not None for _ in range(200)]

    assert struck(1) == struck(1) != struck(2)
    assert 30 < sum(struck(1)) < 90


@given(st.sampled_from([*MEDIA_KINDS, *REKOGNITION_KINDS]), st.integers(0, 10**6), st.integers(0, 50), st.floats(0, 1))
def test_text_and_values_mean_the_same_fault(kind: str, after_bytes: int, times: int, probability: float) -> None:
    text = f"{kind}:after_bytes={after_bytes},times={times},probability={probability!r}"
    assert Fault.from_text(text) == Fault(kind, after_bytes=after_bytes, times=times, probability=probability)


@pytest.mark.parametrize("wrong", ["", "explode", "cut:after=3", "cut:times=many", "nonsense:shape=round"])
def test_a_wrong_fault_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError):
        Fault.from_text(wrong)


@given(st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=5), max_size=6), st.integers(1, 60))
def test_a_byte_fault_strikes_at_its_byte_however_the_body_is_cut(pieces: list[list[int]], after: int) -> None:
    faults, place, sent = Faults([Fault("cut", after_bytes=after)]), Place(), 0
    for piece in pieces:
        parts = [b"x" * n for n in piece]
        struck = faults.strike_body("cam", place, parts, True)
        if struck is not None:
            assert sent + struck[1] == after
            return
        sent += sum(piece)
        place.sent_bytes += sum(piece)
        place.sent_blocks += len(parts)
    assert sent < after


def test_a_client_library_sees_the_denied_call_once() -> None:
    with playing(Fault("deny", times=0)) as standin:
        with pytest.raises(ClientError, match="NotAuthorizedException"):
            client(standin, "kinesis-video-media").get_media(
                StreamName="cam", StartSelector={"StartSelectorType": "NOW"}
            )

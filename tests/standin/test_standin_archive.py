"""Control and archived media of the stand-in."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from botocore.exceptions import ClientError
from standin_media import blocks, client, decoded, fragments, made

from streamproc.standin import StandIn


def test_a_stream_is_described_by_name_and_by_arn() -> None:
    with StandIn() as standin:
        standin.add_stream("cam", retention_s=7200)
        control = client(standin, "kinesisvideo")
        info = control.describe_stream(StreamName="cam")["StreamInfo"]
        assert control.describe_stream(StreamARN=info["StreamARN"])["StreamInfo"] == info
        assert (info["Status"], info["DataRetentionInHours"]) == ("ACTIVE", 2)
        assert control.get_data_endpoint(StreamName="cam", APIName="GET_MEDIA")["DataEndpoint"] == standin.url
        standin.remove_stream("cam")
        with pytest.raises(ClientError, match="ResourceNotFoundException"):
            control.describe_stream(StreamName="cam")


def test_streams_are_listed_by_prefix_and_page() -> None:
    with StandIn() as standin:
        for number in range(7):
            standin.add_stream(f"gate-{number}")
        standin.add_stream("yard")
        control = client(standin, "kinesisvideo")
        condition = {"ComparisonOperator": "BEGINS_WITH", "ComparisonValue": "gate-"}
        first = control.list_streams(MaxResults=3, StreamNameCondition=condition)
        assert len(first["StreamInfoList"]) == 3
        assert "NextToken" in first
        pages = control.get_paginator("list_streams").paginate(
            StreamNameCondition=condition, PaginationConfig={"PageSize": 3}
        )
        assert [s["StreamName"] for p in pages for s in p["StreamInfoList"]] == [f"gate-{n}" for n in range(7)]
        assert "NextToken" not in control.list_streams()


def test_fragments_are_listed_by_time_and_fetched_by_number() -> None:
    with StandIn() as standin:
        stream = standin.add_stream("cam", fragments(), archive=True)
        kept = stream.fragments()
        archived = client(standin, "kinesis-video-archived-media")
        between = {
            "FragmentSelectorType": "SERVER_TIMESTAMP",
            "TimestampRange": {
                "StartTimestamp": datetime.fromtimestamp(kept[1].server_us / 1e6, UTC),
                "EndTimestamp": datetime.fromtimestamp(kept[3].server_us / 1e6, UTC),
            },
        }
        pages = archived.get_paginator("list_fragments").paginate(
            StreamName="cam", FragmentSelector=between, PaginationConfig={"PageSize": 2}
        )
        found = {f["FragmentNumber"]: f for p in pages for f in p["Fragments"]}
        assert set(found) == {str(f.number) for f in kept[1:4]}
        assert {f["FragmentLengthInMilliseconds"] for f in found.values()} == {200}
        numbers = [str(f.number) for f in kept[1:3]]
        body = archived.get_media_for_fragment_list(StreamName="cam", Fragments=numbers)["Payload"].read()
        assert decoded(body) == 12
        assert b"MILLIS_BEHIND_NOW" not in body
        with pytest.raises(ClientError, match="ResourceNotFoundException"):
            archived.get_media_for_fragment_list(StreamName="cam", Fragments=["1"])


def test_a_fragment_that_is_being_received_is_not_listed() -> None:
    with StandIn() as standin:
        standin.add_stream("cam", made(count=3, duration_ms=10_000), history_s=15)
        listed = client(standin, "kinesis-video-archived-media").list_fragments(StreamName="cam")["Fragments"]
    assert len(listed) == 1
    assert blocks(b"") == []

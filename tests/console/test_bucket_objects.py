"""Reading a bucket for the page, on moto."""

from __future__ import annotations

from collections.abc import Iterator

import boto3
import pytest
from botocore.config import Config
from moto import mock_aws

from streamproc.console.app import Piece, Span
from streamproc.console.objects import BucketObjects
from streamproc.errors import StoreUnavailable

BODY = bytes(range(200))


@pytest.fixture
def objects(monkeypatch: pytest.MonkeyPatch) -> Iterator[BucketObjects]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="bucket")
        client.put_object(Bucket="bucket", Key="out/video/a.mp4", Body=BODY)
        yield BucketObjects(client, "bucket", "/out/")


@pytest.mark.parametrize(
    ("span", "first", "end"),
    [(None, 0, 200), (Span(0, 9), 0, 10), (Span(150), 150, 200), (Span(-5), 195, 200), (Span(190, 999), 190, 200)],
    ids=["whole", "head", "rest", "last", "beyond"],
)
def test_part_of_an_object(objects: BucketObjects, span: Span | None, first: int, end: int) -> None:
    assert objects.read("video/a.mp4", span) == Piece(BODY[first:end], first, 200)


def test_object_that_is_not_there_is_none(objects: BucketObjects) -> None:
    assert objects.read("video/b.mp4") is None


def test_span_behind_the_end_is_an_index_error(objects: BucketObjects) -> None:
    with pytest.raises(IndexError):
        objects.read("video/a.mp4", Span(200))


def test_bucket_that_is_away_is_one_line() -> None:
    client = boto3.client(
        "s3",
        region_name="us-east-1",
        endpoint_url="http://127.0.0.1:1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
        config=Config(retries={"total_max_attempts": 1}),
    )
    with pytest.raises(StoreUnavailable, match=r"^GET s3://b/k: EndpointConnectionError$"):
        BucketObjects(client, "b").read("k")

"""The live path into S3 (moto over HTTP): the same as into a folder."""

from __future__ import annotations

import io

import av
import boto3
import m3u8
import pytest
from e2e.live_run import LiveRun, camera, filmed, run_to_end, seen
from media_made import luma_of, number_in
from moto.moto_api._internal import moto_api_backend as moto_backends
from moto.server import ThreadedMotoServer

from streamproc.standin import StandIn


@pytest.fixture
def s3():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{host}:{port}",
        region_name="us-east-1",
        aws_access_key_id="x",
        aws_secret_access_key="y",
    )
    client.create_bucket(Bucket="redacted")
    yield client
    moto_backends.reset()  # moto keeps its buckets for the life of the process
    server.stop()


@pytest.fixture
def environment(s3):
    with StandIn(seen, latency_s=0.05) as standin:
        standin.add_stream("cam", camera(filmed(count=150)), archive=True)
        yield {**standin.environment(), "AWS_ENDPOINT_URL_S3": s3.meta.endpoint_url}


def objects(s3, ending: str) -> dict[str, bytes]:
    listed = s3.list_objects_v2(Bucket="redacted").get("Contents", [])
    keys = sorted(o["Key"] for o in listed if o["Key"].endswith(ending))
    return {key: s3.get_object(Bucket="redacted", Key=key)["Body"].read() for key in keys}


def published(s3) -> list[int]:
    found = []
    for body in objects(s3, ".mp4").values():
        with av.open(io.BytesIO(body)) as container:
            found += [number_in(luma_of(frame)) for frame in container.decode(video=0)]
    return found


def test_segments_records_and_playlists_are_in_the_bucket_under_the_prefix(s3, environment, tmp_path):
    run_to_end(environment, tmp_path, output="s3://redacted/fleet-7/")
    assert published(s3) == list(range(150))
    media, playlists = objects(s3, ".mp4"), objects(s3, ".m3u8")
    assert all(key.startswith("fleet-7/video/stream=cam/") for key in media)
    assert len(objects(s3, ".jsonl.gz")) == len(media)
    live = m3u8.loads(playlists["fleet-7/video/stream=cam/live.m3u8"].decode())
    assert [f"fleet-7/video/stream=cam/{s.uri}" for s in live.segments] == list(media)
    assert live.is_endlist


def test_a_run_that_is_killed_repeats_nothing_in_the_bucket(s3, environment, tmp_path):
    with LiveRun(environment, tmp_path, "--from", "earliest", output="s3://redacted", name="killed") as run:
        while not objects(s3, ".mp4"):
            assert run.process.poll() is None, run.said
        run.kill()
    run_to_end(environment, tmp_path, output="s3://redacted")
    assert published(s3) == list(range(150))


def test_a_missing_bucket_is_named_before_anything_is_read(s3, environment, tmp_path):
    with LiveRun(environment, tmp_path, "--seconds", "10", output="s3://no-such-bucket/x") as run:
        assert run.wait() == 69
    assert "no-such-bucket" in run.said
    assert "Traceback" not in run.said

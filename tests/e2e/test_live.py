"""The live path from GetMedia to published segments: nothing uncovered, nothing lost, nothing twice."""

from __future__ import annotations

import json
from pathlib import Path

import av
import m3u8
import pytest
from e2e.live_run import LiveRun, Output, camera, filmed, numbers, run_to_end, seen
from media_made import luma_of, number_in

from streamproc.standin import Fault, Limits, StandIn

FRAMES = 125


@pytest.fixture
def standin():
    with StandIn(seen, latency_s=0.05) as server:
        server.add_stream("cam", camera(), archive=True)
        yield server


def test_every_frame_comes_out_once_in_order_at_its_time_with_its_faces_covered(standin, tmp_path):
    run = run_to_end(standin.environment(), tmp_path)
    pictures = run.output.pictures()
    assert numbers(pictures) == list(range(FRAMES))
    times = [p.record["ts"] for p in pictures]
    assert times == sorted(set(times))
    for picture in pictures:
        assert picture.face_detail < 4, f"frame {picture.number}: a face can be seen"
        assert picture.record["regions"], picture.number
    summary = run.summary
    assert summary["frames"]["in"] == summary["frames"]["out"] == FRAMES
    assert summary["fragments"] == {"in": 5, "out": 5, "duplicate": 0}
    assert summary["gaps"] == []


def test_what_is_outside_the_regions_stays_as_it_was(standin, tmp_path):
    run = run_to_end(standin.environment(), tmp_path)
    source = filmed()
    decoder = av.CodecContext.create("h264", "r")
    decoder.extradata = source.private
    originals = []
    for coded in source.pictures:
        packet = av.Packet(coded.data)
        packet.pts = coded.number
        originals += [luma_of(frame).copy() for frame in decoder.decode(packet)]
    originals += [luma_of(frame).copy() for frame in decoder.decode(None)]
    for original, picture in zip(originals, run.output.pictures(), strict=True):
        above = abs(original[:30].astype(int) - picture.luma[:30].astype(int)).mean()
        assert above < 4, f"frame {picture.number}: changed where nothing is to be covered"


def test_the_parts_of_the_lag_add_up_to_the_whole(standin, tmp_path):
    lag = run_to_end(standin.environment(), tmp_path).summary["lag"]
    assert lag["count"] == FRAMES
    assert sum(stage["mean_ms"] for stage in lag["stages"].values()) == pytest.approx(lag["mean_ms"], abs=0.01)
    assert all(lag[name] is not None for name in ("p50_ms", "p95_ms", "p99_ms", "max_ms"))


def test_no_more_than_five_looks_are_made_per_second_of_video(standin, tmp_path):
    summary = run_to_end(standin.environment(), tmp_path).summary
    calls = summary["detector"]["DetectFaces"]
    assert calls["ok"] == standin.rekognition.calls["DetectFaces"]
    assert 5 * 4 <= calls["ok"] <= 5 * 5 + 2


def test_the_playlist_is_read_by_an_independent_reader_and_plays_every_frame(standin, tmp_path):
    run = run_to_end(standin.environment(), tmp_path)
    playlist = m3u8.load(str(run.output.playlist))
    assert playlist.is_endlist
    assert [Path(s.uri).name for s in playlist.segments] == [path.name for path in run.output.segments]
    assert all(s.program_date_time for s in playlist.segments)
    assert not any(s.discontinuity for s in playlist.segments)
    assert max(s.duration for s in playlist.segments) <= playlist.target_duration
    with av.open(str(run.output.playlist)) as container:
        assert [number_in(luma_of(f)) for f in container.decode(video=0)] == list(range(FRAMES))


def test_a_run_that_is_killed_again_and_again_loses_nothing_and_repeats_nothing(tmp_path):
    with StandIn(seen, latency_s=0.05) as server:
        server.add_stream("cam", camera(filmed(count=300)), archive=True)
        kills = 0
        for wanted in (1, 2, 3, 4):
            with LiveRun(server.environment(), tmp_path, "--from", "earliest", name=f"killed{wanted}") as run:
                run.wait_for_segments(wanted)
                run.kill()
                kills += 1
        run = run_to_end(server.environment(), tmp_path)
    assert kills == 4
    assert numbers(run.output.pictures()) == list(range(300))
    assert run.summary["gaps"] == []


def test_sigterm_in_the_middle_of_a_fragment_drains_and_the_next_run_goes_on_with_the_next_frame(tmp_path):
    with StandIn(seen, latency_s=0.05) as server:
        server.add_stream("cam", camera(filmed(count=250, gop=125), per_fragment=125))
        with LiveRun(server.environment(), tmp_path, "--from", "earliest", name="first") as run:
            run.wait_for_segments(1)
            assert run.terminate() == 0, run.said
        first = numbers(run.output.pictures())
        assert run.output.playlist.read_text().rstrip().endswith("#EXT-X-ENDLIST")
        assert first == list(range(len(first)))
        assert len(first) % 125, "the drain cut a fragment"
        run = run_to_end(server.environment(), tmp_path)
    assert numbers(run.output.pictures()) == list(range(250))


@pytest.mark.parametrize(
    "fault",
    ["cut:after_blocks=40,times=3", "drop:after_blocks=12,times=2", "reset:after_blocks=60", "stall:seconds=4"],
    ids=["clean-end", "drop", "reset", "stall"],
)
def test_sessions_that_end_inside_a_fragment_lose_nothing_and_repeat_nothing(tmp_path, fault):
    with StandIn(seen, latency_s=0.05, faults=[Fault.from_text(fault)]) as server:
        server.add_stream("cam", camera(), archive=True)
        run = run_to_end(server.environment(), tmp_path, "--until-idle", "6", "--set", "ingest.idle_timeout_s=2")
    assert numbers(run.output.pictures()) == list(range(FRAMES))
    assert run.summary["gaps"] == []
    assert run.summary["sessions"] > 1


def test_a_fragment_that_is_always_cut_is_published_as_far_as_it_came_with_a_gap_record(tmp_path):
    with StandIn(seen, faults=[Fault("cut", after_blocks=35, times=0)]) as server:
        server.add_stream("cam", camera(per_fragment=125), archive=True)
        run = run_to_end(server.environment(), tmp_path, "--until-idle", "4")
    assert numbers(run.output.pictures()) == list(range(35))
    (gap,) = run.summary["gaps"]
    assert gap["reason"] == "truncated"


def test_sessions_of_a_few_fragments_each_make_one_seamless_output(tmp_path):
    with StandIn(seen, limits=Limits(session_s=0.5, idle_s=0.3)) as server:
        server.add_stream("cam", camera(), archive=True)
        run = run_to_end(server.environment(), tmp_path)
    assert numbers(run.output.pictures()) == list(range(FRAMES))
    assert run.summary["sessions"] >= 3
    assert "EXT-X-DISCONTINUITY\n" not in run.output.playlist.read_text()


@pytest.mark.parametrize("codec", ["h264", "hevc"])
@pytest.mark.parametrize("bframes", [0, 2])
def test_both_codecs_come_out_whole_with_and_without_b_frames(tmp_path, codec, bframes):
    with StandIn(seen) as server:
        server.add_stream("cam", camera(filmed(codec, 75, bframes=bframes)), archive=True)
        run = run_to_end(server.environment(), tmp_path)
    assert numbers(run.output.pictures()) == list(range(75))
    assert all(p.face_detail < 4 for p in run.output.pictures())


class TestDetectorsThatFail:
    """A frame without a good answer on each side is covered whole; none is lost."""

    @pytest.mark.parametrize(
        ("fault", "counted"),
        [
            ("error500:times=0", "failed"),
            ("throttle:times=0", "throttled"),
            ("nonsense:times=0,shape=json", "failed"),
            ("nonsense:times=0,shape=nan", "failed"),
            ("nonsense:times=0,shape=huge", "failed"),
            ("nonsense:times=0,shape=missing", "failed"),
            ("hang:times=0,seconds=30", "late"),
            ("status:times=0,status=403,code=AccessDeniedException", "failed"),
        ],
    )
    def test_every_frame_is_covered_whole(self, tmp_path, fault, counted):
        with StandIn(seen, faults=[Fault.from_text(fault)]) as server:
            server.add_stream("cam", camera(filmed(count=50)))
            run = run_to_end(server.environment(), tmp_path, "--set", "detect.deadline_ms=300")
        pictures = run.output.pictures()
        assert len(pictures) == 50
        assert all(p.covered_whole for p in pictures)
        assert {p.record["decision"] for p in pictures} == {"whole"}
        assert run.summary["frames"]["whole"] == 50
        calls = run.summary["detector"]["DetectFaces"]
        assert calls["ok"] == 0
        assert calls[counted] > 0

    def test_an_endpoint_that_nobody_answers_at_covers_every_frame_whole(self, standin, tmp_path):
        environment = {**standin.environment(), "AWS_ENDPOINT_URL_REKOGNITION": "http://127.0.0.1:9"}
        run = run_to_end(environment, tmp_path)
        assert all(p.covered_whole for p in run.output.pictures())
        assert len(run.output.pictures()) == FRAMES
        assert run.said.count("127.0.0.1:9") == 1, run.said

    def test_a_detector_that_fails_now_and_then_leaves_no_frame_raw(self, tmp_path):
        faults = [
            Fault("throttle", times=0, probability=0.3),
            Fault("error500", times=0, probability=0.1),
            Fault("nonsense", times=0, probability=0.1, shape="nan"),
        ]
        with StandIn(seen, faults=faults, seed=7) as server:
            server.add_stream("cam", camera(), archive=True)
            run = run_to_end(server.environment(), tmp_path)
        pictures = run.output.pictures()
        places = [(p.record["fragment"], p.record["frame"]) for p in pictures]
        assert places == sorted(set(places), key=lambda place: (int(place[0]), place[1]))
        assert len(places) == FRAMES
        for picture in pictures:
            assert picture.covered_whole or picture.face_detail < 4, picture.record
        decisions = run.summary["frames"]
        assert 0 < decisions["whole"] < FRAMES


class TestTwoRunsAtOnce:
    def test_a_second_run_with_the_same_state_is_refused_in_one_line(self, tmp_path):
        with StandIn(seen) as server:
            server.add_stream("cam", camera(filmed(count=250)))
            with LiveRun(server.environment(), tmp_path, name="first") as first:
                first.wait_for_segments(1)
                with LiveRun(server.environment(), tmp_path, name="second") as second:
                    assert second.wait() == 69, second.said
                assert first.terminate() == 0
        assert str(first.process.pid) in second.said
        assert "Traceback" not in second.said

    def test_two_runs_into_one_output_publish_each_frame_once(self, tmp_path):
        with StandIn(seen, latency_s=0.05) as server:
            server.add_stream("cam", camera(filmed(count=200)), archive=True)
            output = tmp_path / "shared"
            common = ("--from", "earliest", "--until-idle", "3")
            with (
                LiveRun(server.environment(), tmp_path / "a", *common, output=str(output)) as a,
                LiveRun(server.environment(), tmp_path / "b", *common, output=str(output)) as b,
            ):
                assert (a.wait(), b.wait()) == (0, 0), a.said + b.said
        found = {}
        for path in Output(output).segments:
            with av.open(str(path)) as container:
                found[path.name] = [number_in(luma_of(f)) for f in container.decode(video=0)]
        assert [n for name in sorted(found) for n in found[name]] == list(range(200))


def test_the_checkpoint_holds_no_picture_and_no_credentials(standin, tmp_path):
    run = run_to_end(standin.environment(), tmp_path)
    text = "".join(path.read_text() for path in run.state.rglob("*") if path.is_file())
    assert json.loads((run.state / "cam.json").read_text())["stream"] == "cam"
    for secret in standin.environment().values():
        assert secret not in text

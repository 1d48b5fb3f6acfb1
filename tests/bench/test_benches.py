"""The benchmarks in a short form: they run, and what they measure came out right. No figure is judged here."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import bench_calls
import bench_cpu
import bench_lag
import bench_memory
import bench_streams
import bench_walker
import rig

SECONDS = 4

pytestmark = [pytest.mark.bench, pytest.mark.slow]


@pytest.fixture(scope="module")
def clip() -> Path:
    return rig.clip(seconds=SECONDS)


@pytest.mark.parametrize("delivery", sorted(bench_lag.BAR_MS))
def test_lag_is_told_of_every_frame(clip, delivery, capsys):
    outcome = bench_lag.measure(delivery, SECONDS, clip)
    bench_lag.report(delivery, outcome)
    assert outcome.summary["lag"]["count"] == len(outcome.frames) == SECONDS * 30
    assert "producer to durable" in capsys.readouterr().out


def test_every_stream_comes_out_whole(clip, capsys):
    outcomes, standin_cores, other_cores = bench_streams.measure(2, SECONDS, clip)
    bench_streams.report(outcomes, standin_cores, other_cores)
    assert [len(outcome.frames) for outcome in outcomes] == [SECONDS * 30] * 2
    assert "camera1" in capsys.readouterr().out


def test_resident_size_is_sampled_while_frames_come_out(clip, capsys):
    outcome = bench_memory.measure(SECONDS, clip)
    bench_memory.report(outcome)
    assert len(outcome.rss_mb) > SECONDS
    assert "peak" in capsys.readouterr().out


@pytest.mark.parametrize("fps", [10, 30])
def test_calls_are_counted(fps):
    outcome, seconds = bench_calls.measure(fps, SECONDS, SECONDS)
    assert (seconds, len(outcome.frames)) == (SECONDS, SECONDS * fps)
    assert bench_calls.calls(outcome) >= outcome.summary["frames"]["seen"] > 0


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg on this machine: apt-get install ffmpeg")
def test_the_transcodes_give_as_many_frames_as_the_pipeline(clip, capsys):
    found = bench_cpu.measure(clip, SECONDS, 1)
    bench_cpu.report(found)
    assert len(found) == 1
    assert "pipeline over it" in capsys.readouterr().out


def test_the_parts_of_the_pipeline_see_every_frame(clip):
    found = bench_cpu.parts(clip, SECONDS)
    assert found["frames"] == found["expected"] == found["calls"]["redact"] == SECONDS * 30


def test_the_walker_finds_what_the_sample_finds(capsys):
    bench_walker.main([], rounds=1)
    assert capsys.readouterr().out.count("ratio") == 2

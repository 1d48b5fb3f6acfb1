"""Voices are personal data: sound is left out, unless it is asked for."""

from __future__ import annotations

from itertools import pairwise

import av
from e2e.live_run import run_to_end, seen
from standin.standin_media import video

from streamproc.standin import StandIn


def sounds(output) -> list[tuple[float, float]]:
    """(first, last) time of the sound in each segment, in seconds."""
    found = []
    for path in output.segments:
        with av.open(str(path)) as container:
            if container.streams.audio:
                times = [frame.time for frame in container.decode(audio=0)]
                found.append((times[0], times[-1]))
    return found


def stream_with_sound(server: StandIn, folder) -> None:
    file = folder / "with-sound.mkv"
    file.write_bytes(video(frames=150, gop=30, audio=True))
    server.add_stream("cam", file, archive=True, audio=True)


def test_sound_is_dropped_by_default(tmp_path):
    with StandIn(seen) as server:
        stream_with_sound(server, tmp_path)
        run = run_to_end(server.environment(), tmp_path)
    assert run.summary["frames"]["out"] == 150
    assert sounds(run.output) == []


def test_sound_that_is_kept_goes_on_from_segment_to_segment(tmp_path):
    with StandIn(seen) as server:
        stream_with_sound(server, tmp_path)
        run = run_to_end(server.environment(), tmp_path, "--set", "audio=keep")
    assert run.summary["frames"]["out"] == 150
    spans = sounds(run.output)
    assert len(spans) == len(run.output.segments) > 1
    piece_s = 1024 / 16000
    for (_, last), (first, _) in pairwise(spans):
        assert abs(first - last - piece_s) < 0.01

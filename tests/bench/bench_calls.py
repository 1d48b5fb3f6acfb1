"""Detector calls per second of video at several frame rates. The bar is 5, whatever the rate.

python tests/bench/bench_calls.py [--seconds 24] [--fps 10 30 60]
"""

from __future__ import annotations

import argparse

from rig import CLIP_S, Outcome, clip, load, media, rig, seconds_in, table

BAR = 5.0


def measure(fps: int, seconds: float, clip_s: int = CLIP_S) -> tuple[Outcome, float]:
    """The outcome, and the seconds of video."""
    with rig(latency_s=0.05) as bench:
        fragments = media(clip(fps, clip_s), seconds)
        bench.archive("camera", fragments)
        return bench.run(["camera"], idle_s=2)[0], seconds_in(fragments)


def calls(outcome: Outcome) -> int:
    return sum(n for api in outcome.summary["detector"].values() for kind, n in api.items() if kind in ("ok", "failed"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=24)
    parser.add_argument("--fps", type=int, nargs="+", default=[10, 30, 60])
    asked = parser.parse_args()
    print(load())
    rows = []
    for fps in asked.fps:
        outcome, seconds = measure(fps, asked.seconds)
        frames, rate = outcome.summary["frames"], calls(outcome) / seconds
        rows.append([f"{fps} fps", frames["out"], calls(outcome), f"{rate:.2f}", f"{rate / BAR:.2f}", frames["whole"]])
    table(["video", "frames", "calls", "calls/s", "of the bar", "whole"], rows)


if __name__ == "__main__":
    main()

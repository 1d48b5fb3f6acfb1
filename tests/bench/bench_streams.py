"""How many 720p30 streams two cores carry, redacted on every frame, with steady lag: one process each.

    python tests/bench/bench_streams.py [--streams 5] [--seconds 60] [--delivery forward] [FILE]

The stand-in takes its share of the same cores; its CPU is printed too. The bar is 5 streams.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from rig import GOP_S, Outcome, clip, load, media, rig, table


def measure(
    streams: int, seconds: float, path: Path | None = None, delivery: str = "forward"
) -> tuple[list[Outcome], float, float]:
    """The outcomes, and the cores that the stand-in took, and everything else on the machine."""
    with rig() as bench:
        names = [f"camera{i}" for i in range(streams)]
        for name in names:
            bench.camera(name, media(path or clip(), seconds), delivery)
        began, cpu, busy = time.monotonic(), time.process_time(), busy_s()
        outcomes = bench.run(names)
        wall, standin, all_of_it = time.monotonic() - began, time.process_time() - cpu, busy_s() - busy
        return outcomes, standin / wall, (all_of_it - standin - sum(o.cpu_s for o in outcomes)) / wall


def busy_s() -> float:
    """CPU of the whole machine since it started, all cores; 0 where the system does not tell."""
    try:
        fields = [int(n) for n in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    except (OSError, ValueError):
        return 0.0
    return (sum(fields[:8]) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")  # without idle and waiting


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--streams", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--delivery", choices=("whole", "forward"), default="forward")
    parser.add_argument("--cores", type=int, default=2, help="keep everything on so many cores")
    asked = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: asked.cores])
    print(f"{asked.streams} streams on {len(os.sched_getaffinity(0))} cores, {asked.delivery}; {load()}")
    report(*measure(asked.streams, asked.seconds, asked.file, asked.delivery))


def report(outcomes: list[Outcome], standin_cores: float, other_cores: float) -> None:
    rows: list[list[object]] = []
    for i, outcome in enumerate(outcomes):
        summary, (first, last) = outcome.summary, outcome.growth()
        frames, lag = summary["frames"], summary["lag"]
        seconds = (outcome.frames[-1][0] - outcome.frames[0][0]) / 1e6
        rows.append([
            f"camera{i}", frames["out"], frames["whole"], lag["p50_ms"], lag["p99_ms"], lag["max_ms"],
            f"{first:.0f}", f"{last:.0f}", f"{last / first:.2f}", f"{outcome.cpu_s / seconds:.2f}",
        ])  # fmt: skip
    head = ["stream", "frames", "whole", "p50 ms", "p99 ms", "max ms", "p99 first", "p99 last", "growth", "cores"]
    table(head, rows)
    worst = max(outcome.growth()[1] for outcome in outcomes)
    print(
        f"stand-in {standin_cores:.2f} cores, everything else {other_cores:.2f}; worst p99 at the end {worst:.0f} ms, "
        f"{worst / (GOP_S * 1000):.2f} of a segment's length\n"
    )


if __name__ == "__main__":
    main()

"""Resident size of one process with one 720p30 stream. The bar is 200 MB, and flat.

python tests/bench/bench_memory.py [--seconds 60] [--delivery forward] [FILE]
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from rig import IDLE_S, READY_S, Outcome, clip, load, media, rig, table

BAR_MB = 200
WARM_S = 10
"""Until buffers and heaps have their size."""


def measure(seconds: float, path: Path | None = None, delivery: str = "forward") -> Outcome:
    with rig() as bench:
        bench.camera("camera", media(path or clip(), seconds), delivery)
        return bench.run(["camera"])[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--delivery", choices=("whole", "forward"), default="forward")
    asked = parser.parse_args()
    print(f"{asked.seconds:.0f} s, {asked.delivery}; {load()}")
    report(measure(asked.seconds, asked.file, asked.delivery))


def report(outcome: Outcome) -> None:
    working = outcome.rss_mb[: -int(IDLE_S) or None]
    settled = working[min(len(working) // 2, int(WARM_S + READY_S)) :]
    part = min(60, max(1, len(settled) // 2))
    first, last = statistics.mean(settled[:part]), statistics.mean(settled[-part:])
    peak = max(outcome.rss_mb)
    table(
        ["resident size", "MB", "of the bar"],
        [
            [f"first {part} s after warming up", f"{first:.1f}", f"{first / BAR_MB:.2f}"],
            [f"last {part} s", f"{last:.1f}", f"{last / BAR_MB:.2f}"],
            ["peak", f"{peak:.1f}", f"{peak / BAR_MB:.2f}"],
        ],
    )
    print(f"growth {last - first:+.1f} MB, ratio {last / first:.3f}; frames {outcome.summary['frames']['out']}\n")


if __name__ == "__main__":
    main()

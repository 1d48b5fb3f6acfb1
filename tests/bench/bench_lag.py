"""Lag of a live stream, per frame, from the camera's clock to durable: 720p30, 2 s fragments and segments.

    python tests/bench/bench_lag.py [--seconds 60] [--delivery whole|forward] [FILE]

The detector takes 150 ms and sees two faces in every picture. The bar is the segment's length and 0.5 s where blocks
are forwarded as they arrive, and 1.0 s where a fragment is delivered whole at its end.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rig import GOP_S, Outcome, clip, load, media, rig, table

BAR_MS = {"whole": (GOP_S + 1.0) * 1000, "forward": (GOP_S + 0.5) * 1000}


def measure(delivery: str, seconds: float, path: Path | None = None) -> Outcome:
    with rig() as bench:
        bench.camera("camera", media(path or clip(), seconds), delivery)
        return bench.run(["camera"])[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--delivery", choices=sorted(BAR_MS))
    asked = parser.parse_args()
    for delivery in [asked.delivery] if asked.delivery else sorted(BAR_MS):
        print(f"fragments delivered: {delivery}; {load()}")
        report(delivery, measure(delivery, asked.seconds, asked.file))


def report(delivery: str, outcome: Outcome) -> None:
    lag = outcome.summary["lag"]
    columns = ("p50_ms", "p95_ms", "p99_ms", "max_ms")
    rows: list[list[object]] = [["producer to durable", *(lag[c] for c in columns)]]
    rows += [[f"  {stage}", *(figures[c] for c in columns)] for stage, figures in lag["stages"].items()]
    table(["ms", "p50", "p95", "p99", "max"], rows)
    first, last = outcome.growth()
    bar = BAR_MS[delivery]
    print(f"p99 {lag['p99_ms']} ms, bar {bar:.0f} ms, ratio {lag['p99_ms'] / bar:.2f}")
    print(f"growth: p99 of the first part {first:.0f} ms, of the last {last:.0f} ms, ratio {last / first:.2f}")
    print(f"frames {outcome.summary['frames']}, detector {outcome.summary['detector']}\n")


if __name__ == "__main__":
    main()

"""``streamproc evaluate``: how well faces are covered, measured on recordings."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streamproc.commands.options import check_writable, load, settings_options, unwritable
from streamproc.errors import ConfigurationError

if TYPE_CHECKING:
    from streamproc.batch.evaluation import Score
    from streamproc.batch.recording import Decided, Eyes
    from streamproc.batch.reference import Reference
    from streamproc.batch.replay import Circumstances
    from streamproc.decode.file import VideoFile
    from streamproc.model.frame import Cover, Frame
    from streamproc.settings import Settings

_TELL_EVERY_S = 0.2
_LONGEST_NAME = 28


@click.command()
@click.argument("videos", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="VIDEO...")
@click.option(
    "--reference",
    type=click.Path(path_type=Path),
    metavar="JSON|DIR",
    help="Where the faces are: a file, or a folder with NAME.json for each video NAME. By default it is made with the "
    "local detector (detect.model), which looks at every frame.",
)
@click.option("--budget", type=float, metavar="CALLS_PER_S", help="The same as --set detect.calls_per_second=...")
@click.option(
    "--latency",
    "latency_ms",
    type=click.FloatRange(min=0),
    default=150,
    show_default=True,
    metavar="MS",
    help="Time until the detector answers.",
)
@click.option(
    "--miss", type=click.FloatRange(0, 1), default=0, metavar="SHARE", help="Faces that the detector does not see."
)
@click.option("--fail", type=click.FloatRange(0, 1), default=0, metavar="SHARE", help="Looks that fail.")
@click.option("--sweep", is_flag=True, help="Compare several budgets, and draw what each buys.")
@click.option("--rates", default="1,1.5,2,3,5,10", show_default=True, metavar="N,N,...", help="The budgets of --sweep.")
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    default="streamproc-sweep.png",
    show_default=True,
    metavar="PNG",
    help="The drawing of --sweep.",
)
@click.option(
    "--preview",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="MP4",
    help="Write the video (one) with its redacted picture beside it. It shows faces: keep it as safe as the original.",
)
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
@settings_options
def evaluate(
    videos: tuple[Path, ...],
    reference: Path | None,
    budget: float | None,
    latency_ms: float,
    miss: float,
    fail: float,
    sweep: bool,
    rates: str,
    plot: Path,
    preview: Path | None,
    as_json: bool,
    file: Path | None,
    assignments: tuple[str, ...],
) -> None:
    """Measure how well faces are covered in recordings, and what it costs.

    Each VIDEO goes through the rules of 'streamproc run', fragment by fragment as if it were live. A detector answers
    as the reference says; nothing is sent anywhere and nothing is paid. Misses and failures are the same in each run.

    \b
    coverage        share of the face-frames (a face in a frame) of which 90 % or more is covered
    exposed         face-frames that are not; the longest run of them of one face, and the runs of over 100 ms
    over-redaction  share of the picture covered outside of the faces, each enlarged by 10 %
    $/h             per stream-hour, at $0.001 per call

    \b
    Examples:
      streamproc evaluate yard.mp4
      streamproc evaluate *.mkv --reference faces/ --budget 2
      streamproc evaluate *.mkv --reference faces/ --sweep
    """
    if sweep and budget is not None:
        raise click.UsageError("--sweep has budgets of its own: name them by --rates, and leave --budget out")
    if preview is not None and (sweep or len(videos) > 1):
        raise click.UsageError("--preview is for one video and one budget")
    budgets = _rates(rates) if sweep else [budget]
    each = [_settings(file, assignments, one) for one in budgets]
    settings = each[0]
    if reference is not None and len(videos) > 1 and not reference.is_dir():
        raise click.UsageError("--reference is one file and there are several videos: name a folder of references")
    from streamproc.batch.replay import Circumstances

    circumstances = Circumstances(
        latency_us=round(latency_ms * 1000), deadline_us=settings.detect.deadline_ms * 1000, miss=miss, fail=fail
    )
    inputs = [*videos, *([reference] if reference is not None else [])]
    if sweep:
        _check_output("--plot", plot, inputs)
    if preview is not None:
        _check_output("--preview", preview, inputs)
    results = _Evaluation(settings, each, circumstances, reference, preview).run(videos)
    if sweep:
        _show_sweep([rate for rate in budgets if rate is not None], results, plot, as_json)
        return
    scores = {name: scores[0] for name, scores in results.items()}
    if as_json:
        click.echo(json.dumps(_report(scores), indent=2))
    else:
        click.echo("\n".join(_table(scores)))


def _rates(text: str) -> list[float]:
    try:
        found = sorted({float(part) for part in text.split(",")})
    except ValueError:
        found = []
    if not found or not all(map(math.isfinite, found)):
        raise click.BadParameter("should be numbers with commas between them, as 1,2,5", param_hint="--rates")
    return found


def _check_output(option: str, path: Path, inputs: Sequence[Path]) -> None:
    """Raise ``ConfigurationError`` if the file cannot be written, or is one that is read."""
    for given in inputs:
        with contextlib.suppress(OSError):
            if path.samefile(given):
                raise ConfigurationError(f"{option} {path}: is {given} itself; name another file")
    check_writable(option, path)


def _settings(file: Path | None, assignments: tuple[str, ...], budget: float | None) -> Settings:
    if budget is not None:
        assignments = (*assignments, f"detect.calls_per_second={budget:g}")
    return load(file, assignments).settings


@dataclass(frozen=True, slots=True)
class _Evaluation:
    """What is the same for all videos."""

    settings: Settings
    rates: Sequence[Settings]
    circumstances: Circumstances
    reference: Path | None
    preview: Path | None

    def run(self, videos: Sequence[Path]) -> dict[str, list[Score]]:
        """A score for each rate of each video, by the video's name."""
        from streamproc.app import cover_options
        from streamproc.batch.recording import evaluate
        from streamproc.decode.file import VideoFile

        options = [cover_options(each) for each in self.rates]
        # All that can be wrong with them, before the first is worked on for minutes.
        truths = {video: self._truth(video) for video in videos}
        eyes = self._eyes() if None in truths.values() else None
        for video in videos:
            with VideoFile(video, self.settings.limits.max_pixels):
                pass
        results: dict[str, list[Score]] = {}
        for number, video in enumerate(videos, 1):
            progress = _Progress(f"{video.name} ({number} of {len(videos)})" if len(videos) > 1 else video.name)
            truth = truths[video] or eyes
            assert truth is not None
            try:
                with ExitStack() as stack:
                    opened = stack.enter_context(VideoFile(video, self.settings.limits.max_pixels))
                    decided = self._writes_preview(stack, opened) if self.preview is not None else None
                    _, results[_name(video, results)] = evaluate(
                        opened,
                        truth,
                        options,
                        replace(self.circumstances, seed=video.stem),
                        self.settings.detect.min_confidence,
                        progress.show,
                        decided,
                    )
            finally:
                progress.clear()
        return results

    def _writes_preview(self, stack: ExitStack, file: VideoFile) -> Decided:
        """What writes each frame beside its redacted self."""
        from streamproc.app import redaction_for
        from streamproc.encode.preview import Preview

        assert self.preview is not None
        preview = stack.enter_context(Preview(self.preview, file.fps))
        redaction = redaction_for(self.settings)

        def write(frame: Frame, cover: Cover) -> None:
            preview.original(frame.picture)
            redacted = redaction.redact(frame, cover)
            preview.redacted(redacted.picture if redacted is not None else None, frame.id.time_us)

        return write

    def _truth(self, video: Path) -> Reference | None:
        from streamproc.batch.reference import parse_reference

        if self.reference is None:
            return None
        path = self.reference / f"{video.stem}.json" if self.reference.is_dir() else self.reference
        try:
            text = path.read_bytes()
        except OSError as error:
            raise ConfigurationError(
                f"--reference {path}: cannot be read ({error.strerror}); it should be the reference of {video}"
            ) from None
        return parse_reference(text, f"--reference {path}")

    def _eyes(self) -> Eyes:
        """The detector that looks at every frame where there is no reference."""
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before onnxruntime is imported
        from streamproc.batch.recording import Eyes
        from streamproc.detect.local import HOW_TO_GET_IT, CenterFace, find_centerface

        detect = self.settings.detect
        model = detect.model or find_centerface()
        if model is None:
            raise ConfigurationError(
                "without --reference, a local detector looks at every frame, and there is none: "
                f"set detect.model; {HOW_TO_GET_IT}"
            )
        looks = max(1, min(2, os.cpu_count() or 1))
        return Eyes(
            CenterFace(model, detect.min_confidence, threads=looks), detect.long_side_px, detect.jpeg_quality, looks
        )


def _name(video: Path, taken: Mapping[str, Any]) -> str:
    """The file's name, or its path where another of the same name came before it."""
    return str(video) if video.name in taken else video.name


class _Progress:
    """One line on a terminal, and nothing anywhere else."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._shown = sys.stderr.isatty()
        self._told_s = 0.0

    def show(self, done: int, expected: int) -> None:
        now_s = time.monotonic()
        if not self._shown or now_s - self._told_s < _TELL_EVERY_S:
            return
        self._told_s = now_s
        share = f", {min(99, 100 * done // expected)} %" if expected else ""
        print(f"\r\033[K{self._name}: {done} frames{share}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self._shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def _report(scores: Mapping[str, Score]) -> dict[str, Any]:
    """Ready for JSON."""
    return {
        "files": [{"file": name, **_figures(score)} for name, score in scores.items()],
        "pooled": _figures(_pooled(scores)),
    }


def _show_sweep(rates: Sequence[float], results: Mapping[str, list[Score]], plot: Path, as_json: bool) -> None:
    """A line per budget, of all videos together, and the curve."""
    from streamproc.batch.chart import curve

    swept = [{name: scores[i] for name, scores in results.items()} for i in range(len(rates))]
    sums = [_pooled(scores) for scores in swept]
    names = next(iter(results)) if len(results) == 1 else f"{len(results)} recordings"
    try:
        plot.write_bytes(curve(sums, f"{names}, {sums[0].seconds:.1f} s, {sums[0].face_frames} face-frames"))
    except OSError as error:
        raise ConfigurationError(unwritable("--plot", plot, error)) from None
    if as_json:
        report = [{"budget": rate, **_report(scores)} for rate, scores in zip(rates, swept, strict=True)]
        click.echo(json.dumps({"sweep": report, "plot": str(plot)}, indent=2))
        return
    click.echo("\n".join(_lines({f"budget {rate:g}": total for rate, total in zip(rates, sums, strict=True)})))
    click.echo(f"The curve: {plot}")


def _pooled(scores: Mapping[str, Score]) -> Score:
    from streamproc.batch.evaluation import pooled

    return pooled(list(scores.values()))


def _figures(score: Score) -> dict[str, float]:
    return {
        "frames": score.frames,
        "seconds": round(score.seconds, 3),
        "face_frames": score.face_frames,
        "coverage": round(score.coverage, 6),
        "exposed_face_frames": score.exposed,
        "exposures": score.exposures,
        "exposures_over_100_ms": score.long_exposures,
        "longest_exposure_ms": round(score.longest_ms, 1),
        "over_redaction": round(score.over_redaction, 6),
        "covered_area": round(score.covered_area, 6),
        "frames_covered_whole": score.whole,
        "calls": score.calls,
        "calls_per_second": round(score.calls_per_second, 4),
        "dollars_per_stream_hour": round(score.dollars_per_hour, 4),
    }


_COLUMNS = (
    "face-frames", "coverage", "exposed", ">100 ms", "longest", "over-redaction", "whole", "calls", "calls/s", "$/h",
)  # fmt: skip


def _cells(score: Score) -> tuple[str, ...]:
    return (
        str(score.face_frames),
        # Rounded down: only what is covered without exception is 100 %.
        f"{math.floor(10_000 * score.coverage + 1e-6) / 100:.2f} %" if score.face_frames else "-",
        str(score.exposed),
        str(score.long_exposures),
        f"{score.longest_ms:.0f} ms",
        f"{100 * score.over_redaction:.2f} %",
        str(score.whole),
        str(score.calls),
        f"{score.calls_per_second:.2f}",
        f"{score.dollars_per_hour:.2f}",
    )


def _table(scores: Mapping[str, Score]) -> list[str]:
    """A line per video, and one for all of them."""
    total = {"all": _pooled(scores)} if len(scores) > 1 else {}
    return _lines({**{_short(name): score for name, score in scores.items()}, **total})


def _lines(scores: Mapping[str, Score]) -> list[str]:
    rows = [("", *_COLUMNS), *((name, *_cells(score)) for name, score in scores.items())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"…{name[1 - _LONGEST_NAME :]}"

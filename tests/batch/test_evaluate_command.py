"""The command over small files: figures, faults, and what comes out."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from streamproc.batch.recording import Eyes, evaluate
from streamproc.batch.replay import Circumstances
from streamproc.cli import main
from streamproc.decode.file import VideoFile
from streamproc.errors import ConfigurationError
from streamproc.model.detection import Answer, Detection, Failed, Failure, Seen
from streamproc.model.frame import Cover, Frame
from streamproc.model.geometry import Box
from streamproc.pipeline.work import CoverOptions
from streamproc.redact.redaction import readable_planes

RECORDINGS = Path(__file__).parents[3] / "shared" / "data"
MS = Fraction(1, 1000)
WIDTH, HEIGHT, COUNT, FPS = 160, 120, 75, 25
OPTIONS = CoverOptions(calls_per_second=5, lookahead_us=1_000_000, margin=0.1, extend_us=400_000)


def face_at(index: int) -> list[int]:
    """A bright square that moves slowly to the right, in pixels."""
    return [20 + index // 2, 40, 50 + index // 2, 76]


def picture(index: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    shown = np.repeat(((x * 3 + y * 5) % 64 + 40).astype(np.uint8)[..., None], 3, axis=2)
    x0, y0, x1, y1 = face_at(index)
    shown[y0:y1, x0:x1] = 220
    return shown


def video(
    path: Path,
    count: int = COUNT,
    draw: Callable[[int], np.ndarray] = picture,
    pix_fmt: str = "yuv420p",
    time_ms: Callable[[int], int] = lambda index: index * 40,
) -> Path:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "crf": "20", "g": "25"})
        stream.height, stream.width = draw(0).shape[:2]
        stream.pix_fmt, stream.codec_context.time_base = pix_fmt, MS
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(draw(index), format="rgb24")
            frame.pts, frame.time_base = time_ms(index), MS
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def reference(path: Path, count: int = COUNT, **change: Any) -> Path:
    frames = [[{"t": 0, "b": face_at(index), "s": 0.9, "k": "det"}] for index in range(count)]
    path.write_text(json.dumps({"w": WIDTH, "h": HEIGHT, "fps": FPS, "n": count, "frames": frames, **change}))
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    video(folder / "a.mp4")
    reference(folder / "a.json")
    video(folder / "b.mkv", 30)
    reference(folder / "b.json", 30)
    return folder


def ran(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main(["evaluate", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def test_slow_face_is_covered_and_the_table_says_so(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = ran(capsys, made / "a.mp4", made / "b.mkv", "--reference", made)
    assert (code, err) == (0, "")
    head, a, b, total = out.splitlines()
    assert head.split("  ")[-1].strip() == "$/h"
    assert a.split()[:5] == ["a.mp4", "75", "100.00", "%", "0"]
    assert b.split()[:5] == ["b.mkv", "30", "100.00", "%", "0"]
    assert total.split()[:5] == ["all", "105", "100.00", "%", "0"]
    assert len({len(line) for line in (head, a, b, total)}) == 1, "columns stand under each other"


def test_json_has_all_figures_and_the_budget_is_kept(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = {}
    for budget in (1, 5):
        code, out, _ = ran(capsys, made / "a.mp4", made / "b.mkv", "--reference", made, "--budget", budget, "--json")
        assert code == 0
        report = json.loads(out)
        assert [each["file"] for each in report["files"]] == ["a.mp4", "b.mkv"]
        pooled = found[budget] = report["pooled"]
        assert pooled["frames"] == pooled["face_frames"] == 105
        assert pooled["seconds"] == pytest.approx(105 / FPS)
        assert pooled["calls"] == sum(each["calls"] for each in report["files"])
        assert pooled["dollars_per_stream_hour"] == pytest.approx(3.6 * pooled["calls_per_second"], abs=1e-3)
    assert found[1]["calls"] < found[5]["calls"]


def test_missing_and_failing_make_it_worse(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def pooled(*arguments: object) -> dict[str, Any]:
        code, out, _ = ran(capsys, made / "a.mp4", "--reference", made / "a.json", "--json", *arguments)
        assert code == 0
        figures = json.loads(out)["pooled"]
        assert isinstance(figures, dict)
        return figures

    best = pooled()
    assert (best["coverage"], best["frames_covered_whole"]) == (1, 0)
    assert pooled("--miss", 1)["coverage"] == 0
    failed = pooled("--fail", 1)
    assert (failed["coverage"], failed["frames_covered_whole"]) == (1, COUNT)
    assert failed["over_redaction"] > 0.5
    assert pooled("--latency", 5000)["frames_covered_whole"] == COUNT
    assert pooled("--miss", 0.5) == pooled("--miss", 0.5)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["none.mp4"], 78, "none.mp4: cannot be read (No such file or directory); name a video file"),
        (["."], 78, ": cannot be read (Is a directory)"),
        (["a.json"], 78, "a.json: is no video file that can be read; name a file with H.264"),
        (["a.mp4", "--reference", "none.json"], 78, "none.json: cannot be read (No such file or directory)"),
        (["a.mp4", "--reference", "a.mp4"], 78, "a.mp4: is not JSON; see"),
        (["a.mp4", "--reference", "b.json"], 78, "a.mp4: has more frames, and its reference 30; give"),
        (["b.mkv", "--reference", "a.json"], 78, "b.mkv: has 30 frames, and its reference 75; give"),
        (["a.mp4", "--reference", "other.json"], 78, "a.mp4: its picture is 160x120, and its reference is for 320x120"),
        (["a.mp4", "b.mkv", "--reference", "a.json"], 2, "name a folder of references"),
        (["a.mp4", "--budget", "0"], 78, "detect.calls_per_second: should be"),
        (["a.mp4", "--set", "limits.max_pixels=16384"], 78, "160x120 is over limits.max_pixels = 16384"),
        (["a.mp4", "--miss", "1.5"], 2, "not in the range"),
        ([], 2, "Missing argument"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_fault_is_one_line_that_names_the_file(
    arguments: list[str],
    code: int,
    said: str,
    made: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(made)
    reference(made / "other.json", w=320)
    found, out, err = ran(capsys, *arguments)
    assert (found, out) == (code, "")
    assert said in err
    if code == 78:
        assert err.count("\n") == 1


def test_faults_of_the_last_file_are_told_before_the_first_is_worked_on(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("streamproc.batch.recording.evaluate", lambda *_: pytest.fail("it was worked on"))
    assert ran(capsys, made / "a.mp4", made / "a.json", "--reference", made)[0] == 78


def test_as_a_process_it_loads_no_client_of_a_service_for_its_help() -> None:
    program = "import sys; from streamproc.cli import main; main(['evaluate', '-h']); print('cv2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "False"


# ---- sweep


def test_sweep_has_a_line_per_budget_and_a_drawing(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plot = made / "curve.png"
    base = (made / "a.mp4", made / "b.mkv", "--reference", made)
    code, out, err = ran(capsys, *base, "--sweep", "--rates", "5, 1,2", "--plot", plot)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line.split()[:3] for line in lines[1:4]] == [["budget", n, "105"] for n in "125"]
    assert lines[4] == f"The curve: {plot}"
    with VideoFile(plot, 10**6) as file:
        (drawn,) = file.frames()
    assert drawn.width > drawn.height > 400

    code, out, _ = ran(capsys, *base, "--sweep", "--rates", "5,1,2", "--plot", plot, "--json")
    swept = json.loads(out)["sweep"]
    assert [each["budget"] for each in swept] == [1, 2, 5]
    for each in swept:
        code, out, _ = ran(capsys, *base, "--budget", each.pop("budget"), "--json")
        assert json.loads(out) == each, "a rate fares alone as it does among others"


def test_video_is_decoded_once_whatever_the_number_of_budgets(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    frames, decoded = VideoFile.frames, []
    monkeypatch.setattr(VideoFile, "frames", lambda self: decoded.append(self.path) or frames(self))
    plot = made / "once.png"
    assert ran(capsys, made / "b.mkv", "--reference", made, "--sweep", "--rates", "1,5,9", "--plot", plot)[0] == 0
    assert decoded == [made / "b.mkv"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--budget", "2"], 2, "leave --budget out"),
        (["--rates", "1,two"], 2, "should be numbers with commas between them"),
        (["--rates", ""], 2, "should be numbers"),
        (["--rates", "nan"], 2, "should be numbers"),
        (["--rates", "0,1"], 78, "detect.calls_per_second: should be"),
        (
            ["--plot", "no/such/place.png"],
            78,
            "--plot no/such/place.png: cannot be written (No such file or directory)",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_fault_of_a_sweep_is_told_before_anything_is_worked_on(
    arguments: list[str],
    code: int,
    said: str,
    made: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(made)
    monkeypatch.setattr("streamproc.batch.recording.evaluate", lambda *_: pytest.fail("it was worked on"))
    found, out, err = ran(capsys, "a.mp4", "--reference", "a.json", "--sweep", *arguments)
    assert (found, out) == (code, "")
    assert said in err


# ---- preview


def shown(path: Path) -> list[tuple[int, np.ndarray]]:
    """Time (ms) and luma of each frame."""
    with VideoFile(path, 10**7) as file:
        return [(f.id.time_us // 1000, readable_planes(f.picture)[0].astype(int)) for f in file.frames()]


@pytest.mark.parametrize("size", [(WIDTH, HEIGHT), (162, 118)])
def test_preview_shows_each_frame_beside_its_redacted_self(
    size: tuple[int, int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    width, height = size
    times = [index * 40 + index % 3 * 5 for index in range(30)]
    source = video(tmp_path / "v.mkv", 30, lambda i: picture(i, width, height), time_ms=times.__getitem__)
    truth = reference(tmp_path / "v.json", 30, w=width, h=height)
    effect = ("--set", "effect.kind=solid", "--set", "effect.shape=rectangle")
    code, _, err = ran(capsys, source, "--reference", truth, "--preview", tmp_path / "p.mp4", *effect)
    assert (code, err) == (0, "")
    originals, both = shown(source), shown(tmp_path / "p.mp4")
    assert [time for time, _ in both] == pytest.approx(times, abs=1)
    for index, ((_, original), (_, pair)) in enumerate(zip(originals, both, strict=True)):
        assert pair.shape == (height, 2 * width)
        left, right = pair[:, :width], pair[:, width:]
        assert np.abs(left - original).mean() < 4, "the original is untouched, and of this very frame"
        x0, y0, x1, y1 = face_at(index)
        assert np.abs(left[y0:y1, x0:x1] - 203).mean() < 6, "white, in the limited range"
        assert np.abs(right[y0:y1, x0:x1] - 126).mean() < 12, "grey"
        assert np.abs(right[:, x1 + 40 :] - original[:, x1 + 40 :]).mean() < 6


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["a.mp4", "b.mkv", "--preview", "p.mp4"], 2, "--preview is for one video and one budget"),
        (["a.mp4", "--sweep", "--preview", "p.mp4"], 2, "--preview is for one video and one budget"),
        (["a.mp4", "--preview", "no/such/p.mp4"], 78, "--preview no/such/p.mp4: cannot be written"),
        (["a.mp4", "--preview", "./a.mp4"], 78, "is a.mp4 itself"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_preview_that_cannot_be_is_told_at_once(
    arguments: list[str],
    code: int,
    said: str,
    made: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(made)
    before = (made / "a.mp4").read_bytes()
    found, out, err = ran(capsys, *arguments, "--reference", made)
    assert (found, out) == (code, "")
    assert said in err
    assert (made / "a.mp4").read_bytes() == before


def test_nothing_is_left_where_no_frame_came(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, preview = video(tmp_path / "v.mkv", 3), tmp_path / "p.mp4"
    truth = reference(tmp_path / "v.json", 3, w=20, h=20, frames=[[]] * 3)
    assert ran(capsys, source, "--reference", truth, "--preview", preview)[0] == 78
    assert not preview.exists()


# ---- without a reference


@dataclass
class Square:
    """A detector that finds what is bright; for the test it fails on demand."""

    api: str = "local"
    failing: bool = False
    looks: int = 0

    def look(self, jpeg: bytes, timeout_s: float) -> Answer:
        import simplejpeg  # type: ignore[import-untyped]

        self.looks += 1
        if self.failing:
            return Failed(Failure.FAILED)
        bright = simplejpeg.decode_jpeg(jpeg, "GRAY")[..., 0] > 170
        ys, xs = np.nonzero(bright)
        height, width = bright.shape
        box = Box(xs.min() / width, ys.min() / height, (xs.max() + 1) / width, (ys.max() + 1) / height)
        return Seen((Detection(box, "face", 0.8),))


def test_reference_is_made_by_a_look_at_every_frame(made: Path) -> None:
    eyes = Square()
    told: list[int] = []
    with VideoFile(made / "a.mp4", 10**6) as file:
        found, (scored, cheap) = evaluate(
            file,
            Eyes(eyes, 960, 80),
            [OPTIONS, CoverOptions(1, 1_300_000, 0.1, 400_000)],
            Circumstances(),
            0.3,
            lambda done, expected: told.append(done),
        )
    assert eyes.looks == COUNT
    assert told == list(range(1, COUNT + 1))
    assert (found.width, found.height, found.fps, len(found.frames)) == (WIDTH, HEIGHT, FPS, COUNT)
    for index, faces in enumerate(found.frames):
        (face,) = faces
        edges = [face.box.left * WIDTH, face.box.top * HEIGHT, face.box.right * WIDTH, face.box.bottom * HEIGHT]
        assert edges == pytest.approx(face_at(index), abs=2)
        assert face.track == 0
    assert (scored.face_frames, scored.exposed, cheap.exposed) == (COUNT, 0, 0)
    assert cheap.calls < scored.calls < COUNT


def test_detector_that_fails_makes_no_reference(made: Path) -> None:
    with VideoFile(made / "a.mp4", 10**6) as file, pytest.raises(ConfigurationError) as raised:
        evaluate(file, Eyes(Square(failing=True), 960, 80), [OPTIONS], Circumstances(), 0.3)
    assert "a.mp4: the detector fails on frame 0 (failed)" in str(raised.value)


def test_without_reference_and_model_it_says_what_to_do(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("streamproc.detect.local.find_centerface", lambda: None)
    code, _, err = ran(capsys, made / "a.mp4")
    assert code == 78
    assert "without --reference" in err
    assert "set detect.model" in err


# ---- files


def test_each_frame_is_told_in_order_with_its_cover(made: Path) -> None:
    told: list[tuple[int, Cover]] = []

    def decided(frame: Frame, cover: Cover) -> None:
        told.append((frame.id.index, cover))

    with VideoFile(made / "a.mp4", 10**6) as file:
        assert file.fps == FPS
        assert file.expected == COUNT
        evaluate(file, Eyes(Square(), 960, 80), [OPTIONS], Circumstances(), 0.3, decided=decided)
    assert [index for index, _ in told] == list(range(COUNT))


def test_times_are_those_of_the_file_and_begin_at_nought(tmp_path: Path) -> None:
    times = [500, 540, 700, 733, 1800]
    path = video(tmp_path / "uneven.mkv", 5, time_ms=lambda index: times[index])
    with VideoFile(path, 10**6) as file:
        assert [frame.id.time_us for frame in file.frames()] == [(t - 500) * 1000 for t in times]


def test_pictures_of_other_formats_come_as_planes(tmp_path: Path) -> None:
    path = video(tmp_path / "full.mkv", 3, pix_fmt="yuv444p")
    with VideoFile(path, 10**6) as file:
        assert [frame.picture.format.name for frame in file.frames()] == ["yuv420p"] * 3


def test_what_a_cut_off_file_holds_is_read(tmp_path: Path) -> None:
    whole = video(tmp_path / "whole.mkv").read_bytes()
    part = tmp_path / "part.mkv"
    part.write_bytes(whole[: len(whole) * 2 // 3])
    with VideoFile(part, 10**6) as file:
        assert 10 < len(list(file.frames())) < COUNT
    part.write_bytes(whole[:200])
    with pytest.raises(ConfigurationError, match=r"part\.mkv"), VideoFile(part, 10**6) as file:
        list(file.frames())


def test_name_that_looks_like_an_address_is_only_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = ran(capsys, "http://127.0.0.1:9/x.mp4")
    assert code == 78
    assert "No such file" in err


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the recordings in ../shared/data are not here")
def test_recording_with_its_reference(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = ran(
        capsys, RECORDINGS / "gestures" / "bird.mkv", "--reference", RECORDINGS / "reference", "--budget", 5, "--json"
    )
    assert code == 0
    figures = json.loads(out)["pooled"]
    assert (figures["frames"], figures["face_frames"]) == (63, 126)
    assert figures["coverage"] > 0.99
    assert 3 < figures["calls_per_second"] < 8

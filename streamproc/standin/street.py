"""Draws the street behind the people of the demo's picture: nothing in it is anybody's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Image = NDArray[np.uint8]

WIDTH, HEIGHT = 1600, 900
WALL_TOP = 650
"""Where the low wall begins that people stand behind."""


def street() -> Image:
    """Houses, windows, shop fronts and pavement, out of focus; shape (HEIGHT, WIDTH, 3), BGR."""
    random = np.random.default_rng(7)
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    sky = np.linspace((235, 205, 170), (240, 232, 222), 320)
    image[:320] = sky[:, None, :].astype(np.uint8)
    left = -30
    while left < WIDTH:
        width = int(random.integers(150, 290))
        _house(image, random, left, width, int(random.integers(30, 190)))
        left += width
    pavement = np.linspace((120, 124, 128), (168, 170, 172), HEIGHT - 520)
    image[520:] = pavement[:, None, :].astype(np.uint8)
    for x in range(60, WIDTH, 330):
        _tree(image, random, x + int(random.integers(-40, 40)))
    grain = cv2.resize(random.integers(0, 40, (90, 160, 1), np.uint8).repeat(3, axis=2), (WIDTH, HEIGHT))
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    image = _u8(cv2.addWeighted(image, 0.5, grey, 0.5, 0))
    return _u8(cv2.GaussianBlur(cv2.subtract(cv2.add(image, grain), np.full_like(grain, 20)), (0, 0), 2.4))


def wall() -> Image:
    """A low stone wall with hedges on it; shape (HEIGHT - WALL_TOP, WIDTH, 3), BGR."""
    random = np.random.default_rng(11)
    height = HEIGHT - WALL_TOP
    image = np.full((height, WIDTH, 3), (138, 150, 160), np.uint8)
    for row, y in enumerate(range(18, height, 48)):
        for x in range(-60 * (row % 2), WIDTH, 120):
            shade = int(random.integers(-16, 16))
            colour = (132 + shade, 146 + shade, 158 + shade)
            cv2.rectangle(image, (x + 2, y + 2), (x + 117, y + 45), colour, -1)
    cv2.rectangle(image, (0, 0), (WIDTH, 17), (186, 194, 200), -1)
    cv2.line(image, (0, 18), (WIDTH, 18), (84, 92, 98), 2)
    grain = random.normal(0, 9, (height, WIDTH, 1)).astype(np.float32)
    return _u8(np.clip(cv2.GaussianBlur(image, (0, 0), 1.0) + cv2.GaussianBlur(grain, (0, 0), 1.0)[..., None], 0, 255))


def _house(image: Image, random: np.random.Generator, left: int, width: int, top: int) -> None:
    wall_colour = random.integers((90, 110, 125), (185, 190, 205)).tolist()
    cv2.rectangle(image, (left, top), (left + width, 530), wall_colour, -1)
    cv2.rectangle(image, (left, top), (left + width, top + 14), [c * 0.7 for c in wall_colour], -1)
    columns = max(2, width // 62)
    for row in range(top + 38, 370, 82):
        for column in range(columns):
            x = left + int((column + 0.5) * width / columns) - 17
            glass = random.integers((70, 60, 50), (150, 135, 115)).tolist()
            cv2.rectangle(image, (x - 4, row - 4), (x + 38, row + 56), (215, 220, 222), -1)
            cv2.rectangle(image, (x, row), (x + 34, row + 52), glass, -1)
            cv2.line(image, (x + 17, row), (x + 17, row + 52), (205, 210, 212), 3)
    awning = random.integers((40, 40, 60), (150, 130, 190)).tolist()
    cv2.rectangle(image, (left + 12, 418), (left + width - 12, 528), (58, 52, 48), -1)
    cv2.rectangle(image, (left + 26, 446), (left + width // 2 - 8, 520), (120, 160, 190), -1)
    cv2.rectangle(image, (left + width // 2 + 8, 446), (left + width - 26, 520), (105, 140, 165), -1)
    cv2.rectangle(image, (left + 6, 404), (left + width - 6, 436), awning, -1)


def _tree(image: Image, random: np.random.Generator, x: int) -> None:
    cv2.rectangle(image, (x - 7, 330), (x + 7, 560), (52, 66, 84), -1)
    for _ in range(160):
        angle, reach = random.uniform(0, 2 * np.pi), 82 * random.uniform() ** 0.6
        dx, dy = reach * np.cos(angle), reach * np.sin(angle) * 1.15
        green = (int(random.integers(40, 80)), int(random.integers(85, 150)), int(random.integers(60, 105)))
        cv2.circle(image, (int(x + dx), int(270 + dy)), int(random.integers(8, 22)), green, -1)


def _u8(values: object) -> Image:
    return np.asarray(values).astype(np.uint8)

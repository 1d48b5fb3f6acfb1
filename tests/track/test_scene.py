"""Laws of finding cuts, on drawn pictures and on recordings where they are at hand."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from media_made import luma_of
from numpy.typing import NDArray

from streamproc.track.scene import is_cut, is_unchanged, thumbnail

RECORDINGS = Path(__file__).parents[3] / "shared" / "data"
HEIGHT, WIDTH = 360, 640


def landscape(seed: int, height: int = 3 * HEIGHT, width: int = 3 * WIDTH + 24) -> NDArray[np.uint8]:
    """A large picture with structure of all sizes, to look at parts of."""
    random = np.random.default_rng(seed)
    whole = np.zeros((height, width))
    for cells in (9, 27, 54):
        coarse = random.normal(0, 40, (cells, cells))
        whole += np.kron(coarse, np.ones((height // cells, width // cells)))
    return np.clip(whole + 128, 0, 255).astype(np.uint8)


def view(picture: NDArray[np.uint8], x: int, y: int) -> NDArray[np.uint8]:
    return thumbnail(np.ascontiguousarray(picture[y : y + HEIGHT, x : x + WIDTH]))


seeds = st.integers(0, 10**6)


@given(seeds, st.integers(0, 10))
def test_same_picture_with_some_noise_is_no_cut(seed: int, noise: int) -> None:
    picture = landscape(seed)
    dirty = picture + np.random.default_rng(seed).normal(0, noise, picture.shape)
    assert not is_cut(view(picture, 0, 0), view(np.clip(dirty, 0, 255).astype(np.uint8), 0, 0))


@given(seeds, st.integers(-160, 160), st.integers(-90, 90))
def test_camera_that_is_moved_by_a_quarter_of_the_picture_is_no_cut(seed: int, dx: int, dy: int) -> None:
    picture = landscape(seed)
    assert not is_cut(view(picture, WIDTH, HEIGHT), view(picture, WIDTH + dx, HEIGHT + dy))


@given(seeds)
def test_another_scene_is_a_cut(seed: int) -> None:
    assert is_cut(view(landscape(seed), 0, 0), view(landscape(seed + 1), 0, 0))


def test_cut_to_black_and_back_is_a_cut() -> None:
    picture, black = view(landscape(1), 0, 0), thumbnail(np.zeros((HEIGHT, WIDTH), np.uint8))
    assert is_cut(picture, black)
    assert is_cut(black, picture)
    assert not is_cut(black, black)


def test_thumbnails_are_small_copies_of_any_shape() -> None:
    for shape in ((720, 1280), (1280, 720), (90, 160), (2, 2), (17, 4000)):
        luma = np.full(shape, 77, np.uint8)
        made = thumbnail(luma)
        luma[:] = 0
        assert made.shape[1] == 160
        assert (made == 77).all()
        assert not is_cut(made, made)
    assert is_cut(thumbnail(np.zeros((720, 1280), np.uint8)), thumbnail(np.zeros((1280, 720), np.uint8)))


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the recordings in ../shared/data are not here")
@pytest.mark.parametrize("name", ["bezos_vogels.mkv", "gestures/again.mkv", "highway-dashcam.mp4", "car-detection.mp4"])
def test_cuts_of_recordings_are_found_and_no_others(name: str) -> None:
    with av.open(str(RECORDINGS / name)) as container:
        small = [thumbnail(luma_of(frame)) for frame in container.decode(video=0)]
    found = [i for i, (a, b) in enumerate(pairwise(small), 1) if is_cut(a, b)]
    reference = RECORDINGS / "reference" / f"{Path(name).stem}.json"
    assert found == (json.loads(reference.read_text())["cuts"] if reference.exists() else [])


def test_change_of_light_is_no_change_and_a_face_that_comes_in_is() -> None:
    picture = np.clip(landscape(3)[:HEIGHT, :WIDTH], 20, 200).astype(np.uint8)
    brighter = (picture + 15).astype(np.uint8)
    entered = picture.copy()
    entered[100:160, 300:345] = 255 - entered[100:160, 300:345]
    assert is_unchanged(thumbnail(picture), thumbnail(picture))
    assert is_unchanged(thumbnail(picture), thumbnail(brighter))
    assert not is_unchanged(thumbnail(picture), thumbnail(entered))
    assert not is_unchanged(thumbnail(picture), thumbnail(picture.T.copy()))

"""The demo's camera picture."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

from streamproc.standin import read_media, scene


def test_the_same_number_is_always_the_same_picture() -> None:
    again = scene.frame(40)
    assert again.shape == (720, 1280, 3)
    assert np.array_equal(scene.frame(40), again)
    assert not np.array_equal(scene.frame(41), again)


def test_the_end_joins_the_beginning() -> None:
    count = scene.SECONDS * scene.RATE
    assert scene.faces(count) == scene.faces(0)
    steps = [
        np.abs(scene.frame(i + 1).astype(int) - scene.frame(i)).mean() for i in (count // 4, count // 2, count - 1)
    ]
    assert steps[-1] < 2 * max(steps[:-1])


def test_people_of_all_sizes_come_and_go() -> None:
    every = [scene.faces(index) for index in range(0, scene.SECONDS * scene.RATE, 10)]
    counts = [len(faces) for faces in every]
    heights = [(bottom - top) * scene.HEIGHT for faces in every for _, top, _, bottom in faces]
    cut = [face for faces in every for face in faces if face[0] < 0 or face[2] > 1]
    assert min(counts) >= 2
    assert max(counts) >= 6
    assert min(heights) < 50
    assert max(heights) > 180
    assert cut


def test_it_is_encoded_as_a_camera_sends_it(tmp_path: Path) -> None:
    path = tmp_path / "scene.mkv"
    scene.write_scene(path, seconds=2.5)
    cut = read_media(path)
    assert [f.duration_us for f in cut] == [2_000_000, 500_000]
    assert all(f.blocks[0].keyframe and not any(b.keyframe for b in f.blocks[1:]) for f in cut)
    assert [b.offset_us for b in cut[0].blocks] == sorted(b.offset_us for b in cut[0].blocks)
    with av.open(str(path)) as container:
        pictures = [f.to_ndarray(format="bgr24") for f in container.decode(video=0)]
    assert len(pictures) == 75
    assert np.abs(pictures[30].astype(int) - scene.frame(30)).mean() < 6

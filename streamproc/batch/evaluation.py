"""How well faces were covered: what was covered, measured against where the faces are.

A face-frame is one face in one frame. It is covered if at least 90 % of its box lies in the union of the covered
regions, and exposed otherwise; an exposure is a run of exposed frames of one face. Over-redaction is what was covered
outside of the faces' boxes, each enlarged by 10 % in width and height.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streamproc.batch.reference import Reference
from streamproc.model.geometry import Box

HIDDEN = 0.90
DOLLARS_PER_CALL = 0.001
_ALLOWED_MARGIN = 0.10
_LONG_MS = 100.0
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Score:
    """How one recording fared, or several together.

    Attributes:
        frames: All frames, with faces or without.
        seconds: Their duration.
        face_frames: Faces, counted in each frame.
        exposed: Face-frames that are not covered.
        exposures: Runs of exposed frames of one face.
        long_exposures: Those of more than 100 ms.
        longest_ms: The longest of them.
        over_redaction: Share of the picture's area that was covered for nothing, mean over all frames.
        covered_area: Share of the picture's area that was covered, mean over all frames.
        whole: Frames covered whole.
        calls: Looks of a detector, those that failed too.
    """

    frames: int
    seconds: float
    face_frames: int
    exposed: int
    exposures: int
    long_exposures: int
    longest_ms: float
    over_redaction: float
    covered_area: float
    whole: int
    calls: int

    @property
    def coverage(self) -> float:
        """Share of the face-frames that are covered; 1 where there are none."""
        return 1.0 - self.exposed / self.face_frames if self.face_frames else 1.0

    @property
    def calls_per_second(self) -> float:
        """Per second of video."""
        return self.calls / self.seconds if self.seconds else 0.0

    @property
    def dollars_per_hour(self) -> float:
        """Of one stream, at $0.001 per call."""
        return self.calls_per_second * 3600 * DOLLARS_PER_CALL


def score(reference: Reference, covered: Sequence[Sequence[Box]], calls: int, whole: int = 0) -> Score:
    """Compare.

    Args:
        covered: The covered boxes of each frame of the reference, in shares of the picture.
        calls, whole: Handed on.

    Raises:
        ValueError: There are more or fewer frames than in the reference.
    """
    face_frames, over, area = 0, 0.0, 0.0
    exposed: dict[int, list[int]] = {}  # of each track, its frames
    for index, (faces, boxes) in enumerate(zip(reference.frames, covered, strict=True)):
        cover = [box.clip() for box in boxes]
        face_frames += len(faces)
        for face in faces:
            if covered_share(face.box, cover) < HIDDEN - _ROUNDING:
                exposed.setdefault(face.track, []).append(index)
        if cover:
            allowed = [face.box.enlarge(_ALLOWED_MARGIN).clip() for face in faces]
            over += union_area([*cover, *allowed]) - union_area(allowed)
            area += union_area(cover)
    frames = len(reference.frames)
    runs_ms = [1000 * run / reference.fps for each in exposed.values() for run in _runs(each)]
    return Score(
        frames=frames,
        seconds=frames / reference.fps,
        face_frames=face_frames,
        exposed=sum(map(len, exposed.values())),
        exposures=len(runs_ms),
        long_exposures=sum(run_ms > _LONG_MS for run_ms in runs_ms),
        longest_ms=max(runs_ms, default=0.0),
        over_redaction=over / frames if frames else 0.0,
        covered_area=area / frames if frames else 0.0,
        whole=whole,
        calls=calls,
    )


def pooled(scores: Sequence[Score]) -> Score:
    """Several recordings as one: counts add up, and every frame counts the same."""
    frames = sum(s.frames for s in scores)
    return Score(
        frames=frames,
        seconds=sum(s.seconds for s in scores),
        face_frames=sum(s.face_frames for s in scores),
        exposed=sum(s.exposed for s in scores),
        exposures=sum(s.exposures for s in scores),
        long_exposures=sum(s.long_exposures for s in scores),
        longest_ms=max((s.longest_ms for s in scores), default=0.0),
        over_redaction=sum(s.over_redaction * s.frames for s in scores) / frames if frames else 0.0,
        covered_area=sum(s.covered_area * s.frames for s in scores) / frames if frames else 0.0,
        whole=sum(s.whole for s in scores),
        calls=sum(s.calls for s in scores),
    )


def covered_share(box: Box, cover: Sequence[Box]) -> float:
    """Share of the box that lies in the union of the others, in [0, 1]."""
    inside = [
        Box(max(box.left, c.left), max(box.top, c.top), min(box.right, c.right), min(box.bottom, c.bottom))
        for c in cover
    ]
    return union_area(inside) / box.area if box.area > 0 else 1.0


def union_area(boxes: Sequence[Box]) -> float:
    """Area of the union; parts that overlap count once, empty boxes not at all."""
    edges = np.array([(b.left, b.top, b.right, b.bottom) for b in boxes if not b.empty], float)
    if len(edges) < 2:
        return float(((edges[:, 2] - edges[:, 0]) * (edges[:, 3] - edges[:, 1])).sum()) if len(edges) else 0.0
    xs, ys = np.unique(edges[:, 0::2]), np.unique(edges[:, 1::2])
    inside = np.zeros((len(ys) - 1, len(xs) - 1), bool)
    columns, rows = np.searchsorted(xs, edges[:, 0::2]), np.searchsorted(ys, edges[:, 1::2])
    for (x0, x1), (y0, y1) in zip(columns, rows, strict=True):
        inside[y0:y1, x0:x1] = True
    return float(np.diff(ys) @ inside @ np.diff(xs))


def _runs(frames: Sequence[int]) -> list[int]:
    """Lengths of the runs of numbers that follow each other."""
    lengths: list[int] = []
    for i, frame in enumerate(frames):
        if i and frame == frames[i - 1] + 1:
            lengths[-1] += 1
        else:
            lengths.append(1)
    return lengths

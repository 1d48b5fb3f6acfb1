"""What a DetectFaces answer means: seen, or failed. Pure; never raises, and never turns doubt into "nobody there".

Source: AWS, "DetectFaces" API reference, FaceDetail and BoundingBox. Boxes are shares of the upright picture; the
service documents that they may reach beyond it (negative, or more than 1 in sum) where a face is cut by the border.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from streamproc.model.detection import Answer, Detection, Failed, Failure, Seen
from streamproc.model.geometry import Box

MOST_FACES = 100
"""DetectFaces answers with the 100 largest faces (same source): with that many, nobody knows of the smaller ones."""


def parse_faces(answer: object, min_confidence: float = 0.0) -> Answer:
    """The faces of one answer, clipped to the picture.

    Args:
        answer: The answer's body as plain values, as botocore or a JSON parser gives it.
        min_confidence: Faces below it are left out; in [0, 1], like ``Detection.confidence``.

    Returns:
        ``Seen`` only if every entry makes sense and there are fewer than ``MOST_FACES``; otherwise
        ``Failed(NONSENSE)``: an answer wrong in one place cannot be trusted to be complete in the others.
    """
    faces = answer.get("FaceDetails") if isinstance(answer, Mapping) else None
    if not isinstance(faces, list) or len(faces) >= MOST_FACES:
        return Failed(Failure.NONSENSE)
    detections = []
    for face in faces:
        detection = _face(face)
        if detection is None:
            return Failed(Failure.NONSENSE)
        if detection.confidence >= min_confidence:
            detections.append(detection)
    return Seen(tuple(detections))


def _face(face: object) -> Detection | None:
    if not isinstance(face, Mapping):
        return None
    bounds = face.get("BoundingBox")
    percent = _number(face.get("Confidence"))
    if not isinstance(bounds, Mapping) or percent is None or not 0 <= percent <= 100:
        return None
    left, top = _number(bounds.get("Left")), _number(bounds.get("Top"))
    width, height = _number(bounds.get("Width")), _number(bounds.get("Height"))
    if left is None or top is None or width is None or height is None:
        return None
    box = Box(left, top, left + width, top + height).clip()
    # Empty: without size, or wholly outside, also where the sum overflows.
    return None if box.empty else Detection(box, "face", percent / 100)


def _number(value: object) -> float | None:
    """A finite number, or None. Truth values and digits in quotes are not numbers."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None

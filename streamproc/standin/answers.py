"""The shapes of Rekognition's answers, true and untrue ones.

Source: AWS service model ``rekognition`` (JSON 1.1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from streamproc.standin.eyes import Sight


class RekognitionException(Exception):
    """An error that the service answers with."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


NONSENSE = {
    "json": b'{"FaceDetails": [{"BoundingBox": ',
    "nan": b'{"FaceDetails": [{"BoundingBox": {"Width": NaN, "Height": 0.1, "Left": 0.1, "Top": NaN}}]}',
    "huge": b'{"FaceDetails": [{"BoundingBox": {"Width": 1e9, "Height": 4e9, "Left": -7e8, "Top": 5e8}}]}',
    "missing": b'{"Faces": "none"}',
}
"""Bodies of answers that cannot be true, by the shape that a fault asks for."""


def _box(sight: Sight) -> dict[str, float]:
    box = sight.box
    return {"Width": box.width, "Height": box.height, "Left": box.left, "Top": box.top}


def _percent(sight: Sight) -> float:
    return round(sight.confidence * 100, 4)


def _of(sights: Sequence[Sight], kind: str) -> list[Sight]:
    return [s for s in sights if s.kind == kind]


def _faces(sights: Sequence[Sight], asked: Mapping[str, Any]) -> dict[str, Any]:
    faces = []
    for sight in _of(sights, "face"):
        box = sight.box
        marks = {"eyeLeft": (0.3, 0.4), "eyeRight": (0.7, 0.4), "nose": (0.5, 0.6), "mouthLeft": (0.35, 0.78),
                 "mouthRight": (0.65, 0.78)}  # fmt: skip
        landmarks = [
            {"Type": kind, "X": box.left + x * box.width, "Y": box.top + y * box.height}
            for kind, (x, y) in marks.items()
        ]
        faces.append({
            "BoundingBox": _box(sight),
            "Landmarks": landmarks,
            "Pose": {"Roll": 0.0, "Yaw": 0.0, "Pitch": 0.0},
            "Quality": {"Brightness": 80.0, "Sharpness": 80.0},
            "Confidence": _percent(sight),
        })  # fmt: skip
    return {"FaceDetails": faces}


def _labels(sights: Sequence[Sight], asked: Mapping[str, Any]) -> dict[str, Any]:
    least = float(asked.get("MinConfidence", 55.0))
    wanted = set(((asked.get("Settings") or {}).get("GeneralLabels") or {}).get("LabelInclusionFilters") or [])
    named: dict[str, list[Sight]] = {}
    for sight in _of(sights, "label"):
        if _percent(sight) >= least and (not wanted or sight.name in wanted):
            named.setdefault(sight.name, []).append(sight)
    labels = [
        {
            "Name": name,
            "Confidence": max(map(_percent, found)),
            "Instances": [{"BoundingBox": _box(s), "Confidence": _percent(s)} for s in found],
            "Parents": [],
            "Aliases": [],
            "Categories": [],
        }
        for name, found in named.items()
    ]
    return {"Labels": labels[: asked.get("MaxLabels") or None], "LabelModelVersion": "3.0"}


def _texts(sights: Sequence[Sight], asked: Mapping[str, Any]) -> dict[str, Any]:
    lines = _of(sights, "text")
    words = [(line, word) for line in range(len(lines)) for word in (lines[line].name.split() or [""])]
    entries = [_text(s, s.name, index, "LINE", None) for index, s in enumerate(lines)]
    entries += [_text(lines[line], word, len(lines) + i, "WORD", line) for i, (line, word) in enumerate(words)]
    return {"TextDetections": entries, "TextModelVersion": "3.0"}


def _text(sight: Sight, text: str, number: int, kind: str, parent: int | None) -> dict[str, Any]:
    box = sight.box
    corners = ((box.left, box.top), (box.right, box.top), (box.right, box.bottom), (box.left, box.bottom))
    polygon = [{"X": x, "Y": y} for x, y in corners]
    entry: dict[str, Any] = {
        "DetectedText": text,
        "Type": kind,
        "Id": number,
        "Confidence": _percent(sight),
        "Geometry": {"BoundingBox": _box(sight), "Polygon": polygon},
    }
    return entry if parent is None else entry | {"ParentId": parent}


def _custom(sights: Sequence[Sight], asked: Mapping[str, Any]) -> dict[str, Any]:
    if not asked.get("ProjectVersionArn"):
        raise RekognitionException("InvalidParameterException", "ProjectVersionArn is required")
    least = float(asked.get("MinConfidence", 0.0))
    found = [s for s in _of(sights, "custom") if _percent(s) >= least]
    labels = [{"Name": s.name, "Confidence": _percent(s), "Geometry": {"BoundingBox": _box(s)}} for s in found]
    return {"CustomLabels": labels[: asked.get("MaxResults") or None]}


def _moderation(sights: Sequence[Sight], asked: Mapping[str, Any]) -> dict[str, Any]:
    least = float(asked.get("MinConfidence", 50.0))
    found = [s for s in _of(sights, "moderation") if _percent(s) >= least]
    labels = [{"Name": s.name, "ParentName": "", "Confidence": _percent(s), "TaxonomyLevel": 1} for s in found]
    return {"ModerationLabels": labels, "ModerationModelVersion": "7.0", "ContentTypes": []}


SHAPES: dict[str, Callable[[Sequence[Sight], Mapping[str, Any]], dict[str, Any]]] = {
    "DetectFaces": _faces,
    "DetectLabels": _labels,
    "DetectText": _texts,
    "DetectCustomLabels": _custom,
    "DetectModerationLabels": _moderation,
}
"""By call: what is told of what was seen, as the call's parameters want it."""

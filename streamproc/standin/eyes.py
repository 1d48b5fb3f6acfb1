"""Who answers for Rekognition: fixed boxes, a function, or a local detector that really looks at the picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from streamproc.model.detection import Detection, Failed
from streamproc.model.geometry import Box

KINDS = ("face", "label", "text", "custom", "moderation")


@dataclass(frozen=True, slots=True)
class Sight:
    """One thing that is in a picture.

    Attributes:
        box: In shares of the picture; may reach outside of it, as the service's answers do.
        kind: Which call tells of it: one of :data:`KINDS`.
        name: The label, or the text.
        confidence: In [0, 1].
    """

    box: Box
    kind: str = "face"
    name: str = ""
    confidence: float = 0.99


class Eyes(Protocol):
    """Looks at a picture. Called from many threads at once."""

    def see(self, picture: bytes, api: str) -> Sequence[Sight]:
        """What is in this JPEG or PNG; ``api`` is the call (``DetectFaces``). What it raises becomes a 500."""


class FixedEyes:
    """Sees the same in every picture."""

    def __init__(self, sights: Sequence[Sight] = ()) -> None:
        self._sights = tuple(sights)

    def see(self, picture: bytes, api: str) -> Sequence[Sight]:
        return self._sights


class CalledEyes:
    """Asks a function; what it answers may be sights, detections or boxes (which are faces)."""

    def __init__(self, look: Callable[[bytes, str], Sequence[Any]]) -> None:
        self._look = look

    def see(self, picture: bytes, api: str) -> Sequence[Sight]:
        return [_sight(item) for item in self._look(picture, api)]


class LocalEyes:
    """A local detector: any object with ``look(jpeg, timeout_s) -> Answer``. It knows faces only."""

    def __init__(self, detector: Any, timeout_s: float = 30.0) -> None:
        self._detector = detector
        self._timeout_s = timeout_s

    def see(self, picture: bytes, api: str) -> Sequence[Sight]:
        if api != "DetectFaces":
            return ()
        answer = self._detector.look(picture, self._timeout_s)
        if isinstance(answer, Failed):
            raise RuntimeError(f"the local detector gave no answer: {answer.reason.value}")
        return [_sight(d) for d in answer.detections]


def eyes_from_text(text: str) -> Eyes:
    """``none``, ``fixed:LEFT,TOP,WIDTH,HEIGHT[;...]`` or ``model:PATH``. Raises ValueError with the reason."""
    kind, _, rest = text.partition(":")
    if kind == "none":
        return FixedEyes()
    if kind == "fixed":
        boxes = []
        for part in filter(None, rest.split(";")):
            numbers = [float(n) for n in part.split(",")]
            if len(numbers) != 4:
                raise ValueError(f"a fixed box is LEFT,TOP,WIDTH,HEIGHT in shares of the picture, not {part!r}")
            left, top, width, height = numbers
            boxes.append(Sight(Box(left, top, left + width, top + height)))
        return FixedEyes(boxes)
    if kind == "model":
        from streamproc.detect.local import CenterFace

        return LocalEyes(CenterFace(rest, threshold=0.3, threads=2))
    raise ValueError(f"faces come from none, fixed:BOXES or model:PATH, not {text!r}")


def _sight(item: Any) -> Sight:
    if isinstance(item, Sight):
        return item
    if isinstance(item, Detection):
        return Sight(item.box, item.kind if item.kind in KINDS else "label", item.kind, item.confidence)
    return Sight(item)

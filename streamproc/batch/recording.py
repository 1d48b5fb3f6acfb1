"""One recording through the rule of covering, at one rate or several at once, decoded only once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from streamproc.batch.evaluation import Score, score
from streamproc.batch.linking import link
from streamproc.batch.reference import Reference, answer
from streamproc.batch.replay import Circumstances, Replay
from streamproc.decode.file import VideoFile
from streamproc.detect.jpeg import encode_look, upright_to_coded
from streamproc.errors import ConfigurationError
from streamproc.model.detection import Answer, Detection, Failed, Seen
from streamproc.model.frame import Cover, Decision, Frame
from streamproc.model.geometry import WHOLE_PICTURE, Box
from streamproc.pipeline.work import CoverOptions
from streamproc.ports import Detector
from streamproc.redact.redaction import readable_planes
from streamproc.track.scene import Luma, is_cut, thumbnail

_PATIENCE_S = 600.0


@dataclass(frozen=True, slots=True)
class Eyes:
    """A detector, and the pictures that it gets.

    Attributes:
        side_by_side: Looks at once.
    """

    detector: Detector
    long_side_px: int
    jpeg_quality: int
    side_by_side: int = 2

    def look(self, frame: Frame) -> Answer:
        """What is in this frame, in shares of the coded picture."""
        planes = readable_planes(frame.picture)
        look = encode_look(planes, frame.width, frame.height, self.long_side_px, self.jpeg_quality, frame.rotation)
        found = self.detector.look(look.jpeg, _PATIENCE_S)
        if isinstance(found, Failed):
            return found
        return Seen(tuple(replace(d, box=upright_to_coded(d.box, frame.rotation)) for d in found.detections))


Told = Callable[[int, int], None]
"""Progress: frames done, and about how many there are (0 if nobody knows)."""
Decided = Callable[[Frame, Cover], None]
"""A frame, untouched, and what is to be covered in it."""


def evaluate(
    file: VideoFile,
    truth: Reference | Eyes,
    rates: Sequence[CoverOptions],
    circumstances: Circumstances,
    min_confidence: float,
    progress: Told = lambda done, expected: None,
    decided: Decided | None = None,
) -> tuple[Reference, list[Score]]:
    """Score each of the rates on one recording.

    Args:
        truth: Where the faces are, or who finds out by a look at every frame.
        min_confidence: Of a reference's faces, only those of at least so much are seen by the detector.
        decided: Told of each frame in order, by the first of the rates.

    Returns:
        The reference, given or made, and a score per rate.

    Raises:
        ConfigurationError: The file cannot be decoded, the reference is not about it, or the detector fails on it.
    """
    replays = [Replay(options, circumstances) for options in rates]
    covers: list[list[Cover]] = [[] for _ in rates]
    held: deque[Frame] = deque()
    making = _Making()
    frames = _with_given(file, truth, min_confidence) if isinstance(truth, Reference) else _with_looks(file, truth)

    def take(which: int, found: list[tuple[int, Cover]]) -> None:
        for index, cover in found:
            assert index == len(covers[which])
            covers[which].append(cover)
            if decided is not None and which == 0:
                decided(held.popleft(), cover)

    for frame, seen in frames:
        luma = readable_planes(frame.picture)[0]
        if not isinstance(truth, Reference):
            making.add(frame, luma, seen)
        if decided is not None:
            held.append(frame)
        for which, replay in enumerate(replays):
            take(which, replay.frame(frame.id.index, frame.id.time_us, luma, seen, frame.damaged))
        progress(frame.id.index + 1, file.expected)
    for which, replay in enumerate(replays):
        take(which, replay.close())
    reference = truth if isinstance(truth, Reference) else making.reference(file.fps)
    if len(covers[0]) != len(reference.frames):
        raise ConfigurationError(_other_length(file, f"{len(covers[0])} frames", reference))
    return reference, [
        score(
            reference,
            [_covered(cover) for cover in each],
            replay.calls,
            sum(cover.decision in (Decision.WHOLE, Decision.WITHHELD) for cover in each),
        )
        for each, replay in zip(covers, replays, strict=True)
    ]


class _Making:
    """Gathers what a reference is made of."""

    def __init__(self) -> None:
        self._seen: list[tuple[Detection, ...]] = []
        self._cuts: list[int] = []
        self._size = (0, 0)
        self._before: Luma | None = None

    def add(self, frame: Frame, luma: Luma, seen: Answer) -> None:
        assert isinstance(seen, Seen)
        self._size = (frame.width, frame.height)
        small = thumbnail(luma)
        if self._before is not None and is_cut(self._before, small):
            self._cuts.append(frame.id.index)
        self._before = small
        self._seen.append(seen.detections)

    def reference(self, fps: float) -> Reference:
        return link(self._seen, self._cuts, *self._size, fps)


def _with_given(file: VideoFile, reference: Reference, min_confidence: float) -> Iterator[tuple[Frame, Answer]]:
    """Each frame with what the reference says about it."""
    for frame in file.frames():
        if frame.id.index == 0 and (frame.width, frame.height) != (reference.width, reference.height):
            raise ConfigurationError(
                f"{file.path}: its picture is {frame.width}x{frame.height}, and its reference is for "
                f"{reference.width}x{reference.height}; give the reference that was made from this very file"
            )
        if frame.id.index >= len(reference.frames):
            raise ConfigurationError(_other_length(file, "more frames", reference))
        yield frame, answer(reference.frames[frame.id.index], min_confidence)


def _with_looks(file: VideoFile, eyes: Eyes) -> Iterator[tuple[Frame, Answer]]:
    """Each frame with what a detector says about it, in order; looks are made side by side."""
    with ThreadPoolExecutor(eyes.side_by_side) as threads:
        for frame, future in _ahead(((f, threads.submit(eyes.look, f)) for f in file.frames()), eyes.side_by_side):
            found = future.result()
            if isinstance(found, Failed):
                raise ConfigurationError(
                    f"{file.path}: the detector fails on frame {frame.id.index} ({found.reason.value}), so no "
                    "reference can be made; give one by --reference"
                )
            yield frame, found


def _ahead(pairs: Iterable[tuple[Frame, Future[Answer]]], count: int) -> Iterator[tuple[Frame, Future[Answer]]]:
    """The same, with so many more begun before the first of them is handed out."""
    begun: deque[tuple[Frame, Future[Answer]]] = deque()
    for pair in pairs:
        begun.append(pair)
        if len(begun) > count:
            yield begun.popleft()
    yield from begun


def _other_length(file: VideoFile, found: str, reference: Reference) -> str:
    return (
        f"{file.path}: has {found}, and its reference {len(reference.frames)}; "
        "give the reference that was made from this very file"
    )


def _covered(cover: Cover) -> list[Box]:
    if cover.decision in (Decision.WHOLE, Decision.WITHHELD):
        return [WHOLE_PICTURE]
    return [region.box for region in cover.regions]

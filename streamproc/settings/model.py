"""Every setting with its unit, range, default and meaning: one small frozen model per concern.

The descriptions are what the JSON schema, and with it the reader's editor, shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


def _number_from_text(value: object) -> object:
    return int(value) if isinstance(value, str) and value.strip().isdecimal() else value


def _path_from_text(value: object) -> object:
    # Path("") is the current folder: an empty variable would put state files there.
    if isinstance(value, str) and not value.strip():
        raise ValueError("should not be empty")
    return value


_Path = Annotated[Path, BeforeValidator(_path_from_text)]


MOST_CELLS = 4
"""Cells across an object. CenterFace's confidence in real faces of at least 80 px, also in pictures made smaller: at
most 0.4 with 4, 0.49 with 5, 0.54 with 6, 0.8 with 8."""

LEAST_SIGMA = 0.15
"""Standard deviation of a Gaussian over the object's longer side. The same: at most 0.48 with 0.15, 0.74 with 0.09. Of
four waves across the object it leaves 0.08 %, and nobody can undo it further than that."""

EffectKind = Literal["blur", "gaussian", "pixelate", "solid"]


class _Concern(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class SegmentSettings(_Concern):
    """The pieces in which redacted video is stored."""

    seconds: float = Field(
        default=6.0,
        ge=0.5,
        le=60,
        description="Length of a segment, in seconds of video. A segment is stored when it is full, so this is most "
        "of the lag; shorter ones cost more requests to the store.",
    )

    @property
    def duration_us(self) -> int:
        """``seconds`` in whole microseconds."""
        return round(self.seconds * 1_000_000)


class LookaheadSettings(_Concern):
    """How long frames wait for the look on their far side."""

    seconds: float = Field(
        default=1.0,
        ge=0.1,
        le=10,
        description="Longest time, in seconds on the producer's clock, that a frame waits for the detector's answer "
        "about a later frame. A frame without it by then is covered whole. At least 1 / "
        "detect.calls_per_second.",
    )

    @property
    def duration_us(self) -> int:
        """``seconds`` in whole microseconds."""
        return round(self.seconds * 1_000_000)


class DetectSettings(_Concern):
    """Who looks at the pictures, how often, and how long we wait for the answer."""

    kind: Literal["rekognition", "local"] = Field(
        default="rekognition",
        description="Who looks for faces: Amazon Rekognition (DetectFaces), or an ONNX model on this machine.",
    )
    model: _Path | None = Field(
        default=None,
        description="Path of the ONNX face model, from the working directory. Needed when detect.kind is local.",
    )
    calls_per_second: float = Field(
        default=5.0,
        ge=1.0,
        le=60,
        description="Pictures looked at per second of video, whatever its frame rate. Each is one paid call to "
        "Rekognition. With fewer than 1, somebody could come and go between two looks.",
    )
    deadline_ms: int = Field(
        default=1000,
        ge=50,
        le=30_000,
        description="Milliseconds of real time after which an answer is too late. The frames that needed it are "
        "covered whole.",
    )
    concurrency: int = Field(default=8, ge=1, le=64, description="Most calls in flight at once, for one stream.")
    long_side_px: int = Field(
        default=960,
        ge=320,
        le=4096,
        description="Pixels on the longer side of the picture that the detector gets; smaller pictures are not "
        "enlarged.",
    )
    jpeg_quality: int = Field(
        default=80, ge=40, le=100, description="Quality of that picture, on the scale of libjpeg."
    )
    min_confidence: float = Field(
        default=0.3,
        ge=0,
        le=1,
        description="Detections with less confidence than this, from 0 to 1, are ignored; every one above it is "
        "covered. Applies to Rekognition's answers (its percentage / 100) and the local model's alike.",
    )


class CoverSettings(_Concern):
    """How much more than the detected box is covered, in space and in time."""

    margin: float = Field(
        default=0.10,
        ge=0,
        le=2,
        description="Enlargement of each box as a share of its size: width and height times 1 + margin, about its "
        "centre.",
    )
    extend_ms: int = Field(
        default=1000,
        ge=0,
        le=5000,
        description="Milliseconds on the producer's clock for which a region is held before the first and after the "
        "last sighting of its object.",
    )
    every_ms: int | None = Field(
        default=None,
        ge=0,
        le=1200,
        description="Milliseconds between regular looks; 0 for as often as detect.calls_per_second allows. Without a "
        "value, as coverage says.",
    )
    ask_ms: int | None = Field(
        default=None,
        ge=0,
        le=1000,
        description="Where two looks do not agree, one more is made between them, and again, until they would stand "
        "closer than these milliseconds; 0 for never. Without a value, as coverage says.",
    )
    calm_ms: int | None = Field(
        default=None,
        ge=0,
        le=60_000,
        description="While nothing in the picture changes, regular looks are left out for so many milliseconds; 0 for "
        "never. Without a value, as coverage says.",
    )


class Dial(NamedTuple):
    """A point on the curve of coverage over calls: see ``CoverSettings`` for the values' meanings."""

    every_ms: int
    ask_ms: int
    calm_ms: int


DIALS = {
    "steady": Dial(0, 100, 0),
    "strict": Dial(500, 100, 1000),
    "balanced": Dial(800, 120, 4000),
    "economy": Dial(1000, 150, 8000),
}


class EffectSettings(_Concern):
    """What a covered region looks like. Settings weaker than tests/redact/test_observer.py allows are refused."""

    kind: EffectKind = Field(
        default="blur",
        description="blur: a few averages across the object, then smoothed. pixelate: the same as squares. solid: "
        "one colour, nothing of the object survives. gaussian: the classical blur; weaker in principle, because it can "
        "partly be undone.",
    )
    plates: EffectKind = Field(
        default="solid",
        description="The same for licence plates, which are covered as rectangles. Anything but solid is weak: under "
        "the others letters can be put together again from several frames.",
    )
    shape: Literal["ellipse", "rectangle"] = Field(
        default="ellipse", description="Shape of a covered region: the ellipse around its box, or the box."
    )
    cells: int = Field(
        default=4,
        ge=2,
        le=64,
        description="Averages across the object's longer side that survive blur and pixelate; fewer on objects "
        f"under about 100 pixels. More than {MOST_CELLS} is weak: a detector finds faces again.",
    )
    sigma: float = Field(
        default=0.2,
        ge=0.02,
        le=1,
        description="Standard deviation of gaussian as a share of the object's longer side. Less than "
        f"{LEAST_SIGMA} is weak: a detector finds faces again.",
    )
    allow_weak: bool = Field(
        default=False,
        description="Take weak settings all the same. Every line of the audit records then says which.",
    )

    @property
    def weaknesses(self) -> Mapping[str, str]:
        """Keys in force whose value is weaker than the floor, each with what it should be."""
        kinds = {self.kind, self.plates}
        found = {}
        if self.plates != "solid":
            found["plates"] = "solid"
        if kinds & {"blur", "pixelate"} and self.cells > MOST_CELLS:
            found["cells"] = f"less than or equal to {MOST_CELLS}"
        if "gaussian" in kinds and self.sigma < LEAST_SIGMA:
            found["sigma"] = f"greater than or equal to {LEAST_SIGMA}"
        return found

    @property
    def weak(self) -> tuple[str, ...]:
        """What is in force below the floor, as ``effect.cells=12``; for people and for the audit record."""
        return tuple(f"effect.{key}={getattr(self, key)}" for key in self.weaknesses)


class EncodeSettings(_Concern):
    """How redacted video is compressed (H.264, x264)."""

    preset: Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium"] = Field(
        default="superfast", description="Preset of x264: slower ones need more CPU and store fewer bytes."
    )
    crf: int = Field(
        default=23,
        ge=10,
        le=40,
        description="Constant rate factor of x264: lower is better and larger; about 6 halves the bytes.",
    )


class StateSettings(_Concern):
    """Where a stream's progress is kept."""

    dir: _Path = Field(
        default=Path(".streamproc"),
        description="Folder of the checkpoints and gap records, from the working directory. It must outlive the "
        "process.",
    )


class PlaylistSettings(_Concern):
    """The live playlist."""

    window_segments: int = Field(
        default=10, ge=3, le=100, description="Segments that the live playlist names; older ones stay."
    )


class LimitSettings(_Concern):
    """Bounds on the input, so that no stream can exhaust memory. What is over one is skipped and recorded as a gap."""

    max_pixels: int = Field(
        default=8_847_360,
        ge=16_384,
        le=134_217_728,
        description="Most pixels of a picture (width times height); 4096 x 2160.",
    )
    element_bytes: int = Field(
        default=16 * 1024 * 1024,
        ge=65_536,
        le=1_073_741_824,
        description="Most bytes of one Matroska element, thus of one frame.",
    )
    fragment_bytes: int = Field(
        default=64 * 1024 * 1024, ge=65_536, le=4_294_967_296, description="Most bytes of one fragment."
    )
    fragment_seconds: float = Field(default=60.0, ge=1, le=600, description="Most seconds of video in one fragment.")


class IngestSettings(_Concern):
    """Reading the stream."""

    idle_timeout_s: float = Field(
        default=15.0,
        ge=2,
        le=300,
        description="Seconds without a byte after which the connection is taken for dead and made anew.",
    )


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Settings that are fine alone and wrong together.

    Attributes:
        key: The one to change.
        others: The ones it depends on.
    """

    key: str
    others: tuple[str, ...]
    reason: str


class ContradictionsError(ValueError):
    """Raised while a :class:`Settings` is built; pydantic hands it on as the cause of its own error."""

    def __init__(self, found: tuple[Contradiction, ...]) -> None:
        super().__init__("; ".join(f"{each.key}: {each.reason}" for each in found))
        self.found = found


class Settings(_Concern):
    """Everything that can be set for one stream."""

    version: Annotated[Literal[1], BeforeValidator(_number_from_text)] = Field(
        default=1, description="Version of this file's layout. Only 1 exists."
    )
    segment: SegmentSettings = SegmentSettings()
    lookahead: LookaheadSettings = LookaheadSettings()
    detect: DetectSettings = DetectSettings()
    coverage: Literal["steady", "strict", "balanced", "economy"] = Field(
        default="steady",
        description="How looks are spent. steady: as many as detect.calls_per_second allows, at even distances. The "
        "others look where it is needed, and use about 2.2, 1.6 and 1.5 calls per second: strict every 0.5 s, balanced "
        "every 0.8 s, economy every second, with more where looks do not agree and fewer while nothing changes.",
    )
    cover: CoverSettings = CoverSettings()
    effect: EffectSettings = EffectSettings()
    encode: EncodeSettings = EncodeSettings()
    audio: Literal["drop", "keep"] = Field(
        default="drop", description="Sound of the stream: left out, or stored as it is. Nothing in it is redacted."
    )
    state: StateSettings = StateSettings()
    playlist: PlaylistSettings = PlaylistSettings()
    limits: LimitSettings = LimitSettings()
    ingest: IngestSettings = IngestSettings()

    @property
    def dial(self) -> Dial:
        """The values in force of what ``coverage`` sets and ``cover`` may set by itself."""
        cover, dial = self.cover, DIALS[self.coverage]
        return Dial(
            dial.every_ms if cover.every_ms is None else cover.every_ms,
            dial.ask_ms if cover.ask_ms is None else cover.ask_ms,
            dial.calm_ms if cover.calm_ms is None else cover.calm_ms,
        )

    @model_validator(mode="after")
    def _agree(self) -> Settings:
        found: list[Contradiction] = []
        # The slack: whoever writes 0.3333333333 for 3 calls per second means a third.
        if self.lookahead.seconds * self.detect.calls_per_second < 1 - 1e-9:
            found.append(
                Contradiction(
                    "lookahead.seconds",
                    ("detect.calls_per_second",),
                    f"should be at least 1 / detect.calls_per_second = {1 / self.detect.calls_per_second:.4g}: "
                    "otherwise no frame would wait long enough for the next look, and every one would be covered whole",
                )
            )
        if self.detect.kind == "local" and self.detect.model is None:
            found.append(
                Contradiction(
                    "detect.model", ("detect.kind",), "needed when detect.kind is local: the path of an ONNX model"
                )
            )
        if not self.effect.allow_weak:
            found.extend(
                Contradiction(
                    f"effect.{key}",
                    ("effect.allow_weak",),
                    f"should be {floor}: anything weaker may leave people or plates recognisable, "
                    "and needs effect.allow_weak: true",
                )
                for key, floor in self.effect.weaknesses.items()
            )
        if found:
            raise ContradictionsError(tuple(found))
        return self


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of the YAML file, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Settings.model_json_schema()}

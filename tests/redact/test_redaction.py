"""Laws of redaction on decoded pictures: covered in place, without harm to the frames that come later."""

from __future__ import annotations

import numpy as np
import pytest
from media_made import clip, luma_of, number_in, pieces

from streamproc.decode.pyav import Decoder
from streamproc.encode.pyav import EncodeOptions, SegmentEncoder
from streamproc.model.frame import Cover, Decision, Frame, RedactedFrame, Region
from streamproc.model.geometry import Box
from streamproc.model.media import Block, FragmentEnd, FragmentStart
from streamproc.redact.effects import Effect
from streamproc.redact.plan import places
from streamproc.redact.redaction import Redaction, planes, readable_planes

CENTRE = Region(Box(0.3, 0.4, 0.7, 0.8), "face", Decision.SEEN)
SEEN = Cover(Decision.SEEN, (CENTRE,))
WHOLE = Cover(Decision.WHOLE, (Region(Box(0, 0, 1, 1), "frame", Decision.WHOLE),))


class StillClock:
    def now_us(self) -> int:
        return 1

    def monotonic(self) -> float:
        return 0.0


def decoded(codec: str = "h264", bframes: int = 0):  # type: ignore[no-untyped-def]
    """Frames one by one, so that what is done to one can harm the next."""
    decoder = Decoder(StillClock(), 1 << 20)
    for piece in pieces(clip(codec, bframes=bframes)):
        for event in piece.events():
            if isinstance(event, FragmentStart):
                items = decoder.start(event)
            elif isinstance(event, Block):
                items = decoder.block(event, 0)
            else:
                assert isinstance(event, FragmentEnd)
                items = decoder.end(event)
            for item in items:
                if isinstance(item, Frame):
                    yield item


@pytest.mark.parametrize("kind", ["blur", "gaussian", "pixelate", "solid"])
@pytest.mark.parametrize(("codec", "bframes"), [("h264", 0), ("h264", 2), ("hevc", 2)])
def test_covering_a_frame_harms_no_later_one(kind: str, codec: str, bframes: int) -> None:
    plain = [[p.copy() for p in readable_planes(f.picture)] for f in decoded(codec, bframes)]
    redaction = Redaction(Effect(kind, "rectangle"))
    ((rect, _),) = places([CENTRE], 160, 120, Effect(kind, "rectangle"))
    count = 0
    for frame, before in zip(decoded(codec, bframes), plain, strict=True):
        redacted = redaction.redact(frame, SEEN if count % 3 != 2 else Cover(Decision.SEEN))
        assert redacted is not None
        for i, (old, new) in enumerate(zip(before, readable_planes(redacted.picture), strict=True)):
            scale = 1 if i == 0 else 2
            differs = old != new
            differs[rect.y0 // scale : rect.y1 // scale, rect.x0 // scale : rect.x1 // scale] &= count % 3 == 2
            assert not differs.any(), f"frame {count}"
        count += 1
    assert count == 36


def test_picture_is_covered_where_the_decision_says() -> None:
    frame = next(iter(decoded()))
    number = number_in(luma_of(frame.picture))
    redacted = Redaction(Effect("solid", "rectangle")).redact(frame, SEEN)
    assert redacted is not None
    luma = luma_of(redacted.picture)
    assert (luma[48:96, 48:112] == 126).all()
    assert number_in(luma) == number
    assert (redacted.id, redacted.cover, redacted.width, redacted.height) == (frame.id, SEEN, 160, 120)
    assert redacted.stamps is frame.stamps


def test_a_plate_is_solid_beside_a_blurred_face() -> None:
    frame = next(iter(decoded()))
    plate = Region(Box(0.1, 0.1, 0.2, 0.2), "plate", Decision.SEEN)
    redacted = Redaction(Effect("blur", "rectangle")).redact(frame, Cover(Decision.SEEN, (CENTRE, plate)))
    assert redacted is not None
    luma = luma_of(redacted.picture)
    assert np.unique(luma[12:24, 16:32]).tolist() == [126]
    assert np.unique(luma[48:96, 48:112]).tolist() != [126]


def test_whole_frame_covers_all_of_it() -> None:
    frame = next(iter(decoded()))
    redacted = Redaction(Effect("solid", "ellipse")).redact(frame, WHOLE)
    assert redacted is not None
    assert [np.unique(p).tolist() for p in readable_planes(redacted.picture)] == [[126], [128], [128]]


def test_whole_frame_covers_all_of_it_even_if_nothing_says_where() -> None:
    frame = next(iter(decoded()))
    redacted = Redaction(Effect("solid")).redact(frame, Cover(Decision.WHOLE))
    assert redacted is not None
    assert np.unique(luma_of(redacted.picture)).tolist() == [126]


def test_withheld_frame_gives_nothing() -> None:
    assert Redaction(Effect()).redact(next(iter(decoded())), Cover(Decision.WITHHELD, (CENTRE,))) is None


def test_decision_without_regions_leaves_the_picture_as_it_is() -> None:
    frame = next(iter(decoded()))
    before = [p.copy() for p in readable_planes(frame.picture)]
    redacted = Redaction(Effect()).redact(frame, Cover(Decision.SEEN))
    assert redacted is not None
    for old, new in zip(before, readable_planes(redacted.picture), strict=True):
        assert (old == new).all()


def test_planes_are_writable_and_of_the_pictures_own_size() -> None:
    frame = next(iter(decoded()))
    y, u, v = planes(frame.picture)
    assert [p.shape for p in (y, u, v)] == [(120, 160), (60, 80), (60, 80)]
    y[0, 0] = 7
    assert luma_of(frame.picture)[0, 0] == 7


def test_redacted_frame_is_not_a_frame_and_an_encoder_refuses_one() -> None:
    frame = next(iter(decoded()))
    redacted = Redaction(Effect()).redact(frame, SEEN)
    assert redacted is not None
    assert not isinstance(redacted, Frame)
    assert not issubclass(Frame, RedactedFrame)
    encoder = SegmentEncoder(redacted, redacted.id.time_us, EncodeOptions())
    with pytest.raises(TypeError, match="only a RedactedFrame"):
        encoder.add(frame)  # type: ignore[arg-type]

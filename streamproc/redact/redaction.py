"""A frame and the decision about it become a redacted frame. The only place that builds one."""

from __future__ import annotations

import numpy as np

from streamproc.model.frame import Cover, Decision, Frame, Picture, RedactedFrame
from streamproc.redact.effects import Effect, Plane, cover, cover_whole
from streamproc.redact.plan import places


class Redaction:
    """Covers frames in place.

    Args:
        effect: How covered places look, by kind of object.
    """

    def __init__(self, effect: Effect) -> None:
        self._effect = effect

    def redact(self, frame: Frame, decision: Cover) -> RedactedFrame | None:
        """Cover what the decision says; afterwards the raw picture is gone. None for a frame that is withheld."""
        if decision.decision is Decision.WITHHELD:
            return None
        picture = frame.picture
        if decision.decision is Decision.WHOLE:
            cover_whole(planes(picture), self._effect)
        elif decision.regions:
            views = planes(picture)
            for rect, effect in places(decision.regions, frame.width, frame.height, self._effect):
                cover(views, rect, effect)
        return RedactedFrame(
            frame.id, picture, frame.width, frame.height, frame.rotation, decision, stamps=frame.stamps
        )


def planes(picture: Picture) -> tuple[Plane, Plane, Plane]:
    """Writable views of Y, U and V.

    The picture is made writable first: else its pixels are still the decoder's reference pictures, and writing there
    damages later frames; views taken before that would still point at the shared ones.
    """
    picture.make_writable()
    return readable_planes(picture)


def readable_planes(picture: Picture) -> tuple[Plane, Plane, Plane]:
    """Views of Y, U and V for reading only."""
    y, u, v = (np.frombuffer(p, np.uint8).reshape(p.height, p.line_size)[:, : p.width] for p in picture.planes)
    return y, u, v

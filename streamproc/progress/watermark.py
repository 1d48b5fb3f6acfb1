"""The watermark: how far a stream is done without a hole, whatever order its parts are finished in."""

from __future__ import annotations

from streamproc.model.segment import Position


class Watermark:
    """Highest position with nothing unfinished at or before it.

    Positions are begun in the stream's order and may be finished in any. It remembers only what lies behind the first
    unfinished one, so its size is bounded by what the caller has in flight.
    """

    def __init__(self, value: Position | None = None) -> None:
        self._value = value
        self._finished: dict[Position, bool] = {}

    @property
    def value(self) -> Position | None:
        """The watermark; None (or what it started from) before anything is finished. It never goes back."""
        return self._value

    @property
    def unfinished(self) -> int:
        """How many positions are begun and not finished."""
        return sum(not finished for finished in self._finished.values())

    def begin(self, position: Position) -> None:
        """Work up to ``position`` has begun; it lies behind all begun before. Raises ValueError if it is in flight."""
        if position in self._finished:
            raise ValueError(f"begun twice: {position}")
        self._finished[position] = False

    def finish(self, position: Position) -> None:
        """Work up to ``position`` is done. Raises ValueError if it is not in flight."""
        if self._finished.get(position, True):
            raise ValueError(f"not in flight: {position}")
        self._finished[position] = True
        for first, finished in list(self._finished.items()):
            if not finished:
                break
            self._value = first
            del self._finished[first]

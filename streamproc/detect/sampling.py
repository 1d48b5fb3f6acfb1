"""Which frames a detector looks at: regular looks, one at each fragment's end, and never more than are paid for.

Times are the frames' own (producer's clock, µs); there is no other clock here.

A look costs one credit. A run starts with one, and earns ``calls_per_second`` of them per second of media, so no run
ever makes more than ``calls_per_second * elapsed + 1`` looks. Regular looks stand ``1 / (0.9 * calls_per_second)``
apart; the tenth that is left over pays for the closing looks, which let a segment be finished without waiting for
the next fragment. Credit is counted in whole units, because float seconds break such a law at the boundary.
"""

from __future__ import annotations

import math
from fractions import Fraction

_LOOK = 10**12
"""Units of credit that one look costs; credit per µs is then a whole number for any sensible rate."""

_LEAST_BANK = 3 * _LOOK
"""Most that can be saved: one regular look, one closing look, and one for the rounding of frame times."""

_BANK_US = 2_000_000
"""Or, where regular looks are fewer than what is paid for, what this time earns: questions come in bursts."""

_JUMP_US = 2_000_000
_REGULAR_SHARE = Fraction(9, 10)
_LATEST_SHARE = Fraction(13, 10)


class Sampler:
    """Chooses the frames of one stream. Frames are told in order of presentation.

    Args:
        calls_per_second: Looks per second of media that may be made; 0.001 or more.
        every_us: Time between regular looks, if that is more than what the rate allows.

    Raises:
        ValueError: The rate is not a number of at least 0.001.
    """

    def __init__(self, calls_per_second: float, every_us: int = 0) -> None:
        if not (math.isfinite(calls_per_second) and calls_per_second >= 0.001):
            raise ValueError("calls_per_second must be a number of at least 0.001")
        rate = Fraction(calls_per_second)
        self._credit_per_us = math.floor(rate * _LOOK / 1_000_000)
        self._spacing_us = max(every_us, math.ceil(1_000_000 / (_REGULAR_SHARE * rate)))
        self._latest_us = max(every_us, math.floor(_LATEST_SHARE * 1_000_000 / rate))
        self._bank = max(_LEAST_BANK, _BANK_US * self._credit_per_us) if every_us else _LEAST_BANK
        self._credit = _LOOK
        self._now_us: int | None = None
        self._looked_us: int | None = None
        self._begin_anew = True

    def wants(self, time_us: int) -> bool:
        """Whether to look at the next frame; True spends the credit for it.

        The first frame is looked at, and the first after a jump of the time (backwards, or more than 2 s) as soon as
        the credit allows; a jump earns at most one look.
        """
        step_us = self._advance(time_us)
        if not self._is_due(time_us, step_us) or self._credit < _LOOK:
            return False
        self._spend(time_us)
        return True

    def closing(self, time_us: int) -> bool:
        """Whether to look at a fragment's last frame, which :meth:`wants` had declined; True spends the credit.

        The regular looks go on from here, so closing looks mostly replace regular ones.
        """
        self._advance(time_us)
        if self._credit < _LOOK or self._looked_us == time_us:
            return False
        self._spend(time_us)
        return True

    def rested(self, time_us: int) -> None:
        """The look that :meth:`wants` has granted at this frame was not needed after all."""
        self._credit = min(self._bank, self._credit + _LOOK)

    def question(self, time_us: int) -> bool:
        """Whether to look at an older frame, because what is known of it is not enough; True spends the credit.

        The regular looks go on as they were; credit for the next of them is kept back.
        """
        if self._credit < 2 * _LOOK:
            return False
        self._credit -= _LOOK
        return True

    def forced(self, time_us: int) -> None:
        """Count a look that had to be made whatever the budget. A debt delays the looks that follow."""
        self._advance(time_us)
        self._spend(time_us)

    def _advance(self, time_us: int) -> int:
        """Earn credit for the time since the last frame; the step in µs, 0 where the time jumped."""
        last_us, self._now_us = self._now_us, time_us
        if last_us is None:
            return 0
        step_us = time_us - last_us
        self._credit = min(self._bank, self._credit + max(0, step_us) * self._credit_per_us)
        if 0 <= step_us <= _JUMP_US:
            return step_us
        self._begin_anew = True
        self._credit = min(_LOOK, self._credit)
        return 0

    def _is_due(self, time_us: int, step_us: int) -> bool:
        if self._begin_anew or self._looked_us is None:
            return True
        if time_us >= self._looked_us + self._spacing_us:
            return True
        # The next frame would come too late: look a little early, unless that takes the closing look's credit.
        return time_us + step_us > self._looked_us + self._latest_us and self._credit >= 2 * _LOOK

    def _spend(self, time_us: int) -> None:
        self._credit -= _LOOK
        self._looked_us = time_us
        self._begin_anew = False

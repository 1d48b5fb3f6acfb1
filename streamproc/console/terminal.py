"""The same figures on a terminal: a live table where there is one, a plain line every two seconds elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

_PLAIN_EVERY_S = 2.0
_STYLES = {"live": "green", "catching up": "yellow", "stalled": "bold red", "idle": "dim", "starting": "dim"}


class Terminal:
    """Shows one stream's status, for a ``with`` statement; :meth:`say` may be called from any thread."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._live: Live | None = None
        self._plain_at = 0.0

    @property
    def interactive(self) -> bool:
        """Whether a person sits in front of it."""
        return self._console.is_terminal

    def __enter__(self) -> Self:
        if self.interactive:
            self._live = Live(console=self._console, auto_refresh=False, transient=False)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def say(self, text: str) -> None:
        """One line, above the table."""
        self._console.print(text, markup=False, soft_wrap=not self.interactive)
        self._console.file.flush()

    def show(self, status: Mapping[str, Any], now_s: float) -> None:
        """Show how things stand; ``now_s`` is any steady clock's time."""
        if self._live is not None:
            self._live.update(table(status), refresh=True)
        elif now_s - self._plain_at >= _PLAIN_EVERY_S:
            self._plain_at = now_s
            self.say(f"{time.strftime('%H:%M:%S')} {line(status)}")


def table(status: Mapping[str, Any]) -> Table:
    """One row per stream."""
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    cells = _cells(status)
    for name in cells:
        shown.add_column(name, justify="left" if name in {"STREAM", "STATE"} else "right", no_wrap=True)
    state = status["state"]
    shown.add_row(*(Text(cell, _STYLES.get(state, "") if name == "STATE" else "") for name, cell in cells.items()))
    return shown


def line(status: Mapping[str, Any]) -> str:
    """The same in one line."""
    cells = _cells(status)
    named = [f"{name.lower()} {cell}" for name, cell in cells.items() if name not in {"STREAM", "STATE"}]
    return f"{cells['STREAM']}  {cells['STATE']}  " + "  ".join(named)


def _cells(status: Mapping[str, Any]) -> dict[str, str]:
    newest = status.get("newest")
    lag = status.get("lag", {})
    calls = sum(c["ok"] + c["failed"] + c["throttled"] for c in status.get("detector", {}).values())
    return {
        "STREAM": str(status["stream"]),
        "STATE": str(status["state"]),
        "LAG": _seconds(newest["lag"]["mean_ms"] if newest else None),
        "p50": _seconds(lag.get("p50_ms")),
        "p99": _seconds(lag.get("p99_ms")),
        "FPS": f"{newest['fps']:.0f}" if newest else "-",
        "FACES": str(newest["faces"]) if newest else "-",
        "CALLS": str(calls),
        "SEGMENTS": str(status.get("segments", 0)),
    }


def _seconds(ms: float | None) -> str:
    return "-" if ms is None else f"{ms / 1000:.2f} s"

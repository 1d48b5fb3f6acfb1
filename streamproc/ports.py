"""The Protocols between the stages and the outside. Adapters implement them; the pipeline knows nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from streamproc.model.detection import Answer
from streamproc.model.media import MediaEvent
from streamproc.model.segment import Checkpoint, Gap


class Clock(Protocol):
    """The time. Only ``app`` builds a real one."""

    def now_us(self) -> int:
        """Wall clock, µs since the Unix epoch; may jump."""

    def monotonic(self) -> float:
        """Seconds that never go back, for deadlines."""


class MediaSource(Protocol):
    """One connection after another to a stream, as one sequence of events. Called from one thread."""

    def events(self) -> Iterator[MediaEvent | None]:
        """Yield events as their bytes arrive; ``None`` says "quiet, nothing came" (at least once a second).

        Ends after :meth:`stop`. Raises an :class:`~streamproc.errors.UnavailableError` that no retry can mend.
        """

    def stop(self) -> None:
        """End :meth:`events` soon, from any thread, even while it waits for bytes."""


class Detector(Protocol):
    """Looks at one picture. Blocks; called from several threads at once."""

    api: str
    """The name under which its calls are counted, for instance ``DetectFaces``."""

    def look(self, jpeg: bytes, timeout_s: float) -> Answer:
        """What is in this JPEG. Never raises for what the service or the picture does: that is a ``Failed``."""


class ObjectStore(Protocol):
    """A place for objects: a bucket and prefix, or a folder. Raises ``StoreUnavailable``. Blocks."""

    def describe(self) -> str:
        """Where objects go, for people: ``s3://bucket/prefix`` or a folder's path."""

    def check(self) -> None:
        """Raise ``StoreUnavailable`` if the bucket or folder does not exist or refuses us."""

    def put_new(self, key: str, body: bytes, content_type: str, metadata: Mapping[str, str]) -> bool:
        """Create an object; False if the key is taken already (the object there is left as it is)."""

    def put(self, key: str, body: bytes, content_type: str, cache_control: str = "") -> None:
        """Create or replace an object (playlists only)."""

    def metadata(self, key: str) -> Mapping[str, str] | None:
        """The metadata given to :meth:`put_new`, or None if there is no such object."""


class CheckpointStore(Protocol):
    """Durable progress of streams. One process per stream: the other is refused. Blocks."""

    def load(self, stream: str) -> Checkpoint | None:
        """The last committed checkpoint, None if there is none."""

    def commit(self, checkpoint: Checkpoint) -> None:
        """Make it durable; when this returns it survives ``kill -9`` and power loss."""

    def record_gap(self, stream: str, gap: Gap) -> None:
        """Append to the stream's gap ledger, durably; a gap already recorded is not recorded twice."""

    def gaps(self, stream: str) -> list[Gap]:
        """All gaps of the stream, in the order they were recorded."""

"""The adapter to GetMedia: one session after another as one sequence of events.

A thread per session calls the service and reads the body; the consumer's thread parses, so a full queue stops the
reading and the service keeps the data. Bounded: 16 reads of 64 KiB wait, beside what the walker holds.

The body is read with urllib3's ``read1``, which returns what is there; ``StreamingBody.read(n)`` waits for n bytes.
The media client's ``read_timeout`` should be longer than ``idle_timeout_s``, as it ends a quiet session as well.
"""

from __future__ import annotations

import contextlib
import queue
import re
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any

from botocore import exceptions as boto

from streamproc.errors import AccessDenied, ConnectionLimit, StreamMissing, UnavailableError, shown_text, shown_url
from streamproc.ingest.resume import Outcome, Resume, StartSelector
from streamproc.ingest.walker import Limits, Walker
from streamproc.model.media import Block, Damage, FragmentEnd, FragmentStart, MediaEvent, ServiceError
from streamproc.model.segment import Gap
from streamproc.ports import Clock

READ_BYTES = 1 << 16
_WAITING_READS = 16
_TICK_S = 0.5

_DENIED = {
    "NotAuthorizedException",
    "AccessDenied",
    "AccessDeniedException",
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "SignatureDoesNotMatch",
    "InvalidSignatureException",
    "IncompleteSignature",
    "ExpiredToken",
    "ExpiredTokenException",
    "MissingAuthenticationToken",
    "OptInRequired",
}
_NO_CREDENTIALS = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.TokenRetrievalError,
    boto.UnauthorizedSSOTokenError,
    boto.ProfileNotFound,
)


@dataclass(frozen=True, slots=True)
class SessionNote:
    """The connection's state has changed. Told once per change, not once per retry.

    Attributes:
        kind: ``streaming``, ``waiting`` (the stream is quiet) or the name of an :class:`Outcome` that is an error.
        message: One line for people: what, where, what to do.
    """

    kind: str
    message: str


def classify(error: BaseException, where: str) -> tuple[Outcome, UnavailableError]:
    """What an error of boto3, urllib3 or the network means, by its code and by its HTTP status.

    The code comes from a header that AWS's own pages spell in two ways; where botocore misses it, the code is just the
    status, and the text has to help.
    """
    if isinstance(error, boto.ClientError):
        answer: Any = error.response
        code = str(answer.get("Error", {}).get("Code", "")).split(":")[0]
        text = str(answer.get("Error", {}).get("Message", "")).lower()
        status = int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) or 0)
        bare = not re.search("[A-Za-z]", code)
        name = code if not bare else f"HTTP {status}"
        if code == "ResourceNotFoundException" or status == 404 or (bare and "not found" in text):
            return Outcome.MISSING, StreamMissing(
                f"{where}: the stream does not exist or is not active ({name}): check name, region and account"
            )
        if code in _DENIED or status in (401, 403) or (bare and "not authorized" in text):
            return Outcome.DENIED, AccessDenied(
                f"{where}: access denied ({name}): allow kinesisvideo:GetDataEndpoint and kinesisvideo:GetMedia on it"
            )
        if code == "ConnectionLimitExceededException" or (bare and "connection" in text and "limit" in text):
            return Outcome.LIMIT, ConnectionLimit(
                f"{where}: others hold the stream's three connections ({name}): stop another consumer; trying again"
            )
        return Outcome.UNAVAILABLE, UnavailableError(f"{where}: the service refused ({name}); trying again")
    if isinstance(error, _NO_CREDENTIALS):
        return Outcome.DENIED, AccessDenied(
            f"{where}: no usable AWS credentials ({type(error).__name__}): set AWS_PROFILE, AWS_ACCESS_KEY_ID or a role"
        )
    return Outcome.UNAVAILABLE, UnavailableError(f"{where}: cannot be reached ({type(error).__name__}); trying again")


class GetMediaSource:
    """:class:`~streamproc.ports.MediaSource` over GetDataEndpoint and GetMedia.

    Damage and service errors are passed on for the record; the gaps that follow from them go to ``on_gap``, once each.

    Attributes:
        resume: How far the stream has been read.
        duplicates: Fragments dropped because they had been finished before.
        sessions: GetMedia calls made.
        answered: Whether the service ever opened a session.
        trouble: The error that ended the last session, None if it ended well.
    """

    def __init__(
        self,
        kinesisvideo_client: Any,
        media_client_factory: Callable[[str], Any],
        stream: str,
        start: StartSelector,
        *,
        clock: Clock,
        random: Callable[[], float],
        on_gap: Callable[[Gap], None],
        on_session: Callable[[SessionNote], None] | None = None,
        resume: Resume | None = None,
        limits: Limits | None = None,
        idle_timeout_s: float = 15.0,
    ) -> None:
        """
        Args:
            media_client_factory: Builds a ``kinesis-video-media`` client for a data endpoint.
            stream: The stream's name, or its ARN.
            resume: State of an earlier source of the same stream; otherwise it begins at ``start``.
            idle_timeout_s: A session that brings no byte for so long is given up for a new one.
        """
        self.resume = resume or Resume(start)
        self.sessions = 0
        self._video = kinesisvideo_client
        self._factory = media_client_factory
        self._stream = stream
        self._clock = clock
        self._random = random
        self._on_gap = on_gap
        self._on_session = on_session
        self._limits = limits or Limits()
        self._idle_timeout_s = idle_timeout_s
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._session: _Session | None = None
        self._client: Any = None
        self._endpoint = ""
        self._endpoint_at = 0.0
        self.answered = False
        self.trouble: UnavailableError | None = None
        self._received = False
        self._dropping = False
        self._state = ""

    @property
    def duplicates(self) -> int:
        return self.resume.duplicates

    def stop(self) -> None:
        self._stopped.set()
        with self._lock:
            session = self._session
        if session is not None:
            session.close()

    def events(self) -> Iterator[MediaEvent | None]:
        while not self._stopped.is_set():
            outcome, error = yield from self._one_session()
            if self._stopped.is_set():
                return
            self._report(self.resume.session_ended(outcome, self._clock.now_us()))
            if error is not None and not self._received and outcome in (Outcome.MISSING, Outcome.DENIED):
                raise error
            self.trouble = error
            self._tell(outcome, error)
            yield None
            wait_until = self._clock.monotonic() + self.resume.delay_s(self._random())
            while (left := wait_until - self._clock.monotonic()) > 0:
                if self._stopped.wait(min(left, _TICK_S)):
                    return
                if left > _TICK_S:
                    yield None

    def _one_session(self) -> Generator[MediaEvent | None, None, tuple[Outcome, UnavailableError | None]]:
        """One GetMedia call to its end. Returns how it ended."""
        walker = Walker(self._limits)
        self._dropping = False
        self.resume.session_started()
        self.sessions += 1
        session = _Session(self._open)
        with self._lock:
            self._session = session
        outcome, error = Outcome.ENDED, None  # type: Outcome, UnavailableError | None
        quiet_since = self._clock.monotonic()
        try:
            session.start()
            while not self._stopped.is_set():
                item = session.next(_TICK_S)
                if item is None:
                    if not session.answered:  # the service may answer only once there is media
                        quiet_since = self._clock.monotonic()
                    elif self._clock.monotonic() - quiet_since >= self._idle_timeout_s:
                        outcome = Outcome.STALLED
                        break
                    yield None
                elif isinstance(item, bytes):
                    quiet_since = self._clock.monotonic()
                    if not item:
                        break
                    events = walker.feed(item)
                    failed = next((event for event in events if isinstance(event, ServiceError)), None)
                    yield from self._sift(events)
                    if failed is not None:
                        outcome, error = self._failed(failed)
                        break
                elif session.answered:
                    outcome = Outcome.DROPPED
                    break
                else:
                    outcome, error = classify(item, self._where())
                    break
        finally:
            self.answered |= session.answered
            session.close()
            with self._lock:
                self._session = None
        if not self._stopped.is_set():
            events = walker.close()
            failed = next((event for event in events if isinstance(event, ServiceError)), None)
            if failed is not None:
                outcome, error = self._failed(failed)
            yield from self._sift(events)
        return outcome, error

    def _sift(self, events: list[MediaEvent]) -> Iterator[MediaEvent]:
        """Pass on what is new, and report what is missing."""
        for event in events:
            if isinstance(event, Block):
                if self._dropping:
                    continue
                self.resume.block()
            elif isinstance(event, FragmentStart):
                self._received = True
                fresh, gaps = self.resume.begin(event.fragment, self._clock.now_us())
                self._report(gaps)
                self._dropping = not fresh
                if not fresh:
                    continue
                self._note("streaming", f"{self._where()}: media is arriving")
            elif isinstance(event, FragmentEnd):
                if self._dropping:
                    self._dropping = False
                    continue
                self._report(self.resume.end(event, self._clock.now_us()))
            elif isinstance(event, Damage):
                self.resume.damage(event)
            yield event

    def _open(self) -> Any:
        """Call the service. Runs in the session's thread. Returns the body."""
        age = self._clock.monotonic() - self._endpoint_at
        if self._client is None or self.resume.refresh_endpoint(age):
            answer = self._video.get_data_endpoint(APIName="GET_MEDIA", **self._name())
            endpoint = str(answer["DataEndpoint"])
            if self._client is None or endpoint != self._endpoint:
                self._client, self._endpoint = self._factory(endpoint), endpoint
            self._endpoint_at = self._clock.monotonic()
        selector = self.resume.selector.to_request()
        return self._client.get_media(StartSelector=selector, **self._name())["Payload"]

    def _name(self) -> dict[str, str]:
        return {"StreamARN" if self._stream.startswith("arn:") else "StreamName": self._stream}

    def _where(self) -> str:
        return f"stream {self._stream}" + (f" at {shown_url(self._endpoint)}" if self._endpoint else "")

    def _failed(self, event: ServiceError) -> tuple[Outcome, UnavailableError]:
        """What an error tag inside the body means (AWS, GetMedia: ``AWS_KINESISVIDEO_ERROR_ID``)."""
        what = f"{self._where()}: the service ended the session with error {event.error_id} ({shown_text(event.code)})"
        if event.error_id == 4000:
            return Outcome.EXPIRED, UnavailableError(f"{what}: going on with the earliest fragment that is kept")
        if 4500 <= event.error_id < 4600:
            return Outcome.DENIED, AccessDenied(
                f"{what}: allow kms:Decrypt with the stream's key, and see that it is enabled"
            )
        return Outcome.UNAVAILABLE, UnavailableError(f"{what}; trying again")

    def _report(self, gaps: list[Gap]) -> None:
        for gap in gaps:
            self._on_gap(gap)

    def _tell(self, outcome: Outcome, error: UnavailableError | None) -> None:
        if error is not None:
            self._note(outcome.value, str(error))
        elif self.resume.idle:
            self._note("waiting", f"{self._where()}: no media is arriving; waiting for the camera")

    def _note(self, kind: str, message: str) -> None:
        if kind != self._state:
            self._state = kind
            if self._on_session is not None:
                self._on_session(SessionNote(kind, message))


class _Session:
    """A thread that opens one body and reads it."""

    def __init__(self, open_body: Callable[[], Any]) -> None:
        self.answered = False
        self._open = open_body
        self._items: queue.Queue[bytes | Exception] = queue.Queue(_WAITING_READS)
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._body: Any = None

    def start(self) -> None:
        threading.Thread(target=self._run, name="getmedia", daemon=True).start()

    def next(self, timeout_s: float) -> bytes | Exception | None:
        """What was read; ``b""`` at the end of the body, an error, or None if nothing came in time."""
        try:
            return self._items.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def close(self) -> None:
        """Wake the reader, whatever it waits for, and give the connection back."""
        with self._lock:
            self._closed.set()
            body, self._body = self._body, None
        if body is not None:
            # close() alone does not wake a reader that waits for bytes; a socket that is gone already is no matter.
            with contextlib.suppress(Exception):
                body._raw_stream.shutdown()
        with contextlib.suppress(queue.Full):
            self._items.put_nowait(b"")  # wakes a consumer that waits

    def _run(self) -> None:
        body: Any = None
        try:
            body = self._open()
            with self._lock:
                if self._closed.is_set():
                    return
                self._body = body
            self.answered = True
            read = self._reader(body)
            while True:
                data = read()
                if not self._put(data) or not data:
                    return
        except Exception as error:  # noqa: BLE001  the thread's edge: whatever it is, the consumer decides
            self._put(error)
        finally:
            if body is not None:
                with contextlib.suppress(Exception):
                    body.close()

    def _put(self, item: bytes | Exception) -> bool:
        while not self._closed.is_set():
            try:
                self._items.put(item, timeout=0.25)
            except queue.Full:
                continue
            return True
        return False

    @staticmethod
    def _reader(body: Any) -> Callable[[], bytes]:
        read1 = getattr(getattr(body, "_raw_stream", None), "read1", None)
        if read1 is not None:
            return lambda: bytes(read1(READ_BYTES))
        return lambda: bytes(body.read(1024))

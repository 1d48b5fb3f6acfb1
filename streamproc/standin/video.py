"""The Kinesis Video Streams API: control, archived media, and GetMedia.

Source: AWS service models ``kinesisvideo``, ``kinesis-video-media`` and ``kinesis-video-archived-media`` (rest-json).
"""

from __future__ import annotations

import base64
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from streamproc.standin.camera import StoredFragment, Stream
from streamproc.standin.faults import Faults
from streamproc.standin.session import (
    Limits,
    NotFound,
    Piece,
    Session,
    first_index,
    not_found_segment,
    whole_fragment,
)

GET_MEDIA_CONNECTIONS = 3
GET_MEDIA_TPS = 5

_STATUS = {
    "ResourceNotFoundException": 404,
    "NotAuthorizedException": 401,
    "AccessDeniedException": 403,
    "InternalFailure": 500,
    "ServiceUnavailable": 503,
}
_SELECTORS = ("NOW", "EARLIEST", "FRAGMENT_NUMBER", "SERVER_TIMESTAMP", "PRODUCER_TIMESTAMP", "CONTINUATION_TOKEN")


class ServiceException(Exception):
    """An error that the service answers with."""

    def __init__(self, code: str, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status or _STATUS.get(code, 400)


class VideoService:
    """All streams, and the calls that read them. Used from many threads."""

    def __init__(self, faults: Faults, limits: Limits, region: str) -> None:
        self.faults = faults
        self.limits = limits
        self.streams: dict[str, Stream] = {}
        self._region = region
        self._lock = threading.Lock()
        self._connections: dict[str, int] = defaultdict(int)
        self._calls: dict[str, deque[float]] = defaultdict(deque)
        self.sessions: dict[str, int] = defaultdict(int)

    def operation(self, path: str) -> Callable[[Mapping[str, Any], str], dict[str, Any]] | None:
        """The call that lives under this path and answers with JSON."""
        return {
            "/describeStream": self._describe_stream,
            "/listStreams": self._list_streams,
            "/getDataEndpoint": self._get_data_endpoint,
            "/listFragments": self._list_fragments,
        }.get(path)

    def connections(self, stream: str) -> int:
        """GetMedia sessions open now."""
        with self._lock:
            return self._connections[stream]

    def open_media(self, asked: Mapping[str, Any], alive: Callable[[], None]) -> MediaAnswer:
        """Check a GetMedia call and take one of the stream's connections. Raises :class:`ServiceException`."""
        stream = self._stream(asked)
        selector = asked.get("StartSelector") or {}
        kind, value = _selector(selector)
        self._count_call(stream.name)
        denied = self.faults.strike(("deny",), stream=stream.name)
        if denied is not None:
            code = denied.code or "NotAuthorizedException"
            status = _STATUS.get(code, denied.status)
            raise ServiceException(code, "The caller is not authorized to perform this operation.", status)
        with self._lock:
            if self._connections[stream.name] >= GET_MEDIA_CONNECTIONS:
                raise ServiceException(
                    "ConnectionLimitExceededException", "Connection limit exceeded: 3 GetMedia connections per stream."
                )
            self._connections[stream.name] += 1
            self.sessions[stream.name] += 1
        return MediaAnswer(self, stream, kind, value, alive)

    def close_media(self, stream: str) -> None:
        """Give a connection back."""
        with self._lock:
            self._connections[stream] -= 1

    def fragment_list(self, asked: Mapping[str, Any]) -> Iterator[bytes]:
        """The body of GetMediaForFragmentList. Raises :class:`ServiceException` before the first piece."""
        stream = self._stream(asked)
        known = {str(f.number): f for f in stream.fragments()}
        numbers = asked.get("Fragments") or []
        if not numbers or len(numbers) > 1000:
            raise ServiceException("InvalidArgumentException", "Fragments: between 1 and 1000 are allowed.")
        missing = [n for n in numbers if n not in known]
        if missing:
            raise ServiceException("ResourceNotFoundException", "A requested fragment does not exist.")
        return (whole_fragment(stream, known[n]) for n in numbers)

    def _stream(self, asked: Mapping[str, Any]) -> Stream:
        name, arn = asked.get("StreamName"), asked.get("StreamARN")
        if not name and not arn:
            raise ServiceException("InvalidArgumentException", "Either StreamName or StreamARN is required.")
        wanted = name or str(arn).split("/")[1:2]
        stream = self.streams.get(wanted if isinstance(wanted, str) else "".join(wanted))
        if stream is None:
            raise ServiceException("ResourceNotFoundException", "The requested stream is not found or not active.")
        return stream

    def _count_call(self, stream: str) -> None:
        with self._lock:
            calls, now = self._calls[stream], time.monotonic()
            while calls and calls[0] <= now - 1:
                calls.popleft()
            if len(calls) >= GET_MEDIA_TPS:
                raise ServiceException("ClientLimitExceededException", "Rate exceeded: 5 GetMedia calls per second.")
            calls.append(now)

    def _describe_stream(self, asked: Mapping[str, Any], host: str) -> dict[str, Any]:
        return {"StreamInfo": self._info(self._stream(asked))}

    def _list_streams(self, asked: Mapping[str, Any], host: str) -> dict[str, Any]:
        condition = asked.get("StreamNameCondition") or {}
        if condition.get("ComparisonOperator", "BEGINS_WITH") != "BEGINS_WITH":
            raise ServiceException("InvalidArgumentException", "ComparisonOperator: only BEGINS_WITH is supported.")
        prefix = condition.get("ComparisonValue", "")
        names = sorted(name for name in self.streams if name.startswith(prefix))
        page, token = _page(names, asked, 10_000)
        return {"StreamInfoList": [self._info(self.streams[name]) for name in page], **token}

    def _get_data_endpoint(self, asked: Mapping[str, Any], host: str) -> dict[str, Any]:
        self._stream(asked)
        if not asked.get("APIName"):
            raise ServiceException("InvalidArgumentException", "APIName is required.")
        return {"DataEndpoint": f"http://{host}"}

    def _list_fragments(self, asked: Mapping[str, Any], host: str) -> dict[str, Any]:
        stream = self._stream(asked)
        selector = asked.get("FragmentSelector")
        fragments = [f for f in stream.fragments() if f.end_us <= time.time_ns() // 1000]
        if selector:
            server = selector.get("FragmentSelectorType") == "SERVER_TIMESTAMP"
            span = selector.get("TimestampRange") or {}
            low, high = float(span.get("StartTimestamp", 0)) * 1e6, float(span.get("EndTimestamp", 0)) * 1e6
            fragments = [f for f in fragments if low <= (f.server_us if server else f.producer_us) <= high]
        # The service answers in no order, not even across pages.
        numbers = sorted((str(f.number) for f in fragments), key=lambda n: n[::-1])
        page, token = _page(numbers, asked, 1000)
        known = {str(f.number): f for f in fragments}
        return {"Fragments": [_fragment_info(known[n]) for n in page], **token}

    def _info(self, stream: Stream) -> dict[str, Any]:
        return {
            "DeviceName": "standin",
            "StreamName": stream.name,
            "StreamARN": stream.arn(self._region),
            "MediaType": stream.media_type,
            "KmsKeyId": f"arn:aws:kms:{self._region}:123456789012:alias/aws/kinesisvideo",
            "Version": "1",
            "Status": "ACTIVE",
            "CreationTime": stream.created_us / 1e6,
            "DataRetentionInHours": 24 if stream.retention_s is None else -(-int(stream.retention_s) // 3600),
        }


class MediaAnswer:
    """A GetMedia call that was let in: its body, then :meth:`close`."""

    def __init__(
        self, service: VideoService, stream: Stream, kind: str, value: float | int | None, alive: Callable[[], None]
    ) -> None:
        self._service = service
        self.stream = stream
        self._kind = kind
        self._value = value
        self._alive = alive

    def pieces(self) -> Iterator[Piece]:
        """The body as it falls due. Raises :class:`~streamproc.standin.session.Ended` when nobody listens."""
        try:
            index = first_index(self.stream, self._kind, self._value)
        except NotFound:
            yield Piece((not_found_segment(),))
            return
        yield from Session(self.stream, self._service.limits, self._alive).pieces(index)

    def close(self) -> None:
        self._service.close_media(self.stream.name)


def _selector(selector: Mapping[str, Any]) -> tuple[str, float | int | None]:
    kind = selector.get("StartSelectorType")
    if kind not in _SELECTORS:
        raise ServiceException("InvalidArgumentException", "StartSelectorType is missing or unknown.")
    if kind in ("SERVER_TIMESTAMP", "PRODUCER_TIMESTAMP"):
        if "StartTimestamp" not in selector:
            raise ServiceException("InvalidArgumentException", "StartTimestamp is required.")
        return kind, float(selector["StartTimestamp"])
    if kind in ("FRAGMENT_NUMBER", "CONTINUATION_TOKEN"):
        name = "AfterFragmentNumber" if kind == "FRAGMENT_NUMBER" else "ContinuationToken"
        text = str(selector.get(name, ""))
        if not text.isdecimal() or len(text) > 128:
            raise ServiceException("InvalidArgumentException", f"{name} is not a fragment number.")
        return kind, int(text)
    return kind, None


def _page(names: list[str], asked: Mapping[str, Any], most: int) -> tuple[list[str], dict[str, str]]:
    limit = asked.get("MaxResults") or most
    if not isinstance(limit, int) or not 1 <= limit <= most:
        raise ServiceException("InvalidArgumentException", f"MaxResults lies between 1 and {most}.")
    start = 0
    if asked.get("NextToken"):
        try:
            start = int(base64.urlsafe_b64decode(str(asked["NextToken"])))
        except ValueError:
            raise ServiceException("InvalidArgumentException", "NextToken is not valid.") from None
    end = start + limit
    token = {"NextToken": base64.urlsafe_b64encode(str(end).encode()).decode()} if end < len(names) else {}
    return names[start:end], token


def _fragment_info(stored: StoredFragment) -> dict[str, Any]:
    return {
        "FragmentNumber": str(stored.number),
        "FragmentSizeInBytes": stored.media.size,
        "ProducerTimestamp": stored.producer_us / 1e6,
        "ServerTimestamp": stored.server_us / 1e6,
        "FragmentLengthInMilliseconds": stored.media.duration_us // 1000,
    }

"""The Rekognition calls that look at one picture.

Source: AWS service model ``rekognition`` (JSON 1.1); "Guidelines and quotas in Amazon Rekognition".
"""

from __future__ import annotations

import base64
import binascii
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from streamproc.standin.answers import NONSENSE, SHAPES, RekognitionException
from streamproc.standin.eyes import Eyes, Sight
from streamproc.standin.faults import REKOGNITION_KINDS, Fault, Faults
from streamproc.standin.pictures import picture_size

MOST_BYTES = 5 * 1024 * 1024
LEAST_EDGE_PX, MOST_EDGE_PX = 80, 10_000

Log = Callable[[dict[str, Any]], None]


class Hang(Exception):
    """Answer nothing and close the connection."""


class RekognitionService:
    """Answers for :class:`Eyes`. Used from many threads.

    Args:
        latency_s: How long a call takes at least.
        jitter_s: Up to so much longer, evenly spread.
        tps: Calls per second and API; 0 for no limit.
    """

    def __init__(
        self,
        eyes: Eyes,
        faults: Faults,
        *,
        latency_s: float = 0.0,
        jitter_s: float = 0.0,
        tps: float = 0.0,
        seed: int = 0,
        log: Log | None = None,
    ) -> None:
        self.eyes = eyes
        self.latency_s = latency_s
        self.jitter_s = jitter_s
        self.tps = tps
        self._faults = faults
        self._random = random.Random(seed)
        self._log = log
        self._lock = threading.Lock()
        self._tokens: dict[str, tuple[float, float]] = {}
        self.calls: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self.in_flight = 0
        self.most_in_flight = 0
        self.stopping = threading.Event()

    def answer(self, operation: str, body: bytes) -> bytes:
        """The JSON answer to ``RekognitionService.<operation>``.

        Raises:
            RekognitionException: the answer is an error.
            Hang: there is no answer.
        """
        with self._lock:
            self.calls[operation] += 1
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            in_flight = self.in_flight
        what, size = "error", 0
        started = time.monotonic()
        try:
            asked = _json(body)
            size = len(body) * 3 // 4
            shape = SHAPES.get(operation)
            if shape is None:
                raise RekognitionException("UnknownOperationException", f"The stand-in does not know {operation}.")
            fault = self._faults.strike(REKOGNITION_KINDS, api=operation)
            self._admit(operation, fault)
            picture = _picture(asked)
            size = len(picture)
            self._checked(operation, picture)
            if fault is not None:
                text = self._broken(fault)
            else:
                text = json.dumps(shape(self._see(picture, operation), asked)).encode()
            pause = self.latency_s + (self.jitter_s * self._random.random() if self.jitter_s else 0.0)
            self.stopping.wait(max(0.0, pause - (time.monotonic() - started)))
            what = "detect" if fault is None else fault.kind
            return text
        except RekognitionException as error:
            throttled = error.code in ("ThrottlingException", "ProvisionedThroughputExceededException")
            what = "throttled" if throttled else "error"
            raise
        except Hang:
            what = "hang"
            raise
        finally:
            with self._lock:
                self.in_flight -= 1
                self.outcomes[what] += 1
            if self._log is not None:
                took_ms = round((time.monotonic() - started) * 1000, 1)
                self._log({"what": what, "api": operation, "bytes": size, "in_flight": in_flight, "ms": took_ms})

    def _admit(self, operation: str, fault: Fault | None) -> None:
        if fault is not None and fault.kind == "throttle":
            raise RekognitionException(fault.code or "ThrottlingException", "Rate exceeded")
        if self.tps <= 0:
            return
        with self._lock:
            now = time.monotonic()
            most = max(1.0, self.tps)
            tokens, at = self._tokens.get(operation, (most, now))
            tokens = min(most, tokens + (now - at) * self.tps)
            self._tokens[operation] = (tokens - 1 if tokens >= 1 else tokens, now)
        if tokens < 1:
            raise RekognitionException("ProvisionedThroughputExceededException", "Provisioned rate exceeded")

    def _checked(self, operation: str, picture: bytes) -> None:
        if len(picture) > MOST_BYTES:
            raise RekognitionException("ImageTooLargeException", "Image size is too large.")
        size = picture_size(picture)
        if size is None:
            raise RekognitionException("InvalidImageFormatException", "Request has invalid image format")
        if min(size) < LEAST_EDGE_PX:
            raise RekognitionException("InvalidParameterException", "Image dimensions are too small.")
        if max(size) > MOST_EDGE_PX:
            raise RekognitionException("ImageTooLargeException", "Image dimensions are too large.")

    def _see(self, picture: bytes, operation: str) -> Sequence[Sight]:
        try:
            return self.eyes.see(picture, operation)
        except Exception as error:  # whatever the eyes do, the service answers
            raise RekognitionException(
                "InternalServerError", f"Internal error ({type(error).__name__})", 500
            ) from error

    def _broken(self, fault: Fault) -> bytes:
        if fault.kind == "hang":
            self.stopping.wait(fault.seconds)
            raise Hang
        if fault.kind == "error500":
            raise RekognitionException(fault.code or "InternalServerError", "Internal server error", 500)
        if fault.kind == "status":
            raise RekognitionException(fault.code or "ServiceException", "", fault.status)
        return NONSENSE[fault.shape]


def _json(body: bytes) -> Mapping[str, Any]:
    try:
        asked = json.loads(body or b"{}")
    except ValueError:
        raise RekognitionException("SerializationException", "The request is not JSON.") from None
    if not isinstance(asked, dict):
        raise RekognitionException("SerializationException", "The request is not an object.")
    return asked


def _picture(asked: Mapping[str, Any]) -> bytes:
    image = asked.get("Image") or {}
    if "S3Object" in image:
        raise RekognitionException("InvalidS3ObjectException", "The stand-in takes Image.Bytes only.")
    try:
        picture = base64.b64decode(image["Bytes"], validate=True)
    except (KeyError, TypeError, binascii.Error):
        raise RekognitionException("InvalidParameterException", "Request has invalid parameters") from None
    if not picture:
        raise RekognitionException("InvalidParameterException", "Request has invalid parameters")
    return picture

"""Amazon Rekognition's DetectFaces as a :class:`~streamproc.ports.Detector`: one attempt, every outcome an answer.

Retries, budgets and deadlines belong to the fan-out, which knows how long a frame can still wait; the SDK's own
retries would hide throttling behind seconds of latency.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ReadTimeoutError,
    SSOError,
    TokenRetrievalError,
)
from botocore.parsers import ResponseParserError

from streamproc.detect.response import parse_faces
from streamproc.errors import shown_url
from streamproc.model.detection import Answer, Failed, Failure

_THROTTLED = frozenset(
    {
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "SlowDown",
        "Throttling",
        "ThrottledException",
        "ThrottlingException",
        "TooManyRequests",
        "TooManyRequestsException",
    }
)
_TIMED_OUT = frozenset({"RequestTimeout", "RequestTimeoutException"})
_NO_ACCESS = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "NotAuthorized",
        "OptInRequired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_BAD_CREDENTIALS = (
    NoCredentialsError,
    PartialCredentialsError,
    CredentialRetrievalError,
    SSOError,
    TokenRetrievalError,
)


class FaceClient(Protocol):
    """What is used of ``boto3.client("rekognition")``."""

    @property
    def meta(self) -> Any:
        """The client's metadata; its ``endpoint_url`` stands in messages."""

    def detect_faces(self, **kwargs: Any) -> Any:
        """DetectFaces: https://docs.aws.amazon.com/rekognition/latest/APIReference/API_DetectFaces.html"""


def client_config(concurrency: int, deadline_ms: int) -> Config:
    """How the client must be built: one attempt, no longer than a frame can wait, a connection for every thread.

    Args:
        concurrency: Calls under way at most.
        deadline_ms: Longest wait for an answer; the fan-out's deadline for each frame may end earlier.
    """
    return Config(
        retries={"mode": "standard", "total_max_attempts": 1},
        connect_timeout=1.0,
        read_timeout=deadline_ms / 1000,
        max_pool_connections=concurrency,
        tcp_keepalive=True,
    )


class RekognitionFaces:
    """Faces by DetectFaces. One client serves all threads.

    Args:
        client: A Rekognition client built with :func:`client_config`.
        min_confidence: Faces below it are left out; in [0, 1].
        on_problem: Told one line when nobody can be seen because of something that a person must mend (credentials,
            permission, an unreachable endpoint, a picture that the service refuses); again only when the kind
            changes or after the service had answered in between. Called from the looking threads.
    """

    api = "DetectFaces"

    def __init__(
        self, client: FaceClient, min_confidence: float = 0.0, on_problem: Callable[[str], None] | None = None
    ) -> None:
        self._client = client
        self._min_confidence = min_confidence
        self._on_problem = on_problem
        self._problem = ""
        self._lock = threading.Lock()

    def look(self, jpeg: bytes, timeout_s: float) -> Answer:
        """Ask the service. ``timeout_s`` only refuses what is late already: botocore's timeouts are the client's."""
        if timeout_s <= 0:
            return Failed(Failure.LATE)
        try:
            body = self._client.detect_faces(Image={"Bytes": jpeg}, Attributes=["DEFAULT"])
        except ClientError as error:
            return Failed(self._refused(error))
        except (ReadTimeoutError, ConnectTimeoutError):
            return Failed(Failure.LATE)
        except _BAD_CREDENTIALS as error:
            self._tell(
                type(error).__name__,
                "no usable AWS credentials: configure a profile, a role or the AWS_ environment variables",
            )
            return Failed(Failure.FAILED)
        except EndpointConnectionError as error:
            self._tell(
                type(error).__name__,
                "no connection to the service: check the region, the endpoint and the network (VPC endpoint, proxy)",
            )
            return Failed(Failure.FAILED)
        except ResponseParserError:
            return Failed(Failure.NONSENSE)
        except (BotoCoreError, HTTPClientError, ConnectionError, OSError):
            return Failed(Failure.FAILED)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            # botocore's parser on a body of the wrong shape (a text where the model says list or number).
            return Failed(Failure.NONSENSE)
        self._mended()
        return parse_faces(body, self._min_confidence)

    def _refused(self, error: ClientError) -> Failure:
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in _THROTTLED or status == 429:
            return Failure.THROTTLED
        if code in _TIMED_OUT:
            return Failure.LATE
        # Only the code is passed on: the service's own text may name users, roles and accounts.
        if code in _NO_ACCESS or status in (401, 403):
            self._tell(
                code,
                f"access refused ({code}): allow rekognition:DetectFaces to this role, or renew its credentials",
            )
        elif status < 500:
            self._tell(code, f"the call is refused ({code}): check the region and the detector's picture size")
        return Failure.FAILED

    def _tell(self, kind: str, line: str) -> None:
        with self._lock:
            if kind == self._problem:
                return
            self._problem = kind
        if self._on_problem is not None:
            endpoint = getattr(getattr(self._client, "meta", None), "endpoint_url", None)
            where = shown_url(endpoint) if endpoint else "Rekognition"
            self._on_problem(f"{self.api} at {where}: {line}")

    def _mended(self) -> None:
        with self._lock:
            self._problem = ""

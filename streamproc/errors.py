"""The errors of streamproc, as a tree that tells the caller what to do.

::

    StreamprocError
    ├── ConfigurationError      the user must change a setting                     exit 78
    ├── UnavailableError        an outside service refuses or is away              exit 69
    │   ├── StreamMissing       the stream does not exist (may be created later)
    │   ├── AccessDenied        credentials missing, or not allowed to do this
    │   ├── ConnectionLimit     somebody else holds the stream's three connections
    │   └── StoreUnavailable    the output store refuses or is away
    ├── InStreamError           an error tag inside a GetMedia body
    ├── MediaError              bytes that cannot be decoded or are over a limit
    └── SegmentTaken            another writer has published this segment's key

Every message is one line that names what failed, where, and what to do about it. It never holds personal data.
"""

from __future__ import annotations

import re
from typing import ClassVar
from urllib.parse import urlsplit

_HOST = re.compile(r"[\w.:%-]+")


class StreamprocError(Exception):
    """Base of all errors that streamproc raises on purpose.

    Attributes:
        retriable: Whether the same call may succeed later without anybody changing anything.
        exit_code: What the command line exits with when this error ends it.
    """

    retriable: ClassVar[bool] = False
    exit_code: ClassVar[int] = 1


class ConfigurationError(StreamprocError):
    """A setting is wrong. The message has one line per fault: ``where: key: reason``."""

    exit_code = 78


class UnavailableError(StreamprocError):
    """An outside service refuses, or is away."""

    retriable = True
    exit_code = 69


class StreamMissing(UnavailableError):
    """The stream does not exist, or is not active yet."""


class AccessDenied(UnavailableError):
    """Credentials are missing, or do not allow the call."""


class ConnectionLimit(UnavailableError):
    """Another consumer holds the stream's connections (three per stream, a hard limit of the service)."""


class StoreUnavailable(UnavailableError):
    """The output store refuses a write, or is away."""


class InStreamError(StreamprocError):
    """An error tag inside a GetMedia body, after the service had answered 200.

    Source: AWS, "GetMedia" API reference, tags ``AWS_KINESISVIDEO_ERROR_CODE`` and ``AWS_KINESISVIDEO_ERROR_ID``.
    """

    retriable = True
    exit_code = 69

    def __init__(self, error_id: int, code: str) -> None:
        super().__init__(f"the service ended the stream with error {error_id} ({code})")
        self.error_id = error_id
        self.code = code

    @property
    def fragment_missing(self) -> bool:
        """Error 4000: the fragment to start after is no longer kept."""
        return self.error_id == 4000


class MediaError(StreamprocError):
    """Media that cannot be decoded, or that is over a limit. Only the fragment concerned is lost."""


class SegmentTaken(StreamprocError):
    """Another writer published this segment's key first; its end is in the object's metadata."""

    def __init__(self, key: str) -> None:
        super().__init__(f"segment {key} was published by another writer")
        self.key = key


def shown_url(url: str) -> str:
    """What may be told of a URL: scheme, host and port.

    A user's name and password, a path and a query stay out of every message. What cannot be told apart from them, as in
    ``http://user:pass/word@host``, gives ``(not a valid URL)``.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "(not a valid URL)"
    if not parts.scheme or not _HOST.fullmatch(host) or "@" in parts.path + parts.query + parts.fragment:
        return "(not a valid URL)"
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}" + (f":{port}" if port is not None else "")


def shown_text(text: str, longest: int = 64) -> str:
    """Text that came in a stream, for a message: quoted and escaped as ``repr`` does, ``longest`` characters at most.

    It cannot end the line, command a terminal or pass for the message around it. What is cut off shows as an ellipsis.
    """
    quoted = ""
    for character in text[:longest]:
        quoted += "\\'" if character == "'" else repr(character)[1:-1]
    if len(text) > longest or len(quoted) > longest - 2:
        quoted = quoted[: longest - 3] + "…"
    return f"'{quoted}'"

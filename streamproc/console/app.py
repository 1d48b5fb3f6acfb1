"""The page that shows a live stream: its redacted video, its lag and its counts.

Everything comes through a small read-only port, so the page cannot change anything, and knows neither pipeline nor AWS.
What it serves of the store are redacted media and playlists, by their names in the layout, and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streamproc.errors import UnavailableError

_FOLDER = Path(__file__).parent

# hls.js hands the video over as a blob, and works in a worker that is one.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "media-src 'self' blob:; worker-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}

_NAME = r"[A-Za-z0-9._~%+-]+"
_MEDIA_KEY = re.compile(
    rf"video/stream={_NAME}/(?:live\.m3u8|dt=\d{{4}}-\d\d-\d\d/hour=\d\d/(?:index\.m3u8|{_NAME}\.mp4))", re.ASCII
)
_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes that are asked for, as in RFC 9110, 14.1.2.

    Attributes:
        first: Of the first byte; negative to count from the end, and then ``last`` is None.
        last: Of the last byte, which belongs to it; None for everything from ``first`` on.
    """

    first: int
    last: int | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of an object: ``data`` begins at byte ``first`` of ``total``."""

    data: bytes
    first: int
    total: int


class Watched(Protocol):
    """What the page looks at. Called from several threads."""

    def status(self) -> Mapping[str, Any]:
        """Plain values for JSON; ``{"streams": [...]}``, each as ``LiveRun.status`` tells it."""

    def read(self, key: str, span: Span | None) -> Piece | None:
        """An object of the store, or a part of it; None if it is not there.

        Raises:
            IndexError: The span lies behind the object's end.
            UnavailableError: The store refuses or is away.
        """


def media_key(path: str) -> str | None:
    """The path as a key of redacted media or of a playlist; None for everything else, audit records included."""
    return path if _MEDIA_KEY.fullmatch(path) else None


def parse_range(header: str | None) -> Span | None:
    """One range of bytes; None, which means the whole, without one and for everything that is not one."""
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None:
        return None
    first, last = match.groups()
    if not first:
        return Span(-int(last)) if last and int(last) else None
    if last and int(last) < int(first):
        return None
    return Span(int(first), int(last) if last else None)


def console_app(watched: Watched, hosts: Sequence[str] = ("127.0.0.1", "localhost", "[::1]")) -> Starlette:
    """The page as an ASGI application.

    Args:
        hosts: Names under which it may be called: a foreign site that gives its own name our address gets nothing.
    """

    def page(request: Request) -> Response:
        return FileResponse(_FOLDER / "static" / "index.html", headers={"cache-control": "no-cache"})

    def favicon(request: Request) -> Response:
        return FileResponse(_FOLDER / "static" / "favicon.svg", headers={"cache-control": "max-age=3600"})

    def status(request: Request) -> Response:
        return JSONResponse(watched.status(), headers={"cache-control": "no-store"})

    def media(request: Request) -> Response:
        return _media(watched, request.path_params["path"], request.headers.get("range"))

    return Starlette(
        routes=[
            Route("/", page),
            Route("/favicon.ico", favicon),
            Route("/api/status", status),
            Route("/media/{path:path}", media),
            Route("/healthz", lambda request: PlainTextResponse("ok\n")),
            Mount("/static", StaticFiles(directory=_FOLDER / "static")),
            Mount("/vendor", StaticFiles(directory=_FOLDER / "vendor")),
        ],
        middleware=[
            Middleware(_SafeHeaders),
            Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False),
        ],
    )


def _media(watched: Watched, path: str, range_header: str | None) -> Response:
    key = media_key(path)
    if key is None:
        return PlainTextResponse("only redacted media are served here\n", 404)
    playlist = key.endswith(".m3u8")
    span = None if playlist else parse_range(range_header)
    try:
        piece = watched.read(key, span)
    except IndexError:
        return PlainTextResponse("the range lies behind the object's end\n", 416)
    except UnavailableError as error:
        return PlainTextResponse(f"{error}\n", 503, headers={"retry-after": "1"})
    if piece is None:
        return PlainTextResponse("not there (yet)\n", 404, headers={"cache-control": "no-store"})
    headers = {
        # A segment never changes once it is there.
        "cache-control": "no-store" if playlist else "private, max-age=3600, immutable",
        "accept-ranges": "none" if playlist else "bytes",
    }
    if span is not None:
        headers["content-range"] = f"bytes {piece.first}-{piece.first + len(piece.data) - 1}/{piece.total}"
    kind = "application/vnd.apple.mpegurl" if playlist else "video/mp4"
    return Response(piece.data, 206 if span is not None else 200, headers, media_type=kind)


class _SafeHeaders:
    """Puts the headers that keep the page to itself on every answer, errors included."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
            await send(message)

        await self._app(scope, receive, with_headers)

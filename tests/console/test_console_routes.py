"""What the page's server answers, asked over HTTP."""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from console.live_page import MemoryStore
from hypothesis import example, given
from hypothesis import strategies as st

import streamproc.console
from streamproc.console.app import CONTENT_SECURITY_POLICY, Piece, Span, console_app, media_key, parse_range
from streamproc.console.server import ConsoleServer
from streamproc.errors import ConfigurationError, StoreUnavailable
from streamproc.model.frame import FrameId
from streamproc.model.media import Fragment
from streamproc.publish.layout import hour_playlist_key, live_playlist_key, sidecar_key
from streamproc.publish.layout import media_key as segment_key

CONSOLE = Path(streamproc.console.__file__).parent
T0 = 1_795_095_371_123_000
START = FrameId(Fragment("913438", T0, T0), 3, T0)
SEGMENT = segment_key("cam 1/é", START)
LIVE = live_playlist_key("cam 1/é")
BODY = bytes(range(256)) * 4


class Store(MemoryStore):
    away = False

    def status(self) -> dict[str, Any]:
        return {"now_ms": 1, "streams": [{"stream": "cam", "state": "live"}]}

    def read(self, key: str, span: Span | None) -> Piece | None:
        if self.away:
            raise StoreUnavailable("GET s3://b/k: SlowDown")
        return super().read(key, span)


@pytest.fixture
def store() -> Store:
    store = Store()
    store.objects = {SEGMENT: BODY, LIVE: b"#EXTM3U\n", sidecar_key("cam 1/é", START, "ab"): b"boxes"}
    return store


@pytest.fixture
def server(store: Store) -> Iterator[ConsoleServer]:
    with ConsoleServer(console_app(store), 0) as server:
        yield server


def get(
    server: ConsoleServer, path: str, headers: Mapping[str, str] | None = None, method: str = "GET"
) -> tuple[int, Mapping[str, str], bytes]:
    """As it stands: no client in between tidies the path up."""
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=10)
    connection.request(method, path, headers=dict(headers or {}))
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, body


def url(key: str) -> str:
    return "/media/" + quote(key, safe="/=")


def test_status_is_what_the_watched_run_says(server: ConsoleServer, store: Store) -> None:
    code, headers, body = get(server, "/api/status")
    assert (code, json.loads(body)) == (200, store.status())
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "path", ["/", "/favicon.ico", "/static/app.js", "/vendor/hls.light.min.js", "/api/status", "/nothing", "/media/x"]
)
def test_every_answer_keeps_the_page_to_itself(server: ConsoleServer, path: str) -> None:
    code, headers, _ = get(server, path)
    assert code == (404 if path in {"/nothing", "/media/x"} else 200)
    assert headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert headers["x-content-type-options"] == "nosniff"
    assert "unsafe" not in CONTENT_SECURITY_POLICY


def test_page_names_nothing_outside_of_itself() -> None:
    own = [CONSOLE / "static" / name for name in ("index.html", "app.js", "style.css")]
    foreign = [
        found
        for path in own
        for found in re.findall(r"(?:https?:)?//[\w.-]+\.\w+|@import|\bstyle=|\bon\w+=\"", path.read_text())
        if found != "//www.w3.org"
    ]
    assert foreign in ([], ["http://www.w3.org"])


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example"])
def test_a_foreign_name_for_our_address_gets_nothing(server: ConsoleServer, host: str) -> None:
    code, _, body = get(server, url(SEGMENT), {"Host": host})
    assert code == 400
    assert BODY not in body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_can_be_changed(server: ConsoleServer, store: Store, method: str) -> None:
    before = dict(store.objects)
    assert get(server, url(SEGMENT), method=method)[0] == 405
    assert store.objects == before


def test_segment_and_playlist_come_whole(server: ConsoleServer) -> None:
    code, headers, body = get(server, url(SEGMENT))
    assert (code, headers["content-type"], body) == (200, "video/mp4", BODY)
    code, headers, body = get(server, url(LIVE))
    assert (code, headers["content-type"], body) == (200, "application/vnd.apple.mpegurl", b"#EXTM3U\n")
    assert headers["cache-control"] == "no-store"


RANGES = {
    "head": ("bytes=0-754", 206, (0, 755)),
    "one byte": ("bytes=0-0", 206, (0, 1)),
    "rest": ("bytes=1000-", 206, (1000, 1024)),
    "beyond the end": ("bytes=1000-9999", 206, (1000, 1024)),
    "last": ("bytes=-24", 206, (1000, 1024)),
    "more than all": ("bytes=-9999", 206, (0, 1024)),
    "behind the end": ("bytes=1024-", 416, None),
    "two ranges are answered whole": ("bytes=0-1,4-5", 200, (0, 1024)),
    "backwards is none": ("bytes=5-2", 200, (0, 1024)),
    "other unit": ("lines=1-2", 200, (0, 1024)),
}


@pytest.mark.parametrize("case", RANGES)
def test_range_of_a_segment(server: ConsoleServer, case: str) -> None:
    header, expected, part = RANGES[case]
    code, headers, body = get(server, url(SEGMENT), {"Range": header})
    assert code == expected
    if part is not None:
        assert body == BODY[slice(*part)]
    assert headers.get("content-range") == (f"bytes {part[0]}-{part[1] - 1}/1024" if code == 206 and part else None)


REFUSED = {
    "audit record": "/media/" + sidecar_key("cam 1/é", START, "ab"),
    "up and out": "/media/../../../../etc/passwd",
    "up inside": "/media/video/stream=a/../../boxes/x.mp4",
    "up, encoded": "/media/video/stream=a/%2e%2e/%2e%2e/boxes/x.mp4",
    "up, encoded slash": "/media/video/stream=a/dt=2026-11-20/hour=10/..%2f..%2fx.mp4",
    "backslash": "/media/video/stream=a/dt=2026-11-20/hour=10/..%5cx.mp4",
    "NUL": "/media/video/stream=a/dt=2026-11-20/hour=10/x%00.mp4",
    "absolute": "/media//etc/passwd",
    "other kind": "/media/video/stream=a/dt=2026-11-20/hour=10/x.json",
    "hidden folder": "/media/video/stream=a/.meta/x.mp4",
    "static up": "/static/../app.py",
    "static up, encoded": "/static/%2e%2e/app.py",
    "source": "/static/../../errors.py",
}


@pytest.mark.parametrize("case", REFUSED)
def test_only_redacted_media_are_served(server: ConsoleServer, store: Store, case: str) -> None:
    class Everything(dict[str, bytes]):
        def get(self, key: str, default: Any = None) -> bytes:
            return b"secret"

    store.objects = Everything()
    code, _, body = get(server, REFUSED[case])
    assert code == 404
    assert b"secret" not in body


def test_every_key_of_the_layout_is_served_except_the_audit_record() -> None:
    for stream in ("cam", "front door/50%", "é" * 100, ".."):
        for key in (segment_key(stream, START), live_playlist_key(stream), hour_playlist_key(stream, T0)):
            assert media_key(key) == key
        assert media_key(sidecar_key(stream, START, "ab")) is None
        assert media_key(live_playlist_key(stream) + "\n") is None


def test_missing_object_and_store_that_is_away_are_told_apart(server: ConsoleServer, store: Store) -> None:
    assert get(server, url(live_playlist_key("other")))[0] == 404
    store.away = True
    code, headers, body = get(server, url(LIVE))
    assert (code, headers["retry-after"]) == (503, "1")
    assert body == b"GET s3://b/k: SlowDown\n"


@given(st.text(max_size=30) | st.from_regex(r"bytes=\d*-\d*", fullmatch=True))
@example("bytes=-0")
@example("bytes=-")
def test_a_range_never_means_nothing(text: str) -> None:
    span = parse_range(text)
    if span is not None:
        assert text.strip().startswith("bytes=")
        assert span.last is None or 0 <= span.first <= span.last


def test_port_in_use_is_one_clear_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=rf"cannot listen on 127.0.0.1:{port} \(.*in use\).*--port"):
            ConsoleServer(console_app(Store()), port)


def test_what_is_vendored_is_what_its_list_says() -> None:
    vendor = CONSOLE / "vendor"
    listed = json.loads((vendor / "VENDOR.json").read_text())
    for name, entry in listed.items():
        assert hashlib.sha256((vendor / name).read_bytes()).hexdigest() == entry["sha256"]
        assert (vendor / entry["licence_file"]).read_text().strip()
    licences = {entry["licence_file"] for entry in listed.values()}
    assert {path.name for path in vendor.iterdir()} == {"VENDOR.json", *listed, *licences}

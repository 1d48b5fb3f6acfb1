"""The adapter against a small real HTTP server: what the network and the service can do to a session."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest
from botocore.config import Config
from matroska_writer import Doc, error_document

from streamproc.errors import AccessDenied, StreamMissing
from streamproc.ingest import getmedia
from streamproc.ingest.getmedia import GetMediaSource, SessionNote
from streamproc.ingest.resume import EARLIEST, NOW, Resume, Selector, StartSelector
from streamproc.model.media import Block, FragmentEnd, FragmentStart, MediaEvent, ServiceError
from streamproc.model.segment import Gap

DOCS = {n: Doc(str(n), payloads=[bytes([n]) * 300, b"b" * 200, b"c" * 100]) for n in range(1, 9)}


class Service:
    """Plays one script per GetMedia call. A script gets a handler and writes to it."""

    def __init__(self) -> None:
        self.scripts: list[Callable[[Any], None]] = []
        self.requests: list[dict[str, Any]] = []
        self.endpoints = 0
        self.named = ""  # the endpoint to go to, if not this one
        self.released = threading.Event()
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
                if self.path == "/getDataEndpoint":
                    service.endpoints += 1
                    answer = json.dumps({"DataEndpoint": service.named or service.url}).encode()
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(answer)))
                    self.end_headers()
                    self.wfile.write(answer)
                    return
                service.requests.append(body["StartSelector"])
                index = len(service.requests) - 1
                script = service.scripts[index] if index < len(service.scripts) else stall
                script(self)

            def log_message(self, *args: Any) -> None:
                """Quiet."""

            def begin(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "video/webm")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()

            def chunk(self, data: bytes) -> None:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                self.wfile.flush()

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def client(self, name: str, url: str) -> Any:
        return boto3.client(
            name,
            region_name="eu-central-1",
            endpoint_url=url,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
            config=Config(read_timeout=30, retries={"total_max_attempts": 1}),
        )


def send(*data: bytes) -> Callable[[Any], None]:
    """The bytes, and a clean end."""

    def script(handler: Any) -> None:
        handler.begin()
        for part in data:
            handler.chunk(part)
        handler.wfile.write(b"0\r\n\r\n")

    return script


def drop(*data: bytes) -> Callable[[Any], None]:
    """The bytes, and a broken connection."""

    def script(handler: Any) -> None:
        handler.begin()
        for part in data:
            handler.chunk(part)
        handler.close_connection = True

    return script


def refuse(status: int, code: str, message: str = "", spelling: str = "x-amzn-ErrorType") -> Callable[[Any], None]:
    def script(handler: Any) -> None:
        body = json.dumps({"Message": message}).encode()
        handler.send_response(status)
        handler.send_header(spelling, code)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return script


def stall(handler: Any) -> None:
    handler.begin()
    handler.server.streamproc.released.wait(20)


def stall_after(*data: bytes) -> Callable[[Any], None]:
    def script(handler: Any) -> None:
        handler.begin()
        for part in data:
            handler.chunk(part)
        handler.server.streamproc.released.wait(20)

    return script


@pytest.fixture(autouse=True)
def short_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fast clock's pauses pass in real waits of a tick each."""
    monkeypatch.setattr(getmedia, "_TICK_S", 0.05)


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    made.server.streamproc = made  # type: ignore[attr-defined]
    yield made
    made.released.set()
    made.server.shutdown()
    made.server.server_close()


class FastClock:
    """Real time, but pauses are over a hundred times sooner."""

    def now_us(self) -> int:
        return 7

    def monotonic(self) -> float:
        return time.monotonic() * 100


class RealClock(FastClock):
    def monotonic(self) -> float:
        return time.monotonic()


class Run:
    def __init__(self, service: Service, start: StartSelector = NOW, *, clock: Any = None, idle: float = 1e9) -> None:
        self.gaps: list[Gap] = []
        self.notes: list[SessionNote] = []
        self.source = GetMediaSource(
            service.client("kinesisvideo", service.url),
            lambda url: service.client("kinesis-video-media", url),
            "cam1",
            start,
            clock=clock or FastClock(),
            random=lambda: 0.5,
            on_gap=self.gaps.append,
            on_session=self.notes.append,
            idle_timeout_s=idle,
        )

    def until(self, number: int, wanted: Callable[[MediaEvent], bool] | None = None) -> list[MediaEvent]:
        """Events until the fragment is finished."""
        events: list[MediaEvent] = []
        for event in self.source.events():
            if event is None:
                continue
            events.append(event)
            if isinstance(event, FragmentEnd) and event.complete and event.fragment.order == number:
                self.source.stop()
        return events


def finished(events: list[MediaEvent]) -> list[int]:
    return [e.fragment.order for e in events if isinstance(e, FragmentEnd) and e.complete]


def whole(*numbers: int) -> bytes:
    return b"".join(DOCS[n].build() for n in numbers)


def cut(number: int, payload: int = 1) -> bytes:
    data = DOCS[number].build()
    return data[: data.index(DOCS[number].payloads[payload]) + 50]


def test_a_clean_end_goes_on_after_the_last_fragment(service):
    service.scripts = [send(whole(1, 2)), send(whole(2, 3))]
    run = Run(service)
    events = run.until(3)
    assert finished(events) == [1, 2, 3]
    assert service.requests == [
        {"StartSelectorType": "NOW"},
        {"StartSelectorType": "FRAGMENT_NUMBER", "AfterFragmentNumber": "2"},
    ]
    assert service.endpoints == 1
    assert (run.source.duplicates, run.gaps) == (1, [])
    assert sum(isinstance(e, Block) for e in events) == 9
    assert [note.kind for note in run.notes] == ["streaming"]


def test_a_password_in_the_endpoint_is_not_told(service):
    service.named = service.url.replace("://", "://user:s3cret@")
    service.scripts = [send(whole(1))]
    run = Run(service)
    run.until(1)
    assert [note.message for note in run.notes] == [f"stream cam1 at {service.url}: media is arriving"]


def test_the_code_of_an_error_tag_cannot_end_the_line_or_fill_the_log(service):
    service.scripts = [send(whole(1), error_document("5000", "\x1b[2J\r\n" + "A" * 500)), send(whole(2))]
    run = Run(service)
    run.until(2)
    (told,) = [note.message for note in run.notes if "5000" in note.message]
    assert told.isprintable()
    assert len(told) < 200


def test_a_drop_inside_a_block_brings_the_fragment_again_whole(service):
    service.scripts = [drop(whole(1), cut(2)), send(whole(2, 3))]
    run = Run(service)
    events = run.until(3)
    assert finished(events) == [1, 2, 3]
    assert [e.fragment.order for e in events if isinstance(e, FragmentStart)] == [1, 2, 2, 3]
    assert service.requests[1]["AfterFragmentNumber"] == "1"
    assert service.endpoints == 2
    assert run.gaps == []


def test_a_drop_before_anything_is_finished_goes_back_to_the_server_time(service):
    service.scripts = [drop(cut(1)), send(whole(1))]
    run = Run(service)
    assert finished(run.until(1)) == [1]
    assert service.requests[1] == {"StartSelectorType": "SERVER_TIMESTAMP", "StartTimestamp": 200}
    assert run.gaps == []


def test_a_partial_fragment_that_does_not_come_again_is_one_gap(service):
    service.scripts = [drop(whole(1), cut(2)), send(whole(3))]
    run = Run(service)
    assert finished(run.until(3)) == [1, 3]
    assert [(g.reason, g.after, g.fragment, g.at_us) for g in run.gaps] == [("truncated", "1", "2", 7)]


def test_a_damaged_fragment_is_one_gap_and_its_damage_is_not_hidden(service):
    hurt = bytearray(whole(2))
    hurt[hurt.index(b"b" * 200) + 200] = 0
    service.scripts = [send(whole(1), bytes(hurt), whole(3))]
    run = Run(service)
    assert finished(run.until(3)) == [1, 3]
    assert [(g.reason, g.fragment) for g in run.gaps] == [("damaged", "2")]


def test_a_fragment_that_always_breaks_off_is_skipped_with_a_gap(service):
    service.scripts = [drop(whole(1), cut(2)), drop(cut(2)), drop(cut(2)), send(whole(3))]
    run = Run(service)
    assert finished(run.until(3)) == [1, 3]
    assert [request.get("AfterFragmentNumber") for request in service.requests] == [None, "1", "1", "2"]
    assert [(g.reason, g.fragment) for g in run.gaps] == [("truncated", "2")]


def test_a_stall_is_left_for_a_new_session_only_after_the_idle_timeout(service):
    service.scripts = [stall_after(whole(1), cut(2)), send(whole(2))]
    run = Run(service, clock=RealClock(), idle=2.0)
    began = time.monotonic()
    quiet = 0
    orders = []
    for event in run.source.events():
        if event is None:
            quiet += 1
        elif isinstance(event, FragmentEnd) and event.complete:
            orders.append(event.fragment.order)
            if event.fragment.order == 2:
                run.source.stop()
    assert orders == [1, 2]
    assert time.monotonic() - began >= 2.0
    assert quiet >= 1
    assert run.gaps == []


def test_an_error_tag_inside_the_body_means_earliest_and_one_retention_gap(service):
    service.scripts = [send(error_document("4000")), send(whole(4, 6))]
    run = Run(service, StartSelector(Selector.AFTER_FRAGMENT, "4"))
    events = run.until(6)
    assert ServiceError(4000, "FRAGMENT_NOT_FOUND") in events
    assert finished(events) == [6]
    assert service.requests[1] == {"StartSelectorType": "EARLIEST"}
    assert [(g.reason, g.after) for g in run.gaps] == [("retention", "4")]


def test_a_refused_key_is_retried_slowly_and_told_once(service):
    refused = send(error_document("4501", "KMS_KEY_DISABLED"))
    service.scripts = [send(whole(1)), refused, refused, send(whole(2))]
    run = Run(service, EARLIEST)
    assert finished(run.until(2)) == [1, 2]
    assert [note.kind for note in run.notes] == ["streaming", "denied", "streaming"]
    assert "kms:Decrypt" in run.notes[1].message


@pytest.mark.parametrize(
    ("script", "error"),
    [
        pytest.param(refuse(404, "ResourceNotFoundException"), StreamMissing, id="404"),
        pytest.param(
            refuse(404, "ResourceNotFoundException:https://x/doc/2017-09-30/"), StreamMissing, id="404 with url"
        ),
        pytest.param(
            refuse(
                400, "ResourceNotFoundException", "The requested stream is not found or not active.", "x-amz-ErrorType"
            ),
            StreamMissing,
            id="other spelling",
        ),
        pytest.param(refuse(404, "Unheard"), StreamMissing, id="404 by status alone"),
        pytest.param(refuse(401, "NotAuthorizedException"), AccessDenied, id="401"),
        pytest.param(refuse(400, "AccessDeniedException"), AccessDenied, id="400 denied"),
        pytest.param(refuse(403, "InvalidClientTokenId"), AccessDenied, id="403"),
    ],
)
def test_what_no_retry_can_mend_is_raised_at_the_start(service, script, error):
    service.scripts = [script]
    with pytest.raises(error) as raised:
        Run(service).until(1)
    text = str(raised.value)
    assert "cam1" in text
    assert service.url in text
    assert "\n" not in text


def test_missing_credentials_are_raised_at_the_start(service, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    run = Run(service)
    run.source._video = boto3.session.Session().client(
        "kinesisvideo", region_name="eu-central-1", endpoint_url=service.url
    )
    with pytest.raises(AccessDenied, match="credentials"):
        run.until(1)


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        pytest.param(refuse(404, "ResourceNotFoundException"), "missing", id="missing"),
        pytest.param(refuse(401, "NotAuthorizedException"), "denied", id="denied"),
        pytest.param(refuse(400, "ConnectionLimitExceededException"), "limit", id="connections"),
        pytest.param(refuse(400, "ClientLimitExceededException"), "unavailable", id="throttled"),
        pytest.param(refuse(503, "ServiceUnavailable"), "unavailable", id="5xx"),
        pytest.param(lambda handler: setattr(handler, "close_connection", True), "unavailable", id="no answer"),
    ],
)
def test_later_every_refusal_is_retried_and_told_once(service, script, kind):
    service.scripts = [send(whole(1)), script, script, send(whole(2))]
    run = Run(service)
    assert finished(run.until(2)) == [1, 2]
    assert [note.kind for note in run.notes] == ["streaming", kind, "streaming"]
    assert run.gaps == []


def test_a_connection_limit_at_the_start_is_waited_out(service):
    service.scripts = [refuse(400, "ConnectionLimitExceededException"), send(whole(1))]
    run = Run(service)
    assert finished(run.until(1)) == [1]
    assert "three connections" in run.notes[0].message


def test_a_quiet_camera_is_waited_for_and_told_once(service):
    service.scripts = [send(), send(), send(), send(whole(1))]
    run = Run(service)
    assert finished(run.until(1)) == [1]
    assert [note.kind for note in run.notes] == ["waiting", "streaming"]


@pytest.mark.parametrize("where", ["in the body", "before the answer", "in a pause"])
def test_stop_wakes_it_wherever_it_waits(service, where):
    def never(handler: Any) -> None:
        service.released.wait(20)

    service.scripts = {
        "in the body": [stall_after(whole(1))],
        "before the answer": [never],
        "in a pause": [refuse(400, "ConnectionLimitExceededException")] * 9,
    }[where]
    run = Run(service, clock=RealClock())
    done = threading.Event()

    def consume() -> None:
        for _ in run.source.events():
            pass
        done.set()

    threading.Thread(target=consume, daemon=True).start()
    deadline = time.monotonic() + 5
    while not service.requests and time.monotonic() < deadline:
        time.sleep(0.01)
    while where == "in a pause" and not run.notes and time.monotonic() < deadline:
        time.sleep(0.01)
    began = time.monotonic()
    run.source.stop()
    assert done.wait(5)
    assert time.monotonic() - began < 0.5


def test_blocks_come_out_while_the_rest_of_the_fragment_is_still_on_its_way(service):
    service.scripts = [stall_after(cut(1, payload=1))]
    run = Run(service, clock=RealClock())
    for event in run.source.events():
        if isinstance(event, Block):
            break
    assert isinstance(event, Block)
    assert event.data == DOCS[1].payloads[0]
    run.source.stop()


def test_a_body_without_read1_is_read_in_small_pieces(service):
    class Body:
        def __init__(self) -> None:
            self.left = whole(1)

        def read(self, amount: int) -> bytes:
            part, self.left = self.left[:amount], self.left[amount:]
            return part

        def close(self) -> None:
            """Nothing to close."""

    class Client:
        def get_media(self, **_: Any) -> dict[str, Any]:
            return {"Payload": Body()}

    run = Run(service)
    run.source._factory = lambda _url: Client()
    assert finished(run.until(1)) == [1]


def test_a_source_may_go_on_with_the_state_of_another(service):
    service.scripts = [send(whole(1, 2)), send(whole(2, 3))]
    first = Run(service)
    first.until(2)
    second = Run(service)
    second.source.resume = first.source.resume
    assert isinstance(second.source.resume, Resume)
    assert finished(second.until(3)) == [3]

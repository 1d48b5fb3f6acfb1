"""The real botocore client against a real HTTP server that answers well, badly, or not at all."""

from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import botocore.session
import pytest

from streamproc.detect.rekognition import RekognitionFaces, client_config
from streamproc.model.detection import Failed, Failure, Seen

FACE = {"BoundingBox": {"Left": -0.1, "Top": 0.2, "Width": 0.3, "Height": 0.4}, "Confidence": 97.5}
JPEG = b"\xff\xd8 not looked at by the server \xff\xd9"


class Service:
    """Answers DetectFaces as the test says; keeps what it was asked."""

    def __init__(self):
        self.status, self.body, self.kind = 200, json.dumps({"FaceDetails": [FACE]}), "application/x-amz-json-1.1"
        self.hang = threading.Event()
        self.hangs = self.drops = False
        self.requests = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                service.requests.append((self.headers["X-Amz-Target"], json.loads(body)))
                if service.hangs:
                    service.hang.wait(30)
                if service.hangs or service.drops:
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                answer = service.body.encode()
                self.send_response(service.status)
                self.send_header("Content-Type", service.kind)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def refuse(self, status, code, message="no"):
        self.status, self.body = status, json.dumps({"__type": code, "message": message})

    def close(self):
        self.hang.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def service():
    service = Service()
    yield service
    service.close()


SESSION = boto3.Session("test", "test", region_name="eu-west-1")


def client_for(url, deadline_ms=2000):
    return SESSION.client("rekognition", endpoint_url=url, config=client_config(2, deadline_ms))


@pytest.fixture
def problems():
    return []


@pytest.fixture
def faces(service, problems):
    return RekognitionFaces(client_for(service.url), 0.5, problems.append)


def test_an_answer_is_seen_and_clipped(service, faces, problems):
    answer = faces.look(JPEG, 1.0)
    assert isinstance(answer, Seen)
    (detection,) = answer.detections
    assert (detection.box.left, detection.confidence, detection.kind) == (0.0, 0.975, "face")
    target, asked = service.requests[0]
    assert target == "RekognitionService.DetectFaces"
    assert asked["Attributes"] == ["DEFAULT"]
    assert problems == []


def test_nobody_there_is_seen_too(service, faces):
    service.body = '{"FaceDetails": [], "OrientationCorrection": "ROTATE_0"}'
    assert faces.look(JPEG, 1.0) == Seen()


@pytest.mark.parametrize(
    ("status", "code", "failure"),
    [
        (400, "ThrottlingException", Failure.THROTTLED),
        (400, "ProvisionedThroughputExceededException", Failure.THROTTLED),
        (400, "com.amazonaws.rekognition#ProvisionedThroughputExceededException", Failure.THROTTLED),
        (400, "TooManyRequests", Failure.THROTTLED),
        (429, "SomethingNew", Failure.THROTTLED),
        (400, "InvalidImageFormatException", Failure.FAILED),
        (400, "AccessDeniedException", Failure.FAILED),
        (500, "InternalServerError", Failure.FAILED),
        (503, "ServiceUnavailableException", Failure.FAILED),
    ],
)
def test_each_refusal_has_its_meaning_after_exactly_one_attempt(service, faces, status, code, failure):
    service.refuse(status, code)
    assert faces.look(JPEG, 1.0) == Failed(failure)
    assert len(service.requests) == 1


@pytest.mark.parametrize("status", [200, 500], ids=str)
@pytest.mark.parametrize(
    "body",
    [
        "",
        "<html><body>It works!</body></html>",
        '{"FaceDetails": [',
        "[]",
        "null",
        "7",
        '"FaceDetails"',
        "{}",
        '{"FaceDetails": null}',
        '{"FaceDetails": "none"}',
        '{"FaceDetails": {"a": 1}}',
        '{"FaceDetails": [7]}',
        '{"FaceDetails": [null]}',
        '{"FaceDetails": [{"BoundingBox": "left", "Confidence": 99}]}',
        '{"FaceDetails": [{"BoundingBox": {"Left": "x", "Top": 0, "Width": 1, "Height": 1}, "Confidence": 99}]}',
        '{"FaceDetails": [{"BoundingBox": {"Left": NaN, "Top": 0, "Width": 1, "Height": 1}, "Confidence": 99}]}',
        '{"FaceDetails": [{"BoundingBox": {"Left": [], "Top": 0, "Width": 1, "Height": 1}, "Confidence": 99}]}',
        '{"FaceDetails": [{"Confidence": 99}]}',
        "\x00\ufffd\x7f",
    ],
)
def test_garbage_is_a_failure_and_never_an_empty_picture(service, faces, status, body):
    service.status, service.body = status, body
    answer = faces.look(JPEG, 1.0)
    assert answer in (Failed(Failure.NONSENSE), Failed(Failure.FAILED))
    assert len(service.requests) == 1


def test_a_web_page_with_status_200_is_a_failure(service, faces):
    service.kind, service.body = "text/html", "<!doctype html><title>proxy</title>"
    assert faces.look(JPEG, 1.0) == Failed(Failure.NONSENSE)


def test_a_server_that_hangs_is_late_at_the_deadline(service):
    service.hangs = True
    assert RekognitionFaces(client_for(service.url, deadline_ms=150)).look(JPEG, 0.15) == Failed(Failure.LATE)
    assert len(service.requests) == 1


def test_a_dropped_connection_is_a_failure(service, faces):
    service.drops = True
    assert faces.look(JPEG, 1.0) == Failed(Failure.FAILED)
    assert len(service.requests) == 1


def test_an_unreachable_service_is_a_failure_reported_once(problems):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        faces = RekognitionFaces(client_for(f"http://127.0.0.1:{closed.getsockname()[1]}"), 0.0, problems.append)
        assert [faces.look(JPEG, 1.0) for _ in range(3)] == [Failed(Failure.FAILED)] * 3
    (line,) = problems
    assert "no connection" in line
    assert "127.0.0.1" in line


def test_a_password_in_the_endpoint_is_not_told(service, problems):
    service.refuse(400, "AccessDeniedException")
    url = service.url.replace("://", "://user:s3cret@")
    RekognitionFaces(client_for(url), 0.0, problems.append).look(JPEG, 1.0)
    (line,) = problems
    assert line.startswith(f"DetectFaces at {service.url}: ")
    assert "s3cret" not in line


def test_a_picture_that_is_late_already_is_not_sent(service, faces):
    assert faces.look(JPEG, 0.0) == Failed(Failure.LATE)
    assert service.requests == []


def test_a_problem_is_reported_once_until_its_kind_changes(service, faces, problems):
    def look(code, times):
        service.refuse(400, code, message="User: arn:aws:iam::123456789012:user/jane is not authorized")
        for _ in range(times):
            assert faces.look(JPEG, 1.0) == Failed(Failure.FAILED)

    look("AccessDeniedException", 3)
    look("ExpiredTokenException", 2)
    look("AccessDeniedException", 2)
    assert len(problems) == 3
    assert all(line.startswith(f"DetectFaces at {service.url}: ") and "\n" not in line for line in problems)
    assert "rekognition:DetectFaces" in problems[0]
    assert not any("jane" in line or "123456789012" in line for line in problems)


def test_a_problem_that_comes_back_is_reported_again(service, faces, problems):
    good = service.body
    for _ in range(2):
        service.refuse(400, "AccessDeniedException")
        faces.look(JPEG, 1.0)
        service.status, service.body = 200, good
        faces.look(JPEG, 1.0)
    assert len(problems) == 2


@pytest.mark.parametrize("code", ["ThrottlingException", "InternalServerError"])
def test_what_passes_by_itself_is_no_problem_for_people(service, faces, problems, code):
    service.refuse(400 if code.startswith("T") else 500, code)
    faces.look(JPEG, 1.0)
    assert problems == []


def test_missing_credentials_are_a_failure_that_says_what_to_do(service, problems, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    session = boto3.Session(botocore_session=botocore.session.Session(), region_name="eu-west-1")
    client = session.client("rekognition", endpoint_url=service.url, config=client_config(1, 500))
    faces = RekognitionFaces(client, 0.0, problems.append)
    assert [faces.look(JPEG, 1.0) for _ in range(2)] == [Failed(Failure.FAILED)] * 2
    (line,) = problems
    assert "credentials" in line
    assert service.requests == []


def test_the_client_makes_one_attempt_within_the_deadline():
    config = client_config(7, 1500)
    assert config.retries == {"mode": "standard", "total_max_attempts": 1}
    assert (config.connect_timeout, config.read_timeout) == (1.0, 1.5)
    assert config.max_pool_connections == 7
    assert config.tcp_keepalive is True

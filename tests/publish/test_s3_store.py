"""Laws of S3 as a store, over real HTTP against moto, and against a server that answers as told."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import pytest
from botocore.config import Config
from moto.server import ThreadedMotoServer

from streamproc.errors import AccessDenied, ConfigurationError, StoreUnavailable, StreamprocError
from streamproc.publish.s3 import S3Store

KEY = "video/stream=s/dt=2026-11-19/hour=13/20261119T133611.123Z_7.mp4"


def client_of(endpoint: str, attempts: int = 1):  # type: ignore[no-untyped-def]
    return boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        config=Config(
            retries={"total_max_attempts": attempts, "mode": "standard"},
            connect_timeout=2,
            read_timeout=2,
            s3={"addressing_style": "path"},
        ),
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


@pytest.fixture(scope="module")
def moto_endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(moto_endpoint: str, request: pytest.FixtureRequest) -> str:
    name = f"b{abs(hash(request.node.name))}"
    client_of(moto_endpoint).create_bucket(Bucket=name)
    return name


@pytest.mark.parametrize("prefix", ["", "a/b", "/a/b/"], ids=["no prefix", "prefix", "slashes"])
def test_first_writer_wins_and_its_metadata_stay(moto_endpoint: str, bucket: str, prefix: str) -> None:
    client = client_of(moto_endpoint)
    store = S3Store(client, bucket, prefix)
    store.check()
    assert store.metadata(KEY) is None
    assert store.put_new(KEY, b"first", "video/mp4", {"end-fragment": "7", "resume-after": "-"})
    assert not store.put_new(KEY, b"second", "video/mp4", {"end-fragment": "8"})
    assert store.metadata(KEY) == {"end-fragment": "7", "resume-after": "-"}
    found = client.get_object(Bucket=bucket, Key=f"{prefix.strip('/')}/{KEY}".lstrip("/"))
    assert (found["Body"].read(), found["ContentType"]) == (b"first", "video/mp4")
    assert store.describe() == f"s3://{bucket}" + ("/a/b" if prefix else "")


def test_put_replaces_and_says_how_long_it_may_be_kept(moto_endpoint: str, bucket: str) -> None:
    client = client_of(moto_endpoint)
    store = S3Store(client, bucket)
    store.put("live.m3u8", b"one", "application/vnd.apple.mpegurl")
    store.put("live.m3u8", b"two", "application/vnd.apple.mpegurl", "max-age=1")
    found = client.get_object(Bucket=bucket, Key="live.m3u8")
    assert (found["Body"].read(), found["CacheControl"]) == (b"two", "max-age=1")


def test_missing_bucket_is_named(moto_endpoint: str) -> None:
    store = S3Store(client_of(moto_endpoint), "nowhere-to-be-found")
    for call in (store.check, lambda: store.put_new(KEY, b"x", "video/mp4", {}), lambda: store.put(KEY, b"x", "t/p")):
        with pytest.raises(StoreUnavailable, match=r"s3://nowhere-to-be-found.*no such bucket; create it"):
            call()


def test_a_password_before_the_bucket_is_not_told(moto_endpoint: str) -> None:
    store = S3Store(client_of(moto_endpoint), "user:s3cret@bucket", "x")
    assert store.describe() == "s3://bucket/x"
    for call in (store.check, lambda: store.put(KEY, b"x", "t/p"), lambda: store.metadata(KEY)):
        with pytest.raises(ConfigurationError, match="s3://bucket") as told:
            call()
        assert "s3cret" not in str(told.value)


def test_a_password_in_the_endpoint_is_not_told() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        store = S3Store(client_of(f"http://user:s3cret@127.0.0.1:{closed.getsockname()[1]}"), "bucket")
        for call in (store.check, lambda: store.put_new(KEY, b"x", "video/mp4", {})):
            with pytest.raises(StoreUnavailable, match="check the network") as told:
                call()
            assert "s3cret" not in str(told.value)


class Scripted:
    """An S3 that gives each request the next of its answers: (status, code), the last one for ever."""

    def __init__(self, *answers: tuple[int, str]) -> None:
        self.answers = list(answers)
        self.requests: list[tuple[str, dict[str, str]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                outer.requests.append((self.command, {name.lower(): value for name, value in self.headers.items()}))
                status, code = outer.answers.pop(0) if len(outer.answers) > 1 else outer.answers[0]
                body = f"<Error><Code>{code}</Code><Message>arn:aws:iam::1:user/alice</Message></Error>".encode()
                body = b"" if self.command == "HEAD" or status == 200 else body
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_PUT = do_HEAD = _answer

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Scripted:
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def test_put_new_asks_for_a_free_key_and_a_checked_body() -> None:
    with Scripted((200, "")) as server:
        assert S3Store(client_of(server.endpoint), "bucket").put_new(KEY, b"x", "video/mp4", {"a": "b"})
    ((verb, headers),) = server.requests
    assert verb == "PUT"
    assert headers["if-none-match"] == "*"
    assert headers["x-amz-checksum-sha256"] == "LXEWQrcmsEQBYnyp+6wy9chTD7GQPMTbAiWHF5IaSIE="
    assert headers["x-amz-meta-a"] == "b"


def test_a_conflicting_write_is_tried_again_until_it_is_decided() -> None:
    conflict = (409, "ConditionalRequestConflict")
    with Scripted(conflict, conflict, (200, "")) as server:
        assert S3Store(client_of(server.endpoint), "bucket").put_new(KEY, b"x", "video/mp4", {})
    with Scripted(conflict, (412, "PreconditionFailed")) as server:
        assert not S3Store(client_of(server.endpoint), "bucket").put_new(KEY, b"x", "video/mp4", {})


def test_an_endless_conflict_is_given_up() -> None:
    with Scripted((409, "ConditionalRequestConflict")) as server:
        with pytest.raises(StoreUnavailable, match="trying again"):
            S3Store(client_of(server.endpoint), "bucket").put_new(KEY, b"x", "video/mp4", {})
    assert len(server.requests) == 3


def test_our_own_write_that_landed_unseen_shows_as_taken() -> None:
    with Scripted((500, "InternalError"), (412, "PreconditionFailed")) as server:
        assert not S3Store(client_of(server.endpoint, attempts=2), "bucket").put_new(KEY, b"x", "video/mp4", {})
    assert len(server.requests) == 2


ERRORS = [
    pytest.param(403, "AccessDenied", AccessDenied, "allow s3:PutObject", id="denied"),
    pytest.param(403, "KMS.DisabledException", AccessDenied, "access denied", id="key"),
    pytest.param(403, "InvalidAccessKeyId", AccessDenied, "not valid", id="bad credentials"),
    pytest.param(400, "ExpiredToken", AccessDenied, "renew", id="expired"),
    pytest.param(404, "NoSuchBucket", StoreUnavailable, "no such bucket", id="bucket"),
    pytest.param(400, "AuthorizationHeaderMalformed", StoreUnavailable, "another region", id="region"),
    pytest.param(403, "RequestTimeTooSkewed", StoreUnavailable, "clock", id="clock"),
    pytest.param(503, "SlowDown", StoreUnavailable, "trying again", id="slow down"),
    pytest.param(500, "InternalError", StoreUnavailable, "HTTP 500", id="internal"),
    pytest.param(501, "NotImplemented", ConfigurationError, "conditional writes", id="no conditional writes"),
]


@pytest.mark.parametrize(("status", "code", "kind", "says"), ERRORS)
def test_a_refused_write_is_one_line_that_names_what_where_and_what_to_do(
    status: int, code: str, kind: type[StreamprocError], says: str
) -> None:
    with Scripted((status, code)) as server:
        with pytest.raises(kind, match=says) as caught:
            S3Store(client_of(server.endpoint), "bucket", "pre").put_new(KEY, b"x", "video/mp4", {})
    assert str(caught.value).startswith(f"PUT s3://bucket/pre/{KEY}: ")
    assert "\n" not in str(caught.value)
    assert "alice" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(403, AccessDenied), (500, StoreUnavailable), (503, StoreUnavailable)],
)
def test_a_refused_look_at_the_metadata_is_not_taken_for_a_missing_object(
    status: int, kind: type[StreamprocError]
) -> None:
    with Scripted((status, "")) as server:
        with pytest.raises(kind, match=rf"HEAD s3://bucket/{KEY}"):
            S3Store(client_of(server.endpoint), "bucket").metadata(KEY)


def test_check_lets_pass_whoever_may_only_write() -> None:
    with Scripted((403, "")) as server:
        S3Store(client_of(server.endpoint), "bucket").check()
    assert [verb for verb, _ in server.requests] == ["HEAD"]


def test_nobody_listening_is_the_network() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        store = S3Store(client_of(f"http://127.0.0.1:{free.getsockname()[1]}"), "bucket")
        for call in (store.check, lambda: store.put(KEY, b"x", "t/p"), lambda: store.metadata(KEY)):
            with pytest.raises(StoreUnavailable, match=r"s3://bucket.*EndpointConnectionError; check the network"):
                call()


def test_missing_credentials_are_said_so(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", f"{tmp_path}/none")
    monkeypatch.setenv("AWS_CONFIG_FILE", f"{tmp_path}/none")
    client = boto3.session.Session().client("s3", region_name="us-east-1", endpoint_url="http://127.0.0.1:9")
    for call in (S3Store(client, "bucket").check, lambda: S3Store(client, "bucket").put(KEY, b"x", "t/p")):
        with pytest.raises(AccessDenied, match="no AWS credentials"):
            call()


def test_an_impossible_bucket_name_is_a_setting() -> None:
    with pytest.raises(ConfigurationError, match="not a valid bucket"):
        S3Store(client_of("http://127.0.0.1:9"), "no bucket").check()

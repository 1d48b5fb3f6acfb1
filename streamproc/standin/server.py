"""The HTTP server: one port for Kinesis Video, Rekognition, and what steers the stand-in itself."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import struct
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, cast

from streamproc.standin.answers import RekognitionException
from streamproc.standin.faults import Fault, Faults, Place
from streamproc.standin.matroska import error_segment
from streamproc.standin.rekognition import Hang, RekognitionService
from streamproc.standin.session import Ended, Piece
from streamproc.standin.steering import Steering
from streamproc.standin.video import MediaAnswer, ServiceException, VideoService

_MOST_BODY = 16 * 1024 * 1024


class Server(ThreadingHTTPServer):
    """Holds the services and every open connection, so that it can end them all at once."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self,
        address: tuple[str, int],
        video: VideoService,
        rekognition: RekognitionService,
        faults: Faults,
        steering: Steering,
    ) -> None:
        self.video = video
        self.rekognition = rekognition
        self.faults = faults
        self.steering = steering
        self.closing = threading.Event()
        self._sockets: set[socket.socket] = set()
        self._sockets_lock = threading.Lock()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._sockets_lock:
            self._sockets.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._sockets_lock:
            self._sockets.discard(request)
        super().shutdown_request(request)

    def end_connections(self) -> None:
        """Wake every thread that reads or writes."""
        self.closing.set()
        with self._sockets_lock:
            for connection in self._sockets:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 64 * 1024  # headers and a small body leave in one packet
    server_version = "streamproc-standin"
    sys_version = ""
    _json_types: ClassVar[dict[bool, str]] = {True: "application/x-amz-json-1.1", False: "application/json"}

    @property
    def _home(self) -> Server:
        return cast(Server, self.server)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: calls are logged by the services, without addresses."""

    def do_GET(self) -> None:
        self._steer("GET", b"")

    def do_DELETE(self) -> None:
        self._steer("DELETE", b"")

    def do_POST(self) -> None:
        try:
            length = int(self.headers.get("Content-Length") or 0)
        except ValueError:
            length = -1
        if not 0 <= length <= _MOST_BODY:
            self.close_connection = True
            return self._service_error(ServiceException("InvalidArgumentException", "The request is too large.", 413))
        body = self.rfile.read(length)
        target = self.headers.get("X-Amz-Target", "")
        if target.startswith("RekognitionService."):
            return self._rekognition(target.partition(".")[2], body)
        if self.path.startswith("/standin"):
            return self._steer("POST", body)
        try:
            asked = json.loads(body or b"{}")
            if not isinstance(asked, dict):
                raise ValueError
        except ValueError:
            return self._service_error(
                ServiceException("InvalidArgumentException", "The request is not a JSON object.")
            )
        try:
            self._video(asked)
        except ServiceException as error:
            self._service_error(error)
        return None

    # Kinesis Video

    def _video(self, asked: Mapping[str, Any]) -> None:
        video = self._home.video
        if self.path == "/getMedia":
            self._get_media(video.open_media(asked, self._listening))
        elif self.path == "/getMediaForFragmentList":
            parts = video.fragment_list(asked)
            self._open_body()
            for part in parts:
                self._chunk(part)
            self._close_body()
        elif operation := video.operation(self.path):
            host = self.headers.get("Host") or self._home.steering.address
            self._answer(200, operation(asked, host))
        else:
            raise ServiceException("UnknownOperationException", "The stand-in does not know this call.", 404)

    def _get_media(self, answer: MediaAnswer) -> None:
        place = Place()
        try:
            self._open_body()
            self.wfile.flush()
            for piece in answer.pieces():
                if not self._send_piece(answer.stream.name, piece, place):
                    return
            self._close_body()
        except (Ended, OSError):
            self.close_connection = True
        finally:
            answer.close()

    def _send_piece(self, stream: str, piece: Piece, place: Place) -> bool:
        """Send what is due, with the faults that strike in it. False when one has ended the session."""
        parts: tuple[bytes, ...] = piece.parts
        data = b"".join(parts)
        gone = 0
        while struck := self._home.faults.strike_body(stream, place, parts, piece.blocks):
            fault, reach = struck
            reach = max(reach, gone)
            self._chunk(data[gone:reach])
            gone = reach
            if not self._misbehave(fault):
                return False
        self._chunk(data[gone:])
        place.sent_bytes += len(data)
        place.sent_blocks += len(parts) if piece.blocks else 0
        return True

    def _misbehave(self, fault: Fault) -> bool:
        """Do what the fault says. False if it ends the session."""
        if fault.kind == "stall":
            end = time.monotonic() + fault.seconds
            while (left := end - time.monotonic()) > 0:
                self._home.closing.wait(min(left, 0.25))
                self._listening()
            return True
        if fault.kind == "garbage":
            self._chunk(bytes((i * 151 + 7) % 256 for i in range(max(1, fault.size))))
            return True
        if fault.kind in ("cut", "error"):
            if fault.kind == "error":
                self._chunk(error_segment(fault.error_id, fault.code or "INTERNAL_ERROR"))
            self._close_body()
            return False
        self.close_connection = True
        if fault.kind == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        return False

    def _listening(self) -> None:
        """Raise :class:`Ended` if the client has gone away or the program stops."""
        if self._home.closing.is_set():
            raise Ended
        readable, _, _ = select.select([self.connection], [], [], 0)
        if readable and not self.connection.recv(1, socket.MSG_PEEK):
            raise Ended

    def _open_body(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "video/webm")
        self.send_header("x-amzn-RequestId", _request_id())
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _chunk(self, data: bytes) -> None:
        if data:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
            self.wfile.flush()

    def _close_body(self) -> None:
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    # Rekognition

    def _rekognition(self, operation: str, body: bytes) -> None:
        try:
            self._send(200, self._home.rekognition.answer(operation, body), self._json_types[True])
        except RekognitionException as error:
            self._answer(error.status, {"__type": error.code, "Message": error.message}, json11=True)
        except Hang:
            self.close_connection = True

    # Steering

    def _steer(self, method: str, body: bytes) -> None:
        try:
            self._answer(200, self._home.steering.handle(method, self.path, body))
        except LookupError as error:
            self._answer(404, {"Message": str(error.args[0])})
        except ValueError as error:
            self._answer(400, {"Message": str(error)})

    # Answers

    def _service_error(self, error: ServiceException) -> None:
        headers = {"x-amzn-ErrorType": f"{error.code}:http://internal.amazon.com/coral/com.amazonaws.kinesisvideo/"}
        self._send(error.status, json.dumps({"Message": error.message}).encode(), "application/json", headers)

    def _answer(self, status: int, values: Mapping[str, Any], json11: bool = False) -> None:
        self._send(status, json.dumps(values).encode(), self._json_types[json11])

    def _send(self, status: int, body: bytes, content_type: str, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("x-amzn-RequestId", _request_id())
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


def _request_id() -> str:
    return f"{time.time_ns():032x}"

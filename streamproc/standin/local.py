"""The stand-in as one object: services, cameras and server, for a ``with`` statement."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from streamproc.standin.camera import Camera, Delivery, Stream
from streamproc.standin.eyes import CalledEyes, Eyes, FixedEyes, LocalEyes
from streamproc.standin.faults import Fault, Faults
from streamproc.standin.matroska import Layout
from streamproc.standin.media import MediaFragment, read_media
from streamproc.standin.rekognition import RekognitionService
from streamproc.standin.server import Server
from streamproc.standin.session import Limits
from streamproc.standin.steering import Steering
from streamproc.standin.video import VideoService

Source = str | Path | Sequence[MediaFragment]


class StandIn:
    """A Kinesis Video Streams and Rekognition on this machine.

    ::

        with StandIn(eyes=lambda jpeg, api: [Box(0.4, 0.3, 0.5, 0.5)]) as standin:
            standin.add_stream("cam1", "walk.mkv", loop=True)
            client = boto3.client("kinesisvideo", endpoint_url=standin.video_url, ...)

    Args:
        eyes: Who looks at pictures: :class:`Eyes`, a function ``(picture, api) -> boxes``, an object with ``look(jpeg,
            timeout_s)``, or None, which sees nothing.
        host, port: Where it listens; port 0 takes a free one.
        limits: Of GetMedia sessions.
        latency_s, jitter_s, tps: Of Rekognition calls.
        faults: Armed from the start.
        seed: Of every chance.
        log: File for one JSON line per Rekognition call.
    """

    def __init__(
        self,
        eyes: Eyes | Callable[[bytes, str], Sequence[Any]] | Any = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        limits: Limits | None = None,
        latency_s: float = 0.0,
        jitter_s: float = 0.0,
        tps: float = 0.0,
        faults: Sequence[Fault] = (),
        seed: int = 0,
        region: str = "us-east-1",
        log: str | Path | None = None,
    ) -> None:
        self._region = region
        self._log_path = log
        self._log_file: IO[str] | None = None
        self._log_lock = threading.Lock()
        self.faults = Faults(faults, seed)
        self.cameras: dict[str, Camera] = {}
        self.video = VideoService(self.faults, limits or Limits(), region)
        self.rekognition = RekognitionService(
            _eyes(eyes),
            self.faults,
            latency_s=latency_s,
            jitter_s=jitter_s,
            tps=tps,
            seed=seed,
            log=self._log if log else None,
        )
        self.steering = Steering(self.video, self.rekognition, self.faults, self.cameras)
        self._server = Server((host, port), self.video, self.rekognition, self.faults, self.steering)
        self.steering.address = self.url.removeprefix("http://")
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Begin to answer."""
        if self._log_path is not None:
            self._log_file = open(self._log_path, "a", encoding="utf-8")  # noqa: SIM115 closed by close()
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="stand-in", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop cameras and connections; in well under a second."""
        self._server.closing.set()
        self.rekognition.stopping.set()
        for camera in self.cameras.values():
            camera.stop()
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
        self._server.end_connections()
        self._server.server_close()
        with self._log_lock:
            if self._log_file is not None:
                self._log_file.close()
                self._log_file = None

    @property
    def url(self) -> str:
        """Where both services are."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    @property
    def video_url(self) -> str:
        """Endpoint of Kinesis Video Streams."""
        return self.url

    @property
    def rekognition_url(self) -> str:
        """Endpoint of Rekognition."""
        return self.url

    def environment(self) -> dict[str, str]:
        """The variables with which plain boto3 clients come here, with credentials that are none."""
        return {
            "AWS_ENDPOINT_URL_KINESIS_VIDEO": self.video_url,
            "AWS_ENDPOINT_URL_KINESIS_VIDEO_MEDIA": self.video_url,
            "AWS_ENDPOINT_URL_KINESIS_VIDEO_ARCHIVED_MEDIA": self.video_url,
            "AWS_ENDPOINT_URL_REKOGNITION": self.rekognition_url,
            "AWS_ACCESS_KEY_ID": "standin",
            "AWS_SECRET_ACCESS_KEY": "standin",
            "AWS_DEFAULT_REGION": self._region,
        }

    def add_stream(
        self,
        name: str,
        source: Source | None = None,
        *,
        start: bool = True,
        loop: bool = False,
        speed: float = 1.0,
        delivery: Delivery | str = Delivery.FORWARD,
        archive: bool = False,
        history_s: float = 0.0,
        latency_s: float = 0.0,
        retention_s: float | None = None,
        fragment_seconds: float | None = None,
        audio: bool = False,
        layout: Layout | None = None,
    ) -> Stream:
        """Create a stream, and a camera that fills it if there is a source; see :class:`Camera` for how.

        Args:
            source: A video file, a recorded GetMedia body, or fragments; None for a stream without a camera.
            start: Switch the camera on at once.

        Raises:
            OSError, ValueError: the source cannot be used.
        """
        fragments = read_media(source, fragment_seconds, audio) if isinstance(source, str | Path) else source
        stream = Stream(name, retention_s, layout or Layout())
        if fragments is not None:
            self.cameras[name] = Camera(
                stream,
                fragments,
                loop=loop,
                speed=speed,
                delivery=Delivery(delivery),
                archive=archive,
                history_s=history_s,
                latency_s=latency_s,
            )
        self.video.streams[name] = stream
        if start and name in self.cameras:
            self.cameras[name].start()
        return stream

    def remove_stream(self, name: str) -> None:
        """The stream is deleted: calls for it answer ResourceNotFoundException."""
        camera = self.cameras.pop(name, None)
        if camera is not None:
            camera.stop()
        self.video.streams.pop(name, None)

    def _log(self, entry: dict[str, Any]) -> None:
        line = json.dumps(entry | {"t": round(time.time(), 3)})
        with self._log_lock:
            if self._log_file is not None:
                self._log_file.write(line + "\n")
                self._log_file.flush()


def _eyes(given: Any) -> Eyes:
    if given is None:
        return FixedEyes()
    if hasattr(given, "see"):
        eyes: Eyes = given
        return eyes
    return LocalEyes(given) if hasattr(given, "look") else CalledEyes(given)

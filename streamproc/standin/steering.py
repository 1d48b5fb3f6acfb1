"""What steers a running stand-in over HTTP: its state, its faults, its cameras."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from streamproc.standin.camera import Camera
from streamproc.standin.faults import Fault, Faults
from streamproc.standin.rekognition import RekognitionService
from streamproc.standin.video import VideoService


class Steering:
    """Answers ``/standin/...``.

    ::

        GET    /standin                          streams, sessions, calls, faults
        GET    /standin/faults                   what is armed
        POST   /standin/faults                   arm one fault or a list of them (JSON, the fields of Fault)
        DELETE /standin/faults                   disarm all
        POST   /standin/cameras/NAME/start|stop|restart
    """

    def __init__(
        self, video: VideoService, rekognition: RekognitionService, faults: Faults, cameras: Mapping[str, Camera]
    ) -> None:
        self._video = video
        self._rekognition = rekognition
        self._faults = faults
        self._cameras = cameras
        self.address = ""

    def handle(self, method: str, path: str, body: bytes) -> dict[str, Any]:
        """The answer as JSON values. Raises LookupError for an unknown path, ValueError for bad input."""
        match method, path.strip("/").split("/"):
            case "GET", ["standin"]:
                return self.state()
            case "GET", ["standin", "faults"]:
                return {"faults": [asdict(f) for f in self._faults.armed()]}
            case "POST", ["standin", "faults"]:
                return self._arm(body)
            case "DELETE", ["standin", "faults"]:
                self._faults.clear()
                return {"faults": []}
            case "POST", ["standin", "cameras", name, "start" | "stop" | "restart" as what] if name in self._cameras:
                getattr(self._cameras[name], what)()
                return {"camera": name, "running": self._cameras[name].running}
        raise LookupError("there is nothing here")

    def state(self) -> dict[str, Any]:
        """What is going on, as JSON values."""
        streams = {}
        for name, stream in self._video.streams.items():
            fragments = stream.fragments()
            streams[name] = {
                "fragments": len(fragments),
                "newest": str(fragments[-1].number) if fragments else "",
                "connections": self._video.connections(name),
                "sessions": self._video.sessions[name],
                "running": name in self._cameras and self._cameras[name].running,
            }
        rekognition = self._rekognition
        return {
            "streams": streams,
            "calls": dict(rekognition.calls),
            "outcomes": dict(rekognition.outcomes),
            "in_flight": rekognition.in_flight,
            "most_in_flight": rekognition.most_in_flight,
            "faults": [asdict(f) for f in self._faults.armed()],
        }

    def _arm(self, body: bytes) -> dict[str, Any]:
        values = json.loads(body or b"null")
        faults = []
        for value in values if isinstance(values, list) else [values]:
            if not isinstance(value, dict):
                raise ValueError("a fault is a JSON object")
            faults.append(Fault.from_values(value))
        for fault in faults:
            self._faults.arm(fault)
        return {"faults": [asdict(f) for f in self._faults.armed()]}

"""A local Kinesis Video Streams and Rekognition over real HTTP, for the demo and the tests."""

from streamproc.standin.camera import Camera, Delivery, Stream
from streamproc.standin.eyes import CalledEyes, Eyes, FixedEyes, LocalEyes, Sight, eyes_from_text
from streamproc.standin.faults import Fault, Faults
from streamproc.standin.local import StandIn
from streamproc.standin.matroska import Layout
from streamproc.standin.media import MediaFragment, read_media
from streamproc.standin.session import Limits

__all__ = [
    "CalledEyes",
    "Camera",
    "Delivery",
    "Eyes",
    "Fault",
    "Faults",
    "FixedEyes",
    "Layout",
    "Limits",
    "LocalEyes",
    "MediaFragment",
    "Sight",
    "StandIn",
    "Stream",
    "eyes_from_text",
    "read_media",
]

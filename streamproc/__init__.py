"""streamproc: near-real-time redaction for Kinesis Video Streams."""

__version__ = "0.1.0"

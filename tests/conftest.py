"""Lets the tests of every folder import what stands beside this file; a busy machine fails no property."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("streamproc", deadline=None)
settings.load_profile("streamproc")

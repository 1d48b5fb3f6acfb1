"""Recordings instead of live streams: the same stages, and how well they do."""

"""Frames into detections: which to look at, how many at once, what the answer means."""

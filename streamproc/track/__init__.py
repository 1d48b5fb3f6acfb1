"""Detections into regions for every frame, from both sides."""

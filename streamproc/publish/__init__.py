"""Segments into objects."""

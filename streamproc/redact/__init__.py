"""A frame and its regions into a redacted frame."""

"""Redacted frames into segments and playlists."""

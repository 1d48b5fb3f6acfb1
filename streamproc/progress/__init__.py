"""How far a stream is published, and how far it is behind."""

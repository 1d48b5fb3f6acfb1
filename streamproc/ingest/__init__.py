"""GetMedia bytes into blocks of fragments, with their tags."""

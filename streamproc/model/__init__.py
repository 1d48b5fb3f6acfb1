"""The nouns: plain values without I/O, clock, codec or AWS in them."""

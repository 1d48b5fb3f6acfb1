"""Blocks into frames (YUV 4:2:0 planes) on the producer's clock."""

"""A local Kinesis Video Streams and Rekognition over real HTTP, for the demo and the tests."""

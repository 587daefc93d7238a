"""Films, streams and recorded results for tests."""

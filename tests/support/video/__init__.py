"""Videos, streams and recorded results for tests."""

"""Exports checkpoints as engines: ONNX graphs that contain metadata and their measured error."""

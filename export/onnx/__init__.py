"""Exports a trained network as an ONNX engine with its companions."""

"""From a trained network to an ONNX engine and its companions."""

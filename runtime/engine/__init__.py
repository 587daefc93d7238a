"""Engine files: ONNX and TensorRT, their metadata and their style codes."""

"""From a checkpoint to engines: ONNX graphs with their metadata and their measured error inside."""

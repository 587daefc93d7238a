"""FP16 and INT8 engines and their measured errors."""

"""FP16 and int8 engines, and their measured error."""

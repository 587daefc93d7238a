"""Videos in, stylized videos out: every stream, timestamp and color tag kept."""

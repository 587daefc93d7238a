"""Films in, stylized films out: every stream, timestamp and color tag kept."""

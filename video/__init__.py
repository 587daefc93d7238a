"""Films in, stylised films out: every stream, timestamp and colour tag kept."""

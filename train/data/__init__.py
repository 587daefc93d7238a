"""Training pictures and clips, and the processes that read them."""

"""Picture files in and out: formats, color profiles, orientation, batches."""

"""Reading and writing picture files: formats, color, orientation, metadata, batches."""

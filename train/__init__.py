"""Training: one module per method (`methods/`, `slow/`), one trainer, and shared losses."""

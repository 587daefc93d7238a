"""Trainers: one module a method (`methods/`, `slow/`), one trainer, shared features and losses."""

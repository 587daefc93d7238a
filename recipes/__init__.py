"""Trainings of all engines, from one folder of data: see docs/training.md."""

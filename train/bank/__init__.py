"""Trained networks as a start: new styles for a bank, weights out of engines."""

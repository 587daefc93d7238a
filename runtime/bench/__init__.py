"""Measuring engines on this machine: speed, start-up, memory, multiply-adds."""

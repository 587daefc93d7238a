"""Cameras and streams, painted as they come."""

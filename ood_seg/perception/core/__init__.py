"""Decisions and results on arrays, regions, instances, tracking; NumPy and OpenCV only."""

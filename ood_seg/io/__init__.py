"""Atomic writes, image decoding and provenance; NumPy and OpenCV only."""

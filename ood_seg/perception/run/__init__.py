"""Runs a segmentor over a stream of frames."""

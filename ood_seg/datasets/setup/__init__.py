"""Preparing and checking datasets on disk; no mmsegmentation needed."""

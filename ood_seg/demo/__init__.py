"""Drawn street scenes and objects in the real data layouts: the embedded input of the demo."""

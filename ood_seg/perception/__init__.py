"""From frames to boxed unknown objects: sources, decisions, video, sinks; NumPy and OpenCV only."""

"""Sources of frames and sinks of results."""

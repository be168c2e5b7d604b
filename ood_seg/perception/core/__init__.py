"""Results and decisions on arrays: regions, instances, tracking; NumPy and OpenCV only."""

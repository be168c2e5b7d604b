"""HTTP service around a segmentor."""

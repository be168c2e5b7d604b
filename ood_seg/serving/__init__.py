"""A small HTTP service over any `Segmentor`; needs the extra `serve`."""

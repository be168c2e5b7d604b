"""Runs models on frames: one image, streams with threads, and the files of `ood-seg infer`."""

"""Transforms for mmseg pipelines; `ood_seg.register` imports and thereby registers them."""

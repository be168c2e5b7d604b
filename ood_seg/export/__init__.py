"""Export to ONNX: images in, labels and anomaly maps out, checked against torch."""

from ood_seg.export.exporting import Export, Options, export_onnx

__all__ = ["Export", "Options", "export_onnx"]

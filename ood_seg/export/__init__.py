"""Export to ONNX: images in, labels and anomaly maps out, checked against torch."""

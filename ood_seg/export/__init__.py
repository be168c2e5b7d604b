"""Export to ONNX: image in, labels and anomaly map out, checked against torch."""

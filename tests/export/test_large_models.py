"""Models beyond the limit of protobuf store their weights in a second file."""

import exported_tiny as tiny_export
import numpy as np
import onnx
import onnxruntime

from ood_seg.export import onnx_file


def test_weights_move_with_the_model(exported, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "_LARGEST_FILE", 1000)
    for _ in range(2):  # the second time over the first
        onnx_file.save(onnx.load(exported["model"]), tmp_path / "model.failed.onnx")
    onnx_file.move(tmp_path / "model.failed.onnx", tmp_path / "model.onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "model.onnx.data"]
    total = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert total < 1.2 * exported["model"].stat().st_size
    image = {"image": tiny_export.made_up_image(30, 40)[None]}
    paths = (exported["model"], tmp_path / "model.onnx")
    found = [onnxruntime.InferenceSession(path).run(["score"], image)[0] for path in paths]
    np.testing.assert_array_equal(*found)

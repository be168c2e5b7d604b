"""`ood-seg convert-checkpoint`: full-size layouts into shipped configs, and bad input."""

import json
import os

import numpy as np
import published_networks as published
import published_small_networks as small
import pytest
import torch

pytest.importorskip("mmseg")
from ood_seg.apis import check_matches, load_checkpoint
from ood_seg.checkpoints import save_checkpoint
from ood_seg.commands import main
from ood_seg.io.provenance import file_sha256
from ood_seg.models.layouts.files import model_without_weights

TRAINING = {"optimizer": {"state": {}, "param_groups": []}, "epoch": 3}


def full_size(name: str) -> dict:
    """A checkpoint with every name and shape of a published one, but no memory for its values."""
    shapes, prefix, holder = {
        "nvidia": (published.deep_wv3_plus_shapes(), "module.", "state_dict"),
        "pebal": (published.deep_wv3_plus_shapes(num_classes=20), "branch1.", "model"),
        "rpl": (published.rpl_shapes(), "branch1.", "model"),
        "densehybrid": (published.dense_hybrid_shapes(), "", ""),
        "erfnet": (small.erfnet_shapes(), "module.", ""),
        "cgnet": (small.cgnet_shapes(), "module.", "model"),
    }[name]
    weights = {prefix + key: value for key, value in published.weightless(shapes).items()}
    return {holder: weights, **TRAINING} if holder else weights


def convert(*arguments) -> int:
    return main(["convert-checkpoint", *map(str, arguments)])


CONFIGS = {
    "nvidia": "posthoc/energy_deepwv3plus-wrn38_cityscapes",
    "pebal": "posthoc/energy_deepwv3plus-wrn38-20ch_cityscapes",
    "rpl": "posthoc/residual-energy_deepwv3plus-wrn38_cityscapes",
    "densehybrid": "posthoc/dense-hybrid_deepwv3plus-wrn38_cityscapes",
    "erfnet": "posthoc/energy_erfnet-original_cityscapes",
    "cgnet": "posthoc/energy_fcn-cgnet_cityscapes",
}


@pytest.mark.parametrize("name", CONFIGS)
def test_full_size_layouts_fit_their_shipped_configs(name, tmp_path, capsys):
    source, target = tmp_path / "in.pth", tmp_path / "new folder" / "out.pth"
    torch.save(full_size(name), source)
    assert convert(source, target) == 0
    printed = capsys.readouterr().out
    converted = load_checkpoint(target)
    check_matches(model_without_weights(CONFIGS[name]), converted["state_dict"])
    assert f"{len(converted['state_dict'])} tensors" in printed
    assert f"ood-seg test {CONFIGS[name]} {target}" in printed
    meta = converted["meta"]
    assert json.loads(json.dumps(meta)) == meta
    assert meta["origin_layout"] == name
    assert meta["source"] == "in.pth"
    assert meta["source_sha256"] == file_sha256(source)
    for key in meta["dropped"]:
        assert key in printed
    assert os.listdir(target.parent) == ["out.pth"]


@pytest.mark.parametrize("zipped", [True, False])  # False: files of torch before 1.6
def test_numpy_numbers_of_old_checkpoints_are_read(zipped, tmp_path):
    others = {"mean_iu": np.float64(0.83), "command": "train.py", **TRAINING}
    checkpoint = {**full_size("nvidia"), **others}
    torch.save(checkpoint, tmp_path / "in.pth", _use_new_zipfile_serialization=zipped)
    assert convert(tmp_path / "in.pth", tmp_path / "out.pth") == 0
    dropped = load_checkpoint(tmp_path / "out.pth")["meta"]["dropped"]
    assert dropped == ["optimizer", "epoch", "mean_iu", "command"]


def test_converted_erfnet_runs_in_the_inferencer(tmp_path):
    from ood_seg.apis import AnomalyInferencer

    weights = published.random_weights(small.erfnet_shapes())
    torch.save({f"module.{k}": v for k, v in weights.items()}, tmp_path / "in.pth")
    assert convert(tmp_path / "in.pth", tmp_path / "out.pth") == 0
    inferencer = AnomalyInferencer(CONFIGS["erfnet"], tmp_path / "out.pth", device="cpu")
    image = np.random.default_rng(0).integers(0, 256, (512, 1024, 3), dtype=np.uint8)
    (result,) = inferencer.predict([image])
    rgb = torch.from_numpy(image[None, :, :, ::-1].copy()).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        logits = small.erfnet(weights, rgb)[:, :19]
    expected = -logits.logsumexp(dim=1)[0]
    scores = torch.from_numpy(result.anomaly)
    assert (scores - expected).abs().max() <= 1e-4 * expected.abs().max()
    assert (torch.from_numpy(result.labels) == logits.argmax(dim=1)[0]).float().mean() > 0.999


def test_existing_files_are_kept_unless_forced(tmp_path, capsys):
    torch.save(full_size("cgnet"), tmp_path / "in.pth")
    (tmp_path / "out.pth").write_text("mine")
    assert convert(tmp_path / "in.pth", tmp_path / "out.pth") == 2
    message = capsys.readouterr().err
    assert "out.pth exists" in message
    assert "--overwrite" in message
    assert (tmp_path / "out.pth").read_text() == "mine"
    assert convert(tmp_path / "in.pth", tmp_path / "out.pth", "--overwrite") == 0
    assert load_checkpoint(tmp_path / "out.pth")["meta"]["origin_layout"] == "cgnet"
    first = file_sha256(tmp_path / "out.pth")
    assert convert(tmp_path / "in.pth", tmp_path / "again.pth") == 0
    assert file_sha256(tmp_path / "again.pth") == first


def test_source_and_folders_are_never_overwritten(tmp_path, capsys):
    source = tmp_path / "in.pth"
    torch.save(full_size("cgnet"), source)
    before = file_sha256(source)
    assert convert(source, source, "--force") == 2
    assert str(source) in capsys.readouterr().err
    assert convert(source, tmp_path, "--force") == 2
    assert f"{tmp_path} is a folder" in capsys.readouterr().err
    assert file_sha256(source) == before


def test_interrupted_writing_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    target = tmp_path / "out.pth"
    target.write_text("old")

    def fail(content, file):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(target, {})
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["out.pth"]


@pytest.mark.parametrize("name", ["nvidia", "erfnet", "cgnet"])
def test_missing_and_extra_keys_are_refused(name, tmp_path, capsys):
    checkpoint = full_size(name)
    weights = next((checkpoint[h] for h in ("state_dict", "model") if h in checkpoint), checkpoint)
    victim = next(key for key in reversed(list(weights)) if key.endswith("running_mean"))
    removed = weights.pop(victim)
    torch.save(checkpoint, tmp_path / "in.pth")
    assert convert(tmp_path / "in.pth", tmp_path / "out.pth") == 2
    assert "lacks 1 of its" in capsys.readouterr().err
    weights[victim] = removed
    weights["module.surprise"] = removed
    torch.save(checkpoint, tmp_path / "in.pth")
    assert convert(tmp_path / "in.pth", tmp_path / "out.pth") == 2
    message = capsys.readouterr().err
    assert "module.surprise" in message
    assert not (tmp_path / "out.pth").exists()


def test_keys_that_the_network_lacks_are_refused_although_they_look_right(tmp_path, capsys):
    checkpoint = full_size("nvidia")
    checkpoint["state_dict"]["module.mod7.block2.bn1.0.weight"] = torch.ones(4096)
    torch.save(checkpoint, tmp_path / "in.pth")
    assert convert(tmp_path / "in.pth", tmp_path / "out.pth") == 2
    assert "1 unexpected (backbone.mod7.block2.bn1.0.weight)" in capsys.readouterr().err


def test_other_widths_are_refused(tmp_path, capsys):
    shapes = published.deep_wv3_plus_shapes(published.SMALL_WIDTHS)
    torch.save(published.weightless(shapes), tmp_path / "in.pth")
    assert convert(tmp_path / "in.pth", tmp_path / "out.pth") == 2
    message = capsys.readouterr().err
    assert "of another shape (backbone.mod1.conv1.weight (4, 3, 3, 3) for (64, 3, 3, 3)" in message


def test_other_channel_counts_need_a_config_of_their_own(tmp_path, capsys):
    shapes = published.deep_wv3_plus_shapes(num_classes=12)
    torch.save({"state_dict": published.weightless(shapes)}, tmp_path / "in.pth")
    assert convert(tmp_path / "in.pth", tmp_path / "out.pth") == 2
    message = capsys.readouterr().err
    assert "12 output channels" in message
    assert "19 and 20" in message
    assert "--config" in message

    mine = tmp_path / "mine.py"
    assert main(["configs", "--copy", CONFIGS["nvidia"], str(mine)]) == 0
    with mine.open("a") as file:
        file.write("model['decode_head'] = dict(num_classes=12)\n")
    assert convert(tmp_path / "in.pth", tmp_path / "out.pth", "--config", mine) == 0
    assert load_checkpoint(tmp_path / "out.pth")["meta"]["num_channels"] == 12


class Harm:
    """Writes a file when it is unpickled."""

    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return (open, (self.target, "w"))


def test_pickled_code_and_other_files_are_refused(tmp_path, capsys):
    source, target, written = (tmp_path / n for n in ("in.pth", "out.pth", "written"))
    torch.save({**full_size("cgnet"), "command": Harm(written)}, source)
    assert convert(source, target) == 2
    message = capsys.readouterr().err
    assert "in.pth" in message
    assert "pickled code" in message
    assert not written.exists()
    source.write_text("no checkpoint")
    assert convert(source, target) == 2
    assert "not a checkpoint" in capsys.readouterr().err
    assert convert(tmp_path / "none.pth", target) == 2
    assert "none.pth" in capsys.readouterr().err
    assert not target.exists()


@pytest.mark.parametrize(
    ("name", "lost", "title"),
    [
        ("pebal", "branch1.mod1.conv1.weight", "PEBAL"),
        ("nvidia", "module.mod1.conv1.weight", "NVIDIA"),
        ("erfnet", "module.encoder.initial_block.conv.weight", "ERFNet"),
    ],
)
def test_a_missing_weight_is_named_with_the_layout(name, lost, title, tmp_path, capsys):
    checkpoint = full_size(name)
    holder = next((one for one in ("state_dict", "model") if one in checkpoint), None)
    del (checkpoint[holder] if holder else checkpoint)[lost]
    torch.save(checkpoint, tmp_path / "in.pth")
    assert convert(tmp_path / "in.pth", tmp_path / "out.pth") == 2
    message = capsys.readouterr().err
    assert title in message
    assert "lacks 1 of its" in message
    assert ("mod1.conv1.weight" if "mod1" in lost else "encoder.0.conv.weight") in message
    assert not (tmp_path / "out.pth").exists()

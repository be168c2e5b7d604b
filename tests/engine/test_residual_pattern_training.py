"""A short complete run of residual pattern learning with its contrastive loss."""

import pytest
import torch

pytest.importorskip("mmseg")
import tiny
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from tiny_training import runner_config, train_set

import ood_seg.register  # noqa: F401
from ood_seg.checkpoints import load_weights

init_default_scope("mmseg")


def mixed_samples(root):
    """As many whole images of outliers as driving scenes, shuffled."""
    scenes = train_set(root)
    source = scenes["pipeline"][4]["source"]
    whole_images = {
        **scenes,
        "pipeline": [
            *scenes["pipeline"][:2],
            {"type": "PasteOutliers", "source": source, "raw_probability": 1.0},
            {"type": "CropOrPad", "size": (48, 64), "pad_value": (0, 0, 0)},
            {"type": "PackOutlierImage"},
        ],
    }
    mix = {"type": "OutlierMix", "clean": scenes, "pasted": whole_images, "num_pasted": 6}
    return {"type": "SeededSamples", "dataset": mix}


def rpl_config(root, work_dir, **changes):
    head = tiny.head_config(
        19,
        type="ResidualPatternHead",
        wraps="FCNHead",
        block={
            "channels": 8,
            "projection_channels": 8,
            "norm_cfg": {"type": "GN", "num_groups": 4},
        },
        contrast={"type": "ContextRobustContrastiveLoss", "samples": 20},
    )
    model = tiny.model_config(
        19,
        decode_head=head,
        closed_set_loss=False,
        freeze={"trained": ["decode_head.residual_block.*"]},
        energy_head={
            "type": "EnergyHead",
            "num_classes": 19,
            "score": {"type": "ResidualEnergy"},
            "losses": [{"type": "ResidualPatternLoss"}],
        },
    )
    config = runner_config(root, work_dir, model=ConfigDict(model))
    config["train_dataloader"]["dataset"] = mixed_samples(root)
    config["train_dataloader"]["batch_size"] = 4
    config["custom_hooks"] = [{"type": "RandomStateHook"}]
    return config | changes


def trained(config):
    """Weights after the run, and the losses of each iteration."""
    runner = Runner(**config)
    history = []
    step = runner.model.train_step
    runner.model.train_step = lambda *a, **k: history.append(step(*a, **k)) or history[-1]
    runner.train()
    return runner.model.state_dict(), history


def test_only_the_block_learns_and_a_resumed_run_ends_with_the_same_weights(scenes, tmp_path):
    final, history = trained(rpl_config(scenes, tmp_path))
    half_way = load_weights(tmp_path / "iter_3.pth")
    changed = {name for name, value in half_way.items() if not torch.equal(final[name], value)}
    assert "decode_head.residual_block.output.weight" in changed
    assert "decode_head.residual_block.projection.weight" in changed
    assert all("residual_block" in name for name in changed)
    assert max(losses["anomaly.loss_contrast"].item() for losses in history) > 0

    # Again, from iteration 3: the contrastive loss draws its pixels from torch's generator.
    (tmp_path / "last_checkpoint").write_text(str(tmp_path / "iter_3.pth"))
    torch.rand(7)
    resumed, tail = trained(rpl_config(scenes, tmp_path, resume=True))
    assert len(tail) == 3
    for name, value in resumed.items():
        assert torch.equal(value, final[name]), name

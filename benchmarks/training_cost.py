"""Cost of one training step of a config: operations, activations, weights, gradients.

    python benchmarks/training_cost.py CONFIG [CONFIG ...] [--train-all] [--checkpointing]

The step is run once on the CPU on one small crop. Operations and tensors kept for the backward
pass are counted there and scaled to the crop of the recipe by the number of pixels, to which both
are proportional in a convolutional network. Weights, gradients and optimizer state are exact.
Other memory of a GPU (context, cuDNN workspaces, fragmentation, loader) is not counted.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ood_seg.reports.tables import Table

BATCH = 2


@dataclass
class Cost:
    """Cost of a step on one crop.

    Attributes:
        name: of the config.
        parameters, trained: numbers of weights.
        flops: multiplications and additions of forward and backward.
        saved: bytes of activations kept for the backward pass.
    """

    name: str
    parameters: int
    trained: int
    flops: float
    saved: float

    def scaled(self, factor: float) -> Cost:
        """The cost on an image of `factor` times as many pixels."""
        return Cost(
            self.name, self.parameters, self.trained, self.flops * factor, self.saved * factor
        )


def main() -> None:
    """Measure every config and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("configs", nargs="+")
    parser.add_argument("--crop", type=int, default=129, help="side of the crop that is run")
    parser.add_argument("--full-crop", type=int, default=900, help="side that is reported")
    parser.add_argument("--train-all", action="store_true", help="ignore what the config freezes")
    parser.add_argument("--checkpointing", action="store_true", help="recompute the backbone")
    args = parser.parse_args()
    factor = (args.full_crop / args.crop) ** 2
    costs = [measure(config, args).scaled(factor) for config in args.configs]
    print(f"run at {args.crop}x{args.crop}, scaled to {args.full_crop}x{args.full_crop}, one image")
    titles = ("config", "weights, M", "trained, M", "TFLOP", "activations, GiB", "fixed, GiB")
    rows = []
    for cost in costs:
        # Weights once; gradient and Adam's two moments for the trained ones.
        fixed = 4 * (cost.parameters + 3 * cost.trained) / 2**30
        weights = (f"{cost.parameters / 1e6:.1f}", f"{cost.trained / 1e6:.2f}")
        memory = (f"{cost.saved / 2**30:.2f}", f"{fixed:.2f}", f"{4 * cost.trained / 2**20:.1f}")
        rows.append((cost.name, *weights, f"{cost.flops / 1e12:.2f}", *memory))
    print(Table("", (*titles, "gradient, MiB"), rows).to_markdown(), end="")


def measure(name: str, args: argparse.Namespace) -> Cost:
    """Run one step of a config's model on random pixels."""
    model = build(name, train_all=args.train_all, checkpointing=args.checkpointing).train()
    data = model.data_preprocessor(random_batch(args.crop), True)
    saved: dict[int, int] = {}
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    counter = FlopCounterMode(display=False)
    with counter, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss, _ = model.parse_losses(model.loss(**data))
        loss.backward()
    weights = list(model.parameters())
    return Cost(
        Path(name).stem,
        sum(weight.numel() for weight in weights),
        sum(weight.numel() for weight in weights if weight.requires_grad),
        counter.get_total_flops() / BATCH,
        sum(saved.values()) / BATCH,
    )


def build(name: str, *, train_all: bool, checkpointing: bool) -> nn.Module:
    """Model of a config with random weights, a uniform prior and no teacher."""
    from ood_seg.config_files import resolve_config
    from ood_seg.startup import prepare

    prepare()
    from mmengine.config import Config
    from mmengine.model import revert_sync_batchnorm
    from mmengine.registry import init_default_scope
    from mmseg.registry import MODELS

    cfg = Config.fromfile(resolve_config(name))
    init_default_scope("mmseg")
    cfg.model.pop("distillation", None)
    cfg.model.data_preprocessor.size = None
    cfg.model.data_preprocessor.size_divisor = 1
    if train_all:
        cfg.model["freeze"] = {"norm_statistics": "fixed", "dropout": "off"}
    if checkpointing:
        cfg.model.backbone.with_cp = True
    model = revert_sync_batchnorm(MODELS.build(cfg.model))
    for loss in model.energy_head.losses:
        if hasattr(loss, "set_prior") and loss.prior is None:
            loss.set_prior(torch.ones(model.decode_head.num_classes))
    return model


def random_batch(crop: int) -> dict:
    """Two uncollated images (batch norms want two), an object on a twentieth of their pixels."""
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 19, (1, crop, crop), generator=generator)
    labels[:, : crop // 5, : crop // 4] = 254
    sample = SegDataSample(metainfo={"img_shape": (crop, crop), "ori_shape": (crop, crop)})
    sample.gt_sem_seg = PixelData(data=labels)
    image = torch.randint(0, 256, (3, crop, crop), generator=generator, dtype=torch.uint8)
    return {"inputs": [image] * BATCH, "data_samples": [sample] * BATCH}


if __name__ == "__main__":
    main()

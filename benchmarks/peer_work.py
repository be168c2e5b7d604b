"""Cases of `peers.py`: metrics, losses, and what parts of training and evaluation cost."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peer_case import CHANNELS, CLASSES, PEERS, Case
from torch import Tensor
from torch.nn import functional

from ood_seg import losses
from ood_seg.detectors.reservoir import PixelReservoir
from ood_seg.metrics import pixel_metrics


def metric_cases(found: set[str], small: bool) -> Iterator[Case]:
    """AUROC, AP and FPR95 of the same pixels."""
    rng = np.random.default_rng(0)
    size = 20_000 if small else 2**21
    labels = (rng.random(size) < 0.01).astype(np.int64)
    values = (rng.normal(size=size) + 2 * labels).astype(np.float32)
    tensors = torch.from_numpy(values), torch.from_numpy(labels)

    def with_pytorch_ood() -> list[float]:
        from pytorch_ood.metrics import OODMetrics

        metrics = OODMetrics()
        metrics.update(tensors[0], -tensors[1])
        found = metrics.compute()
        return [found[name] for name in ("AUROC", "AUPR-OUT", "FPR95TPR")]

    def with_torchmetrics() -> list[float]:
        from torchmetrics.functional import classification as peer

        fpr, tpr, _ = peer.binary_roc(*tensors)
        fpr95 = fpr[(tpr >= 0.95).int().argmax()]
        area, precision = peer.binary_auroc(*tensors), peer.binary_average_precision(*tensors)
        return [float(area), float(precision), float(fpr95)]

    def with_sklearn() -> list[float]:
        from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

        fpr, tpr, _ = roc_curve(labels, values, drop_intermediate=False)
        return [
            roc_auc_score(labels, values),
            average_precision_score(labels, values),
            fpr[(tpr >= 0.95).argmax()],
        ]

    def ours() -> list[float]:
        return list(pixel_metrics(values, labels).values())

    def with_our_ap(theirs: list[float]) -> list[float]:
        return [theirs[0], ours()[1], theirs[2]]

    title = f"AUROC, AP, FPR95, {size:,} pixels"
    for module, call, agree, remark in (
        (
            "pytorch_ood",
            with_pytorch_ood,
            with_our_ap,
            "theirs has two metrics more; its AP is that of trapezoids and not compared",
        ),
        (
            "torchmetrics",
            with_torchmetrics,
            list,
            "theirs puts a sigmoid over the scores, which may tie some",
        ),
        ("sklearn", with_sklearn, list, ""),
    ):
        if module in found:
            yield Case(title, PEERS[module], ours, call, agree, remark)


def loss_data(small: bool) -> tuple[Tensor, Tensor]:
    """Logits of two crops, and labels with a block of outliers."""
    side = 16 if small else 512
    labels = torch.randint(CLASSES, (2, side, side))
    labels[:, : side // 4, : side // 4] = 254
    return (4 * torch.randn(2, CLASSES, side, side)).requires_grad_(), labels


def with_gradient(loss: Callable[[Tensor, Tensor], Tensor], *data: Tensor) -> Callable[[], Tensor]:
    """The loss, after its backward pass."""

    def call() -> Tensor:
        value = loss(*data)
        value.backward()
        data[0].grad = None
        return value

    return call


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """That of the known pixels."""
    return functional.cross_entropy(
        logits, labels.masked_fill(labels == 254, 255), ignore_index=255
    )


def loss_cases(found: set[str], small: bool) -> Iterator[Case]:
    """Losses forward and backward."""
    if "pytorch_ood" not in found:
        return
    from pytorch_ood import loss as peer

    logits, labels = loss_data(small)
    negative = labels.masked_fill(labels == 254, -1)
    share = float((labels == 254).float().mean())
    exposure = peer.OutlierExposureLoss(alpha=0.5)
    known = 1 - share
    title = f"2 x {CLASSES} x {logits.shape[-1]}², with gradient"
    yield Case(
        f"cross entropy and OE, {title}",
        "pytorch-ood",
        with_gradient(
            lambda f, y: (
                known * cross_entropy(f, y) + 0.5 * share * losses.outlier_exposure_loss(f, y)
            ),
            logits,
            labels,
        ),
        with_gradient(exposure, logits, negative),
        remark="theirs is the mean over all pixels: the parts of ours are weighted by their shares",
    )
    energies = peer.EnergyRegularizedLoss(alpha=1.0, margin_in=-12.0, margin_out=-6.0)
    yield Case(
        f"cross entropy and EnergyOE, {title}",
        "pytorch-ood",
        with_gradient(
            lambda f, y: losses.cross_entropy_energy_loss(
                f, y, energy_weight=1.0, margin_in=-12.0, margin_out=-6.0
            ),
            logits,
            labels,
        ),
        with_gradient(energies, logits, negative),
        None,
        "theirs takes the mean over all pixels, so values are not compared",
    )


def work_cases(found: set[str], small: bool) -> Iterator[Case]:
    """What parts of training, fitting and evaluation cost beside a reference."""
    logits, labels = loss_data(small)
    base = with_gradient(cross_entropy, logits, labels)
    prior = [1 / (1 + index) for index in range(CLASSES)]
    margins = {"margin_in": -12.0, "margin_out": -6.0}
    for name, loss in (
        ("OE", losses.outlier_exposure_loss),
        ("Meta-OoD", lambda f, y: losses.meta_ood_loss(f, y, outlier_weight=0.9)),
        (
            "cross entropy and EnergyOE",
            lambda f, y: losses.cross_entropy_energy_loss(f, y, energy_weight=0.1, **margins),
        ),
        (
            "cross entropy and balanced EnergyOE",
            lambda f, y: losses.cross_entropy_balanced_energy_loss(
                f, y, prior, energy_weight=0.1, alpha=5.0, gamma=3.0, **margins
            ),
        ),
    ):
        yield Case(name, "cross entropy", with_gradient(loss, logits, labels), base, None)
    yield from reservoir_and_teacher(small)
    yield from evaluation_cases(small)


def reservoir_and_teacher(small: bool) -> Iterator[Case]:
    """A sample of image-level rows; a training step with and without a teacher."""
    count = 2000 if small else 100_000
    rows, labels = torch.randn(count, CHANNELS), torch.zeros(count, dtype=torch.long)

    def sampled() -> Tensor:
        reservoir = PixelReservoir(5000)
        reservoir.update(rows, labels)
        return reservoir.rows

    name = f"sample of 5000 of {count:,} rows"
    yield Case(name, "torch.randperm", sampled, lambda: rows[torch.randperm(count)[:5000]], None)
    try:
        steps = [training_step(small, with_teacher=given) for given in (True, False)]
    except ImportError as error:
        print(f"training step is left out: {error}", file=sys.stderr)
        return
    yield Case("ERFNet, step with a teacher", "without", *steps, None)


def training_step(small: bool, *, with_teacher: bool) -> Callable[[], Any]:
    """Loss and gradient of a shipped config, of random weights."""
    from mmengine.registry import init_default_scope
    from mmengine.structures import PixelData
    from mmseg.registry import MODELS
    from mmseg.structures import SegDataSample

    import ood_seg.register  # noqa: F401
    from ood_seg.config_files import load_config

    init_default_scope("mmseg")
    cfg = load_config("energy-oe_fcn-erfnet_300it_street-coco")
    cfg.model.backbone.pop("init_cfg", None)
    if not with_teacher:
        cfg.model.pop("distillation")
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).train()
    size = (64, 64) if small else (384, 512)
    labels = torch.randint(CLASSES, (2, 1, *size))
    labels[..., :20, :20] = 254
    metainfo = {"img_shape": size, "ori_shape": size}
    samples = [SegDataSample(gt_sem_seg=PixelData(data=y), metainfo=metainfo) for y in labels]
    images = torch.randn(2, 3, *size)

    def step() -> None:
        model.parse_losses(model.loss(images, samples))[0].backward()
        model.zero_grad()

    return step


def evaluation_cases(small: bool) -> Iterator[Case]:
    """`evaluate` of saved maps beside reading the same files once."""
    import cv2

    from ood_seg.evaluation import MapFolders, Settings, evaluate_folders

    with tempfile.TemporaryDirectory() as name:
        folders = MapFolders(Path(name) / "maps", Path(name) / "masks")
        folders.scores.mkdir()
        folders.ground_truth.mkdir()
        rng = np.random.default_rng(0)
        side, count = (64 if small else 1024), 6
        for index in range(count):
            coarse = rng.normal(size=(side // 16, side // 8)).astype(np.float32)
            truth = np.zeros((side, 2 * side), np.uint8)
            for y, x in rng.integers(0, side * 3 // 4, (10, 2)):
                truth[y : y + side // 16, x : x + side // 12] = 1
            truth[-side // 8 :] = 255
            scored = cv2.resize(coarse, (2 * side, side), interpolation=cv2.INTER_CUBIC)
            np.save(folders.scores / f"{index}.npy", scored + 2 * (truth == 1).astype(np.float32))
            cv2.imwrite(str(folders.ground_truth / f"{index}.png"), truth)
        pairs, reader = folders.matches().pairs, folders.reader()
        yield Case(
            f"evaluate, {count} maps of {side} x {2 * side}",
            "reading the files",
            lambda: evaluate_folders(folders, Settings(samples=0)),
            lambda: [reader.read(pair.scores, pair.truth) for pair in pairs],
            None,
            "pixel metrics, calibration, false alarms at four thresholds, components",
        )

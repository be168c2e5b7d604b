"""CPU time and values of ood_seg beside other installed libraries, as a Markdown table.

    python benchmarks/peers.py [--only scores detectors metrics losses work] [--repeats 3] [--small]
        [--update docs/performance.md]

Peers are pytorch-ood, torchmetrics and scikit-learn; one that is not installed, or that cannot be
imported, is named and left out. Both sides get the same tensors in one process with one thread,
called in turns; the smallest CPU time of each counts, and the ratio is ours to the peer's.
The difference is the largest one between the values of both, relative to the largest value of the
peer, after the change of sign, scale or offset that the last column names. The section `work` has
no peer: its references are torch's cross entropy and the same work left out.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ood_seg import detectors, losses, scores
from ood_seg.detectors import Network, Outputs, StatisticsFile
from ood_seg.detectors.rectified import shape_activations
from ood_seg.detectors.reservoir import PixelReservoir
from ood_seg.io.files import write_text
from ood_seg.metrics import pixel_metrics
from ood_seg.reports.tables import Table

CLASSES, CHANNELS = 19, 64
MARKS = ("<!-- benchmarks/peers.py -->", "<!-- end of benchmarks/peers.py -->")
PEERS = {"pytorch_ood": "pytorch-ood", "torchmetrics": "torchmetrics", "sklearn": "scikit-learn"}


@dataclass(frozen=True)
class Case:
    """One thing that both sides compute.

    Attributes:
        name: of the thing.
        peer: what it is compared with.
        ours, theirs: compute it.
        agree: brings the peer's values to our definition; None: nothing is compared.
        remark: on definitions.
    """

    name: str
    peer: str
    ours: Callable[[], Any]
    theirs: Callable[[], Any]
    agree: Callable[[Any], Any] | None = lambda values: values
    remark: str = ""


def main() -> None:
    """Print the table, each row as soon as it is measured."""
    args = parse_arguments()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    # What the peers report on the way, such as clipped dimensions.
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    found = available_peers()
    rows = []
    print("\n".join(table_of([]).to_markdown().splitlines()))
    for section in args.only:
        for case in SECTIONS[section](found, args.small):
            rows.append(row(case, args.repeats))
            print(table_of(rows[-1:]).to_markdown().splitlines()[-1], flush=True)
    if args.update:
        replace_table(args.update, table_of(rows).to_markdown())


def table_of(rows: list[tuple[str, ...]]) -> Table:
    """The table of some rows."""
    header = ("what", "peer", "CPU ms", "peer's CPU ms", "ratio", "difference", "remark")
    return Table("", header, rows, text_columns=("peer", "remark"))


def replace_table(path: Path, table: str) -> None:
    """Put the table between the two marks of a Markdown file."""
    text = path.read_text(encoding="utf-8")
    before, begin, rest = text.partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if not (begin and end):
        raise SystemExit(f"{path}: expected {MARKS[0]} and {MARKS[1]} around the table")
    write_text(path, f"{before}{begin}\n\n{table}\n{end}{after}")


def parse_arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--update", type=Path, metavar="FILE", help=f"Markdown file with {MARKS[0]} to write into"
    )
    parser.add_argument("--small", action="store_true", help="small tensors, to try it out")
    return parser.parse_args()


def available_peers() -> set[str]:
    """Peers that can be imported; the others are named on standard error, with the reason."""
    found = set()
    for module, name in PEERS.items():
        try:
            importlib.import_module(module)
        except Exception as error:
            # A package may be broken in any way, by a library that it needs for instance.
            print(f"{name} is left out: {type(error).__name__}: {error}", file=sys.stderr)
        else:
            found.add(module)
    return found


def row(case: Case, repeats: int) -> tuple[str, ...]:
    """Measure a case; a side that fails is named in its row."""
    try:
        ours, theirs = case.ours(), case.theirs()
        seconds = [float("inf")] * 2
        for _ in range(repeats):
            for side, call in enumerate((case.ours, case.theirs)):
                start = time.process_time()
                call()
                seconds[side] = min(seconds[side], time.process_time() - start)
    except Exception as error:
        return case.name, case.peer, "-", "-", "-", "-", f"failed: {type(error).__name__}: {error}"
    times = (f"{1000 * s:.{1 if s < 0.1 else 0}f}" for s in seconds)
    difference = "-"
    if case.agree is not None:
        largest = largest_difference(ours, case.agree(theirs))
        difference = f"{largest:.0e}" if largest else "0"
    return case.name, case.peer, *times, f"{seconds[0] / seconds[1]:.2g}", difference, case.remark


def largest_difference(ours: Any, theirs: Any) -> float:
    """Relative to the peer's largest value."""
    ours, theirs = (torch.as_tensor(part).detach().double() for part in (ours, theirs))
    return float((ours - theirs).abs().max() / theirs.abs().max())


def score_cases(found: set[str], small: bool) -> Iterator[Case]:
    """Scores of the logits of an image."""
    if "pytorch_ood" not in found:
        return
    from pytorch_ood import detector as peer

    side = 16 if small else 512
    logits = 4 * torch.randn(1, CLASSES, side, 2 * side)
    weights = torch.rand(CLASSES)
    tail = ("pytorch-ood", f"{CLASSES} x {side} x {2 * side}")
    flat = logits / 4  # so that no probability is below their limit
    for name, ours, theirs, agree, remark in (
        ("energy", scores.energy, peer.EnergyBased.score, None, ""),
        (
            "max softmax",
            scores.max_softmax,
            peer.MaxSoftmax.score,
            lambda s: 1 + s,
            "theirs is smaller by 1",
        ),
        ("max logit", scores.max_logit, peer.MaxLogit.score, None, ""),
        ("entropy", scores.entropy, peer.Entropy.score, None, ""),
        (
            "GEN",
            lambda _: scores.generalized_entropy(flat),
            lambda _: peer.GEN.score(flat),
            lambda s: CLASSES * s,
            "theirs is the mean over the classes, ours the sum; theirs limits p to 1e-7 and above",
        ),
        (
            "weighted energy",
            lambda f: scores.weighted_energy(f, weights),
            lambda f: peer.WeightedEBO.score(f, weights),
            None,
            "",
        ),
    ):
        yield Case(
            f"{name}, {tail[1]}",
            tail[0],
            lambda call=ours: call(logits),
            lambda call=theirs: call(logits),
            agree or (lambda s: s),
            remark,
        )


@dataclass(frozen=True)
class Samples:
    """An image-level network on features, with fitted and scored samples."""

    network: Network
    linear: nn.Linear
    fitted: Outputs
    labels: Tensor
    scored: Outputs

    def detector(self, kind: Any, options: dict | None = None, **read: Any) -> Callable[[], Tensor]:
        """Our score of the samples, fitted."""
        fitter = kind.fitter(**(options or {}))
        with torch.no_grad():
            fitter.update(self.fitted, self.labels, self.network)
        section = fitter.result()
        score = kind(StatisticsFile({section.method: section}), **read)
        if score.needs == "logits":
            return lambda: score(self.scored.logits)
        return lambda: score(self.scored, self.network)


class _Classifier(nn.Module):
    """A linear classifier whose input is the feature."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.feature, self.fc = nn.Identity(), linear

    def forward(self, features: Tensor) -> Tensor:
        return self.fc(self.feature(features))


def make_samples(small: bool) -> Samples:
    """Rectified features of overlapping classes, and a classifier trained on them."""
    count = 4000 if small else 20_000
    labels = torch.arange(count) % CLASSES
    centres = 0.5 * torch.randn(CLASSES, CHANNELS)
    fitted = torch.relu(torch.randn(count, CHANNELS) + centres[labels])
    linear = nn.Linear(CHANNELS, CLASSES)
    optimizer = torch.optim.Adam(linear.parameters(), 1e-2)
    for _ in range(100):
        optimizer.zero_grad()
        functional.cross_entropy(linear(fitted), labels).backward()
        optimizer.step()
    linear.requires_grad_(False)
    network = Network(_Classifier(linear).eval(), classifier="fc")
    scored = torch.relu(2 * torch.randn(count // 4, CHANNELS))
    layers = ("penultimate",)
    return Samples(network, linear, network(fitted, layers), labels, network(scored, layers))


def detector_cases(found: set[str], small: bool) -> Iterator[Case]:
    """Fitted scores: the time is that of scoring, both sides are fitted on the same samples."""
    if "pytorch_ood" not in found:
        return
    from pytorch_ood import detector as peer

    one = make_samples(small)
    z, x = one.fitted.features["penultimate"], one.scored.features["penultimate"]
    weight, bias, y, every = one.linear.weight, one.linear.bias, one.labels, len(z)
    note = f"{len(x)} samples of {CHANNELS} channels"

    def fitted(theirs: Any, *labels: Tensor) -> Callable[[], Tensor]:
        theirs.fit_features(z, *labels)
        return lambda: theirs.predict_features(x)

    def on_logits(theirs: Any) -> Callable[[], Tensor]:
        theirs.fit_logits(one.fitted.logits, y)
        return lambda: theirs.predict_logits(one.scored.logits)

    def case(name: str, ours: Any, theirs: Any, agree: Any = None, remark: str = "") -> Case:
        return Case(f"{name}, {note}", "pytorch-ood", ours, theirs, agree or (lambda s: s), remark)

    mahalanobis = one.detector(detectors.Mahalanobis)
    yield case(
        "Mahalanobis",
        mahalanobis,
        fitted(peer.Mahalanobis(None), y),
        lambda s: every * s,
        "theirs is of the sum of the outer products, ours of their mean",
    )
    bank = {"bank_size": every}
    yield case(
        "kNN, k = 10",
        one.detector(detectors.NearestNeighbours, bank, k=10),
        fitted(peer.KNN(None, k=10), y),
    )
    yield case(
        "ViM, 32 dimensions",
        one.detector(detectors.VirtualLogit, {"dimensions": 32, "sample_size": every}),
        fitted(peer.ViM(None, 32, weight, bias), y),
    )
    yield case(
        "DICE",
        one.detector(detectors.DICE, percentile=70),
        fitted(peer.DICE(None, weight, bias, 0.7), y),
    )
    yield case("SHE", one.detector(detectors.SHE), fitted(peer.SHE(None, one.linear), y))
    yield case("fDBD", one.detector(detectors.FDBD), fitted(peer.fDBD(None, one.linear)))
    yield case(
        "NNGuide, k = 10",
        one.detector(detectors.NNGuide, bank, k=10),
        fitted(peer.NNGuide(None, one.linear, 10), y),
    )
    noisy = replaced(one, z + 0.2 * torch.randn_like(z))
    theirs = peer.GMM(None, reg=0).fit_features(noisy.fitted.features["penultimate"], y)
    yield case(
        "GMM, no shrinkage",
        noisy.detector(detectors.GaussianMixture, {"shrinkage": 0}),
        lambda: theirs.predict_features(x),
    )
    yield case("KL matching", one.detector(detectors.KLMatching), on_logits(peer.KLMatching(None)))
    yield temperature_case(peer, one, note)
    right = one.fitted.logits.argmax(dim=1) == y
    opened = peer.OpenMax(None, tailsize=25, alpha=10).fit_logits(
        one.fitted.logits[right], y[right]
    )
    openmax = one.detector(detectors.OpenMax, {"tail": 25, "class_sample": every})
    yield case(
        "OpenMax",
        lambda: openmax().sigmoid(),
        lambda: opened.predict_logits(one.scored.logits),
        remark="ours is the log odds; the Weibull tails come from two optimizers",
    )
    yield case(
        "GradNorm",
        lambda: detectors.GradNorm()(one.scored, one.network),
        lambda: peer.GradNorm(one.linear, param_filter=lambda n: n == "weight").predict(x),
    )
    yield from activation_cases(peer, one, small)


def temperature_case(peer: Any, one: Samples, note: str) -> Case:
    """Both at their temperature, since their search ends before the optimum."""
    theirs = peer.TemperatureScaling(None).fit_logits(one.fitted.logits, one.labels)
    fitter = detectors.TemperatureScaling.fitter(sample_size=len(one.labels))
    fitter.update(one.fitted, one.labels, one.network)
    section = fitter.result()
    temperature, optimum = theirs.t.item(), section.tensors["temperature"].item()
    section.tensors["temperature"].fill_(temperature)
    ours = detectors.TemperatureScaling(StatisticsFile({section.method: section}))
    return Case(
        f"temperature scaling, {note}",
        "pytorch-ood",
        lambda: ours(one.scored.logits),
        lambda: theirs.predict_logits(one.scored.logits),
        lambda s: 1 + s,
        f"theirs is smaller by 1; at T = {temperature:.3f}, where their fit stops after 50 steps; "
        f"ours finds {optimum:.3f}",
    )


def replaced(samples: Samples, features: Tensor) -> Samples:
    """The same samples with other fitted features."""
    fitted = samples.network(features, ("penultimate",))
    return Samples(samples.network, samples.linear, fitted, samples.labels, samples.scored)


def activation_cases(peer: Any, one: Samples, small: bool) -> Iterator[Case]:
    """Scores that change activations."""
    shaping = importlib.import_module("pytorch_ood.detector.ash")
    maps = torch.rand(8 if small else 256, CHANNELS, 14, 14)
    outputs = Outputs(torch.zeros(len(maps), CLASSES), {"maps": maps})
    rank_feat = peer.RankFeat(None, lambda x: one.linear(x.mean((2, 3))))
    yield Case(
        f"RankFeat, {len(maps)} maps of {CHANNELS} x 14 x 14",
        "pytorch-ood",
        lambda: detectors.RankFeat("maps")(outputs, one.network),
        lambda: rank_feat.predict_feature_maps(maps),
    )
    vectors = torch.rand(512 if small else 4096, 512, 1, 1) + 0.1
    for variant in "pbs":
        theirs = getattr(shaping, f"ash_{variant}")
        yield Case(
            f"ASH-{variant.upper()}, 90 %, {len(vectors)} x 512",
            "pytorch-ood",
            lambda kind=variant: shape_activations(vectors, 90.0, kind.upper()),
            lambda call=theirs: call(vectors.clone(), 0.9),
        )


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


SECTIONS = {
    "scores": score_cases,
    "detectors": detector_cases,
    "metrics": metric_cases,
    "losses": loss_cases,
    "work": work_cases,
}

if __name__ == "__main__":
    main()

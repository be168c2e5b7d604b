"""The data that `ood-seg fit` looks at: known images, and pasted scenes where a method asks."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmengine.config import Config
    from rich.progress import Progress
    from torch import Tensor, nn
    from torch.utils.data import Dataset

    from ood_seg.detectors import Fitter

_FIT, _TRAIN = "fit", "train"
_PASTED_KEYS = ("pasted_dataloader", "train_dataloader")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the choice of images."""
    parser.add_argument(
        "--data",
        nargs="+",
        default=[_FIT],
        metavar="NAME",
        help=f"`{_FIT}`, the config's fit_dataloader (default); `{_TRAIN}`, its training scenes, "
        "augmented; or names of its test sets with class labels",
    )
    parser.add_argument(
        "--num-images", type=int, metavar="N", help="a seeded choice of N images of each of --data"
    )
    parser.add_argument(
        "--pasted",
        type=int,
        default=200,
        metavar="N",
        help="scenes with pasted objects, of which the objects alone count, from which methods of "
        "several layers learn how to weigh them (default: %(default)s; else none)",
    )


@dataclass(frozen=True)
class Part:
    """Some images of a data set."""

    name: str
    dataset: Dataset
    positions: Sequence[int]
    batch_size: int
    num_workers: int
    pasted: bool = False


class FitData:
    """What the arguments ask for; data sets are built here, images read in `batches`.

    Args:
        cfg: the config.
        data: names, see `add_arguments`.
        num_images: of each of `data`; None: all.
        pasted: number of pasted scenes.
        seed: of every choice.

    Raises:
        ValueError: a name is unknown, or there are fewer images.
    """

    def __init__(
        self,
        cfg: Config,
        data: Sequence[str],
        *,
        num_images: int | None,
        pasted: int,
        seed: int,
    ) -> None:
        self.parts = [_known_part(cfg, name, num_images, seed) for name in dict.fromkeys(data)]
        if pasted:
            self.parts.append(_pasted_part(cfg, pasted, seed))

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names of the first data set."""
        return tuple(self.parts[0].dataset.metainfo.get("classes") or ())

    @contextlib.contextmanager
    def batches(
        self, model: nn.Module, fitters: Mapping[str, Fitter]
    ) -> Iterator[Iterator[tuple[Tensor, Tensor]]]:
        """Images and labels of this process's share, with progress bars while it is open.

        Args:
            model: prepares the images.
            fitters: by method; those that tell their steps, in `on_step`, get bars of their own.
        """
        from mmengine.dist import get_world_size
        from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

        from ood_seg.commands._arguments import is_main_process

        columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, disable=not is_main_process()) as progress:
            total = sum(len(part.positions) for part in self.parts)
            task = progress.add_task("images", total=total)

            def advance(images: int) -> None:
                done = progress.tasks[task].completed + images * get_world_size()
                progress.update(task, completed=min(done, total))  # the last round may be short

            for name, fitter in fitters.items():
                if hasattr(fitter, "on_step"):
                    fitter.on_step = _step_bars(progress, name)
            yield self._all_batches(model, advance)

    def _all_batches(self, model: nn.Module, on_batch: Any) -> Iterator[tuple[Tensor, Tensor]]:
        from ood_seg.engine.fitting import known_batches

        first = 0
        for part in self.parts:
            yield from known_batches(
                model,
                part.dataset,
                part.positions,
                first=first,
                batch_size=part.batch_size,
                num_workers=part.num_workers,
                on_batch=on_batch,
                only_outliers=part.pasted,
            )
            first += len(part.positions)

    def facts(self) -> dict[str, Any]:
        """Images by data set, as JSON values."""
        counts: dict[str, int] = {}
        for part in self.parts:
            counts[part.name] = counts.get(part.name, 0) + len(part.positions)
        return {"data": counts, "images": sum(counts.values())}


def _step_bars(progress: Progress, method: str) -> Callable[[str, int, int], None]:
    """What an `on_step` may call: a bar for each layer, from its first step on."""
    tasks: dict[str, Any] = {}

    def on_step(layer: str, step: int, steps: int) -> None:
        if layer not in tasks:
            tasks[layer] = progress.add_task(f"{method}, {layer}", total=steps)
        progress.update(tasks[layer], completed=step)

    return on_step


def wants_outliers(fitters: Mapping[str, Fitter]) -> bool:
    """Whether a method learns from outlier pixels: those of several layers do, to weigh them."""
    return any(len(fitter.layers) > 1 for fitter in fitters.values())


def _known_part(cfg: Config, name: str, num_images: int | None, seed: int) -> Part:
    from ood_seg.engine.fitting import chosen_positions, stream

    loader = _loader(cfg, name)
    dataset = _build(loader)
    if name == _TRAIN:
        if num_images is None:
            num_images = len(dataset)
        return _part(name, loader, stream(dataset, seed, pasted=False), range(num_images))
    try:
        positions = chosen_positions(len(dataset), num_images, seed)
    except ValueError as error:
        raise ValueError(f"--num-images: {name}: {error}") from error
    return _part(name, loader, dataset, positions)


def _pasted_part(cfg: Config, number: int, seed: int) -> Part:
    from ood_seg.engine.fitting import stream

    key = next((key for key in _PASTED_KEYS if cfg.get(key)), None)
    if number < 0 or key is None:
        raise ValueError(
            f"--pasted {number}: a method learns from outlier pixels, for which the config needs a "
            "pasted_dataloader (or train_dataloader) whose pipeline pastes objects"
        )
    dataset = stream(_build(cfg[key]), seed, pasted=True)
    return _part("pasted scenes", cfg[key], dataset, range(number), pasted=True)


def _part(
    name: str, loader: dict, dataset: Dataset, positions: Sequence[int], *, pasted: bool = False
) -> Part:
    batch_size, num_workers = loader.get("batch_size", 1), loader.get("num_workers", 0)
    return Part(name, dataset, positions, batch_size, num_workers, pasted)


def _loader(cfg: Config, name: str) -> dict:
    """The loader of `fit`, `train`, or of a test set."""
    from ood_seg.engine import test_sets

    if name in (_FIT, _TRAIN):
        loader = cfg.get(f"{name}_dataloader")
        if not loader:
            raise ValueError(
                f"--data {name}: the config has no {name}_dataloader; give it one with labelled "
                "known images as the network sees them in use, as docs/finetuning.md shows, or "
                f"give --data another name: {', '.join(_names(cfg))}"
            )
        return loader
    if name not in _names(cfg):
        raise ValueError(f"--data: there is no {name!r}; there are {', '.join(_names(cfg))}")
    return test_sets.named_sets(cfg)[name][0]


def _names(cfg: Config) -> list[str]:
    """What --data may name."""
    from ood_seg.engine import test_sets

    loaders = [name for name in (_FIT, _TRAIN) if cfg.get(f"{name}_dataloader")]
    return [*loaders, *(test_sets.named_sets(cfg) if cfg.get("test_dataloader") else ())]


def _build(loader: dict) -> Dataset:
    from mmseg.registry import DATASETS

    return DATASETS.build(loader["dataset"])

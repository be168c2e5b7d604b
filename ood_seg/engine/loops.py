"""Test loop over several named datasets."""

from __future__ import annotations

import math

from mmengine.runner import Runner, TestLoop
from mmengine.runner.base_loop import BaseLoop
from mmseg.registry import LOOPS
from torch.utils.data import DataLoader

from ood_seg.classification.metrics import ImageAnomalyMetric, KnownScores

AVERAGE = "average"


@LOOPS.register_module()
class MultiSetTestLoop(BaseLoop):
    """Runs mmengine's test loop once for each named set and joins the metrics.

    ```
    test_dataloader = dict(road_anomaly=dict(...), fs_static=dict(...))
    test_evaluator = dict(road_anomaly=dict(type='AnomalyMetric'), fs_static=[...])
    test_cfg = dict(type='MultiSetTestLoop')
    ```

    Each set is built right before it runs, so that only one holds its score maps in memory, and
    an error follows the log line with the name of its set.

    Args:
        runner: the runner.
        dataloader: data loader configs by set name.
        evaluator: metric configs by set name, the same names.
        fp16: mixed precision.

    Raises:
        ValueError: if the names of both differ or there are none.
    """

    def __init__(
        self, runner: Runner, dataloader: dict, evaluator: dict, fp16: bool = False
    ) -> None:
        if not isinstance(dataloader, dict) or not isinstance(evaluator, dict) or not dataloader:
            raise ValueError(
                "MultiSetTestLoop needs test_dataloader and test_evaluator as dicts of named sets"
            )
        if set(dataloader) != set(evaluator):
            raise ValueError(
                "test_dataloader and test_evaluator must name the same sets, got "
                f"{sorted(dataloader)} and {sorted(evaluator)}"
            )
        self._runner = runner
        self._loaders = dict(dataloader)
        self._evaluators = dict(evaluator)
        self.fp16 = fp16
        self.current_set = next(iter(self._loaders))
        self._loop: TestLoop | None = None

    @property
    def dataloader(self) -> DataLoader:
        """Data loader of the current set, for mmengine's hooks."""
        return self._current_loop().dataloader

    @property
    def evaluator(self):
        """Evaluator of the current set."""
        return self._current_loop().evaluator

    def _current_loop(self) -> TestLoop:
        if self._loop is None:
            self._loop = TestLoop(
                self._runner,
                self._loaders[self.current_set],
                self._evaluators[self.current_set],
                fp16=self.fp16,
            )
        return self._loop

    def run(self) -> dict[str, float]:
        """Test every set.

        Returns:
            All metrics, keys `SET/METRIC`.
        """
        metrics: dict[str, float] = {}
        for name in self._loaders:
            self.current_set, self._loop = name, None
            self._forget_logged_metrics()
            self._runner.logger.info(f"Testing on {name}")
            for key, value in self._current_loop().run().items():
                metrics[f"{name}/{key}"] = value
        return metrics

    def _forget_logged_metrics(self) -> None:
        """Drop the metrics of the last set, which mmengine's logger would print again."""
        scalars = self._runner.message_hub.log_scalars
        for key in [key for key in scalars if key.startswith("test/")]:
            del scalars[key]


@LOOPS.register_module()
class ImageLevelTestLoop(MultiSetTestLoop):
    """Runs the known test images first, then the sets of outlier images to compare with them.

    ```
    test_dataloader = dict(cifar10=dict(...), textures=dict(...))
    test_evaluator = dict(
        cifar10=dict(type='ImageAccuracyMetric'), textures=dict(type='ImageAnomalyMetric')
    )
    test_cfg = dict(type='ImageLevelTestLoop', known='cifar10')
    ```

    The known images go through the network once, whatever the number of sets. The mean of each
    metric over the outlier sets is given as that of the set `average`.

    Args:
        runner, dataloader, evaluator, fp16: of `MultiSetTestLoop`.
        known: name of the set of known test images.

    Raises:
        ValueError: see `MultiSetTestLoop`; or there is no set of that name.
    """

    def __init__(
        self, runner: Runner, dataloader: dict, evaluator: dict, known: str, fp16: bool = False
    ) -> None:
        super().__init__(runner, dataloader, evaluator, fp16)
        if known not in self._loaders:
            raise ValueError(
                f"test_cfg.known is {known!r}, expected one of {', '.join(self._loaders)}"
            )
        self._loaders = {known: self._loaders[known], **self._loaders}
        self.current_set = known
        self._known = KnownScores()

    def _current_loop(self) -> TestLoop:
        is_new = self._loop is None
        loop = super()._current_loop()
        for metric in loop.evaluator.metrics if is_new else ():
            if hasattr(metric, "known"):
                metric.known = self._known
        return loop

    def run(self) -> dict[str, float]:
        """Test every set; metrics `SET/METRIC`, and those of the set `average`."""
        metrics = super().run()
        found: dict[str, list[float]] = {}
        for key, value in metrics.items():
            prefix = f"{ImageAnomalyMetric.default_prefix}/"
            name, _, metric = key.partition("/")
            if name != next(iter(self._loaders)) and metric.startswith(prefix):
                found.setdefault(metric, []).append(value)
        means = {name: math.fsum(values) / len(values) for name, values in found.items()}
        return {**metrics, **{f"{AVERAGE}/{name}": value for name, value in means.items()}}

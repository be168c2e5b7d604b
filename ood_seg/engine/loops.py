"""Test loop over several named datasets."""

from __future__ import annotations

from mmengine.runner import Runner, TestLoop
from mmengine.runner.base_loop import BaseLoop
from mmseg.registry import LOOPS
from torch.utils.data import DataLoader


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

"""The runner and the hook that the commands add to mmengine's own."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.runner import Runner

from ood_seg.startup import quiet_terminal


class QuietRunner(Runner):
    """mmengine's runner; the dumps at its start go to the log file alone."""

    def build_logger(self, *args, **kwargs) -> MMLogger:
        """Build the logger and keep the dumps from its terminal output."""
        logger = super().build_logger(*args, **kwargs)
        quiet_terminal(logger)
        return logger


class ImageCounter(Hook):
    """Notes what each test set's numbers rest on while the loop has it open.

    Attributes:
        counts: images by set name; a nameless single set is `test`.
        modes: 'exact' or 'streaming' by set name, where anomaly metrics were computed.
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.modes: dict[str, str] = {}

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Read the size of the set that was just tested, and how it was evaluated."""
        loop = runner.test_loop
        name = getattr(loop, "current_set", "test")
        self.counts[name] = len(loop.dataloader.dataset)
        for metric in loop.evaluator.metrics:
            if getattr(metric, "mode_used", None):
                self.modes[name] = metric.mode_used

"""The runner and the hook that the commands add to mmengine's own."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.runner import Runner

from ood_seg.commands._startup import quiet_terminal


class QuietRunner(Runner):
    """mmengine's runner; the dumps at its start go to the log file alone."""

    def build_logger(self, *args, **kwargs) -> MMLogger:
        """Build the logger and keep the dumps from its terminal output."""
        logger = super().build_logger(*args, **kwargs)
        quiet_terminal(logger)
        return logger


class ImageCounter(Hook):
    """Counts the images of each test set while the loop has it open.

    Attributes:
        counts: images by set name; a nameless single set is `test`.
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Read the size of the set that was just tested."""
        loop = runner.test_loop
        self.counts[getattr(loop, "current_set", "test")] = len(loop.dataloader.dataset)

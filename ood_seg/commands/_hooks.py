"""The runner and the hook that the commands add to mmengine's own."""

from __future__ import annotations

import logging

from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.runner import Runner

# Pages of text that belong into the log file, and hints to mmengine's own developers.
_ONLY_IN_LOG_FILE = (
    "\n" + "-" * 60 + "\nSystem environment:",
    "Config:\n",
    "Hooks will be executed in the following order:",
    "Distributed training is not used, all SyncBatchNorm",
    "The prefix is not set in metric class IoUMetric",
    '"FileClient" will be deprecated in future',
    '"HardDiskBackend" is the alias of "LocalBackend"',
)


class QuietRunner(Runner):
    """mmengine's runner; the dumps at its start go to the log file alone."""

    def build_logger(self, *args, **kwargs) -> MMLogger:
        """Build the logger and keep the dumps from its terminal output."""
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.addFilter(_is_for_terminal)
        return logger


def _is_for_terminal(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(_ONLY_IN_LOG_FILE)


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

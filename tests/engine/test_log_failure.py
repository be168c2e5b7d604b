"""A log file that cannot be written is reported in one line, not in a traceback per line."""

import errno
import logging
import os

from ood_seg.startup import report_log_failure_once


def full_disk(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_one_line_names_the_file(tmp_path, capsys):
    logger = logging.Logger("run")
    handler = logging.FileHandler(tmp_path / "run.log")
    logger.addHandler(handler)
    report_log_failure_once(logger)
    logger.warning("first")
    emit, handler.flush = handler.flush, full_disk
    logger.warning("second")
    logger.warning("third")
    handler.flush = emit
    handler.close()
    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path / "run.log") in line
    assert os.strerror(errno.ENOSPC) in line


def test_other_errors_are_shown_as_usual(tmp_path, capsys):
    logger = logging.Logger("run")
    handler = logging.FileHandler(tmp_path / "run.log")
    logger.addHandler(handler)
    report_log_failure_once(logger)
    logger.warning("%d", "no number")
    handler.close()
    assert "TypeError" in capsys.readouterr().err

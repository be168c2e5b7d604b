"""Packaging of `ood_seg`; everything declarative stands in pyproject.toml.

The one thing done here: the configs of the repository's top level travel in the wheel as
`ood_seg/_configs`, so that `ood-seg train NAME` works without a clone.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent


class BuildWithConfigs(build_py):
    """`build_py` that also copies `configs/` into the package (not in editable mode)."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib) / "ood_seg" / "_configs"
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(ROOT / "configs", target, ignore=shutil.ignore_patterns("__pycache__"))


setup(cmdclass={"build_py": BuildWithConfigs})

"""Programs in which some packages cannot be imported, as if they were not installed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Collection
from pathlib import Path


class _Blocked:
    def __init__(self, packages: Collection[str]) -> None:
        self.packages = packages

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.packages:
            raise ModuleNotFoundError(f"{name} is blocked", name=name)


def block(packages: Collection[str]) -> None:
    """From now on an import of one of these packages fails in this process."""
    sys.meta_path.insert(0, _Blocked(packages))


def run_blocked(packages: Collection[str], program: str, *arguments) -> subprocess.CompletedProcess:
    """Run a program, given as text, that cannot import these packages."""
    first = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import blocking; "
        f"sys.path.pop(0); blocking.block({sorted(packages)!r})\n"
    )
    command = [sys.executable, "-c", first + program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)

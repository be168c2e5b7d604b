"""Show versions and devices, and name what is wrong with the installation."""

from __future__ import annotations

import argparse
import platform
import sys

import ood_seg
from ood_seg.commands import _environment


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`ood-seg check-env` has no options."""


def run(args: argparse.Namespace) -> int:
    """Print the report; 1 if there is a problem."""
    facts = _environment.gather()
    for name, value in report_lines(facts):
        print(f"{name:<24} {value}")
    findings = _environment.judge(facts)
    for finding in findings:
        print(f"\n{'PROBLEM' if finding.is_problem else 'note'}: {finding.text}")
        if finding.remedy:
            print(f"  repair: {finding.remedy}")
    problems = sum(finding.is_problem for finding in findings)
    print(f"\n{problems} problem(s)" if problems else "\nno problems")
    return 1 if problems else 0


def report_lines(facts: _environment.Facts) -> list[tuple[str, str]]:
    """Return the lines of the report as name and value."""
    lines = [
        ("ood-seg", ood_seg.__version__),
        ("python", f"{platform.python_version()} ({sys.executable})"),
        ("platform", platform.platform()),
    ]
    shown = [name for name in _environment.SHOWN if name in facts.installed]
    lines += [(name, facts.installed[name]) for name in shown]
    for name, (part, extra) in _environment.OPTIONAL.items():
        missing = f"not installed (optional, for {part}: pip install 'ood-seg[{extra}]')"
        lines.append((name, facts.installed.get(name, missing)))
    lines.append(("mmcv operators", "compiled" if facts.has_operators else "none (not needed)"))
    lines.append(("devices", ", ".join(devices(facts))))
    return lines


def devices(facts: _environment.Facts) -> list[str]:
    """Return the devices that torch can use here; always at least the CPU."""
    if "torch" not in facts.installed or "torch" in facts.import_errors:
        return ["unknown (torch cannot be imported)"]
    import torch

    found = [f"cpu ({torch.get_num_threads()} threads)"]
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        memory = properties.total_memory / 2**30
        found.append(f"cuda:{index} ({properties.name}, {memory:.0f} GiB)")
    if torch.backends.mps.is_available():
        found.append("mps")
    return found

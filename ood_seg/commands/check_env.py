"""Show versions and devices, and name what is wrong with the installation."""

from __future__ import annotations

import argparse

from ood_seg import environment
from ood_seg.commands._summary import Outcome

USAGE = ""
PAGE = "docs/commands.md"
EXAMPLES = (
    "ood-seg check-env",
    "ood-seg check-env --json-summary env.json",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`ood-seg check-env` has no options."""


def run(args: argparse.Namespace) -> Outcome:
    """Print the report; 1 if there is a problem."""
    facts = environment.gather()
    for name, value in environment.report_lines(facts):
        print(f"{name:<24} {value}")
    findings = environment.diagnose(facts)
    for finding in findings:
        print(f"\n{'PROBLEM' if finding.is_problem else 'note'}: {finding.text}")
        if finding.remedy:
            print(f"  repair: {finding.remedy}")
    problems = sum(finding.is_problem for finding in findings)
    print(f"\n{problems} problem(s)" if problems else "\nno problems")
    return Outcome(code=1 if problems else 0, numbers={"problems": problems})

"""Draw the report of one evaluation, or of several methods on one dataset side by side."""

from __future__ import annotations

import argparse
from pathlib import Path

from ood_seg.commands._summary import Outcome

MAX_IMAGES = 12


USAGE = "EVALUATION..."
PAGE = "docs/evaluation.md"
EXAMPLES = (
    "ood-seg report work_dirs/evaluate/mine_road_anomaly --out report/",
    "ood-seg report after/ before/ --out comparison/ --max-images 24",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ood-seg report`."""
    parser.add_argument(
        "evaluations",
        nargs="+",
        type=Path,
        metavar="EVALUATION",
        help="evaluation.json of `ood-seg evaluate`, or the folder that holds it; all of one "
        "dataset",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder of the reports"
    )
    parser.add_argument(
        "--max-images",
        type=int,
        default=MAX_IMAGES,
        metavar="N",
        help="images shown, a third each of the lowest, the middle and the highest AP by the first "
        "evaluation (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> Outcome:
    """Write the page, the tables and the figure of the decisions."""
    from ood_seg.io.files import claimed
    from ood_seg.io.json_files import read_json
    from ood_seg.reports import write_reports
    from ood_seg.reports.writing import FORMATS

    files = [path / "evaluation.json" if path.is_dir() else path for path in args.evaluations]
    contents = [read_json(file) for file in files]
    for file, content in zip(files, contents, strict=True):
        if not isinstance(content, dict):
            raise ValueError(f"{file}: expected an evaluation.json of `ood-seg evaluate`")
    with claimed(args.out / "report.html"):
        try:
            written = write_reports(contents, args.out, FORMATS, args.max_images)
        except (KeyError, TypeError) as error:
            names = ", ".join(map(str, files))
            raise ValueError(f"{names}: not a whole evaluation.json: {error!r}") from error
    print(f"written to {args.out}: {', '.join(path.name for path in written.values())}")
    return Outcome(outputs=list(written.values()))

"""Fit anomaly probabilities and thresholds, of a model or of saved maps; `infer` reads the file."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ood_seg.commands import _map_arguments
from ood_seg.commands._arguments import add_config_options
from ood_seg.commands._map_arguments import add_curve
from ood_seg.commands._model_arguments import CONFIG_HELP, add_model_positionals, add_named
from ood_seg.commands._parser import add_renamed
from ood_seg.commands._summary import Outcome

if TYPE_CHECKING:
    from ood_seg.calibration import Calibration

USAGE = "CONFIG [CHECKPOINT] | SCORES GROUND_TRUTH"
PAGE = "docs/evaluation.md"
EXAMPLES = (
    "ood-seg calibrate my_config.py my.pth --images known/ --points fpr-1% fpr-5%",
    "ood-seg calibrate my_config.py my.pth --images known/ --labels labels/ --objects cutouts/",
    "ood-seg calibrate maps/mine masks/ --label-map 0:0 2:1 --file calibration.json",
)

# Options that only one of the two forms has.
_OF_MAPS = (
    *("score", "allow_other_model", "training_labels", "key", "scale", "offset", "negate"),
    *("strip", "truth_suffix", "allow_missing", "workers"),
)
_OF_MODELS = ("set", "images", "labels", "objects", "num_images", "device", "cfg_options")
_SCORE_SUFFIXES = (".npy", ".npz", ".tif", ".tiff", ".png", ".exr")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ood-seg calibrate`."""
    add_model_positionals(
        parser,
        "source",
        "partner",
        metavar=USAGE,
        help=f"a model: {CONFIG_HELP}; and the file of the weights (default: the config's "
        "`load_from`). Or saved maps: a folder of scores (.npy, .npz, TIFF, PNG, EXR; higher means "
        "more anomalous), such as DIR/SET of `ood-seg test --out DIR`; and a folder of label "
        "images (.png)",
    )
    add_named(parser, "config", metavar="CONFIG", help="the same by name")
    parser.add_argument(
        "--file",
        type=Path,
        metavar="FILE",
        help="JSON to write; required for saved maps (default: calibration.json in the work dir of "
        "the config). As NAME.calibration.json beside the config NAME.py, `infer`, `serve` and "
        "`export-onnx` find it by themselves",
    )
    add_renamed(parser, "--out", "--file", type=Path)
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file")
    parser.add_argument(
        "--checkpoint",
        metavar="FILE",
        help="the model's file, whose hash is kept (default of saved maps: that in their "
        "provenance.json)",
    )
    _add_fit(parser.add_argument_group("fit"))
    _add_model_options(parser.add_argument_group("images of a model"))
    maps = parser.add_argument_group("saved maps")
    _add_origin(maps)
    _map_arguments.add_map_options(parser)
    parser.set_defaults(parser=parser)


def _add_fit(fit: argparse._ArgumentGroup) -> None:
    """Add the curve, and what is read from it."""
    add_curve(fit, former="--fit", default=None)
    fit.add_argument(
        "--prior",
        type=float,
        metavar="SHARE",
        help="share of anomalous pixels to be expected in use (default: as in these images)",
    )
    fit.add_argument(
        "--points",
        nargs="+",
        metavar="NAME",
        help="operating points: fpr-5%%, tpr-95%%, best-f1, conformal-fpr-5%%, "
        "conformal-tpr-95%% (default: fpr-1%%, fpr-5%%, with anomalous pixels tpr-95%% and "
        "best-f1, and with 19 images or more conformal-fpr-5%%); the first is what `infer` uses",
    )
    fit.add_argument(
        "--min-area",
        type=int,
        default=50,
        metavar="PIXELS",
        help="smallest false alarm that counts, in pixels (default: %(default)s)",
    )
    fit.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="of the two halves on which the fit is tested, and of a model's own random draws "
        "(default: %(default)s)",
    )


def _add_model_options(images: argparse._ArgumentGroup) -> None:
    images.add_argument(
        "--set",
        metavar="NAME",
        help="dataset of the config: `calibration`, `val` or a test set (default: the first that "
        "is there, of the test sets only those without anomalies)",
    )
    images.add_argument("--images", type=Path, metavar="DIR", help="a folder of images instead")
    images.add_argument(
        "--labels",
        type=Path,
        metavar="DIR",
        help="label images (.png) of --images: classes known, 254 anomaly, 255 ignored, or as "
        "--label-map says (default: every pixel is known)",
    )
    images.add_argument(
        "--objects",
        type=Path,
        metavar="DIR",
        help="cut-outs (PNG or WebP with alpha) to paste into --images as anomalies, which takes "
        "objects that no training has seen; they give the probability",
    )
    images.add_argument(
        "--num-images", type=int, metavar="N", help="N images, spread evenly (default: all)"
    )
    images.add_argument("--device", help="by default cuda where available, else cpu")
    add_config_options(images)


def _add_origin(maps: argparse._ArgumentGroup) -> None:
    maps.add_argument(
        "--score",
        metavar="NAME",
        help="type of the score in the model's config, such as Energy; `infer` refuses another "
        "(default: that in provenance.json of the maps, which `ood-seg test --out` writes)",
    )
    maps.add_argument(
        "--allow-other-model",
        action="store_true",
        help="calibrate maps although their provenance.json names another score or checkpoint",
    )


def run(args: argparse.Namespace) -> Outcome:
    """Calibrate as the arguments say; print the operating points."""
    from ood_seg.evaluation.image_tasks import warnings_as_notes
    from ood_seg.io.files import claimed, require_writable_file
    from ood_seg.reports.terminal import print_calibration

    _settle_source(args)
    maps = are_maps(args)
    calibrated = _of_maps(args) if maps else _of_model(args)
    progress = () if maps else ("calibrate", "images")
    require_writable_file(args.file)
    if args.file.exists() and not args.overwrite:
        raise ValueError(f"{args.file} exists; use --overwrite to replace it, or another --file")
    with (
        claimed(args.file),
        warnings_as_notes() as notes,
        _map_arguments.progress_bar(*progress) as on_image,
    ):
        calibration = calibrated(on_image)
        calibration.save(args.file)
    print_calibration(calibration, notes=notes, written=args.file)
    points = calibration.operating_points.values()
    thresholds = {point.name: point.threshold for point in points}
    return Outcome(0, [args.file], {"images": calibration.num_images, "thresholds": thresholds})


def _settle_source(args: argparse.Namespace) -> None:
    """Set what is given by name at its position."""
    if args.config is not None:
        if args.partner is not None:
            raise ValueError(f"--config {args.config}: there is no place for {args.partner}")
        args.source, args.partner = args.config, args.source
    if args.source is None:
        raise ValueError(
            "give a model, ood-seg calibrate CONFIG [CHECKPOINT], or saved maps, ood-seg calibrate "
            "SCORES GROUND_TRUTH"
        )


def are_maps(args: argparse.Namespace) -> bool:
    """Whether saved maps are calibrated, and no model: they are a folder, or one file of scores.

    Raises:
        ValueError: something of that form is missing, or an option of the other form is given.
    """
    source = Path(args.source)
    maps = args.config is None and (source.is_dir() or source.suffix.lower() in _SCORE_SUFFIXES)
    if maps and args.partner is None:
        raise ValueError(
            f"{source} is a folder or file of score maps, so that the ground truth is needed as "
            "well: ood-seg calibrate SCORES GROUND_TRUTH; of a model, give its config and "
            "checkpoint: ood-seg calibrate CONFIG [CHECKPOINT]"
        )
    if maps and args.file is None:
        raise ValueError("--file FILE is needed for saved maps, which have no work dir")
    others, form = (_OF_MODELS, "CONFIG") if maps else (_OF_MAPS, "SCORES GROUND_TRUTH")
    for name in others:
        if getattr(args, name) != args.parser.get_default(name):
            raise ValueError(
                f"--{name.replace('_', '-')} is an option of `ood-seg calibrate {form}`; "
                f"{args.source} is {'saved maps' if maps else 'a config'}"
            )
    if not maps and args.partner and args.checkpoint:
        raise ValueError(f"two checkpoints: {args.partner} and --checkpoint {args.checkpoint}")
    return maps


def _of_maps(args: argparse.Namespace) -> Callable[[Any], Calibration]:
    """The function that calibrates saved maps, given one that shows the progress."""
    from ood_seg.evaluation.folders import calibrate_folders

    args.scores, args.ground_truth = Path(args.source), Path(args.partner)
    folders, data_set = _map_arguments.map_folders(args), _map_arguments.data_set_name(args)
    checkpoint = None if args.checkpoint is None else Path(args.checkpoint)
    return lambda on_image: calibrate_folders(
        folders,
        score=args.score,
        checkpoint=checkpoint,
        allow_other_model=args.allow_other_model,
        min_area=args.min_area,
        workers=args.workers,
        on_image=on_image,
        data_set=data_set,
        method=args.fit_curve,
        points=args.points,
        assumed_prior=args.prior,
        seed=args.seed,
        model=args.method,
    )


def _of_model(args: argparse.Namespace) -> Callable[[Any], Calibration]:
    """The function that runs a model over images; sets `args.file` where it is not given."""
    if args.images is None:
        for name in ("labels", "objects", "label_map"):
            if getattr(args, name) is not None:
                raise ValueError(f"--{name.replace('_', '-')} belongs to --images DIR")
    elif args.set is not None:
        raise ValueError("--set and --images: give one of them")
    from ood_seg.startup import prepare

    prepare()
    from ood_seg.comparison.calibrating import FitOptions, calibrate_model
    from ood_seg.config_files import load_config

    cfg = load_config(args.source, args.cfg_options)
    if args.file is None:
        work_dir = cfg.get("work_dir") or Path("work_dirs") / Path(cfg.filename).stem
        args.file = Path(work_dir) / "calibration.json"
    options = FitOptions(
        method=args.fit_curve,
        points=args.points,
        assumed_prior=args.prior,
        min_area=args.min_area,
        seed=args.seed,
        data_set=args.data_set,
        model=args.method,
    )

    def calibrated(on_image: Callable[[int, int], object]) -> Calibration:
        images = _images(args, cfg)
        for note in images.notes:
            warnings.warn(note, stacklevel=2)
        checkpoint = args.partner or args.checkpoint
        return calibrate_model(
            cfg, checkpoint, images, options, device=args.device, on_image=on_image
        )

    return calibrated


def _images(args: argparse.Namespace, cfg: Any) -> Any:
    from ood_seg.comparison.calibration_images import FolderImages, config_images
    from ood_seg.evaluation.saved_maps import training_label_map
    from ood_seg.labels import OUTLIER

    if args.images is None:
        return config_images(cfg, args.set, args.num_images)
    given = args.label_map
    return FolderImages(
        cfg,
        args.images,
        args.labels,
        label_map=_map_arguments.label_map(given) if given else training_label_map(OUTLIER),
        objects=args.objects,
        num_images=args.num_images,
        seed=args.seed,
    )

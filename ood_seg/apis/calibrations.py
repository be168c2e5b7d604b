"""Which calibration belongs to a model: the one that is given, or the one beside its config.

X.py with load_from -> X.calibration.json, if it was made with that checkpoint and that setup
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ood_seg.apis.pipelines import preparation
from ood_seg.calibration import Calibration
from ood_seg.config_files import calibration_beside
from ood_seg.io.json_files import plain
from ood_seg.io.map_origins import named_model
from ood_seg.io.provenance import checkpoint_sha256

NONE = "none"
_REMEDY = "calibrate this model (`ood-seg calibrate`)"


def setup_of(cfg: Config) -> dict[str, Any]:
    """What the scores of a model depend on beside its weights, as JSON values.

    Score and smoothing of the energy head, mean and deviation of the input, how the test pipeline
    prepares an image, and whether whole images or windows are predicted. A file of statistics
    counts by its hash.
    """
    head = cfg.model.get("energy_head") or {}
    score = dict(head.get("score") or {"type": "Energy"})
    if isinstance(score.get("statistics"), str):
        score["statistics"] = {"sha256": checkpoint_sha256(score["statistics"])}
    content = {
        "score": score,
        "smoothing": head.get("smoothing"),
        "preprocessor": cfg.model.get("data_preprocessor"),
        "pipeline": preparation(cfg),
        "test_cfg": cfg.model.get("test_cfg"),
    }
    return plain(content)


def chosen_calibration(
    calibration: str | Path | Calibration | bool | None,
    cfg: Config,
    score: str,
    *,
    own_smoothing: bool = True,
    allow_other_model: bool = False,
) -> tuple[Calibration | None, str]:
    """The calibration to use, and a line on where it comes from or why there is none.

    Args:
        calibration: a calibration or its file; None: the one beside the config, if it fits; False
            or `none`: none.
        cfg: of the loaded model, whose `load_from` is its checkpoint.
        score: name of the score, refinement included.
        own_smoothing: whether the smoothing is that of the config.
        allow_other_model: accept a given calibration of another checkpoint, with a warning.

    Raises:
        FileNotFoundError: the file that is given does not exist.
        ValueError: a damaged file, or a given calibration of another score or checkpoint.
    """
    if calibration is False or calibration == NONE:
        return None, "no calibration, as requested"
    if calibration is None or calibration is True:
        return _beside(cfg, score, own_smoothing=own_smoothing)
    if isinstance(calibration, Calibration):
        origin = "the given calibration"
    else:
        origin, calibration = str(calibration), Calibration.load(calibration)
    calibration.check_score(score)
    _check_checkpoint(calibration, cfg, allow_other_model=allow_other_model)
    changed = _changes(calibration, cfg, own_smoothing=own_smoothing)
    if changed:
        warnings.warn(
            f"the calibration was made with another {', '.join(changed)} than the model has now: "
            "its probabilities and thresholds may not hold",
            stacklevel=3,
        )
    return calibration, f"calibration: {origin}, {made_on(calibration)}"


def made_on(calibration: Calibration) -> str:
    """The images of a calibration, in words."""
    return f"made on {calibration.num_images} images of {calibration.data_set}"


def _beside(cfg: Config, score: str, *, own_smoothing: bool) -> tuple[Calibration | None, str]:
    """The calibration beside the config, unless it is for another score, checkpoint or setup."""
    path = calibration_beside(cfg.filename) if cfg.filename else None
    if path is None:
        return None, "no calibration; `ood-seg calibrate` makes one"
    calibration = Calibration.load(path)
    unfit = f"no calibration: {path.name}, beside the config, was made with another"
    if calibration.score != score:
        return None, f"{unfit} score, {calibration.score!r}; the scores are {score!r}"
    digest = checkpoint_sha256(cfg.load_from)
    if digest is None or calibration.checkpoint_sha256 != digest:
        made_with = named_model(calibration.model, calibration.checkpoint_sha256)
        in_use = named_model(cfg.load_from, digest)
        return None, f"{unfit} checkpoint, {made_with}, than {in_use}; {_REMEDY}"
    changed = _changes(calibration, cfg, own_smoothing=own_smoothing)
    if changed:
        return None, f"{unfit} {', '.join(changed)} than the model has now; {_REMEDY}"
    return calibration, f"calibration: {path.name}, beside the config, {made_on(calibration)}"


def _check_checkpoint(calibration: Calibration, cfg: Config, *, allow_other_model: bool) -> None:
    expected, checkpoint = calibration.checkpoint_sha256, cfg.load_from
    digest = None if expected is None else checkpoint_sha256(checkpoint)
    if expected == digest:
        return
    message = (
        f"the calibration was made with another checkpoint, "
        f"{named_model(calibration.model, expected)}, than the model in use, "
        f"{named_model(checkpoint, digest)}: its probabilities and thresholds may not hold"
    )
    if digest is not None and not allow_other_model:
        raise ValueError(f"{message}; {_REMEDY}, or accept it with --allow-other-model")
    warnings.warn(message, stacklevel=4)


def _changes(calibration: Calibration, cfg: Config, *, own_smoothing: bool) -> list[str]:
    """The parts of the recorded setup that differ now."""
    recorded: Mapping[str, Any] = calibration.setup or {}
    now = setup_of(cfg) if recorded else {}
    changed = [name for name in recorded if recorded[name] != now.get(name)]
    return changed if own_smoothing or "smoothing" in changed else [*changed, "smoothing"]

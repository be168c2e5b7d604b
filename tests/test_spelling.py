"""Names that were probably meant, wherever a name is given."""

from __future__ import annotations

import re

import pytest

from ood_seg.commands import main
from ood_seg.spelling import close_first, close_matches, did_you_mean, point_name, point_option

KNOWN = ["energy", "entropy", "max-logit", "Mahalanobis"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("enrgy", ["energy"]),
        ("ENERGY", ["energy"]),
        ("mahalanobis", ["Mahalanobis"]),
        ("max_logit", ["max-logit"]),
        ("nothing like these", []),
        ("", []),
        (None, []),
        (3, []),
    ],
)
def test_close_matches(name, expected):
    assert close_matches(name, KNOWN)[:1] == expected


def test_did_you_mean():
    assert did_you_mean("enrgy", ["energy"]) == " (did you mean 'energy'?)"
    assert did_you_mean("zzz", KNOWN) == ""


def test_close_first_keeps_all():
    assert close_first("max_logit", KNOWN)[0] == "max-logit"
    assert sorted(close_first("max_logit", KNOWN)) == sorted(KNOWN)


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["trian"], "'train'"),
        (["evalute"], "'evaluate'"),
        (["train", "energy_fcn-erfnet_cityscape"], "energy_fcn-erfnet_cityscapes"),
        (["prepare-data", "cityscape"], "'cityscapes'"),
        (["prepare-data", "Coco"], "'coco'"),
    ],
)
def test_commands_name_what_was_meant(arguments, meant, capsys):
    assert main(arguments) == 2
    assert re.search(rf"did you mean .*{meant}", capsys.readouterr().err)


def test_protocols_name_what_was_meant():
    from ood_seg.metrics.protocols import get_protocol

    with pytest.raises(ValueError, match=r"'fishyscape' \(did you mean 'fishyscapes'"):
        get_protocol("fishyscape")


def test_scores_and_fitted_methods_name_what_was_meant():
    pytest.importorskip("mmseg")
    from ood_seg.comparison.ready_made import ready_made
    from ood_seg.engine.fitting import make_fitters

    with pytest.raises(ValueError, match=r"'enrgy' is not ready-made \(did you mean 'energy'"):
        ready_made(["enrgy"])
    with pytest.raises(ValueError, match=r"'mahalanobi' \(did you mean 'mahalanobis'"):
        make_fitters(["mahalanobi"], {}, {})


def test_sets_and_metrics_name_what_was_meant():
    pytest.importorskip("mmseg")
    from mmengine.config import Config

    from ood_seg.engine.selection import mean_of
    from ood_seg.engine.test_sets import keep_sets

    sets = {"road_anomaly": {}, "fs_static": {}}
    cfg = Config(
        {
            "test_cfg": {"type": "MultiSetTestLoop"},
            "test_dataloader": sets,
            "test_evaluator": sets,
        }
    )
    with pytest.raises(ValueError, match=r"road-anomaly \(did you mean 'road_anomaly'"):
        keep_sets(cfg, ["road-anomaly"])
    with pytest.raises(ValueError, match=r"'anomaly/pa' \(did you mean 'anomaly/ap'"):
        mean_of({"one": {"anomaly/ap": 1.0, "mIoU": 2.0}}, "anomaly/pa")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("fpr-1%", "fpr 1%"),
        ("FPR_1%", "fpr 1%"),
        (" fpr  1% ", "fpr 1%"),
        ("conformal-fpr-5%", "conformal fpr 5%"),
        ("best-f1", "best f1"),
        ("tpr -1%", "tpr -1%"),
        ("-5.5", "-5.5"),
    ],
)
def test_spellings_of_an_operating_point(name, expected):
    assert point_name(name) == expected


def test_an_operating_point_is_printed_as_it_is_typed():
    assert point_option("conformal fpr 5%") == "conformal-fpr-5%"
    assert point_name(point_option("best f1")) == "best f1"

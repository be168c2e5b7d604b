"""Stubs for the original distributions, and quiet start-up."""

from __future__ import annotations

import importlib
import sys

import pytest

from ood_seg import compat
from ood_seg.startup import without_lines


def test_configs_of_mmseg_are_found_in_either_family(tmp_path):
    config_class = pytest.importorskip("mmengine.config").Config
    compat.apply()
    base = "mmseg::pspnet/pspnet_r50-d8_4xb2-40k_cityscapes-512x1024.py"
    (tmp_path / "mine.py").write_text(f"_base_ = {base!r}\n")
    assert config_class.fromfile(tmp_path / "mine.py").model.decode_head.type == "PSPHead"
    # Done once is enough.
    assert compat.find_shipped_configs() == []


def test_operators_of_the_maintained_family_are_left_alone(monkeypatch):
    pytest.importorskip("mmcv")
    monkeypatch.setattr(compat, "has_distribution", lambda name: name.startswith("onedl-"))
    monkeypatch.delitem(sys.modules, "mmcv.ops", raising=False)
    compat.apply()
    assert "mmcv.ops" not in sys.modules


def test_operator_stub_imports_and_refuses_use(monkeypatch):
    monkeypatch.delitem(sys.modules, "mmcv.ops", raising=False)
    monkeypatch.setitem(sys.modules, "mmcv", type(sys)("mmcv"))
    compat.install_operator_stub()
    monkeypatch.setitem(sys.modules, "mmcv.ops", sys.modules["mmcv.ops"])
    from mmcv.ops import point_sample

    with pytest.raises(ImportError, match=r"point_sample.*mmcv"):
        point_sample(1, 2)
    # As a base class too, which mmseg does.
    kind = type("Attention", (sys.modules["mmcv.ops"].PSAMask,), {})
    with pytest.raises(ImportError, match="PSAMask"):
        kind()
    with pytest.raises(ImportError):
        importlib.import_module("mmcv.ops.multi_scale_deform_attn")


def test_is_installed_needs_no_setuptools():
    assert compat.is_installed("numpy")
    assert compat.is_installed("json")
    assert not compat.is_installed("no_such_package")


def test_is_installed_is_replaced_wherever_it_was_imported(monkeypatch):
    utils = pytest.importorskip("mmengine.utils")
    config = pytest.importorskip("mmengine.config.config")
    original = utils.is_installed
    for name, module in list(sys.modules.items()):
        if name.startswith("mmengine") and vars(module).get("is_installed") is original:
            monkeypatch.setattr(module, "is_installed", original)
    compat.replace_is_installed()
    assert utils.is_installed is compat.is_installed
    if hasattr(config, "is_installed"):
        assert config.is_installed is compat.is_installed


def test_only_the_named_lines_are_dropped(capsys):
    with without_lines("noise"):
        print("noise")
        print("noise that says more")
        print("a", "b", sep="\n")
        print("noi", end="")
        print("se")
        print("no end", end="")
    assert capsys.readouterr().out == "noise that says more\na\nb\nno end"


def test_lines_pass_even_when_the_import_fails(capsys):
    with pytest.raises(ImportError), without_lines("noise"):  # noqa: PT012
        print("reason", end="")
        raise ImportError
    assert capsys.readouterr().out == "reason"

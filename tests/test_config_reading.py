"""Reading of config files: imports add up over their bases, mistakes are found before imports."""

import sys

import pytest

from ood_seg.config_files import verified_config

pytest.importorskip("mmseg")
from ood_seg.config_files import load_config


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """Three importable modules, each of which registers a dataset of its own."""
    for name in ("first", "second", "third"):
        (tmp_path / f"own_{name}_dataset.py").write_text(
            "from mmseg.datasets import BaseSegDataset\nfrom mmseg.registry import DATASETS\n\n\n"
            f"@DATASETS.register_module(force=True)\nclass Own{name.title()}(BaseSegDataset):\n"
            "    pass\n"
        )
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in ("first", "second", "third"):
        sys.modules.pop(f"own_{name}_dataset", None)


def test_imports_of_a_config_and_its_bases_add_up(modules):
    from mmseg.registry import DATASETS

    (modules / "base.py").write_text(
        'custom_imports = dict(imports=["own_first_dataset"], allow_failed_imports=False)\n'
    )
    (modules / "middle.py").write_text('_base_ = "base.py"\nx = 1\n')
    (modules / "child.py").write_text(
        '_base_ = "middle.py"\ncustom_imports = dict(imports=["ood_seg.register"])\n'
    )
    (modules / "grandchild.py").write_text(
        '_base_ = ["child.py"]\ncustom_imports = dict(imports="own_second_dataset")\n'
    )
    cfg = load_config(modules / "grandchild.py", ["custom_imports.imports=own_third_dataset,"])
    own = ["own_first_dataset", "own_second_dataset", "own_third_dataset"]
    assert cfg.custom_imports.imports == ["ood_seg.register", *own]
    for name in ("OwnFirst", "OwnSecond", "OwnThird", "AnomalyFolderDataset"):
        assert DATASETS.get(name) is not None

    cfg.dump(modules / "resolved.py")
    again = load_config(modules / "resolved.py")
    assert again.custom_imports.imports == cfg.custom_imports.imports


def test_imports_of_a_config_in_memory(modules):
    from mmengine.config import Config
    from mmseg.registry import DATASETS

    cfg = load_config(Config({"custom_imports": {"imports": ["own_third_dataset"]}}))
    assert cfg.custom_imports.imports == ["ood_seg.register", "own_third_dataset"]
    assert DATASETS.get("OwnThird") is not None
    assert load_config(Config({"x": 1})).custom_imports.imports == ["ood_seg.register"]


def test_a_module_that_is_missing_is_named(tmp_path):
    (tmp_path / "mine.py").write_text('custom_imports = dict(imports=["no_such_module"])\n')
    with pytest.raises(ValueError, match=r"mine\.py.*'no_such_module'.*PYTHONPATH"):
        load_config(tmp_path / "mine.py")


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("a = (\n", ValueError, r"mine\.py.*never closed.*line 1"),
        ('_base_ = "bsae.py"\n', FileNotFoundError, r"mine\.py.*bsae\.py.*'base\.py'"),
        ('_base_ = ["middle.py"]\n', FileNotFoundError, r"middle\.py: its base lost\.py"),
    ],
)
def test_mistakes_that_are_found_without_imports(text, error, words, tmp_path):
    (tmp_path / "base.py").write_text("x = 1\n")
    (tmp_path / "middle.py").write_text('_base_ = "lost.py"\n')
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(error, match=words):
        verified_config(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('_base_ = "base.py"\ny = undefined\n', r"mine\.py, line 2: NameError.*'undefined'"),
        ('_base_ = ["base.py", "other.py"]\n', r"mine\.py: KeyError.*\{'x'\}"),
        ('_base_ = "base.py"\nx = dict(b=1, _delete_=False)\n', r"mine\.py: TypeError"),
    ],
)
def test_mistakes_in_the_code_of_a_config(text, words, tmp_path):
    (tmp_path / "base.py").write_text("x = 1\n")
    (tmp_path / "other.py").write_text("x = 2\n")
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(ValueError, match=words):
        load_config(path)

"""The shared arguments: config options have the values that mmengine's own parser gives them."""

import argparse

import pytest

from ood_seg.commands import _arguments

OPTIONS = [
    "a.b=1", "c=2.5", "d=1e-3", "e=true", "f=None", "g=text", "h=a,b", "i=[1,2]", "j=[(1,x),(2,y)]",
    "k=(1,)", "l='quoted'", "m=", "n=a=b", "c=3",
]  # fmt: skip


def parsed(*texts):
    parser = argparse.ArgumentParser(prog="ood-seg x")
    _arguments.add_config_options(parser)
    return parser.parse_args(texts).cfg_options


def test_values_are_those_of_the_parser_of_mmengine():
    config = pytest.importorskip("mmengine.config")
    from ood_seg.config_files import parse_options

    reference = argparse.ArgumentParser()
    reference.add_argument("--cfg-options", nargs="+", action=config.DictAction)
    expected = reference.parse_args(["--cfg-options", *OPTIONS]).cfg_options
    assert parse_options(parsed("--cfg-options", *OPTIONS)) == expected
    assert expected["c"] == 3
    assert expected["j"] == [(1, "x"), (2, "y")]
    # In two uses of the option as well.
    assert parse_options(parsed("--cfg-options", OPTIONS[0], "--cfg-options", *OPTIONS[1:])) == (
        expected
    )
    assert parsed() is None


@pytest.mark.parametrize("text", ["oops", "=3", "a=[1,2", "a=(1,[2)]]", "b=[(1,2]"])
def test_malformed_options_are_refused_at_once(text, capsys):
    with pytest.raises(SystemExit) as ending:
        parsed("--cfg-options", "x=1", text)
    assert ending.value.code == 2
    message = capsys.readouterr().err
    assert "--cfg-options" in message
    assert repr(text) in message


def test_crossed_brackets_are_refused_when_converted():
    pytest.importorskip("mmengine")
    from ood_seg.config_files import parse_options

    with pytest.raises(ValueError, match=r"a=\[\(1,2\],3\)"):
        parse_options(["a=[(1,2],3)"])

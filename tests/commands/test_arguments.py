"""The shared arguments: options of the config mean what mmengine's own parser makes of them."""

import argparse
import subprocess
import sys

import pytest

from ood_seg.commands import _arguments, command_names

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


@pytest.mark.parametrize("name", command_names())
def test_help_imports_neither_torch_nor_mmengine(name):
    code = (
        "import sys\n"
        "from ood_seg.commands import main\n"
        f"try: main([{name!r}, '--help'])\n"
        "except SystemExit as ending: assert ending.code == 0\n"
        "heavy = {'torch', 'mmengine', 'mmcv', 'mmseg', 'matplotlib', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"usage: ood-seg {name}" in done.stdout

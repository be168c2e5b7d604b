"""Config, checkpoint and exported model: by position or by name, alike in every command."""

from __future__ import annotations

import pytest

from ood_seg.commands import main
from ood_seg.commands._model_arguments import require_config
from ood_seg.commands._parser import command_module, command_parser

ROLES = ("config", "checkpoint", "checkpoints", "onnx", "file")


def parsed(command: str, *arguments: str):
    parser = command_parser(command, command_module(command))
    args = vars(parser.parse_intermixed_args(arguments))
    return {role: args[role] for role in ROLES if args.get(role) is not None}


C, P, X = "net.py", "net.pth", "net.onnx"
TWO = [
    (C, P),
    (P, C),
    ("--config", C, P),
    (P, "--config", C),
    (C, "--checkpoint", P),
    ("--checkpoint", P, "--config", C),
    ("--config", C, "--work-dir", "w", P),
    (C, "--work-dir", "w", P),
]


@pytest.mark.parametrize("arguments", TWO)
@pytest.mark.parametrize(
    "command", ["test", "fit", "benchmark", "suggest-margins", "estimate-outlier-prior"]
)
def test_config_and_checkpoint(command, arguments):
    assert parsed(command, *arguments) == {"config": C, "checkpoint": P}


def test_names_without_a_suffix_go_by_their_position():
    assert parsed("test", "energy", "weights") == {"config": "energy", "checkpoint": "weights"}
    assert parsed("test", "weights", "--config", "energy") == parsed("test", "energy", "weights")
    assert parsed("test", "energy") == {"config": "energy"}
    assert parsed("train", "energy") == parsed("train", "--config", "energy")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((C, P, X), {"config": C, "checkpoint": P, "file": X}),
        ((C, "-", X), {"config": C, "file": X}),
        ((C, X), {"config": C, "file": X}),
        ((C, P, "graph"), {"config": C, "checkpoint": P, "file": "graph"}),
        ((C, P, "--file", "graph"), {"config": C, "checkpoint": P, "file": "graph"}),
        (("--config", C, "--checkpoint", P, X), {"config": C, "checkpoint": P, "file": X}),
        ((P, X), {"checkpoint": P, "file": X}),
    ],
)
def test_export(arguments, expected):
    assert parsed("export-onnx", *arguments) == expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((X,), {"onnx": X}),
        (("--onnx", X), {"onnx": X}),
        ((C,), {"config": C}),
        ((C, P), {"config": C, "checkpoint": P}),
        (("--config", C, "--checkpoint", P), {"config": C, "checkpoint": P}),
        ((P,), {"checkpoint": P}),
        ((), {}),
    ],
)
def test_serve(arguments, expected):
    assert parsed("serve", *arguments) == expected
    if arguments and arguments[0].startswith("--"):
        assert parsed("infer", "photo.jpg", *arguments) == expected


def test_candidates():
    sets = ("--select-on", "val", "--report-on", "street")
    expected = {"config": "mine", "checkpoints": ["a.pth", "b.pth"]}
    assert parsed("choose-checkpoint", "mine", "a.pth", "b.pth", *sets) == expected
    assert parsed("choose-checkpoint", "--config", "mine", "a.pth", "b.pth", *sets) == expected
    named = ("--checkpoint", "a.pth", "b.pth")
    assert parsed("choose-checkpoint", "mine", *named, *sets) == expected


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        ("test", [C, P, "third"], "'third'"),
        ("test", ["--config", C, P, "third"], "'third'"),
        ("train", [C, "second"], "'second'"),
    ],
)
def test_one_too_many(command, arguments, message, capsys):
    with pytest.raises(SystemExit) as ending:
        main([command, *arguments])
    assert ending.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train"], "no config"),
        (["test"], "no config"),
        (["export-onnx", C], "--file OUT.onnx"),
        (["fit", C], "--file FILE"),
        (["choose-checkpoint", C, "--select-on", "a", "--report-on", "b"], "no checkpoint"),
        (["test", "missing.pth"], "missing.pth does not exist"),
        (["convert-checkpoint", "in.pth"], "--file OUT"),
        (["convert-checkpoint", "in.pth", "a", "--file", "b"], "--file OUT"),
    ],
)
def test_what_is_missing_is_one_line(arguments, message, capsys):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_a_checkpoint_alone_brings_the_config_beside_it(tmp_path):
    for name in ("iter_4.pth", "mine.py"):
        (tmp_path / name).touch()
    parser = command_parser("test", command_module("test"))
    args = parser.parse_intermixed_args([str(tmp_path / "iter_4.pth")])
    require_config(args)
    assert args.config == str(tmp_path / "mine.py")
    (tmp_path / "other.py").touch()
    args.config = None
    with pytest.raises(ValueError, match=r"mine\.py, other\.py.*--config"):
        require_config(args)


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("fit", [C]),
        ("calibrate", ["maps", "masks"]),
        ("suggest-margins", [C]),
        ("estimate-outlier-prior", [C]),
    ],
)
def test_the_former_name_of_a_file_works_with_a_note(command, arguments, capsys):
    expected = parsed(command, *arguments, "--file", "x.json")
    assert capsys.readouterr().err == ""
    assert parsed(command, *arguments, "--out", "x.json") == expected
    assert capsys.readouterr().err == f"ood-seg {command}: --out is now --file\n"

"""The dispatcher: which command runs, and how errors end."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import ood_seg
from ood_seg import commands
from ood_seg.commands import _errors, main


def test_version(capsys):
    with pytest.raises(SystemExit) as ending:
        main(["--version"])
    assert ending.value.code == 0
    assert capsys.readouterr().out.strip() == f"ood-seg {ood_seg.__version__}"


def test_unknown_command_names_those_that_exist(capsys):
    assert main(["tset"]) == 2
    message = capsys.readouterr().err
    assert "'tset'" in message
    for name in ("train", "test", "infer", "check-env", "configs"):
        assert name in message


def test_no_command_prints_the_help(capsys):
    assert main([]) == 2
    assert "train" in capsys.readouterr().err


@pytest.mark.parametrize("name", commands.command_names())
def test_every_command_has_the_three_parts(name):
    module = importlib.import_module(f"ood_seg.commands.{name.replace('-', '_')}")
    assert callable(module.run)
    assert callable(module.add_arguments)
    assert module.__doc__.strip()
    assert "\n" not in module.__doc__.strip().partition("\n\n")[0]


def test_help_works_and_is_light_without_mmseg():
    code = (
        "import sys\n"
        "for name in ('mmseg', 'mmengine', 'mmcv'): sys.modules[name] = None\n"
        "from ood_seg.commands import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as ending: assert ending.code == 0\n"
        "assert 'torch' not in sys.modules\n"
        "sys.exit(main(['train', 'energy_fcn-erfnet_cityscapes']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "check-env" in done.stdout
    assert done.returncode == 2, done.stderr
    assert "pip install 'ood-seg[mmseg]'" in done.stderr


def test_help_and_wrong_arguments_import_no_large_library():
    program = """
import contextlib, io, sys
from ood_seg.commands import command_names, main

for name in command_names():
    for option in ("--help", "--no-such-option"):
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            try:
                main([name, option])
            except SystemExit as ending:
                assert ending.code == (0 if option == "--help" else 2), (name, option)
        large = {"torch", "mmengine", "mmcv", "mmseg", "matplotlib", "onnxruntime"}
        print(name, option, *sorted(large & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert len(lines) == 2 * len(commands.command_names())
    assert [line for line in lines if len(line) > 2] == []


def test_module_is_the_command():
    command = [sys.executable, "-m", "ood_seg"]
    done = subprocess.run([*command, "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, f"ood-seg {ood_seg.__version__}")
    assert subprocess.run([*command, "tset"], capture_output=True).returncode == 2


def test_two_dashes_end_the_options(capsys):
    from ood_seg.commands import _parse

    args, _ = _parse("infer", ["--onnx", "m.onnx", "--", "-photo.jpg", "--out"])
    assert (args.sources, args.onnx, args.out) == (["-photo.jpg", "--out"], "m.onnx", None)
    args, _ = _parse("infer", ["a.jpg", "--operating-point", "-5.5", "b.jpg"])
    assert (args.sources, args.operating_point) == (["a.jpg", "b.jpg"], "-5.5")


@pytest.fixture
def failing(monkeypatch):
    """Let the command `configs` raise a given error."""

    def set_error(error: BaseException, *, raise_in: str = "ood_seg"):
        module = importlib.import_module("ood_seg.commands.configs")

        def run(args):
            if raise_in == "ood_seg":
                # Compiled under a file name of the package, as if its code had raised it.
                source = compile("raise error", _errors.__file__, "exec")
                exec(source, {"error": error})
            raise error

        monkeypatch.setattr(module, "run", run)

    return set_error


def test_value_error_of_ours_is_one_message(failing, capsys):
    failing(ValueError("margin: expected a number, got 'x'"))
    assert main(["configs"]) == 2
    message = capsys.readouterr().err
    assert "ood-seg configs: margin: expected a number, got 'x'" in message
    assert "Traceback" not in message


@pytest.mark.parametrize("arguments", [["configs", "--debug"], ["--debug", "configs"]])
def test_debug_gives_the_traceback(failing, arguments):
    failing(ValueError("wrong"))
    with pytest.raises(ValueError, match="wrong"):
        main(arguments)


@pytest.mark.parametrize(("name", "value"), [("OOD_SEG_DEBUG", "1"), ("WORLD_SIZE", "2")])
def test_environment_gives_the_traceback(failing, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    failing(ValueError("wrong"))
    with pytest.raises(ValueError, match="wrong"):
        main(["configs"])


def test_errors_of_others_keep_their_traceback(failing):
    failing(ValueError("a bug"), raise_in="elsewhere")
    with pytest.raises(ValueError, match="a bug"):
        main(["configs"])
    failing(KeyError("a bug"))
    with pytest.raises(KeyError):
        main(["configs"])


def test_interrupt_is_quiet(failing, capsys):
    failing(KeyboardInterrupt())
    assert main(["configs"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_error_of_a_loader_worker_is_cut_out_of_its_traceback():
    text = (
        "Caught ValueError in DataLoader worker process 0.\n"
        "Original Traceback (most recent call last):\n"
        '  File "/usr/lib/torch/worker.py", line 3, in loop\n'
        "    data = fetch()\n"
        f'  File "{_errors.__file__}", line 9, in transform\n'
        '    raise ValueError("x")\n'
        "ValueError: mask a.png: value 7 is unknown\n"
        "and so is 8\n"
    )
    expected = "mask a.png: value 7 is unknown\nand so is 8"
    assert _errors.expected_message(ValueError(text)) == expected
    foreign = text.replace(_errors.__file__, "/usr/lib/numpy/core.py")
    assert _errors.expected_message(ValueError(foreign)) is None


@pytest.mark.parametrize(
    ("name", "command", "extra"),
    [
        ("rosbags.x", "infer", "bags"),
        ("PIL.Image", "evaluate", "evaluate"),
        ("onnxruntime", "infer", "deploy"),
        ("onnxscript", "export-onnx", "export"),
        ("torch", "train", "mmseg"),
        ("torch", "calibrate", "evaluate"),
        ("rich", "demo", "mmseg"),
        ("rich", "configs", "evaluate"),
        ("mmengine.config", "test", "mmseg"),
        ("uvicorn", "serve", "serve"),
        ("shtab", "completion", "completion"),
    ],
)
def test_missing_optional_library_names_the_extra_that_brings_it(name, command, extra):
    message = _errors.expected_message(ImportError("absent", name=name), command)
    assert message.startswith(f"absent. This command needs it: pip install 'ood-seg[{extra}]'")


def test_missing_library_of_nobody_is_no_expected_error():
    assert _errors.expected_message(ImportError("no", name="somebody_elses")) is None
    assert "opencv-python" in _errors.expected_message(ImportError("no", name="cv2"))


@pytest.mark.parametrize("given", ["--stlye heat", "--stlye=heat", "--stlye -- b.jpg"])
def test_an_unknown_option_suggests_the_one_that_was_meant(given, capsys):
    with pytest.raises(SystemExit) as ending:
        main(["infer", "a.jpg", *given.split()])
    assert ending.value.code == 2
    message = capsys.readouterr().err
    assert "--stlye" in message
    assert "'--style'" in message

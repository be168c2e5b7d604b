"""Report on the installed packages and their conflicts; works when none of them can be imported."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ood_seg import __version__

# Import name -> distributions that provide it.
MAINTAINED = {"mmengine": "onedl-mmengine", "mmcv": "onedl-mmcv", "mmseg": "onedl-mmsegmentation"}
ORIGINAL = {"mmengine": "mmengine", "mmcv": "mmcv", "mmseg": "mmsegmentation"}
_ORIGINAL_NAMES = ("mmengine", "mmcv", "mmcv-lite", "mmsegmentation")
_OPENCV = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)
SHOWN = ("torch", "torchvision", "numpy", *_OPENCV, *MAINTAINED.values(), *_ORIGINAL_NAMES)
# Distribution of an optional part -> what it is for, and the extra that brings it.
OPTIONAL = {
    "onnx": ("ONNX export", "export"),
    "onnxscript": ("ONNX export", "export"),
    "onnxruntime": ("exported models", "deploy"),
    "openvino": ("exported models on OpenVINO", "openvino"),
    "fastapi": ("HTTP service", "serve"),
    "rosbags": ("ROS 2 bags", "bags"),
}
_ALL = (*SHOWN, *OPTIONAL, "matplotlib", "pillow", "pycocotools", "rich", "scipy", "ftfy", "regex")
_INSTALL = "pip install 'ood-seg[mmseg]'"
_IMPORT_TIMEOUT = 180


@dataclass(frozen=True)
class Finding:
    """A problem of the installation, or a note on it.

    Attributes:
        text: description.
        remedy: command that repairs it; empty if there is none.
        is_problem: False for a note.
    """

    text: str
    remedy: str = ""
    is_problem: bool = True


@dataclass(frozen=True)
class Facts:
    """Facts of an installation that `diagnose` reads.

    Attributes:
        installed: versions by distribution name.
        has_operators: whether mmcv's folder holds the compiled `_ext`.
        import_errors: error by module name, for installed modules that do not import.
        python: version of the interpreter.
    """

    installed: Mapping[str, str]
    has_operators: bool = False
    import_errors: Mapping[str, str] = field(default_factory=dict)
    python: tuple[int, int] = (3, 11)


def gather() -> Facts:
    """Return the facts of this interpreter's installation; imports run in another process."""
    installed = {}
    for name in _ALL:
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    modules = ["torch", "numpy", "cv2", "mmengine", "mmcv", "mmseg"]
    if "torchvision" in installed:
        modules.append("torchvision")
    return Facts(installed, _mmcv_has_operators(), import_errors(modules), sys.version_info[:2])


def _mmcv_has_operators() -> bool:
    for entry in map(Path, sys.path):
        folder = entry / "mmcv"
        if (folder / "__init__.py").is_file():
            return any(folder.glob("_ext*"))
    return False


_PROBE = """
import importlib, json, os, sys, warnings
warnings.simplefilter("ignore")
real, sys.stdout = sys.stdout, open(os.devnull, "w")
for name in sys.argv[1:]:
    error = None
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as caught:
        error = None if caught.name == name else f"{type(caught).__name__}: {caught}"
    except BaseException as caught:
        error = f"{type(caught).__name__}: {caught}"
    print(json.dumps([name, error]), file=real, flush=True)
"""


def import_errors(modules: list[str]) -> dict[str, str]:
    """Try imports in a process of their own, as a broken library may end its process.

    Returns:
        First line of the error by module; modules that import or are absent do not appear.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROBE, *modules],
            capture_output=True,
            text=True,
            timeout=_IMPORT_TIMEOUT,
        )
        output, ending = done.stdout, f"the interpreter ended with code {done.returncode}"
    except subprocess.TimeoutExpired as error:
        partial = error.stdout or b""
        output = partial.decode() if isinstance(partial, bytes) else partial
        ending = f"not finished after {_IMPORT_TIMEOUT} s"
    results = dict(json.loads(line) for line in output.splitlines() if line.startswith("["))
    unfinished = [name for name in modules if name not in results]
    if unfinished:
        results[unfinished[0]] = ending
    return {name: error.splitlines()[0] for name, error in results.items() if error}


def diagnose(facts: Facts) -> list[Finding]:
    """Return problems and notes, problems first."""
    findings = [
        *_families(facts.installed),
        *_original_family(facts),
        *_imports(facts),
        *_others(facts),
    ]
    return sorted(findings, key=lambda finding: not finding.is_problem)


def _families(installed: Mapping[str, str]) -> list[Finding]:
    maintained = [name for name in MAINTAINED.values() if name in installed]
    original = [name for name in _ORIGINAL_NAMES if name in installed]
    listed = ", ".join(f"{name} {installed[name]}" for name in (*maintained, *original))
    clean = f"pip uninstall -y {' '.join((*maintained, *original))} && {_INSTALL}"
    if maintained and original:
        text = f"two families of OpenMMLab overwrite each other's files: {listed}"
        return [Finding(text, clean)]
    if "mmcv" in installed and "mmcv-lite" in installed:
        text = "mmcv and mmcv-lite overwrite each other's files"
        return [Finding(text, "pip uninstall -y mmcv mmcv-lite && pip install 'mmcv>=2.0,<2.2'")]
    if not maintained and not original:
        if "torch" not in installed:
            return [_without_torch(installed)]
        return [Finding("mmsegmentation is not installed; the core works without it", _INSTALL)]
    if maintained:
        missing = [name for name in MAINTAINED.values() if name not in installed]
    else:
        missing = [name for name in ("mmengine", "mmsegmentation") if name not in installed]
        missing += [] if {"mmcv", "mmcv-lite"} & set(installed) else ["mmcv>=2.0,<2.2"]
    if missing:
        wanted = " ".join(f"'{name}'" for name in missing)
        return [Finding(f"half installed: {listed}; missing: {wanted}", f"pip install {wanted}")]
    return []


def _without_torch(installed: Mapping[str, str]) -> Finding:
    """The finding for a machine without torch, which may be meant for exported models only."""
    text = "torch and mmsegmentation are not installed"
    if "onnxruntime" not in installed:
        return Finding(text, f"{_INSTALL} (for exported models alone: 'ood-seg[deploy]')")
    text += "; exported models run without them (`infer --onnx`, `serve MODEL.onnx`)"
    return Finding(text, _INSTALL, is_problem=False)


def _original_family(facts: Facts) -> list[Finding]:
    installed = facts.installed
    if "mmsegmentation" not in installed or set(MAINTAINED.values()) & set(installed):
        return []
    findings = []
    mmcv = "mmcv" if "mmcv" in installed else "mmcv-lite"
    if mmcv in installed and _numbers(installed[mmcv]) >= (2, 2):
        text = f"mmsegmentation {installed['mmsegmentation']} refuses {mmcv} {installed[mmcv]}"
        findings.append(Finding(text, f"pip install '{mmcv}>=2.1,<2.2'"))
    if mmcv in installed and not facts.has_operators:
        full = mmcv == "mmcv"
        text = f"{mmcv} {installed[mmcv]} has no compiled operators (mmcv._ext)"
        again = "pip install --force-reinstall --no-binary mmcv 'mmcv>=2.0,<2.2'"
        text += "" if full else "; ood_seg puts a stub there, models that need them will not run"
        findings.append(Finding(text, again if full else "", is_problem=full))
    missing = [name for name in ("ftfy", "regex") if name not in installed]
    if missing:
        text = f"mmsegmentation needs {' and '.join(missing)} without saying so"
        findings.append(Finding(text, f"pip install {' '.join(missing)}"))
    return findings


def _imports(facts: Facts) -> list[Finding]:
    findings = []
    for module, error in facts.import_errors.items():
        remedy = f"pip install --force-reinstall --no-deps {_distribution(module, facts)}"
        if module == "torchvision":
            # Nothing here needs it, but mmengine imports it for its start-up report.
            remedy = "pip uninstall -y torchvision"
        findings.append(Finding(f"{module} does not import: {error}", remedy))
    return findings


def _distribution(module: str, facts: Facts) -> str:
    candidates = {"cv2": _OPENCV, "mmcv": ("onedl-mmcv", "mmcv", "mmcv-lite")}
    named = candidates.get(module, (MAINTAINED.get(module, module), ORIGINAL.get(module, module)))
    found = next((name for name in named if name in facts.installed), named[0])
    version = facts.installed.get(found)
    return f"{found}=={version.partition('+')[0]}" if version else found


def _others(facts: Facts) -> list[Finding]:
    installed, findings = facts.installed, []
    if facts.python < (3, 10):
        version = ".".join(map(str, facts.python))
        findings.append(
            Finding(f"Python {version}; 3.10 or newer is needed", "install Python 3.11")
        )
    if "torch" in installed and _numbers(installed["torch"]) < (2, 4):
        findings.append(Finding(f"torch {installed['torch']}", "pip install 'torch>=2.4'"))
    opencv = [name for name in _OPENCV if name in installed]
    if len(opencv) > 1:
        text = f"{' and '.join(opencv)} overwrite each other's files"
        remedy = f"pip uninstall -y {' '.join(opencv)} && pip install opencv-python"
        findings.append(Finding(text, remedy, is_problem=False))
    return findings


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def report_lines(facts: Facts) -> list[tuple[str, str]]:
    """Return versions, optional parts and devices as pairs of name and value."""
    lines = [
        ("ood-seg", __version__),
        ("python", f"{platform.python_version()} ({sys.executable})"),
        ("platform", platform.platform()),
    ]
    shown = [name for name in SHOWN if name in facts.installed]
    lines += [(name, facts.installed[name]) for name in shown]
    for name, (part, extra) in OPTIONAL.items():
        missing = f"not installed (optional, for {part}: pip install 'ood-seg[{extra}]')"
        lines.append((name, facts.installed.get(name, missing)))
    lines.append(("mmcv operators", "compiled" if facts.has_operators else "none (not needed)"))
    lines.append(("devices", ", ".join(devices(facts))))
    return lines


def devices(facts: Facts) -> list[str]:
    """Return the devices that torch can use here; always at least the CPU."""
    if "torch" not in facts.installed or "torch" in facts.import_errors:
        return ["unknown (torch cannot be imported)"]
    import torch

    found = [f"cpu ({torch.get_num_threads()} threads)"]
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        memory = properties.total_memory / 2**30
        found.append(f"cuda:{index} ({properties.name}, {memory:.0f} GiB)")
    if torch.backends.mps.is_available():
        found.append("mps")
    return found

"""Adapts both families of OpenMMLab distributions to a current torch.

The maintained ones (`onedl-*`) look for mmseg's shipped configs under the old distribution name.
`mmengine` + `mmcv` or `mmcv-lite` + `mmsegmentation` lack operators and `pkg_resources`; for
them `apply()` must run before `mmseg` is imported. It changes nothing on disk.
"""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import importlib.util
import sys
from types import ModuleType


def apply() -> list[str]:
    """Adapt this installation and return a line per change. May be called repeatedly."""
    if not _is_original_family():
        return find_shipped_configs()
    done = []
    if "mmcv.ops" not in sys.modules and _operators_missing():
        install_operator_stub()
        done.append("mmcv.ops replaced by a stub: mmcv was installed without operators")
    if importlib.util.find_spec("pkg_resources") is None:
        replace_is_installed()
        done.append("mmengine.utils.is_installed replaced: setuptools has no pkg_resources")
    return done


def _is_original_family() -> bool:
    return has_distribution("mmsegmentation") and not has_distribution("onedl-mmsegmentation")


def _operators_missing() -> bool:
    return importlib.util.find_spec("mmcv") is not None and (
        importlib.util.find_spec("mmcv._ext") is None
    )


def has_distribution(name: str) -> bool:
    """Whether a distribution of that name is installed, importable or not."""
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def find_shipped_configs() -> list[str]:
    """Let `_base_ = "mmseg::..."` find the configs in whichever distribution holds mmseg."""
    try:
        from mmengine.config.utils import MODULE2PACKAGE
    except ImportError:
        return []
    if has_distribution(MODULE2PACKAGE["mmseg"]) or MODULE2PACKAGE["mmseg"] == "mmseg":
        return []
    MODULE2PACKAGE["mmseg"] = "mmseg"
    return ["mmseg:: in configs resolved by the import name"]


class _OperatorStub(ModuleType):
    """Stub of `mmcv.ops`: every name is a class that raises when it is instantiated."""

    __path__: list[str] = []  # noqa: RUF012 (so declared by the base class)

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)

        def refuse(self, *args, **kwargs):
            raise ImportError(
                f"{name} is an operator of mmcv that was not compiled here; models that use it "
                "need the full `mmcv` (pip install 'mmcv>=2.0,<2.2', with a compiler)"
            )

        placeholder = type(name, (), {"__init__": refuse})
        setattr(self, name, placeholder)
        return placeholder


def install_operator_stub() -> None:
    """Let `from mmcv.ops import ...` succeed without compiled operators; their use raises."""
    stub = _OperatorStub("mmcv.ops", "Stub of ood_seg: mmcv has no compiled operators here.")
    stub.__spec__ = importlib.machinery.ModuleSpec("mmcv.ops", None, is_package=True)
    sys.modules["mmcv.ops"] = stub


def replace_is_installed() -> None:
    """Replace mmengine's `is_installed`, which needs the removed `pkg_resources`, everywhere."""
    import mmengine.utils

    original = mmengine.utils.is_installed
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "mmengine" and vars(module).get("is_installed") is original:
            vars(module)["is_installed"] = is_installed


def is_installed(package: str) -> bool:
    """Whether a distribution or an importable module of that name exists."""
    return has_distribution(package) or importlib.util.find_spec(package) is not None

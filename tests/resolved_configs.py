"""Fingerprints of the shipped configs as mmengine resolves them.

`tests/resolved_configs.json` holds one SHA-256 for each config, so that a change of a base cannot
change a config that was measured without anybody noticing. After a change that is meant:

    python tests/resolved_configs.py
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from pathlib import Path

FINGERPRINTS = Path(__file__).with_suffix(".json")
# Paths come from these; unset, every machine resolves the same text.
VARIABLES = ("OOD_SEG_DATA", "OOD_SEG_DEMO", "OOD_SEG_CACHE")


def canonical_text(value) -> str:
    """Text of a resolved config in which the order of keys is fixed; tuples are not lists."""
    if isinstance(value, dict):
        items = sorted(value.items(), key=lambda item: str(item[0]))
        return "{" + ", ".join(f"{key!r}: {canonical_text(v)}" for key, v in items) + "}"
    if isinstance(value, (list, tuple)):
        inner = ", ".join(canonical_text(v) for v in value)
        return f"[{inner}]" if isinstance(value, list) else f"({inner},)"
    return repr(value)


def fingerprint(path: Path) -> str:
    """SHA-256 of the resolved config at `path`."""
    from mmengine.config import Config

    resolved = Config.fromfile(path).to_dict()
    return hashlib.sha256(canonical_text(resolved).encode()).hexdigest()


if __name__ == "__main__":
    from ood_seg import compat
    from ood_seg.config_files import shipped_configs

    compat.apply()
    logging.disable(logging.INFO)
    for name in VARIABLES:
        os.environ.pop(name, None)
    content = {name: fingerprint(path) for name, path in shipped_configs().items()}
    FINGERPRINTS.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

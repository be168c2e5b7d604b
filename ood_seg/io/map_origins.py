"""The model that score maps come from: a sidecar in their folder, `provenance.json`.

`ood-seg test --out` and `ood-seg infer` write it; `ood-seg calibrate` reads it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ood_seg
from ood_seg.io.fields import Fields, shown
from ood_seg.io.json_files import read_json, write_json

ORIGIN_FILE = "provenance.json"
SCHEMA = "ood_seg.score_maps/1"


@dataclass(frozen=True)
class MapOrigin:
    """A model and its score.

    Attributes:
        score: type of the score, such as `Energy`.
        model: path or name of the checkpoint; None if unknown.
        checkpoint_sha256: hash of that file; None if unknown, as for a URL.
        config: path or name of the config; None if unknown.
        refinement: steps by which the maps were refined, see `ood_seg.refinement`; None: none.
    """

    score: str
    model: str | None = None
    checkpoint_sha256: str | None = None
    config: str | None = None
    refinement: list[dict[str, Any]] | None = None

    def is_other(self, checkpoint_sha256: str | None) -> bool:
        """Whether a checkpoint is known to be another one than that of the maps."""
        return None not in (self.checkpoint_sha256, checkpoint_sha256) and (
            self.checkpoint_sha256 != checkpoint_sha256
        )

    def named(self) -> str:
        """Model and start of its hash, for a message."""
        return named_model(self.model, self.checkpoint_sha256)

    def described(self) -> str:
        """Score, model, and sources of the refinement, for a message."""
        steps = self.refinement or ()
        sources = [str(step["source"]) for step in steps if step.get("source") is not None]
        return f"{self.score} of {self.named()}" + (
            f" refined by {', '.join(sources)}" if sources else ""
        )

    def record(self, folder: Path, *, remedy: str, replace: bool = False) -> None:
        """Write the sidecar of a folder to which maps are about to be added.

        Args:
            folder: of the maps; it need not exist.
            remedy: what to do where the folder holds others, for the message.
            replace: whether maps of another score or model may be replaced.

        Raises:
            ValueError: the folder holds maps of another score or model, which are not replaced, or
                its sidecar is damaged.
        """
        earlier = read_origin(folder)
        same_score = earlier and (earlier.score, earlier.refinement) == (
            self.score,
            self.refinement,
        )
        if earlier and same_score and not self.is_other(earlier.checkpoint_sha256):
            return
        if earlier and not replace:
            raise ValueError(
                f"{folder} holds score maps of {earlier.described()}, these are of "
                f"{self.described()}; {remedy}"
            )
        self.write(folder)

    def write(self, folder: Path) -> None:
        """Write the sidecar, atomically."""
        write_json(
            folder / ORIGIN_FILE,
            {"schema": SCHEMA, **asdict(self), "version": ood_seg.__version__},
        )


def named_model(model: object, checkpoint_sha256: str | None) -> str:
    """A model and the start of the hash of its checkpoint, for a message."""
    digest = f" (SHA-256 {checkpoint_sha256[:12]}...)" if checkpoint_sha256 else ""
    return f"{model or 'an unnamed model'}{digest}"


def read_origin(folder: Path) -> MapOrigin | None:
    """The origin of the score maps in a folder; None where it is not recorded.

    Raises:
        ValueError: the sidecar is damaged or of another schema; names the entry.
    """
    path = folder / ORIGIN_FILE
    if not path.is_file():
        return None
    fields = Fields(read_json(path), str(path))
    if fields.value("schema") != SCHEMA:
        raise ValueError(f"{path}: expected the schema {SCHEMA!r}, got {shown(fields.content)}")
    names = ("model", "checkpoint_sha256", "config")
    steps = fields.content.get("refinement")  # not in files of earlier versions
    if steps is not None and not (
        isinstance(steps, list) and all(isinstance(one, dict) for one in steps)
    ):
        raise fields.wrong("refinement", "a list of objects or null")
    known = {name: fields.text(name, optional=True) for name in names}
    return MapOrigin(fields.text("score"), **known, refinement=steps)

"""What is known of a published dataset: where it comes from, and which of its files go where."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ood_seg.datasets.setup.converters import Converter, no_files
from ood_seg.datasets.setup.splits import Lister

# The place of a file that stays where it is published.
SAME = r"\g<path>"
# Of what is unpacked from image-level archives, unless $OOD_SEG_CACHE names another folder; the
# configs read it as well.
CACHE = "data_cache"


@dataclass(frozen=True)
class PublishedDataset:
    """A published dataset, and how its archives become the layout that is read.

    Attributes:
        name: as shown and typed.
        folders: places below the data root, the first that exists counts.
        splits: lists the splits that are present, given the folder.
        source: where the owner publishes it.
        layout: files that are expected in the folder.
        licence: in short; the owner's text counts.
        archives: files to fetch there, each with its content and size.
        files: role -> regular expression for the last parts of a path, so that it does not matter
            how deep an archive nests the published tree, and the place below the folder: a
            template, `SAME` as published, or None for a file that is only read or not needed. The
            first that matches counts; its group `key` names the frame, by which 'image' and
            'label' are paired. Empty if archives are unpacked as they are.
        counts: role -> published number.
        gigabytes: approximate unpacked size of all archives.
        endings: a name that ends like this and matches no pattern is misnamed.
        spare_images: images without a label are a 'gap', or intended: 'keep' or 'leave out'.
        numbered: keys of labels are `NNNN_` and the key of the image.
        converter: yields the files that are computed from these.
        version: where copies of another version could be mistaken for it.
        image_level: images without masks, unpacked below the cache folder instead of the data root.
    """

    name: str
    folders: tuple[str, ...]
    splits: Lister
    source: str
    layout: str
    licence: str = "see the owner's page"
    archives: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, tuple[str, str | None]] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    gigabytes: float = 0.0
    endings: tuple[str, ...] = ()
    spare_images: str = "gap"
    numbered: bool = False
    converter: Converter = no_files
    version: str = ""
    image_level: bool = False

    def place(self, root: Path) -> Path:
        """The folder that its `folders` are below.

        Args:
            root: of the datasets with masks.
        """
        return Path(os.environ.get("OOD_SEG_CACHE") or CACHE) if self.image_level else root

    @property
    def remedy(self) -> str:
        """Where to get it and which layout is expected, in one or two sentences."""
        named = f" ({', '.join(self.archives)})" if self.archives else ""
        command = f". `ood-seg prepare-data {self.name}` puts it in place" if self.files else ""
        return f"{self.source}{named}: {self.layout}{command}"

    @property
    def limit(self) -> int:
        """Most bytes that the archives may declare: three times their size, at least 1 GB."""
        return int(max(1.0, 3 * self.gigabytes) * 1e9)

    def match(self, name: str) -> tuple[str, str, str | None]:
        """Return role, key and place of a path; the role is empty if it does not belong here."""
        for role, (pattern, target) in self.files.items():
            found = re.search(rf"(?:^|/)(?P<path>{pattern})$", name)
            if found:
                return role, found["key"], None if target is None else found.expand(target)
        return "", "", None

    def image_key(self, label_key: str) -> str:
        """Return the key of the image that a label belongs to."""
        return label_key.partition("_")[2] if self.numbered else label_key

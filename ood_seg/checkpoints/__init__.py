"""Checkpoints are loaded as data, never as code, and only into the model they belong to.

`torch.load` unpickles, and unpickling may run code. Everything here loads with
`weights_only=True` and a short list of extra types that mmengine's own training checkpoints
hold. Two fallbacks of mmengine are switched off: full unpickling when the safe load fails, and
silence when the keys of a checkpoint are those of another model. The checksums of a file are
compared before it is loaded, which torch leaves out.
"""

from ood_seg.checkpoints.allowed_types import safe_globals
from ood_seg.checkpoints.files import is_local, load_checkpoint, save_checkpoint
from ood_seg.checkpoints.mmengine_loading import secure_loading
from ood_seg.checkpoints.weights import (
    check_finite,
    check_matches,
    check_weights,
    load_weights,
    weights_of,
)

__all__ = [
    "check_finite",
    "check_matches",
    "check_weights",
    "is_local",
    "load_checkpoint",
    "load_weights",
    "safe_globals",
    "save_checkpoint",
    "secure_loading",
    "weights_of",
]

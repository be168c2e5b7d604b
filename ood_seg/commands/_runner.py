"""Former names of `_arguments`, for commands that still use them."""

from ood_seg.commands._arguments import CONFIG_HELP, is_main_process, load_config
from ood_seg.commands._arguments import add_model as add_model_arguments
from ood_seg.commands._arguments import add_run as add_common_arguments

__all__ = [
    "CONFIG_HELP",
    "add_common_arguments",
    "add_model_arguments",
    "is_main_process",
    "load_config",
]

"""Run `ood-seg train`: see there."""

import sys

from ood_seg.commands import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))

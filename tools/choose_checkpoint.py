"""Run `ood-seg choose-checkpoint`: see there."""

import sys

from ood_seg.commands import main

if __name__ == "__main__":
    sys.exit(main(["choose-checkpoint", *sys.argv[1:]]))

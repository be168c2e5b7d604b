"""Run `ood-seg test`: see there."""

import sys

from ood_seg.commands import main

if __name__ == "__main__":
    sys.exit(main(["test", *sys.argv[1:]]))

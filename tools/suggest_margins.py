"""Run `ood-seg suggest-margins`: see there."""

import sys

from ood_seg.commands import main

if __name__ == "__main__":
    sys.exit(main(["suggest-margins", *sys.argv[1:]]))

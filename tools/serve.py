"""Run `ood-seg serve`: see there."""

import sys

from ood_seg.commands import main

if __name__ == "__main__":
    sys.exit(main(["serve", *sys.argv[1:]]))

"""Run `ood-seg demo`: see there."""

import sys

from ood_seg.commands import main

if __name__ == "__main__":
    sys.exit(main(["demo", *sys.argv[1:]]))

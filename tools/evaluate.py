"""Run `ood-seg evaluate`: see there."""

import sys

from ood_seg.commands import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))

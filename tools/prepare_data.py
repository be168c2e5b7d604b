"""Run `ood-seg prepare-data`: see there."""

import sys

from ood_seg.commands import main

if __name__ == "__main__":
    sys.exit(main(["prepare-data", *sys.argv[1:]]))

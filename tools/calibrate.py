"""Run `ood-seg calibrate`: see there."""

import sys

from ood_seg.commands import main

if __name__ == "__main__":
    sys.exit(main(["calibrate", *sys.argv[1:]]))

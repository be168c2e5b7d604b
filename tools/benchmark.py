"""Run `ood-seg benchmark`: see there."""

import sys

from ood_seg.commands import main

if __name__ == "__main__":
    sys.exit(main(["benchmark", *sys.argv[1:]]))

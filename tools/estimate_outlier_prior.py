"""Run `ood-seg estimate-outlier-prior`: see there."""

import sys

from ood_seg.commands import main

if __name__ == "__main__":
    sys.exit(main(["estimate-outlier-prior", *sys.argv[1:]]))

"""Run `ood-seg fit`: see there."""

import sys

from ood_seg.commands import main

if __name__ == "__main__":
    sys.exit(main(["fit", *sys.argv[1:]]))

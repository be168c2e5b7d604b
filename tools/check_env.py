"""Run `ood-seg check-env`: see there."""

import sys

from ood_seg.commands import main

if __name__ == "__main__":
    sys.exit(main(["check-env", *sys.argv[1:]]))

"""Run `ood-seg infer`: see there."""

import sys

from ood_seg.commands import main

if __name__ == "__main__":
    sys.exit(main(["infer", *sys.argv[1:]]))

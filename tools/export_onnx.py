"""Run `ood-seg export-onnx`: see there."""

import sys

from ood_seg.commands import main

if __name__ == "__main__":
    sys.exit(main(["export-onnx", *sys.argv[1:]]))

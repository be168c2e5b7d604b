"""`ood-seg infer` with the fake segmentor instead of a model; torch cannot be imported.

python fake_infer.py SECONDS SOURCE... OPTIONS

It hangs after as many images as the environment's FAKE_MOST.
"""

import os
import sys

from blocking import block

if __name__ == "__main__":
    block({"torch", "mmengine", "mmseg", "mmcv", "matplotlib", "PIL"})
    from fake_segmentor import FakeSegmentor

    from ood_seg.apis import segmentors
    from ood_seg.commands import main

    seconds, *arguments = sys.argv[1:]
    segmentors.load_segmentor = lambda *_, region, min_area, **__: FakeSegmentor(
        seconds=float(seconds),
        most=int(os.environ.get("FAKE_MOST", 10**9)),
        region=region,
        min_area=min_area,
    )
    sys.exit(main(["infer", *arguments, "--onnx", "fake.onnx"]))

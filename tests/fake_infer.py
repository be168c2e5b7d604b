"""`ood-seg infer` with the fake segmentor instead of a model; torch cannot be imported.

python fake_infer.py SECONDS SOURCE... OPTIONS
"""

import sys

from blocking import block

if __name__ == "__main__":
    block({"torch", "mmengine", "mmseg", "mmcv", "matplotlib", "PIL"})
    from fake_segmentor import FakeSegmentor

    from ood_seg.commands import _infer_models, main

    seconds, *arguments = sys.argv[1:]
    _infer_models.build = lambda args, shard: FakeSegmentor(
        seconds=float(seconds), region=args.region, min_area=args.min_area or 50
    )
    sys.exit(main(["infer", *arguments, "--onnx", "fake.onnx"]))

"""`ood-seg infer` with the fake segmentor instead of a model; torch cannot be imported.

python fake_infer.py SECONDS SOURCE... OPTIONS
"""

import sys


class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "mmengine", "mmseg", "mmcv", "matplotlib", "PIL"}:
            raise ModuleNotFoundError(f"{name} is blocked", name=name)


if __name__ == "__main__":
    sys.meta_path.insert(0, Blocked())
    from fake_segmentor import FakeSegmentor

    from ood_seg.commands import _infer_models, main

    seconds, *arguments = sys.argv[1:]
    _infer_models.build = lambda args, shard: FakeSegmentor(
        seconds=float(seconds), region=args.region, min_area=args.min_area or 50
    )
    sys.exit(main(["infer", *arguments, "--onnx", "fake.onnx"]))

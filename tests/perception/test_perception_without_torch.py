"""The perception path imports and works with NumPy and OpenCV alone."""

from blocking import run_blocked

BLOCKED = {"torch", "mmseg", "mmengine", "mmcv", "matplotlib", "PIL", "scipy", "rich", "sklearn"}
PROGRAM = """
import importlib
import pkgutil
import sys
import numpy as np
import ood_seg.perception

for module in pkgutil.iter_modules(ood_seg.perception.__path__):
    importlib.import_module(f"ood_seg.perception.{module.name}")

from ood_seg.perception.core.flicker import FlickerMeter
from ood_seg.perception.run.segmentor import Segmentor
from ood_seg.perception.core.temporal import TemporalFilter
from ood_seg.perception.core.tracking import InstanceTracker
from ood_seg.perception.core.types import Palette, Prediction

class Blue(Segmentor):
    def predict(self, images):
        return [Prediction(np.zeros(i.shape[:2], np.uint8), np.float32(i[..., 0])) for i in images]

images = []
for left in range(4):
    image = np.zeros((40, 60, 3), np.uint8)
    image[10:20, left:left + 12, 0] = 200
    images.append(image)
blue = Blue(Palette(("road",), ((1, 2, 3),)), "Blue", {}, operating_point=90, region="road")
meter = FlickerMeter()
for result in blue.stream(images, temporal=TemporalFilter(0.5), tracker=InstanceTracker()):
    meter.update(result)
    result.save(sys.argv[1], ["overlay", "labels", "scores", "mask", "json"])
assert result.instances[0].track == 1 and meter.summary()["pairs"] == 3
print("perception works")
"""


def test_perception_needs_neither_torch_nor_plots(tmp_path):
    run = run_blocked(BLOCKED, PROGRAM, tmp_path)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "perception works"
    assert run.stderr == ""
    assert len(list(tmp_path.iterdir())) == 20

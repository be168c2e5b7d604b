"""Hook that draws predictions while a model is validated or tested."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.visualization.vis_backend import LocalVisBackend, MLflowVisBackend
from mmseg.registry import HOOKS
from mmseg.structures import SegDataSample

from ood_seg.engine.hooks.checkpoint_guard import unwrap
from ood_seg.io.images import read_image
from ood_seg.models.classes import class_names_and_colours
from ood_seg.visualization import prediction_figure, save_figure


@HOOKS.register_module()
class AnomalyVisualizationHook(Hook):
    """Writes image, predicted labels and anomaly heat map as one PNG for each image.

    Files are written to `OUT_DIR/SET/NAME.png`; SET is the name of the set in `MultiSetTestLoop`,
    otherwise `val` or `test`. Each rank draws its own images. The visualizer's backends, such as
    those of TensorBoard, MLflow and Weights & Biases, get the images as `SET/NAME`, with the
    number of training iterations as their step.

    Args:
        draw: whether to draw at all; `ood-seg test --show-dir` switches it on.
        num_images: images to draw of each set; None for all.
        out_dir: folder of the figures; by default `WORK_DIR/vis`.
        show: also open a window with each figure (needs a display).
        wait_time: seconds a window stays; 0 waits for a key.
    """

    priority = "NORMAL"

    def __init__(
        self,
        draw: bool = False,
        num_images: int | None = None,
        out_dir: str | None = None,
        show: bool = False,
        wait_time: float = 2.0,
    ) -> None:
        self.draw = draw
        self.num_images = num_images
        self.out_dir = out_dir
        self.show = show
        self.wait_time = wait_time
        self._drawn = 0

    def before_val_epoch(self, runner: Runner) -> None:
        """Count from zero for each validation."""
        self._drawn = 0

    def before_test_epoch(self, runner: Runner) -> None:
        """Count from zero for each set."""
        self._drawn = 0

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence[SegDataSample] | None = None,
    ) -> None:
        """Draw the batch."""
        self._draw_batch(runner, "val", data_batch, outputs)

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence[SegDataSample] | None = None,
    ) -> None:
        """Draw the batch."""
        name = getattr(runner.test_loop, "current_set", "test")
        self._draw_batch(runner, name, data_batch, outputs)

    def _draw_batch(
        self,
        runner: Runner,
        name: str,
        batch: dict | None,
        samples: Sequence[SegDataSample] | None,
    ) -> None:
        if not self.draw or batch is None or samples is None:
            return
        folder = Path(self.out_dir or Path(runner.work_dir) / "vis") / name
        for image, sample in zip(batch["inputs"], samples, strict=True):
            if self.num_images is not None and self._drawn >= self.num_images:
                return
            self._drawn += 1
            path = folder / f"{Path(sample.img_path).stem}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image = image[0] if isinstance(image, (list, tuple)) else image  # augmented copies
            save_figure(self._figure(runner, image.numpy(), sample), path)
            _log_image(runner, f"{name}/{path.stem}", path)
            if self.show:
                cv2.imshow("anomaly", read_image(path))
                cv2.waitKey(round(1000 * self.wait_time))

    def _figure(self, runner: Runner, image: np.ndarray, sample: SegDataSample):
        """Figure of one sample; the network's input image at the size of the score map."""
        scores = sample.pred_anomaly.data[0].float().cpu().numpy()
        labels = sample.pred_sem_seg.data[0].cpu().numpy()
        rgb = np.ascontiguousarray(image.transpose(1, 2, 0)[..., ::-1].astype(np.uint8))
        pixels = cv2.resize(rgb, scores.shape[::-1])
        count = unwrap(runner.model).num_classes
        classes, palette = class_names_and_colours(runner.cfg, {}, count=count)
        return prediction_figure(pixels, labels, scores, classes=classes, palette=palette)


@master_only
def _log_image(runner: Runner, name: str, path: Path) -> None:
    """Give a figure to the backends of the visualizer, apart from that of local files."""
    backends = runner.visualizer._vis_backends.values()
    loggers = [one for one in backends if not isinstance(one, LocalVisBackend)]
    if not loggers:
        return
    rgb = np.ascontiguousarray(read_image(path)[..., ::-1])
    for logger in loggers:
        # Files of MLflow are named by step; the others keep a series of steps under one name.
        own = f"{name}_{runner.iter}.png" if isinstance(logger, MLflowVisBackend) else name
        logger.add_image(own, rgb, step=runner.iter)

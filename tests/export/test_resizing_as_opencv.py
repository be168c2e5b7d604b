"""The exported resize equals OpenCV's, and sizes equal those of the test pipeline."""

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip("mmseg")

from ood_seg.export.resizing import SizeRule, resize_image

SIZES = [
    ((45, 71), (48, 64)),
    ((71, 45), (33, 97)),
    ((48, 64), (48, 64)),
    ((96, 128), (48, 64)),  # half: OpenCV averages four pixels
    ((24, 32), (48, 64)),
    ((301, 203), (16, 24)),
    ((7, 5), (48, 64)),
    ((1, 1), (8, 8)),
    ((360, 640), (513, 769)),
]


@pytest.mark.parametrize(("size", "target"), SIZES)
def test_resize_equals_opencv_bit_by_bit(size, target):
    image = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    expected = cv2.resize(image, target[::-1], interpolation=cv2.INTER_LINEAR)
    found = resize_image(torch.from_numpy(image)[None], *target)
    assert found.shape == (1, 3, *target)
    assert found.dtype == torch.float32
    np.testing.assert_array_equal(found[0].permute(1, 2, 0).numpy(), expected)


def test_a_plain_interpolation_differs():
    image = np.random.default_rng(1).integers(0, 256, (45, 71, 3), dtype=np.uint8)
    expected = cv2.resize(image, (64, 48), interpolation=cv2.INTER_LINEAR)
    maps = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    plain = torch.nn.functional.interpolate(maps, (48, 64), mode="bilinear")
    assert (plain[0].round().permute(1, 2, 0).numpy() != expected).mean() > 0.02


def test_images_of_a_batch_do_not_mix():
    images = np.random.default_rng(2).integers(0, 256, (3, 20, 30, 3), dtype=np.uint8)
    together = resize_image(torch.from_numpy(images), 17, 19)
    alone = [resize_image(torch.from_numpy(images[i : i + 1]), 17, 19) for i in range(3)]
    assert torch.equal(together, torch.cat(alone))


def test_ratio_is_kept_as_in_mmcv():
    from mmcv.image import rescale_size

    rule, rng = SizeRule("keep_ratio", 512, 1024), np.random.default_rng(3)
    for height, width in [(720, 1280), (1280, 720), (512, 1024), *rng.integers(9, 3000, (300, 2))]:
        expected = rescale_size((int(width), int(height)), (1024, 512))[::-1]
        assert tuple(map(int, rule.network_size(int(height), int(width)))) == expected


def test_rules():
    assert SizeRule("own").network_size(31, 17) == (31, 17)
    assert SizeRule("fixed", 512, 1024).network_size(31, 17) == (512, 1024)
    assert str(SizeRule("keep_ratio", 512, 1024)) == "1024x512, ratio kept"

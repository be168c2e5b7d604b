"""The published image-level datasets, a part of the catalog: images without masks."""

from __future__ import annotations

from ood_seg.datasets.setup import splits
from ood_seg.datasets.setup.published_dataset import SAME, PublishedDataset

_CIFAR10 = "airplane automobile bird cat deer dog frog horse ship truck".replace(" ", "|")
IMAGE_LEVEL_DATASETS = (
    PublishedDataset(
        "cifar10",
        ("cifar10",),
        splits.no_masks,
        "https://www.cs.toronto.edu/~kriz/cifar.html",
        "train/CLASS/NNNN.* and test/CLASS/NNNN.*",
        "not stated by the owner",
        archives={"cifar10_jpeg.tar.xz": "60000 images of 32x32 in class folders, 19 MB"},
        files={"image": (rf"(?P<key>(?:train|test)/(?:{_CIFAR10})/\d+\.(?:jpg|png))", SAME)},
        counts={"image": 60000},
        gigabytes=0.25,
        spare_images="keep",
        image_level=True,
    ),
    PublishedDataset(
        "tiny_imagenet",
        ("tiny-imagenet-200",),
        splits.no_masks,
        "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
        "train/WNID/images/*.JPEG, val/images/*.JPEG, val/val_annotations.txt",
        "that of ImageNet: research and teaching, no redistribution",
        archives={
            "tiny-imagenet-200.zip": "100000 + 10000 images of 64x64, 248 MB",
            "tiny-imagenet-200_part.tar.xz": "or 100 training images of each class, 41 MB",
        },
        files={
            "image": (
                r"(?P<key>(?:train/n\d{8}/images/n\d{8}_\d+|val/images/val_\d+)\.JPEG)",
                SAME,
            ),
            "list": (r"(?P<key>wnids\.txt|words\.txt|val/val_annotations\.txt)", SAME),
        },
        counts={"image": 110000, "list": 3},
        gigabytes=0.5,
        spare_images="keep",
        image_level=True,
    ),
    PublishedDataset(
        "dtd",
        ("dtd",),
        splits.no_masks,
        "https://www.robots.ox.ac.uk/~vgg/data/dtd",
        "TEXTURE/*.jpg, or images/TEXTURE/*.jpg",
        "research only",
        archives={
            "dtd-r1.0.1.tar.gz": "5640 images of 47 textures, 596 MB",
            "dtd64_part.tar.xz": "or 1200 images of 10 textures at 64x64, 3 MB",
        },
        files={
            "image": (r"(?P<key>(?:images/)?(?P<texture>[a-z-]+)/(?P=texture)_\d{4}\.jpg)", SAME)
        },
        counts={"image": 5640},
        gigabytes=0.75,
        spare_images="keep",
        image_level=True,
    ),
)

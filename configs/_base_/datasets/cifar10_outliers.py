# CIFAR-10 and its outlier images at 32x32: test sets, and the images that fitted scores read.
# Auxiliary and test outliers are disjoint classes of Tiny ImageNet, none of them of CIFAR.
cache = "{{$OOD_SEG_CACHE:data_cache}}/"
street_scenes = "{{$OOD_SEG_DATA:data}}/camvid/test"
plain = [dict(type="LoadImageOfClass", size=32), dict(type="PackImageOfClass")]
resized = [dict(type="LoadImageOfClass", size=32, resize=True), dict(type="PackImageOfClass")]
augmented = [
    dict(type="LoadImageOfClass", size=32),
    dict(type="CropPaddedAndFlip", padding=4),
    dict(type="PackImageOfClass"),
]
augmented_outliers = [
    dict(type="LoadImageOfClass", size=32, resize=True),
    dict(type="CropPaddedAndFlip", padding=4),
    dict(type="PackImageOfClass"),
]


def loader(type, pipeline, split="test", **options):
    dataset = dict(type=type, split=split, pipeline=pipeline, **options)
    sampler = dict(type="DefaultSampler", shuffle=False)
    return dict(batch_size=200, num_workers=0, sampler=sampler, dataset=dataset)


cifar10_root = cache + "cifar10"
tiny_imagenet_root = cache + "tiny-imagenet-200"
fit_dataloader = loader("ClassFolderDataset", plain, "train", data_root=cifar10_root)
# Outliers for the weights of layers and the prior, without augmentation.
pasted_dataloader = loader("TinyImageNetDataset", resized, "train", data_root=tiny_imagenet_root)
prior_dataset = pasted_dataloader["dataset"]
# Of the `_outliers_32x32` bases: 256 auxiliary outliers beside 128 known images.
outlier_images = dict(
    type="TinyImageNetDataset",
    data_root=tiny_imagenet_root,
    split="train",
    pipeline=augmented_outliers,
)
outlier_batches = dict(
    type="KnownWithOutliers", outliers=outlier_images, num_known=128, num_outliers=256
)
test_dataloader = dict(
    cifar10=loader("ClassFolderDataset", plain, data_root=cifar10_root),
    tiny_imagenet=loader("TinyImageNetDataset", resized, data_root=tiny_imagenet_root),
    textures=loader("ImageFolderDataset", resized, data_root=cache + "dtd"),
    gaussian_noise=loader("NoiseDataset", plain, kind="gaussian", number=2000),
    uniform_noise=loader("NoiseDataset", plain, kind="uniform", number=2000),
    street_scenes=loader("ImageFolderDataset", resized, data_root=street_scenes),
)
test_evaluator = {
    name: [dict(type="ImageAccuracyMetric" if name == "cifar10" else "ImageAnomalyMetric")]
    for name in test_dataloader
}
test_cfg = dict(type="ImageLevelTestLoop", known="cifar10")

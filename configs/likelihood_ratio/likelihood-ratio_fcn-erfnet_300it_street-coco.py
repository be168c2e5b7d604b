"""Likelihood-ratio head on several layers of a frozen ERFNet, with pasted objects, on a CPU."""

_base_ = [
    "../_base_/pretrained/erfnet_cityscapes.py",
    "../_base_/datasets/street_coco_512x384.py",
    "../_base_/schedules/adam_300it.py",
    "../_base_/methods/likelihood-ratio.py",
]
model = _base_.pop("method")
model.learned_head.update(
    # Both resolutions of the encoder, the decoder and the logits, at 1/4 like the first.
    layers=[
        "backbone.encoder.6",
        "backbone.encoder.15",
        "backbone.decoder.2",
        "decode_head.conv_seg",
    ],
    in_channels=[64, 128, 64, 19],
    channels=256,
    convs=[(128, 3, 1), (64, 3, 2)],  # channels, kernel size, dilation
)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type="AdamW", lr=5e-4, weight_decay=0.0),
)

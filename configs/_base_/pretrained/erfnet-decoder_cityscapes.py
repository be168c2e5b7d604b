# Start of the published recipes on ERFNet, which train its decoder: the classifier alone is one
# 1x1 convolution.
_base_ = "./erfnet_cityscapes.py"
model = dict(
    freeze=dict(
        trained=["backbone.decoder.*", "decode_head.*"], norm_statistics="fixed", dropout="off"
    ),
    energy_head=dict(smoothing=dict(kernel_size=7, sigma=1.0)),
)

"""DeepLabV3+ WideResNet38 of NVIDIA or Meta-OoD with the published score: smoothed free energy."""

_base_ = [
    "../_base_/models/deepwv3plus-wrn38_cityscapes.py",
    "../_base_/datasets/evaluation_native.py",
    "../_base_/default_runtime.py",
]
model = dict(
    energy_head=dict(
        score=dict(type="Energy", temperature=1.0), smoothing=dict(kernel_size=7, sigma=1.0)
    )
)

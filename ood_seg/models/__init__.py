"""mmsegmentation adapters: the segmentor, the energy head, test-time augmentation."""

from ood_seg.models.deep_wv3_plus_head import DeepWV3PlusHead
from ood_seg.models.dense_hybrid_head import DenseHybridHead
from ood_seg.models.energy_head import EnergyHead
from ood_seg.models.erfnet_head import ERFNetHead
from ood_seg.models.freezing import freeze_parameters, train_only
from ood_seg.models.ood_encoder_decoder import OODEncoderDecoder
from ood_seg.models.residual_pattern import residual_pattern_head
from ood_seg.models.tta import OODTTAModel
from ood_seg.models.wide_resnet38 import WideResNet38

__all__ = [
    "DeepWV3PlusHead",
    "DenseHybridHead",
    "ERFNetHead",
    "EnergyHead",
    "OODEncoderDecoder",
    "OODTTAModel",
    "WideResNet38",
    "freeze_parameters",
    "residual_pattern_head",
    "train_only",
]

"""mmsegmentation adapters: the segmentor, the energy head, test-time augmentation."""

from ood_seg.models.energy_head import EnergyHead
from ood_seg.models.freezing import freeze_parameters, train_only
from ood_seg.models.ood_encoder_decoder import OODEncoderDecoder
from ood_seg.models.tta import OODTTAModel

__all__ = ["EnergyHead", "OODEncoderDecoder", "OODTTAModel", "freeze_parameters", "train_only"]

"""Label values and the masks derived from them."""

import torch

from ood_seg.labels import CITYSCAPES_CLASSES, hide_outliers, split_labels

LABELS = torch.tensor([[0, 18, 254], [255, 254, 7]])


def test_split_labels_returns_known_and_outlier_masks():
    known, outlier = split_labels(LABELS)
    assert known.tolist() == [[True, True, False], [False, False, True]]
    assert outlier.tolist() == [[False, False, True], [False, True, False]]


def test_split_labels_accepts_other_values():
    known, outlier = split_labels(LABELS, outlier_index=18, ignore_index=7)
    assert known.tolist() == [[True, False, True], [True, True, False]]
    assert outlier.tolist() == [[False, True, False], [False, False, False]]


def test_hide_outliers_works_on_a_copy():
    hidden = hide_outliers(LABELS)
    assert hidden.tolist() == [[0, 18, 255], [255, 255, 7]]
    assert LABELS[0, 2] == 254


def test_cityscapes_classes_are_in_train_id_order():
    assert len(CITYSCAPES_CLASSES) == 19
    assert CITYSCAPES_CLASSES[0] == "road"
    assert CITYSCAPES_CLASSES[13] == "car"
    assert CITYSCAPES_CLASSES[18] == "bicycle"

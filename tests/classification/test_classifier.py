"""Classification networks and the classifier around them."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("mmseg")
from mmengine.registry import init_default_scope
from mmengine.runner.checkpoint import load_state_dict
from mmengine.structures import BaseDataElement
from mmseg.registry import MODELS
from torch import nn

import ood_seg.register  # noqa: F401
from ood_seg.checkpoints import check_weights
from ood_seg.classification.classifier import ImageClassifier
from ood_seg.classification.networks import (
    CifarResNet18,
    CifarResNet20,
    ResidualBlock,
    WideResNet40x2,
    external_classifier,
    with_layer_names,
)
from ood_seg.detectors import PENULTIMATE
from ood_seg.labels import OUTLIER
from ood_seg.losses import balanced_energy_loss, energy_loss, outlier_exposure_loss
from ood_seg.scores import energy

init_default_scope("mmseg")
IMAGES = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([1, OUTLIER, 0])


def tiny_network(classes=3):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(6, classes),
    )  # fmt: skip
    return with_layer_names(network, feature_layers=["0", "1"])


def samples(labels=LABELS, split="train"):
    found = []
    for number, label in enumerate(labels):
        sample = BaseDataElement(metainfo={"img_path": f"{number}.png", "split": split})
        sample.gt_label = label
        found.append(sample)
    return found


def classifier(*losses, **options):
    return ImageClassifier(
        tiny_network(), energy_head=dict(type="EnergyHead", losses=list(losses)), **options
    )


# Networks


@pytest.mark.parametrize(
    ("network", "parameters", "width"),
    [
        (CifarResNet20, 269_722, 64),
        (CifarResNet18, 11_173_962, 512),
        (WideResNet40x2, 2_243_546, 128),
    ],
)
def test_networks_have_the_published_size_and_named_layers(network, parameters, width):
    model = network().eval()
    assert sum(p.numel() for p in model.parameters()) == parameters
    outer = ImageClassifier(model).detector_network()
    with torch.no_grad():
        outputs = outer(IMAGES, (PENULTIMATE, *model.feature_layers))
        assert outputs.logits.shape == (3, 10)
        assert outputs.features[PENULTIMATE].shape == (3, width)
        torch.testing.assert_close(outer.classify(outputs.features[PENULTIMATE]), outputs.logits)
    sizes = [outputs.features[name].shape[-1] for name in model.feature_layers]
    assert sizes == [32, 16, 8, 4][: len(sizes)]


def test_padded_shortcut_keeps_the_input_in_the_middle_channels():
    block = ResidualBlock(4, 8, 2, padded_shortcut=True).eval()
    for parameter in block.bn2.parameters():
        nn.init.zeros_(parameter)
    images = torch.rand(1, 4, 6, 6)
    output = block(images)
    torch.testing.assert_close(output[:, 2:6], images[:, :, ::2, ::2])
    assert not output[:, :2].any()
    assert not output[:, 6:].any()


def test_dropout_is_active_in_training_alone():
    network = WideResNet40x2(dropout=0.3)
    network.eval()
    torch.testing.assert_close(network(IMAGES), network(IMAGES))
    for module in network.modules():
        module.training = not isinstance(module, nn.BatchNorm2d)
    assert not torch.equal(network(IMAGES), network(IMAGES))


def test_any_network_is_adapted():
    network = external_classifier("torch.nn.Linear", in_features=4, out_features=3, classifier="")
    assert network.classifier_name == ""
    model = tiny_network()
    assert (model.classifier_name, model.feature_layers) == ("4", ("0", "1"))
    with pytest.raises(ValueError, match="no linear layer"):
        with_layer_names(nn.Sequential(nn.ReLU()))
    with pytest.raises(ValueError, match="no layer 'fc'"):
        with_layer_names(nn.Sequential(nn.ReLU()), "fc")
    with pytest.raises(ValueError, match=r"'absent\.resnet18' cannot be imported"):
        external_classifier("absent.resnet18")
    with pytest.raises(ValueError, match=r"'torch\.absent'"):
        external_classifier("torch.absent")


# Losses


def test_loss_is_the_sum_of_the_published_terms():
    margins = dict(margin_in=-2.0, margin_out=1.0)
    prior = [0.5, 0.3, 0.2]
    model = classifier(
        dict(type="OutlierExposureLoss", loss_weight=0.5),
        dict(type="EnergyLoss", loss_weight=0.2, **margins),
        dict(
            type="BalancedEnergyLoss",
            loss_weight=0.2,
            alpha=3.0,
            gamma=0.75,
            prior=prior,
            **margins,
        ),
    )
    losses = model(IMAGES, samples(), mode="loss")
    logits = model(IMAGES)
    known = F.cross_entropy(logits[[0, 2]], LABELS[[0, 2]])
    torch.testing.assert_close(losses["loss_cross_entropy"], known)
    # Written out: 0.5 * (logsumexp - mean) of the outlier; 0.1 * the sum of both hinges.
    outlier = logits[1]
    torch.testing.assert_close(
        losses["anomaly.loss_outlier_exposure"], 0.5 * (outlier.logsumexp(0) - outlier.mean())
    )
    energies = -logits.logsumexp(dim=1)
    hinge_in = (energies[[0, 2]] + 2).relu().square().mean()
    torch.testing.assert_close(
        losses["anomaly.loss_energy"], 0.1 * (hinge_in + (1 - energies[1]).relu().square())
    )
    powers = torch.tensor(prior) ** 0.75
    balance = (outlier.softmax(0) * powers / powers.sum()).sum()
    hinge_out = (1 + 3 * balance - energies[1]).relu().square()
    torch.testing.assert_close(losses["anomaly.loss_balanced_energy"], 0.1 * (hinge_in + hinge_out))


def test_core_losses_of_image_logits_equal_those_of_one_pixel():
    logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([0, 3, OUTLIER, 255, OUTLIER, 2])
    margins = dict(margin_in=-2.0, margin_out=1.0)
    pairs = [
        (outlier_exposure_loss, (), {}),
        (energy_loss, (), margins),
        (balanced_energy_loss, ([1, 2, 3, 4],), dict(alpha=0.0, gamma=0.0, **margins)),
    ]
    for function, more, options in pairs:
        flat = function(logits, labels, *more, **options)
        dense = function(logits[..., None, None], labels[:, None, None], *more, **options)
        torch.testing.assert_close(flat, dense)
    plain = energy_loss(logits, labels, **margins)
    balanced = balanced_energy_loss(logits, labels, [1, 2, 3, 4], alpha=0.0, gamma=0.0, **margins)
    torch.testing.assert_close(balanced, plain)


def test_nothing_is_trained_on_test_images():
    with pytest.raises(ValueError, match=r"0\.png is of the split test"):
        classifier().loss(IMAGES, samples(split="test"))
    unmarked = [BaseDataElement() for _ in LABELS]
    with pytest.raises(ValueError, match="split"):
        classifier().loss(IMAGES, unmarked)


def test_labels_of_a_training_batch_are_checked():
    with pytest.raises(ValueError, match="no known image"):
        classifier().loss(IMAGES, samples(torch.tensor([OUTLIER] * 3)))
    with pytest.raises(ValueError, match=r"0\.\.2.*3"):
        classifier().loss(IMAGES, samples(torch.tensor([0, 3, 1])))


# Logit adjustment

COUNTS = [90, 9, 1]
LOG_SHARES = torch.tensor([math.log(n / 100) for n in COUNTS])


def test_logit_adjustment_in_training():
    model = classifier(class_counts=COUNTS, logit_adjustment="training", adjustment_strength=2.0)
    loss = model.loss(IMAGES, samples())["loss_cross_entropy"]
    adjusted = model(IMAGES) + 2 * LOG_SHARES
    torch.testing.assert_close(loss, F.cross_entropy(adjusted[[0, 2]], LABELS[[0, 2]]))
    plain = classifier().predict(IMAGES, samples())
    for one, other in zip(model.predict(IMAGES, samples()), plain, strict=True):
        assert one.pred_label == other.pred_label  # classes are those of the plain logits


def test_logit_adjustment_at_inference_changes_classes_but_no_score():
    model = classifier(class_counts=COUNTS, logit_adjustment="inference").eval()
    plain = classifier().eval()
    logits = plain(IMAGES)
    expected = (logits - LOG_SHARES).argmax(dim=1)
    assert not torch.equal(expected, logits.argmax(dim=1))
    found = model.predict(IMAGES)
    assert [int(one.pred_label) for one in found] == expected.tolist()
    scores = torch.stack([one.pred_anomaly for one in found])
    torch.testing.assert_close(scores, energy(logits))
    torch.testing.assert_close(
        model.loss(IMAGES, samples())["loss_cross_entropy"],
        plain.loss(IMAGES, samples())["loss_cross_entropy"],
    )


@pytest.mark.parametrize(
    "options",
    [
        dict(logit_adjustment="both", class_counts=COUNTS),
        dict(logit_adjustment="training"),
        dict(logit_adjustment="training", class_counts=[1, 2]),
        dict(logit_adjustment="inference", class_counts=[1, 2, 0]),
    ],
)
def test_bad_logit_adjustments(options):
    with pytest.raises(ValueError, match=r"logit_adjustment"):
        classifier(**options)


# Checkpoints and scores


@pytest.mark.parametrize("prefix", ["", "module.", "network.", "module.network."])
def test_weights_of_the_network_alone_load(prefix):
    weights = {prefix + key: value + 1 for key, value in tiny_network().state_dict().items()}
    model = classifier()
    check_weights(model, {"state_dict": weights})
    bare = {key.removeprefix("module."): value for key, value in weights.items()}
    load_state_dict(model, bare, strict=True)
    torch.testing.assert_close(
        model.network.state_dict()["4.bias"], tiny_network().state_dict()["4.bias"] + 1
    )
    with pytest.raises(ValueError, match="another model"):
        check_weights(model, {"state_dict": {"other": torch.zeros(1)}})


def test_scores_that_run_the_network_take_images_of_any_dtype_of_grad_mode():
    model = ImageClassifier(
        tiny_network(),
        data_preprocessor=dict(type="ImgDataPreprocessor", mean=[0] * 3, std=[51.0] * 3),
        energy_head=dict(type="EnergyHead", score=dict(type="ODIN", epsilon=0.01, temperature=2.0)),
    ).eval()
    images = IMAGES.clone().requires_grad_()
    logits = model(images) / 2
    F.cross_entropy(logits, logits.argmax(dim=1), reduction="sum").backward()
    step = torch.where(images.grad >= 0, 0.01, -0.01) * 255 / 51
    with torch.no_grad():
        expected = -(model(IMAGES - step) / 2).softmax(dim=1).amax(dim=1)
        scores = torch.stack([one.pred_anomaly for one in model.predict(IMAGES)])
    torch.testing.assert_close(scores, expected)


def test_mahalanobis_of_image_logits_in_closed_form():
    from ood_seg.detectors import FITTED, StatisticsFile

    model = classifier().eval()
    network = model.detector_network()
    images = torch.randn(40, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    labels = torch.arange(40) % 3
    method = FITTED["mahalanobis"]
    fitter = method.fitter()
    with torch.no_grad():
        outputs = network(images, fitter.layers)
        fitter.update(outputs, labels, network)
        score = method(StatisticsFile({method.method: fitter.result()}))
        found = score(network(IMAGES, fitter.layers), network)
        features = outputs.features[PENULTIMATE].double().numpy()
        tests = network(IMAGES, (PENULTIMATE,)).features[PENULTIMATE].double().numpy()
    means = np.stack([features[labels == c].mean(axis=0) for c in range(3)])
    centred = features - means[labels]
    precision = np.linalg.inv(centred.T @ centred / len(features))
    gaps = tests[:, None] - means
    expected = (0.5 * np.einsum("ncd,de,nce->nc", gaps, precision, gaps)).min(axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_the_energy_head_of_a_config_is_built():
    model = MODELS.build(
        dict(
            type="ImageClassifier",
            network=dict(type="CifarResNet20", num_classes=5),
            energy_head=dict(type="EnergyHead", score=dict(type="MaxLogit")),
        )
    ).eval()
    (sample, *_) = model.predict(IMAGES)
    assert model.num_classes == 5
    torch.testing.assert_close(sample.pred_anomaly, -sample.logits.max())

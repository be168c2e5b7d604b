"""Deep ensembles against their members evaluated one by one."""

import pytest
import torch
import toy_networks

from ood_seg import scores
from ood_seg.detectors.deep_ensemble import DeepEnsemble
from ood_seg.detectors.prediction_average import PredictionAverage

BUILDS = [toy_networks.dense, toy_networks.image_level]


def members(build, tmp_path, count=3):
    """Networks, and checkpoints of all but the first."""
    networks = [build(seed=seed) for seed in range(count)]
    paths = []
    for index, network in enumerate(networks[1:]):
        paths.append(tmp_path / f"{index}.pth")
        torch.save({"state_dict": network.module.state_dict()}, paths[-1])
    return networks, paths


@pytest.mark.parametrize("build", BUILDS)
def test_equals_the_members_one_by_one(build, tmp_path):
    networks, paths = members(build, tmp_path)
    images = toy_networks.images_and_labels(2)[0]
    logits = torch.stack([network(images).logits for network in networks])
    average = PredictionAverage.of(logits)
    mean = logits.softmax(dim=2).mean(0)
    for name in ("predictive-entropy", "mutual-information"):
        found, score = DeepEnsemble(paths, name)(networks[0], images)
        assert torch.allclose(found.softmax(dim=1), mean, atol=1e-6)
        assert torch.allclose(score, average.uncertainty(name), atol=1e-6)
    for name, function in (("energy", scores.energy), ("max-logit", scores.max_logit)):
        found, score = DeepEnsemble(paths, name)(networks[0], images)
        assert torch.allclose(found, logits.mean(0), atol=1e-6)
        assert torch.allclose(score, function(logits.mean(0)), atol=1e-6)
    module = scores.Energy(temperature=2)
    score = DeepEnsemble(paths, module)(networks[0], images)[1]
    assert torch.allclose(score, scores.energy(logits.mean(0), 2), atol=1e-6)


def test_copies_of_one_model_agree(tmp_path):
    network = toy_networks.dense()
    torch.save(network.module.state_dict(), tmp_path / "same.pth")
    images = toy_networks.images_and_labels(2)[0]
    logits, score = DeepEnsemble([tmp_path / "same.pth"], "mutual-information")(network, images)
    assert score.max() < 1e-6
    plain = network(images).logits
    assert torch.equal(logits.argmax(dim=1), plain.argmax(dim=1))
    energy = DeepEnsemble([tmp_path / "same.pth"], "energy")(network, images)[1]
    assert torch.allclose(energy, scores.energy(plain), atol=1e-6)


def test_the_order_of_the_checkpoints_does_not_matter(tmp_path):
    networks, paths = members(toy_networks.dense, tmp_path)
    images = toy_networks.images_and_labels(2)[0]
    one, other = (DeepEnsemble(order)(networks[0], images)[1] for order in (paths, paths[::-1]))
    assert torch.allclose(one, other, atol=1e-6)


def test_weights_are_restored_also_after_an_error(tmp_path):
    networks, paths = members(toy_networks.dense, tmp_path)
    network, images = networks[0], toy_networks.images_and_labels(2)[0]
    before = network.fingerprint()
    score = DeepEnsemble(paths)
    score(network, images)
    assert network.fingerprint() == before
    forward, calls = network._forward, []

    def failing(images):
        calls.append(images)
        if len(calls) == 3:
            raise RuntimeError("out of memory")
        return forward(images)

    network._forward = failing
    with pytest.raises(RuntimeError, match="out of memory"):
        score(network, images)
    assert network.fingerprint() == before
    assert not score.state_dict()


def test_bad_input(tmp_path):
    networks, paths = members(toy_networks.dense, tmp_path)
    images = toy_networks.images_and_labels(1)[0]
    for wrong in ([], str(paths[0])):
        with pytest.raises(ValueError, match=r"checkpoints.*(\[\]|\.pth)"):
            DeepEnsemble(wrong)
    with pytest.raises(ValueError, match=r"score.*mutual-information.*max-softmax.*'variance'"):
        DeepEnsemble(paths, "variance")
    with pytest.raises(FileNotFoundError, match=r"missing\.pth"):
        DeepEnsemble([tmp_path / "missing.pth"])
    torch.save(toy_networks.dense(channels=7).module.state_dict(), tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other\.pth"):
        DeepEnsemble([paths[0], tmp_path / "other.pth"])(networks[0], images)
    weights = networks[1].module.state_dict()
    torch.save({**weights, "auxiliary.weight": torch.zeros(1)}, tmp_path / "more.pth")
    score = DeepEnsemble([tmp_path / "more.pth"], allowed=["^auxiliary"])
    assert score(networks[0], images)[1].shape == (1, 4, 6)

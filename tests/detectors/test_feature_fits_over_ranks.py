"""Statistics of several processes equal those of one, even if a process had no image."""

import pytest
import torch
import toy_networks
from process_group import process_group, run_on_ranks

from ood_seg.detectors import EmbeddingDensity, NearestNeighbours, ReAct, VirtualLogit


def fits(images, labels):
    network = toy_networks.dense()
    fitters = (
        NearestNeighbours.fitter(bank_size=40),
        VirtualLogit.fitter(),
        ReAct.fitter(),
        EmbeddingDensity.fitter(layers=["0", "penultimate"], steps=2, hidden=8),
    )
    found = {}
    for fitter in fitters:
        for image, label in zip(images, labels, strict=True):
            fitter.update(network(image[None], fitter.layers), label[None], network)
        fitter.reduce()
        section = fitter.result()
        found[section.method] = section.tensors
    return found


def _rank(rank, ranks, path, counts):
    with process_group(rank, ranks, path):
        for count in counts:
            images, labels = toy_networks.images_and_labels(count, size=(64, 96))
            torch.save(fits(images[rank::ranks], labels[rank::ranks]), f"{path}/{count}-{rank}.pt")


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path):
    counts = (1, 5)
    run_on_ranks(_rank, 2, str(tmp_path), counts)
    for count in counts:
        expected = fits(*toy_networks.images_and_labels(count, size=(64, 96)))
        for rank in range(2):
            found = torch.load(tmp_path / f"{count}-{rank}.pt", weights_only=True)
            for method, tensors in expected.items():
                assert found[method].keys() == tensors.keys()
                for name, value in tensors.items():
                    if name == "null_space":  # the sign of an eigenvector is free
                        value, found[method][name] = (
                            one @ one.T for one in (value, found[method][name])
                        )
                    assert torch.allclose(found[method][name], value, atol=1e-4), (method, name)

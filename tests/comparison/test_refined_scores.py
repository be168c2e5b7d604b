"""A second, refined row for each score of a comparison."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

from ood_seg.comparison.measuring import Cost
from ood_seg.comparison.refined_scores import RefinedScores
from ood_seg.comparison.sources import Identity, Scored
from ood_seg.refinement import Evidence, Refinement


class TwoScores:
    names = ("first", "broken")

    @property
    def identities(self):
        return {name: Identity({"score": name}, []) for name in self.names}

    def scores(self, batch, names, *, memory):
        for name in names:
            if name == "broken":
                yield Scored(name, None, failure="no layer")
            else:
                yield Scored(name, batch["scores"], Cost(1.0, None))


@pytest.fixture
def batch(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "street.png"
    cv2.imwrite(str(path), rng.integers(0, 256, (20, 30, 3)).astype(np.uint8))
    scores = rng.normal(size=(20, 30)).astype(np.float32)
    return {"scores": scores, "data_samples": [SimpleNamespace(img_path=str(path))]}


def test_every_score_has_a_refined_row(batch):
    refinement = Refinement.of("segments")
    source = RefinedScores(TwoScores(), refinement)
    assert source.names == ("first", "broken", "first+segments", "broken+segments")
    assert source.identities["first+segments"].options["refinement"] == refinement.record()
    rows = {one.name: one for one in source.scores(batch, source.names, memory=False)}
    assert set(rows) == set(source.names)
    image = cv2.imread(batch["data_samples"][0].img_path)
    expected = refinement(batch["scores"], Evidence(image))
    np.testing.assert_array_equal(rows["first+segments"].scores, expected)
    np.testing.assert_array_equal(rows["first"].scores, batch["scores"])
    assert rows["first+segments"].cost.seconds > 1
    assert rows["broken"].failure == rows["broken+segments"].failure == "no layer"
    only = [one.name for one in source.scores(batch, ["first+segments"], memory=False)]
    assert only == ["first+segments"]


def test_a_step_without_its_evidence_fails_its_row_alone(batch):
    source = RefinedScores(TwoScores(), Refinement.of("slivers"))
    rows = {one.name: one for one in source.scores(batch, source.names, memory=False)}
    assert "slivers needs the labels" in rows["first+slivers"].failure
    assert rows["first"].scores is not None

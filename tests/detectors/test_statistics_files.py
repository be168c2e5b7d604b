"""Damaged statistics files: each mutation is refused in one line that names the entry."""

import json
import re

import pytest
import torch
from toy_networks import dense, fitted, images_and_labels, quick_fitter

from ood_seg.detectors import FITTED, FittedDetector, Statistics, StatisticsFile

# The section of each method, fitted on images with outliers and on two layers where supported.
NETWORK = dense()
SECTIONS = {
    method: fitted(quick_fitter(method), NETWORK, *images_and_labels(4, size=(32, 48))).methods[
        method
    ]
    for method in FITTED
}


def with_first(value):
    """The tensor as floats, with another first value."""

    def change(tensor):
        changed = tensor.to(torch.float32).clone(memory_format=torch.contiguous_format)
        changed.view(-1)[0] = value
        return changed

    return change


TENSOR_MUTATIONS = {
    "nan": with_first(torch.nan),
    "infinite": with_first(torch.inf),
    "negative infinity": with_first(-torch.inf),
    "complex": lambda tensor: tensor.to(torch.complex64),
    "double": lambda tensor: tensor.double(),
    "half": lambda tensor: tensor.half(),
    "truth values": lambda tensor: tensor.bool(),
    "bytes": lambda tensor: tensor.to(torch.uint8),
    "sparse": lambda tensor: tensor.reshape(1, -1).to_sparse(),
    "one number": lambda tensor: tensor.sum() if tensor.ndim else tensor[None],
    "another axis": lambda tensor: tensor[None],
    "empty": lambda tensor: tensor.new_zeros([0] * max(tensor.ndim, 1)),
    "text": lambda tensor: "1.0",
    "nothing": lambda tensor: None,
    "list": lambda tensor: tensor.tolist(),
}
CASES = [
    (method, name, kind)
    for method, section in SECTIONS.items()
    for name in section.tensors
    for kind in TENSOR_MUTATIONS
]


def saved(path, section, **described):
    """A file of one section, as `save` writes it, with other entries of its description."""
    description = {
        "schema": "ood_seg.statistics/1",
        "fingerprint": None,
        "classes": [],
        "facts": {},
        "options": {section.method: section.options},
        **described,
    }
    tensors = {f"{section.method}/{name}": value for name, value in section.tensors.items()}
    torch.save({"description": json.dumps(description), "tensors": tensors}, path)
    return path


def refused(path, method):
    """The message with which a score refuses the file."""
    with pytest.raises(ValueError, match=path.name) as error:
        FITTED[method](path)
    message = str(error.value)
    assert "\n" not in message
    assert "ood-seg fit" in message
    return message


def test_there_are_many_mutations():
    assert len(CASES) > 400


@pytest.mark.parametrize("method", FITTED)
def test_sections_are_declared_and_accepted_as_written(method, tmp_path):
    assert FITTED[method].entries
    FITTED[method](saved(tmp_path / "sound.stats", SECTIONS[method]))


@pytest.mark.parametrize("method", FITTED)
def test_mutated_tensors_are_refused(method, tmp_path):
    section = SECTIONS[method]
    for _, name, kind in (case for case in CASES if case[0] == method):
        changed = {**section.tensors, name: TENSOR_MUTATIONS[kind](section.tensors[name])}
        path = saved(tmp_path / "mutated.stats", Statistics(method, changed, section.options))
        message = refused(path, method)
        assert f"{method}/{name}" in message or f"'{name}'" in message, (name, kind, message)


@pytest.mark.parametrize("method", FITTED)
def test_missing_and_undeclared_tensors_are_refused(method, tmp_path):
    section = SECTIONS[method]
    for name in section.tensors.keys() - ({"counts"} if method == "sml" else set()):
        others = {key: value for key, value in section.tensors.items() if key != name}
        path = saved(tmp_path / "missing.stats", Statistics(method, others, section.options))
        assert f"'{name}' is missing" in refused(path, method)
    for name in ("forward", "training", "others"):
        more = {**section.tensors, name: torch.ones(2)}
        path = saved(tmp_path / "more.stats", Statistics(method, more, section.options))
        assert f"'{name}' is not one of" in refused(path, method)


@pytest.mark.parametrize(
    ("method", "name", "change", "message"),
    [
        ("sml", "std", with_first(0), "above 0"),
        ("sml", "std", lambda tensor: -tensor, "at least 0"),
        ("sml", "mean", lambda tensor: tensor[:-1], r"shape \(C=4\), got \(3,\)"),
        ("kl-matching", "posteriors", with_first(-0.5), "at least 0, got -0.5"),
        ("kl-matching", "posteriors", lambda tensor: tensor[:-1], r"C=4, C=4\), got \(3, 4\)"),
        ("kl-matching", "counts", lambda tensor: tensor * 0, "not be 0 everywhere"),
        ("kl-matching", "counts", lambda tensor: -tensor, "at least 0"),
        ("mahalanobis", "means_1", lambda tensor: tensor[:-1], "'means_1'.*shape"),
        ("mahalanobis", "whitening_0", lambda tensor: tensor[:, :-1], "shape"),
        ("mahalanobis", "weights", lambda tensor: tensor[:-1], r"L=2\), got \(1,\)"),
        ("vim", "alpha", lambda tensor: -tensor, "at least 0"),
        ("vim", "null_space", lambda tensor: tensor[:-1], "shape"),
        ("react", "percentiles", lambda tensor: tensor.flip(0), "never fall"),
        ("react", "percentiles", lambda tensor: tensor[::10].contiguous(), "1001"),
        ("openmax", "scales", with_first(0), "above 0"),
        ("openmax", "centres", lambda tensor: tensor[:, :-1].contiguous(), "C=4, C=4"),
        ("gmm", "whitening", lambda tensor: tensor[:, :-1].contiguous(), r"C=4, D=6, D=6"),
        ("dice", "weight", lambda tensor: tensor[:-1], r"C=4, D=6\), got \(3, 6\)"),
        ("temperature-scaling", "temperature", lambda tensor: -tensor, "at least 0"),
        ("weighted-energy", "weights", with_first(0), "above 0"),
        ("flow", "flow_1", lambda tensor: tensor[:-1], "weights"),
        ("flow", "matrix_0", lambda tensor: tensor[:, :-1].contiguous(), "'flow_0'.*components"),
    ],
)
def test_values_and_shapes_that_do_not_fit(method, name, change, message, tmp_path):
    section = SECTIONS[method]
    changed = {**section.tensors, name: change(section.tensors[name])}
    path = saved(tmp_path / "unfit.stats", Statistics(method, changed, section.options))
    assert re.search(message, refused(path, method))


@pytest.mark.parametrize(
    ("method", "option", "value"),
    [
        *(
            (method, "layers", value)
            for method in ("mahalanobis", "relative-mahalanobis", "multi-mahalanobis", "flow")
            for value in (None, "0", [], [0, 1], ["0", "0"], {"0": 1}, ["0"])
        ),
        *(("knn", "layer", value) for value in (None, 3, "", ["0"])),
        *(
            ("flow", option, value)
            for option in ("couplings", "hidden")
            for value in (None, 0, -1, 2.5, True, "6", 10**9, 10**30)
        ),
        *(("vim", "dimensions", value) for value in (None, 0, "3", 1.5)),
    ],
)
def test_mutated_options_are_refused(method, option, value, tmp_path):
    section = SECTIONS[method]
    options = {**section.options, option: value}
    path = saved(tmp_path / "options.stats", Statistics(method, section.tensors, options))
    message = refused(path, method)
    fewer_layers = value == ["0"] and option == "layers"
    assert f"'{option}'" in message or fewer_layers or "'flow_0'" in message
    del options[option]
    path = saved(tmp_path / "options.stats", Statistics(method, section.tensors, options))
    assert f"'{option}' is missing" in refused(path, method)


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("schema", "ood_seg.statistics/2"),
        ("schema", None),
        ("fingerprint", 3),
        ("fingerprint", ["a"]),
        ("classes", None),
        ("classes", "road"),
        ("classes", {"road": 0}),
        ("classes", [0, 1, 2, 3]),
        ("facts", None),
        ("facts", "erfnet"),
        ("facts", [1]),
        ("options", None),
        ("options", ["sml"]),
        ("options", {"sml": None}),
        ("options", {"sml": [1]}),
        ("options", {}),
    ],
)
def test_mutated_descriptions_are_refused(entry, value, tmp_path):
    path = saved(tmp_path / "described.stats", SECTIONS["sml"], **{entry: value})
    message = refused(path, "sml")
    assert entry in message or (value == {} and "sml" in message)


def test_a_number_of_classes_that_is_not_that_of_the_names_is_refused(tmp_path):
    names = [f"class {index}" for index in range(3)]
    path = saved(tmp_path / "names.stats", SECTIONS["kl-matching"], classes=names)
    assert "'counts' must have the shape (C=3), got (4,)" in refused(path, "kl-matching")


@pytest.mark.parametrize(
    "content",
    [
        {"description": 3, "tensors": {}},
        {"description": "[" * 100_000, "tensors": {}},
        {"description": '{"options": ' + "[" * 100_000, "tensors": {}},
        {"description": "{}", "tensors": {}},
    ],
)
def test_descriptions_of_another_kind_are_refused(content, tmp_path):
    path = tmp_path / "kind.stats"
    torch.save(content, path)
    assert "description" in refused(path, "sml")


@pytest.mark.parametrize("tensors", [None, [], "mean", torch.ones(2), {"mean": torch.ones(4)}, {}])
def test_tensors_of_another_kind_are_refused(tensors, tmp_path):
    path = saved(tmp_path / "kind.stats", SECTIONS["sml"])
    content = torch.load(path)
    torch.save({**content, "tensors": tensors}, path)
    message = refused(path, "sml")
    assert "'tensors'" in message or "'mean'" in message


class Own(FittedDetector):
    """A score of a user, who declares nothing."""

    method = "own"

    def forward(self, outputs, network):
        """Nothing to compute."""


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.tensor([1.0, torch.nan]), "'bank' must be finite"),
        (torch.ones(2, dtype=torch.complex64), "'bank' must be.*real"),
        (torch.ones(2, 2).to_sparse(), "'bank' must be.*sparse"),
    ],
)
def test_undeclared_sections_hold_finite_real_tensors(value, message):
    Own(StatisticsFile({"own": Statistics("own", {"bank": torch.ones(2, dtype=torch.float64)})}))
    with pytest.raises(ValueError, match=message):
        Own(StatisticsFile({"own": Statistics("own", {"bank": value})}))

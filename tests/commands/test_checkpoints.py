"""Checkpoints: data only, and only of the model they are loaded into."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from ood_seg.apis import check_matches, load_checkpoint, load_weights
from ood_seg.checkpoints import safe_globals, secure_loading


class Harm:
    """Writes a file when it is unpickled."""

    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return (open, (self.target, "w"))


def model(width: int = 4) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width))


def test_weights_come_back_from_both_layouts_and_from_data_parallel(tmp_path):
    weights = model().state_dict()
    parallel = {f"module.{key}": value for key, value in weights.items()}
    for name, content in {
        "bare.pth": weights,
        "entry.pth": {"state_dict": weights, "meta": {"epoch": 3}},
        "parallel.pth": {"state_dict": parallel},
    }.items():
        torch.save(content, tmp_path / name)
        loaded = load_weights(tmp_path / name)
        assert list(loaded) == list(weights)
        assert all(torch.equal(loaded[key], weights[key]) for key in weights)


def test_pickled_code_is_refused_and_not_run(tmp_path):
    path, target = tmp_path / "harm.pth", tmp_path / "written"
    torch.save({"state_dict": model().state_dict(), "extra": Harm(target)}, path)
    with pytest.raises(ValueError, match=r"harm\.pth.*pickled code.*state_dict"):
        load_weights(path)
    assert not target.exists()


def test_whole_models_are_refused_with_the_remedy(tmp_path):
    torch.save(model(), tmp_path / "model.pth")
    with pytest.raises(ValueError, match=r"model\.state_dict\(\)"):
        load_weights(tmp_path / "model.pth")


def test_missing_damaged_and_foreign_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.pth"):
        load_weights(tmp_path / "none.pth")
    torch.save(model().state_dict(), tmp_path / "whole.pth")
    content = (tmp_path / "whole.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"cut\.pth.*readable"):
        load_weights(tmp_path / "cut.pth")
    (tmp_path / "text.pth").write_text("learning rate 0.1\n")
    with pytest.raises(ValueError, match=r"text\.pth.*torch"):
        load_weights(tmp_path / "text.pth")
    (tmp_path / "empty.pth").write_bytes(b"")
    with pytest.raises(ValueError, match=r"empty\.pth"):
        load_weights(tmp_path / "empty.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ValueError, match=r"list\.pth holds a list"):
        load_weights(tmp_path / "list.pth")
    torch.save({"meta": {"epoch": 1}}, tmp_path / "bare.pth")
    with pytest.raises(ValueError, match=r"holds no weights.*'meta'"):
        load_weights(tmp_path / "bare.pth")


def test_what_a_training_checkpoint_holds_is_allowed(tmp_path):
    history = pytest.importorskip("mmengine.logging").HistoryBuffer([1.0, 2.0], [1, 1])
    content = {
        "state_dict": model().state_dict(),
        "message_hub": {"log_scalars": {"train/loss": history}, "iter": np.int64(7)},
        "meta": {
            "mean": np.arange(3, dtype=np.float32),
            "flag": np.bool_(True),
            "half": np.float16(0.5),
        },
    }
    torch.save(content, tmp_path / "iter_7.pth")
    loaded = load_checkpoint(tmp_path / "iter_7.pth")
    assert loaded["message_hub"]["iter"] == 7
    buffer = loaded["message_hub"]["log_scalars"]["train/loss"]
    assert buffer.mean() == 1.5
    np.testing.assert_array_equal(loaded["meta"]["mean"], [0.0, 1.0, 2.0])


def test_loading_does_not_change_the_allow_list(tmp_path):
    torch.save(model().state_dict(), tmp_path / "a.pth")
    torch.serialization.add_safe_globals([np.ndarray])
    before = set(torch.serialization.get_safe_globals())
    load_checkpoint(tmp_path / "a.pth")
    assert set(torch.serialization.get_safe_globals()) == before


def test_getattr_reads_statistics_and_nothing_else():
    history_buffer = pytest.importorskip("mmengine.logging").HistoryBuffer
    allowed = {name: function for function, name in pairs(safe_globals())}
    read = allowed["builtins.getattr"]
    assert read(history_buffer, "mean") is history_buffer.mean
    for target, name in ((history_buffer, "__init__"), (torch, "load"), (dict, "mean")):
        with pytest.raises(pickle.UnpicklingError):
            read(target, name)


def pairs(allowed):
    return [entry for entry in allowed if isinstance(entry, tuple)]


def test_getattr_in_a_file_is_refused(tmp_path):
    pytest.importorskip("mmengine")

    class Reads:
        def __reduce__(self):
            return (getattr, (torch.Tensor, "__reduce__"))

    torch.save({"state_dict": model().state_dict(), "x": Reads()}, tmp_path / "reads.pth")
    with pytest.raises(ValueError, match="refused"):
        load_checkpoint(tmp_path / "reads.pth")


def test_mmengine_refuses_too_instead_of_falling_back(tmp_path):
    checkpoint = pytest.importorskip("mmengine.runner.checkpoint")
    secure_loading()
    target = tmp_path / "written"
    torch.save({"x": Harm(target)}, tmp_path / "harm.pth")
    with pytest.raises(ValueError, match=r"harm\.pth.*pickled code"):
        checkpoint.CheckpointLoader.load_checkpoint(str(tmp_path / "harm.pth"), "cpu")
    # Even a call that asks for it in so many words.
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "harm.pth", weights_only=False)
    assert not target.exists()


def test_matching_weights_pass():
    check_matches(model(), model().state_dict())
    old = {k: v for k, v in model().state_dict().items() if "num_batches" not in k}
    check_matches(model(), old)


def test_another_model_is_refused_with_counts_and_keys():
    state = model().state_dict()
    state["0.weight"] = torch.zeros(8, 3, 3, 3)
    state["head.bias"] = state.pop("1.bias")
    with pytest.raises(ValueError) as caught:
        check_matches(model(), state, origin="x.pth")
    message = str(caught.value)
    assert message.startswith("x.pth belongs to another model: of 7 weights of Sequential")
    assert "1 missing (1.bias)" in message
    assert "1 unexpected (head.bias)" in message
    assert "1 of another shape (0.weight (8, 3, 3, 3) for (4, 3, 3, 3))" in message


def test_long_lists_are_shortened_but_counted():
    with pytest.raises(ValueError, match=r"6 missing \((?:[\w.]+, ){5}\.\.\.\)"):
        check_matches(nn.Sequential(*(nn.Linear(1, 1) for _ in range(3))), {})


def test_weights_that_are_not_finite_are_refused(tmp_path):
    weights = model().state_dict()
    weights["0.bias"][2] = float("inf")
    torch.save(weights, tmp_path / "diverged.pth")
    with pytest.raises(ValueError, match=r"diverged\.pth.*0\.bias.*NaN or infinite"):
        load_weights(tmp_path / "diverged.pth")
    load_checkpoint(tmp_path / "diverged.pth")  # can still be inspected


def test_allowed_keys_may_differ():
    state = model().state_dict()
    state["auxiliary_head.weight"] = torch.zeros(1)
    with pytest.raises(ValueError, match=r"1 unexpected \(auxiliary_head\.weight\)"):
        check_matches(model(), state)
    check_matches(model(), state, allowed=["^auxiliary_head"])


def test_harm_works_where_pickle_is_trusted(tmp_path):
    # The control of the tests above: the same object does write its file.
    pickle.load(io.BytesIO(pickle.dumps(Harm(tmp_path / "written")))).close()
    assert (tmp_path / "written").exists()

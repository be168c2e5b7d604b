"""Hook that decides which learning-rate schedule a resumed run follows."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from mmengine.hooks import Hook
from mmengine.runner import Runner

Choice = Literal["config", "checkpoint"]
CHOICES: tuple[Choice, ...] = ("config", "checkpoint")

# Where a schedule stands, in contrast to what it is.
_PROGRESS = ("last_step", "_global_step", "_last_value", "verbose")
# Derived from other entries of the state.
_DERIVED = ("total_iters", "base_values")


class ResumedSchedule(Hook):
    """Compares the schedule in a checkpoint with the config's, and takes the chosen one.

    mmengine restores the schedule of the checkpoint and never looks at the config's: after its end
    the last learning rate stays, often 0. A changed `lr` of the config is not looked at either.

    Args:
        choice: `config`, from the iteration on that the checkpoint has reached; `checkpoint`; or
            None, which refuses to choose where the two differ.

    Raises:
        ValueError: the schedules differ and none is chosen, or the chosen one cannot be taken;
            when the checkpoint is loaded.
    """

    priority = "HIGH"  # after the guard of checkpoints

    def __init__(self, choice: Choice | None = None) -> None:
        if choice is not None and choice not in CHOICES:
            raise ValueError(f"resume_schedule must be {' or '.join(CHOICES)}, got {choice!r}")
        self.choice = choice

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Compare both schedules; put the config's into the checkpoint if that was chosen."""
        own, saved = runner.param_schedulers or [], checkpoint.get("param_schedulers") or []
        # Dicts are those of several optimizers, which no segmentor here has.
        if not runner._resume or isinstance(own, dict) or isinstance(saved, dict):
            return
        states = [scheduler.state_dict() for scheduler in own]
        groups, saved_groups = list(runner.optim_wrapper.param_groups), _saved_groups(checkpoint)
        rates, saved_rates = _initial_rates(groups), _initial_rates(saved_groups)
        sizes, saved_sizes = _sizes(groups), _sizes(saved_groups)
        if saved_groups and sizes != saved_sizes:
            raise ValueError(
                f"the checkpoint's optimizer has {sum(saved_sizes)} parameters in "
                f"{len(saved_sizes)} groups, the config's {sum(sizes)} in "
                f"{len(sizes)}; resume with the freezing and paramwise_cfg of the "
                "interrupted run, or start from its weights: load_from, without --resume"
            )
        if _essence(states) == _essence(saved) and saved_rates in (rates, []):
            return
        both = (
            f"the config's is {described(states, rates)}, "
            f"the checkpoint's is {described(saved, saved_rates)}"
        )
        if self.choice is None:
            raise ValueError(
                f"the config's learning-rate schedule is not that of the checkpoint: {both}. "
                "Choose one with --resume-schedule config|checkpoint; the checkpoint's keeps its "
                "last learning rate after its end"
            )
        if self.choice == "config":
            _advance(own, iterations=checkpoint["meta"]["iter"], epochs=checkpoint["meta"]["epoch"])
            checkpoint["param_schedulers"] = [scheduler.state_dict() for scheduler in own]
            _copy_scheduled(groups, saved_groups, {"lr", *(s.param_name for s in own)})
        elif [set(state) for state in states] != [set(state) for state in saved]:
            raise ValueError(
                f"the checkpoint's schedule has other parts than the config's, so it cannot be "
                f"continued: {both}. Take --resume-schedule config"
            )
        runner.logger.warning(
            f"Resumed with the learning-rate schedule of the {self.choice}: {both}"
        )

    def before_train(self, runner: Runner) -> None:
        """Name the iterations that the schedule of the learning rate does not reach."""
        schedulers = runner.param_schedulers
        rates = [s for s in schedulers if s.param_name == "lr"] if schedulers else []
        if not isinstance(schedulers, list) or not rates:
            return
        by_epoch = rates[-1].by_epoch
        end = max(scheduler.end for scheduler in rates if scheduler.by_epoch == by_epoch)
        length = runner.max_epochs if by_epoch else runner.max_iters
        if end < length:
            unit = "epoch" if by_epoch else "iteration"
            runner.logger.warning(
                f"The learning-rate schedule ends at {unit} {end} of {length}: "
                "what follows keeps its last learning rate, 0 for a decay without eta_min"
            )


def _essence(states: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What the schedules are, without where they stand."""
    return [{k: v for k, v in state.items() if k not in _PROGRESS} for state in states]


def _saved_groups(checkpoint: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Parameter groups of the optimizer in a checkpoint, in the order of `param_groups`."""
    optimizer = checkpoint.get("optimizer") or {}
    base = optimizer.get("base_param_settings")
    return [*optimizer.get("param_groups", ()), *([] if base is None else [base])]


def _initial_rates(groups: Sequence[Mapping[str, Any]]) -> list[float]:
    return [float(group.get("initial_lr", group["lr"])) for group in groups]


def _sizes(groups: Sequence[Mapping[str, Any]]) -> list[int]:
    """Number of parameters in each group."""
    return [len(group.get("params", ())) for group in groups]


def described(states: Sequence[Mapping[str, Any]], rates: Sequence[float]) -> str:
    """Return schedulers in words.

    Args:
        states: of the schedulers.
        rates: initial learning rates of the groups of parameters.
    """
    listed = " and ".join(f"{rate:g}" for rate in sorted(set(rates)))
    parts = " then ".join(map(_one_described, states)) or "constant"
    return f"lr {listed}, {parts}"


def _one_described(state: Mapping[str, Any]) -> str:
    unit = "epochs" if state.get("by_epoch") else "iterations"
    named = ("param_name", "begin", "end", "by_epoch", *_PROGRESS, *_DERIVED)
    options = ", ".join(f"{key} {value}" for key, value in state.items() if key not in named)
    of = "" if state.get("param_name") == "lr" else f"{state.get('param_name')} "
    return f"{of}over {unit} {state.get('begin')} to {state.get('end')} ({options})"


def _advance(schedulers: Sequence[Any], *, iterations: int, epochs: int) -> None:
    """Step schedulers that have just been built as training would have done by then.

    Raises:
        ValueError: one of them follows a metric.
    """
    if any(getattr(scheduler, "need_val_args", False) for scheduler in schedulers):
        raise ValueError(
            "--resume-schedule config: a schedule that follows a metric cannot be recomputed; "
            "take --resume-schedule checkpoint"
        )
    epoch_length = iterations // epochs if epochs else iterations + 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the schedulers are ahead of the optimizer
        for iteration in range(1, iterations + 1):
            ends_epoch = iteration % epoch_length == 0
            for scheduler in schedulers:
                if ends_epoch or not scheduler.by_epoch:
                    scheduler.step()


def _copy_scheduled(
    groups: Sequence[Mapping[str, Any]], saved_groups: Sequence[dict[str, Any]], names: set[str]
) -> None:
    """Copy what schedulers set, and where they started, into the groups of a checkpoint."""
    names = names | {f"initial_{name}" for name in names}
    for group, saved in zip(groups, saved_groups, strict=False):
        saved.update({name: copy.copy(group[name]) for name in names if name in group})

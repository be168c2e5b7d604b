"""Two networks with common modules, run so that what they have in common is computed once.

```
first run:   images -> module -> function -> module -> own module ---------> first result
                         |          |          |
               outputs, remembered by the module or function and its inputs
                         |          |          |
second run:  images -> module -> function -> module -> copy of the module -> second result
```

A module without a copied part is one step: its output is remembered, not what lies inside it.
Modules on the way to a copied part run their own `forward`, and the functions that it calls
(`torch.cat`, an interpolation) are remembered one by one. The second run takes a remembered output
where the inputs are the very same tensors, unchanged, so nothing has to be known about the network.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

First = TypeVar("First")
Second = TypeVar("Second")
Module = TypeVar("Module", bound=nn.Module)


def with_copies(network: Module, copies: Mapping[str, nn.Module]) -> Module:
    """A network in which some modules are replaced; the original is left as it is.

    All other modules are those of the original, parameters and hooks included, except that the
    modules on the way to a replaced one are shallow copies.

    Args:
        network: any module.
        copies: modules by the dotted name of what they replace.
    """
    return _rebuilt(network, "", copies, lambda module: module, lambda _, copy: copy)


def run_both(
    network: Module,
    copies: Mapping[str, nn.Module],
    first: Callable[[Module], First],
    second: Callable[[Module], Second],
    layers: Sequence[str] = (),
) -> tuple[First, Second]:
    """Run a network and its counterpart `with_copies`; common steps run once.

    In inference mode, in which torch does not record whether a tensor was changed, all steps run
    twice.

    Args:
        network: any module. Its modules must not change their inputs where it is avoidable:
            what a changed tensor was made from is computed again (see `without_inplace`).
        copies: see `with_copies`.
        first: called with the network. What lies behind the copied parts is not remembered.
        second: called with the counterpart, after that.
        layers: names of modules whose hooks have to see their outputs in both runs; they are not
            inside a step.

    Returns:
        The results of both. Where no copied part was used, the tensors of the second are those of
        the first.
    """
    memory = _Memory()

    def step(module: nn.Module) -> nn.Module:
        return _stand_in(module, memory.remembering(module))

    def own_part(module: nn.Module, _: nn.Module) -> nn.Module:
        return _stand_in(module, memory.unseen(module))

    def copied_part(_: nn.Module, module: nn.Module) -> nn.Module:
        part = shallow_copy(module)  # keeps what its own forward stores
        part.__dict__["forward"] = memory.unseen(partial(type(module).forward, part))
        return part

    network_in_steps = _rebuilt(network, "", copies, step, own_part, layers)
    counterpart = _rebuilt(network, "", copies, step, copied_part, layers)
    try:
        with memory:
            found = first(network_in_steps)
        memory.is_replayed = True
        with memory:
            return found, second(counterpart)
    finally:
        # A copied part refers to itself, so what it reaches stays until a garbage collection.
        memory.clear()


def without_inplace(module: nn.Module) -> None:
    """Let activations write their results to new memory; the values stay the same, bit for bit."""
    for layer in module.modules():
        if getattr(layer, "inplace", False) is True:
            vars(layer)["inplace"] = False


def _rebuilt(
    module: Any,
    name: str,
    copies: Mapping[str, nn.Module],
    step: Callable[[nn.Module], nn.Module],
    replaced: Callable[[nn.Module, nn.Module], nn.Module],
    layers: Sequence[str] = (),
) -> Any:
    """A module whose parts are steps and replaced parts; no layer lies inside a step."""
    module = _itself(module)
    if name in copies:
        return _in_place_of(module, copies[name], replaced)
    inside = f"{name}." if name else ""
    is_entered = any(other.startswith(inside) for other in (*copies, *layers))
    # A list of modules is not called, so its entries are the steps.
    is_step = not is_entered and type(module).forward is not nn.Module.forward
    rebuilt = step(module) if is_step else shallow_copy(module)
    if rebuilt is module or (is_step and not isinstance(module, nn.Sequential)):
        return rebuilt  # a sequence may be called, or its entries one by one
    rebuilt._modules = {
        key: child
        if child is None
        else _rebuilt(child, f"{inside}{key}", copies, step, replaced, layers)
        for key, child in module._modules.items()
    }
    return rebuilt


def _in_place_of(
    module: nn.Module, copy: nn.Module, replaced: Callable[[nn.Module, nn.Module], nn.Module]
) -> nn.Module:
    """What replaces a copied part; of a list of modules, which is not called, each entry."""
    module, copy = _itself(module), _itself(copy)
    part = replaced(module, copy)
    if type(module).forward is not nn.Module.forward or not module._modules:
        return part
    part = shallow_copy(part)
    part._modules = {
        key: child if child is None else _in_place_of(child, copy.get_submodule(key), replaced)
        for key, child in module._modules.items()
    }
    return part


def shallow_copy(module: Module) -> Module:
    """A module with the same attributes, parameters, submodules and hooks."""
    module = _itself(module)
    copied = type(module).__new__(type(module))
    copied.__dict__.update(module.__dict__)
    return copied


def without_part(module: Module, name: str) -> Module:
    """A shallow copy of a module, of which one submodule is None."""
    copied = shallow_copy(module)
    copied._modules = {**copied._modules, name: None}
    return copied


def _itself(module: Module) -> Module:
    """The module, where torch.export hands out an object that only resembles it."""
    get_base = getattr(module, "get_base", None)
    return module if get_base is None else get_base()


def _stand_in(module: Module, forward: Callable[..., Any]) -> Module:
    """A module that looks like another one and calls a function instead; it has hooks of its own.

    The hooks of the other one run when the function calls it.
    """
    copied = shallow_copy(module)
    for name, value in vars(module).items():
        if "_hooks" in name and isinstance(value, dict):
            copied.__dict__[name] = OrderedDict()
    copied.__dict__["forward"] = forward
    return copied


class _Result(NamedTuple):
    """Output of a step, the versions of its tensors, and the inputs, kept so that no id recurs."""

    output: Any
    versions: tuple[int, ...]
    inputs: Any


class _Memory(TorchFunctionMode):
    """Remembers steps while `is_replayed` is false, and returns them afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.is_replayed = False
        # Equal steps in order: two tensors of the first run are two in the second, too.
        self._results: defaultdict[tuple, deque[_Result]] = defaultdict(deque)

    def clear(self) -> None:
        """Forget all steps."""
        self._results.clear()

    def remembering(self, module: nn.Module) -> Callable[..., Any]:
        """A function that calls a module, or returns what it returned before."""
        return self.unseen(lambda *args, **kwargs: self._step(module, module, args, kwargs))

    def unseen(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, inside of which no other function is remembered."""

        def unseen_call(*args: Any, **kwargs: Any) -> Any:
            # The mode is left, because some functions choose another implementation inside one.
            self.__exit__(None, None, None)
            try:
                return call(*args, **kwargs)
            finally:
                self.__enter__()

        return unseen_call

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Remember a function that is called between modules."""
        return self._step(func, func, args, kwargs or {})

    def _step(self, what: Any, call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        tensors = list(_tensors((args, kwargs)))
        if not tensors or any(tensor.is_inference() for tensor in tensors):
            return call(*args, **kwargs)
        key = (what, torch.is_grad_enabled(), _key(args), _key(kwargs))
        if self.is_replayed and self._results[key]:
            known = self._results[key].popleft()
            if known.versions == _versions(known.output):
                return known.output
        output = call(*args, **kwargs)
        if not self.is_replayed and any(True for _ in _tensors(output)):
            self._results[key].append(_Result(output, _versions(output), (args, kwargs)))
        return output


def _tensors(value: Any) -> Iterator[Tensor]:
    """The tensors in nested sequences and mappings."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for one in value:
            yield from _tensors(one)
    elif isinstance(value, Mapping):
        yield from _tensors(list(value.values()))


def _versions(value: Any) -> tuple[int, ...]:
    return tuple(tensor._version for tensor in _tensors(value))


def _key(value: Any) -> Any:
    """What two arguments have in common exactly if a step gives the same output for both."""
    if isinstance(value, Tensor):
        return (id(value), value._version, value.requires_grad)
    if isinstance(value, (tuple, list)):
        return (tuple, *map(_key, value))
    if isinstance(value, Mapping):
        return (dict, *((name, _key(one)) for name, one in value.items()))
    if isinstance(value, slice):
        return (slice, _key(value.start), _key(value.stop), _key(value.step))
    if isinstance(value, torch.SymInt):
        return (torch.SymInt, str(value))
    if value is None or isinstance(value, (bool, int, float, str, torch.dtype, torch.device)):
        return (type(value), value)
    return (type(value), id(value))

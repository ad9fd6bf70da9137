"""Any PyTorch module as a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import FunctionType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pdlib.specs import Index, Model, Parameters, Task, require

EXAMPLES_AT_ONCE = 4096


@dataclass(frozen=True)
class TorchModel(Model):
    """The network that a function of one's own makes; its code, and all that it uses, decides results.

    It takes inputs (example, n_inputs) and returns logits (example, n_classes). It is trained in its training mode, like any
    other, and predicts in its evaluation mode. Parameters are named as in its `state_dict`, running averages
    among them. Initial ones are drawn by PyTorch's own generator, so they may differ between its versions.

    Parameters
    ----------
    factory
        A function, or a class, of `n_inputs` and `n_classes` that returns a `torch.nn.Module`.
    n_inputs, n_classes
        d and C, set for the task by the training or teacher that holds the model.

    Examples
    --------
    >>> def linear(n_inputs, n_classes):
    ...     return nn.Linear(n_inputs, n_classes)
    >>> model = TorchModel(linear, n_inputs=3, n_classes=2)
    >>> parameters = model.initial(3, 2, seed=0)
    >>> {name: array.shape for name, array in parameters.items()}, model.multiply_adds(3, 2)
    ({'weight': (2, 3), 'bias': (2,)}, 6.0)
    >>> model.logits(parameters, np.zeros((5, 3))).shape
    (5, 2)
    """

    factory: Callable[[int, int], nn.Module]
    n_inputs: Index = 0  # d
    n_classes: Index = 0  # C
    dropout = True  # it may draw random numbers while it is trained

    def __post_init__(self) -> None:
        super().__post_init__()
        function = isinstance(self.factory, (FunctionType, type))
        require(function, f"factory = {self.factory!r}", "a function of n_inputs and n_classes, or a class")

    def __repr__(self) -> str:
        return f"TorchModel({self.factory.__name__})"

    def for_task(self, task: Task) -> TorchModel:
        """Return this model with the sizes of the task."""
        return replace(self, n_inputs=task.n_inputs, n_classes=task.n_classes)

    def check(self, task: Task) -> None:
        """Raise `SpecError` if the task's inputs are sequences of tokens."""
        require(
            task.vocabulary == 0, f"a TorchModel for {task}", "a Transformer, since its inputs are sequences"
        )

    def initial(self, n_inputs: int, n_classes: int, seed: int) -> Parameters:
        """Return what the module holds when it is made under this seed; floating-point numbers as float64."""
        state = self._made(n_inputs, n_classes, seed).state_dict()
        return {
            name: (value.double() if value.is_floating_point() else value).numpy().copy()
            for name, value in state.items()
        }

    def module(self, parameters: Parameters) -> nn.Module:
        """Return the module with copies of these parameters, in their precision."""
        require(self.n_inputs > 0, repr(self), "a model that knows its task", "Take that of a training.")
        state = {name: torch.tensor(value) for name, value in parameters.items()}
        dtype = next((v.dtype for v in state.values() if v.is_floating_point()), torch.float32)
        module = self._made(self.n_inputs, self.n_classes, 0).to(dtype)
        module.load_state_dict(state)
        return module

    def logits(self, parameters: Parameters, inputs: NDArray[Any], device: str = "cpu") -> NDArray[Any]:
        """Return the outputs (example, class) for inputs (example, n_inputs)."""
        module = self.module(parameters).to(device).eval()
        dtype = next((p.dtype for p in module.parameters()), torch.float32)
        with torch.no_grad():
            parts = [
                module(torch.tensor(inputs[i : i + EXAMPLES_AT_ONCE]).to(device, dtype)).cpu().numpy()
                for i in range(0, len(inputs), EXAMPLES_AT_ONCE)
            ]
        values = np.concatenate(parts)
        expected = (len(inputs), self.n_classes)
        require(values.shape == expected, f"{self!r}: outputs of shape {values.shape}", f"{expected}")
        return values

    def multiply_adds(self, n_inputs: int, n_classes: int) -> float:
        """Those of the matrix products and convolutions of one example, as PyTorch counts them."""
        module = self._made(n_inputs, n_classes, 0).eval()
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            module(torch.zeros(1, n_inputs))
        return float(counter.get_total_flops() / 2)

    def _made(self, n_inputs: int, n_classes: int, seed: int) -> nn.Module:
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            module = self.factory(n_inputs, n_classes)
        what = f"{self!r} made a {type(module).__name__}"
        require(isinstance(module, nn.Module), what, "a torch.nn.Module")
        return module.float()

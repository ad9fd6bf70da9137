"""One-hidden-layer ReLU network (paper, C.1): Linear, ReLU, Linear, both with bias."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pdlib.specs import Count, Model, Parameters, Task, require

# A tile of the hidden layer, (examples, units): on a CPU it stays in a core's cache between its product and its ReLU,
# twice as fast at width 50,000 as one product over all units; a GPU wants few large ones.
TILE = {"cpu": (512, 1024), "cuda": (4096, 16384)}


@dataclass(frozen=True)
class MLP(Model):
    r"""Linear-ReLU-Linear with m hidden units.

    .. math:: f(x) = A \, \mathrm{relu}(W x + b) + c

    Parameters are a dictionary with the keys of `torch.nn.Sequential(Linear, ReLU, Linear)`:
    `0.weight` (m, d), `0.bias` (m,), `2.weight` (C, m), `2.bias` (C,).

    Examples
    --------
    >>> parameters = MLP(width=4).initial(n_inputs=3, n_classes=2, seed=0)
    >>> {name: array.shape for name, array in parameters.items()}
    {'0.weight': (4, 3), '0.bias': (4,), '2.weight': (2, 4), '2.bias': (2,)}
    """

    version: ClassVar[int] = 1
    width: Count  # m

    def initial(self, n_inputs: int, n_classes: int, seed: int) -> Parameters:
        r"""Return initial parameters, float64, distributed as PyTorch's `Linear` default.

        Weights and biases of a layer are uniform on :math:`\pm 1 / \sqrt{\text{fan-in}}`. They are drawn
        by NumPy, so that they don't depend on the version of PyTorch.
        """
        key = hashlib.sha256(f"initial weights, seed {seed}".encode()).hexdigest()[:32]
        generator = np.random.Generator(np.random.Philox(key=int(key, 16)))
        parameters: Parameters = {}
        for layer, fan_in, fan_out in (("0", n_inputs, self.width), ("2", self.width, n_classes)):
            bound = 1 / np.sqrt(fan_in)
            parameters[f"{layer}.weight"] = generator.uniform(-bound, bound, (fan_out, fan_in))
            parameters[f"{layer}.bias"] = generator.uniform(-bound, bound, fan_out)
        return parameters

    def logits(self, parameters: Parameters, inputs: NDArray[Any], device: str = "cpu") -> NDArray[Any]:
        """See the function `logits`."""
        return logits(parameters, inputs, device)

    def check(self, task: Task) -> None:
        """Raise `SpecError` if the task's inputs are sequences of tokens."""
        require(task.vocabulary == 0, f"an MLP for {task}", "a Transformer, since its inputs are sequences")

    def module(self, parameters: Parameters) -> nn.Module:
        """See `as_module`."""
        return as_module(parameters)

    def multiply_adds(self, n_inputs: int, n_classes: int) -> float:
        """m (d + C)."""
        return float(self.width * (n_inputs + n_classes))


def logits(parameters: Parameters, inputs: NDArray[Any], device: str = "cpu") -> NDArray[Any]:
    """Return the network's outputs, shape (example, class), by large matrix products.

    Parameters
    ----------
    parameters
        As `MLP` describes.
    inputs : shape (example, d)
    device
        Where PyTorch computes.

    Raises
    ------
    SpecError
        If the inputs have another number of coordinates than the first layer.

    Examples
    --------
    >>> identity = {"0.weight": np.eye(2), "0.bias": np.zeros(2), "2.weight": np.eye(2), "2.bias": np.zeros(2)}
    >>> logits(identity, np.array([[3.0, -1.0]])).tolist()
    [[3.0, 0.0]]
    """
    d = parameters["0.weight"].shape[1]
    require(inputs.shape[1] == d, f"inputs of shape {inputs.shape}", f"{d} columns, the first layer's inputs")
    w, b, a, c = (
        torch.from_numpy(parameters[k]).to(device) for k in ("0.weight", "0.bias", "2.weight", "2.bias")
    )
    out = np.empty((len(inputs), a.shape[0]), parameters["2.weight"].dtype)
    n_examples, n_units = TILE.get(w.device.type, TILE["cpu"])
    for start in range(0, len(inputs), n_examples):
        x = torch.from_numpy(inputs[start : start + n_examples]).to(device, w.dtype)  # (example, d)
        y = c.expand(len(x), -1).clone()  # (example, class)
        for unit in range(0, len(b), n_units):
            tile = slice(unit, unit + n_units)
            y.addmm_(torch.addmm(b[tile], x, w[tile].T).relu_(), a[:, tile].T)
        out[start : start + len(x)] = y.cpu().numpy()
    return out


def softmax(values: NDArray[Any], temperature: float = 1.0) -> NDArray[Any]:
    r"""Return :math:`\mathrm{softmax}(f / \tau)` along the last axis, stable for any :math:`\tau > 0`.

    >>> softmax(np.array([[0.0, 1.0]]), temperature=1e-4).tolist()
    [[0.0, 1.0]]
    """
    shifted = values - values.max(axis=-1, keepdims=True)
    with np.errstate(over="ignore"):  # minus infinity is right
        exponentials = np.exp(shifted / max(temperature, float(np.finfo(shifted.dtype).tiny)))
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True))


def as_module(parameters: Parameters) -> nn.Sequential:
    """Return the network as a PyTorch module with copies of these parameters."""
    width, d = parameters["0.weight"].shape
    module = nn.Sequential(nn.Linear(d, width), nn.ReLU(), nn.Linear(width, len(parameters["2.bias"])))
    state: dict[str, Tensor] = {name: torch.tensor(value) for name, value in parameters.items()}
    module = module.to(state["0.weight"].dtype)
    module.load_state_dict(state)
    return module

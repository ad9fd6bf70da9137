"""How much of a Transformer's attention reaches the support (paper, appendix C.2.1, Figure 11)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pdlib.models.transformer import Transformer, tokens_of
from pdlib.probes.monomials import support_of
from pdlib.specs import Count, Parameters, Probe, Training, require

EXAMPLES_AT_ONCE = 256


def path_mass(layers: list[Tensor]) -> Tensor:
    r"""Attention that the last position pays to each input along paths through all layers.

    .. math:: m = \frac{1}{H^L} \; a^{(L)}_d A^{(L-1)} \cdots A^{(1)}, \qquad A^{(l)} = \sum_{h=1}^{H} A^{(l,h)}

    where :math:`A^{(l,h)}` are the weights of head h of layer l, rows being queries, and :math:`a^{(L)}_d` is the last
    row of :math:`A^{(L)}`. The paper (appendix C.2.1) sums over heads; the division makes the masses of all inputs sum to 1.

    `layers` are the weights (example, head, query, key), the first layer first; of the last layer the last query is used.
    Returns shape (example, position), non-negative, rows sum to 1.

    >>> uniform = torch.full((1, 1, 2, 2), 0.5)
    >>> path_mass([uniform, uniform]).tolist()
    [[0.5, 0.5]]
    """
    mass = layers[-1][:, :, -1].mean(dim=1)  # (example, key)
    for weights in reversed(layers[:-1]):
        mass = torch.einsum("nk,nkj->nj", mass, weights.mean(dim=1))
    return mass


@dataclass(frozen=True)
class AttentionPaths(Probe):
    r"""Median over inputs of the path mass on the support, and of that on a coordinate on and off it.

    One table row: `on_support`, the total on the support, and `on_coordinate`, `off_coordinate`, the mean over
    its coordinates and over the others; each with its 5th and 95th percentile over inputs (`..._low`, `..._high`).

    (Paper, Figure 11.)

    >>> from pdlib import SGD, SparseParity, Training, Transformer
    >>> spec = Training(SparseParity(6, 2), Transformer(1, 2, 4, n_positions=6), SGD(0.1), n_steps=1, evaluate_every=1)
    >>> (row,) = AttentionPaths(8).rows(spec, spec.model.initial(6, 2, seed=0))
    >>> 0 <= row["on_support"] <= 1
    True
    """

    version: ClassVar[int] = 1
    n_samples: Count = 1024  # inputs drawn, as in the paper

    def check(self, training: Training) -> None:
        """See `Probe.check`."""
        support_of(training.task)
        require(isinstance(training.model, Transformer), f"attention of {training.model}", "a Transformer")

    def rows(self, training: Training, parameters: Parameters, device: str = "cpu") -> list[dict[str, Any]]:
        """Return one row."""
        model, support = cast(Transformer, training.model), support_of(training.task)
        inputs, _ = training.task.stream(0, "probe").examples(0, self.n_samples)
        mass = last_position_mass(model, parameters, inputs)
        on = np.zeros(training.task.n_inputs, bool)
        on[list(support)] = True
        values = {
            "on_support": mass[:, on].sum(axis=1),
            "on_coordinate": mass[:, on].mean(axis=1),
            "off_coordinate": mass[:, ~on].mean(axis=1),
        }
        row: dict[str, Any] = {}
        for name, value in values.items():
            low, median, high = np.quantile(value, (0.05, 0.5, 0.95))
            row |= {name: float(median), f"{name}_low": float(low), f"{name}_high": float(high)}
        return [row]


def last_position_mass(model: Any, parameters: Parameters, inputs: NDArray[Any]) -> NDArray[np.float64]:
    """Return `path_mass` of a network at inputs, shape (example, position)."""
    module = model.module(parameters).eval()
    parts = []
    with torch.inference_mode():
        for start in range(0, len(inputs), EXAMPLES_AT_ONCE):
            layers: list[Tensor] = []
            module(tokens_of(inputs[start : start + EXAMPLES_AT_ONCE]), at=-1, attention=layers)
            parts.append(path_mass(layers).double().numpy())
    return np.concatenate(parts)

"""How far from hard labels a teacher's low-temperature distributions are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from pdlib.models.mlp import softmax
from pdlib.specs import Count, Parameters, Probe, Share, Temperature, Training


@dataclass(frozen=True)
class Softness(Probe):
    r"""Share of inputs on which :math:`\mathrm{softmax}(f / \tau)` is not the argmax, within a margin.

    Table rows, one a temperature: `temperature`, `share_soft`, the share of `n_samples` inputs whose largest
    probability is below 1 - `margin`, and `mean_largest`, the mean largest probability.

    >>> from pdlib import MLP, SGD, SparseParity, Training
    >>> spec = Training(SparseParity(3, 2), MLP(1), SGD(0.1), n_steps=1, evaluate_every=1)
    >>> silent = {"0.weight": np.zeros((1, 3)), "0.bias": np.zeros(1), "2.weight": np.zeros((2, 1)),
    ...           "2.bias": np.array([0.0, 1.0])}
    >>> [r["share_soft"] for r in Softness((1e-4, 1.0), n_samples=10).rows(spec, silent)]
    [0.0, 1.0]
    """

    version: ClassVar[int] = 1
    temperatures: tuple[Temperature, ...] = (1e-4,)
    n_samples: Count = 100_000
    margin: Share = 1e-3

    def rows(self, training: Training, parameters: Parameters, device: str = "cpu") -> list[dict[str, Any]]:
        """Return one row a temperature."""
        bits, _ = training.task.stream(0, "probe").examples(0, self.n_samples)
        values = training.model.logits(parameters, bits, device).astype(np.float64)
        rows = []
        for temperature in self.temperatures:
            largest = softmax(values, temperature).max(axis=1)
            share = float((largest < 1 - self.margin).mean())
            rows.append(
                {"temperature": temperature, "share_soft": share, "mean_largest": float(largest.mean())}
            )
        return rows

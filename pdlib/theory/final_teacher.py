"""What a small hinge loss says about a final teacher's degree-1 correlations (Corollary B.8)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pdlib.theory.setting import Experiment, check_enumerable, cube, generator, parity


@dataclass(frozen=True)
class FinalTeachers(Experiment):
    r"""Hinge loss and largest degree-1 correlation of many predictors, over the whole cube.

    If :math:`|f| \le 1` then :math:`|E[f x_i]| = |E[(f - y) x_i]| \le E|f - y| = E[1 - f y]`, the hinge loss. Beyond 1 the
    hinge loss no longer sees f: :math:`2y + x_1` has loss 0 and correlation 1.

    Table rows: `predictor`, `largest` (of :math:`|f|`), `loss`, `correlation` (the largest :math:`|E[f x_i]|`).
    The predictors: `2y + x_1`; `constructed`, for several losses e, :math:`(1 - e) y + (e/k) \sum_S x_j`; `wrong on a
    share`, y with its sign turned, on a random share of the inputs, to that of :math:`x_1`; `clipped noise`, y plus noise
    and a random linear function, clipped to [-1, 1]; `unclipped noise`, the same function times 2, not clipped.

    Paper, Corollary B.8.

    >>> FinalTeachers(7, 2).rows()[0]
    {'predictor': '2y + x_1', 'largest': 3.0, 'loss': 0.0, 'correlation': 1.0}
    """

    version: ClassVar[int] = 1
    n_bits: int  # d, at most 20
    support_size: int  # k
    n_random: int = 20  # predictors of each random kind
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_enumerable(self.n_bits)

    def rows(self) -> list[dict[str, Any]]:
        """Return one row for each predictor."""
        x = cube(self.n_bits)
        y = parity(x, self.support_size)
        return [
            {
                "predictor": name,
                "largest": float(np.abs(f).max()),
                "loss": float(np.maximum(0, 1 - y * f).mean()),
                "correlation": float(np.abs(f @ x).max() / len(x)),
            }
            for name, f in self._predictors(x, y)
        ]

    def _predictors(
        self, x: NDArray[np.float64], y: NDArray[np.float64]
    ) -> Iterator[tuple[str, NDArray[np.float64]]]:
        k = self.support_size
        yield "2y + x_1", 2 * y + x[:, 0]
        for e in (0.01, 0.1, 0.5):
            yield "constructed", (1 - e) * y + e / k * x[:, :k].sum(axis=1)
        rng = generator("final teachers", self.n_bits, k, self.seed)
        for _ in range(self.n_random):
            turned = rng.random(len(y)) < rng.uniform(0, 0.5)
            yield "wrong on a share", np.where(turned, x[:, 0], y)
            noise = rng.normal(0, rng.uniform(0, 1), len(y)) + x @ rng.normal(0, 0.3, self.n_bits)
            yield "clipped noise", np.clip(y + noise, -1, 1)
            yield "unclipped noise", 2 * (y + noise)

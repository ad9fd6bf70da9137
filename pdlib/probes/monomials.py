"""How strongly a predictor follows the monomials of its input bits (paper, section 3.1, R1)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pdlib.models.mlp import softmax
from pdlib.specs import Count, Parameters, Probe, Several, SpecError, Task, Temperature, Training, require

EXAMPLES_AT_ONCE = 8192


def monomial_correlations(
    probability: NDArray[Any], bits: NDArray[Any], monomials: NDArray[np.intp]
) -> NDArray[np.float64]:
    r"""Mean product of a predicted probability with each of several monomials of the input bits.

    .. math:: \frac{1}{N} \sum_n p(x_n) \prod_{i \in M} x_{n,i}

    where :math:`p`, (example,) or (example, class), is the probability of a class, not a logit, and :math:`M` a row of
    `monomials` (monomial, degree), distinct zero-based positions along `bit`, as a repeated one would silently lower the
    degree. `bits` (example, bit) are -1 or +1. The paper's correlation (section 3.1, R1) is the absolute value.

    Returns shape (monomial,) or (class, monomial), dimensionless, in [-0.5, 0.5] for uniform bits: 0.5 in magnitude if the
    predictor is this parity, 0 if it ignores it. Standard error at most :math:`1 / \sqrt N`.

    >>> bits = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
    >>> p = (1 + bits.prod(axis=1)) / 2
    >>> monomial_correlations(p, bits, np.array([[0, 1]])).tolist()
    [0.5]
    >>> monomial_correlations(p, bits, np.array([[0], [1]])).tolist()
    [0.0, 0.0]
    """
    monomials = np.asarray(monomials)
    for row in monomials:
        require(len(set(row.tolist())) == len(row), f"monomial {row.tolist()}", "distinct positions")
    require(
        monomials.size == 0 or (monomials.min() >= 0 and monomials.max() < bits.shape[1]),
        f"positions {monomials.min()} to {monomials.max()}",
        f"positions from 0 to {bits.shape[1] - 1}",
    )
    total = np.zeros((*probability.shape[1:], len(monomials)))
    for start in range(0, len(bits), EXAMPLES_AT_ONCE):
        x = bits[start : start + EXAMPLES_AT_ONCE]
        product = x[:, monomials[:, 0]]  # (example, monomial)
        for column in range(1, monomials.shape[1]):
            product = product * x[:, monomials[:, column]]
        total += probability[start : start + EXAMPLES_AT_ONCE].T @ product
    return total / len(bits)


def monomials_off_support(
    n_bits: int, support: tuple[int, ...], degree: int, at_most: int
) -> NDArray[np.intp]:
    """Return monomials with at least one position outside the support, shape (monomial, degree).

    All of degree 1; of other degrees at most so many, distinct ones that are always the same.

    >>> monomials_off_support(4, (0, 1), 1, 1).tolist(), monomials_off_support(30, (0, 1), 3, 50).shape
    ([[2], [3]], (50, 3))
    """
    inside = set(support)
    n_all = comb(n_bits, degree) - comb(len(support), degree)
    if degree == 1 or n_all <= at_most:
        rows = [c for c in combinations(range(n_bits), degree) if not set(c) <= inside]
        return np.array(rows, dtype=np.intp).reshape(-1, degree)
    generator, drawn = np.random.default_rng(degree), set[tuple[int, ...]]()
    while len(drawn) < at_most:
        row = tuple(sorted(generator.choice(n_bits, degree, replace=False).tolist()))
        if not set(row) <= inside:
            drawn.add(row)
    return np.array(sorted(drawn), dtype=np.intp)


def noise_floor(probability: NDArray[Any]) -> NDArray[np.float64]:
    r"""Return the mean absolute correlation of a monomial that the predictor ignores, :math:`\sqrt{2 E[p^2] / (\pi N)}`."""
    return np.asarray(
        np.sqrt(2 * (probability.astype(np.float64) ** 2).mean(axis=0) / (np.pi * len(probability)))
    )


def support_of(task: Task) -> tuple[int, ...]:
    """Return the positions that decide a task's class, or raise if it has none."""
    support: tuple[int, ...] | None = getattr(task, "support", None)
    if support is None:
        raise SpecError(f"task {task}: expected one with a support, such as SparseParity.")
    return support


@dataclass(frozen=True)
class MonomialCorrelations(Probe):
    r"""Correlations :math:`|E[p_T(x)_1 \prod_{j \in M} x_j]|`, in the support and off it, by degree.

    In the support: all monomials of the degree. Off it (at least one position outside): all of degree 1, a
    fixed random sample of the others.

    Table rows: `degree`, `group` (`in_support`, `off_support`), `n_monomials`, the `mean`, `minimum` and
    `maximum` of the absolute correlations, and `noise_floor`, the mean absolute value that a monomial which
    the predictor ignores would show, :math:`\sqrt{2 E[p^2] / (\pi N)}`.

    >>> from pdlib import MLP, SGD, SparseParity, Training
    >>> spec = Training(SparseParity(8, 2), MLP(4), SGD(0.1), n_steps=50, evaluate_every=25)
    >>> rows = MonomialCorrelations((1, 2), n_samples=64).rows(spec, spec.model.initial(8, 2, seed=0))
    >>> [(row["degree"], row["group"], row["n_monomials"]) for row in rows]
    [(1, 'in_support', 2), (1, 'off_support', 6), (2, 'in_support', 1), (2, 'off_support', 27)]
    """

    version: ClassVar[int] = 1
    degrees: Several[Count] = (1, 2, 3)  # of the monomials
    n_samples: Count = 100_000  # N, inputs drawn
    n_off_support: Count = 200  # monomials off the support for each degree, at most (degree 1: all)
    temperature: Temperature = 1.0  # tau of the softmax

    def check(self, training: Training) -> None:
        """See `Probe.check`."""
        support_of(training.task)
        said, expected = f"degrees = {self.degrees}", f"at most n_inputs d = {training.task.n_inputs}"
        require(
            max(self.degrees) <= training.task.n_inputs, said, expected, "A monomial has distinct positions."
        )

    def rows(self, training: Training, parameters: Parameters, device: str = "cpu") -> list[dict[str, Any]]:
        """Return one row a degree and group."""
        task = training.task
        bits, _ = task.stream(0, "probe").examples(0, self.n_samples)
        values = training.model.logits(parameters, bits, device)
        return self.of_prediction(task, bits, softmax(values, self.temperature)[:, 0].astype(np.float32))

    def of_prediction(
        self, task: Task, bits: NDArray[Any], probability: NDArray[Any]
    ) -> list[dict[str, Any]]:
        """Return the rows of any prediction: the probability of the first class, (example,), on bits (example, bit)."""
        support = support_of(task)
        floor = float(noise_floor(probability))
        rows = []
        for degree in self.degrees:
            groups = {
                "in_support": np.array(list(combinations(support, degree)), np.intp).reshape(-1, degree),
                "off_support": monomials_off_support(task.n_inputs, support, degree, self.n_off_support),
            }
            for group, monomials in groups.items():
                if len(monomials) == 0:
                    continue
                size = np.abs(monomial_correlations(probability, bits, monomials))
                rows.append(
                    {
                        "degree": degree,
                        "group": group,
                        "n_monomials": len(monomials),
                        "mean": float(size.mean()),
                        "minimum": float(size.min()),
                        "maximum": float(size.max()),
                        "noise_floor": floor,
                    }
                )
        return rows

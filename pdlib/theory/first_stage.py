"""The first stage, measured: population and batch gradients, the first step, and the network after it (B.2 to B.6).

Each experiment is a `Calculation`. The gradient's error :math:`\\tau_g` is that of the gradient with the factor
:math:`|a_i| = 1/m` taken out: the reading in which Lemma B.2's bounds follow from Claim B.4's.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, log2, nan, sqrt
from typing import Any, ClassVar, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.stats import norm

from pdlib.compiled import njit
from pdlib.specs import Count, Index, Several, Share, require
from pdlib.theory import network as net
from pdlib.theory.majority import coefficient, walsh_hadamard
from pdlib.theory.network import Network, batch_gradient, initial, population_gradient
from pdlib.theory.setting import NetworkExperiment, cube, drawn, generator, parity, separates
from pdlib.theory.two_stage import sample_words


def _groups(support_size: int) -> dict[str, slice]:
    return {"in_support": slice(None, support_size), "off_support": slice(support_size, None)}


def _largest(values: NDArray[np.float64]) -> float:
    return float(np.abs(values).max())


def _rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt((values**2).mean()))


@dataclass(frozen=True)
class PopulationGradient(NetworkExperiment):
    r"""Claim B.3: the gradient over the whole cube against the formula, sign included.

    Table rows, one for each group (`in_support`, `off_support`): `enumerated` and `formula` (largest absolute values),
    `error` (largest difference over the largest formula) and `printed_error` (the same with the printed sign).

    >>> [row["error"] < 1e-12 and round(row["printed_error"], 9) for row in PopulationGradient(5, 2, 8).rows()]
    [2.0, 2.0]
    """

    version: ClassVar[int] = 1
    most_bits: ClassVar[float] = 15
    seed: Index = 0

    def rows(self) -> list[dict[str, Any]]:
        d, k = self.n_bits, self.support_size
        network = initial(d, k, self.width, generator("population gradient", d, k, self.width, self.seed))
        enumerated = batch_gradient(network, cube(d), parity(cube(d), k))
        formula = population_gradient(network, k)
        rows = []
        for group, columns in _groups(k).items():
            e, f = enumerated[:, columns], formula[:, columns]
            size = _largest(f)
            errors = {"error": _largest(e - f) / size, "printed_error": _largest(e + f) / size}
            rows.append({"group": group, "enumerated": _largest(e), "formula": size} | errors)
        return rows


@dataclass(frozen=True)
class FirstStep(NetworkExperiment):
    r"""Claim B.4 and Lemma B.2: batch gradients and the weights after the first step, by batch size.

    Table rows, one for each batch size, decay (`cancelling`, `printed`) and group of coordinates:

    - `error`: largest difference of a weight from where the lemma puts it, :math:`\operatorname{sign}(a)
      \operatorname{sign}(\zeta_{k-1}) \chi / (2k)` or :math:`\operatorname{sign}(a) \, \zeta_{k+1} / |\zeta_{k-1}| \, \chi /
      (2k)`; `bound`: :math:`\tau_g / (k |\zeta_{k-1}|)`;
    - `printed_centre_error`: the same from the printed centre, which for the support is :math:`|\zeta_{k-1}|` times the
      right one; `printed_bound`: :math:`\tau_g / |\zeta_{k-1}|` for the support, else as `bound`;
    - `gradient_error`, `gradient_rms`: largest and root mean square error of the gradient, m times over; `tau_g`: what the
      largest does not exceed with probability 1 - delta, by Hoeffding's inequality, since the terms lie in [-1, 1], and a
      union over m d coordinates, :math:`\tau_g = \sqrt{2 \log(2 m d / \delta) / B}`;
    - `separated`: share of neurons whose smallest absolute weight in the support exceeds the largest off it.

    >>> rows = FirstStep(11, 2, 16, (4096,), delta=0.1).rows()
    >>> [(row["decay"], row["error"] <= row["bound"]) for row in rows if row["group"] == "in_support"]
    [('cancelling', True), ('printed', False)]
    """

    version: ClassVar[int] = 1
    batch_sizes: Several[Count]  # B_1, independent draws each
    delta: Share = 0.1
    seed: Index = 0

    @property
    def work(self) -> float:
        return float(sum(self.batch_sizes)) * 2 * self.n_bits * self.width

    def rows(self) -> list[dict[str, Any]]:
        d, k, m = self.n_bits, self.support_size, self.width
        identity = (d, k, m, self.seed)
        network = initial(d, k, m, generator("first step", *identity))
        population = population_gradient(network, k)
        right = net.first_step(network, population, support_size=k).weights
        printed = right.copy()
        printed[:, :k] *= abs(coefficient(d, k - 1))
        rows = []
        for batch_size in self.batch_sizes:
            gradient = sampled_gradient(network, k, batch_size, generator("batch", batch_size, *identity))
            tau = sqrt(2 * log(2 * m * d / self.delta) / batch_size)
            bound = tau / (k * abs(coefficient(d, k - 1)))
            for decay in get_args(net.Decay):
                weights = net.first_step(network, gradient, support_size=k, decay=decay).weights
                for group, at in _groups(k).items():
                    off = m * (gradient - population)[:, at]
                    rows.append(
                        {
                            "batch_size": batch_size,
                            "decay": decay,
                            "group": group,
                            "error": _largest((weights - right)[:, at]),
                            "bound": bound,
                            "printed_centre_error": _largest((weights - printed)[:, at]),
                            "printed_bound": k * bound if group == "in_support" else bound,
                            "gradient_error": _largest(off),
                            "gradient_rms": _rms(off),
                            "tau_g": tau,
                            "separated": float(separates(weights, k).mean()),
                        }
                    )
        return rows


def sampled_gradient(
    network: Network, support_size: int, batch_size: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return the mean gradient of the hinge loss from labels over fresh inputs, shape (neuron, bit)."""
    total = np.zeros_like(network.weights)
    for x in drawn(rng, batch_size, network.weights.shape[1]):
        total += len(x) * batch_gradient(network, x, parity(x, support_size))
    return total / batch_size


@dataclass(frozen=True)
class FirstStageTeacher(NetworkExperiment):
    r"""Lemma B.5 and Corollary B.6: Fourier coefficients of the network after an infinite-batch first stage.

    Table rows, one for each group, by the Walsh-Hadamard transform (`route`) of the network on the cube:

    - `in_support`, `off_support`: the :math:`|c_j|` of degree 1; `binomial_error` is the largest difference from binomial
      sums over the group's largest coefficient, `majority` the largest :math:`|E f \, \mathrm{Maj} \, x_j|`, which
      Corollary B.6 puts at :math:`c_j / 2`;
    - `even`, `odd_higher`: the others;
    - `norm`: :math:`E f^2` as `mean`

    with `minimum`, `mean`, `maximum` of the absolute values and `n_monomials`.

    >>> rows = {row["group"]: row for row in FirstStageTeacher(11, 2, 32).rows()}
    >>> rows["in_support"]["binomial_error"] < 1e-12, rows["even"]["maximum"] < 1e-15
    (True, True)
    """

    version: ClassVar[int] = 1
    most_bits: ClassVar[float] = 19
    aligned: bool = False  # whether the initialisation has the signs that the proof assumes: see `initial`
    seed: Index = 0

    @property
    def work(self) -> float:
        return self.width * 2.0**self.n_bits

    def rows(self) -> list[dict[str, Any]]:
        d, k, m = self.n_bits, self.support_size, self.width
        rng = generator("first-stage teacher", d, k, m, self.seed)
        network = net.first_stage(d, k, m, rng, aligned=self.aligned)
        binomial, f, x = net.degree_1(network, k), net.outputs_on_cube(network), cube(d)
        vote = (f * np.sign(x.sum(axis=1))) @ x / len(x)  # (bit,)
        coefficients = walsh_hadamard(f)
        first, degree = coefficients[2 ** np.arange(d)], np.bitwise_count(np.arange(2**d))
        rows = []
        for group, at in _groups(k).items():
            largest = max(_largest(binomial[at]), np.finfo(float).tiny)
            error = _largest(first[at] - binomial[at]) / largest
            rows.append(_sizes(group, first[at]) | {"binomial_error": error, "majority": _largest(vote[at])})
        rows.append(_sizes("even", coefficients[degree % 2 == 0]))
        rows.append(_sizes("odd_higher", coefficients[(degree % 2 == 1) & (degree > 1)]))
        square = {"mean": float((f**2).mean()), "n_monomials": 0, "minimum": nan, "maximum": nan}
        return [*rows, _sizes("norm", f) | square]


def _sizes(group: str, coefficients: NDArray[np.float64]) -> dict[str, Any]:
    size = np.abs(coefficients)
    row = {"group": group, "route": "transform", "n_monomials": len(size), "minimum": float(size.min())}
    more = {"mean": float(size.mean()), "maximum": float(size.max()), "binomial_error": nan, "majority": nan}
    return row | more


@dataclass(frozen=True)
class SeparationShare(NetworkExperiment):
    r"""How often the infinite-batch teacher's degree-1 coefficients show the support at all.

    .. math:: c_u = \frac{2}{m} \sum_{i \le m/2} \operatorname{sign}(\zeta) \, \chi_{S \triangle \{u\}}(w_i) \, h(b_i)

    are sums of random signs, in the support as off it, and differ by the sizes of h alone. It is separated if the smallest
    in the support exceeds the largest off it.

    One row: `n_draws`, `n_separated`, `mean_in` and `mean_off` (mean :math:`|c_j|` over coordinates and draws),
    `normal_share` (the separated share for :math:`m \to \infty`, where the coefficients are independent normal),
    `normal_in` and `normal_off` (mean :math:`|c_j|` in that limit, :math:`\sqrt{4 E h^2 / (\pi m)}`).

    >>> row = SeparationShare(31, 2, 64, n_draws=100).rows()[0]
    >>> 70 < row["n_separated"] < 100, round(row["normal_share"], 2)
    (True, 0.89)
    """

    version: ClassVar[int] = 1
    n_draws: Count = 200  # initialisations
    seed: Index = 0

    def rows(self) -> list[dict[str, Any]]:
        d, k, m = self.n_bits, self.support_size, self.width
        rng = generator("separation", d, k, m, self.seed)
        on_grid = bias_coefficients(d, k)  # (2k - 1, 2)
        n_separated, sums = 0, np.zeros(2)
        for _ in range(self.n_draws):
            w, biases, a = (part[: m // 2] for part in initial(d, k, m, rng))
            chi = parity(w, k) * np.sign(a)  # the sign of a comes twice in c, once in the weight, once in f
            h = on_grid[np.rint(biases * k).astype(int) + k - 1]  # (neuron, 2)
            c = np.abs((chi[:, None] * h).T @ (w * np.sign(a)[:, None])) * 2 / m  # (2, bit)
            n_separated += bool(separates(np.append(c[0, :k], c[1, k:]), k))
            sums += c[0, :k].mean(), c[1, k:].mean()
        mean_in, mean_off = (sums / self.n_draws).tolist()
        spread_in, spread_off = np.sqrt(2 / m * (on_grid**2).mean(axis=0)).tolist()
        return [
            {
                "n_draws": self.n_draws,
                "n_separated": n_separated,
                "mean_in": mean_in,
                "mean_off": mean_off,
                "normal_share": normal_share(d, k, spread_in, spread_off),
                "normal_in": spread_in * sqrt(2 / np.pi),
                "normal_off": spread_off * sqrt(2 / np.pi),
            }
        ]


def bias_coefficients(n_bits: int, support_size: int) -> NDArray[np.float64]:
    r"""Return :math:`h(b) = E[\sigma(\langle |w^{(1)}|, x \rangle + b) \, x_u]` on the grid of biases, shape (2k - 1, 2).

    The columns are for u in the support and off it; the rows for b = -1 + 1/k, ..., 1 - 1/k.

    >>> bias_coefficients(5, 2).round(4).tolist()
    [[0.0156, 0.0104], [0.125, 0.0417], [0.2344, 0.0729]]
    """
    d, k = n_bits, support_size
    inside = 1 / (2 * k)
    outside = inside * abs(coefficient(d, k + 1) / coefficient(d, k - 1))
    return np.array([net.unit_coefficients(d, k, inside, outside, b / k) for b in range(1 - k, k)])


def normal_share(n_bits: int, support_size: int, spread_in: float, spread_off: float) -> float:
    """Return the probability that the least of k absolute normals exceeds the largest of d - k others.

    All are independent, with standard deviation `spread_in` for the k and `spread_off` for the others.

    >>> round(normal_share(3, 2, 1.0, 1.0), 6)  # one of three is the smallest
    0.333333
    """
    k, n_off = support_size, n_bits - support_size

    def integrand(t: float) -> float:  # t: the smallest in the support, over spread_in
        inside = k * 2 * norm.pdf(t) * (2 * norm.sf(t)) ** (k - 1)
        return float(inside * (1 - 2 * norm.sf(t * spread_in / spread_off)) ** n_off)

    return float(quad(integrand, 0.0, 10.0, epsabs=1e-10, limit=200)[0])


@dataclass(frozen=True)
class BatchSizes(NetworkExperiment):
    r"""The remark on batch size: the same inputs taken in steps of B, labels only, for several B.

    Each run sees the same n inputs in the same order and takes n / B steps of the first stage at the rate :math:`\eta_1 B /
    n`, so that the rates sum to Lemma B.2's; no decay. Margins and active units are recomputed at every step. What has
    grown, :math:`v = w - w^{(0)}`, is read.

    Table rows, one for each batch size: `n_steps`, `separation` (log2 of the ratio of the smallest :math:`r_j` in the
    support to the largest off it, :math:`r_j = (\mathrm{mean}_i \, v_{ij}^2)^{1/2}`), `share` (of the neurons whose k
    largest :math:`|v_{ij}|` are the support), `inactive` (share of the inputs whose margin was beyond 1), `drift` (rms of v
    over rms of what the population gradient's one step gives).

    >>> rows = BatchSizes(11, 2, 16, 4096, (1, 4096)).rows()
    >>> [(row["batch_size"], row["share"] > 0.5, row["separation"] > 0) for row in rows]
    [(1, True, True), (4096, True, True)]
    """

    version: ClassVar[int] = 1
    n_samples: Count  # n, inputs in all
    batch_sizes: Several[Count]  # B, divisors of n
    seed: Index = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        left = [size for size in self.batch_sizes if self.n_samples % size]
        said, expected = f"batch sizes {left} for n_samples = {self.n_samples}", "divisors of n_samples"
        require(not left, said, f"{expected}, so that every run sees all inputs")

    @property
    def work(self) -> float:
        return 2.0 * len(self.batch_sizes) * self.n_samples * self.width * self.n_bits

    def rows(self) -> list[dict[str, Any]]:
        d, k, m = self.n_bits, self.support_size, self.width
        identity = (d, k, m, self.seed)
        start = initial(d, k, m, generator("batch sizes", *identity))
        words = sample_words(self.n_samples, d, generator("batch sizes inputs", self.n_samples, *identity))
        rate = net.first_rate(d, k, m)
        whole_step = _rms(rate * population_gradient(start, k))
        rows = []
        for batch_size in self.batch_sizes:
            step = rate * batch_size / self.n_samples
            weights, n_inactive = steps_from_labels(*start, words, k, batch_size, step)
            grown = weights - start.weights
            pooled = np.sqrt((grown**2).mean(axis=0))
            order = np.argsort(-np.abs(grown), axis=1)[:, :k]
            rows.append(
                {
                    "batch_size": batch_size,
                    "n_steps": self.n_samples // batch_size,
                    "separation": log2(pooled[:k].min() / pooled[k:].max()),
                    "share": float((order < k).all(axis=1).mean()),
                    "inactive": n_inactive / self.n_samples,
                    "drift": _rms(grown) / whole_step,
                }
            )
        return rows


@njit()
def steps_from_labels(weights, biases, outputs, words, support_size, batch_size, rate):  # type: ignore[no-untyped-def]
    """Return the weights after one pass over the inputs by steps of `batch_size`, and how many inputs had no gradient.

    `words` are the inputs as bits, see `pdlib.theory.two_stage.sample_words`; `rate` is that of each step; no decay.
    """
    weights = weights.copy()
    n_neurons, n_bits = weights.shape
    x, before = np.empty(n_bits), np.empty(n_neurons)
    step = np.zeros((n_neurons, n_bits))
    n_inactive = 0
    for start in range(0, len(words), batch_size):
        step[:] = 0.0
        for e in range(start, start + batch_size):
            y = 1.0
            for j in range(n_bits):
                x[j] = 1.0 - 2.0 * np.float64((words[e, j >> 6] >> np.uint64(j & 63)) & np.uint64(1))
                if j < support_size:
                    y *= x[j]
            f = 0.0
            for i in range(n_neurons):
                t = biases[i]
                row = weights[i]
                for j in range(n_bits):
                    t += row[j] * x[j]
                before[i] = t
                f += outputs[i] * max(t, 0.0)
            if f * y < 1:
                for i in range(n_neurons):
                    if before[i] >= 0:
                        slope = rate / batch_size * outputs[i] * y
                        for j in range(n_bits):
                            step[i, j] += slope * x[j]
            else:
                n_inactive += 1
        for i in range(n_neurons):
            for j in range(n_bits):
                weights[i, j] += step[i, j]
    return weights, n_inactive

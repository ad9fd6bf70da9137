"""The smallest first-stage batch from which a student's support can be read off (Theorem 3.2 as an experiment).

A student at its symmetric initialisation takes one gradient of the hinge loss against its teacher's output f, over B
fresh inputs. Its output is 0, so every margin is active, and neuron i's gradient is, but for the factor -a_i,

.. math:: G_{ij} = \\tfrac{1}{B} \\sum_b 1[\\langle w_i, x_b \\rangle + b_i \\ge 0] \\, f(x_b) \\, x_{b,j} .

The support is *read off* if its k coordinates are the k largest: of :math:`|G_{1j}|` for one neuron, of
:math:`(\\operatorname{mean}_i G_{ij}^2)^{1/2}` pooled over neurons. The batch sought is the smallest from which at least
half of repeated draws (students and inputs anew) read it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import comb, inf, nan, pi, sqrt
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr

from pdlib.specs import Count, Index, Positive, Share, Spec, require
from pdlib.theory.majority import coefficient
from pdlib.theory.network import Network, degree_1, first_stage, outputs
from pdlib.theory.setting import (
    INPUTS_AT_ONCE,
    Experiment,
    check_setting,
    drawn,
    generator,
    philox,
    separates,
    signs,
)
from pdlib.theory.sliced import sums_of_signs
from pdlib.theory.two_stage import teacher_progress

Sums = tuple[tuple[float, tuple[int, ...]], ...]  # weight and coordinates of each parity a target is made of
RESOLUTION = 4  # batches are 2^(e / 4), rounded
FIRST_EXPONENT = 8  # the smallest batch tried is 4
HOPELESS = 2**20  # largest batch tried where the exact means do not separate the support, or are not known
ATTEMPTS = 10_000  # initialisations tried for a teacher whose infinite-batch gradients separate the support
REACH = 10.0  # standard deviations of a normal coordinate that are integrated over: 1e-23 of it lies outside
NODES, WEIGHTS = np.polynomial.legendre.leggauss(256)


@dataclass(frozen=True)
class Target(Spec):
    """What a student's first stage learns from: a sum of parities, or a network.

    >>> isinstance(LabelTarget(), Target)
    True
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        check_setting(width=getattr(self, "width", None))

    def parities(self, n_bits: int, support_size: int) -> Sums | None:
        """Return the target as a weighted sum of parities, or None if it is a network."""
        return None

    def network(self, n_bits: int, support_size: int, seed: int) -> tuple[Network | None, int]:
        """Return the target as a network, None if it is a sum, and how many initialisations were drawn for it."""
        return None, 1


@dataclass(frozen=True)
class LabelTarget(Target):
    """The labels themselves, :math:`f = y`.

    >>> LabelTarget().parities(n_bits=11, support_size=2)
    ((1.0, (0, 1)),)
    """

    def parities(self, n_bits: int, support_size: int) -> Sums:
        return ((1.0, tuple(range(support_size))),)


@dataclass(frozen=True)
class ConstructedTarget(Target):
    r"""The most helpful final teacher of hinge loss e that stays within [-1, 1].

    .. math:: f(x) = (1 - e) \, y + \frac{e}{k} \sum_{j \in S} x_j, \qquad e = d^{-c}

    Its hinge loss is e, and its degree-1 correlation e / k on each coordinate of the support.

    >>> [(round(weight, 3), coordinates) for weight, coordinates in ConstructedTarget(1.0).parities(11, 2)]
    [(0.909, (0, 1)), (0.045, (0,)), (0.045, (1,))]
    """

    version: ClassVar[int] = 1
    exponent: Positive  # c > 0 of the theorem's loss O(d^-c)

    def parities(self, n_bits: int, support_size: int) -> Sums:
        e, k = float(n_bits**-self.exponent), support_size
        return ((1 - e, tuple(range(k))), *((e / k, (j,)) for j in range(k)))


@dataclass(frozen=True)
class IntermediateTarget(Target):
    """The teacher after its first stage, by the population gradient.

    Initialisations are drawn until its degree-1 coefficients separate the support, since else no batch shows it;
    `SeparationShare` measures how often they do.

    >>> network, n_drawn = IntermediateTarget(width=50).network(n_bits=31, support_size=2, seed=0)
    >>> n_drawn >= 1
    True
    """

    version: ClassVar[int] = 1
    width: Count  # m
    aligned: bool = False  # whether the weights in the support have the signs that Lemma B.5's proof assumes

    def network(self, n_bits: int, support_size: int, seed: int) -> tuple[Network, int]:
        rng = generator("intermediate teacher", n_bits, support_size, self.width, self.aligned, seed)
        for attempt in range(1, ATTEMPTS + 1):
            network = first_stage(n_bits, support_size, self.width, rng, aligned=self.aligned)
            if separates(degree_1(network, support_size), support_size):
                return network, attempt
        raise RuntimeError(
            f"none of {ATTEMPTS} initialisations of width {self.width} separates the support at d = {n_bits}, "
            f"k = {support_size}: expected one. Take a larger d or a smaller k."
        )


@dataclass(frozen=True)
class TrainedTarget(Target):
    """The teacher after both stages of Algorithm 1: labels, population gradient, then its outputs by batch-1 SGD.

    >>> TrainedTarget(width=50).epsilon
    0.05
    """

    version: ClassVar[int] = 1
    width: Count  # m
    epsilon: Share = 0.05  # hinge loss at which the second stage stops
    max_steps: Count = 10_000_000  # after which it stops anyway; the loss reached stands in the table

    def network(self, n_bits: int, support_size: int, seed: int) -> tuple[Network, int]:
        *_, last = teacher_progress(n_bits, support_size, self.width, self.epsilon, self.max_steps, seed)
        return last.network, 1


def student_gradients(
    target: Target,
    network: Network | None,
    n_bits: int,
    support_size: int,
    students: NDArray[Any],
    n_inputs: int,
    *identity: Any,
) -> NDArray[np.float64]:
    """Return G of each neuron over fresh inputs, shape (neuron, d).

    `target`, or its `network` if it is one, is what is learned from; `students` are initial weights, signs of shape
    (neuron, d); `n_inputs` is B; `identity` are literals that name the inputs.
    """
    inputs = philox("read-off inputs", *identity)
    parities = target.parities(n_bits, support_size)
    if parities is not None:
        sums = sums_of_signs(inputs, n_bits, n_inputs, tuple(m for _, m in parities), students)
        return np.asarray(np.einsum("c,icj->ij", np.array([w for w, _ in parities]), sums) / n_inputs)
    assert network is not None
    total = np.zeros(students.shape)
    for x in drawn(np.random.Generator(inputs), n_inputs, n_bits):
        total += (x @ students.T > 0).T.astype(float) @ (outputs(network, x)[:, None] * x)
    return total / n_inputs


def is_read(gradients: NDArray[Any], support_size: int) -> bool:
    """Whether the support is read off by the root mean square over neurons; with one neuron, by its magnitude."""
    return bool(separates(np.sqrt((gradients**2).mean(axis=0)), support_size))


@dataclass(frozen=True)
class ReadOff(Experiment):
    """The smallest batch from which the support is read off, by bisection with repeated draws.

    Table rows, one for each batch tried, in the order of trial: `batch_size`, `n_draws` (a batch is left as soon as its
    outcome is certain), `n_read`, `chosen` (the answer; no row has it if `max_batch` was not enough), and, the same in
    all rows, `n_attempts` (initialisations drawn for the target), `minimum_in` and `maximum_off` (degree-1 coefficients
    of the target), `norm` (mean square of the target), `predicted` (see `predicted_batch`; nan when pooled, and for a
    trained network, whose higher coefficients enter too). Paper, Theorem B.1, Claims B.3 and B.4.

    >>> rows = ReadOff(11, 2, LabelTarget(), "one", n_draws=10, seed=0).rows()
    >>> answer = [row["batch_size"] for row in rows if row["chosen"]]
    >>> len(answer), 32 < answer[0] < 2048
    (1, True)
    """

    version: ClassVar[int] = 1
    mirrored: ClassVar[bool] = False  # the gradients of a student's neurons are those of independent draws
    most_bits: ClassVar[float] = 127
    n_bits: Count  # d
    support_size: Count  # k
    target: Target  # what the student's first stage learns from
    rule: Literal["one", "pooled"] = "one"  # one neuron, or the root mean square over `width`
    width: Count = 1  # neurons of the student
    n_draws: Count = 20  # of student and inputs, for each batch
    max_batch: Count = 2**32  # largest batch tried; 2^20 where `predicted` is infinite or the target trained
    seed: Index = 0  # decides the target's initialisation, the students and the inputs

    def __post_init__(self) -> None:
        super().__post_init__()
        smallest = round(2 ** (FIRST_EXPONENT / RESOLUTION))
        expected = f"at least {smallest}, the first batch tried"
        require(self.max_batch >= smallest, f"max_batch = {self.max_batch}", expected)
        said = f"width = {self.width} with rule {self.rule!r}"
        require((self.rule == "one") == (self.width == 1), said, "1 with rule 'one', more with 'pooled'")

    @property
    def work(self) -> float:
        gap = abs(coefficient(self.n_bits, self.support_size - 1)) / 2
        return 30 / gap**2 * self.n_draws * self.n_bits * self.width  # some ten batches of the expected size

    def rows(self) -> list[dict[str, Any]]:
        # the batch is doubled until it is enough, then the last octave is bisected
        shared = self.shared()
        hopeless = shared["predicted"] == inf or isinstance(self.target, TrainedTarget)
        largest = min(self.max_batch, HOPELESS) if hopeless else self.max_batch
        tried: list[dict[str, Any]] = []

        def enough(exponent: int) -> bool:
            tried.append(self._share(round(2 ** (exponent / RESOLUTION))) | shared)
            return bool(2 * tried[-1]["n_read"] >= self.n_draws)

        high = FIRST_EXPONENT
        while not enough(high):
            high += RESOLUTION
            if 2 ** (high / RESOLUTION) > largest:
                return tried
        answer, low = len(tried) - 1, high - RESOLUTION
        while high - low > 1:
            middle = (low + high) // 2
            if enough(middle):
                high, answer = middle, len(tried) - 1
            else:
                low = middle
        tried[answer]["chosen"] = True
        return tried

    def _share(self, batch_size: int) -> dict[str, Any]:
        """Return how many draws of this batch read the support; stop when half have, or can no longer."""
        d, k, (network, _) = self.n_bits, self.support_size, self._network()
        n = n_read = 0
        while n < self.n_draws and 2 * n_read < self.n_draws and 2 * (n - n_read) <= self.n_draws:
            name = (self.fingerprint, batch_size, n)
            students = signs(generator("students", *name), self.width, d)
            n_read += is_read(student_gradients(self.target, network, d, k, students, batch_size, *name), k)
            n += 1
        return {"batch_size": batch_size, "n_draws": n, "n_read": n_read, "chosen": False}

    def _network(self) -> tuple[Network | None, int]:
        return _network(self.target, self.n_bits, self.support_size, self.seed)

    def shared(self) -> dict[str, Any]:
        """Return what is known of the target before any draw."""
        d, k, (network, n_attempts) = self.n_bits, self.support_size, self._network()
        c, weight_of_labels = np.zeros(d), 0.0
        if network is not None:
            c = degree_1(network, k)
            x = signs(generator("norm", self.fingerprint), 2 * INPUTS_AT_ONCE, d)
            norm = float((outputs(network, x) ** 2).mean())
        else:
            (weight_of_labels, _), *others = parities = self.target.parities(d, k) or ()
            for weight, coordinates in others:
                c[list(coordinates)] += weight
            norm = sum(weight**2 for weight, _ in parities)  # distinct parities are orthogonal
        is_known = self.rule == "one" and not isinstance(self.target, TrainedTarget)
        return {
            "n_attempts": n_attempts,
            "minimum_in": float(np.abs(c[:k]).min()),
            "maximum_off": float(np.abs(c[k:]).max()),
            "norm": norm,
            "predicted": predicted_batch(d, k, c, weight_of_labels, norm) if is_known else nan,
        }


@cache
def _network(target: Target, n_bits: int, support_size: int, seed: int) -> tuple[Network | None, int]:
    return target.network(n_bits, support_size, seed)


def predicted_batch(
    n_bits: int, support_size: int, coefficients: NDArray[Any], weight_of_labels: float, norm: float
) -> float:
    r"""Return the batch at which one neuron reads the support with probability one half, in the normal limit.

    The gradient's coordinates have the means :math:`\tfrac12 (c_j + \hat y \, \zeta_{k-1} \chi_{S \setminus j}(w))` in the
    support, :math:`\tfrac12 (c_j + \hat y \, \zeta_{k+1} \chi_{S \cup j}(w))` off it, variance
    :math:`\mathrm{E}[f^2] / (2B)`, and no covariance to first order. The signs are averaged over the student's weights.

    `coefficients` are c_j, shape (d,), `weight_of_labels` is :math:`\hat y`, the weight of the label's parity in the target,
    `norm` is :math:`\mathrm{E}[f^2]`. Infinite if no batch reads it.

    >>> 100 < predicted_batch(11, 2, np.zeros(11), 1.0, 1.0) < 1000
    True
    """
    k = support_size
    z_in, z_off = (weight_of_labels * coefficient(n_bits, degree) for degree in (k - 1, k + 1))
    noise = np.sqrt(norm / 2)
    in_, off = coefficients[:k], (coefficients[k:] + z_off) / 2
    chi: list[tuple[float, Any]] = [(1.0, 1.0)]  # how likely which signs in the support are
    if weight_of_labels != 0 and in_.any():  # equal coefficients: only the number of agreeing signs matters
        chi = [(comb(k, n) / 2**k, np.where(np.arange(k) < n, 1.0, -1.0)) for n in range(k + 1)]

    def excess(log2_batch: float) -> float:
        share = sum(
            weight * read_off_probability(2.0**log2_batch, (in_ + sign * z_in) / 2, off, noise)
            for weight, sign in chi
        )
        return share - 0.5

    if excess(60.0) < 0:
        return inf
    return float(2 ** brentq(excess, 0.0, 60.0, xtol=1e-3))


def read_off_probability(
    batch_size: float, signal_in: NDArray[Any], signal_off: NDArray[Any], noise: float = sqrt(0.5)
) -> float:
    r"""Return how likely the k largest of d noisy gradient coordinates are the support.

    The coordinates are independent and normal, with means :math:`\mu_j` and variance :math:`\sigma^2 / B`:

    .. math:: P = \int_0^\infty \prod_{j \notin S} F_j(u) \; \Big(-\mathrm{d} \prod_{i \in S} (1 - F_i(u))\Big)

    where :math:`F_j` is the distribution function of :math:`|g_j|`, a folded normal one, and the measure that of the
    smallest magnitude in the support. By Gauss-Legendre quadrature around the smallest mean of the support.

    `batch_size` is B > 0, any real number; `signal_in` and `signal_off` are the means, shapes (k,) and (d - k,); `noise` is
    :math:`\sigma > 0`, the standard deviation of one input's gradient, by default that of labels.

    >>> round(read_off_probability(1.0, np.zeros(2), np.zeros(3)), 12)  # no signal: one of C(5, 2) sets
    0.1
    >>> round(read_off_probability(100.0, np.array([1.0, -1.0]), np.array([0.1, 0.0, 0.0])), 12)
    1.0
    """
    scale = noise / sqrt(batch_size)
    mean_in, n_in = np.unique(np.abs(signal_in) / scale, return_counts=True)  # in standard deviations
    mean_off, n_off = np.unique(np.abs(signal_off) / scale, return_counts=True)
    lower, upper = max(0.0, mean_in[0] - REACH), mean_in[0] + REACH
    u = (lower + upper) / 2 + (upper - lower) / 2 * NODES[:, None]  # (node, 1)
    above_in = ndtr(mean_in - u) + ndtr(-mean_in - u)  # P(|g| > u), (node, mean)
    density = (np.exp(-((u - mean_in) ** 2) / 2) + np.exp(-((u + mean_in) ** 2) / 2)) / sqrt(2 * pi)
    above_off = np.minimum(ndtr(mean_off - u) + ndtr(-mean_off - u), 1.0)
    with np.errstate(divide="ignore"):  # the logarithm of a probability of 0
        below_off = np.exp(np.log1p(-above_off) @ n_off)
    smallest = np.exp(np.log(above_in) @ n_in) * ((density / above_in) @ n_in)
    return float((upper - lower) / 2 * (WEIGHTS @ (below_off * smallest)))

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
from math import comb, inf
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from pdlib.specs import Calculation, Spec, require, whole
from pdlib.theory.complexity import read_off_probability
from pdlib.theory.majority import coefficient
from pdlib.theory.network import Network, degree_1, first_stage, outputs
from pdlib.theory.setting import check_seed, check_setting, check_shares, generator, philox, signs
from pdlib.theory.sliced import sums_of_signs
from pdlib.theory.two_stage import trained_teacher

Rule = Literal["one", "pooled"]
Sums = tuple[
    tuple[float, tuple[int, ...]], ...
]  # weight and coordinates of each parity that a target is made of
RESOLUTION = 4  # batches are 2^(e / 4), rounded
FIRST_EXPONENT = 8  # the smallest batch tried is 4
HOPELESS = 2**20  # largest batch tried where the exact means don't separate the support
ATTEMPTS = 10_000  # initialisations tried for a teacher whose infinite-batch gradients separate the support
INPUTS_AT_ONCE = 8192


@dataclass(frozen=True)
class Target(Spec):
    """What a student's first stage learns from: a sum of parities, or a network."""

    def parities(self, n_bits: int, support_size: int) -> Sums | None:
        """Return the target as a weighted sum of parities, or None if it is a network."""
        return None

    def network(self, n_bits: int, support_size: int, seed: int) -> tuple[Network, int]:
        """Return the target as a network, and how many initialisations were drawn for it."""
        raise NotImplementedError


@dataclass(frozen=True)
class LabelTarget(Target):
    """The labels themselves, :math:`f = y`.

    >>> LabelTarget().parities(11, 2)
    ((1.0, (0, 1)),)
    """

    def parities(self, n_bits: int, support_size: int) -> Sums:
        """Return y."""
        return ((1.0, tuple(range(support_size))),)


@dataclass(frozen=True)
class ConstructedTarget(Target):
    r"""The most helpful final teacher of hinge loss e that stays within [-1, 1].

    .. math:: f(x) = (1 - e) \, y + \frac{e}{k} \sum_{j \in S} x_j, \qquad e = d^{-c}

    Its hinge loss is e, and its degree-1 correlation e / k on each coordinate of the support.

    Parameters
    ----------
    exponent
        c > 0 of the theorem's loss :math:`O(d^{-c})`.

    Examples
    --------
    >>> [(round(weight, 3), coordinates) for weight, coordinates in ConstructedTarget(1.0).parities(11, 2)]
    [(0.909, (0, 1)), (0.045, (0,)), (0.045, (1,))]
    """

    version: ClassVar[int] = 1
    exponent: float  # c

    def __post_init__(self) -> None:
        require(
            isinstance(self.exponent, (int, float)) and 0 < self.exponent < float("inf"),
            f"exponent c = {self.exponent!r}",
            "a finite number above 0",
        )
        object.__setattr__(self, "exponent", float(self.exponent))

    def loss(self, n_bits: int) -> float:
        """Return e, the hinge loss."""
        return float(n_bits**-self.exponent)

    def parities(self, n_bits: int, support_size: int) -> Sums:
        """Return y and the k coordinates with their weights."""
        e = self.loss(n_bits)
        return (
            (1 - e, tuple(range(support_size))),
            *((e / support_size, (j,)) for j in range(support_size)),
        )


@dataclass(frozen=True)
class IntermediateTarget(Target):
    """The teacher after its first stage, by the population gradient.

    At random initialisation its degree-1 coefficients are sums over neurons of random signs, so that now and then
    one of the support is smaller than one off it, and no batch whatever shows the support. Initialisations are drawn
    until the support is separated; how often it is not is a measurement of its own (`SeparationShare`).

    Parameters
    ----------
    width
        m, even.
    aligned
        Whether the weights in the support have the signs that the proof of Lemma B.5 assumes.
    """

    version: ClassVar[int] = 1
    width: int  # m
    aligned: bool = False

    def __post_init__(self) -> None:
        whole(width=self.width)
        require(self.width % 2 == 0, f"width m = {self.width}", "an even number, for mirrored neurons")
        require(type(self.aligned) is bool, f"aligned = {self.aligned!r}", "True or False")

    def network(self, n_bits: int, support_size: int, seed: int) -> tuple[Network, int]:
        """Return the first network whose degree-1 coefficients separate the support."""
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

    Parameters
    ----------
    width
        m, even.
    epsilon
        Hinge loss at which the second stage stops.
    max_steps
        Steps after which it stops anyway; the loss reached stands in the table.
    """

    version: ClassVar[int] = 1
    width: int  # m
    epsilon: float = 0.05
    max_steps: int = 10_000_000

    def __post_init__(self) -> None:
        whole(width=self.width, max_steps=self.max_steps)
        require(self.width % 2 == 0, f"width m = {self.width}", "an even number, for mirrored neurons")
        check_shares(epsilon=self.epsilon)

    def network(self, n_bits: int, support_size: int, seed: int) -> tuple[Network, int]:
        """Return the trained network."""
        return _trained(n_bits, support_size, self.width, self.epsilon, self.max_steps, seed), 1


@cache
def _trained(
    n_bits: int, support_size: int, width: int, epsilon: float, max_steps: int, seed: int
) -> Network:
    return trained_teacher(n_bits, support_size, width, epsilon, max_steps, seed)


def separates(sizes: NDArray[Any], support_size: int) -> bool:
    """Whether the k largest magnitudes are those of the support, the first k.

    >>> separates(np.array([0.3, -0.2, 0.1]), 2), separates(np.array([0.3, -0.1, 0.1]), 2)
    (True, False)
    """
    size = np.abs(sizes)
    return bool(size[:support_size].min() > size[support_size:].max())


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

    Parameters
    ----------
    target, network
        What is learned from; `network` for targets that are one.
    students : shape (neuron, d)
        Initial weights, signs.
    n_inputs
        B.
    identity
        Literals that name the inputs.
    """
    inputs = philox("read-off inputs", *identity)
    parities = target.parities(n_bits, support_size)
    if parities is not None:
        sums = sums_of_signs(inputs, n_bits, n_inputs, tuple(m for _, m in parities), students)
        return np.asarray(np.einsum("c,icj->ij", np.array([w for w, _ in parities]), sums) / n_inputs)
    assert network is not None
    rng = np.random.Generator(inputs)
    total = np.zeros(students.shape)
    for start in range(0, n_inputs, INPUTS_AT_ONCE):
        x = signs(rng, min(INPUTS_AT_ONCE, n_inputs - start), n_bits)
        total += (x @ students.T > 0).T.astype(float) @ (outputs(network, x)[:, None] * x)
    return total / n_inputs


def is_read(gradients: NDArray[Any], support_size: int) -> bool:
    """Whether the support is read off by the root mean square over neurons; with one neuron, by its magnitude."""
    return separates(np.sqrt((gradients**2).mean(axis=0)), support_size)


@dataclass(frozen=True)
class ReadOff(Calculation):
    """The smallest batch from which the support is read off, by bisection with repeated draws.

    Table rows, one a batch tried, in the order of trial: `batch_size`, `n_draws` (a batch is left as soon as its
    outcome is certain), `n_read`, `chosen` (the answer; no row has it if `max_batch` was not enough), and, the same in
    all rows, `n_attempts` (initialisations drawn for the target), `minimum_in` and `maximum_off` (degree-1 coefficients
    of the target), `norm` (mean square of the target), `predicted` (batch at which independent normal coordinates with
    the exact means and variances would be read with probability one half; for one neuron; not a number for a
    trained network, whose higher coefficients enter too).

    Parameters
    ----------
    n_bits, support_size
        d, odd; k, even.
    target
        What the student's first stage learns from.
    rule
        `"one"` neuron, or `"pooled"` over `width` neurons.
    width
        Neurons of the student; 1 with rule `"one"`.
    n_draws
        Draws of student and inputs a batch.
    max_batch
        Largest batch tried; 2^20 where `predicted` is infinite, since no batch would do.
    seed
        Decides the target's initialisation, the students and the inputs.

    References
    ----------
    Paper, Theorem B.1, Claims B.3 and B.4.

    Examples
    --------
    >>> rows = ReadOff(11, 2, LabelTarget(), "one", n_draws=10, seed=0).rows()
    >>> answer = [row["batch_size"] for row in rows if row["chosen"]]
    >>> len(answer), 32 < answer[0] < 2048
    (1, True)
    """

    version: ClassVar[int] = 1
    n_bits: int  # d
    support_size: int  # k
    target: Target
    rule: Rule = "one"
    width: int = 1
    n_draws: int = 20
    max_batch: int = 2**32
    seed: int = 0

    def __post_init__(self) -> None:
        check_setting(self.n_bits, self.support_size)
        whole(width=self.width, n_draws=self.n_draws, max_batch=self.max_batch)
        require(self.n_bits < 128, f"n_bits d = {self.n_bits}", "at most 127")
        require(isinstance(self.target, Target), f"target = {self.target!r}", "a Target")
        check_seed(self.seed)
        smallest = round(2 ** (FIRST_EXPONENT / RESOLUTION))
        require(
            self.max_batch >= smallest,
            f"max_batch = {self.max_batch}",
            f"at least {smallest}, the first batch tried",
        )
        require(self.rule in ("one", "pooled"), f"rule = {self.rule!r}", "'one' or 'pooled'")
        require(
            (self.rule == "one") == (self.width == 1),
            f"width = {self.width} with rule {self.rule!r}",
            "1 with rule 'one', more with 'pooled'",
        )

    @property
    def work(self) -> float:
        """Some ten batches of the expected size."""
        gap = abs(coefficient(self.n_bits, self.support_size - 1)) / 2
        return 30 / gap**2 * self.n_draws * self.n_bits * self.width

    def rows(self) -> list[dict[str, Any]]:
        """Double the batch until it is enough, then bisect the last octave."""
        shared = self.shared()
        largest = min(self.max_batch, HOPELESS) if shared["predicted"] == inf else self.max_batch
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
        network = self._network()[0]
        n = n_read = 0
        while n < self.n_draws and 2 * n_read < self.n_draws and 2 * (n - n_read) <= self.n_draws:
            name = (self.fingerprint, batch_size, n)
            students = signs(generator("students", *name), self.width, self.n_bits)
            gradients = student_gradients(
                self.target, network, self.n_bits, self.support_size, students, batch_size, *name
            )
            n_read += is_read(gradients, self.support_size)
            n += 1
        return {"batch_size": batch_size, "n_draws": n, "n_read": n_read, "chosen": False}

    def _network(self) -> tuple[Network | None, int]:
        if self.target.parities(self.n_bits, self.support_size) is not None:
            return None, 1
        return _network(self.target, self.n_bits, self.support_size, self.seed)

    def shared(self) -> dict[str, Any]:
        """Return what is known of the target before any draw."""
        d, k = self.n_bits, self.support_size
        network, n_attempts = self._network()
        parities = self.target.parities(d, k)
        c = np.zeros(d)
        if network is not None:
            c = degree_1(network, k)
            x = signs(generator("norm", self.fingerprint), 2 * INPUTS_AT_ONCE, d)
            norm, weight_of_labels = float((outputs(network, x) ** 2).mean()), 0.0
        else:
            assert parities is not None
            for weight, coordinates in parities[1:]:
                c[list(coordinates)] += weight
            norm = sum(weight**2 for weight, _ in parities)  # distinct parities are orthogonal
            weight_of_labels = parities[0][0]
        is_known = self.rule == "one" and not isinstance(self.target, TrainedTarget)
        return {
            "n_attempts": n_attempts,
            "minimum_in": float(np.abs(c[:k]).min()),
            "maximum_off": float(np.abs(c[k:]).max()),
            "norm": norm,
            "predicted": predicted_batch(d, k, c, weight_of_labels, norm) if is_known else float("nan"),
        }


@cache
def _network(target: Target, n_bits: int, support_size: int, seed: int) -> tuple[Network, int]:
    return target.network(n_bits, support_size, seed)


def predicted_batch(
    n_bits: int, support_size: int, coefficients: NDArray[Any], weight_of_labels: float, norm: float
) -> float:
    r"""Return the batch at which one neuron reads the support with probability one half, in the normal limit.

    The gradient's coordinates have the means :math:`\tfrac12 (c_j + \hat y \, \zeta_{k-1} \chi_{S \setminus j}(w))` in the
    support, :math:`\tfrac12 (c_j + \hat y \, \zeta_{k+1} \chi_{S \cup j}(w))` off it, variance
    :math:`\mathrm{E}[f^2] / (2B)`, and no covariance to first order. The signs are averaged over the student's weights.

    Parameters
    ----------
    n_bits, support_size
        d, k.
    coefficients : shape (d,)
        c_j, the target's degree-1 coefficients.
    weight_of_labels
        :math:`\hat y`, the weight of the label's parity in the target.
    norm
        :math:`\mathrm{E}[f^2]`.

    Returns
    -------
    float
        Inputs; infinite if no batch reads it.

    Examples
    --------
    >>> 100 < predicted_batch(11, 2, np.zeros(11), 1.0, 1.0) < 1000
    True
    """
    k = support_size
    z_in, z_off = (weight_of_labels * coefficient(n_bits, degree) for degree in (k - 1, k + 1))
    noise = np.sqrt(norm / 2)
    in_, off = coefficients[:k], coefficients[k:]
    patterns: list[tuple[float, NDArray[Any], NDArray[Any]]] = []
    if weight_of_labels == 0 or not in_.any():
        patterns.append((1.0, (in_ + z_in) / 2, (off + z_off) / 2))
    else:  # equal coefficients in the support: only the number of agreeing signs matters
        for n_agree in range(k + 1):
            sign = np.where(np.arange(k) < n_agree, 1.0, -1.0)
            patterns.append((comb(k, n_agree) / 2**k, (in_ + sign * z_in) / 2, (off + z_off) / 2))

    def excess(log2_batch: float) -> float:
        share = sum(
            weight * read_off_probability(2.0**log2_batch, inside, outside, noise)
            for weight, inside, outside in patterns
        )
        return share - 0.5

    if excess(60.0) < 0:
        return float("inf")
    return float(2 ** brentq(excess, 0.0, 60.0, xtol=1e-3))

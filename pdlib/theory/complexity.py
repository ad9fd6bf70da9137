"""The sample complexities that appendix B states: as printed, corrected, as numbers, and where they cross.

The paper hides constants and logarithms of d and k behind Omega, Theta and tildes. Here every hidden constant is 1 and
every logarithm that is not printed is left out, so that a number is the formula's and not a guess. Batches, steps and
samples are real numbers: rounding them would hide what a formula says where it says less than one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import ndtr

from pdlib.specs import Calculation, require, whole
from pdlib.theory.majority import coefficient
from pdlib.theory.setting import check_seed, check_setting, check_shares, generator, signs

Form = Literal["3.2", "3.2 larger", "B.1", "proof"]
FORMS: tuple[Form, ...] = get_args(Form)
LARGEST = 2**1000  # d beyond which no crossing is looked for
REACH = 10.0  # standard deviations of a normal coordinate that are integrated over: 1e-23 of it lies outside
N_NODES = 256  # of the quadrature
N_EVALUATION = 4096  # held-out inputs of a measured run
EVALUATION_RATIO = 1.05  # steps between evaluations grow by this factor


# --- What Lemma B.7 and Corollary B.9 ask for


def teacher_batch(
    n_bits: int, support_size: int, epsilon: float, *, printed: bool = False, corollary: bool = False
) -> float:
    r"""Return the first-stage batch that the teacher needs.

    .. math:: B_1 = |\zeta_{k-1}|^{-2} \, k^2 \log(kd/\epsilon) \cdot
              \begin{cases} 1 & \text{Lemma B.7} \\ d^{10/3} & \text{Corollary B.9} \end{cases}

    Both print :math:`|\zeta_{k-1}|^{+2}`, against their own :math:`\tau_g = O(|\zeta_{k-1}| / k)` and
    :math:`B_1 \ge \tau_g^{-2}`, and against the :math:`d^{k-1}` to which they simplify it.

    Parameters
    ----------
    n_bits, support_size
        d, odd; k, even.
    epsilon
        Loss to be reached, in (0, 1).
    printed
        Whether to take the power +2.
    corollary
        Whether to take Corollary B.9, or Lemma B.7.

    Returns
    -------
    float
        Inputs, with constant 1.

    Raises
    ------
    SpecError
        If d, k or epsilon lies outside its range.

    References
    ----------
    Paper, Lemma B.7 and Corollary B.9.

    Examples
    --------
    >>> f"{teacher_batch(101, 6, 0.1, corollary=True):.2g}"
    '2.4e+18'
    >>> f"{teacher_batch(101, 6, 0.1, corollary=True, printed=True):.2g}"
    '0.93'
    """
    check_setting(n_bits, support_size)
    check_shares(epsilon=epsilon)
    d, k = n_bits, support_size
    power = 2 if printed else -2
    size = abs(coefficient(d, k - 1)) ** power * k**2 * math.log(k * d / epsilon)
    return size * d ** (10 / 3) if corollary else size


def second_stage_steps(n_bits: int, support_size: int, width: int, epsilon: float) -> float:
    r"""Return Lemma B.7's number of batch-1 steps on the output weights, :math:`T_2 = m d^2 k^3 / \epsilon^2`.

    >>> round(second_stage_steps(11, 2, 24, 0.1))
    2323200
    """
    check_setting(n_bits, support_size)
    whole(width=width)
    check_shares(epsilon=epsilon)
    return width * n_bits**2 * support_size**3 / epsilon**2


def second_stage_rate(n_bits: int, support_size: int, width: int, epsilon: float) -> float:
    r"""Return Lemma B.7's learning rate, :math:`\eta_2 = 4 k^{1.5} / (d \sqrt{m (T_2 - 1)})`.

    >>> f"{second_stage_rate(11, 2, 24, 0.1):.3g}"
    '0.000138'
    """
    steps = second_stage_steps(n_bits, support_size, width, epsilon)
    return 4 * math.sqrt(support_size**3) / (n_bits * math.sqrt(width * (steps - 1)))


def smallest_width(support_size: int, delta: float) -> int:
    r"""Return Lemma B.7's width :math:`m = 2^k k \log(k/\delta)`, rounded up to mirrored pairs of neurons.

    >>> smallest_width(2, 0.1), smallest_width(6, 0.1)
    (24, 1574)
    """
    _check_support(support_size)
    check_shares(delta=delta)
    return 2 * math.ceil(2.0**support_size * support_size * math.log(support_size / delta) / 2)


def smallest_regime(support_size: int, epsilon: float) -> int:
    r"""Return the smallest odd d of Lemma B.7's regime, :math:`d \ge k^4 \log(kd/\epsilon)`.

    >>> smallest_regime(2, 0.1), smallest_regime(6, 0.1)
    (127, 18007)
    """
    _check_support(support_size)
    check_shares(epsilon=epsilon)
    k = support_size
    # d - k^4 log(kd / epsilon) falls up to d = k^4, then rises; it is negative at d = k + 1, so it has one root
    answer = _smallest_odd(lambda d: d >= k**4 * math.log(k * d / epsilon), k + 1)
    assert answer is not None
    return answer


class Regime(NamedTuple):
    """The smallest case that Lemma B.7 covers."""

    n_bits: int  #: d
    width: int  #: m
    steps: float  #: T_2, batch-1 steps of the second stage
    multiply_adds: float  #: of those steps: the activations, the output and the update, m (d + 2) a step


def regime(support_size: int, epsilon: float, delta: float) -> Regime:
    """Return the smallest d and m that Lemma B.7 admits, and what its second stage then costs.

    Only k = 2 can be run: a core does some 10^9 multiply-adds a second.

    Examples
    --------
    >>> [f"{regime(k, 0.1, 0.1).multiply_adds:.0e}" for k in (2, 4, 6)]
    ['1e+12', '1e+19', '3e+23']
    """
    d, m = smallest_regime(support_size, epsilon), smallest_width(support_size, delta)
    steps = second_stage_steps(d, support_size, m, epsilon)
    return Regime(d, m, steps, steps * m * (d + 2))


# --- Theorem 3.2 in its printed forms


class SampleComplexity(NamedTuple):
    """Inputs that the student needs under a form of the theorem, with constants 1."""

    progressive_first: float  #: first stage, from the intermediate teacher
    progressive_second: float  #: second stage, which distillation shares
    distillation: float  #: lower bound for distillation

    @property
    def progressive(self) -> float:
        """Both stages of progressive distillation."""
        return self.progressive_first + self.progressive_second


def theorem(
    n_bits: int, support_size: int, epsilon: float, delta: float, c: float, form: Form
) -> SampleComplexity:
    r"""Return what one printed form of the theorem says, with constants 1 and :math:`\tilde m = 2^k k`.

    Progressive distillation, first and second stage, then distillation:

    .. math::
        \text{3.2:} \quad & k^3, & & 2^k d^2 \epsilon^{-2}, & & \min(d^{k-1}, \epsilon^{-2}) \\
        \text{3.2 larger:} \quad & k^3, & & 2^k d^2 \epsilon^{-2}, & & \max(d^{k-1}, \epsilon^{-2}) \\
        \text{B.1:} \quad & k^2 \log(d\tilde m/\delta), & & 2^k d^2 k^4 \epsilon^{-2} \log(k/\delta), & &
        d^{\min(2c, k-1)} \\
        \text{proof:} \quad & k^2 \log(d\tilde m/\delta), & & 2^k d^2 k^4 \epsilon^{-2} \log(k/\delta), & &
        d^{\min(2c, k-1)} / \tilde m

    Theorem 3.2 prints :math:`\Omega(d^{k-1}, \epsilon^{-2})`. Its proof sketch gives the student a choice of two
    signals, the labels' and the teacher's, so that the smaller of the two bounds what is necessary, as in B.1.
    The larger is the reading under which the theorem can say what it claims.

    Parameters
    ----------
    n_bits, support_size
        d, odd; k, even.
    epsilon
        Loss to be reached, in (0, 1); in the two forms of 3.2 the final teacher's loss too.
    delta
        Probability of failure, in (0, 1). Not in 3.2.
    c
        At least 1: the final teacher has loss :math:`O(d^{-c})`. Not in 3.2.
    form
        One of the names above.

    Raises
    ------
    SpecError
        If a value lies outside its range.

    References
    ----------
    Paper, Theorem 3.2, Theorem B.1 and the end of its proof (appendix B.2).

    Examples
    --------
    >>> [f"{theorem(101, 6, 0.1, 0.1, 2.5, form).distillation:.1e}" for form in FORMS]
    ['1.0e+02', '1.1e+10', '1.1e+10', '2.7e+07']
    >>> [f"{theorem(101, 6, 0.1, 0.1, 2.5, form).progressive:.1e}" for form in FORMS]
    ['6.5e+07', '6.5e+07', '3.5e+11', '3.5e+11']
    """
    _check_theorem(support_size, epsilon, delta, c, form)
    check_setting(n_bits, support_size)
    d, k = n_bits, support_size
    width = 2**k * k
    if form in ("3.2", "3.2 larger"):
        smaller, larger = sorted((float(d ** (k - 1)), epsilon**-2))
        return SampleComplexity(k**3, 2**k * d**2 / epsilon**2, smaller if form == "3.2" else larger)
    lower = d ** min(2 * c, k - 1)
    return SampleComplexity(
        k**2 * math.log(d * width / delta),
        2**k * d**2 * k**4 / epsilon**2 * math.log(k / delta),
        lower / width if form == "proof" else lower,
    )


def _logarithms(d: int, k: int, epsilon: float, delta: float, c: float, form: Form) -> SampleComplexity:
    """Return the logarithms of `theorem`'s numbers, at any d."""
    log_d, log_width = math.log(d), math.log(2**k * k)
    second = k * math.log(2) + 2 * log_d - 2 * math.log(epsilon)
    if form in ("3.2", "3.2 larger"):
        smaller, larger = sorted(((k - 1) * log_d, -2 * math.log(epsilon)))
        return SampleComplexity(3 * math.log(k), second, smaller if form == "3.2" else larger)
    lower = min(2 * c, k - 1) * log_d
    return SampleComplexity(
        2 * math.log(k) + math.log(log_d + log_width - math.log(delta)),
        second + 4 * math.log(k) + math.log(math.log(k / delta)),
        lower - log_width if form == "proof" else lower,
    )


def crossing(support_size: int, epsilon: float, delta: float, c: float, form: Form) -> int | None:
    r"""Return the d from which on the theorem's bound for distillation exceeds its total for progressive distillation.

    .. math:: \text{distillation} > \text{progressive, first} + \text{progressive, second}

    From a crossing on it holds for good: the left side grows as :math:`d^p`; if p exceeds 2 it outgrows the right
    side, none of whose terms grows faster than :math:`d^2`, and if not it stays below.

    Parameters
    ----------
    support_size, epsilon, delta, c, form
        As in `theorem`.

    Returns
    -------
    int or None
        Smallest such odd d, found by bisection of the logarithms of both sides; None if there is none up to
        :math:`2^{1000}`: so always in form "3.2", for k = 2, and for c = 1 in "B.1" and "proof".

    Examples
    --------
    >>> crossing(6, 0.1, 0.1, 2.5, "B.1"), crossing(6, 0.1, 0.1, 1.0, "B.1"), crossing(6, 0.1, 0.1, 2.5, "3.2")
    (325, None, None)
    """
    _check_theorem(support_size, epsilon, delta, c, form)

    def exceeds(d: int) -> bool:
        first, second, lower = _logarithms(d, support_size, epsilon, delta, c, form)
        total = max(first, second) + math.log1p(math.exp(-abs(first - second)))
        return lower > total

    return _smallest_odd(exceeds, support_size + 1)


def first_stage_crossing(support_size: int, epsilon: float, delta: float, c: float, form: Form) -> int | None:
    r"""Return the d from which on distillation's bound exceeds the first stage of progressive distillation.

    The second stage trains on the final teacher either way, so a student that distils pays for it too; the bound is
    on finding the support, the first stage's part. Charging both leaves

    .. math:: \text{distillation} > \text{progressive, first}

    Parameters
    ----------
    support_size, epsilon, delta, c, form
        As in `theorem`.

    Returns
    -------
    int or None
        Smallest such odd d, or None as for `crossing`.

    Examples
    --------
    >>> first_stage_crossing(6, 0.1, 0.1, 2.5, "B.1"), first_stage_crossing(6, 0.1, 0.1, 2.5, "3.2")
    (7, None)
    """
    _check_theorem(support_size, epsilon, delta, c, form)

    def exceeds(d: int) -> bool:
        complexity = _logarithms(d, support_size, epsilon, delta, c, form)
        return complexity.distillation > complexity.progressive_first

    return _smallest_odd(exceeds, support_size + 1)


def _smallest_odd(holds: Callable[[int], bool], lowest: int) -> int | None:
    """Return the smallest odd number from an odd `lowest` on with `holds`, false up to some number and true after."""
    if holds(lowest):
        return lowest
    low, high = lowest, 2 * lowest + 1
    while not holds(high):
        low, high = high, 2 * high + 1
        if high > LARGEST:
            return None
    while high - low > 2:
        middle = low + (high - low) // 4 * 2  # low is odd, so this is too
        if holds(middle):
            high = middle
        else:
            low = middle
    return high


def _check_support(support_size: int) -> None:
    whole(support_size=support_size)
    check_setting(2 * support_size + 1, support_size)


def _check_theorem(support_size: int, epsilon: float, delta: float, c: float, form: Form) -> None:
    _check_support(support_size)
    check_shares(epsilon=epsilon, delta=delta)
    require(
        isinstance(c, (int, float)) and 1 <= c < math.inf,
        f"c = {c!r}",
        "a finite number of at least 1, as Theorem B.1 does",
        "Take c = (k - 1) / 2 for a teacher that helps no more than the labels do.",
    )
    require(form in FORMS, f"form = {form!r}", f"one of {', '.join(FORMS)}")


def _check_above_0(**values: float) -> None:
    for name, value in values.items():
        require(
            isinstance(value, (int, float)) and 0 < value < math.inf,
            f"{name} = {value!r}",
            "a finite number above 0",
        )


@dataclass(frozen=True)
class Totals(Calculation):
    """What the forms of the theorem say at several d.

    Table rows, one a d and form: `n_bits`, `form`, `progressive_first`, `progressive_second`, `distillation`; see
    `theorem`.

    Parameters
    ----------
    support_size, epsilon, delta, c
        As in `theorem`.
    n_bits
        d, odd numbers above k.

    Examples
    --------
    >>> row = Totals(4, 0.1, 0.1, 1.5, (101,)).rows()[0]
    >>> row["form"], row["progressive_first"], round(row["distillation"])
    ('3.2', 64.0, 100)
    """

    version: ClassVar[int] = 1
    support_size: int  # k
    epsilon: float
    delta: float
    c: float
    n_bits: tuple[int, ...]  # d

    def __post_init__(self) -> None:
        _check_theorem(self.support_size, self.epsilon, self.delta, self.c, "B.1")
        object.__setattr__(self, "c", float(self.c))
        require(len(self.n_bits) > 0, "n_bits = ()", "at least one d")
        for n_bits in self.n_bits:
            check_setting(n_bits, self.support_size)

    def rows(self) -> list[dict[str, Any]]:
        """Return one row a d and form."""
        rows = []
        for n_bits in self.n_bits:
            for form in FORMS:
                says = theorem(n_bits, self.support_size, self.epsilon, self.delta, self.c, form)
                numbers = {name: float(value) for name, value in says._asdict().items()}
                rows.append({"n_bits": n_bits, "form": form} | numbers)
        return rows


# --- What a finite d predicts


def read_off_probability(
    batch_size: float, signal_in: ArrayLike, signal_off: ArrayLike, noise: float = math.sqrt(0.5)
) -> float:
    r"""Return how likely the k largest of d noisy gradient coordinates are the support.

    The coordinates are independent and normal, with means :math:`\mu_j` and variance :math:`\sigma^2 / B`:

    .. math:: P = \int_0^\infty \prod_{j \notin S} F_j(u) \; \Big(-\mathrm{d} \prod_{i \in S} (1 - F_i(u))\Big)

    where :math:`F_j` is the distribution function of :math:`|g_j|`, a folded normal one, and the measure that of the
    smallest magnitude in the support. By Gauss-Legendre quadrature around the smallest mean of the support.

    Parameters
    ----------
    batch_size
        B > 0, any real number.
    signal_in : shape (k,)
        Means of the coordinates in the support.
    signal_off : shape (d - k,)
        Means of the others.
    noise
        :math:`\sigma > 0`, the standard deviation of one input's gradient. By default that of labels, half of whose
        terms, all of them signs, are switched off.

    Raises
    ------
    SpecError
        If batch or noise are not above 0, or a group has no coordinate.

    Examples
    --------
    >>> round(read_off_probability(1.0, [0.0, 0.0], [0.0, 0.0, 0.0]), 12)  # no signal: one of C(5, 2) sets
    0.1
    >>> round(read_off_probability(100.0, [1.0, -1.0], [0.1, 0.0, 0.0]), 12)
    1.0
    """
    _check_above_0(batch_size=batch_size, noise=noise)
    return _probability(batch_size, _folded(signal_in), _folded(signal_off), noise)


Folded = tuple[NDArray[np.float64], NDArray[np.intp]]  # distinct magnitudes, and how many means have each


def _folded(signal: ArrayLike) -> Folded:
    means = np.asarray(signal, float)
    require(
        means.ndim == 1 and means.size > 0 and bool(np.isfinite(means).all()),
        f"signal of shape {means.shape}",
        "finite means in one dimension, at least one",
    )
    magnitudes, counts = np.unique(np.abs(means), return_counts=True)
    return magnitudes, counts


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(N_NODES)


def _probability(batch_size: float, inside: Folded, off: Folded, noise: float) -> float:
    scale = noise / math.sqrt(batch_size)
    mean_in, mean_off = inside[0] / scale, off[0] / scale
    lower, upper = max(0.0, mean_in[0] - REACH), mean_in[0] + REACH
    u = (lower + upper) / 2 + (upper - lower) / 2 * _NODES[:, None]  # (node, 1), in standard deviations
    above_in = ndtr(mean_in - u) + ndtr(-mean_in - u)  # P(|g| > u), (node, mean)
    density = (np.exp(-((u - mean_in) ** 2) / 2) + np.exp(-((u + mean_in) ** 2) / 2)) / math.sqrt(2 * math.pi)
    above_off = np.minimum(ndtr(mean_off - u) + ndtr(-mean_off - u), 1.0)
    with np.errstate(divide="ignore"):  # the logarithm of a probability of 0
        below_off = np.exp(np.log1p(-above_off) @ off[1])
    smallest = np.exp(np.log(above_in) @ inside[1]) * ((density / above_in) @ inside[1])
    return float((upper - lower) / 2 * (_WEIGHTS @ (below_off * smallest)))


def predicted_read_off(
    n_bits: int,
    support_size: int,
    signal_in: ArrayLike,
    signal_off: ArrayLike,
    noise: float = math.sqrt(0.5),
    share: float = 0.5,
) -> float:
    r"""Return the batch from which the k largest of d normal gradient coordinates are the support often enough.

    The smallest B with `read_off_probability` of at least `share`. For labels the signals are
    :math:`\zeta_{k-1}/2` and :math:`\zeta_{k+1}/2` (Claim B.3).

    Parameters
    ----------
    n_bits, support_size
        d, odd; k, even.
    signal_in
        Mean of the coordinates in the support, or k of them.
    signal_off
        Mean of the coordinates off the support, or d - k of them.
    noise
        :math:`\sigma`, see `read_off_probability`.
    share
        Probability asked for, in [1/2, 1).

    Returns
    -------
    float
        Inputs, not rounded, at least 1. Infinite if the smallest magnitude in the support does not exceed the largest
        off it: then at any batch the larger one wins this pair with probability one half at least.

    Raises
    ------
    SpecError
        If a signal has another shape, or a number lies outside its range.

    Examples
    --------
    >>> z_in, z_off = coefficient(31, 3), coefficient(31, 5)
    >>> round(predicted_read_off(31, 4, z_in / 2, z_off / 2)), round((abs(z_in) - abs(z_off)) ** -2)
    (945808, 51001)
    >>> predicted_read_off(31, 4, 0.1, 0.1)
    inf
    """
    check_setting(n_bits, support_size)
    require(
        isinstance(share, (int, float)) and 0.5 <= share < 1,
        f"share = {share!r}",
        "a number in [0.5, 1), since below one half a batch can be enough where a larger one is not",
    )
    _check_above_0(noise=noise)
    inside = _folded(_spread("signal_in", signal_in, support_size))
    off = _folded(_spread("signal_off", signal_off, n_bits - support_size))
    gap = float(inside[0][0] - off[0][-1])
    if gap <= 0:
        return math.inf

    def excess(log2_batch: float) -> float:
        return _probability(2.0**log2_batch, inside, off, noise) - share

    # Once the gap is 2 REACH standard deviations wide nothing is misread
    last = math.ceil(max(0.0, 2 * math.log2(2 * REACH * noise / gap)))
    # octave by octave, so that the first batch is found even where the probability is not monotone
    for low, high in pairwise([0, *range(last + 1)]):
        if excess(high) >= 0:
            return 1.0 if high == 0 else float(2 ** brentq(excess, low, high, xtol=1e-12))
    return math.inf  # a share that differs from 1 by less than the quadrature resolves


def _spread(name: str, signal: ArrayLike, n: int) -> NDArray[np.float64]:
    means = np.asarray(signal, float)
    require(means.shape in ((), (n,)), f"{name} of shape {means.shape}", f"one number or {n}")
    return np.broadcast_to(means, (n,))


# --- Lemma B.10


def width_bound(n_bits: int, support_size: int, width: int, delta: float, noise: float) -> float:
    r"""Return Lemma B.10's number of steps within which the loss stays at :math:`1 - \tau_g` or above.

    .. math:: T = \frac{1}{2} \binom{d}{k} \frac{\delta \tau_g^2}{m}

    Parameters
    ----------
    n_bits, support_size, width
        d, odd; k, even; m.
    delta
        Probability of failure, in (0, 1).
    noise
        :math:`\tau_g > 0`, the error of the gradient.

    Returns
    -------
    float
        Steps. Below 1 the lemma says nothing.

    Raises
    ------
    SpecError
        If a number lies outside its range.

    References
    ----------
    Paper, Lemma B.10.

    Examples
    --------
    >>> round(width_bound(31, 4, 16, 0.1, 0.25), 3), round(width_bound(31, 4, 64, 0.1, 0.125), 3)
    (6.146, 0.384)
    """
    check_setting(n_bits, support_size)
    whole(width=width)
    check_shares(delta=delta)
    _check_above_0(noise=noise)
    return math.comb(n_bits, support_size) * delta * noise**2 / (2 * width)


@dataclass(frozen=True)
class WidthTradeOff(Calculation):
    r"""Steps that batch SGD needs to leave the plateau of Lemma B.10, beside the lemma's bound.

    Both layers are trained on the hinge loss from the labels, on fresh inputs, from appendix B's symmetric
    initialisation (weights +-1, outputs +-1/m, biases frozen), which trains as it is. The outputs move at the
    learning rate :math:`\eta`, the weights, whose gradients are m times smaller, at :math:`m \eta`. A run ends when the
    held-out hinge loss first is at most :math:`1 - \tau_g`, with

    .. math:: \tau_g = 1 / \sqrt B

    the error that appendix B gives a batch of B inputs, constant and logarithms left out: the largest plausible
    reading (the gradient's terms have a standard deviation of at most 1), so the one with the largest bound. The lemma's
    noise is an error that an opponent may choose; a batch's is not, so that the runs may leave the plateau late for
    other reasons, but none may leave it before the bound.

    The lemma says that there is a parity; initialisation and inputs do not prefer any coordinate, so what holds for one
    support holds for all, and a run draws one.

    Table rows, one: `reached`, `step` (the first evaluation at or below the threshold, or the last step), `samples`
    (:math:`B` a step), `loss` (held-out, at that step; not finite if the run diverged), `noise` (:math:`\tau_g`), `bound`
    (steps). Evaluations are 5 % of the steps apart, and each of the first 20 steps is one.

    Parameters
    ----------
    n_bits, support_size
        d, k.
    width
        m, even.
    batch_size
        B.
    learning_rate
        :math:`\eta`; 0.03 trains at widths and batches from 16 to 1024.
    max_steps
        Steps after which a run is given up.
    delta
        The lemma's, in (0, 1).
    seed
        Decides support, initialisation and inputs.

    References
    ----------
    Paper, Lemma B.10.

    Examples
    --------
    >>> row = WidthTradeOff(11, 2, 16, 64, max_steps=1000).rows()[0]
    >>> row["reached"], row["loss"] <= 1 - row["noise"], row["step"] > row["bound"]
    (True, True, True)
    """

    version: ClassVar[int] = 1
    n_bits: int  # d
    support_size: int  # k
    width: int  # m
    batch_size: int  # B
    learning_rate: float = 0.03  # eta
    max_steps: int = 100_000
    delta: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        check_setting(self.n_bits, self.support_size)
        whole(width=self.width, batch_size=self.batch_size, max_steps=self.max_steps)
        require(self.width % 2 == 0, f"width m = {self.width}", "an even number, for mirrored neurons")
        _check_above_0(learning_rate=self.learning_rate)
        object.__setattr__(self, "learning_rate", float(self.learning_rate))
        check_shares(delta=self.delta)
        check_seed(self.seed)

    @property
    def noise(self) -> float:
        """Error of a batch's gradient, :math:`\\tau_g`."""
        return 1 / math.sqrt(self.batch_size)

    @property
    def bound(self) -> float:
        """Lemma B.10's steps."""
        return width_bound(self.n_bits, self.support_size, self.width, self.delta, self.noise)

    @property
    def work(self) -> float:
        """Three products a step, up to the last; most runs end long before."""
        return 3.0 * self.max_steps * self.batch_size * self.width * self.n_bits

    def rows(self) -> list[dict[str, Any]]:
        """Train until the loss leaves the plateau."""
        step, loss = self._run()
        return [
            {
                "reached": loss <= 1 - self.noise,
                "step": step,
                "samples": step * self.batch_size,
                "loss": loss,
                "noise": self.noise,
                "bound": self.bound,
            }
        ]

    def _run(self) -> tuple[int, float]:
        d, k, m, n = self.n_bits, self.support_size, self.width, self.batch_size
        name = (d, k, m, n, self.learning_rate, self.seed)
        rng = generator("width trade-off", *name)
        support = rng.choice(d, k, replace=False)
        half_w, half_a = signs(rng, m // 2, d), signs(rng, m // 2) / m
        half_b = rng.integers(1 - k, k, m // 2) / k
        w = np.concatenate([half_w, half_w]).astype(np.float32)  # (m, d)
        b = np.concatenate([half_b, half_b]).astype(np.float32)
        a = np.concatenate([half_a, -half_a]).astype(np.float32)
        held_out = signs(generator("width trade-off, held out", *name), N_EVALUATION, d).astype(np.float32)
        held_out_y = held_out[:, support].prod(axis=1)

        loss, evaluate_at = math.nan, 1
        with np.errstate(over="ignore", invalid="ignore"):  # too high a rate diverges, which the loss says
            for step in range(1, self.max_steps + 1):
                x = (2 * rng.integers(0, 2, (n, d), dtype=np.int8) - 1).astype(np.float32)
                y = x[:, support].prod(axis=1)
                z = x @ w.T + b  # (B, m)
                active = np.maximum(z, 0)
                slope = np.where((active @ a) * y < 1, -y, 0) / np.float32(n)  # of the mean loss by f, (B,)
                gradient_w = a[:, None] * (((z > 0) * slope[:, None]).T @ x)
                a -= np.float32(self.learning_rate) * (slope @ active)
                w -= np.float32(self.learning_rate * m) * gradient_w
                if step == evaluate_at or step == self.max_steps:
                    f = np.maximum(held_out @ w.T + b, 0) @ a
                    loss = float(np.maximum(0, 1 - f * held_out_y).mean(dtype=np.float64))
                    if loss <= 1 - self.noise or not math.isfinite(loss):
                        return step, loss
                    evaluate_at = max(step + 1, int(EVALUATION_RATIO * step))
        return self.max_steps, loss

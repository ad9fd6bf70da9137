"""The second stage, measured: steps until a teacher is good, and the best that any second stage could reach.

Lemma B.7 and Corollary B.8 as experiments, and the step of Theorem B.1's proof that calls the student's second stage
"exactly equal" to the teacher's.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import csr_array, hstack, identity

from pdlib.specs import Calculation, require, whole
from pdlib.theory.complexity import second_stage_rate, second_stage_steps
from pdlib.theory.network import Network, check_width, degree_1, first_stage, hidden, initial
from pdlib.theory.setting import (
    check_enumerable,
    check_seed,
    check_setting,
    check_shares,
    cube,
    generator,
    parity,
)
from pdlib.theory.two_stage import teacher_progress

LARGEST_PROGRAM = 11  # bits of the largest cube whose best output weights are sought: 2048 inputs


def in_regime(n_bits: int, support_size: int, width: int, epsilon: float, delta: float) -> bool:
    r"""Return whether Lemma B.7's conditions hold, their constants taken as 1.

    .. math:: m \ge 2^k k \log(k / \delta), \qquad d \ge k^4 \log(k d / \epsilon)

    Raises
    ------
    SpecError
        If epsilon or delta lie outside (0, 1).

    Examples
    --------
    >>> in_regime(127, 2, 24, 0.1, 0.1), in_regime(127, 4, 1024, 0.1, 0.1)
    (True, False)
    """
    check_setting(n_bits, support_size)
    check_shares(epsilon=epsilon, delta=delta)
    k = support_size
    return width >= 2**k * k * log(k / delta) and n_bits >= k**4 * log(k * n_bits / epsilon)


@dataclass(frozen=True)
class SecondStage(Calculation):
    r"""Lemma B.7 and Corollary B.8: hinge loss and degree-1 correlations along a teacher's second stage.

    First stage by the population gradient (an infinite batch), then batch-1 SGD on the output weights, labels only.

    Table rows, one an evaluation, at step 0, 64 and then every :math:`\sqrt 2` times as many, until the loss is at most
    epsilon or `max_steps`: `step`, `loss` (hinge, held out), `accuracy`, `max_degree_1` (largest :math:`|E f x_j|`, exact),
    `norm` (:math:`E f^2`), `learning_rate`, `bound_steps` (:math:`T_2 = m d^2 k^3 / \epsilon^2`), `in_regime`, `reached`
    (whether the loss is at most epsilon).

    Parameters
    ----------
    n_bits, support_size, width
        d, odd; k, even; m, even.
    epsilon, delta
        Loss sought; allowed probability of failure, which enters the lemma's width alone. Both in (0, 1).
    max_steps
        Where to stop.
    n_evaluation
        Held-out inputs.
    seed
        Decides initialisation and inputs.
    rate_factor
        Learning rate over the lemma's :math:`\eta_2 = 4 k^{1.5} / (d \sqrt{m (T_2 - 1)})`.

    References
    ----------
    Paper, Lemma B.7, Corollary B.8.

    Examples
    --------
    >>> row = SecondStage(11, 2, 32, epsilon=0.1, max_steps=10**6, n_evaluation=2048).rows()[-1]
    >>> row["reached"], row["step"] < row["bound_steps"], row["max_degree_1"] <= 0.1, row["in_regime"]
    (True, True, True, False)
    """

    version: ClassVar[int] = 1
    n_bits: int  # d
    support_size: int  # k
    width: int  # m
    epsilon: float
    delta: float = 0.1
    max_steps: int = 1_000_000
    n_evaluation: int = 16_384
    seed: int = 0
    rate_factor: float = 1.0

    def __post_init__(self) -> None:
        check_setting(self.n_bits, self.support_size)
        check_width(self.width)
        check_shares(epsilon=self.epsilon, delta=self.delta)
        whole(max_steps=self.max_steps, n_evaluation=self.n_evaluation)
        check_seed(self.seed)
        require(
            isinstance(self.rate_factor, (int, float)) and 0 < self.rate_factor < float("inf"),
            f"rate_factor = {self.rate_factor!r}",
            "a finite number above 0",
        )
        object.__setattr__(self, "rate_factor", float(self.rate_factor))

    @property
    def work(self) -> float:
        """Additions of all steps, a quarter of the bits each."""
        return self.max_steps * self.width * self.n_bits / 4

    def rows(self) -> list[dict[str, Any]]:
        """Return one row an evaluation."""
        setting = (self.n_bits, self.support_size, self.width)
        rate = self.rate_factor * second_stage_rate(*setting, self.epsilon)
        progress = teacher_progress(
            *setting, self.epsilon, self.max_steps, self.n_evaluation, self.seed, rate=rate
        )
        return [
            {
                "step": now.step,
                "loss": now.loss,
                "accuracy": now.accuracy,
                "max_degree_1": float(np.abs(degree_1(now.network, self.support_size)).max()),
                "norm": now.norm,
                "learning_rate": rate,
                "bound_steps": second_stage_steps(*setting, self.epsilon),
                "in_regime": in_regime(*setting, self.epsilon, self.delta),
                "reached": now.loss <= self.epsilon,
            }
            for now in progress
        ]


def best_outputs(units: NDArray[Any], targets: NDArray[Any]) -> tuple[NDArray[np.float64], float]:
    r"""Return the output weights of least mean hinge loss, and that loss, by linear programming.

    .. math:: \min_{a, \xi \ge 0} \tfrac1N \sum_n \xi_n \quad \text{with} \quad \xi_n \ge 1 - t_n \sum_i a_i u_{ni}

    Parameters
    ----------
    units : shape (example, neuron)
        What the hidden units give.
    targets : shape (example,)
        Labels.

    Raises
    ------
    RuntimeError
        If the solver finds no optimum.

    Examples
    --------
    >>> a, loss = best_outputs(np.array([[1.0], [3.0]]), np.array([1.0, -1.0]))
    >>> a.tolist(), loss  # no weight does better than 0: f = a and 3 a must have opposite signs
    ([-0.3333333333333333], 0.6666666666666666)
    """
    n, m = units.shape
    problem = hstack([csr_array(-targets[:, None] * units), -identity(n, format="csr")], format="csr")
    found = linprog(
        np.concatenate([np.zeros(m), np.full(n, 1 / n)]),
        A_ub=problem,
        b_ub=np.full(n, -1.0),
        bounds=[(None, None)] * m + [(0, None)] * n,
        method="highs",
    )
    if found.status != 0:
        raise RuntimeError(f"the linear program ended with {found.message!r}: expected an optimum.")
    return found.x[:m], max(float(found.fun), 0.0)


def check_scales(scales: tuple[float, ...]) -> None:
    """Raise `SpecError` unless there are scales and all are finite and above 0."""
    require(len(scales) > 0, "scales = ()", "at least one scale")
    for scale in scales:
        require(
            isinstance(scale, (int, float)) and 0 < scale < float("inf"),
            f"scale {scale!r}",
            "a finite number above 0",
        )


@dataclass(frozen=True)
class BestSecondStage(Calculation):
    r"""The least hinge loss that any second stage could reach, after an infinite-batch first stage.

    The student's weights after its first stage are given; the best output weights over the whole cube are found by linear
    programming, so that no training of the outputs does better.

    From labels, neurons have the signs of :math:`\chi_{S \setminus \{j\}}(w_i)` in the support: :math:`2^k` directions. From
    an intermediate teacher the gradient of neuron i is :math:`-\tfrac12 a_i c_j`, the teacher's degree-1 coefficients (it is
    odd, so that majority adds nothing): *all* neurons share one direction up to its sign, :math:`w_{ij} =
    \operatorname{sign}(a_i) \, c_j / (2 k \max_{j \in S} |c_j|)` where the rate puts the largest in the support at 1 / (2k).

    Table rows, one a scale: `scale`, `best_loss`, `accuracy` (of the signs of the best f), `n_neurons` (distinct ones),
    `n_directions` (distinct ones, up to sign), `spread_in` (smallest over largest absolute weight in the support, of the
    first neuron), `ratio_off` (largest absolute weight off it over the smallest in it: the support is separated below 1).

    Parameters
    ----------
    n_bits, support_size, width
        d, odd, at most 11; k, even; m of the student, even.
    supervision
        Of the student's first stage: `"labels"` or `"intermediate"`.
    teacher_width
        m of the intermediate teacher, even; 0 with labels.
    aligned
        Whether the network that sees labels (the student, or its teacher) has the initial signs that Lemma B.5 assumes.
    scales
        Factors on the student's weights: first-stage rates other than the one of largest weight 1 / (2k).
    seed
        Decides the initialisations.

    References
    ----------
    Paper, proof of Theorem B.1.

    Examples
    --------
    >>> labels = BestSecondStage(9, 2, 32, "labels").rows()[0]
    >>> intermediate = BestSecondStage(9, 2, 32, "intermediate", teacher_width=256).rows()[0]
    >>> labels["best_loss"] < 0.01, intermediate["n_directions"]
    (True, 1)
    """

    version: ClassVar[int] = 1
    n_bits: int  # d
    support_size: int  # k
    width: int  # m
    supervision: Literal["labels", "intermediate"]
    teacher_width: int = 0
    aligned: bool = False
    scales: tuple[float, ...] = (1.0,)
    seed: int = 0

    def __post_init__(self) -> None:
        check_setting(self.n_bits, self.support_size)
        check_enumerable(self.n_bits, LARGEST_PROGRAM)
        check_width(self.width)
        require(
            self.supervision in ("labels", "intermediate"),
            f"supervision = {self.supervision!r}",
            "'labels' or 'intermediate'",
        )
        if self.supervision == "intermediate":
            check_width(self.teacher_width)
        else:
            require(self.teacher_width == 0, f"teacher_width = {self.teacher_width} with labels", "0")
        check_scales(self.scales)
        object.__setattr__(self, "scales", tuple(float(scale) for scale in self.scales))
        require(type(self.aligned) is bool, f"aligned = {self.aligned!r}", "True or False")
        check_seed(self.seed)

    @property
    def work(self) -> float:
        """A rough count of the simplex method's operations."""
        return len(self.scales) * 2.0**self.n_bits * self.width * 2000

    def student(self) -> Network:
        """Return the student after its first stage; its output weights are the initial ones."""
        d, k = self.n_bits, self.support_size
        rng = generator("student", d, k, self.width, self.seed)
        if self.supervision == "labels":
            return first_stage(d, k, self.width, rng, aligned=self.aligned)
        teacher_rng = generator("teacher of best", d, k, self.teacher_width, self.seed)
        c = degree_1(first_stage(d, k, self.teacher_width, teacher_rng, aligned=self.aligned), k)
        student = initial(d, k, self.width, rng)
        largest = max(np.abs(c[:k]).max(), np.finfo(float).tiny)
        return student._replace(weights=np.sign(student.outputs)[:, None] * c / (2 * k * largest))

    def rows(self) -> list[dict[str, Any]]:
        """Return one row a scale."""
        student, k = self.student(), self.support_size
        # twins and neurons that agree by chance leave the program singular, not smaller in what it can say
        neurons = np.unique(np.column_stack([student.weights, student.biases]).round(14), axis=0)
        weights, biases = neurons[:, :-1], neurons[:, -1]
        directions = np.unique((weights * np.sign(weights[:, :1])).round(12), axis=0)  # first weight positive
        size = np.abs(student.weights[0])
        x = cube(self.n_bits)
        y = parity(x, k)
        rows = []
        for scale in self.scales:
            units = hidden(Network(scale * weights, biases, np.zeros(len(biases))), x)
            outputs, loss = best_outputs(units, y)
            rows.append(
                {
                    "scale": scale,
                    "best_loss": loss,
                    "accuracy": float((units @ outputs * y > 0).mean()),
                    "n_neurons": len(neurons),
                    "n_directions": len(directions),
                    "spread_in": float(size[:k].min() / size[:k].max()),
                    "ratio_off": float(size[k:].max() / size[:k].min()),
                }
            )
        return rows


@dataclass(frozen=True)
class SharedDirection(Calculation):
    r"""The best second stage after an intermediate teacher, where nothing is left to blame on a small d or m.

    For :math:`d \to \infty` the weights off the support vanish, and for a wide teacher at random initialisation the
    coefficients :math:`c_j` in it are independent normal. A student of any width then has the units
    :math:`\sigma(\pm \langle v, x \rangle + b)`, v along c, b on the grid: 2k - 1 kinks on a line, along which parity may
    change sign many more times. (With equal :math:`c_j`, as at the aligned initialisation, it changes k times, and the kinks
    lie where it needs them.)

    Table rows, one a draw of c: `draw`, `spread_in` (smallest over largest :math:`|c_j|`), `sign_changes` (of parity along
    the line), `lemma_loss` (least hinge loss with :math:`\max_j |v_j| = 1 / (2k)`), `best_loss` and `best_scale` (least over
    the scales).

    Parameters
    ----------
    support_size
        k, even.
    n_draws
        Draws of c.
    scales
        Factors on v.
    seed
        Decides the draws.

    Examples
    --------
    >>> [round(row["best_loss"], 9) for row in SharedDirection(2, n_draws=3).rows()]
    [0.0, 0.0, 0.0]
    >>> max(row["best_loss"] for row in SharedDirection(6, n_draws=5).rows()) > 0.3
    True
    """

    version: ClassVar[int] = 1
    support_size: int  # k
    n_draws: int = 100
    scales: tuple[float, ...] = (0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0)
    seed: int = 0

    def __post_init__(self) -> None:
        check_setting(2 * self.support_size + 1, self.support_size)
        check_enumerable(self.support_size, LARGEST_PROGRAM)
        whole(n_draws=self.n_draws)
        check_scales(self.scales)
        object.__setattr__(self, "scales", tuple(float(scale) for scale in self.scales))
        check_seed(self.seed)

    @property
    def work(self) -> float:
        """A rough count of the simplex method's operations."""
        return 1e5 * self.n_draws * (len(self.scales) + 1) * 2.0**self.support_size

    def rows(self) -> list[dict[str, Any]]:
        """Return one row a draw."""
        k = self.support_size
        rng = generator("shared direction", k, self.seed)
        x = cube(k)
        y = parity(x, k)
        rows = []
        for draw in range(self.n_draws):
            c = rng.standard_normal(k)
            line = x @ c / (2 * k * np.abs(c).max())
            at_scales = [shared_direction_loss(scale * line, y) for scale in self.scales]
            best = int(np.argmin(at_scales))
            rows.append(
                {
                    "draw": draw,
                    "spread_in": float(np.abs(c).min() / np.abs(c).max()),
                    "sign_changes": int((np.diff(y[np.argsort(line)]) != 0).sum()),
                    "lemma_loss": shared_direction_loss(line, y),
                    "best_loss": at_scales[best],
                    "best_scale": self.scales[best],
                }
            )
        return rows


def shared_direction_loss(line: NDArray[Any], y: NDArray[Any]) -> float:
    r"""Return the least hinge loss of units :math:`\sigma(\pm u + b)` on a line, b on the grid of biases.

    Parameters
    ----------
    line : shape (2^k,)
        u of each input of the support.
    y : shape (2^k,)
        Labels.

    Examples
    --------
    >>> x = cube(4)
    >>> round(shared_direction_loss(x.sum(axis=1) / 8, parity(x, 4)), 9)  # equal weights: parity is met
    0.0
    """
    k = len(y).bit_length() - 1
    biases = np.arange(1 - k, k) / k
    units = np.maximum(np.concatenate([line[:, None] + biases, biases - line[:, None]], axis=1), 0.0)
    return best_outputs(units, y)[1]

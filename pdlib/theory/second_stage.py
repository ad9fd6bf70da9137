"""The second stage, measured: steps until a teacher is good, what its loss says, and the best any second stage could reach.

Lemma B.7 and Corollary B.8 as experiments, and the step of Theorem B.1's proof that calls the student's second stage
"exactly equal" to the teacher's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import log
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import csr_array, hstack, identity

from pdlib.specs import Count, Index, Positive, Several, Share, require
from pdlib.theory.network import Network, degree_1, first_stage, hidden, hinge, initial
from pdlib.theory.setting import (
    ENUMERABLE,
    Experiment,
    NetworkExperiment,
    check_setting,
    cube,
    generator,
    parity,
)
from pdlib.theory.two_stage import second_stage_rate, second_stage_steps, teacher_progress

LARGEST_PROGRAM = 11  # bits of the largest cube whose best output weights are sought: 2048 inputs


@dataclass(frozen=True)
class SecondStage(NetworkExperiment):
    r"""Lemma B.7 and Corollary B.8: hinge loss and degree-1 correlations along a teacher's second stage.

    First stage by the population gradient (an infinite batch), then batch-1 SGD on the output weights, labels only.

    Table rows, one for each evaluation, at step 0, 64 and then every :math:`\sqrt 2` times as many, until the loss is
    at most epsilon or `max_steps`: `step`, `loss` (hinge, held out), `accuracy`, `max_degree_1` (largest :math:`|E f x_j|`,
    exact), `norm` (:math:`E f^2`), `learning_rate`, `bound_steps` (:math:`T_2 = m d^2 k^3 / \epsilon^2`), `in_regime`
    (whether the lemma's conditions hold with constants of 1, :math:`m \ge 2^k k \log(k / \delta)` and :math:`d \ge k^4
    \log(k d / \epsilon)`), `reached` (whether the loss is at most epsilon).

    >>> row = SecondStage(11, 2, 32, epsilon=0.1, max_steps=10**6, n_evaluation=2048).rows()[-1]
    >>> row["reached"], row["step"] < row["bound_steps"], row["max_degree_1"] <= 0.1, row["in_regime"]
    (True, True, True, False)
    """

    version: ClassVar[int] = 1
    epsilon: Share  # loss sought
    delta: Share = 0.1  # enters the lemma's width alone
    max_steps: Count = 1_000_000  # where to stop
    n_evaluation: Count = 16_384  # held-out inputs
    seed: Index = 0
    rate_factor: Positive = 1.0  # learning rate over the lemma's

    @property
    def work(self) -> float:
        # additions of all steps, a quarter of the bits each
        return self.max_steps * self.width * self.n_bits / 4

    def rows(self) -> list[dict[str, Any]]:
        d, k, m = setting = (self.n_bits, self.support_size, self.width)
        in_regime = m >= 2**k * k * log(k / self.delta) and d >= k**4 * log(k * d / self.epsilon)
        progress = teacher_progress(
            *setting, self.epsilon, self.max_steps, self.seed, self.n_evaluation, self.rate_factor
        )
        return [
            {
                "step": now.step,
                "loss": now.loss,
                "accuracy": now.accuracy,
                "max_degree_1": float(np.abs(degree_1(now.network, k)).max()),
                "norm": now.norm,
                "learning_rate": self.rate_factor * second_stage_rate(*setting, self.epsilon),
                "bound_steps": second_stage_steps(*setting, self.epsilon),
                "in_regime": in_regime,
                "reached": now.loss <= self.epsilon,
            }
            for now in progress
        ]


@dataclass(frozen=True)
class FinalTeachers(Experiment):
    r"""Corollary B.8: hinge loss and largest degree-1 correlation of many predictors, over the whole cube.

    If :math:`|f| \le 1` then :math:`|E[f x_i]| = |E[(f - y) x_i]| \le E|f - y| = E[1 - f y]`, the hinge loss, which no
    longer sees f beyond 1.

    Table rows: `predictor`, `largest` (of :math:`|f|`), `loss`, `correlation` (the largest :math:`|E[f x_i]|`).
    The predictors: `2y + x_1`; `constructed`, for several losses e, :math:`(1 - e) y + (e/k) \sum_S x_j`; `wrong on a
    share`, y with its sign turned, on a random share of the inputs, to that of :math:`x_1`; `clipped noise`, y plus noise
    and a random linear function, clipped to [-1, 1]; `unclipped noise`, the same function times 2, not clipped.

    >>> FinalTeachers(7, 2).rows()[0]
    {'predictor': '2y + x_1', 'largest': 3.0, 'loss': 0.0, 'correlation': 1.0}
    """

    version: ClassVar[int] = 1
    most_bits: ClassVar[float] = ENUMERABLE
    n_bits: Count  # d
    support_size: Count  # k
    n_random: Count = 20  # predictors of each random kind
    seed: Index = 0

    def rows(self) -> list[dict[str, Any]]:
        x = cube(self.n_bits)
        y = parity(x, self.support_size)
        return [
            {
                "predictor": name,
                "largest": float(np.abs(f).max()),
                "loss": float(hinge(f, y).mean()),
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


def best_outputs(units: NDArray[Any], targets: NDArray[Any]) -> tuple[NDArray[np.float64], float]:
    r"""Return the output weights of least mean hinge loss, and that loss, by linear programming.

    .. math:: \min_{a, \xi \ge 0} \tfrac1N \sum_n \xi_n \quad \text{with} \quad \xi_n \ge 1 - t_n \sum_i a_i u_{ni}

    `units` is what the hidden units give, shape (example, neuron); `targets` are labels, shape (example,).

    >>> a, loss = best_outputs(np.array([[1.0], [3.0]]), np.array([1.0, -1.0]))
    >>> a.tolist(), loss  # f = a and 3 a must have opposite signs
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


@dataclass(frozen=True)
class BestSecondStage(NetworkExperiment):
    r"""The least hinge loss that any second stage could reach, after an infinite-batch first stage.

    The best output weights over the whole cube are found by linear programming: no training of the outputs does better.

    From labels, neurons have the signs of :math:`\chi_{S \setminus \{j\}}(w_i)` in the support: :math:`2^k` directions. From
    an intermediate teacher the gradient of neuron i is :math:`-\tfrac12 a_i c_j`, the teacher's degree-1 coefficients (it is
    odd, so that majority adds nothing): *all* neurons share one direction up to its sign, :math:`w_{ij} =
    \operatorname{sign}(a_i) \, c_j / (2 k \max_{j \in S} |c_j|)` where the rate puts the largest in the support at 1 / (2k).

    Table rows, by `scale`: `best_loss`, `accuracy` (of the signs of the best f), `n_neurons` (distinct ones),
    `n_directions` (distinct ones, up to sign), `spread_in` (smallest over largest absolute weight in the support, of the
    first neuron), `ratio_off` (largest absolute weight off it over the smallest in it: the support is separated below 1).

    >>> labels = BestSecondStage(9, 2, 32, "labels").rows()[0]
    >>> intermediate = BestSecondStage(9, 2, 32, "intermediate", teacher_width=256).rows()[0]
    >>> labels["best_loss"] < 0.01, intermediate["n_directions"]
    (True, 1)
    """

    version: ClassVar[int] = 1
    most_bits: ClassVar[float] = LARGEST_PROGRAM
    supervision: Literal["labels", "intermediate"]  # of the student's first stage
    teacher_width: Index = 0  # m of the intermediate teacher; 0 with labels
    aligned: bool = False  # whether who sees labels has the initial signs that Lemma B.5's proof assumes
    scales: Several[Positive] = (1.0,)  # factors on the weights: other first-stage rates
    seed: Index = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.supervision == "intermediate":
            check_setting(width=self.teacher_width)
        else:
            require(self.teacher_width == 0, f"teacher_width = {self.teacher_width} with labels", "0")

    @property
    def work(self) -> float:
        # a rough count of the simplex method's operations
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
class SharedDirection(Experiment):
    r"""The best second stage after an intermediate teacher, where nothing is left to blame on a small d or m.

    For :math:`d \to \infty` the weights off the support vanish, and for a wide teacher at random initialisation the
    coefficients :math:`c_j` in it are independent normal. A student of any width then has the units
    :math:`\sigma(\pm \langle v, x \rangle + b)`, v along c, b on the grid: 2k - 1 kinks on a line, along which parity may
    change sign many more times.

    Table rows, by `draw` of c: `spread_in` (smallest over largest :math:`|c_j|`), `sign_changes` (of parity along
    the line), `lemma_loss` (least hinge loss with :math:`\max_j |v_j| = 1 / (2k)`), `best_loss` and `best_scale` (least over
    the scales).

    >>> max(row["best_loss"] for row in SharedDirection(6, n_draws=5).rows()) > 0.3
    True
    """

    version: ClassVar[int] = 1
    most_bits: ClassVar[float] = LARGEST_PROGRAM
    support_size: Count  # k
    n_draws: Count = 100  # of c
    scales: Several[Positive] = (0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0)  # factors on v
    seed: Index = 0

    @property
    def work(self) -> float:
        # a rough count of the simplex method's operations
        return 1e5 * self.n_draws * (len(self.scales) + 1) * 2.0**self.support_size

    def rows(self) -> list[dict[str, Any]]:
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

    `line` is u of each input of the support, `y` its labels, shape (2^k,) each.

    >>> x = cube(4)
    >>> round(shared_direction_loss(x.sum(axis=1) / 8, parity(x, 4)), 9)  # equal weights: parity is met
    0.0
    """
    k = len(y).bit_length() - 1
    biases = np.arange(1 - k, k) / k
    units = np.maximum(np.concatenate([line[:, None] + biases, biases - line[:, None]], axis=1), 0.0)
    return best_outputs(units, y)[1]

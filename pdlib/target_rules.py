r"""What a student is told in place of what its teacher says: a rule for `Distillation(..., targets=rule)`.

A rule turns a checkpoint's answers into targets: samples of them, a mixture with the true labels, or a control that keeps
one property of the checkpoint and drops another. Targets are made with the labels, block by block, and are a function of
the rule, the checkpoint and the stream; what is random is drawn by an example's number, so any block can be made again.

Signs: of class c in {0, 1} it is s = 1 - 2c; y is the true one, h(x) the checkpoint's, by its argmax. The checkpoint's
accuracy a and its coefficients :math:`c_A = E[h(x) \prod_{j \in A} x_j]` on the support S are measured on the probe stream.
A new rule is a class here.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from pdlib.models.mlp import MLP, softmax
from pdlib.specs import Count, Index, Model, Parameters, TargetRule, Task, Temperature, Training, require
from pdlib.tasks.bits import random_words, stream_key, uniforms

Told = Callable[[Any, NDArray[Any], int], NDArray[Any]]  # see `TargetRule.of`
PACE = "state/pace"  # in a saved run, beside its parameters
N_MEASURED = 100_000  # inputs by which a checkpoint's accuracy and coefficients are known, to .003


@dataclass(frozen=True)
class Checkpoint:
    """A teacher's network at one of its steps, as a rule asks it.

    >>> Checkpoint.saying([0.0, 1.0]).logits(np.zeros((2, 1))).tolist()
    [[0.0, 1.0], [0.0, 1.0]]
    """

    task: Task
    model: Model
    parameters: Parameters
    identity: str  # of teacher, step and stream: names what is drawn
    final: bool = False  # whether it is the teacher's last
    device: str = "cpu"

    def logits(self, inputs: Any) -> NDArray[np.float64]:
        """Return the outputs, (example, class)."""
        return self.model.logits(self.parameters, inputs, self.device).astype(np.float64)

    @classmethod
    def saying(cls, logits: list[float], *, final: bool = False) -> Checkpoint:
        """Return one that says the same of every input, which has one coordinate: for examples and tests."""
        silent = {"0.weight": np.zeros((1, 1)), "0.bias": np.zeros(1), "2.weight": np.zeros((len(logits), 1))}
        return cls(Task(), MLP(1), silent | {"2.bias": np.array(logits)}, "the same", final)


def _uniform(identity: str, start: int, n: int) -> NDArray[np.float64]:
    """Return a number in [0, 1) for each of the examples start ... start + n - 1."""
    return uniforms(random_words(stream_key(identity), start, start + n, 1)[:, 0])


@dataclass(frozen=True)
class Sampled(TargetRule):
    r"""The mean of m labels drawn from the teacher's distribution: what its generations tell.

    .. math:: q(x) = \frac1m \sum_{j=1}^m e_{y_j}, \qquad y_j \sim \mathrm{softmax}(f_T(x) / \tau)

    The first labels of a larger m are those of a smaller one. With m to infinity they are soft targets, with tau to 0 the
    argmax. (The paper's section 2 has the low temperature stand for learning from generations.)

    >>> rule = Sampled(4)
    >>> q = rule.of(Checkpoint.saying([0.0, 0.0]))(np.zeros((3, 1)), np.zeros(3, int), 0)
    >>> q.shape, set((4 * q).ravel() % 1)
    ((3, 2), {np.float64(0.0)})
    """

    version: ClassVar[int] = 1
    hard: ClassVar[bool] = False
    n_labels: Count = 1  # m
    temperature: Temperature = 1.0  # tau

    def of(self, checkpoint: Checkpoint) -> Told:
        """See `TargetRule.of`."""
        name = f"labels of {checkpoint.identity} at temperature {self.temperature!r}"

        def targets(inputs: Any, classes: NDArray[Any], start: int) -> NDArray[Any]:
            up_to = softmax(checkpoint.logits(inputs), self.temperature).cumsum(axis=1)
            total = np.zeros_like(up_to)
            for j in range(self.n_labels):
                u = _uniform(f"{name}, {j}", start, len(up_to))
                drawn = (u[:, None] >= up_to[:, :-1]).sum(axis=1)
                total += np.eye(up_to.shape[1])[drawn]
            return total / self.n_labels

        return targets


@dataclass(frozen=True)
class LabelMixture(TargetRule):
    r"""True labels and teacher mixed, example by example.

    .. math:: q(x) = \alpha \, e_y + (1 - \alpha) \, \mathrm{softmax}(f_T(x) / \tau)

    Alpha weighs the labels, as in the paper's theory (appendix B); most code gives that name to the teacher's weight.

    >>> told = LabelMixture(0.25).of(Checkpoint.saying([0.0, 0.0]))(np.zeros((1, 1)), np.array([1]), 0)
    >>> told.tolist()
    [[0.375, 0.625]]
    """

    version: ClassVar[int] = 1
    hard: ClassVar[bool] = False
    label_weight: Annotated[float, "[0, 1]"] = 0.5  # alpha
    temperature: Temperature = 1.0  # tau

    def of(self, checkpoint: Checkpoint) -> Told:
        """See `TargetRule.of`."""

        def targets(inputs: Any, classes: NDArray[Any], start: int) -> NDArray[Any]:
            p = softmax(checkpoint.logits(inputs), self.temperature)
            return np.asarray(self.label_weight * np.eye(p.shape[1])[classes] + (1 - self.label_weight) * p)

        return targets


@dataclass(frozen=True)
class TwoTemperatures(TargetRule):
    """One temperature for the intermediate checkpoints, another for the final one.

    >>> told = TwoTemperatures(1.0, 1e-4).of(Checkpoint.saying([0.0, 1.0], final=True))
    >>> told(np.zeros((1, 1)), np.array([1]), 0).tolist()
    [[0.0, 1.0]]
    """

    version: ClassVar[int] = 1
    hard: ClassVar[bool] = False
    intermediate: Temperature
    final: Temperature

    def of(self, checkpoint: Checkpoint) -> Told:
        """See `TargetRule.of`."""
        temperature = self.final if checkpoint.final else self.intermediate
        return lambda inputs, _, __: softmax(checkpoint.logits(inputs), temperature)


@dataclass(frozen=True)
class AnnealedTemperature(TargetRule):
    r"""A temperature that falls in stages of equal length, geometrically, from `first` to `last`.

    "After Jafari et al." (arXiv:2104.07163): their rule scales logits in a squared error; this is the softmax version, in
    the paper's loss. Stage i of N has :math:`\tau_i = \tau_1 (\tau_N / \tau_1)^{(i-1)/(N-1)}`.

    >>> told = AnnealedTemperature(100, first=10.0, last=0.1, n_stages=3)
    >>> told.temperatures([0, 33, 34, 99, 500]).round(3).tolist()
    [10.0, 10.0, 1.0, 0.1, 0.1]
    """

    version: ClassVar[int] = 1
    hard: ClassVar[bool] = False
    n_examples: Count  # over which it falls
    first: Temperature = 10.0
    last: Temperature = 1e-4
    n_stages: Annotated[int, "[2, inf)"] = 10  # N

    def temperatures(self, numbers: Any) -> NDArray[np.float64]:
        """Return the temperature of each example, by its number in the stream."""
        stage = np.minimum(np.asarray(numbers) * self.n_stages // self.n_examples, self.n_stages - 1)
        return np.asarray(self.first * (self.last / self.first) ** (stage / (self.n_stages - 1)))

    def of(self, checkpoint: Checkpoint) -> Told:
        """See `TargetRule.of`."""

        def targets(inputs: Any, classes: NDArray[Any], start: int) -> NDArray[Any]:
            values = checkpoint.logits(inputs)
            values -= values.max(axis=1, keepdims=True)
            return softmax(values / self.temperatures(start + np.arange(len(values)))[:, None])

        return targets


@dataclass(frozen=True)
class TAID(TargetRule):
    r"""Temporally adaptive interpolated distillation: targets between what the student says itself and the teacher's.

    .. math:: p_t = \mathrm{softmax}\big( (1 - t) \, \mathrm{sg}(f_S(x)) + t f_T(x) \big) \propto p_S^{1-t} \, q^t, \qquad
              L = -\sum_c p_{t,c} \log p_{S,c}

    where q is the teacher's distribution at temperature 1 and sg stops the gradient, which in the logits is p_S - p_t. With
    N the run's steps, in order and without `adaptive`, step n has :math:`t = t_0 + (t_1 - t_0) n / N`. Else it is "TAID in
    blocks": t stays for a block of N / `n_blocks` steps, and after the n-th one, of mean loss :math:`L_n`,

    .. math:: m \leftarrow \beta m + (1 - \beta) \frac{L_{n-1} - L_n}{L_{n-1} + 10^{-15}}, \qquad
              t \leftarrow \min\Big( t_1, \max\big( t_0 + (t_1 - t_0) \tfrac{n}{n_{\text{blocks}}}, \;
              t + \alpha \sigma(m) (1 - t) \big) \Big)

    from the second block on. Shing et al. (arXiv:2501.16937, and their code) update after each batch; with one example a
    step such losses are noise, so the blocks are our reading. What decides t is part of a resumed run's state. Labels are
    the soft ones of temperature 1, in float16 but for a run in float64: a margin beyond 16 counts as infinite.

    >>> TAID(adaptive=False).pace(n_steps=4).weights(0, 4).round(2).tolist()
    [0.4, 0.55, 0.7, 0.85]
    """

    version: ClassVar[int] = 1
    hard: ClassVar[bool] = False
    plain: ClassVar[bool] = True
    adaptive: bool = True
    n_blocks: Count = 8000
    t_start: Annotated[float, "[0, 1]"] = 0.4
    t_end: Annotated[float, "[0, 1]"] = 1.0
    alpha: Annotated[float, "[0, 1]"] = 5e-4
    beta: Annotated[float, "[0, 1)"] = 0.99

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.t_start <= self.t_end, f"t_start = {self.t_start}", f"at most t_end = {self.t_end}")

    def check(self, training: Training) -> None:
        """Raise `SpecError` if there are more blocks than steps."""
        n, most = self.n_blocks, f"at most n_steps = {training.n_steps}"
        require(not self.adaptive or n <= training.n_steps, f"n_blocks = {n}", most, "Lower it.")

    def pace(self, n_steps: int) -> Pace:
        """See `TargetRule.pace`."""
        return Pace(self, n_steps)


class Pace:
    """The t of a run with `TAID`, from its losses.

    >>> pace = TAID(n_blocks=2, t_start=0.0).pace(n_steps=4)
    >>> pace.edges, pace.weights(0, 2).tolist()
    ([2, 4], [0.0, 0.0])
    """

    def __init__(self, rule: TAID, n_steps: int) -> None:
        self._rule, self._n_steps = rule, n_steps
        n = rule.n_blocks if rule.adaptive and rule.t_start < 1 else 0
        self.edges = [n_steps * i // n for i in range(1, n + 1)]  # where blocks end
        self._t, self._momentum, self._previous, self._sum = rule.t_start, 0.0, np.nan, 0.0

    def weights(self, start: int, stop: int) -> NDArray[np.float64] | None:
        """Return t of the steps start ... stop - 1; None if the student is told what the teacher says."""
        low, high = self._rule.t_start, self._rule.t_end
        linear = low + (high - low) * np.arange(start, stop) / self._n_steps
        t = np.full(stop - start, self._t) if self.edges else linear
        return None if t[0] == 1 else t

    def learned(self, stop: int, losses: NDArray[Any]) -> None:
        """Take in the losses of the steps up to stop - 1, none beyond a block's end."""
        self._sum += float(losses.sum(dtype=np.float64))
        i = bisect_left(self.edges, stop)
        if i == len(self.edges) or self.edges[i] != stop:
            return
        rule, mean = self._rule, self._sum / (stop - (self.edges[i - 1] if i else 0))
        if i:
            change = (self._previous - mean) / (self._previous + 1e-15)
            self._momentum = rule.beta * self._momentum + (1 - rule.beta) * change
            floor = rule.t_start + (rule.t_end - rule.t_start) * (i + 1) / rule.n_blocks
            adaptive = self._t + rule.alpha * float(expit(self._momentum)) * (1 - self._t)
            self._t = min(rule.t_end, max(floor, adaptive))
        self._previous, self._sum = mean, 0.0

    def state(self) -> Parameters:
        """Return what decides t further on, to be saved beside a network's parameters."""
        return {PACE: np.array([self._t, self._momentum, self._previous, self._sum])}

    def restore(self, saved: Parameters) -> None:
        """Go on from a saved state, if it is one."""
        if PACE in saved:
            self._t, self._momentum, self._previous, self._sum = saved[PACE].tolist()


# ------------------------------------------------------- controls, on tasks with a support


@dataclass(frozen=True)
class _OfSigns(TargetRule):
    """A control with hard labels, which leaves the final checkpoint as it is: what does an intermediate one teach by?"""

    final_too: ClassVar[bool] = False

    def check(self, training: Training) -> None:
        """Raise `SpecError` unless the task has two classes and a support."""
        task = training.task
        fits = task.n_classes == 2 and getattr(task, "support", None) is not None
        require(fits, f"{self} on {task}", "a task of two classes with a support, such as SparseParity")

    def drawn(self, checkpoint: Checkpoint, mean: NDArray[Any], start: int) -> NDArray[Any]:
        """Return classes whose signs have these means, drawn by the examples' numbers."""
        u = _uniform(f"signs of {checkpoint.identity} by {self.fingerprint}", start, len(mean))
        return (2 * u >= 1 + mean).astype(np.uint8)


class Measured:
    """What a checkpoint's hard labels show on the probe stream: agreement with y, and coefficients of monomials of S."""

    def __init__(self, checkpoint: Checkpoint, degrees: tuple[int, ...] = ()) -> None:
        support = checkpoint.task.support  # type: ignore[attr-defined]
        self.checkpoint = checkpoint
        self._monomials = [list(m) for degree in degrees for m in combinations(support, degree)]

    def signs(self, inputs: Any) -> NDArray[np.float64]:
        """Return h(x), shape (example,)."""
        return np.asarray(1.0 - 2.0 * self.checkpoint.logits(inputs).argmax(axis=1))

    def _features(self, inputs: Any) -> NDArray[np.float64]:
        """Return the monomials' values, (example, monomial)."""
        values = [inputs[:, m].prod(axis=1, dtype=np.float64) for m in self._monomials]
        return np.stack(values, axis=1) if values else np.zeros((len(inputs), 0))

    @cached_property
    def _measured(self) -> tuple[float, NDArray[np.float64]]:
        x, classes = self.checkpoint.task.stream(0, "probe").examples(0, N_MEASURED)
        h = self.signs(x)
        return float((h * (1.0 - 2.0 * classes)).mean()), h @ self._features(x) / len(h)

    @property
    def agreement(self) -> float:
        """E[h y] = 2a - 1."""
        return self._measured[0]

    @property
    def coefficients(self) -> NDArray[np.float64]:
        """c_A = E[h(x) chi_A(x)], shape (monomial,)."""
        return self._measured[1]

    def part(self, inputs: Any) -> NDArray[np.float64]:
        r"""Return :math:`\sum_A c_A \chi_A(x)`, shape (example,)."""
        return np.asarray(self._features(inputs) @ self.coefficients)


@dataclass(frozen=True)
class _OfDegrees(_OfSigns):
    """What concerns some degrees of a checkpoint's labels, below that of the parity."""

    degrees: tuple[Count, ...] = (1,)

    def check(self, training: Training) -> None:
        """Raise `SpecError` unless the degrees are distinct, and below the support's size."""
        super().check(training)
        k = len(training.task.support)  # type: ignore[attr-defined]
        fits = len(set(self.degrees)) == len(self.degrees) and max(self.degrees, default=0) < k
        require(fits, f"degrees = {self.degrees}", f"distinct ones below k = {k}")


@dataclass(frozen=True)
class Imitation(_OfDegrees):
    r"""True labels with noise, as accurate as the checkpoint, and with its signal of some degrees, or of none.

    .. math:: E[s \mid x] = (2a - 1) \, y + \sum_{A \subset S, \, |A| \in \text{degrees}} c_A \chi_A(x),
              \qquad \chi_A(x) = \prod_{j \in A} x_j

    cut to [-1, 1]; the labels are drawn. What leaks does not change the accuracy, since it is not correlated with y. With
    all degrees below k it is the checkpoint's mean label given the support, but for its bias: all it says of S, and no more.

    >>> Imitation(degrees=()).hard
    True
    """

    version: ClassVar[int] = 1

    def of(self, checkpoint: Checkpoint) -> Told:
        """See `TargetRule.of`."""
        known = Measured(checkpoint, self.degrees)

        def targets(inputs: Any, classes: NDArray[Any], start: int) -> NDArray[Any]:
            mean = known.agreement * (1.0 - 2.0 * classes) + known.part(inputs)
            return self.drawn(checkpoint, np.clip(mean, -1, 1), start)

        return targets


@dataclass(frozen=True)
class WithoutDegrees(_OfDegrees):
    r"""The checkpoint's labels with their part of some degrees on the support projected out; its control keeps that part.

    .. math:: E[s \mid x] = \lambda \Big( h(x) - \sum_A c_A \chi_A(x) \Big), \qquad
              \lambda = \frac{1}{1 + \sum_A |c_A|}

    over the subsets A of S of these degrees. Lambda keeps means within [-1, 1], so that labels can be drawn. With `kept`
    nothing is taken off, and lambda stays: the same noise with the signal, for comparison.

    >>> WithoutDegrees((1, 3), kept=True).kept
    True
    """

    version: ClassVar[int] = 1
    kept: bool = False

    def of(self, checkpoint: Checkpoint) -> Told:
        """See `TargetRule.of`."""
        known = Measured(checkpoint, self.degrees)

        def targets(inputs: Any, classes: NDArray[Any], start: int) -> NDArray[Any]:
            mean = known.signs(inputs) - (0.0 if self.kept else known.part(inputs))
            return self.drawn(checkpoint, mean / (1 + np.abs(known.coefficients).sum()), start)

        return targets


@dataclass(frozen=True)
class OtherSupport(_OfSigns):
    """The labels of the same network on a support `shift` coordinates further on: its signal, in the wrong place.

    >>> OtherSupport(3).shift
    3
    """

    version: ClassVar[int] = 1
    shift: Count  # coordinates, around the end

    def check(self, training: Training) -> None:
        """Raise `SpecError` unless the shifted support has no coordinate of the support."""
        super().check(training)
        support, d = set(training.task.support), training.task.n_inputs  # type: ignore[attr-defined]
        met = support & {(j + self.shift) % d for j in support}
        require(
            not met,
            f"shift = {self.shift}",
            f"one that takes no coordinate of S onto S, as here {sorted(met)}",
        )

    def of(self, checkpoint: Checkpoint) -> Told:
        """See `TargetRule.of`."""
        known = Measured(checkpoint)

        def targets(inputs: Any, classes: NDArray[Any], start: int) -> NDArray[Any]:
            elsewhere = np.roll(inputs[:, : checkpoint.task.n_inputs], -self.shift, axis=1)
            return ((1 - known.signs(elsewhere)) // 2).astype(np.uint8)

        return targets


@dataclass(frozen=True)
class RandomProjection(TargetRule):
    r"""The sign of a random projection of the teacher's hidden layer for the first examples, then the argmax.

    .. math:: s(x) = \mathrm{sign}\big( r^\top \mathrm{relu}(W x + b) - \text{mean} \big), \qquad r \sim N(0, I / m)

    A curriculum out of the final teacher alone, "after Gupta and Karmalkar" (arXiv:2503.17494), who project hidden layers;
    the sign, one bit an example, and the single projection are our reading. With `untrained` the hidden layer is that of the
    teacher's network before training: a control.

    >>> RandomProjection(n_examples=1000).seed
    0
    """

    version: ClassVar[int] = 1
    n_examples: Count  # taught by the projection
    seed: Index = 0  # of the projection
    untrained: bool = False

    def check(self, training: Training) -> None:
        """Raise `SpecError` unless the teacher is an MLP with two classes."""
        model, task = training.supervision.teacher.model, training.task  # type: ignore[attr-defined]
        fits = isinstance(model, MLP) and task.n_classes == 2
        require(
            fits, f"a projection of {model} on {task}", "an MLP, which has one hidden layer, and two classes"
        )

    def of(self, checkpoint: Checkpoint) -> Told:
        """See `TargetRule.of`."""
        task, parameters = checkpoint.task, checkpoint.parameters
        if self.untrained:
            parameters = checkpoint.model.initial(task.n_inputs, task.n_classes, self.seed)
        width = len(parameters["0.bias"])
        key = int(stream_key(f"random projection, seed {self.seed}"), 16)
        row = np.random.Generator(np.random.Philox(key=key)).standard_normal(width) / np.sqrt(width)
        dtype = parameters["0.weight"].dtype  # the projection is a network with one output:
        reader = parameters | {"2.weight": row[None].astype(dtype), "2.bias": np.zeros(1, dtype)}

        def projected(inputs: Any) -> NDArray[Any]:
            return checkpoint.model.logits(reader, inputs, checkpoint.device)[:, 0]

        mean = projected(task.stream(0, "probe").examples(0, N_MEASURED)[0]).mean()

        def targets(inputs: Any, classes: NDArray[Any], start: int) -> NDArray[Any]:
            first = max(0, min(len(inputs), self.n_examples - start))
            by_projection = (projected(inputs[:first]) < mean).astype(np.uint8)
            return np.concatenate(
                [by_projection, checkpoint.logits(inputs[first:]).argmax(axis=1).astype(np.uint8)]
            )

        return targets

r"""What a student is told in place of what its teacher says: a rule for `Distillation(..., targets=rule)`.

A rule turns a checkpoint's answers into targets: samples of them, a mixture with the true labels, or a control that keeps
one property of the checkpoint and drops another. Targets are made with the labels, block by block, and are a function of
the rule, the checkpoint and the stream; what is random is drawn by an example's number, so any block can be made again.

Signs: of class c in {0, 1} it is s = 1 - 2c; y is the true one, h(x) the checkpoint's, by its argmax. The checkpoint's
accuracy a and its coefficients :math:`c_A = E[h(x) \prod_{j \in A} x_j]` on the support S are measured on the probe stream.
A new rule is a class here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pdlib.models.mlp import MLP, softmax
from pdlib.specs import Count, Index, Model, Parameters, TargetRule, Task, Temperature, Training, require
from pdlib.tasks.bits import random_words, stream_key, uniforms

Told = Callable[[Any, NDArray[Any], int], NDArray[Any]]  # see `TargetRule.of`
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

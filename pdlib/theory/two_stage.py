"""Algorithm 1 of appendix B: training in two stages, for teacher and student.

The first stage moves the weights by the hinge loss on batches, the second the outputs; the biases stay. The second stage
takes millions of steps of one input: an input is the bits of a word (a set bit is -1), and four of them look up a sum of
weights.

The network and what is exact about it are in `pdlib.theory.network`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pdlib.compiled import njit
from pdlib.specs import Count, Index, Positive, check_fields, require
from pdlib.theory.network import Network, batch_gradient, first_stage, hidden, hinge, outputs
from pdlib.theory.setting import INPUTS_AT_ONCE, check_setting, cube, generator, parity, signs

STEPS_AT_ONCE = 2**16  # steps of the second stage whose inputs are drawn together
NIBBLE = 4  # bits of an input that look up one partial sum


def sample_words(n_examples: int, n_bits: int, rng: np.random.Generator) -> NDArray[np.uint64]:
    """Draw uniform inputs as bits, shape (example, word); what lies above bit d - 1 of a row means nothing."""
    return rng.integers(0, 2**64, (n_examples, -(-n_bits // 64)), dtype=np.uint64)


def bits_of_words(words: NDArray[np.uint64], n_bits: int) -> NDArray[np.float64]:
    """Return the inputs as signs, shape (example, bit).

    >>> bits_of_words(np.array([[1], [6]], dtype=np.uint64), 3).tolist()
    [[-1.0, 1.0, 1.0], [1.0, -1.0, -1.0]]
    """
    shifts = np.arange(64, dtype=np.uint64)
    negative = (words[:, :, None] >> shifts) & np.uint64(1)  # (example, word, 64)
    return 1.0 - 2.0 * negative.reshape(len(words), -1)[:, :n_bits].astype(np.float64)


def _partial_sums(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sums of weights over each four bits for all 16 sign patterns: shape (d / 4 up, 16, neuron)."""
    padded = np.pad(weights, ((0, 0), (0, -weights.shape[1] % NIBBLE)))
    sums = padded.reshape(len(weights), -1, NIBBLE) @ cube(NIBBLE).T  # (neuron, d / 4 up, 16)
    return np.ascontiguousarray(sums.transpose(1, 2, 0))


@njit()
def _hidden_of_word(word, table, biases, out):  # type: ignore[no-untyped-def]
    """Write the rectified units of one input to `out` (neuron,): d / 4 vector additions instead of d."""
    n_neurons = len(biases)
    for i in range(n_neurons):
        out[i] = biases[i]
    for q in range(table.shape[0]):
        row = table[q, (word[q >> 4] >> np.uint64(4 * (q & 15))) & np.uint64(15)]
        for i in range(n_neurons):
            out[i] += row[i]
    for i in range(n_neurons):
        out[i] = max(out[i], 0.0)


@njit(fastmath={"reassoc", "contract"})
def _dot(a, b):  # type: ignore[no-untyped-def]
    total = 0.0
    for i in range(len(a)):
        total += a[i] * b[i]
    return total


@njit()
def _outputs_stage(  # type: ignore[no-untyped-def]
    words, table, biases, outputs, labels, teacher, alpha, batch_size, learning_rate, decay
):
    """Move `outputs` in place, one step every `batch_size` of the inputs."""
    n_neurons = len(biases)
    unit = np.empty(n_neurons)
    step = np.zeros(n_neurons)
    for start in range(0, len(words), batch_size):
        step[:] = 0.0
        moved = False
        for e in range(start, start + batch_size):
            _hidden_of_word(words[e], table, biases, unit)
            f = _dot(unit, outputs)
            slope = 0.0  # minus the derivative of the loss with respect to f
            if f * labels[e] < 1:
                slope += alpha * labels[e]
            if f * teacher[e] < 1:
                slope += (1 - alpha) * teacher[e]
            if slope != 0:
                moved = True
                for i in range(n_neurons):
                    step[i] += slope * unit[i]
        if decay != 0:
            for i in range(n_neurons):
                outputs[i] *= 1 - 2 * learning_rate * decay
        if moved:
            for i in range(n_neurons):
                outputs[i] += learning_rate / batch_size * step[i]


@dataclass(frozen=True)
class Stage:
    """One stage of Algorithm 1: its length, batch, rate and decay."""

    n_steps: Index  # T
    batch_size: Count  # B
    learning_rate: Positive  # eta
    decay: Annotated[float, "[0, inf)"] = 0.0  # lambda, of the penalty lambda |w|^2

    def __post_init__(self) -> None:
        check_fields(self)


def train(
    network: Network,
    support_size: int,
    first: Stage,
    second: Stage,
    rng: np.random.Generator,
    *,
    teachers: tuple[Network | None, Network | None] = (None, None),
    alpha: float = 0.0,
) -> Network:
    r"""Train by Algorithm 1: the weights on `first`, then the output weights on `second`; biases stay.

    Every step draws fresh inputs and descends the mean of :math:`L_\alpha + \lambda |\cdot|^2`, where

    .. math:: L_\alpha = \alpha \max(0, 1 - f_S(x) y) + (1 - \alpha) \max(0, 1 - f_S(x) f_T(x))

    `teachers` are that of each stage; None: labels only, whatever alpha. A teacher itself has none; one-shot distillation
    gives its last network twice, progressive distillation its network after the first stage, then its last. `alpha`, in [0,
    1], is the weight of the labels beside a teacher. Paper, Algorithm 1 and section 3.2.

    >>> from pdlib.theory.network import first_rate, initial
    >>> rng = generator("an example")
    >>> start, rate = initial(11, 2, 32, rng), first_rate(11, 2, 32)
    >>> taught = train(start, 2, Stage(1, 20_000, rate, 0.5 / rate), Stage(20_000, 1, 0.01), rng)
    >>> x = signs(rng, 1000, 11)
    >>> bool(hinge(outputs(taught, x), parity(x, 2)).mean() < 0.1)
    True
    """
    d = network.weights.shape[1]
    check_setting(d, support_size)
    require(0 <= alpha <= 1, f"alpha = {alpha!r}", "a number in [0, 1]")
    for _ in range(first.n_steps):
        gradient = np.zeros_like(network.weights)
        for start in range(0, first.batch_size, INPUTS_AT_ONCE):
            n = min(INPUTS_AT_ONCE, first.batch_size - start)
            x = bits_of_words(sample_words(n, d, rng), d)
            targets = [(1.0, parity(x, support_size))]
            if teachers[0] is not None:
                targets = [(alpha, targets[0][1]), (1 - alpha, outputs(teachers[0], x))]
            for weight, t in targets:
                gradient += n / first.batch_size * weight * batch_gradient(network, x, t)
        kept = 1 - 2 * first.learning_rate * first.decay
        network = network._replace(weights=kept * network.weights - first.learning_rate * gradient)
    return train_outputs(network, support_size, second, rng, teacher=teachers[1], alpha=alpha)


def train_outputs(
    network: Network,
    support_size: int,
    stage: Stage,
    rng: np.random.Generator,
    *,
    teacher: Network | None = None,
    alpha: float = 0.0,
) -> Network:
    """Train the output weights alone; see `train`."""
    d = network.weights.shape[1]
    table, a = _partial_sums(network.weights), network.outputs.copy()
    done, at_once = 0, max(1, STEPS_AT_ONCE // stage.batch_size)
    while done < stage.n_steps:
        n = min(at_once, stage.n_steps - done)
        words = sample_words(n * stage.batch_size, d, rng)
        negative = np.bitwise_count(words[:, 0] & np.uint64(2**support_size - 1))  # k is at most 64
        y = 1.0 - 2.0 * (negative & 1)
        t = y if teacher is None else outputs(teacher, bits_of_words(words, d))
        weight_of_labels = 1.0 if teacher is None else float(alpha)
        rate, decay = float(stage.learning_rate), float(stage.decay)
        _outputs_stage(words, table, network.biases, a, y, t, weight_of_labels, stage.batch_size, rate, decay)
        done += n
    return network._replace(outputs=a)


def second_stage_steps(n_bits: int, support_size: int, width: int, epsilon: float) -> float:
    r"""Return Lemma B.7's number of batch-1 steps on the output weights, :math:`T_2 = m d^2 k^3 / \epsilon^2`."""
    return width * n_bits**2 * support_size**3 / epsilon**2


def second_stage_rate(n_bits: int, support_size: int, width: int, epsilon: float) -> float:
    r"""Return Lemma B.7's learning rate, :math:`\eta_2 = 4 k^{1.5} / (d \sqrt{m (T_2 - 1)})`."""
    steps = second_stage_steps(n_bits, support_size, width, epsilon)
    return 4 * sqrt(support_size**3) / (n_bits * sqrt(width * (steps - 1)))


class Progress(NamedTuple):
    """Where a teacher's second stage stands."""

    step: int
    network: Network
    loss: float  # held-out hinge
    accuracy: float
    norm: float  # E f^2, held out


def teacher_progress(
    n_bits: int,
    support_size: int,
    width: int,
    epsilon: float,
    max_steps: int,
    seed: int,
    n_evaluation: int = 16_384,
    rate_factor: float = 1.0,
) -> Iterator[Progress]:
    r"""Train a teacher, labels only, and yield it at steps 0, 64 and then every :math:`\sqrt 2` times as many.

    First stage by the population gradient, second at batch 1 with Lemma B.7's rate, times a factor, until the hinge
    loss on `n_evaluation` held-out inputs is at most epsilon, or `max_steps`.
    """
    setting = (n_bits, support_size, width)
    network = first_stage(*setting, generator("teacher", *setting, seed))
    x = signs(generator("held out", n_bits, seed), n_evaluation, n_bits)
    y, units = parity(x, support_size), hidden(network, x)
    rng = generator("second stage", *setting, seed)
    rate = rate_factor * second_stage_rate(*setting, epsilon)
    done, exponent = 0, 12
    while True:
        f = units @ network.outputs
        loss = float(hinge(f, y).mean())
        yield Progress(done, network, loss, float((f * y > 0).mean()), float((f**2).mean()))
        if loss <= epsilon or done >= max_steps:
            return
        until = min(max_steps, round(2 ** (exponent / 2)))
        network = train_outputs(network, support_size, Stage(until - done, 1, rate), rng)
        done, exponent = until, exponent + 1

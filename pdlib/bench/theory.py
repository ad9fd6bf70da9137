"""Speed of the compiled kernels of the page `theory` beside NumPy.

The peers are what one would write in NumPy: matrix products on arrays of signs for the sums over inputs, a loop of vector
operations for batch-1 training.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdlib.bench import faster, medians, timed
from pdlib.theory.first_stage import steps_from_labels
from pdlib.theory.network import Network, batch_gradient, first_rate, first_stage, initial
from pdlib.theory.setting import drawn, generator, parity, signs
from pdlib.theory.sliced import sums_of_signs
from pdlib.theory.two_stage import Stage, bits_of_words, sample_words, train_outputs


def theory() -> Iterator[dict[str, Any]]:
    """Yield the page's cases."""
    yield _sums()
    yield _second_stage()
    yield _batch_of_one()


def _sums() -> dict[str, Any]:
    d, n = 43, 2**19
    students = signs(generator("bench students"), 1, d)

    def plain() -> NDArray[np.float64]:
        total = np.zeros((1, d))
        for x in drawn(rng, n, d):
            total += ((x @ students.T > 0) * parity(x, 4)[:, None]).T @ x
        return total

    rng = generator("bench inputs")
    ours, peer = medians(
        timed(lambda: sums_of_signs(np.random.Philox(1), d, n, ((0, 1, 2, 3),), students)), timed(plain)
    )
    name = "gradient of a neuron over 2^19 inputs, d = 43, drawing them included, against arrays of signs"
    return faster(name, ours, peer, "s", 20.0)


def _second_stage() -> dict[str, Any]:
    d, k, m, n = 31, 4, 238, 20_000
    net = first_stage(d, k, m, generator("bench network"))
    rate = 1e-5

    def plain() -> None:
        x = signs(generator("bench second"), n // 10, d)
        y = parity(x, k)
        a = net.outputs.copy()
        for row, label in zip(x, y, strict=True):
            unit = np.maximum(net.weights @ row + net.biases, 0)
            if (unit @ a) * label < 1:
                a += rate * label * unit

    ours, peer = medians(
        timed(lambda: train_outputs(net, k, Stage(n, 1, rate), generator("bench second"))), timed(plain)
    )
    name = "batch-1 second stage, width 238, d = 31, against a NumPy loop"
    return faster(name, ours / n, peer / (n // 10), "s/step", 5.0)


def _batch_of_one() -> dict[str, Any]:
    d, k, m, n = 31, 4, 64, 8192
    start = initial(d, k, m, generator("bench start"))
    words = sample_words(n, d, generator("bench words"))
    rate = first_rate(d, k, m) / n

    def plain() -> Network:
        net = start
        x = bits_of_words(words[: n // 16], d)
        for i in range(len(x)):
            gradient = batch_gradient(net, x[i : i + 1], parity(x[i : i + 1], k))
            net = net._replace(weights=net.weights - rate * gradient)
        return net

    ours, peer = medians(timed(lambda: steps_from_labels(*start, words, k, 1, rate)), timed(plain))
    name = "batch-1 first stage, width 64, d = 31, against a NumPy loop"
    return faster(name, ours / n, peer / (n // 16), "s/step", 5.0)

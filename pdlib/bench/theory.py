"""Exact quantities by two routes, the compiled kernels beside NumPy, and what the page costs.

The peers are what one would write in NumPy: a butterfly over reshaped arrays for the transform, matrix products on arrays
of signs for the sums over inputs, a loop of vector operations for batch-1 training.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdlib import pages
from pdlib.bench import at_most, faster, medians
from pdlib.published import Published
from pdlib.theory.first_stage import FirstStageTeacher, PopulationGradient, steps_from_labels
from pdlib.theory.majority import BRUTE_FORCE, coefficient, coefficients_by_enumeration, walsh_hadamard
from pdlib.theory.network import Network, batch_gradient, first_rate, first_stage, initial
from pdlib.theory.setting import generator, parity, signs
from pdlib.theory.sliced import sums_of_signs
from pdlib.theory.two_stage import Stage, bits_of_words, sample_words, train_outputs

POINTS = 2**20


def rows() -> Iterator[dict[str, Any]]:
    """Yield the page's cases."""
    yield from _two_routes()
    yield from _transform()
    yield _sums()
    yield _second_stage()
    yield _batch_of_one()
    yield from _page()


def _two_routes() -> Iterator[dict[str, Any]]:
    worst = 0.0
    for d in range(3, BRUTE_FORCE + 1, 2):
        brute = coefficients_by_enumeration(d)
        worst = max(worst, *(abs(brute[i] / coefficient(d, i) - 1) for i in range(1, d + 1, 2)))
    yield at_most(
        "majority's coefficients, closed form against the cube, d to 15", worst, None, "relative", 1e-12
    )
    errors = [r["error"] for d, k in ((11, 2), (15, 4)) for r in PopulationGradient(d, k, 16).rows()]
    yield at_most(
        "Claim B.3, formula against the cube, (11, 2) and (15, 4)", max(errors), None, "relative", 1e-12
    )
    errors = [
        row["binomial_error"]
        for row in FirstStageTeacher(19, 4, 64).rows()
        if row["group"] in ("in_support", "off_support")
    ]
    yield at_most(
        "degree-1 coefficients, binomial sums against the transform, d = 19",
        max(errors),
        None,
        "relative",
        1e-12,
    )


def _seconds(call: Callable[[], object]) -> Callable[[], float]:
    def timed() -> float:
        started = time.perf_counter()
        call()
        return time.perf_counter() - started

    timed()  # compiled, and in the cache
    return timed


def _butterfly(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the same transform by NumPy, a pass over the array for each coordinate."""
    v, half = values.copy(), 1
    while half < len(v):
        pairs = v.reshape(-1, 2, half)
        v = np.stack([pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]], axis=1).reshape(-1)
        half *= 2
    return v / len(v)


def _transform() -> Iterator[dict[str, Any]]:
    values = np.random.default_rng(0).standard_normal(POINTS)
    difference = float(np.abs(walsh_hadamard(values) - _butterfly(values)).max())
    yield at_most("the transform against NumPy's, 2^20 points", difference, None, "absolute", 1e-12)
    ours, peer = medians(_seconds(lambda: walsh_hadamard(values)), _seconds(lambda: _butterfly(values)))
    yield at_most("Walsh-Hadamard transform of 2^20 points", ours, None, "s", 0.2)
    yield faster("Walsh-Hadamard transform of 2^20 points against NumPy's butterfly", ours, peer, "s", 3.0)


def _sums() -> dict[str, Any]:
    d, n = 43, 2**19
    students = signs(generator("bench students"), 1, d)

    def plain() -> NDArray[np.float64]:
        total = np.zeros((1, d))
        for start in range(0, n, 2**15):
            x = signs(rng, min(2**15, n - start), d)
            total += ((x @ students.T > 0) * parity(x, 4)[:, None]).T @ x
        return total

    rng = generator("bench inputs")
    ours, peer = medians(
        _seconds(lambda: sums_of_signs(np.random.Philox(1), d, n, ((0, 1, 2, 3),), students)), _seconds(plain)
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
        _seconds(lambda: train_outputs(net, k, Stage(n, 1, rate), generator("bench second"))), _seconds(plain)
    )
    return faster(
        "batch-1 second stage, width 238, d = 31, against a NumPy loop",
        ours / n,
        peer / (n // 10),
        "s/step",
        5.0,
    )


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

    ours, peer = medians(_seconds(lambda: steps_from_labels(start, k, words, 1, rate)), _seconds(plain))
    return faster(
        "batch-1 first stage, width 64, d = 31, against a NumPy loop",
        ours / n,
        peer / (n // 16),
        "s/step",
        5.0,
    )


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _page() -> Iterator[dict[str, Any]]:
    """Yield the cost of the smoke page, run here, and of the published laptop one."""
    values = pages.load_parameters("smoke", "theory")
    with tempfile.TemporaryDirectory() as folder, _environment(PDLIB_STORE=folder, PDLIB_PUBLISHED="ignore"):
        started = time.perf_counter()
        pages.execute("theory", Path(folder) / "theory.ipynb", values)
        seconds = time.perf_counter() - started
    yield at_most("smoke page from an empty store", seconds, None, "s", 60.0)
    published = Published().page("theory", "laptop")
    if published is None:
        return
    cost = {part: values["core_minutes"] / 2 for part, values in published["cost"].items()}
    yield at_most("core of the published laptop page, on 2 cores", cost["core"], None, "min", 20.0)
    yield at_most("all of the published laptop page, on 2 cores", sum(cost.values()), None, "min", 180.0)

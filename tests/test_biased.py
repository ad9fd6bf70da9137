"""Biased inputs first: closed-form covariances, uniform inputs from there on, and the same block made twice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tiny

from pdlib.optimizers import SGD
from pdlib.schedules import OneShot
from pdlib.specs import Distillation, Run, SpecError, Training
from pdlib.store import Store
from pdlib.tasks.biased import BiasedFirst
from pdlib.tasks.parity import SparseParity
from pdlib.training import train

N = 200_000
CLOSE = 5 / N**0.5  # five standard errors of a mean of signs, at most
PLAIN = SparseParity(12, 3, (1, 4, 8))


def examples() -> dict[str, Run]:
    task = BiasedFirst(tiny.TASK, n_biased=150, p_minus=0.05)
    return {"BiasedFirst": tiny.training(task=task, precision="float64")}


def covariances(task: Any, n: int = N) -> np.ndarray:
    """Of the label's sign with each coordinate."""
    x, classes = task.stream(3, "train").examples(0, n, dtype=np.float64)
    y = 1.0 - 2.0 * classes
    return np.asarray((x * y[:, None]).mean(axis=0) - x.mean(axis=0) * y.mean())


@pytest.mark.parametrize("p", [0.01, 0.2, 0.9])
def test_biased_inputs_show_the_support_by_the_closed_form_and_uniform_ones_do_not(p: float) -> None:
    mu, k = 1 - 2 * p, PLAIN.support_size
    expected = np.isin(range(12), PLAIN.support) * mu ** (k - 1) * (1 - mu**2)
    task = BiasedFirst(PLAIN, n_biased=N, p_minus=p)
    np.testing.assert_allclose(covariances(task), expected, atol=CLOSE)
    assert np.abs(covariances(PLAIN)).max() < CLOSE < expected.max(), "the control: no covariance"
    x, _ = task.stream(3, "train").examples(0, N)
    assert np.abs(x.mean(axis=0) - mu).max() < CLOSE
    products = x.T @ x / N
    assert np.abs(products - mu**2 - (1 - mu**2) * np.eye(12)).max() < CLOSE, "independent coordinates"


def test_from_the_last_biased_example_on_and_in_held_out_ones_inputs_are_the_plain_tasks_bit_for_bit() -> (
    None
):
    task = BiasedFirst(PLAIN, n_biased=1000, p_minus=0.3)
    mine, plain = task.stream(5, "train"), PLAIN.stream(5, "train")
    for found, expected in zip(mine.examples(1000, 3000), plain.examples(1000, 3000), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert (mine.examples(999, 1000)[0] != plain.examples(999, 1000)[0]).any()
    assert mine.identity != plain.identity, "a teacher's labels of one are not those of the other"
    for purpose in ("evaluation", "probe"):
        assert task.stream(0, purpose).identity == PLAIN.stream(0, purpose).identity  # type: ignore[arg-type]
        held_out = task.stream(0, purpose).examples(0, 500)[0]  # type: ignore[arg-type]
        np.testing.assert_array_equal(held_out, PLAIN.stream(0, purpose).examples(0, 500)[0])  # type: ignore[arg-type]


def test_a_block_is_the_same_made_alone_or_in_a_larger_one_and_labeled_by_its_own_inputs() -> None:
    stream = BiasedFirst(PLAIN, n_biased=1000, p_minus=0.3).stream(0, "train")
    whole, classes = stream.examples(0, 2000)
    expected = (whole[:, list(PLAIN.support)].prod(axis=1) < 0).astype(np.uint8)
    np.testing.assert_array_equal(classes, expected)
    for start, stop in ((1900, 2000), (900, 1100), (0, 1000), (1000, 1001), (999, 999)):
        out = np.full((stop - start, 15), 7.0)
        block, found = stream.examples(start, stop, out=out)
        assert block is out
        np.testing.assert_array_equal(block[:, :12], whole[start:stop])
        np.testing.assert_array_equal(found, classes[start:stop])
        assert (block[:, 12:] == 7.0).all()


def test_a_training_on_biased_inputs_goes_another_way_until_uniform_ones_take_over(store: Store) -> None:
    task = BiasedFirst(tiny.TASK, n_biased=100, p_minus=0.05)
    spec = tiny.training(task=task, precision="float64", optimizer=SGD(0.05))
    assert Training.from_canonical(spec.canonical()) == spec
    biased, plain = train(spec, store), train(replace(spec, task=tiny.TASK), store)
    assert biased.loss_nats[0] == plain.loss_nats[0], "judged on the same uniform inputs"
    assert (biased.loss_nats[1:] != plain.loss_nats[1:]).all()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        *(
            (lambda p=p: BiasedFirst(PLAIN, 10, p), rf"p_minus = {p}: expected a number in \(0, 1\)")
            for p in (0.0, 1.0, -0.1, 1.5)
        ),
        (lambda: BiasedFirst(PLAIN, 0), "n_biased = 0: expected a whole number of at least 1"),
        (lambda: BiasedFirst(BiasedFirst(PLAIN, 1), 1), "task = BiasedFirst.*expected a SparseParity"),
        (
            lambda: tiny.training(
                task=BiasedFirst(tiny.TASK, 9), supervision=Distillation(tiny.TEACHER, OneShot())
            ),
            "a teacher of SparseParity.*expected one of the student's task",
        ),
    ],
)
def test_a_bias_that_means_nothing_is_refused(make: Any, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        make()

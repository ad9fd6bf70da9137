"""The smallest batch from which a support is read off: bisection, targets, the normal limit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import foldnorm

from pdlib.specs import SpecError
from pdlib.theory.majority import coefficient
from pdlib.theory.network import degree_1
from pdlib.theory.read_off import (
    ConstructedTarget,
    IntermediateTarget,
    LabelTarget,
    ReadOff,
    Target,
    TrainedTarget,
    is_read,
    predicted_batch,
    read_off_probability,
    separates,
    student_gradients,
)
from pdlib.theory.setting import cube, generator, parity, signs


def chosen(spec: ReadOff) -> dict[str, Any]:
    (row,) = [row for row in spec.rows() if row["chosen"]]
    return row


def population(target: Target, n_bits: int, support_size: int, student: np.ndarray) -> np.ndarray:
    """The gradient over the whole cube."""
    x = cube(n_bits)
    f = sum(w * x[:, list(m)].prod(axis=1) for w, m in target.parities(n_bits, support_size) or ())
    return np.asarray(((x @ student > 0) * f) @ x / len(x))


@pytest.mark.parametrize("target", [LabelTarget(), ConstructedTarget(1.0)])
def test_a_large_batch_gives_the_gradient_of_the_whole_cube(target: Target) -> None:
    students = signs(generator("a student"), 1, 9)
    got = student_gradients(target, None, 9, 4, students, 2_000_000, "here")
    np.testing.assert_allclose(got[0], population(target, 9, 4, students[0]), atol=5e-3)


def test_the_gradient_from_labels_has_the_size_of_majoritys_coefficients() -> None:
    student = signs(generator("another"), 11)
    g = np.abs(population(LabelTarget(), 11, 4, student))
    np.testing.assert_allclose(g[:4], abs(coefficient(11, 3)) / 2, rtol=1e-12)
    np.testing.assert_allclose(g[4:], abs(coefficient(11, 5)) / 2, rtol=1e-12)


def test_the_gradient_from_a_network_is_half_its_degree_1_coefficient_in_every_neuron() -> None:
    target = IntermediateTarget(24)
    network, _ = target.network(11, 2, seed=1)
    students = signs(generator("students"), 5, 11)
    g = student_gradients(target, network, 11, 2, students, 400_000, "there")
    half = degree_1(network, 2) / 2
    np.testing.assert_allclose(g, np.tile(half, (5, 1)), atol=6 * np.sqrt(np.mean(half**2)) / 50)


def test_the_constructed_teacher_has_the_hinge_loss_it_says() -> None:
    target, x = ConstructedTarget(1.5), cube(11)
    f = sum(w * x[:, list(m)].prod(axis=1) for w, m in target.parities(11, 4))
    assert np.maximum(0, 1 - parity(x, 4) * f).mean() == pytest.approx(11**-1.5, rel=1e-12)
    assert np.abs(f).max() <= 1 + 1e-12
    np.testing.assert_allclose(f @ x / len(x), [11**-1.5 / 4] * 4 + [0] * 7, atol=1e-15)


def test_the_answer_is_the_smallest_batch_tried_that_was_enough() -> None:
    rows = ReadOff(11, 2, LabelTarget(), n_draws=20, seed=3).rows()
    answer = next(row for row in rows if row["chosen"])
    enough = [row["batch_size"] for row in rows if 2 * row["n_read"] >= 20]
    assert answer["batch_size"] == min(enough)
    below = max(row["batch_size"] for row in rows if row["batch_size"] not in enough)
    assert below < answer["batch_size"] < 1.25 * below


def test_measured_batches_lie_near_the_normal_limit() -> None:
    measured = [
        np.log2(chosen(ReadOff(15, 4, LabelTarget(), n_draws=40, seed=s))["batch_size"]) for s in range(4)
    ]
    predicted = np.log2(ReadOff(15, 4, LabelTarget()).shared()["predicted"])
    assert abs(np.mean(measured) - predicted) < 0.4


def test_an_intermediate_teacher_needs_far_fewer_inputs_than_labels() -> None:
    labels = chosen(ReadOff(21, 4, LabelTarget(), seed=0))["batch_size"]
    intermediate = chosen(ReadOff(21, 4, IntermediateTarget(64), seed=0))["batch_size"]
    assert intermediate * 4 < labels


def test_a_target_without_a_trace_of_the_support_is_never_read() -> None:
    """Control: labels of an independent parity on other coordinates."""

    class Elsewhere(LabelTarget):
        def parities(self, n_bits: int, support_size: int) -> Any:
            return ((1.0, (5, 6)),)

    rows = ReadOff(11, 2, Elsewhere(), n_draws=20, max_batch=4096).rows()
    assert not any(row["chosen"] for row in rows)
    assert rows[-1]["batch_size"] <= 4096


def test_the_limit_is_infinite_where_the_means_do_not_separate() -> None:
    c = np.array([0.1, 0.3, 0.2, 0.0, 0.0])
    assert predicted_batch(5, 2, c, 0.0, 1.0) == float("inf")
    assert predicted_batch(5, 2, c[[1, 2, 0, 3, 4]], 0.0, 1.0) < 1e4


def test_pooling_reads_by_the_root_mean_square() -> None:
    g = np.array([[0.3, 0.0, 0.1], [0.0, 0.3, 0.1]])
    assert is_read(g, 2)
    assert not is_read(g[:1], 2)
    assert not separates(np.array([0.2, 0.1, 0.1]), 2)


@pytest.mark.parametrize("batch", [1.0, 30.0, 1000.0])
def test_read_off_probability_agrees_with_adaptive_quadrature(batch: float) -> None:
    inside, off = np.array([0.3, -0.25, 0.2, 0.35]), np.array([0.1, -0.05, 0.02, 0.0, 0.0, -0.15, 0.1])
    scale = 0.7 / batch**0.5
    parts = [foldnorm(abs(mean) / scale, scale=scale) for mean in (*inside, *off)]

    def integrand(u: float) -> Any:
        below = math.prod(f.cdf(u) for f in parts[4:])
        return below * sum(
            parts[i].pdf(u) * math.prod(parts[j].sf(u) for j in range(4) if j != i) for i in range(4)
        )

    low, high = max(0, 0.2 - 9 * scale), 0.2 + 9 * scale
    expected = quad(integrand, low, high, limit=200, epsabs=1e-11)[0]
    assert read_off_probability(batch, inside, off, 0.7) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("n_bits", "support_size"), [(11, 2), (63, 4), (100_001, 6)])
def test_without_a_signal_every_set_is_equally_likely(n_bits: int, support_size: int) -> None:
    probability = read_off_probability(7.0, np.zeros(support_size), np.zeros(n_bits - support_size))
    assert probability == pytest.approx(1 / math.comb(n_bits, support_size), rel=1e-8)


def test_the_predicted_batch_reads_half_of_the_time_in_a_simulation() -> None:
    c = np.concatenate([[0.2, -0.4, 0.3, 0.24], np.linspace(-0.1, 0.16, 7)])
    batch = predicted_batch(11, 4, c, 0.0, 1.0)
    g = np.abs(c / 2 + np.random.default_rng(0).normal(size=(40_000, 11)) * math.sqrt(0.5 / batch))
    assert abs((g[:, :4].min(axis=1) > g[:, 4:].max(axis=1)).mean() - 0.5) < 4 * 0.5 / 200
    assert predicted_batch(11, 4, c / 10, 0.0, 1.0) == pytest.approx(100 * batch, rel=0.01)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: ReadOff(11, 12, LabelTarget()), "support_size k = 12"),
        (lambda: ReadOff(129, 2, LabelTarget()), "n_bits d = 129"),
        (lambda: ReadOff(11, 2, LabelTarget(), "pooled"), "width = 1 with rule 'pooled'"),
        (lambda: ReadOff(11, 2, LabelTarget(), "one", 8), "width = 8 with rule 'one'"),
        (lambda: ReadOff(11, 2, LabelTarget(), "best", 8), "rule = 'best': expected 'one' or 'pooled'"),  # type: ignore[arg-type]
        (lambda: ReadOff(11, 2, "labels"), "target = 'labels': expected a Target"),  # type: ignore[arg-type]
        (lambda: ReadOff(11, 2, LabelTarget(), max_batch=3), "max_batch = 3: expected at least 4"),
        (lambda: ConstructedTarget(0.0), "exponent = 0.0: expected a finite number above 0"),
        (lambda: IntermediateTarget(7), "width m = 7"),
        (lambda: IntermediateTarget(8, aligned=1), "aligned = 1: expected True or False"),  # type: ignore[arg-type]
        (lambda: TrainedTarget(8, epsilon=1.0), "epsilon = 1.0"),
    ],
)
def test_what_cannot_mean_anything_is_refused(make: Any, named: str) -> None:
    with pytest.raises(SpecError, match=named):
        make()

"""The smallest batch from which a support is read off: sums by words of 64 inputs, targets, bisection, the normal limit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.stats import foldnorm

from pdlib.theory import read_off
from pdlib.theory.majority import coefficient
from pdlib.theory.network import Network, degree_1
from pdlib.theory.read_off import (
    ConstructedTarget,
    IntermediateTarget,
    LabelTarget,
    ReadOff,
    Target,
    is_read,
    predicted_batch,
    read_off_probability,
    student_gradients,
)
from pdlib.theory.setting import cube, generator, parity, signs
from pdlib.theory.sliced import WORDS_AT_ONCE, sums_of_signs

# Sums by words


def inputs_of(bit_generator: np.random.Philox, n_bits: int, n_inputs: int) -> NDArray[np.float64]:
    """The inputs that `sums_of_signs` sums over, shape (input, d)."""
    n_words, tiles = -(-n_inputs // 64), []
    for start in range(0, n_words, WORDS_AT_ONCE):
        n = min(WORDS_AT_ONCE, n_words - start)
        words = bit_generator.random_raw(n_bits * n).reshape(n_bits, n)
        lanes = (words[:, :, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)  # (d, word, lane)
        tiles.append(lanes.reshape(n_bits, -1).T)
    return 1.0 - 2.0 * np.concatenate(tiles)[:n_inputs].astype(np.float64)


@pytest.mark.parametrize(
    ("n_bits", "n_inputs"), [(3, 1), (5, 63), (5, 64), (11, 65), (63, 64 * WORDS_AT_ONCE + 7), (127, 300)]
)
def test_sums_by_words_equal_the_plain_ones(n_bits: int, n_inputs: int) -> None:
    students = signs(generator("students", n_bits), 3, n_bits)
    monomials = ((0, 1), (2,), tuple(range(n_bits)))
    x = inputs_of(np.random.Philox(n_bits), n_bits, n_inputs)
    active = (x @ students.T > 0).astype(float)
    plain = [(active * x[:, list(m)].prod(axis=1)[:, None]).T @ x for m in monomials]  # (neuron, d) each
    got = sums_of_signs(np.random.Philox(n_bits), n_bits, n_inputs, monomials, students)
    np.testing.assert_array_equal(got, np.stack(plain, axis=1))


def test_the_inputs_are_balanced_and_independent() -> None:
    x = inputs_of(np.random.Philox(5), 9, 40_000)
    assert set(np.unique(x)) == {-1.0, 1.0}
    assert np.abs(x.mean(axis=0)).max() < 5 / 200
    assert np.abs(x.T @ x / len(x) - np.eye(9)).max() < 5 / 200


# What is learned from


def chosen(spec: ReadOff) -> dict[str, Any]:
    (row,) = [row for row in spec.rows() if row["chosen"]]
    return row


def on_cube(target: Target, x: NDArray[np.float64]) -> Any:
    return sum(w * x[:, list(m)].prod(axis=1) for w, m in target.parities(x.shape[1], 4) or ())


@pytest.mark.parametrize("target", [LabelTarget(), ConstructedTarget(1.0)])
def test_a_large_batch_gives_the_gradient_of_the_whole_cube(target: Target) -> None:
    students, x = signs(generator("a student"), 1, 9), cube(9)
    got = student_gradients(target, None, 9, 4, students, 2_000_000, "here")
    population = ((x @ students[0] > 0) * on_cube(target, x)) @ x / len(x)
    np.testing.assert_allclose(got[0], population, atol=5e-3)
    if target == LabelTarget():  # of the size of majority's coefficients
        sizes = np.where(np.arange(9) < 4, coefficient(9, 3), coefficient(9, 5))
        np.testing.assert_allclose(np.abs(population), np.abs(sizes) / 2, rtol=1e-12)


def test_the_gradient_from_a_network_is_half_its_degree_1_coefficient_in_every_neuron() -> None:
    target = IntermediateTarget(24)
    network, _ = target.network(11, 2, seed=1)
    students = signs(generator("students"), 5, 11)
    g = student_gradients(target, network, 11, 2, students, 400_000, "there")
    half = degree_1(network, 2) / 2
    np.testing.assert_allclose(g, np.tile(half, (5, 1)), atol=6 * np.sqrt(np.mean(half**2)) / 50)


def test_the_constructed_teacher_has_the_hinge_loss_it_says() -> None:
    x = cube(11)
    f = on_cube(ConstructedTarget(1.5), x)
    assert np.maximum(0, 1 - parity(x, 4) * f).mean() == pytest.approx(11**-1.5, rel=1e-12)
    assert np.abs(f).max() <= 1 + 1e-12
    np.testing.assert_allclose(f @ x / len(x), [11**-1.5 / 4] * 4 + [0] * 7, atol=1e-15)


# The search


def test_the_answer_is_the_smallest_batch_tried_that_was_enough() -> None:
    rows = ReadOff(11, 2, LabelTarget(), n_draws=20, seed=3).rows()
    answer = next(row for row in rows if row["chosen"])
    enough = [row["batch_size"] for row in rows if 2 * row["n_read"] >= 20]
    assert answer["batch_size"] == min(enough)
    below = max(row["batch_size"] for row in rows if row["batch_size"] not in enough)
    assert below < answer["batch_size"] < 1.25 * below


def test_measured_batches_lie_near_the_normal_limit_and_an_intermediate_teacher_needs_far_fewer() -> None:
    rows = [chosen(ReadOff(15, 4, LabelTarget(), n_draws=40, seed=s)) for s in range(4)]
    measured = np.mean([np.log2(row["batch_size"]) for row in rows])
    assert abs(measured - np.log2(rows[0]["predicted"])) < 0.4
    assert chosen(ReadOff(21, 4, IntermediateTarget(64)))["batch_size"] * 4 < 2**measured


def test_a_target_without_a_trace_of_the_support_is_never_read() -> None:
    """Control: labels of an independent parity on other coordinates."""

    class Elsewhere(LabelTarget):
        def parities(self, n_bits: int, support_size: int) -> Any:
            return ((1.0, (5, 6)),)

    rows = ReadOff(11, 2, Elsewhere(), n_draws=20, max_batch=4096).rows()
    assert not any(row["chosen"] for row in rows)
    assert rows[-1]["batch_size"] <= 4096


def test_a_trained_network_that_shows_no_support_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """No prediction says that no batch would do: the search has an end of its own, and nothing is chosen."""
    silent = Network(np.zeros((2, 11)), np.zeros(2), np.zeros(2))
    monkeypatch.setattr(read_off.TrainedTarget, "network", lambda *_: (silent, 1))
    monkeypatch.setattr(read_off, "HOPELESS", 64)
    rows = ReadOff(11, 2, read_off.TrainedTarget(2)).rows()
    assert not any(row["chosen"] for row in rows)
    assert rows[-1]["batch_size"] == 64


def test_pooling_reads_by_the_root_mean_square() -> None:
    g = np.array([[0.3, 0.0, 0.1], [0.0, 0.3, 0.1]])
    assert is_read(g, 2)
    assert not is_read(g[:1], 2)
    assert not is_read(np.array([[0.2, 0.1, 0.1]]), 2)


# The normal limit


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


@pytest.mark.parametrize(("n_bits", "support_size"), [(11, 2), (100_001, 6)])
def test_without_a_signal_every_set_is_equally_likely(n_bits: int, support_size: int) -> None:
    probability = read_off_probability(7.0, np.zeros(support_size), np.zeros(n_bits - support_size))
    assert probability == pytest.approx(1 / math.comb(n_bits, support_size), rel=1e-8)


def test_the_predicted_batch_reads_half_of_the_time_in_a_simulation() -> None:
    c = np.concatenate([[0.2, -0.4, 0.3, 0.24], np.linspace(-0.1, 0.16, 7)])
    batch = predicted_batch(11, 4, c, 0.0, 1.0)
    g = np.abs(c / 2 + np.random.default_rng(0).normal(size=(40_000, 11)) * math.sqrt(0.5 / batch))
    assert abs((g[:, :4].min(axis=1) > g[:, 4:].max(axis=1)).mean() - 0.5) < 4 * 0.5 / 200
    assert predicted_batch(11, 4, c / 10, 0.0, 1.0) == pytest.approx(100 * batch, rel=0.01)
    assert predicted_batch(11, 4, c[::-1], 0.0, 1.0) == math.inf  # the means do not separate


def test_the_predicted_batch_of_a_constructed_teacher_averages_over_the_students_signs() -> None:
    known, r = ReadOff(21, 4, ConstructedTarget(0.5)).shared(), np.random.default_rng(0)
    z_in, z_off = ((1 - 21**-0.5) * coefficient(21, degree) for degree in (3, 5))
    noise = r.normal(size=(40_000, 21)) * math.sqrt(0.5 * known["norm"] / known["predicted"])
    inside = np.abs((21**-0.5 / 4 + signs(r, 40_000, 4) * z_in) / 2 + noise[:, :4]).min(axis=1)
    assert abs((inside > np.abs(z_off / 2 + noise[:, 4:]).max(axis=1)).mean() - 0.5) < 4 * 0.5 / 200

"""Majority's Fourier coefficients and the forms of the theorem: closed forms against enumeration, orders, plain numbers."""

from __future__ import annotations

import math
from math import comb

import numpy as np
import pytest

from pdlib.theory.complexity import FORMS, Totals, WidthTradeOff, theorem
from pdlib.theory.majority import FourierGap, Majority, coefficient, gap, walsh_hadamard
from pdlib.theory.setting import cube
from pdlib.theory.two_stage import second_stage_rate, second_stage_steps


@pytest.mark.parametrize("n_bits", [1, 3, 5, 9, 13])
def test_the_closed_form_is_the_average_over_the_cube_on_every_set(n_bits):
    x = cube(n_bits)
    majority = np.sign(x.sum(axis=1))
    closed = np.array([coefficient(n_bits, degree) for degree in range(n_bits + 1)])
    plain = [(majority * x[:, :degree].prod(axis=1)).mean() for degree in range(n_bits + 1)]
    np.testing.assert_allclose(closed, plain, rtol=1e-12, atol=1e-16)
    of_sets = closed[np.bitwise_count(np.arange(2**n_bits))]
    np.testing.assert_allclose(of_sets, walsh_hadamard(majority), rtol=1e-12, atol=1e-16)


@pytest.mark.parametrize("n_bits", [1, 2, 3, 6, 9])
def test_the_transform_is_the_plain_sum_over_the_cube(n_bits):
    values, sets = np.random.default_rng(n_bits).standard_normal(2**n_bits), np.arange(2**n_bits)
    plain = np.where(np.bitwise_count(sets[:, None] & sets) % 2, -1.0, 1.0) @ values / 2**n_bits
    np.testing.assert_allclose(walsh_hadamard(values), plain, rtol=0, atol=1e-15 * 2 ** (n_bits / 2))


def test_squares_sum_to_one_for_any_number_of_bits_and_those_of_the_printed_order_vanish():
    printed = []
    for d in (7, 31, 101, 301):
        rows = Majority(d).rows()
        assert [row["degree"] for row in rows] == list(range(1, d + 1, 2))
        assert sum(comb(d, r["degree"]) * r["exact"] ** 2 for r in rows) == pytest.approx(1, rel=1e-12)
        assert [np.isnan(row["enumerated"]) for row in rows] == [d > 15] * len(rows)
        printed.append(sum(comb(d, r["degree"]) * r["printed"] ** 2 for r in rows))
    assert printed == sorted(printed, reverse=True)
    assert printed[-1] < printed[0] / 8
    for row in Majority(101).rows()[1:5]:
        assert 2 / 3 < row["right"] / row["exact"] < 3 / 2
        assert row["printed"] < row["exact"] / 100


def test_known_values_at_101_bits_of_alternating_sign():
    found = [coefficient(101, i) for i in (1, 3, 5, 7)]
    assert found == pytest.approx([0.0796, -8.04e-4, 2.49e-5, -1.31e-6], rel=5e-3)


def test_the_gap_follows_from_the_ratio_of_neighbors_and_is_above_its_bound_wherever_it_is_positive():
    for d in (5, 11, 31, 101, 301):
        rows = FourierGap(d).rows()
        assert [row["support_size"] for row in rows] == list(range(2, (d - 1) // 2 + 1, 2))
        for row in rows:
            ratio = (row["support_size"] - 1) / (d - row["support_size"])
            assert row["ratio"] == pytest.approx(ratio, rel=1e-14)
            exact = abs(coefficient(d, row["support_size"] - 1)) * (1 - ratio)
            assert row["gap"] == pytest.approx(exact, rel=1e-12)
            assert row["gap"] > row["bound"] > 0
        assert all(row["ratio"] > row["one_over_d"] for row in rows[1:])
    assert gap(11, 6) == 0  # k = (d + 1) / 2: both sizes are equal
    assert gap(11, 8) < 0  # a control: beyond half of the bits the bound fails


# The sample complexities


def test_second_stage_equals_theorem_b1s_at_the_lemmas_width():
    d, k, epsilon, delta = 101, 6, 0.1, 0.05
    width = 2**k * k * math.log(k / delta)
    per_neuron = second_stage_steps(d, k, 1, epsilon)
    assert per_neuron * width == pytest.approx(theorem(d, k, epsilon, delta, 2, "B.1").progressive_second)
    steps = second_stage_steps(d, k, 64, epsilon)
    assert steps == pytest.approx(64 * 101**2 * 216 / 0.01)
    assert second_stage_rate(d, k, 64, epsilon) == pytest.approx(4 * 6**1.5 / (d * (64 * (steps - 1)) ** 0.5))


def test_the_forms_of_the_theorem_are_related_as_printed_and_totals_lists_them():
    rows = Totals(4, 0.1, 0.1, 1.2, (11, 101)).rows()
    assert [(row["n_bits"], row["form"]) for row in rows] == [(d, form) for d in (11, 101) for form in FORMS]
    names = ("progressive_first", "progressive_second", "distillation")
    informal, larger, formal, proof = ([row[name] for name in names] for row in rows[4:])
    assert informal == pytest.approx([64, 16 * 101**2 * 100, 100])
    assert larger == pytest.approx([64, 16 * 101**2 * 100, 101**3])
    second = 16 * 101**2 * 256 * 100 * math.log(40)
    assert formal == pytest.approx([16 * math.log(101 * 64 / 0.1), second, 101**2.4])
    assert proof == pytest.approx([*formal[:2], formal[2] / 64])
    assert theorem(101, 4, 0.1, 0.1, 5, "B.1").distillation == pytest.approx(101**3)  # the labels' own k - 1


# Lemma B.10


@pytest.mark.parametrize("run", [WidthTradeOff(31, 4, 16, 16), WidthTradeOff(21, 6, 16, 16)])
def test_a_measured_run_leaves_the_plateau_after_the_bound_where_the_bound_says_something(run):
    (row,) = run.rows()
    bound = comb(run.n_bits, run.support_size) * 0.1 * 0.25**2 / 16 / 2
    assert row["bound"] == pytest.approx(bound)
    assert row["reached"]
    assert row["loss"] <= 1 - row["noise"]
    assert row["step"] > row["bound"] > 1
    assert row["samples"] == row["step"] * run.batch_size


def test_a_run_that_stops_early_diverges_or_has_nothing_to_learn_does_not_count_as_reached():
    (short,) = WidthTradeOff(31, 4, 16, 16, max_steps=20).rows()
    assert (short["reached"], short["step"]) == (False, 20)
    assert short["loss"] == pytest.approx(1, abs=0.1)
    (wild,) = WidthTradeOff(31, 4, 256, 16, learning_rate=100.0, max_steps=2000).rows()
    (random,) = WidthTradeOff(31, 14, 16, 16, max_steps=2000).rows()  # more bits than so many steps can find
    assert not wild["reached"]
    assert not random["reached"]

"""Majority's Fourier coefficients: closed form against enumeration, orders against exact values."""

from __future__ import annotations

import time
from math import comb

import numpy as np
import pytest

from pdlib.specs import SpecError
from pdlib.theory.majority import FourierGap, Majority, coefficient, gap, walsh_hadamard
from pdlib.theory.setting import cube


@pytest.mark.parametrize("n_bits", [1, 3, 5, 9, 13])
def test_the_closed_form_is_the_average_over_the_cube_on_every_set(n_bits):
    x = cube(n_bits)
    majority = np.sign(x.sum(axis=1))
    closed = np.array([coefficient(n_bits, degree) for degree in range(n_bits + 1)])
    plain = [(majority * x[:, :degree].prod(axis=1)).mean() for degree in range(n_bits + 1)]
    np.testing.assert_allclose(closed, plain, rtol=1e-12, atol=1e-16)
    all_sets = walsh_hadamard(majority)
    np.testing.assert_allclose(
        closed[np.bitwise_count(np.arange(2**n_bits))], all_sets, rtol=1e-12, atol=1e-16
    )


def test_squares_sum_to_one_for_any_number_of_bits_and_those_of_the_printed_order_vanish():
    printed = []
    for d in (7, 31, 101, 301):
        rows = Majority(d).rows()
        assert sum(comb(d, r["degree"]) * r["exact"] ** 2 for r in rows) == pytest.approx(1, rel=1e-12)
        printed.append(sum(comb(d, r["degree"]) * r["printed"] ** 2 for r in rows))
    assert printed == sorted(printed, reverse=True)
    assert printed[-1] < printed[0] / 8


def test_known_values_at_101_bits_of_alternating_sign():
    found = [coefficient(101, i) for i in (1, 3, 5, 7)]
    assert found == pytest.approx([0.0796, -8.04e-4, 2.49e-5, -1.31e-6], rel=5e-3)
    assert coefficient(101, 2) == coefficient(101, 50) == 0


def test_the_ratio_of_neighbors_is_k_minus_1_over_d_minus_k():
    for n_bits, k in ((11, 2), (31, 4), (63, 6), (101, 50)):
        ratio = abs(coefficient(n_bits, k + 1) / coefficient(n_bits, k - 1))
        assert ratio == pytest.approx((k - 1) / (n_bits - k), rel=1e-14)
        assert gap(n_bits, k) == pytest.approx(abs(coefficient(n_bits, k - 1)) * (1 - ratio), rel=1e-12)


def test_the_right_order_holds_within_a_third_and_the_printed_one_does_not():
    for row in Majority(101).rows()[1:5]:
        assert 2 / 3 < row["right"] / row["exact"] < 3 / 2
        assert row["printed"] < row["exact"] / 100


def test_the_gap_is_above_its_bound_wherever_it_is_positive():
    for n_bits in (5, 11, 31, 101, 301):
        for row in FourierGap(n_bits).rows():
            assert row["gap"] > row["bound"] > 0
    assert gap(11, 6) == 0  # k = (d + 1) / 2: both sizes are equal
    assert gap(11, 8) < 0  # a control: beyond half of the bits the bound fails
    assert all(row["ratio"] > row["one_over_d"] for row in FourierGap(63).rows()[1:])


@pytest.mark.parametrize("n_bits", [0, 1, 2, 3, 6, 9])
def test_the_transform_is_the_plain_sum_over_the_cube_and_leaves_its_argument(n_bits):
    values = np.random.default_rng(n_bits).standard_normal(2**n_bits)
    before, sets = values.copy(), np.arange(2**n_bits)
    plain = np.where(np.bitwise_count(sets[:, None] & sets) % 2, -1.0, 1.0) @ values / 2**n_bits
    np.testing.assert_allclose(walsh_hadamard(values), plain, rtol=0, atol=1e-15 * 2 ** (n_bits / 2))
    assert (values == before).all()


def test_a_million_points_are_transformed_in_a_fifth_of_a_second():
    values = np.random.default_rng(0).standard_normal(2**20)
    walsh_hadamard(values[:4])  # compiled before the clock starts
    walls = []
    for _ in range(3):
        start = time.perf_counter()
        walsh_hadamard(values)
        walls.append(time.perf_counter() - start)
    assert min(walls) <= 0.2


def test_tables_have_a_row_for_each_degree_and_say_where_nothing_was_enumerated():
    rows = Majority(15).rows()
    assert [row["degree"] for row in rows] == list(range(1, 16, 2))
    assert all(row["exact"] == pytest.approx(row["enumerated"], rel=1e-12) for row in rows)
    assert all(np.isnan(row["enumerated"]) for row in Majority(31).rows())
    assert [row["support_size"] for row in FourierGap(11).rows()] == [2, 4]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: coefficient(10, 3), r"n_bits d = 10: expected an odd number.*Take 9 or 11"),
        (lambda: Majority(8), "odd"),
        (lambda: coefficient(11, 12), r"degree = 12: expected a whole number from 0 to n_bits d = 11"),
        (lambda: coefficient(11, -1), "degree = -1"),
        (lambda: gap(11, 3), r"support_size k = 3: expected an even number.*Take 2 or 4"),
        (lambda: gap(11, 12), r"support_size k = 12: expected fewer than n_bits d = 11"),
        (lambda: FourierGap(3), r"n_bits d = 3: expected at least 5"),
        (lambda: walsh_hadamard(np.zeros(6)), r"shape \(6,\): expected a vector whose length is a power"),
        (lambda: walsh_hadamard(np.zeros((2, 2))), "power of two"),
        (lambda: walsh_hadamard(np.zeros(0)), "power of two"),
    ],
)
def test_what_cannot_be_is_refused_with_the_value_and_a_remedy(make, message):
    with pytest.raises(SpecError, match=message):
        make()

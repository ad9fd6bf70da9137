"""Sums by words of 64 inputs are those of the plain arithmetic, to the last unit."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pdlib.theory.setting import generator, signs
from pdlib.theory.sliced import WORDS_AT_ONCE, sums_of_signs


def inputs_of(bit_generator: np.random.Philox, n_bits: int, n_inputs: int) -> NDArray[np.float64]:
    """The inputs that `sums_of_signs` sums over, shape (input, d)."""
    n_words, tiles = -(-n_inputs // 64), []
    for start in range(0, n_words, WORDS_AT_ONCE):
        n = min(WORDS_AT_ONCE, n_words - start)
        words = bit_generator.random_raw(n_bits * n).reshape(n_bits, n)
        lanes = (words[:, :, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)  # (d, word, lane)
        tiles.append(lanes.reshape(n_bits, -1).T)
    return 1.0 - 2.0 * np.concatenate(tiles)[:n_inputs].astype(np.float64)


def plain(x: NDArray[np.float64], monomials: tuple[tuple[int, ...], ...], students: NDArray[np.float64]):  # type: ignore[no-untyped-def]
    """The same sums by one matrix product a monomial."""
    active = (x @ students.T > 0).astype(float)
    return np.stack([(active * x[:, list(m)].prod(axis=1)[:, None]).T @ x for m in monomials], axis=1)


@pytest.mark.parametrize(
    ("n_bits", "n_inputs"),
    [(3, 1), (5, 63), (5, 64), (11, 65), (31, 1000), (63, 64 * WORDS_AT_ONCE + 7), (127, 300)],
)
def test_sums_by_words_equal_the_plain_ones(n_bits: int, n_inputs: int) -> None:
    students = signs(generator("students", n_bits), 3, n_bits)
    monomials = ((0, 1), (2,), tuple(range(n_bits)))
    x = inputs_of(np.random.Philox(n_bits), n_bits, n_inputs)
    assert x.shape == (n_inputs, n_bits)
    got = sums_of_signs(np.random.Philox(n_bits), n_bits, n_inputs, monomials, students)
    np.testing.assert_array_equal(got, plain(x, monomials, students))


def test_the_comparison_notices_one_wrong_student() -> None:
    students = signs(generator("students"), 2, 11)
    x = inputs_of(np.random.Philox(1), 11, 500)
    got = sums_of_signs(np.random.Philox(1), 11, 500, ((0, 1),), students)
    students[1, 3] *= -1
    assert (got != plain(x, ((0, 1),), students)).any()


def test_the_inputs_are_balanced_and_independent() -> None:
    x = inputs_of(np.random.Philox(5), 9, 40_000)
    assert set(np.unique(x)) == {-1.0, 1.0}
    correlations = x.T @ x / len(x) - np.eye(9)
    assert np.abs(x.mean(axis=0)).max() < 5 / 200
    assert np.abs(correlations).max() < 5 / 200

"""Streams of sign vectors and sparse parity: made again anywhere, uniform, independent, labeled by the definition."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdlib.specs import SpecError
from pdlib.tasks.bits import BitStream
from pdlib.tasks.parity import SparseParity, parity_class

N = 40_000
TOLERANCE = 5 / np.sqrt(N)  # five standard errors of a mean of signs


def stream(n_bits: int, identity: str = "a test") -> BitStream:
    """A stream whose label is its first bit."""
    return BitStream(identity, n_bits, lambda x: (x[:, 0] < 0).astype(np.uint8))


@given(
    n_bits=st.sampled_from([1, 7, 63, 64, 65, 100, 128, 130, 257]),
    start=st.integers(0, 2000),
    length=st.integers(0, 300),
)
def test_any_block_of_a_stream_is_the_same_made_alone_or_as_part_of_a_larger_one(
    n_bits: int, start: int, length: int
) -> None:
    whole, classes = stream(n_bits).examples(0, 2300)
    block, block_classes = stream(n_bits).examples(start, start + length)
    np.testing.assert_array_equal(block, whole[start : start + length])
    np.testing.assert_array_equal(block_classes, classes[start : start + length])


def test_a_block_far_along_the_stream_costs_no_walk_there() -> None:
    far = 10**15
    block, _ = stream(100).examples(far, far + 8)
    np.testing.assert_array_equal(stream(100).examples(far + 3, far + 8)[0], block[3:])


@pytest.mark.parametrize("n_bits", [5, 64, 100, 130])
def test_signs_are_the_bits_of_the_words_as_numpy_unpacks_them(n_bits: int) -> None:
    words = stream(n_bits).words(17, 117)
    bits = np.unpackbits(words.astype("<u8").view(np.uint8), axis=1, bitorder="little")[:, :n_bits]
    np.testing.assert_array_equal(stream(n_bits).examples(17, 117)[0], 1.0 - 2.0 * bits)


def test_words_are_philox_at_the_counter_that_the_example_number_gives() -> None:
    s = stream(64)
    plain = np.random.Philox(key=int(s.identity, 16)).random_raw(4000)
    np.testing.assert_array_equal(s.words(1001, 1501)[:, 0], plain[1001:1501])


def test_examples_written_into_an_array_leave_its_further_columns_alone() -> None:
    out = np.full((50, 16), 7.0)
    given_back, _ = stream(10).examples(5, 55, out=out)
    assert given_back is out
    np.testing.assert_array_equal(out[:, :10], stream(10).examples(5, 55)[0])
    assert (out[:, 10:] == 7.0).all()


@pytest.mark.parametrize("n_bits", [20, 100])
def test_signs_are_uniform_and_independent_within_five_standard_errors(n_bits: int) -> None:
    x, _ = stream(n_bits).examples(0, N)
    assert set(np.unique(x)) == {-1.0, 1.0}
    assert np.abs(x.mean(axis=0)).max() < TOLERANCE
    products = (x.T @ x) / N
    assert np.abs(products - np.eye(n_bits)).max() < TOLERANCE
    assert np.abs((x[1:] * x[:-1]).mean(axis=0)).max() < TOLERANCE  # one example and the next
    third = [(x[:, i] * x[:, j] * x[:, k]).mean() for i, j, k in combinations(range(12), 3)]
    assert np.abs(third).max() < TOLERANCE


def test_the_check_of_uniformity_can_fail() -> None:
    x, _ = stream(20).examples(0, N)
    x[: N // 20, 3] = 1.0  # one bit in forty no longer free
    assert np.abs(x.mean(axis=0)).max() > TOLERANCE


def test_streams_of_another_seed_purpose_or_task_are_unrelated() -> None:
    task = SparseParity(20, 3)
    base, _ = task.stream(0, "train").examples(0, N)
    others = [
        task.stream(1, "train"),
        task.stream(0, "evaluation"),
        task.stream(0, "probe"),
        replace(task, support_size=4).stream(0, "train"),
    ]
    assert len({task.stream(0, "train").identity, *(s.identity for s in others)}) == 5
    for other in others:
        x, _ = other.examples(0, N)
        assert np.abs((base * x).mean(axis=0)).max() < TOLERANCE
    same, _ = task.stream(0, "train").examples(0, N)
    assert np.abs((base * same).mean(axis=0)).max() == 1.0  # the control


@given(st.integers(1, 8), st.integers(0, 5))
def test_a_class_is_the_sign_of_the_product_of_the_support(k: int, seed: int) -> None:
    task = SparseParity(9, k)
    x, classes = task.stream(seed, "train").examples(0, 64)
    plain = [0 if np.prod([row[i] for i in task.support]) > 0 else 1 for row in x]
    assert classes.tolist() == plain
    assert parity_class(x, k).tolist() == plain


def test_a_class_ignores_the_bits_off_the_support_and_turns_with_each_bit_of_it() -> None:
    x, classes = SparseParity(12, 4).stream(0, "train").examples(0, 200)
    for j in range(12):
        turned = x.copy()
        turned[:, j] *= -1
        agrees = parity_class(turned, 4) == classes
        assert agrees.all() if j >= 4 else not agrees.any()


def test_classes_are_balanced() -> None:
    _, classes = SparseParity(20, 3).stream(0, "train").examples(0, N)
    assert abs(classes.mean() - 0.5) < TOLERANCE / 2


# A support placed elsewhere


@given(st.data(), st.integers(0, 5))
def test_a_class_is_the_sign_of_the_product_of_a_placed_support(data: st.DataObject, seed: int) -> None:
    positions = sorted(data.draw(st.sets(st.integers(0, 69), min_size=1, max_size=6)))
    task = SparseParity(70, len(positions), tuple(positions))
    assert task.support == tuple(positions)
    x, classes = task.stream(seed, "train").examples(0, 64)
    assert classes.tolist() == [0 if np.prod([row[i] for i in positions]) > 0 else 1 for row in x]
    assert classes.dtype == np.uint8


def test_a_class_ignores_the_bits_off_a_placed_support_and_turns_with_each_bit_of_it() -> None:
    task = SparseParity(12, 4, (1, 4, 5, 11))
    stream = task.stream(0, "train")
    x, classes = stream.examples(0, 200)
    for j in range(12):
        turned = x.copy()
        turned[:, j] *= -1
        agrees = stream._label(turned) == classes
        assert not agrees.any() if j in (1, 4, 5, 11) else agrees.all()


def test_any_block_of_a_placed_stream_is_the_same_made_alone_also_into_an_array_with_more_columns() -> None:
    stream = SparseParity(10, 2, (0, 9)).stream(3, "train")
    whole, classes = stream.examples(0, 300)
    out = np.full((57, 16), -1.0)
    block, block_classes = stream.examples(200, 257, out=out)
    np.testing.assert_array_equal(block[:, :10], whole[200:257])
    np.testing.assert_array_equal(block_classes, classes[200:257])


def test_a_support_placed_at_the_first_positions_is_the_usual_task_and_another_one_is_not() -> None:
    usual, said = SparseParity(20, 3), SparseParity(20, 3, (0, 1, 2))
    assert said == usual
    assert said.fingerprint == usual.fingerprint
    assert said.support == usual.support == (0, 1, 2)
    streams = [task.stream(0, "train") for task in (usual, said, SparseParity(20, 3, (0, 1, 3)))]
    assert streams[0].identity == streams[1].identity != streams[2].identity
    x, one = streams[0].examples(0, N)
    y, other = streams[2].examples(0, N)
    assert np.abs((x * y).mean(axis=0)).max() < TOLERANCE
    assert abs((one == other).mean() - 0.5) < TOLERANCE / 2


@pytest.mark.parametrize(
    "positions",
    [(1, 2), (1, 2, 3, 4), (2, 1, 3), (1, 1, 3), (1, 2, 10), (-1, 2, 3), (10, 11, 12)],
)
def test_a_support_that_cannot_be_is_refused(positions: Any) -> None:
    with pytest.raises(
        SpecError, match=r"positions = \(.*: expected 3 distinct rising positions from 0 to 9"
    ):
        SparseParity(10, 3, positions)
    assert SparseParity(10, 3, (7, 8, 9)).support == (7, 8, 9)  # the control


@pytest.mark.parametrize("positions", [(1.0, 2.0, 3.0), (True, 2, 3)])
def test_positions_are_whole_numbers_so_that_a_task_has_one_fingerprint(positions: Any) -> None:
    with pytest.raises(SpecError, match=r"positions\[0\] = (1\.0|True): expected a whole number"):
        SparseParity(10, 3, positions)

"""Streams of sign vectors and sparse parity: made again anywhere, uniform, independent, labeled by the definition."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdlib.specs import SpecError
from pdlib.tasks.bits import BitStream, random_words
from pdlib.tasks.parity import SparseParity

N = 40_000
TOLERANCE = 5 / np.sqrt(N)  # five standard errors of a mean of signs
PLACED = SparseParity(12, 4, (1, 4, 5, 11))


def stream(n_bits: int) -> BitStream:
    """A stream whose label is its first bit."""
    return BitStream("a test", n_bits, lambda x: (x[:, 0] < 0).astype(np.uint8))


@given(
    n_bits=st.sampled_from([1, 7, 63, 64, 65, 100, 128, 130, 257]),
    start=st.integers(0, 2000),
    length=st.integers(0, 300),
)
def test_any_block_is_the_same_made_alone_or_as_part_of_a_larger_one_or_into_a_wider_array(
    n_bits: int, start: int, length: int
) -> None:
    whole, classes = stream(n_bits).examples(0, 2300)
    out = np.full((length, n_bits + 3), 7.0)
    for block, block_classes in (
        stream(n_bits).examples(start, start + length),
        stream(n_bits).examples(start, start + length, out=out),
    ):
        np.testing.assert_array_equal(block[:, :n_bits], whole[start : start + length])
        np.testing.assert_array_equal(block_classes, classes[start : start + length])
    assert block is out
    assert (out[:, n_bits:] == 7.0).all()


def test_a_block_far_along_the_stream_costs_no_walk_there() -> None:
    far = 10**15
    block, _ = stream(100).examples(far, far + 8)
    np.testing.assert_array_equal(stream(100).examples(far + 3, far + 8)[0], block[3:])


@pytest.mark.parametrize("n_bits", [5, 64, 130])
def test_signs_are_the_bits_of_philox_at_the_counter_that_the_number_gives(n_bits: int) -> None:
    identity = hashlib.sha256(b"a test").hexdigest()[:32]
    assert stream(n_bits).identity == identity
    n_words = (n_bits + 63) // 64
    plain = np.random.Philox(key=int(identity, 16)).random_raw(1000 * n_words)
    rows = [
        [1 - 2 * (int(plain[i * n_words + j // 64]) >> j % 64 & 1) for j in range(n_bits)]
        for i in range(901, 999)
    ]
    np.testing.assert_array_equal(stream(n_bits).examples(901, 999)[0], rows)
    for size in (1, 3, 4, 6):
        words = random_words(identity, 11, 150, size)
        np.testing.assert_array_equal(words.ravel(), plain[11 * size : 150 * size])


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
    x[: N // 20, 3] = 1.0  # the control: one bit in forty no longer free
    assert np.abs(x.mean(axis=0)).max() > TOLERANCE


def test_streams_of_another_seed_purpose_or_task_are_unrelated() -> None:
    task = SparseParity(20, 3)
    base, classes = task.stream(0, "train").examples(0, N)
    assert abs(classes.mean() - 0.5) < TOLERANCE / 2
    others = [task.stream(1, "train"), task.stream(0, "evaluation"), task.stream(0, "probe")]
    others += [
        replace(task, support_size=4).stream(0, "train"),
        SparseParity(20, 3, (0, 1, 3)).stream(0, "train"),
    ]
    assert len({task.stream(0, "train").identity, *(s.identity for s in others)}) == 6
    for other in others:
        x, _ = other.examples(0, N)
        assert np.abs((base * x).mean(axis=0)).max() < TOLERANCE
    same, _ = task.stream(0, "train").examples(0, N)
    assert np.abs((base * same).mean(axis=0)).max() == 1.0  # the control


@given(st.data(), st.booleans(), st.integers(0, 5))
def test_a_class_is_the_sign_of_the_product_of_the_support(
    data: st.DataObject, placed: bool, seed: int
) -> None:
    positions = sorted(data.draw(st.sets(st.integers(0, 69), min_size=1, max_size=6)))
    task = SparseParity(70, len(positions), tuple(positions) if placed else ())
    assert task.support == tuple(positions if placed else range(len(positions)))
    x, classes = task.stream(seed, "train").examples(0, 64, out=np.full((64, 72), -1.0))
    assert classes.tolist() == [0 if np.prod([row[i] for i in task.support]) > 0 else 1 for row in x]
    assert classes.dtype == np.uint8


def test_a_class_ignores_the_bits_off_the_support_and_turns_with_each_bit_of_it() -> None:
    placed = PLACED.stream(0, "train")
    x, classes = placed.examples(0, 200)
    for j in range(12):
        turned = x.copy()
        turned[:, j] *= -1
        agrees = placed._label(turned) == classes
        assert not agrees.any() if j in PLACED.support else agrees.all()


def test_a_support_placed_at_the_first_positions_is_the_usual_task() -> None:
    usual, said = SparseParity(20, 3), SparseParity(20, 3, (0, 1, 2))
    assert said == usual
    assert said.fingerprint == usual.fingerprint != SparseParity(20, 3, (0, 1, 3)).fingerprint
    assert said.stream(0, "train").identity == usual.stream(0, "train").identity


@pytest.mark.parametrize(
    ("positions", "said"),
    [
        *(
            (positions, r"positions = \(.*: expected 3 distinct rising positions from 0 to 9")
            for positions in ((1, 2), (1, 2, 3, 4), (2, 1, 3), (1, 1, 3), (1, 2, 10), (-1, 2, 3))
        ),
        ((1.0, 2.0, 3.0), r"positions\[0\] = 1\.0: expected a whole number"),  # a task has one fingerprint
        ((True, 2, 3), r"positions\[0\] = True: expected a whole number"),
    ],
)
def test_a_support_that_cannot_be_is_refused(positions: Any, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        SparseParity(10, 3, positions)
    assert SparseParity(10, 3, (7, 8, 9)).support == (7, 8, 9)  # the control

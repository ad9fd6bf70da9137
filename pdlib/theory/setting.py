"""The setting of appendix B, checked, and its randomness.

Inputs are uniform on :math:`\\{-1, +1\\}^d`, the label is :math:`y = x_1 \\cdots x_k`, as a sign. The number of bits d is
odd, so that majority has no ties, and k is even, so that the coefficients that the proofs need are not 0.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdlib.specs import require, whole

ENUMERABLE = 20  # largest d whose whole cube is written out: 2^20 points


def check_setting(n_bits: int, support_size: int) -> None:
    """Raise `SpecError` unless d is odd, k even and 2 <= k < d.

    >>> check_setting(11, 4)
    >>> check_setting(10, 4)
    Traceback (most recent call last):
    ...
    pdlib.specs.SpecError: n_bits d = 10: expected an odd number, since majority has ties at even d. Take 9 or 11.
    """
    whole(n_bits=n_bits, support_size=support_size)
    check_odd(n_bits)
    require(
        support_size < n_bits,
        f"support_size k = {support_size}",
        f"fewer than n_bits d = {n_bits}",
        "Lower support_size or raise n_bits.",
    )
    require(
        support_size % 2 == 0,
        f"support_size k = {support_size}",
        "an even number, since the coefficients of majority at k - 1 and k + 1 are 0 for odd k",
        f"Take {support_size - 1} or {support_size + 1}." if support_size > 1 else "Take 2.",
    )


def check_odd(n_bits: int) -> None:
    """Raise `SpecError` unless d is an odd whole number."""
    whole(n_bits=n_bits)
    require(
        n_bits % 2 == 1,
        f"n_bits d = {n_bits}",
        "an odd number, since majority has ties at even d",
        f"Take {n_bits - 1} or {n_bits + 1}.",
    )


def check_enumerable(n_bits: int, largest: int = ENUMERABLE) -> None:
    """Raise `SpecError` if the cube of 2^d points is too large to write out.

    >>> check_enumerable(30)
    Traceback (most recent call last):
    ...
    pdlib.specs.SpecError: n_bits d = 30: expected at most 20, the largest cube that is enumerated. Draw inputs instead.
    """
    whole(n_bits=n_bits)
    require(
        n_bits <= largest,
        f"n_bits d = {n_bits}",
        f"at most {largest}, the largest cube that is enumerated",
        "Draw inputs instead.",
    )


def check_shares(**values: float) -> None:
    """Raise `SpecError` unless every named value lies strictly between 0 and 1.

    >>> check_shares(epsilon=0.1, delta=1.0)
    Traceback (most recent call last):
    ...
    pdlib.specs.SpecError: delta = 1.0: expected a number in (0, 1).
    """
    for name, value in values.items():
        require(
            isinstance(value, (int, float)) and 0 < value < 1, f"{name} = {value!r}", "a number in (0, 1)"
        )


def check_seed(seed: int) -> None:
    """Raise `SpecError` unless the seed is a whole number of at least 0."""
    require(type(seed) is int and seed >= 0, f"seed = {seed!r}", "a whole number of at least 0")


def generator(*identity: Any) -> np.random.Generator:
    """Return the counter-based generator that these literals name; other literals, independent numbers.

    >>> bool(generator("inputs", 1).random() == generator("inputs", 1).random() != generator("inputs", 2).random())
    True
    """
    return np.random.Generator(philox(*identity))


def philox(*identity: Any) -> np.random.Philox:
    """Return the Philox bit generator that these literals name."""
    key = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:32]
    return np.random.Philox(key=int(key, 16))


def cube(n_bits: int) -> NDArray[np.float64]:
    """Return all 2^d inputs, shape (2^d, d), entries -1 or +1; row r has -1 where r has a 1, lowest bit first.

    >>> cube(2).tolist()
    [[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]]
    """
    check_enumerable(n_bits)
    rows = np.arange(2**n_bits, dtype=np.int64)[:, None]
    return np.asarray(1.0 - 2.0 * ((rows >> np.arange(n_bits)) & 1), dtype=np.float64)


def signs(rng: np.random.Generator, *shape: int) -> NDArray[np.float64]:
    """Return uniform signs -1 and +1 of this shape."""
    return np.asarray(2.0 * rng.integers(0, 2, shape) - 1.0, dtype=np.float64)


def parity(bits: NDArray[Any], support_size: int) -> NDArray[Any]:
    r"""Return :math:`y = \prod_{j \le k} x_j` of each input, shape (example,).

    >>> parity(np.array([[1.0, -1.0, 1.0], [-1.0, -1.0, 1.0]]), 2).tolist()
    [-1.0, 1.0]
    """
    product: NDArray[Any] = bits[:, :support_size].prod(axis=1)
    return product

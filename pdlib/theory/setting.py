"""The setting of appendix B, checked, and its randomness.

Inputs are uniform on :math:`\\{-1, +1\\}^d`, the label is :math:`y = x_1 \\cdots x_k`, as a sign. The number of bits d is
odd, so that majority has no ties, and k is even, so that the coefficients that the proofs need are not 0.

`epsilon`, the loss sought, and `delta`, the probability of failure allowed, are in (0, 1).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pdlib.specs import Calculation, Count, checked, require

ENUMERABLE = 20  # largest d whose whole cube is written out: 2^20 points
INPUTS_AT_ONCE = 8192  # rows of an input matrix that are worked on together


@dataclass(frozen=True)
class Experiment(Calculation):
    """A calculation of appendix B: d is odd, k even and below d, and m even, since neurons are mirrored.

    >>> from pdlib import ReadOff
    >>> issubclass(ReadOff, Experiment)
    True
    """

    mirrored: ClassVar[bool] = True  # whether `width` is that of a network whose neurons have twins
    most_bits: ClassVar[float] = inf  # largest d, or k of a calculation without d

    def __post_init__(self) -> None:
        super().__post_init__()
        check_setting(width=getattr(self, "width", None) if self.mirrored else None)
        sizes = {name: vars(self)[name] for name in ("n_bits", "support_size") if name in vars(self)}
        check_setting(**sizes)
        check_enumerable(max(sizes.values(), default=0), self.most_bits)


@dataclass(frozen=True)
class NetworkExperiment(Experiment):
    """A calculation with networks of appendix B.

    >>> from pdlib import FirstStep
    >>> issubclass(FirstStep, NetworkExperiment)
    True
    """

    n_bits: Count  # d
    support_size: Count  # k
    width: Count  # m


def check_setting(
    n_bits: int | None = None, support_size: int | None = None, width: int | None = None
) -> None:
    """Raise `SpecError` unless d is odd, k even, 2 <= k < d and m even; what is left out is not checked.

    >>> check_setting(11, 4)
    >>> check_setting(10, 4)
    Traceback (most recent call last):
    ...
    pdlib.fields.SpecError: n_bits d = 10: expected an odd number, since majority has ties at even d. Take 9 or 11.
    """
    vanish = "an even number, since the coefficients of majority at k - 1 and k + 1 are 0 for odd k"
    for name, letter, value, rest, expected in (
        ("n_bits", "d", n_bits, 1, "an odd number, since majority has ties at even d"),
        ("support_size", "k", support_size, 0, vanish),
        ("width", "m", width, 0, "an even number, since each neuron has a mirrored twin"),
    ):
        if value is not None:
            checked(name, value, Count)
            near = f"Take {value - 1} or {value + 1}." if value > 1 else "Take 2."
            require(value % 2 == rest, f"{name} {letter} = {value}", expected, near)
    if n_bits is not None and support_size is not None:
        check_below(n_bits, support_size)


def check_below(n_bits: int, support_size: int) -> None:
    """Raise `SpecError` unless 1 <= k < d."""
    checked("support_size", support_size, Count)
    said, expected = f"support_size k = {support_size}", f"fewer than n_bits d = {n_bits}"
    require(support_size < n_bits, said, expected, "Lower support_size or raise n_bits.")


def check_enumerable(n_bits: int, largest: float = ENUMERABLE) -> None:
    """Raise `SpecError` if the cube of 2^d points is too large to write out."""
    require(n_bits <= largest, f"n_bits d = {n_bits}", f"at most {largest}, the largest that is computed")


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


def drawn(rng: np.random.Generator, n_inputs: int, n_bits: int) -> Iterator[NDArray[np.float64]]:
    """Yield uniform inputs in blocks of at most `INPUTS_AT_ONCE`."""
    for start in range(0, n_inputs, INPUTS_AT_ONCE):
        yield signs(rng, min(INPUTS_AT_ONCE, n_inputs - start), n_bits)


def parity(bits: NDArray[Any], support_size: int) -> NDArray[Any]:
    r"""Return :math:`y = \prod_{j \le k} x_j` of each input, shape (example,).

    >>> parity(np.array([[1.0, -1.0, 1.0], [-1.0, -1.0, 1.0]]), 2).tolist()
    [-1.0, 1.0]
    """
    product: NDArray[Any] = bits[:, :support_size].prod(axis=1)
    return product


def separates(values: NDArray[Any], support_size: int) -> NDArray[np.bool_]:
    """Return whether the k largest magnitudes along the last axis are those of the support, the first k.

    >>> separates(np.array([[0.3, -0.2, 0.1], [0.3, -0.1, 0.1]]), 2).tolist()
    [True, False]
    """
    size = np.abs(values)
    return np.asarray(size[..., :support_size].min(axis=-1) > size[..., support_size:].max(axis=-1))

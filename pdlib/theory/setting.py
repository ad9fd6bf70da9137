"""The setting of appendix B, checked, and its randomness.

Inputs are uniform on :math:`\\{-1, +1\\}^d`, the label is :math:`y = x_1 \\cdots x_k`, as a sign. The number of bits d is
odd, so that majority has no ties, and k is even, so that the coefficients that the proofs need are not 0.

The fields of the theory's calculations share their names and ranges, so that one check does for all of them:

==================================  ==============================================================
`n_bits`, `support_size`, `width`   d, odd; k, even, below d; m, even, since neurons are mirrored
`epsilon`, `delta`                  the loss sought, the probability of failure allowed: in (0, 1)
`seed`                              decides all that is drawn; a whole number of at least 0
other numbers                       whole ones of at least 1; finite ones above 0
==================================  ==============================================================
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields
from math import isfinite
from typing import Any, ClassVar, Literal, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from pdlib.specs import Calculation, Spec, require, whole

ENUMERABLE = 20  # largest d whose whole cube is written out: 2^20 points


@dataclass(frozen=True)
class Experiment(Calculation):
    """A calculation of appendix B: its fields are checked by their names, see above."""

    mirrored: ClassVar[bool] = True  # whether `width` is that of a network whose neurons have twins

    def __post_init__(self) -> None:
        check_fields(self)
        check_setting(**{name: vars(self)[name] for name in ("n_bits", "support_size") if name in vars(self)})


def check_fields(spec: Spec, but: str = "") -> None:
    """Raise `SpecError` unless each field of a spec is of its type and in the range that its name stands for, `but` one.

    Whole numbers where other ones may stand are turned into floats, so that 1 and 1.0 are the same spec.
    """
    hints = get_type_hints(type(spec))
    for field in (field for field in fields(spec) if field.name != but):
        value = _checked(field.name, getattr(spec, field.name), hints[field.name])
        object.__setattr__(spec, field.name, value)
        if field.name == "width" and getattr(spec, "mirrored", True):
            check_width(value)


def _checked(name: str, value: Any, kind: Any) -> Any:
    said = f"{name} = {value!r}"
    if get_origin(kind) is tuple:
        require(len(value) > 0, said, f"at least one of the {name.replace('_', ' ')}")
        return tuple(_checked(f"{name}[{i}]", v, get_args(kind)[0]) for i, v in enumerate(value))
    if get_origin(kind) is Literal:
        require(value in get_args(kind), said, " or ".join(map(repr, get_args(kind))))
    elif kind is bool:
        require(type(value) is bool, said, "True or False")
    elif name in ("epsilon", "delta"):
        check_shares(**{name: value})
    elif kind is float:
        check_above_0(**{name: value})
        return float(value)
    elif name in ("seed", "teacher_width"):  # a width of 0: no teacher
        require(type(value) is int and value >= 0, said, "a whole number of at least 0")
    elif kind is int:
        whole(**{name: value})
    else:
        require(isinstance(value, kind), said, f"a {kind.__name__}")
    return value


def check_setting(n_bits: int | None = None, support_size: int | None = None) -> None:
    """Raise `SpecError` unless d is odd, k even and 2 <= k < d; either may be left out.

    >>> check_setting(11, 4)
    >>> check_setting(10, 4)
    Traceback (most recent call last):
    ...
    pdlib.specs.SpecError: n_bits d = 10: expected an odd number, since majority has ties at even d. Take 9 or 11.
    """
    if n_bits is not None:
        whole(n_bits=n_bits)
        near = f"Take {n_bits - 1} or {n_bits + 1}."
        require(
            n_bits % 2 == 1, f"n_bits d = {n_bits}", "an odd number, since majority has ties at even d", near
        )
    if support_size is not None:
        whole(support_size=support_size)
        require(
            support_size % 2 == 0,
            f"support_size k = {support_size}",
            "an even number, since the coefficients of majority at k - 1 and k + 1 are 0 for odd k",
            f"Take {support_size - 1} or {support_size + 1}." if support_size > 1 else "Take 2.",
        )
        if n_bits is not None:
            check_below(n_bits, support_size)


def check_below(n_bits: int, support_size: int) -> None:
    """Raise `SpecError` unless 1 <= k < d."""
    whole(support_size=support_size)
    require(
        support_size < n_bits,
        f"support_size k = {support_size}",
        f"fewer than n_bits d = {n_bits}",
        "Lower support_size or raise n_bits.",
    )


def check_width(width: int) -> None:
    """Raise `SpecError` unless m is an even whole number.

    >>> check_width(7)
    Traceback (most recent call last):
    ...
    pdlib.specs.SpecError: width m = 7: expected an even number, since each neuron has a mirrored twin. Take 6 or 8.
    """
    whole(width=width)
    near = f"Take {width - 1} or {width + 1}." if width > 1 else "Take 2."
    require(
        width % 2 == 0, f"width m = {width}", "an even number, since each neuron has a mirrored twin", near
    )


def check_enumerable(n_bits: int, largest: int = ENUMERABLE) -> None:
    """Raise `SpecError` if the cube of 2^d points is too large to write out.

    >>> check_enumerable(30)
    Traceback (most recent call last):
    ...
    pdlib.specs.SpecError: n_bits d = 30: expected at most 20, the largest cube that is enumerated. Draw inputs instead.
    """
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
        is_one = isinstance(value, (int, float)) and 0 < value < 1
        require(is_one, f"{name} = {value!r}", "a number in (0, 1)")


def check_above_0(**values: float) -> None:
    """Raise `SpecError` unless every named value is a finite number above 0."""
    for name, value in values.items():
        is_one = isinstance(value, (int, float)) and isfinite(value) and value > 0
        require(is_one, f"{name} = {value!r}", "a finite number above 0")


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

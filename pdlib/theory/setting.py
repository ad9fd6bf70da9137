"""The setting of appendix B, checked, and its randomness.

Inputs are uniform on :math:`\\{-1, +1\\}^d`, the label is :math:`y = x_1 \\cdots x_k`, as a sign. The number of bits d is
odd, so that majority has no ties, and k is even, so that the coefficients that the proofs need are not 0.

The fields of the theory's calculations share their names and ranges, so that one check does for all of them:

==================================  ==============================================================
`n_bits`, `support_size`, `width`   d, odd; k, even, below d; m, even, since neurons are mirrored
`epsilon`, `delta`                  the loss sought, the probability of failure allowed: in (0, 1)
`c`                                 exponent of Theorem B.1's loss: at least 1
`seed`                              decides all that is drawn; a whole number of at least 0
other numbers                       whole ones of at least 1; finite ones above 0
==================================  ==============================================================
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from math import inf, isfinite
from typing import Any, ClassVar, Literal, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from pdlib.specs import Calculation, Spec, require, whole

ENUMERABLE = 20  # largest d whose whole cube is written out: 2^20 points
INPUTS_AT_ONCE = 8192  # rows of an input matrix that are worked on together


@dataclass(frozen=True)
class Experiment(Calculation):
    """A calculation of appendix B: its fields are checked by their names, see above."""

    mirrored: ClassVar[bool] = True  # whether `width` is that of a network whose neurons have twins
    most_bits: ClassVar[float] = inf  # largest d, or k of a calculation without d

    def __post_init__(self) -> None:
        check_fields(self)
        sizes = {name: vars(self)[name] for name in ("n_bits", "support_size") if name in vars(self)}
        check_setting(**sizes)
        check_enumerable(max(sizes.values(), default=0), self.most_bits)


@dataclass(frozen=True)
class NetworkExperiment(Experiment):
    """A calculation with networks of appendix B."""

    n_bits: int  # d
    support_size: int  # k
    width: int  # m


def check_fields(spec: Spec, but: str = "") -> None:
    """Raise `SpecError` unless each field of a spec is of its type and in the range that its name stands for, `but` one.

    Whole numbers where other ones may stand are turned into floats, so that 1 and 1.0 are the same spec.
    """
    hints = get_type_hints(type(spec))
    for name in (field.name for field in fields(spec) if field.name != but):
        object.__setattr__(spec, name, _checked(name, getattr(spec, name), hints[name]))
        if name == "width" and getattr(spec, "mirrored", True):
            check_setting(width=getattr(spec, name))


def check_numbers(**values: float) -> None:
    """Raise `SpecError` unless each number is in the range that its name stands for.

    >>> check_numbers(epsilon=0.1, delta=1.0)
    Traceback (most recent call last):
    ...
    pdlib.specs.SpecError: delta = 1.0: expected a number in (0, 1).
    """
    for name, value in values.items():
        _checked(name, value, float)


def _checked(name: str, value: Any, kind: Any) -> Any:
    if get_origin(kind) is tuple:
        require(len(value) > 0, f"{name} = {value!r}", f"at least one of the {name.replace('_', ' ')}")
        return tuple(_checked(f"{name}[{i}]", v, get_args(kind)[0]) for i, v in enumerate(value))
    is_one, expected = _range(name, value, kind)
    require(is_one, f"{name} = {value!r}", expected)
    return float(value) if kind is float else value


def _range(name: str, value: Any, kind: Any) -> tuple[bool, str]:
    """Return whether a value is one that its name and type allow, and which ones are."""
    is_number = isinstance(value, (int, float)) and isfinite(value)
    if get_origin(kind) is Literal:
        return value in get_args(kind), " or ".join(map(repr, get_args(kind)))
    if kind is bool:
        return type(value) is bool, "True or False"
    if name in ("epsilon", "delta"):
        return is_number and 0 < value < 1, "a number in (0, 1)"
    if name == "c":
        return is_number and value >= 1, "a finite number of at least 1, as Theorem B.1 does"
    if kind is float:
        return is_number and value > 0, "a finite number above 0"
    if kind is int:
        least = 0 if name in ("seed", "teacher_width") else 1  # a teacher's width of 0: no teacher
        return type(value) is int and value >= least, f"a whole number of at least {least}"
    return isinstance(value, kind), f"a {kind.__name__}"


def check_setting(
    n_bits: int | None = None, support_size: int | None = None, width: int | None = None
) -> None:
    """Raise `SpecError` unless d is odd, k even, 2 <= k < d and m even; what is left out is not checked.

    >>> check_setting(11, 4)
    >>> check_setting(10, 4)
    Traceback (most recent call last):
    ...
    pdlib.specs.SpecError: n_bits d = 10: expected an odd number, since majority has ties at even d. Take 9 or 11.
    """
    vanish = "an even number, since the coefficients of majority at k - 1 and k + 1 are 0 for odd k"
    for name, letter, value, rest, expected in (
        ("n_bits", "d", n_bits, 1, "an odd number, since majority has ties at even d"),
        ("support_size", "k", support_size, 0, vanish),
        ("width", "m", width, 0, "an even number, since each neuron has a mirrored twin"),
    ):
        if value is not None:
            whole(**{name: value})
            near = f"Take {value - 1} or {value + 1}." if value > 1 else "Take 2."
            require(value % 2 == rest, f"{name} {letter} = {value}", expected, near)
    if n_bits is not None and support_size is not None:
        check_below(n_bits, support_size)


def check_below(n_bits: int, support_size: int) -> None:
    """Raise `SpecError` unless 1 <= k < d."""
    whole(support_size=support_size)
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

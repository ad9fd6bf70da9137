"""What a field may hold: its annotation, checked, with an error for people.

>>> from dataclasses import dataclass
>>> @dataclass
... class Walk:
...     n_steps: Count
...     pace: Literal["slow", "fast"] = "slow"
>>> check_fields(Walk(3))
>>> check_fields(Walk(3, "brisk"))
Traceback (most recent call last):
...
pdlib.fields.SpecError: pace = 'brisk': expected 'slow' or 'fast'.
"""

from __future__ import annotations

import inspect
import re
import sys
from contextlib import suppress
from dataclasses import field, fields
from functools import cache
from types import NoneType, SimpleNamespace, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np


class SpecError(ValueError):
    """A record that cannot mean anything: names the value, what was expected, what to do."""


def require(condition: bool, what: str, expected: str, remedy: str = "") -> None:
    """Raise `SpecError` unless `condition` holds.

    >>> require(2 > 3, "support_size = 9", "at most n_bits = 5", "Lower support_size or raise n_bits.")
    Traceback (most recent call last):
    ...
    pdlib.fields.SpecError: support_size = 9: expected at most n_bits = 5. Lower support_size or raise n_bits.
    """
    if not condition:
        raise SpecError(f"{what}: expected {expected}." + (f" {remedy}" if remedy else ""))


# Ranges, for a field's annotation
_Item = TypeVar("_Item")
Count = Annotated[int, "[1, inf)"]
Index = Annotated[int, "[0, inf)"]  # a place, a step, a seed
Positive = Annotated[float, "(0, inf)"]
Share = Annotated[float, "(0, 1)"]
Temperature = Annotated[float, "[1e-30, inf)"]  # of a softmax; below, quotients leave what float32 can hold
Several = Annotated[tuple[_Item, ...], "[1, inf)"]  # how many items

_PLAIN = {
    bool: "True or False",
    int: "a whole number",
    float: "a finite number",
    str: "text",
    NoneType: "None",
}


def checked(what: str, value: Any, kind: Any) -> Any:
    """Return a value as a field of this kind holds it, a float where one is declared, or raise `SpecError`.

    A kind is bool, int (neither is the other), float (finite), str, None, the words of a `Literal`, a class, a tuple or a
    union of these, or a number or tuple `Annotated` with an interval. A value of any other kind is left alone.

    >>> checked("rates", (1, 0.5), tuple[float, ...])
    (1.0, 0.5)
    >>> checked("n_bits", 2.0, Count)
    Traceback (most recent call last):
    ...
    pdlib.fields.SpecError: n_bits = 2.0: expected a whole number of at least 1.
    """
    origin, of = get_origin(kind), get_args(kind)
    if origin not in (None, Union, UnionType, Annotated, Literal, tuple):
        return value
    fits, given = True, value
    if origin in (Union, UnionType):
        for one in of:
            with suppress(SpecError):
                return checked(what, value, one)
        fits = False
    elif origin is Annotated:
        try:
            value = checked(what, value, of[0])
            fits = _inside(len(value) if isinstance(value, tuple) else value, of[1])
        except SpecError:
            if isinstance(value, tuple):
                raise  # it names the item
            fits = False
    elif origin is Literal:
        fits = any(type(value) is type(word) and value == word for word in of)
    elif origin is tuple:
        fits = isinstance(value, tuple) and (of[-1] is ... or len(of) == len(value))
        if fits:
            kinds = of[:1] * len(value) if of[-1] is ... else of
            return tuple(
                checked(f"{what}[{i}]", v, k) for i, (v, k) in enumerate(zip(value, kinds, strict=True))
            )
    elif kind is float:
        fits = (
            isinstance(value, (int, float)) and type(value) is not bool and abs(value) <= sys.float_info.max
        )
        value = float(value) if fits else value
    elif kind in _PLAIN:
        fits = type(value) is kind
    elif isinstance(kind, type):
        with suppress(TypeError):  # a protocol, say
            fits = isinstance(value, kind)
    require(fits, f"{what} = {given!r}", _said(kind), "" if fits else _remedy(given, kind))
    return value


def _inside(number: float, interval: str) -> bool:
    low, high = map(float, interval[1:-1].split(","))
    return low < number < high or number in [
        e for e, b in ((low, interval[0]), (high, interval[-1])) if b in "[]"
    ]


def _said(kind: Any) -> str:
    """Return a kind of field in words."""
    origin, of = get_origin(kind), get_args(kind)
    if origin is Annotated:
        low, _, high = of[1][1:-1].partition(", ")
        if get_origin(of[0]) is tuple:
            return _said(of[0]).replace("tuple", f"tuple of at least {low}", 1)
        if high == "inf":
            return f"{_said(of[0])} {'of at least' if of[1][0] == '[' else 'above'} {low}"
        return f"{_PLAIN[of[0]].replace('finite ', '')} in {of[1]}"
    if origin is tuple:
        return f"a tuple{'' if of[-1] is ... else f' of {len(of)}'}, each {_said(of[0])}"
    if of:
        return " or ".join(repr(one) if origin is Literal else _said(one) for one in of)
    vowel = "[AEIOU]|Ng|[FHLMNRSX][A-Z]"  # as it is spoken
    return _PLAIN.get(kind) or f"{'an' if re.match(vowel, kind.__name__) else 'a'} {kind.__name__}"


def _remedy(value: Any, kind: Any) -> str:
    """Return what to write instead, of what is often meant."""
    base = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    if get_origin(base) is tuple and not isinstance(value, (list, np.ndarray)):
        with suppress(SpecError):
            return f"Write ({checked('', value, get_args(base)[0])!r},)."
    plain = get_origin(base) or base
    if plain in (*_PLAIN, tuple) and isinstance(value, (list, np.ndarray, np.generic)):
        return f"Convert it with {plain.__name__}()."
    return f"Call it: {value.__name__}(...)." if isinstance(value, type) and isinstance(plain, type) else ""


def check_fields(record: Any) -> None:
    """Raise `SpecError` unless each field of a dataclass is of its kind; numbers become floats where declared."""
    kinds: dict[str, Any] = _kinds_of(type(record))  # type: ignore[arg-type]
    for name in (f.name for f in fields(record) if f.name in kinds):
        object.__setattr__(record, name, checked(name, getattr(record, name), kinds[name]))


@cache
def _kinds_of(cls: type) -> dict[str, Any]:
    """Return what each field is declared to hold, without those whose annotation cannot be understood here."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        for name, kind in inspect.get_annotations(base).items():
            found.pop(name, None)
            with suppress(Exception):
                one, known = SimpleNamespace(__annotations__={name: kind}), vars(sys.modules[base.__module__])
                found |= get_type_hints(one, known, include_extras=True)
    return found


def later(default: Any) -> Any:
    """Declare a field that a kind got after results of it were published.

    At its default, which means what the kind meant before, it is left out of the canonical form, so that the
    fingerprints of those results stay.
    """
    return field(default=default, metadata={"later": True})


def derived(default: Any) -> Any:
    """Declare a field that `__post_init__` sets where a kind's meaning changed for some of its values.

    Nobody gives it. At its default it is left out as a later field is; a record of before is then another code's.
    """
    return field(default=default, init=False, repr=False, metadata={"later": True})

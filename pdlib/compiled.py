"""Compiled functions, kept on disk where a folder for them can be written."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numba


def njit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function as numba does, and keep that for the next start, in a cache that the package's files date.

    >>> njit()(lambda x: x + 1)(1)
    2
    """

    def compiled(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError:  # numba finds no folder that it can write: a container's package, no home
            _say()
            return numba.njit(**options)(function)

    return compiled


@cache
def _say() -> None:
    warnings.warn(
        "compiled code cannot be kept: each start compiles it again, which takes seconds. Expected a folder that can be "
        "written. Set NUMBA_CACHE_DIR to one.",
        stacklevel=4,
    )

"""Speed as ratios: what this package takes against what one would write without it, both sides in one run.

`python -m pdlib bench PAGE` prints a row for each case of a page: `case`, `ours`, `peer`, `unit`, `ratio`, `reach`, `ok`.
Both sides have their inputs drawn ahead, unless the case says that drawing is included. The page `speed` shows a board of
rows that is kept, made by `python -m pdlib bench speed --save`.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

REPEATS = 5
PAGES = {  # page -> where its cases are
    "parity": "batch_one",
    "hierarchical": "batch_one",
    "parity_transformers": "networks",
    "pcfg": "networks",
    "wiki": "networks",
    "gpt2": "networks",
    "theory": "theory",
    "checkpoints": "batch_one",
    "speed": "speed",
}
_UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6}


def rows(page: str) -> Iterator[dict[str, Any]]:
    """Yield the cases of a page."""
    yield from getattr(import_module(f"pdlib.bench.{PAGES[page]}"), page)()


def timed(work: Callable[[], object], n: int = 1, unit: str = "s") -> Callable[[], float]:
    """Return a measurement of some work, which is done once before: its time over `n`, in s, ms or us.

    >>> 0 <= timed(lambda: None, n=10, unit="us")() < 1e6
    True
    """
    work()  # compiled, and in the cache

    def measured() -> float:
        started = time.perf_counter()
        work()
        return (time.perf_counter() - started) / n * _UNITS[unit]

    return measured


def medians(
    *sides: Callable[[], float],
    repeats: int = REPEATS,
    of: Callable[[list[float]], float] = statistics.median,
) -> list[float]:
    """Return the median measurement of each side; the sides take turns, so that a busy spell hits all.

    Where an interruption lasts longer than the work, take the least instead: `of=min`.

    >>> medians(lambda: 1.0, lambda: 2.0)
    [1.0, 2.0]
    """
    measured: list[list[float]] = [[] for _ in sides]
    for _ in range(repeats):
        for values, side in zip(measured, sides, strict=True):
            values.append(side())
    return [of(values) for values in measured]


def faster(case: str, ours: float, peer: float, unit: str, reach: float) -> dict[str, Any]:
    """Return the row of a case in which the peer should take at least `reach` times as long.

    >>> faster("an example", 2.0, 10.0, "s", 4.0)["ok"], faster("an example", 2.0, 6.0, "s", 4.0)["ok"]
    (True, False)
    """
    row = {"case": case, "ours": float(f"{ours:.4g}"), "peer": float(f"{peer:.4g}"), "unit": unit}
    return row | {"ratio": float(f"{peer / ours:.4g}"), "reach": reach, "ok": bool(peer / ours >= reach)}


def unpaired(
    case: str, unit: str, ours: float | None = None, note: str = "", *, ok: bool = True
) -> dict[str, Any]:
    """Return the row of what has no peer, or could not be measured here; the note says why.

    >>> unpaired("a C loop", "us/step", note="no C compiler")["ratio"] is None
    True
    """
    shown = None if ours is None else float(f"{ours:.4g}")
    row = {"case": case, "ours": shown, "peer": None, "unit": unit, "ratio": None, "reach": None}
    return row | {"ok": ok, "note": note}

"""Speed as ratios: what this package takes against what one would write without it, both sides in one run.

A file a page, with a function `rows()` that yields one dictionary a case: `case`, `ours`, `peer`, `unit`, `ratio`, `reach`,
`ok`. `sequences` holds what pages share.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

REPEATS = 5


def medians(*sides: Callable[[], float], repeats: int = REPEATS) -> list[float]:
    """Return the median measurement of each side; the sides take turns, so that a busy spell hits all.

    >>> medians(lambda: 1.0, lambda: 2.0)
    [1.0, 2.0]
    """
    measured: list[list[float]] = [[] for _ in sides]
    for _ in range(repeats):
        for values, side in zip(measured, sides, strict=True):
            values.append(side())
    return [statistics.median(values) for values in measured]


def faster(case: str, ours: float, peer: float, unit: str, reach: float) -> dict[str, Any]:
    """Return the row of a case in which the peer should take at least `reach` times as long.

    >>> faster("an example", 2.0, 10.0, "s", 4.0)["ok"], faster("an example", 2.0, 6.0, "s", 4.0)["ok"]
    (True, False)
    """
    return _row(case, ours, peer, unit, peer / ours, reach, peer / ours >= reach)


def at_most(case: str, ours: float, peer: float | None, unit: str, reach: float) -> dict[str, Any]:
    """Return the row of a case in which ours should be at most `reach`, times the peer if there is one.

    >>> at_most("an example", 1.005, None, "bits", 1.01)["ok"]
    True
    """
    ratio = None if peer is None else ours / peer
    return _row(case, ours, peer, unit, ratio, reach, (ours if ratio is None else ratio) <= reach)


def _row(
    case: str, ours: float, peer: float | None, unit: str, ratio: float | None, reach: float, ok: bool
) -> dict[str, Any]:
    def rounded(value: float | None) -> float | None:
        return None if value is None else float(f"{value:.4g}")

    row = {"case": case, "ours": rounded(ours), "peer": rounded(peer), "unit": unit, "ratio": rounded(ratio)}
    return row | {"reach": reach, "ok": bool(ok)}

"""Sentences and tables for reading, made from tidy tables: what a page says of its numbers cannot contradict them.

Methods are called as in the legends of figures, and come in their order. No torch here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd

from pdlib.figures import METHODS, share_name, short_number
from pdlib.tables import Interval, gains, last_rows, mean_interval


def listed(parts: Iterable[str]) -> str:
    """Return parts of a sentence as one.

    >>> listed(["a", "b", "c"]), listed([])
    ('a, b and c', 'none')
    """
    *first, last = [*parts] or ["none"]
    return f"{', '.join(first)} and {last}" if first else last


def percent(share: float) -> str:
    """Write a share in hundredths.

    >>> percent(0.5071)
    '50.7 %'
    """
    return f"{100 * share:.1f} %"


def points(interval: Interval) -> str:
    """Write a mean difference of accuracies in points, hundredths, with its interval.

    >>> points(mean_interval([0.01, 0.02, 0.03]))
    '+2.0 points [-0.5, 4.5]'
    """
    shown = f"{100 * interval.mean:+.1f} points"
    return f"{shown} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]" if interval.n > 1 else shown


def compared(differences: Iterable[float]) -> str:
    """Say whether a mean difference of accuracies is told from zero, and how large it is.

    >>> compared([0.01, 0.02, 0.03]), compared([0.02, 0.02, 0.03])
    ('not told apart (+2.0 points [-0.5, 4.5])', 'ahead (+2.3 points [0.9, 3.8])')
    """
    interval = mean_interval(differences)
    word = "ahead" if interval.low > 0 else "behind" if interval.high < 0 else "not told apart"
    return f"{word} ({points(interval)})"


def gains_by_length(students: pd.DataFrame, of: str = "progressive") -> str:
    """Say how a method does against the better one-shot student of its ancestry, after each length of training.

    `students` has `seed`, `horizon` (share of the teacher's steps), `method`, `step`, `accuracy`.

    >>> runs = [(m, s, 0.5, 9, a) for m, a in (("progressive", 0.75), ("one_shot", 0.5)) for s in (1, 2)]
    >>> gains_by_length(pd.DataFrame(runs, columns="method seed horizon step accuracy".split()))
    'ahead (+25.0 points [25.0, 25.0]) after T₀/2'
    """
    by_length = gains(students, ["horizon"], of).groupby("horizon").gain
    return listed(f"{compared(values)} after {share_name(float(str(h)))}" for h, values in by_length)


def ends_by_method(students: pd.DataFrame) -> str:
    """Say what the students of each method reach by the end of the shortest runs, in the mean."""
    shortest = students[students.horizon == students.horizon.min()]
    ends = last_rows(shortest, ["method", "seed"]).groupby("method").accuracy.mean()
    named = listed(
        f"{METHODS[m][0].removeprefix('student, ')} {percent(ends[m])}" for m in METHODS if m in ends
    )
    return f"After {share_name(float(shortest.horizon.iloc[0]))}: {named}"


def course(ngrams: pd.DataFrame, measure: str, n: int) -> str:
    """Say what becomes of a measure of dependence over a teacher's training, medians in the mean over teachers.

    `ngrams` is the table of `pdlib.probes.ngrams.NgramDependence` with `seed`.
    """
    rows = ngrams[(ngrams.measure == measure) & (ngrams.n == n)]
    mean = rows.groupby("step")["median"].mean()
    top = int(mean.index[int(mean.to_numpy().argmax())])
    return (
        f"M_{measure} at n = {n} begins at {mean.iloc[0]:.2f} (step {short_number(mean.index[0])}), is highest at "
        f"{mean[top]:.2f} (step {short_number(top)}) and ends at {mean.iloc[-1]:.2f}"
    )


def by_legend(table: pd.DataFrame, digits: int = 3, names: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Return a table rounded and sorted, its methods (a level `method` of rows or columns) as legends name and order them.

    `names` are those of methods that have none in `pdlib.figures.METHODS`.

    >>> found = pd.DataFrame({"method": ["progressive", "one_shot"], "accuracy": [0.12345, 0.5]})
    >>> by_legend(found.set_index("method")).reset_index().values.tolist()
    [['one-shot, τ = 1', 0.5], ['progressive', 0.123]]
    """
    names = names or {method: str(look[0]) for method, look in METHODS.items()}
    order = {method: f"{i:02}" for i, method in enumerate(names)}
    for axis in (0, 1):
        if "method" in table.axes[axis].names:
            table = table.sort_index(
                axis=axis, key=lambda labels: labels.map(order.get) if labels.name == "method" else labels
            )
            table = table.rename(names, axis=axis)
    return table.round(digits)

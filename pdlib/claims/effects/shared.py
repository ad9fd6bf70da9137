"""Effects of every page: what a method reaches, how far it is ahead of each rival, how that changes with the setting.

Conventions: `table` names a table, `where` restricts it to rows with these values, `of` is the method, `over` its rivals, a
column each. `measure` says what counts of a run: its `final` accuracy, or the `mean` over its evaluations, which is a
measure of speed that censors nothing. Logarithms have base 2: 0 is equal, 1 twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

Tables = Mapping[str, pd.DataFrame]  # a page's tidy tables, by name
Where = Mapping[str, Any]
Measure = Literal["final", "mean"]


class MissingTableError(KeyError):
    """An effect needs runs that the page did not make (`figures = "core"` leaves the ablations out)."""


class UndecidedError(ValueError):
    """Censored runs leave an effect without a value: the verdict is "inconclusive"."""


def _rows(tables: Tables, table: str, where: Where | None = None) -> pd.DataFrame:
    """Return the rows of a table with these values, in the order of their steps."""
    if table not in tables:
        raise MissingTableError(table)
    rows = tables[table]
    for column, value in (where or {}).items():
        rows = rows[rows[column] == value]
        if rows.empty:
            raise MissingTableError(f"{table}: {column} = {value!r}")
    return rows.sort_values("step", kind="stable") if "step" in rows else rows


def _by(rows: pd.DataFrame, by: str, measure: Measure, column: str = "accuracy") -> pd.DataFrame:
    """Return what counts of each run: one row per ancestry, one column per value of `by`."""
    runs = rows.groupby(["seed", by])[column]
    return (runs.last() if measure == "final" else runs.mean()).unstack()


def _each(table: str | Sequence[str], effect: Callable[[str], pd.DataFrame]) -> pd.DataFrame:
    """Return an effect of one table, or of several with one column per table (and rival)."""
    if isinstance(table, str):
        return effect(table)
    found = {name: effect(name) for name in table}
    return pd.concat(
        [f.add_prefix(f"{name} ").rename(columns=str.strip) for name, f in found.items()], axis=1
    )


def _log2(values: Any) -> Any:
    return np.log2(values)


# ------------------------------------------------------- a method, and its rivals


def value(
    tables: Tables,
    table: str,
    of: str,
    measure: Measure = "final",
    by: str = "method",
    where: Where | None = None,
) -> pd.Series[float]:
    """Return what a method reaches: accuracy at the end of its run, or the mean over it."""
    return _by(_rows(tables, table, where), by, measure)[of]


def final_value(tables: Tables, table: str, column: str, where: Where | None = None) -> pd.Series[float]:
    """Return the last value of a column, such as what a probe says of the final checkpoint."""
    return _rows(tables, table, where).groupby("seed")[column].last().astype(float)


def gain(
    tables: Tables,
    table: str | Sequence[str],
    of: str,
    over: Sequence[str],
    measure: Measure = "final",
    by: str = "method",
    where: Where | None = None,
) -> pd.DataFrame:
    """Return what a method reaches minus what each rival of the same ancestry reaches, one column per rival."""

    def of_one(name: str) -> pd.DataFrame:
        found = _by(_rows(tables, name, where), by, measure)
        return -found[list(over)].sub(found[of], axis=0)

    return _each(table, of_one)


def gain_change(
    tables: Tables,
    table: str,
    of: str,
    over: Sequence[str],
    first: Where,
    second: Where,
    measure: Measure = "final",
    where: Where | None = None,
) -> pd.DataFrame:
    """Return the gain in one setting minus that in another, over each rival."""
    one, other = (
        gain(tables, table, of, over, measure, where={**(where or {}), **setting})
        for setting in (first, second)
    )
    return one - other


def reached(
    tables: Tables, table: str | Sequence[str], of: Sequence[str], level: float, where: Where | None = None
) -> pd.DataFrame:
    """Return 1 where one of the methods ends at an accuracy of `level` or more, 0 where none does."""

    def of_one(name: str) -> pd.DataFrame:
        final = _by(_rows(tables, name, where), "method", "final")[list(of)]
        return (final >= level).any(axis=1).astype(float).where(final.notna().all(axis=1)).to_frame("")

    return _each(table, of_one)


def only_reached(
    tables: Tables, table: str, of: str, others: Sequence[str], level: float
) -> pd.Series[float]:
    """Return 1 where a method ends at an accuracy of `level` or more and none of the others does, else 0."""
    final = _by(_rows(tables, table), "method", "final")[[of, *others]]
    only = (final[of] >= level) & (final[list(others)] < level).all(axis=1)
    return only.astype(float).where(final.notna().all(axis=1))


def speedup(
    tables: Tables, table: str | Sequence[str], of: str, over: Sequence[str], level: float = 0.9
) -> pd.DataFrame:
    """Return the log2 of each rival's steps to an accuracy over the method's, runs that never get there counted whole.

    A censored run counts with its budget, so that a rival's delay is at least what is measured; where neither gets there
    the value is 0.
    """

    def of_one(name: str) -> pd.DataFrame:
        rows = _rows(tables, name)
        budget = rows.groupby(["seed", "method"]).step.max().unstack()
        steps = rows[rows.accuracy >= level].groupby(["seed", "method"]).step.min().unstack()
        found = steps.reindex(index=budget.index, columns=budget.columns).fillna(budget).clip(lower=1)
        return pd.DataFrame(_log2(found[list(over)].div(found[of], axis=0)))

    return _each(table, of_one)


def lead_over_teacher(
    tables: Tables, table: str, of: str, measure: Measure = "mean", where: Where | None = None
) -> pd.Series[float]:
    """Return the mean accuracy over a student's run minus that over its teacher's, as many steps of it.

    With `measure` "final": accuracy at the end of the student's run minus the teacher's at that step.
    """
    rows = _rows(tables, table, where)
    mine = rows[rows.method == of]
    last = mine.groupby("seed").step.max()
    teacher = _rows(tables, "teacher")
    teacher = teacher[teacher.step <= teacher.seed.map(last)]
    if measure == "mean":
        return mine.groupby("seed").accuracy.mean() - teacher.groupby("seed").accuracy.mean()
    taught = _rows(tables, "teacher").query("seed in @last.index")
    return mine.groupby("seed").accuracy.last() - _at(taught, "accuracy", last)


def rates_learned(
    tables: Tables, of: str, over: Sequence[str], comparison: str, table: str = "tuning"
) -> pd.DataFrame:
    """Return at how many more of the rates tried a method learns than each rival does, by tuning ancestry.

    It learns at a rate if its final accuracy is at least halfway from the lowest to the highest one that any method has at
    any rate in the ancestry. Which rate is best for whom plays no part.
    """
    rows = _rows(tables, table, {"comparison": comparison})
    final = rows.groupby(["seed", "method", "learning_rate"]).accuracy.last()
    of_seed = final.groupby("seed")
    halfway = (of_seed.min() + of_seed.max()) / 2
    learned = final >= halfway.reindex(final.index.get_level_values("seed")).to_numpy()
    count = learned.groupby(["seed", "method"]).sum().unstack().astype(float)
    return -count[list(over)].sub(count[of], axis=0)


# --------------------------------------------------- families: width, heads, parts


def most_against_fewest(
    tables: Tables, table: str | Sequence[str], by: str, measure: Measure = "mean", where: Where | None = None
) -> pd.DataFrame:
    """Return what the largest member of a family reaches minus what the smallest does."""

    def of_one(name: str) -> pd.DataFrame:
        found = _by(_rows(tables, name, where), by, measure)
        return (found[found.columns.max()] - found[found.columns.min()]).to_frame("")

    return _each(table, of_one)


def order(tables: Tables, table: str, by: str, measure: Measure = "mean") -> pd.Series[float]:
    """Return Spearman's rank correlation of the size with what it reaches."""
    found = _by(_rows(tables, table), by, measure)
    sizes = pd.Series(found.columns.to_numpy(dtype=float), index=found.columns)
    return pd.Series({seed: run.corr(sizes, method="spearman") for seed, run in found.iterrows()})


def _at(rows: pd.DataFrame, column: str, steps: pd.Series[Any]) -> pd.Series[float]:
    """Return a column at a step of each seed, interpolated between measured ones; outside them the nearest."""

    found = {
        seed: float(np.interp(steps.get(seed, np.nan), run.step, run[column]))
        for seed, run in rows.sort_values("step", kind="stable").groupby("seed")
    }
    return pd.Series(found).reindex(pd.Index(found).union(steps.index))

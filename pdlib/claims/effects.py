"""Effects: tidy tables to one value per ancestry, or one per ancestry and rival.

`tables.yaml` beside this file says which tables a page makes and what their columns are. The first part serves every page:
what a method reaches, how far it is ahead of each rival, and how that changes with the setting. What follows is for one
kind of table each. A verdict on values is no concern of this module.

Conventions: `table` names a table, `where` restricts it to rows with these values, `of` is the method, `over` its rivals, a
column each. `measure` says what counts of a run: its `final` accuracy, or the `mean` over its evaluations, which is a
measure of speed that censors nothing. Logarithms have base 2: 0 is equal, 1 twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

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
    """Return what counts of each run: a row per ancestry, a column per value of `by`."""
    runs = rows.groupby(["seed", by])[column]
    return (runs.last() if measure == "final" else runs.mean()).unstack()


def _each(table: str | Sequence[str], effect: Callable[[str], pd.DataFrame]) -> pd.DataFrame:
    """Return an effect of one table, or of several with a column per table (and rival)."""
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
    found = _rows(tables, table, where).groupby("seed")[column].last()
    return found.astype(float)


def gain(
    tables: Tables,
    table: str | Sequence[str],
    of: str,
    over: Sequence[str],
    measure: Measure = "final",
    by: str = "method",
    where: Where | None = None,
) -> pd.DataFrame:
    """Return what a method reaches minus what each rival of the same ancestry reaches, a column per rival."""

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


# ----------------------------------------------------------------- parity's probes


def _degree_1(tables: Tables, where: Callable[[pd.DataFrame], pd.Series[bool]]) -> pd.DataFrame:
    """Return the degree-1 correlations (column per group) at the teacher's checkpoints that `where` chooses."""
    rows = _rows(tables, "correlations", {"degree": 1})
    candidates = _rows(tables, "candidates").pivot_table(index="seed", columns="candidate", values="step")
    for name in candidates:
        rows = rows.assign(**{str(name): rows.seed.map(candidates[name])})
    chosen = rows[where(rows)]
    if chosen.empty:
        raise MissingTableError("correlations at the chosen checkpoints")
    return chosen.pivot_table(index=["seed", "step"], columns="group", values="mean")


def degree_1_gap(tables: Tables, candidate: str) -> pd.Series[float]:
    """Return the log2 of the mean in-support over the mean off-support degree-1 correlation at a candidate."""
    at = _degree_1(tables, lambda rows: rows.step == rows[candidate])
    return pd.Series(_log2(at.in_support / at.off_support)).droplevel("step")


def degree_1_peak(tables: Tables) -> pd.Series[float]:
    """Return the same ratio at the checkpoint of the transition where the in-support correlation is highest.

    Numerator and denominator are of one checkpoint; the transition lies after candidate 1, up to candidate 3.
    """
    within = _degree_1(tables, lambda rows: (rows.step > rows.before) & (rows.step <= rows.after))
    at = within.loc[within.in_support.groupby("seed").idxmax()]
    return pd.Series(_log2(at.in_support / at.off_support)).droplevel("step")


def degree_1_fading(tables: Tables) -> pd.Series[float]:
    """Return the log2 of the highest in-support degree-1 correlation of the transition over that of the final checkpoint."""
    within = _degree_1(tables, lambda rows: (rows.step > rows.before) & (rows.step <= rows.after))
    final = _rows(tables, "correlations", {"degree": 1, "group": "in_support"}).groupby("seed")["mean"].last()
    return pd.Series(_log2(within.in_support.groupby("seed").max() / final))


def clean_gap(tables: Tables, degree: int) -> pd.Series[float]:
    """Return the log2 of the mean in-support over the largest off-support correlation at the fast teacher's candidate 2."""
    middle = _rows(tables, "fast_candidates", {"candidate": "middle"})[["seed", "step"]]
    rows = _rows(tables, "fast_correlations", {"degree": degree}).merge(middle, on=["seed", "step"])
    inside = rows[rows.group == "in_support"].set_index("seed")["mean"]
    return pd.Series(_log2(inside / rows[rows.group == "off_support"].set_index("seed")["maximum"]))


def candidate_deficit(tables: Tables, candidate: str) -> pd.Series[float]:
    """Return the accuracy of a candidate checkpoint minus the teacher's final one."""
    chosen = _rows(tables, "candidates", {"candidate": candidate}).set_index("seed").accuracy
    return chosen - _rows(tables, "teacher").groupby("seed").accuracy.last()


def across(
    tables: Tables,
    table: str,
    of: str,
    by: str,
    students: str,
    over: Sequence[str],
    measure: Measure = "mean",
) -> pd.DataFrame:
    """Return what a setting of one table reaches minus what each method of another does, up to the same step."""
    mine, rivals = _rows(tables, table), _rows(tables, students)
    rivals = rivals[rivals.step <= rivals.seed.map(mine.groupby("seed").step.max())]
    found = _by(rivals, "method", measure)[list(over)]
    own = _by(mine, by, measure)[of]
    return -found.reindex(own.index).sub(own, axis=0)


def distance_from_hard(tables: Tables, below: float) -> pd.DataFrame:
    """Return how far the mean accuracy over the run at each temperature below a bound lies from hard labels'."""
    speed = _by(_rows(tables, "temperatures"), "targets", "mean")
    low = [c for c in speed.columns if c != "hard" and float(c) < below]
    if not low:
        raise MissingTableError(f"temperatures below {below}")
    return speed[low].sub(speed["hard"], axis=0).abs()


# -------------------------------------------------------------------- attention


def _mass(tables: Tables, stage: str) -> pd.Series[float]:
    """Return the path mass on the support at a candidate, untrained or at the end."""
    rows = _rows(tables, "attention")
    if stage == "untrained":
        return rows[rows.step == 0].set_index("seed").on_support
    if stage == "end":
        return rows.groupby("seed").on_support.last()
    at = _rows(tables, "candidates", {"candidate": stage})[["seed", "step"]]
    return rows.merge(at, on=["seed", "step"]).set_index("seed").on_support


def mass_growth(tables: Tables) -> pd.Series[float]:
    """Return the path mass on the support at the end minus that of the untrained network."""
    return _mass(tables, "end") - _mass(tables, "untrained")


def mass_in_transition(tables: Tables) -> pd.Series[float]:
    """Return the growth of the path mass from candidate 1 to candidate 3 minus half of its whole growth."""
    return _mass(tables, "after") - _mass(tables, "before") - 0.5 * mass_growth(tables)


def spike_gain(tables: Tables, over: Sequence[str]) -> pd.DataFrame:
    """Return the mean accuracy over the run of a second spike's student minus each one-shot student's.

    Raises
    ------
    UndecidedError
        If no teacher has a second spike.
    """
    spikes = _rows(tables, "spikes")
    if spikes.empty:
        raise UndecidedError("no teacher's correlations spike again after the transition")
    return across(
        {**tables, "spikes": spikes.assign(method="spike")}, "spikes", "spike", "method", "students", over
    )


# ------------------------------------------------------------ hierarchical parity


def spread(tables: Tables, table: str, of: Sequence[str]) -> pd.Series[float]:
    """Return the final accuracy of the best of some methods minus that of the worst."""
    final = _by(_rows(tables, table), "method", "final")[list(of)]
    return final.max(axis=1, skipna=False) - final.min(axis=1, skipna=False)


def _along_path(tables: Tables, degree: int) -> pd.DataFrame:
    """Mean correlation of the paper's class 1: a row a seed and rising step, a column a node of its path, 0 the rest."""
    rows = _rows(tables, "features", {"degree": degree, "scope": "class_0"})
    return rows.pivot_table(index=["seed", "step"], columns="node", values="mean")


def _by_seed(table: pd.DataFrame, effect: Callable[[pd.DataFrame], float]) -> pd.Series[float]:
    return pd.Series({seed: effect(run) for seed, run in table.groupby(level="seed")})


def _stands_out(run: pd.DataFrame) -> NDArray[np.bool_]:
    """Whether each level's correlation is more than twice the rest's, (checkpoint, level)."""
    return (run.drop(columns=0).to_numpy() > 2 * run[[0]].to_numpy()).astype(np.bool_)


def spike_over_rest(tables: Tables, degree: int) -> pd.Series[float]:
    """Return the log2 of a feature's highest correlation over the rest's in that checkpoint; of the least clear level."""

    def weakest(run: pd.DataFrame) -> float:
        steps = run.drop(columns=0).idxmax()
        return min(float(np.log2(run[node][step] / run[0][step])) for node, step in steps.items())

    return _by_seed(_along_path(tables, degree), weakest)


def spike_over_end(tables: Tables, degree: int) -> pd.Series[float]:
    """Return the log2 of a feature's highest correlation over its final value; of the level that fades least."""

    def weakest(run: pd.DataFrame) -> float:
        levels = run.drop(columns=0)  # steps rise
        return float(np.log2(levels.max() / levels.iloc[-1]).min())

    return _by_seed(_along_path(tables, degree), weakest)


def onset_gap(tables: Tables, degree: int) -> pd.Series[float]:
    """Return the smallest distance, in checkpoints, between the steps at which two levels' features first stand out.

    A feature stands out when its correlation is more than twice the rest's; one that never does so counts as 0 checkpoints
    away from the others.
    """

    def smallest(run: pd.DataFrame) -> float:
        out = _stands_out(run)
        return float(np.diff(np.sort(out.argmax(axis=0))).min()) if out.any(axis=0).all() else 0.0

    return _by_seed(_along_path(tables, degree), smallest)


def noisier_at_degree_1(tables: Tables) -> pd.Series[float]:
    """Return how much more the correlations jump from checkpoint to checkpoint at degree 1 than at degree 2.

    The mean absolute log2 of a value over the one before it, over the levels, and over the checkpoints from the first in
    which a level stands out at degree 2 to candidate 6.
    """
    last = _rows(tables, "candidates", {"candidate": 6}).set_index("seed").step
    second = _along_path(tables, 2)
    first = {seed: int(_stands_out(run).any(axis=1).argmax()) for seed, run in second.groupby(level="seed")}

    def jumps(run: pd.DataFrame) -> float:
        seed = run.index.get_level_values("seed")[0]
        shown = run[run.index.get_level_values("step") <= last[seed]].iloc[first[seed] :]
        return float(np.abs(np.diff(np.log2(shown.drop(columns=0)), axis=0)).mean())

    return _by_seed(_along_path(tables, 1), jumps) - _by_seed(second, jumps)


# ------------------------------------------------- masked prediction: pcfg and wiki

Point = (
    float | str
)  # of a teacher's run: a share of T0; "C1"; "peak" of a measure; "plateau", "drop", "tail" of wiki's loss
Span = Sequence[Any]  # two points
NEAR = 0.1  # nats: a loss no further from that of copying stands on the plateau
STILL = 0.1  # nats over T0: a loss that falls no faster stands still
UNMOVED = 0.02  # total variation over T0: a median that moves no faster stands still
LEAST = 1e-3  # total variation: below it a median is noise


def _in_each(
    tables: Tables, table: str, each: Sequence[str], where: Where | None, effect: Callable[[Where], Any]
) -> dict[str, pd.DataFrame]:
    """Return an effect in each setting of these columns that a table holds, by the setting in words."""
    rows = _rows(tables, table, where)
    settings: list[dict[Any, Any]] = rows[list(each)].drop_duplicates().to_dict("records") if each else [{}]
    found = {}
    for setting in settings:
        name = ", ".join(f"{c} {v}" if isinstance(v, str) else f"{c} {v:g}" for c, v in setting.items())
        values = effect({**(where or {}), **setting})
        found[name] = values.to_frame("") if isinstance(values, pd.Series) else values
    return found


def _columns(found: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return frames side by side, a column per column and setting."""
    named = [
        frame.set_axis([", ".join(filter(None, (str(c), setting))) for c in frame], axis=1)
        for setting, frame in found.items()
    ]
    return pd.concat(named, axis=1)


def gain_in_each(
    tables: Tables,
    table: str,
    of: str,
    over: Sequence[str],
    each: Sequence[str],
    among: Sequence[str] = ("",),
    measure: Measure = "final",
    where: Where | None = None,
) -> pd.DataFrame:
    """Return the gain in each setting of a table, a column per rival and setting.

    Settings are the values of the columns `each` that the table holds, with `among` only texts that begin in one of these
    ways. All columns are judged together: "at every length" is one statement.
    """

    def within(setting: Where) -> pd.DataFrame:
        return gain(tables, table, of, over, measure, where=setting)

    if among != ("",):
        rows = _rows(tables, table, where)
        rows = rows[rows[each[0]].str.startswith(tuple(among))]
        if rows.empty:
            raise MissingTableError(f"{table}: {each[0]} beginning with {' or '.join(among)}")
        tables = {**tables, table: rows}
    return _columns(_in_each(tables, table, each, where, within))


def mean_gain(
    tables: Tables,
    table: str,
    of: str,
    over: Sequence[str],
    each: Sequence[str],
    where: Where | None = None,
) -> pd.DataFrame:
    """Return the gain over each rival, the mean over the settings of a table."""
    found = list(
        _in_each(tables, table, each, where, lambda w: gain(tables, table, of, over, where=w)).values()
    )
    return pd.DataFrame(sum(found[1:], found[0]) / len(found))


def gap_closing(
    tables: Tables,
    table: str,
    of: str,
    over: Sequence[str],
    each: Sequence[str] = (),
    where: Where | None = None,
) -> pd.DataFrame:
    """Return the gain in a table's shortest runs minus that in its longest, a column per rival and setting."""

    def within(setting: Where) -> pd.DataFrame:
        lengths = _rows(tables, table, setting).horizon
        if lengths.min() == lengths.max():
            raise MissingTableError(f"{table}: runs of two lengths")
        short, long = ({"horizon": h} for h in (lengths.min(), lengths.max()))
        return gain_change(tables, table, of, over, short, long, where=setting)

    return _columns(_in_each(tables, table, each, where, within))


def crossing(
    tables: Tables, table: str, early: str, late: str, at: float = 1.0, where: Where | None = None
) -> pd.DataFrame:
    """Return how far one method leads another in runs shorter than `at` of T0, and trails it in longer ones, by length."""
    lengths = sorted(_rows(tables, table, where).horizon.unique())
    if not lengths[0] < at <= lengths[-1]:
        raise MissingTableError(f"{table}: runs shorter and no shorter than {at} of T0")
    found = {}
    for length in lengths:
        lead = gain(tables, table, early, [late], where={**(where or {}), "horizon": length})
        found[f"horizon {length:g}"] = lead if length < at else -lead
    return _columns(found)


def lead_at_each_length(tables: Tables, table: str, of: str, where: Where | None = None) -> pd.DataFrame:
    """Return the final accuracy of a student minus its teacher's at that step of its own run, a column per length."""
    return _columns(
        _in_each(
            tables, table, ["horizon"], where, lambda w: lead_over_teacher(tables, table, of, "final", w)
        )
    )


def candidate_gain(
    tables: Tables, candidate: str, over: Literal["each", "first", "last"] = "each"
) -> pd.DataFrame:
    """Return the final accuracy of a candidate's (2, T) student minus that of the grid's, a column per checkpoint of it.

    The grid are the checkpoints named by their step; `over` takes all of them, the first or the last.
    """
    rows = _rows(tables, "checkpoints")
    final = _by(rows.assign(checkpoint=rows.checkpoint.astype(str)), "checkpoint", "final")
    grid = sorted((c for c in final.columns if c.isdigit()), key=int)
    if not grid:
        raise MissingTableError("checkpoints: a grid of steps")
    chosen = {"each": grid, "first": grid[:1], "last": grid[-1:]}[over]
    return -final[chosen].sub(final[candidate], axis=0)


def rates_of_two_checkpoints(tables: Tables, over: Sequence[str]) -> pd.DataFrame:
    """Return at how many more of the rates a (2, T) student from C1 learns than each rival, the mean over the T tried."""
    rows = _rows(tables, "tuning")
    pairs = _rows(tables, "tuning", {"comparison": "first checkpoint"})
    pairs = pairs.assign(method="T = " + pairs.method.astype(str), comparison="students")
    together = {"tuning": pd.concat([rows[rows.comparison == "students"], pairs])}
    each = [rates_learned(together, t, over, "students") for t in pairs.method.unique()]
    return pd.DataFrame(sum(each[1:], each[0]) / len(each))


def improvement(
    tables: Tables, measures: Sequence[Sequence[Any]], of: str, over: Sequence[str], run: str = "longest"
) -> pd.DataFrame:
    """Return how much better a student is than each rival by several measures, a column per measure and rival.

    A measure is `["robust", n]` or `["close", n]`, where less is better, or `["probe", levels]`, the probe's mean accuracy
    over so many levels from the root on. `run` is the shortest or the longest length of `students`; measures without a
    column `horizon` are those of the shortest.
    """
    lengths = _rows(tables, "students").horizon
    horizon = {"shortest": lengths.min(), "longest": lengths.max()}[run]

    def rows(table: str, where: Where) -> pd.DataFrame:
        if "horizon" in _rows(tables, table):
            return _rows(tables, table, {**where, "horizon": horizon})
        if run != "shortest":
            raise MissingTableError(f"{table}: at the end of the longest run")
        return _rows(tables, table, where)

    found = {}
    for measure, n in measures:
        if measure == "probe":
            probed = rows("student_nonterminals", {})
            probed = probed[probed.level.isin(sorted(probed.level.unique())[:n])]
            value, sign, name = probed.groupby(["seed", "method"]).accuracy.mean().unstack(), -1, "probe"
        else:
            ngrams = rows("student_ngrams", {"measure": measure, "n": n})
            value, sign, name = (
                ngrams.pivot(index="seed", columns="method", values="median"),
                1,
                f"{measure} {n}",
            )
        found[name] = sign * value[list(over)].sub(value[of], axis=0)
    return _columns(found)


def _first_at(steps: Any, values: Any, level: float) -> float:
    """Return the step at which values come up to a level, interpolated; the last one if they never do."""
    steps, values = np.asarray(steps, float), np.asarray(values, float)
    there = np.flatnonzero(values >= level)
    if not len(there):
        return float(steps[-1])
    i = int(there[0])
    if i == 0:
        return float(steps[0])
    return float(np.interp(level, values[i - 1 : i + 1], steps[i - 1 : i + 1]))


def _phases(tables: Tables) -> pd.DataFrame:
    """Return where the phases of a teacher of text begin, in steps, a row a seed.

    `plateau`, where the loss comes within `NEAR` of that of copying; `drop`, where it leaves it below; `tail`, where three
    quarters of the way from copying to the end are done. A teacher that never leaves the plateau has an empty drop and an
    empty tail.
    """
    copying = float(_rows(tables, "references", {"predictor": "copy"}).loss_nats.iloc[0])

    def of(run: pd.DataFrame) -> dict[str, float]:
        low = copying - 0.75 * (copying - float(run.loss_nats.iloc[-1]))
        plateau, drop, tail = (
            _first_at(run.step, -run.loss_nats, -level) for level in (copying + NEAR, copying - NEAR, low)
        )
        return {"plateau": plateau, "drop": drop, "tail": max(drop, tail)}

    return pd.DataFrame({seed: of(run) for seed, run in _rows(tables, "teacher").groupby("seed")}).T


def _length(tables: Tables, where: Where | None) -> pd.Series[Any]:
    return _rows(tables, "teacher", where).groupby("seed").step.max()


def _steps(
    tables: Tables, point: Point, rows: pd.DataFrame, column: str, where: Where | None
) -> pd.Series[Any]:
    """Return the step of a point of the teacher's run, by seed of some rows."""
    if point == "peak":
        found = rows.sort_values(column, kind="stable", ascending=False).groupby("seed").step.first()
    elif point == "C1":
        found = _rows(tables, "candidates", {"candidate": "loss"}).set_index("seed").step
    elif isinstance(point, str):
        found = _phases(tables)[point]
    else:
        found = point * _length(tables, where)
    return found.reindex(pd.Index(rows.seed.unique()))


def _speed(times: Any, values: Any, span: tuple[float, float]) -> float:
    """Return the change per time between two times, the first measured one being the earliest; 0 over no time."""
    start, stop = max(span[0], float(times[0])), span[1]
    if stop <= start:
        return 0.0
    first, last = np.interp((start, stop), times, values)
    return float(last - first) / (stop - start)


def _inflection_ratio(
    times: Any, values: Any, before: tuple[float, float], after: tuple[float, float], floor: float
) -> float:
    """Return the log2 of how fast a run's measure moves before a step over how fast after it, either at least a floor."""
    one, other = (max(abs(_speed(times, values, span)), floor) for span in (before, after))
    return float(np.log2(one / other))


def _fall_ratio(
    times: Any, values: Any, fast: tuple[float, float], slow: tuple[float, float], floor: float
) -> float:
    """Return the same of a run that should fall: where it rises it stands still."""
    one, other = (max(-_speed(times, values, span), floor) for span in (fast, slow))
    return float(np.log2(one / other))


def _of_runs(
    tables: Tables,
    rows: pd.DataFrame,
    column: str,
    spans: Sequence[Span],
    where: Where | None,
    ratio: Callable[..., float],
    floor: float,
) -> pd.Series[float]:
    """Return a ratio of two spans by seed, time being counted in T0."""
    length = _length(tables, where)
    ends = [[_steps(tables, p, rows, column, where) / length for p in span] for span in spans]
    return pd.Series(
        {
            seed: ratio(
                (run.step / length[seed]).to_numpy(),
                run[column].to_numpy(),
                *(tuple(float(end[seed]) for end in span) for span in ends),
                floor,
            )
            for seed, run in rows.groupby("seed")
        }
    )


def fall_ratio(
    tables: Tables, fast: Span, slow: Sequence[Span], each: Sequence[str] = (), where: Where | None = None
) -> pd.DataFrame:
    """Return the log2 of how fast the teacher's loss falls in one part of its run over how fast in others, a column each.

    Either is at least `STILL`: the logarithm of a slope of about 0 would be noise.
    """

    def within(setting: Where) -> pd.DataFrame:
        rows = _rows(tables, "teacher", setting)
        found = {
            f"{a} to {b}": _of_runs(
                tables, rows, "loss_nats", (fast, (a, b)), setting, _fall_ratio, STILL
            ).to_frame("")
            for a, b in slow
        }
        return _columns(found)

    return _columns(_in_each(tables, "teacher", each, where, within))


def _measured(tables: Tables, measure: str, n: int, where: Where | None) -> pd.DataFrame:
    return _rows(tables, "ngrams", {**(where or {}), "measure": measure, "n": n})


def inflection(
    tables: Tables, measure: str, n: int, before: Span, after: Span, where: Where | None = None
) -> pd.Series[float]:
    """Return the log2 of how fast the teacher's median measure moves before a step over how fast after it.

    A speed is the change over a part of the run, up or down, per time, and at least `UNMOVED`.
    """
    rows = _measured(tables, measure, n, where)
    return _of_runs(tables, rows, "median", (before, after), where, _inflection_ratio, UNMOVED)


def _level(tables: Tables, rows: pd.DataFrame, column: str, point: Point, where: Where | None) -> Any:
    """Return the teacher's measure at a point of its run, by seed."""
    return _at(rows, column, _steps(tables, point, rows, column, where))


def fold_change(
    tables: Tables, measure: str, n: int, at: Point, over: Point, where: Where | None = None
) -> pd.Series[float]:
    """Return the log2 of the teacher's median measure at one point over that at another, either at least `LEAST`."""
    rows = _measured(tables, measure, n, where)
    one, other = (_level(tables, rows, "median", point, where).clip(lower=LEAST) for point in (at, over))
    return pd.Series(_log2(one / other))


def peak_from_candidate(tables: Tables, measure: str, n: int) -> pd.Series[float]:
    """Return by how many factors of two the step of the largest median lies away from C1, in either direction."""
    rows = _measured(tables, measure, n, None)
    peak, candidate = (_steps(tables, point, rows, "median", None) for point in ("peak", "C1"))
    return pd.Series(_log2(peak / candidate)).abs()


def probe_share(tables: Tables) -> pd.Series[float]:
    """Return the probe's mean accuracy over levels at C1 over that at the teacher's last checkpoint."""
    rows = _rows(tables, "nonterminals").groupby(["seed", "step"]).accuracy.mean().reset_index()
    at, last = (_level(tables, rows, "accuracy", point, None) for point in ("C1", 1.0))
    return pd.Series(at / last)


def _fewest_and_most(tables: Tables, where: Where | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = _rows(tables, "heads", where)
    return rows[rows.n_heads == rows.n_heads.min()], rows[rows.n_heads == rows.n_heads.max()]


def heads_delay(
    tables: Tables,
    goal: Literal["own end", "largest's end", "largest's rise"],
    each: Sequence[str] = (),
    where: Where | None = None,
) -> pd.DataFrame:
    """Return the log2 of the steps to an accuracy, fewest heads over most.

    The accuracy is 80 % of a network's own final one, which a poor network reaches soon; 80 % of the final one of the
    network with the most heads; or halfway up its rise. A network that never gets there counts with its whole run, and
    every network with a step at least.
    """

    def goal_of(run: pd.DataFrame, largest: pd.DataFrame) -> float:
        accuracy = (run if goal == "own end" else largest).accuracy
        if goal == "largest's rise":
            return float(accuracy.iloc[0] + accuracy.iloc[-1]) / 2
        return 0.8 * float(accuracy.iloc[-1])

    def within(setting: Where) -> pd.Series[float]:
        fewest, most = _fewest_and_most(tables, setting)
        largest = dict(list(most.groupby("seed")))
        one, other = (
            pd.Series(
                {
                    seed: max(1.0, _first_at(run.step, run.accuracy, goal_of(run, largest[seed])))
                    for seed, run in runs.groupby("seed")
                    if seed in largest
                }
            )
            for runs in (fewest, most)
        )
        return pd.Series(_log2(one / other))

    return _columns(_in_each(tables, "heads", each, where, within))


# ------------------------------------------------------ next-token prediction: gpt2


def change(
    tables: Tables, measure: str, n: int, at: Point, minus: Sequence[Point], where: Where | None = None
) -> pd.DataFrame:
    """Return the teacher's median measure at one point of its run minus that at others, a column each."""
    rows = _measured(tables, measure, n, where)
    value = _level(tables, rows, "median", at, where)
    return pd.DataFrame({f"at {p}": value - _level(tables, rows, "median", p, where) for p in minus})


def half_risen(tables: Tables, each: Sequence[str] = (), where: Where | None = None) -> pd.DataFrame:
    """Return when the teacher's accuracy has made half of its rise, as a share of its run; 1 if it rises by no point."""

    def of(run: pd.DataFrame) -> float:
        first, last = float(run.accuracy.iloc[0]), float(run.accuracy.iloc[-1])
        if last < first + 0.01:
            return 1.0
        return max(1.0, _first_at(run.step, run.accuracy, (first + last) / 2)) / float(run.step.iloc[-1])

    def within(setting: Where) -> pd.Series[float]:
        return pd.Series({s: of(run) for s, run in _rows(tables, "teacher", setting).groupby("seed")})

    return _columns(_in_each(tables, "teacher", each, where, within))


def early_rise(
    tables: Tables, until: float, each: Sequence[str] = (), where: Where | None = None
) -> pd.DataFrame:
    """Return how far the accuracy rises in the first part of training, most heads minus fewest."""

    def within(setting: Where) -> pd.Series[float]:
        fewest, most = (
            _at(runs, "accuracy", until * runs.groupby("seed").step.max())
            - runs.groupby("seed").accuracy.first()
            for runs in _fewest_and_most(tables, setting)
        )
        return pd.Series(most - fewest)

    return _columns(_in_each(tables, "heads", each, where, within))


# ------------------------------------------------------------------------- theory

# Of exact statements a value per case, of experiments one per ancestry. `of` is a formula of the table's columns, and
# `query` a condition on them, both as `pandas.DataFrame.eval` reads them.


def _chosen(tables: Tables, table: str, query: str = "") -> pd.DataFrame:
    """Return the rows of a table that fulfil a condition."""
    rows = _rows(tables, table)
    found = rows.query(query) if query else rows
    if found.empty:
        raise MissingTableError(f"{table}: {query}")
    return found


def statistic(
    tables: Tables,
    table: str,
    of: str,
    per: str = "case",
    reduce: str = "max",
    query: str = "",
    log: bool = False,
) -> pd.Series[float]:
    """Return a statistic of a formula of columns, or of its log2, for each case or ancestry."""
    rows = _chosen(tables, table, query)
    values = pd.Series(rows.eval(of), dtype=float)
    return pd.Series((_log2(values) if log else values).groupby(rows[per]).agg(reduce))


def ratio_spread(tables: Tables, table: str, of: str, query: str = "") -> pd.Series[float]:
    """Return the log2 of a ratio's largest over its smallest value in all rows: how far two quantities are of one order."""
    ratio = pd.Series(_chosen(tables, table, query).eval(of), dtype=float)
    return pd.Series({"all": float(np.log2(ratio.max() / ratio.min()))})


def _slope(rows: pd.DataFrame, y: str, x: str) -> pd.Series[float]:
    """Return the slope of log y against log x by least squares, by ancestry; NaN for one with a single x."""
    if not np.isfinite(rows[y]).all():
        raise UndecidedError(f"{y} was not found within the budget of some run: its slope is unknown")

    def slope(run: pd.DataFrame) -> float:
        if run[x].nunique() < 2:
            return float("nan")
        return float(np.polyfit(np.log(run[x].astype(float)), np.log(run[y].astype(float)), 1)[0])

    return pd.Series(rows.groupby("seed")[[x, y]].apply(slope))


def slope_error(
    tables: Tables, table: str, y: str, x: str, expected: float, query: str = ""
) -> pd.Series[float]:
    """Return the distance of the slope of log y against log x from the expected one, either way."""
    return (_slope(_chosen(tables, table, query), y, x) - expected).abs()


def off_against_in(tables: Tables) -> pd.Series[float]:
    """Return the log2 of (mean coefficient off the support over that in it) over (k - 1)/(d - k), mean over widths."""
    rows = _rows(tables, "teachers", {"aligned": False}).pivot_table(
        index=["seed", "width", "n_bits", "support_size"], columns="group", values="mean"
    )
    rows = rows.reset_index()
    expected = (rows.support_size - 1) / (rows.n_bits - rows.support_size)
    ratio: pd.Series[float] = _log2(rows.off_support / rows.in_support / expected)
    return ratio.groupby(rows.seed).mean()


def share_growth(tables: Tables) -> pd.Series[float]:
    """Return the log2 of the share of separating initializations at the largest d over that at the smallest, by k.

    A share of no draws counts as half a draw.
    """
    rows = _rows(tables, "separation").sort_values("n_bits")
    share = rows.n_separated.clip(lower=0.5) / rows.n_draws
    by_k = share.groupby(rows.support_size)
    return pd.Series(_log2(by_k.last() / by_k.first()))


def steps_over_bound(tables: Tables) -> pd.Series[float]:
    """Return the log2 of the steps to the loss sought over Lemma B.7's; a run that never got there counts as infinite."""
    last = _chosen(tables, "second_stages", "in_regime").groupby("seed").last()
    steps = last.step.where(last.reached, np.inf)
    return pd.Series(_log2(steps / last.bound_steps))


def _batches(tables: Tables, target: str, k: int, rule: str) -> pd.DataFrame:
    return _rows(tables, "batches", {"target": target, "support_size": k, "rule": rule})


def read_off_gain(tables: Tables, target: str, against: str, k: int, rule: str = "one") -> pd.Series[float]:
    """Return the log2 of a rival's batch over the target's, at the largest d that both have.

    Raises
    ------
    UndecidedError
        If neither batch was found within the budget.
    """
    ours, rival = (_batches(tables, name, k, rule) for name in (target, against))
    d = min(ours.n_bits.max(), rival.n_bits.max())
    ours, rival = (rows[rows.n_bits == d].set_index("seed").batch_size for rows in (ours, rival))
    if (np.isinf(ours) & np.isinf(rival)).any():
        raise UndecidedError("neither batch was found within the budget")
    return pd.Series(_log2(rival / ours))


def read_off_power(
    tables: Tables, target: str, k: int, rule: str = "one", less: str = ""
) -> pd.Series[float]:
    """Return the slope of the log of the batch against log d; with `less`, minus that of another target."""
    slope = _slope(_batches(tables, target, k, rule), "batch_size", "n_bits")
    return slope - _slope(_batches(tables, less, k, rule), "batch_size", "n_bits") if less else slope


def distance_from_prediction(tables: Tables, target: str) -> pd.Series[float]:
    """Return the size of the mean log2 of the batch over its finite-d prediction, over all d and k, one neuron."""
    rows = _rows(tables, "batches", {"target": target, "rule": "one"})
    ratio: pd.Series[float] = _log2(rows.batch_size / rows.predicted)
    return ratio.groupby(rows.seed).mean().abs()

"""Effects of masked and next-token prediction: pages `pcfg`, `wiki` and `gpt2`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from pdlib.claims.effects.shared import (
    Measure,
    MissingTableError,
    Tables,
    Where,
    _at,
    _by,
    _log2,
    _rows,
    gain,
    gain_change,
    lead_over_teacher,
    rates_learned,
)

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
    """Return frames side by side, one column per column and setting."""
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
    """Return the gain in each setting of a table, one column per rival and setting.

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
    tables: Tables, table: str, of: str, over: Sequence[str], each: Sequence[str], where: Where | None = None
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
    """Return the gain in a table's shortest runs minus that in its longest, one column per rival and setting."""

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
    """Return the final accuracy of a student minus its teacher's at that step of its own run, one column per length."""
    return _columns(
        _in_each(
            tables, table, ["horizon"], where, lambda w: lead_over_teacher(tables, table, of, "final", w)
        )
    )


def candidate_gain(
    tables: Tables, candidate: str, over: Literal["each", "first", "last"] = "each"
) -> pd.DataFrame:
    """Return the final accuracy of a candidate's (2, T) student minus that of the grid's, one column per checkpoint of it.

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
    """Return how much better a student is than each rival by several measures, one column per measure and rival.

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
    """Return where the phases of a teacher of text begin, in steps, one row per seed.

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
    """Return the log2 of how fast the teacher's loss falls in one part of its run over how fast in others, one column each.

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
    """Return the teacher's median measure at one point of its run minus that at others, one column each."""
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

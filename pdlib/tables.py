"""Table to table: runs joined into one tidy table, intervals over seeds, censored steps to a threshold, chosen checkpoints.

Nothing here imports torch: a figure or a verdict is redrawn and judged again from tables alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

LEVEL = 0.95
SIBLINGS = 1000  # ancestries that are equal modulo this share teacher and inputs
NEIGHBORS = 2  # evaluations on either side that a slope is taken over: noise of .01 nats does not move C1
LEAST_DROP = 0.1  # nats; a loss that falls by less from its plateau to the end has not left it
STILL_AT_CHANCE = (
    0.04  # of the way from chance to perfect: an accuracy below .52 of two classes tells nothing yet
)
Choice = TypeVar("Choice")  # what a rule chooses from a teacher's table


class Tabled(Protocol):
    """Anything with a tidy table, such as a `pdlib.store.Record`."""

    @property
    def table(self) -> pd.DataFrame: ...


@dataclass(frozen=True)
class Interval:
    """A mean with its interval over seeds."""

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        """Mean and interval, three significant digits."""
        if self.n < 2:
            return f"{self.mean:.3g} (1 seed)" if self.n else "no seeds"
        return f"{self.mean:.3g} [{self.low:.3g}, {self.high:.3g}]"


def mean_interval(values: Iterable[float], level: float = LEVEL) -> Interval:
    r"""Return the mean of per-seed values with its Student-t interval.

    .. math:: \bar a \pm t_{n-1} \, s / \sqrt n

    With one value the interval is the whole line: one seed says nothing about the spread. Infinite values are censored
    ones: the mean is infinite, and so is the interval's end on that side; its other end takes them for as large as the
    largest finite value, which they exceed.

    >>> interval = mean_interval([1.0, 2.0, 3.0])
    >>> round(interval.mean, 3), round(interval.low, 3), round(interval.high, 3)
    (2.0, -0.484, 4.484)
    >>> mean_interval([1.0, 1.0, math.inf])
    Interval(mean=inf, low=1.0, high=inf, n=3)
    """
    a = np.asarray(list(values), dtype=float)
    if len(a) < 2:
        return Interval(float(a[0]) if len(a) else math.nan, -math.inf, math.inf, len(a))
    finite = a[np.isfinite(a)]
    if len(finite) < len(a) and not np.isnan(a).any():
        low_open, high_open = bool(a.min() == -math.inf), bool(a.max() == math.inf)
        mean = math.nan if low_open and high_open else math.inf if high_open else -math.inf
        if len(finite) == 0:
            return Interval(mean, float(a.min()), float(a.max()), len(a))
        inner = mean_interval(np.clip(a, finite.min(), finite.max()) if len(finite) > 1 else finite, level)
        low = -math.inf if low_open else inner.low
        return Interval(mean, low, math.inf if high_open else inner.high, len(a))
    mean, half = float(a.mean()), _half(a, 1 / len(a), level)
    return Interval(mean, mean - half, mean + half, len(a))


def _half(a: NDArray[np.float64], variance: float, level: float = LEVEL) -> float:
    """Return half of Student's interval of what has `variance` times the variance of one value."""
    return float(stats.t.ppf(0.5 + level / 2, len(a) - 1) * a.std(ddof=1) * math.sqrt(variance))


def prediction_interval(values: Sequence[float], n_new: int) -> tuple[float, float]:
    r"""Return where the mean of `n_new` further seeds is expected, at 95 %; NaN where a value is censored.

    .. math:: \bar a \pm t_{n-1} \, s \sqrt{1 / n + 1 / n'}

    >>> low, high = prediction_interval([1.0, 2.0, 3.0], n_new=3)
    >>> round(low, 3), round(high, 3)
    (-1.513, 5.513)
    """
    a = np.asarray(values, dtype=float)
    if len(a) < 2:
        return -math.inf, math.inf
    if not np.isfinite(a).all():
        return math.nan, math.nan
    mean, half = float(a.mean()), _half(a, 1 / len(a) + 1 / n_new)
    return mean - half, mean + half


def wilson_interval(n_reached: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Return Wilson's interval of a share.

    >>> [round(x, 3) for x in wilson_interval(5, 5)]
    [0.566, 1.0]
    """
    interval = stats.binomtest(n_reached, n).proportion_ci(level, method="wilson")
    return float(interval.low), float(interval.high)


def data_seed(ancestry: int) -> int:
    """Return the seed of an ancestry's teacher and data: its last three digits.

    The thousands tell siblings apart: students of one teacher on the same inputs, with other initial weights.

    >>> [data_seed(ancestry) for ancestry in (7, 1007, 2007)]
    [7, 7, 7]
    """
    return ancestry % SIBLINGS


# ------------------------------------------------------------------- runs as tables


def joined(records: Iterable[tuple[Mapping[str, Any], Tabled]]) -> pd.DataFrame:
    """Return one tidy table of many runs, each labeled with its columns; no runs are a ValueError.

    >>> class Run: table = pd.DataFrame({"step": [0, 1], "accuracy": [0.5, 0.6]})
    >>> joined([({"method": "one_shot", "seed": 1}, Run)]).columns.tolist()
    ['method', 'seed', 'step', 'accuracy']
    """
    parts = [record.table.assign(**labels)[[*labels, *record.table.columns]] for labels, record in records]
    if not parts:
        raise ValueError("no runs to join: expected at least one (labels, record) pair.")
    return pd.concat(parts, ignore_index=True)


def with_teacher(ancestries: Iterable[int], found: Collection[int]) -> list[int]:
    """Return the ancestries whose teacher, by its seed, is among those of which something was found; ValueError if none is.

    >>> with_teacher([7, 8, 1007], {7: "candidates"})
    [7, 1007]
    """
    asked = list(ancestries)
    used = [ancestry for ancestry in asked if data_seed(ancestry) in found]
    if asked and not used:
        raise ValueError(
            f"no teacher of the ancestries {asked} learned: expected one at least. Give others, or train longer."
        )
    return used


def teacher_rows(teachers: Mapping[int, Tabled], ancestries: Iterable[int]) -> pd.DataFrame:
    """Return one table of the teachers of these ancestries, as the method `teacher`."""
    return joined(({"method": "teacher", "seed": s}, teachers[data_seed(s)]) for s in ancestries)


def last_rows(runs: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Return the row of the last step of each run, a run being a combination of the columns `by`.

    >>> runs = pd.DataFrame({"seed": [1, 1, 2], "step": [0, 5, 0], "accuracy": [0.5, 0.9, 0.4]})
    >>> last_rows(runs, ["seed"]).accuracy.tolist()
    [0.9, 0.4]
    """
    return runs.sort_values("step", kind="stable").groupby(list(by), sort=False).tail(1).sort_index()


def gains(
    students: pd.DataFrame,
    by: Sequence[str],
    of: str = "progressive",
    over: Sequence[str] = ("one_shot", "one_shot_hard"),
) -> pd.DataFrame:
    """Return what a method reaches by the end minus the best of others of the same ancestry: `by`, `seed`, `gain`.

    >>> rows = [("progressive", 0.75), ("one_shot", 0.5), ("one_shot_hard", 0.25)]
    >>> students = pd.DataFrame(rows, columns=["method", "accuracy"]).assign(seed=1, step=9, horizon=0.5)
    >>> gains(students, ["horizon"]).values.tolist()
    [[0.5, 1.0, 0.25]]
    """
    final = last_rows(students, [*by, "seed", "method"]).pivot(
        index=[*by, "seed"], columns="method", values="accuracy"
    )
    rivals = final[[method for method in over if method in final]]
    return (final[of] - rivals.max(axis=1)).rename("gain").reset_index()


def _per_group(
    table: pd.DataFrame, by: Sequence[str], row: Callable[[pd.DataFrame], Mapping[str, Any]]
) -> pd.DataFrame:
    """Return one row per combination of the columns `by`."""
    groups = table.groupby(list(by), sort=True, dropna=False)
    return pd.DataFrame([dict(zip(by, key, strict=True)) | dict(row(group)) for key, group in groups])


def curve(table: pd.DataFrame, value: str, by: Sequence[str] = ("step",)) -> pd.DataFrame:
    """Return mean and interval of `value` over seeds for each group: columns of `by`, `mean`, `low`, `high`, `n`.

    >>> table = pd.DataFrame({"step": [0, 0], "seed": [1, 2], "accuracy": [0.4, 0.6]})
    >>> curve(table, "accuracy")[["step", "mean", "n"]].values.tolist()
    [[0.0, 0.5, 2.0]]
    """
    return _per_group(
        table, [by] if isinstance(by, str) else by, lambda rows: vars(mean_interval(rows[value]))
    )


def steps_to_reach(table: pd.DataFrame, threshold: float, by: Sequence[str]) -> pd.DataFrame:
    """Return the first evaluated step at or above an accuracy, one row per run; infinite if never.

    Columns: those of `by`, `steps` and `last_step`, the run's budget.

    >>> table = pd.DataFrame({"seed": [1, 1, 2, 2], "step": [0, 10, 0, 10], "accuracy": [0.5, 0.95, 0.5, 0.6]})
    >>> steps_to_reach(table, 0.9, ["seed"]).values.tolist()
    [[1.0, 10.0, 10.0], [2.0, inf, 10.0]]
    """

    def row(run: pd.DataFrame) -> dict[str, float]:
        there = run.step[run.accuracy >= threshold]
        return {"steps": float(there.min()) if len(there) else math.inf, "last_step": int(run.step.max())}

    return _per_group(table, by, row)


def reached(steps: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Return, per group of runs, how many reached the threshold and the median steps, censored runs included.

    Columns: those of `by`, `n`, `n_reached`, Wilson's `low` and `high` of the share, `median_steps` (infinite if half the
    runs or more did not reach it), `last_step`, and `median`, the same in words. Never a mean over runs that succeeded.

    >>> steps = pd.DataFrame({"width": [8, 8, 8], "steps": [10, 20, math.inf], "last_step": 90})
    >>> reached(steps, ["width"])[["n_reached", "n", "median"]].values.tolist()
    [[2, 3, '20']]
    """

    def row(group: pd.DataFrame) -> dict[str, Any]:
        n, n_reached, last = len(group), int(np.isfinite(group.steps).sum()), int(group.last_step.min())
        low, high = wilson_interval(n_reached, n)
        middle = np.sort(group.steps.to_numpy())[
            (n - 1) // 2 : n // 2 + 1
        ]  # one value, or the two in the middle
        median = float(middle.mean()) if np.isfinite(middle).all() else math.inf
        found = {
            "n": n,
            "n_reached": n_reached,
            "low": low,
            "high": high,
            "median_steps": median,
            "last_step": last,
        }
        return found | {"median": f"{median:,.0f}" if math.isfinite(median) else f"≥ {last:,}"}

    return _per_group(steps, by, row)


def reach_table(table: pd.DataFrame, threshold: float, by: Sequence[str]) -> pd.DataFrame:
    """Return for reading, per group of runs, how many reached an accuracy, and at which step half of them had.

    Groups stand in the order in which the table has them.

    >>> table = pd.DataFrame({"method": "one_shot", "seed": [1, 1, 2, 2], "step": [0, 10] * 2, "accuracy": 0.9})
    >>> reach_table(table, 0.9, ["method"]).drop(columns=["share, low", "share, high"]).values.tolist()
    [['one_shot', 2, 2, '0']]
    """
    summary = reached(steps_to_reach(table, threshold, [*by, "seed"]), by).round(2)
    summary = table[list(by)].drop_duplicates().merge(summary, on=list(by))
    names = {"median": "median steps", "low": "share, low", "high": "share, high"}
    return summary.rename(columns=names).drop(columns=["median_steps", "last_step"])


def chosen_batches(searches: Iterable[tuple[Mapping[str, Any], Tabled]]) -> pd.DataFrame:
    """Return the answer of each search for a smallest batch, one row per search, labeled with its columns.

    The row is the one marked `chosen`; of a search that found none within its budget the last one, its `batch_size`
    infinite: censored, not absent. The largest batch tried stays as `last_batch`.

    >>> class Found: table = pd.DataFrame({"batch_size": [4, 8], "chosen": [False, True]})
    >>> class Lost: table = pd.DataFrame({"batch_size": [4, 8], "chosen": [False, False]})
    >>> chosen_batches([({"seed": 1}, Found), ({"seed": 2}, Lost)]).batch_size.tolist()
    [8.0, inf]
    """
    rows = []
    for labels, search in searches:
        found = search.table[search.table.chosen.astype(bool)]
        row: dict[Any, Any] = (found if len(found) else search.table).iloc[-1].drop("chosen").to_dict()
        row["batch_size"] = float(row["batch_size"]) if len(found) else math.inf
        rows.append({**labels, **row, "last_batch": int(search.table.batch_size.max())})
    return pd.DataFrame(rows)


def cost(provenances: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Return the summed cost of runs: `n_runs`, and `core_minutes`.

    >>> cost([{"cpu_s": 60.0}, {"cpu_s": 30.0}])
    {'n_runs': 2, 'core_minutes': 1.5}
    """
    seconds = [float(p.get("cpu_s", 0.0)) for p in provenances]
    return {"n_runs": len(seconds), "core_minutes": round(sum(seconds) / 60, 2)}


# ------------------------------------------------------------ a teacher's candidates


@dataclass(frozen=True)
class Candidates:
    """Three teacher checkpoints: before, in and after its phase transition."""

    before: int
    middle: int
    after: int


def _evaluations(teacher: pd.DataFrame, after: int = 0) -> tuple[NDArray[Any], NDArray[Any]]:
    run = teacher[teacher.step > after].sort_values("step")
    return run.step.to_numpy(), run.accuracy.to_numpy()


def _ends(step: NDArray[Any], accuracy: NDArray[Any]) -> str:
    """Return what became of a teacher, for an error."""
    return f"the teacher's accuracy ends at {accuracy[-1]:.3f} (highest {accuracy.max():.3f}) after {step[-1]} steps"


def transition_candidates(
    teacher: pd.DataFrame, chance: float = 0.5, settled: float = 0.999, warmup: int = 0
) -> Candidates:
    """Choose the candidate checkpoints from a teacher's held-out accuracy alone (columns `step`, `accuracy`; one run).

    `middle` is the evaluation nearest to halfway between chance and perfect during the first rise from a tenth to nine
    tenths of that way; `before` is the last one before it, and after `warmup`, whose accuracy is still at chance
    (`STILL_AT_CHANCE`); `after` is the first evaluation from which on the accuracy stays at `settled` or more. The paper's
    own candidate 1 lies five evaluations before its candidate 2, at chance as well; a fixed distance would not mean that
    in a slower rise.

    Raises
    ------
    ValueError
        If the teacher never rises, does not stay at `settled`, or has no evaluation at chance before its rise: such a run
        has no transition to choose from.

    Examples
    --------
    >>> accuracy = [0.5, 0.5, 0.5, 0.6, 0.8, 0.97, 1.0, 1.0]
    >>> transition_candidates(pd.DataFrame({"step": range(0, 80, 10), "accuracy": accuracy}))
    Candidates(before=20, middle=40, after=60)
    """
    step, accuracy = _evaluations(teacher)
    share = (accuracy - chance) / (1 - chance)
    up = np.flatnonzero(share >= 0.9)
    below = np.flatnonzero(accuracy < settled)
    if len(up) == 0 or (len(below) and below[-1] == len(step) - 1):
        raise ValueError(
            f"{_ends(step, accuracy)}: expected a phase transition to {settled}. Train it longer or choose another rate."
        )
    start = np.flatnonzero(share[: up[0] + 1] < 0.1)
    rise = np.arange(start[-1] + 1 if len(start) else 0, up[0] + 1)
    middle = int(rise[np.abs(share[rise] - 0.5).argmin()])
    still = np.flatnonzero((share < STILL_AT_CHANCE) & (step > warmup) & (np.arange(len(step)) < middle))
    if len(still) == 0:
        raise ValueError(
            f"the teacher has no evaluation at chance between step {warmup} and its rise at step {step[middle]}: expected "
            f"one below {chance + STILL_AT_CHANCE * (1 - chance):g}. Evaluate and keep checkpoints more often."
        )
    after = below[-1] + 1 if len(below) else 0
    return Candidates(int(step[still[-1]]), int(step[middle]), int(step[after]))


def learned(teachers: Mapping[int, Tabled], settled: float = 0.999, warmup: int = 0) -> dict[int, Candidates]:
    """Return the `transition_candidates` of each seed whose teacher settled; see `chosen`.

    >>> class Run: table = pd.DataFrame({"step": [10, 20, 30, 40], "accuracy": [0.5, 0.7, 1.0, 1.0]})
    >>> class Flat: table = pd.DataFrame({"step": [10, 20], "accuracy": [0.5, 0.5]})
    >>> learned({1: Run(), 2: Flat()})
    {1: Candidates(before=10, middle=20, after=30)}
    """
    return chosen(teachers, lambda table: transition_candidates(table, settled=settled, warmup=warmup))


def chosen(teachers: Mapping[int, Tabled], rule: Callable[[pd.DataFrame], Choice]) -> dict[int, Choice]:
    """Return what a rule chooses from each seed's teacher; the seeds at which it raises ValueError are left out.

    A teacher that does not learn within the budget has nothing to distil; a page says how many these are. If none did,
    that is a ValueError, with what the rule said of the last.

    >>> class Run: table = pd.DataFrame({"step": [10, 20], "accuracy": [0.5, 1.0]})
    >>> chosen({1: Run()}, lambda table: int(table.step.max()))
    {1: 20}
    """
    found, failure = {}, None
    for seed, record in teachers.items():
        try:
            found[seed] = rule(record.table)
        except ValueError as error:
            failure = error
    if not found:
        raise ValueError(
            f"none of {len(teachers)} teachers has checkpoints to choose; the last: {failure}"
        ) from failure
    return found


def tree_candidates(
    teacher: pd.DataFrame, accuracies: Sequence[float], chance: float, settled: float = 0.999
) -> tuple[int, ...]:
    """Choose candidate checkpoints of a teacher of a decision tree from its held-out accuracy alone, in order.

    First one from before: half as far as the first evaluation with twice the accuracy of chance, at which half of the
    classes are ruled out. Then, for each of `accuracies`, the first later evaluation with that accuracy or more. At last
    one from after: the first later evaluation from which on the accuracy stays at `settled` or more. All are distinct.

    Raises
    ------
    ValueError
        If the teacher does not stay at `settled`, or has too few evaluations for distinct candidates.

    Examples
    --------
    >>> accuracy = [0.25, 0.25, 0.25, 0.5, 0.6, 0.9, 0.95, 1.0, 1.0]
    >>> teacher = pd.DataFrame({"step": range(10, 100, 10), "accuracy": accuracy})
    >>> tree_candidates(teacher, [0.6, 0.8, 0.9], chance=0.25)
    (20, 50, 60, 70, 80)
    """
    step, accuracy = _evaluations(teacher)
    below = np.flatnonzero(accuracy < settled)
    rise = step[accuracy >= 2 * chance]
    before = step[step <= rise[0] / 2] if len(rise) else []
    found = [int(before[-1] if len(before) else step[0])]
    stays = step > (step[below[-1]] if len(below) else 0)
    for enough in (*(accuracy >= a for a in accuracies), stays):
        later = step[enough & (step > found[-1])]
        if len(later) == 0:
            raise ValueError(
                f"{_ends(step, accuracy)}: expected distinct checkpoints with {', '.join(f'{a:g}' for a in accuracies)}, "
                f"and it to settle at {settled}. Train it longer, keep more checkpoints, or choose another rate."
            )
        found.append(int(later[0]))
    return tuple(found)


def candidate_rows(
    teacher: pd.DataFrame, candidates: Mapping[int, Candidates | Sequence[int]]
) -> pd.DataFrame:
    """Return the candidates of each seed of `teacher`, with its accuracy there: `seed`, `candidate`, `step`, `accuracy`.

    Candidates are named, or numbered from 1 where they are a plain sequence.

    >>> teacher = pd.DataFrame({"seed": 1, "step": [10, 20, 30], "accuracy": [0.5, 0.7, 1.0]})
    >>> candidate_rows(teacher, {1: Candidates(10, 20, 30)}).accuracy.tolist()
    [0.5, 0.7, 1.0]
    >>> candidate_rows(teacher, {1: (10, 30)}).values.tolist()
    [[1.0, 1.0, 10.0, 0.5], [1.0, 2.0, 30.0, 1.0]]
    """
    rows = [
        {"seed": seed, "candidate": name, "step": step}
        for seed, steps in candidates.items()
        if seed in set(teacher.seed)
        for name, step in (
            vars(steps).items() if isinstance(steps, Candidates) else enumerate(steps, start=1)
        )
    ]
    return pd.DataFrame(rows).merge(teacher[["seed", "step", "accuracy"]], on=["seed", "step"], how="left")


def second_spike(
    correlations: pd.DataFrame, candidates: Candidates, teacher: pd.DataFrame, settled: float = 0.99
) -> int | None:
    """Return the checkpoint of a later spike of a teacher's degree-1 correlations in the support, or None.

    The first spike is the highest value up to the candidate `after`. A second one lies after that candidate, where the
    teacher's accuracy is still `settled` (a relapse shows many features at once and is no spike), above half of the first
    and above twice the value off the support there. Its checkpoint is that of the highest.

    `correlations` has `step`, `degree`, `group`, `mean`, `teacher` `step`, `accuracy`, both of one run.

    >>> mean = [0.1, 0.8, 0.1, 0.6, 0.1]
    >>> rows = pd.DataFrame({"step": range(10, 60, 10), "degree": 1, "group": "in_support", "mean": mean})
    >>> both = pd.concat([rows, rows.assign(group="off_support", mean=0.1)])
    >>> teacher = pd.DataFrame({"step": range(10, 60, 10), "accuracy": [0.5, 0.7, 1.0, 1.0, 1.0]})
    >>> second_spike(both, Candidates(10, 20, 30), teacher)
    40
    """
    rows = correlations[correlations.degree == 1].pivot_table(index="step", columns="group", values="mean")
    height = float(rows.in_support[rows.index <= candidates.after].max())
    calm = teacher.set_index("step").accuracy.reindex(rows.index) >= settled
    later = rows[(rows.index > candidates.after) & calm]
    later = later[(later.in_support > height / 2) & (later.in_support > 2 * later.off_support)]
    return int(later.index[int(later.in_support.argmax())]) if len(later) else None


def around_transition(checkpoints: Sequence[int], candidates: Candidates, n: int) -> list[int]:
    """Return up to `n` checkpoints, evenly from just before the candidate `before` to just past `after`.

    >>> around_transition(range(10, 110, 10), Candidates(before=30, middle=50, after=70), n=4)
    [20, 40, 70, 90]
    """
    kept = list(checkpoints)
    first = max(0, kept.index(candidates.before) - 1)
    last = min(len(kept) - 1, kept.index(candidates.after) + 2)
    picked = np.linspace(first, last, n).round().astype(int)
    return [kept[i] for i in dict.fromkeys(picked.tolist())]


def thinned(checkpoints: Sequence[int], middle: int, every: int, near: int = 20) -> tuple[int, ...]:
    """Return all checkpoints at most `near` places from `middle`, of the others one in `every`, and the last.

    >>> thinned(range(10, 210, 10), middle=100, every=5, near=2)
    (50, 80, 90, 100, 110, 120, 150, 200)
    """
    kept = list(checkpoints)
    place = kept.index(middle)
    near_or_due = (i for i in range(len(kept)) if abs(i - place) <= near or (i + 1) % every == 0)
    return tuple(kept[i] for i in dict.fromkeys([*near_or_due, len(kept) - 1]))


def steepest_drop(teacher: pd.DataFrame, below: float, kept: Sequence[int], warmup: int = 0) -> int | None:
    r"""Return the checkpoint C1: the steepest point of the drop of a teacher's loss that follows its plateau.

    Of the evaluations from the first with a loss less than `below` on, it is the kept one at which the loss falls fastest
    among those at which it falls faster than at an earlier one: a first fall, to the frequencies of tokens, only slows
    down, however steep it is. The plateau is where the loss falls most slowly before C1. With steps :math:`t` and losses
    :math:`L` of an evaluation and its neighbors, as many on either side and at most `NEIGHBORS`, it falls by

    .. math:: -\frac{\sum_j (t_j - \bar t) L_j}{\sum_j (t_j - \bar t)^2}

    nats per step. On the paper's curve (Figure 4) the rule gives its own choice, step 1,000. A loss that falls rapidly at
    once, as GPT-2's does, has no plateau: that is so if after it the loss falls by less than it had come below `below`. It
    never leaves its plateau if it falls by `LEAST_DROP` or less.

    Parameters
    ----------
    teacher
        Columns `step`, `loss_nats`; one run.
    below
        The loss of a predictor that knows the frequencies of tokens alone, nats.
    kept
        Steps whose checkpoints are kept.
    warmup
        Evaluations at or before this step do not count.

    Returns
    -------
    int or None
        The step; None if the loss never comes below, has no plateau, or never leaves it.

    Examples
    --------
    >>> run = pd.DataFrame({"step": range(8), "loss_nats": [1.4, 1.02, 1.0, 0.9, 0.5, 0.3, 0.25, 0.2]})
    >>> steepest_drop(run, below=1.1, kept=range(8))
    4
    """
    rows = teacher[teacher.step > warmup].sort_values("step")
    rows = rows[(rows.loss_nats < below).cummax()]
    step, loss = rows.step.to_numpy(float), rows.loss_nats.to_numpy(float)
    if len(step) < 3:
        return None
    speed = _falling(step, loss)
    drops = np.flatnonzero((speed > np.minimum.accumulate(speed)) & np.isin(step, list(kept)))
    if len(drops) == 0:
        return None
    drop = int(drops[speed[drops].argmax()])
    plateau = float(loss[speed[:drop].argmin()])
    return int(step[drop]) if plateau - loss[-1] > max(LEAST_DROP, below - plateau) else None


def _falling(step: NDArray[np.float64], loss: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how fast a loss falls at each step: least squares over neighbors; at both ends over the one there is."""
    last = len(step) - 1
    speed = []
    for i in range(len(step)):
        n = min(NEIGHBORS, i, last - i)
        near = slice(i - n, i + n + 1) if n else slice(0, 2) if i == 0 else slice(last - 1, None)
        t = step[near] - step[near].mean()
        speed.append(-(t @ loss[near]) / (t @ t))
    return np.array(speed)


def peak(table: pd.DataFrame, value: str) -> int:
    """Return the step at which a column is largest, the first of several.

    >>> peak(pd.DataFrame({"step": [2, 4, 6], "median": [0.1, 0.4, 0.2]}), "median")
    4
    """
    rows = table.sort_values("step")
    return int(rows.step.to_numpy()[rows[value].to_numpy().argmax()])


# ----------------------------------------------------- trees, and the paper's numbers


def onsets(features: pd.DataFrame, times: float = 2.0) -> pd.DataFrame:
    """Return when each node's feature first stands out: `seed`, `degree`, `node`, `level`, `step`.

    `features` is the table of `pdlib.probes.features.FeatureCorrelations`. A feature stands out when the mean
    correlation below its node is more than `times` that of the rest; `step` is infinite if it never does.

    >>> rows = [(1, 2, 10, 0, 0, 1.0), (1, 2, 10, 1, 1, 1.5), (1, 2, 20, 0, 0, 1.0), (1, 2, 20, 1, 1, 2.5)]
    >>> features = pd.DataFrame(rows, columns="seed degree step node level mean".split()).assign(scope="below")
    >>> onsets(features).values.tolist()
    [[1.0, 2.0, 1.0, 1.0, 20.0]]
    """
    rows = features[features.scope == "below"]
    rest = rows[rows.node == 0].set_index(["seed", "degree", "step"])["mean"].rename("rest")
    nodes = rows[rows.node > 0].join(rest, on=["seed", "degree", "step"])

    def row(run: pd.DataFrame) -> dict[str, float]:
        out = run.loc[run["mean"] > times * run.rest, "step"]
        return {"level": run.level.iloc[0], "step": float(out.min()) if len(out) else math.inf}

    return _per_group(nodes, ["seed", "degree", "node"], row)


def tree_rows(features: Sequence[Sequence[int]], paths: Sequence[Sequence[tuple[int, int]]]) -> pd.DataFrame:
    """Return the edges of a decision tree, one row per child: `parent`, `child`, `sign`, `depth`, `place`, `text`.

    `features` and `paths` as `pdlib.tasks.hierarchical.HierarchicalParity` has them. `place` runs from 0 to 1 from the
    first class to the last; the root is a row without a parent. Nodes are named by their heap number, leaves by
    "class" and its number counted from 1, as the paper does.

    >>> tree_rows([(0, 1)], [((1, 1),), ((1, -1),)])[["parent", "child", "sign", "place", "text"]].values.tolist()
    [['', '1', 0, 0.5, 'x1 x2'], ['1', 'class 1', 1, 0.25, 'class 1'], ['1', 'class 2', -1, 0.75, 'class 2']]
    """
    rows: dict[str, dict[str, Any]] = {}
    for label, path in enumerate(paths):
        names, parent = [*(str(node) for node, _ in path), f"class {label + 1}"], ""
        for depth, name in enumerate(names):
            edge = {
                "parent": parent,
                "child": name,
                "sign": path[depth - 1][1] if depth else 0,
                "depth": depth,
            }
            rows.setdefault(name, {**edge, "place": []})["place"].append((label + 0.5) / len(paths))
            parent = name
    for name, row in rows.items():
        row["place"] = float(np.mean(row["place"]))
        names = [f"x{i + 1}" for i in features[int(name) - 1]] if name.isdigit() else [name]
        row["text"] = " ".join(names)
    order = ["depth", "place"]
    return pd.DataFrame(rows.values()).sort_values(order, kind="stable").reset_index(drop=True)


def beside_read_off(read: pd.DataFrame, ours: Mapping[str, pd.DataFrame], origin: int) -> pd.DataFrame:
    """Return numbers read off the paper's figures beside ours at the same steps.

    Parameters
    ----------
    read
        Columns `figure`, `curve`, `step`, `quantity`, `value`.
    ours
        Tables `teacher`, `candidates`, `correlations` (degree 1 is taken) and `students`.
    origin
        The paper's step of candidate ②. What the teacher does is compared at the same distance from it, since transitions
        come at other steps with other seeds; what students do, at the same step.

    Returns
    -------
    pandas.DataFrame
        `figure`, `curve`, `step` (M; of the teacher: from ②), `paper`, `ours`: mean with interval, or number of seeds.

    Examples
    --------
    >>> read = pd.DataFrame([("F", "teacher", 30, "accuracy", 0.9)], columns="figure curve step quantity value".split())
    >>> teacher = pd.DataFrame({"seed": 1, "step": [40, 50], "accuracy": [0.7, 0.8]})
    >>> candidates = pd.DataFrame({"seed": [1], "candidate": ["middle"], "step": [40]})
    >>> ours = {"teacher": teacher, "candidates": candidates}
    >>> beside_read_off(read, ours, origin=20)[["paper", "ours"]].values.tolist()
    [[0.9, '0.8 (1 seed)']]
    """
    middle = ours["candidates"].query("candidate == 'middle'").set_index("seed").step

    def row(r: Any) -> dict[str, Any]:
        if r.quantity == "correlation":
            table, column = ours["correlations"].query("degree == 1 and group == @r.curve"), "mean"
        elif r.curve == "teacher":
            table, column = ours["teacher"], "accuracy"
        else:  # a student: at the paper's own step
            values = ours["students"].query("method == @r.curve and step == @r.step").accuracy
            return {"step": f"{r.step / 1e6:g}M", "ours": str(mean_interval(values))}
        away = r.step - origin
        values = table.loc[table.step - table.seed.map(middle) == away, column]
        return {"step": f"②{away / 1e6:+g}M", "ours": str(mean_interval(values))}

    found = pd.DataFrame([row(r) for r in read.itertuples()])
    shown = (
        read[["figure", "curve"]].reset_index(drop=True).assign(step=found.step, paper=read.value.to_numpy())
    )
    return shown.assign(ours=found.ours)

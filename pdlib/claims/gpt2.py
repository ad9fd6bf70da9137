"""Criteria of the page `gpt2`: written before the runs that they judge.

Tables they read, a row an evaluation or a measured group, always with the column `seed`; `level` is counted from the
leaves, 1 being every token:

- `teacher`: `level` (4, 3, 2), `step`, `loss_nats`, `accuracy`; every run of a level has the same length T0
- `ngrams`: the teacher's `level` (3), `step`, `measure` (`robust`, `close`), `n`, `median`
- `students`: `level`, `horizon` (of T0: 0.25, 0.5), `method`, `step`, `accuracy`; `large_students`: the same of students
  with more heads
- `heads`: `level`, `n_heads`, `step`, `accuracy`
- `grammars`: `grammar` (`cfg3f`, `cfg3g`), `method`, `step`, `accuracy`, at level 3, after a quarter of T0

An accuracy is a share of the tokens asked for; differences are in these units, 0.01 being a point. A gain is over the
better of both one-shot temperatures in each ancestry.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pdlib.claims import Claim, Criterion, MissingTableError, Tables

ONE_SHOT = ("one_shot", "one_shot_hard")
LEVELS = (4, 3, 2)  # of the loss, the fewest tokens first
POINT = 0.01  # of accuracy
TWICE = 1.0  # log2
SELECTED, RAPID = (
    0.05,
    0.1,
)  # of T0: the first selected checkpoint, and the end of the phase whose middle it is
STILL = 0.1  # nats over T0: a loss that falls no faster stands still
UNMOVED = 0.02  # total variation: a median that changes by less has not changed


def _rows(tables: Tables, name: str, **where: Any) -> pd.DataFrame:
    """The rows of a table with these values, in the order of their steps."""
    if name not in tables:
        raise MissingTableError(name)
    rows = tables[name]
    for column, value in where.items():
        rows = rows[rows[column] == value]
    if rows.empty:
        raise MissingTableError(f"{name}: " + ", ".join(f"{c} = {v}" for c, v in where.items()))
    return rows.sort_values("step", kind="stable", ignore_index=True)


def _gain(runs: pd.DataFrame) -> pd.Series[float]:
    """Final accuracy of progressive distillation minus that of the better one-shot one, by seed."""
    final = runs.groupby(["seed", "method"]).accuracy.last().unstack()
    return pd.Series(final["progressive"] - final[list(ONE_SHOT)].max(axis=1, skipna=False))


def gain(tables: Tables, level: int, horizon: float, name: str = "students") -> pd.Series[float]:
    """The gain of progressive over one-shot distillation at a level of the loss, after a share of T0."""
    return _gain(_rows(tables, name, level=level, horizon=horizon))


def shrinking(tables: Tables, name: str = "students") -> pd.Series[float]:
    """The gain after a quarter of T0 minus that after half of it, the mean over levels."""
    each = [gain(tables, level, 0.25, name) - gain(tables, level, 0.5, name) for level in LEVELS]
    return pd.concat(each, axis=1).mean(axis=1, skipna=False)


def more_tokens(tables: Tables, name: str = "students") -> pd.Series[float]:
    """The gain at the level with the most tokens in the loss minus that at the one with the fewest, a quarter of T0."""
    return gain(tables, LEVELS[-1], 0.25, name) - gain(tables, LEVELS[0], 0.25, name)


def gain_on(tables: Tables, grammar: str) -> pd.Series[float]:
    """The gain of progressive over one-shot distillation on a grammar."""
    return _gain(_rows(tables, "grammars", grammar=grammar))


def grammar_difference(tables: Tables, one: str, other: str) -> pd.Series[float]:
    """The gain on one grammar minus that on another."""
    return gain_on(tables, one) - gain_on(tables, other)


def _length(tables: Tables, level: int) -> pd.Series[float]:
    """The length T0 of the teacher's run, by seed."""
    return _rows(tables, "teacher", level=level).groupby("seed").step.max()


def _at(rows: pd.DataFrame, column: str, share: float, length: pd.Series[float]) -> pd.Series[float]:
    """A column at a share of T0, interpolated between steps, by seed; before the first step its value there."""

    def at(run: pd.DataFrame) -> float:
        return float(np.interp(share, run["share"], run[column]))

    rows = rows.assign(share=rows.step / rows.seed.map(length))
    return rows.groupby("seed")[["share", column]].apply(at)


def drop_ratio(tables: Tables, level: int) -> pd.Series[float]:
    """log2 of how fast the teacher's loss falls on average in the first tenth of its run over how fast after it.

    Either is at least `STILL`: the logarithm of a slope of about 0 would be noise.
    """
    rows, length = _rows(tables, "teacher", level=level), _length(tables, level)
    start, turn, end = (_at(rows, "loss_nats", share, length) for share in (0.0, RAPID, 1.0))
    first, after = (start - turn) / RAPID, (turn - end) / (1 - RAPID)
    return pd.Series(np.log2(first.clip(lower=STILL) / after.clip(lower=STILL)))


def _measured(tables: Tables, measure: str, n: int, shares: tuple[float, ...]) -> list[pd.Series[float]]:
    """The teacher's median measure at the checkpoints nearest to shares of its run.

    Each value is that of one checkpoint, so that all are equally uncertain. There is none without a checkpoint as early as
    the selected one, or without the final one.
    """
    rows, length = _rows(tables, "ngrams", level=3, measure=measure, n=n), _length(tables, 3)
    rows = rows.assign(share=rows.step / rows.seed.map(length))
    share = rows.groupby("seed").share
    covered = (share.min() <= SELECTED) & (share.max() >= 1)
    if not covered.any():
        raise MissingTableError(f"ngrams: {measure}, n = {n}, from {SELECTED} of T0 to T0")

    def near(part: float) -> pd.Series[float]:
        distance = (rows.share - part).abs()
        chosen = rows.loc[distance[rows.seed.map(covered)].groupby(rows.seed).idxmin()]
        return chosen.set_index("seed")["median"].reindex(covered.index)

    return [near(part) for part in shares]


# A measure has an inflection where it no longer moves as it did: at a bend, or at a turn like that of BERT's M_robust. The
# paper places it at the first selected checkpoint, T0/20, the middle of a phase that ends at T0/10. So the change around
# that checkpoint is set against all change after the phase. Each part is seen at its beginning, its middle and its end, and
# rises and falls both count: a turn does not cancel. Changes are compared and not slopes, which are steep wherever
# checkpoints lie close to each other: a curve of mere noise changes as much in either part and decides nothing. A curve that
# moves evenly over the steps fails, and so does one that moves evenly over their logarithm, which bends wherever one looks.
def inflection(tables: Tables, measure: str, n: int) -> pd.Series[float]:
    """log2 of how much the teacher's median measure changes in the first tenth of its run over how much after it.

    A change is that over the first half of a part and that over its second half, either without its sign, the first part
    beginning with the first measured checkpoint; a change is at least `UNMOVED`.
    """
    shares = (0.0, SELECTED, RAPID, (RAPID + 1) / 2, 1.0)
    a, b, c, d, e = _measured(tables, measure, n, shares)
    first, after = (b - a).abs() + (c - b).abs(), (d - c).abs() + (e - d).abs()
    return pd.Series(np.log2(first.clip(lower=UNMOVED) / after.clip(lower=UNMOVED)))


def change(tables: Tables, measure: str, n: int, since: float, until: float) -> pd.Series[float]:
    """The teacher's median measure at one share of its run minus that at an earlier one."""
    early, late = _measured(tables, measure, n, (since, until))
    return late - early


def _first_time(run: pd.DataFrame, goal: float) -> float:
    """The step at which an accuracy is first reached, interpolated, at least 1; the last step if it never is."""
    steps, accuracy = run.step.to_numpy(dtype=float), run.accuracy.to_numpy(dtype=float)
    reached = np.flatnonzero(accuracy >= goal)
    if not len(reached):
        return float(steps[-1])
    i = int(reached[0])
    if i == 0:
        return max(1.0, float(steps[0]))
    return max(1.0, float(np.interp(goal, accuracy[i - 1 : i + 1], steps[i - 1 : i + 1])))


def half_risen(tables: Tables, level: int) -> pd.Series[float]:
    """When the teacher's accuracy has made half of its whole rise, as a share of its run; 1 if it rises by no point."""

    def at(run: pd.DataFrame) -> float:
        first, last = float(run.accuracy.iloc[0]), float(run.accuracy.iloc[-1])
        if last < first + POINT:
            return 1.0
        return _first_time(run, (first + last) / 2) / float(run.step.iloc[-1])

    return _rows(tables, "teacher", level=level).groupby("seed")[["step", "accuracy"]].apply(at)


def _fewest_and_most(tables: Tables, level: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = _rows(tables, "heads", level=level)
    return rows[rows.n_heads == rows.n_heads.min()], rows[rows.n_heads == rows.n_heads.max()]


def heads_delay(tables: Tables, level: int) -> pd.Series[float]:
    """log2 of the steps to 80 % of a network's own final accuracy, fewest heads over most."""

    def steps(run: pd.DataFrame) -> float:
        return _first_time(run, 0.8 * run.accuracy.iloc[-1])

    fewest, most = (
        runs.groupby("seed")[["step", "accuracy"]].apply(steps) for runs in _fewest_and_most(tables, level)
    )
    return pd.Series(np.log2(fewest / most))


def transition_delay(tables: Tables, level: int) -> pd.Series[float]:
    """log2 of the steps to the accuracy halfway up the rise of the network with the most heads, fewest over most.

    One accuracy for both: a network that stays where it began is soon at half of its own rise. One that never gets there
    counts with its whole run.
    """
    fewest, most = _fewest_and_most(tables, level)
    accuracy = most.groupby("seed").accuracy
    goal = (accuracy.first() + accuracy.last()) / 2

    def steps(runs: pd.DataFrame) -> pd.Series[float]:
        found = {s: _first_time(run, goal[s]) for s, run in runs.groupby("seed") if s in goal.index}
        return pd.Series(found, dtype=float)

    return pd.Series(np.log2(steps(fewest) / steps(most)))


def final_difference(tables: Tables, level: int) -> pd.Series[float]:
    """Final accuracy with the most heads minus that with the fewest."""
    fewest, most = (runs.groupby("seed").accuracy.last() for runs in _fewest_and_most(tables, level))
    return most - fewest


def early_rise(tables: Tables, level: int) -> pd.Series[float]:
    """How far the accuracy rises in the first tenth of training, most heads minus fewest."""

    def rise(runs: pd.DataFrame) -> pd.Series[float]:
        length = runs.groupby("seed").step.max()
        return _at(runs, "accuracy", RAPID, length) - _at(runs, "accuracy", 0.0, length)

    fewest, most = _fewest_and_most(tables, level)
    return rise(most) - rise(fewest)


def _ahead(name: str, level: int, horizon: float) -> Criterion:
    run = {0.25: "a quarter", 0.5: "half"}[horizon]
    return Criterion(
        f"L({level}), {run} of T0",
        f"final accuracy of progressive distillation minus the better one-shot one, L({level}), {run} of T0",
        gain,
        "above",
        0.0,
        {"level": level, "horizon": horizon, "name": name},
    )


def _shrinks(name: str) -> Criterion:
    return Criterion(
        "shrinks with training",
        "gain over one-shot distillation after a quarter of T0 minus that after half of it, mean over levels",
        shrinking,
        "above",
        0.0,
        {"name": name},
    )


def _smaller(name: str) -> Criterion:
    return Criterion(
        "smaller with more tokens",
        "gain over one-shot distillation at L(2) minus that at L(4), after a quarter of T0",
        more_tokens,
        "below",
        0.0,
        {"name": name},
    )


def _figure_of_students(name: str) -> tuple[Criterion, ...]:
    """What Figures 30 and 31 both say."""
    ahead = [_ahead(name, level, horizon) for level in LEVELS for horizon in (0.25, 0.5)]
    return (*ahead, _shrinks(name), _smaller(name))


def _drop(level: int) -> Criterion:
    return Criterion(
        f"rapid, then slow, L({level})",
        f"log2 of the mean slope of the loss in the first tenth of T0 over that after it, L({level})",
        drop_ratio,
        "above",
        TWICE,
        {"level": level},
    )


CLAIMS = (
    Claim(
        "R7",
        (*(_ahead("students", level, 0.25) for level in LEVELS), _shrinks("students"), _smaller("students")),
    ),
    Claim(
        "Figure 28",
        tuple(
            criterion
            for level in LEVELS
            for criterion in (
                Criterion(
                    f"earlier, L({level})",
                    f"log2 of the steps to 80 % of a network's final accuracy, fewest heads over most, L({level})",
                    heads_delay,
                    "above",
                    0.0,
                    {"level": level},
                ),
                Criterion(
                    f"more pronounced, L({level})",
                    f"final accuracy with the most heads minus that with the fewest, L({level})",
                    final_difference,
                    "above",
                    POINT,
                    {"level": level},
                ),
            )
        ),
    ),
    Claim(
        "Figure 29",
        (
            _drop(3),
            *(
                Criterion(
                    f"inflection of M_{measure}",
                    f"log2 of the change of the teacher's median M_{measure} (n = 3) in the first tenth of T0 over that "
                    "after it",
                    inflection,
                    "above",
                    0.0,
                    {"measure": measure, "n": 3},
                )
                for measure in ("close", "robust")
            ),
        ),
    ),
    Claim("Figure 30", _figure_of_students("students")),
    Claim("Figure 31", _figure_of_students("large_students")),
    Claim(
        "Figure 32",
        (
            Criterion(
                "less on cfg3g",
                "gain over one-shot distillation on cfg3g minus that on cfg3f, after a quarter of T0",
                grammar_difference,
                "below",
                0.0,
                {"one": "cfg3g", "other": "cfg3f"},
            ),
            Criterion(
                "sooner on cfg3f",
                "gain over one-shot distillation on cfg3f, after a quarter of T0",
                gain_on,
                "above",
                0.0,
                {"grammar": "cfg3f"},
            ),
        ),
    ),
    Claim("gap-shrinks-with-tokens-in-the-loss", (_smaller("students"),)),
    Claim("rapid-drop-in-the-first-tenth", tuple(_drop(level) for level in LEVELS)),
    Claim(
        "dormant-phase-is-short",
        tuple(
            Criterion(
                f"half risen early, L({level})",
                f"when the teacher's accuracy has made half of its rise, as a share of T0, L({level})",
                half_risen,
                "below",
                SELECTED,  # where BERT's loss still stands (Figure 4), half of GPT-2's rise is over
                {"level": level},
            )
            for level in LEVELS
        ),
    ),
    Claim(
        "larger-models-sooner-in-the-rapid-phase",
        tuple(
            criterion
            for level in LEVELS
            for criterion in (
                Criterion(
                    f"sooner, L({level})",
                    "log2 of the steps to the accuracy halfway up the rise of the network with the most heads, fewest "
                    f"heads over most, L({level})",
                    transition_delay,
                    "above",
                    0.0,
                    {"level": level},
                ),
                Criterion(
                    f"more in it, L({level})",
                    f"rise of the accuracy in the first tenth of T0, most heads minus fewest, L({level})",
                    early_rise,
                    "above",
                    POINT,
                    {"level": level},
                ),
            )
        ),
    ),
    Claim(
        "curriculum-of-3-grams",
        (
            Criterion(
                "3-grams first",
                "median M_robust (n = 3) after the first tenth of T0 minus that of the first measured checkpoint",
                change,
                "above",
                0.0,
                {"measure": "robust", "n": 3, "since": 0.0, "until": RAPID},
            ),
            Criterion(
                "less of them later",
                "median M_robust (n = 3) at the end of T0 minus that after its first tenth",
                change,
                "below",
                0.0,
                {"measure": "robust", "n": 3, "since": RAPID, "until": 1.0},
            ),
            Criterion(
                "longer contexts later",
                "median M_close (n = 3) at the end of T0 minus that after its first tenth",
                change,
                "above",
                0.0,
                {"measure": "close", "n": 3, "since": RAPID, "until": 1.0},
            ),
        ),
    ),
)

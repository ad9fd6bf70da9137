"""Criteria of the page `wiki`: written before the runs that they judge.

Tables they read, a row an evaluation or a measured group, with the column `seed` except where it says otherwise:

- `references`: `predictor` (`copy`: token frequencies and what the selected position itself shows), `loss_nats`; no seed
- `teacher`: `step`, `loss_nats`, `accuracy`; every run has the same length T0
- `candidates`: `step` of C1, the checkpoint halfway down the teacher's loss
- `ngrams`: the teacher's `step`, `measure` (`robust`, `close`), `n`, `median`
- `students`: `horizon` (of T0: 0.2, 0.5, 1), `method`, `step`, `accuracy`

An accuracy is a share of selected positions; differences are in these units, 0.01 being a point.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from pdlib.claims import Claim, Criterion, MissingTableError, Tables

ONE_SHOT = ("one_shot", "one_shot_hard")  # both temperatures; a gain is over the better in each seed
OTHERS = (*ONE_SHOT, "cross_entropy")
HORIZONS = {0.2: "a fifth", 0.5: "half", 1.0: "the whole"}  # of T0
NEAR = 0.1  # nats: a loss no further from that of copying stands on the plateau
STILL = 0.1  # nats over T0: a loss that falls no faster stands still
UNMOVED = 0.02  # total variation over T0: a measure that moves no faster stands still
LEAST = 1e-3  # total variation: below it a median is noise
TWICE = 1.0  # log2
A_TENTH = float(np.log2(10 / 9))  # what is left of a peak is at most nine tenths of it


def _table(tables: Tables, name: str) -> pd.DataFrame:
    if name not in tables:
        raise MissingTableError(name)
    return tables[name]


def _first_below(run: pd.DataFrame, level: float) -> float:
    """The step at which a loss comes down to a level, interpolated between evaluations; the last one if it never does."""
    step, loss = run.step.to_numpy(float), run.loss_nats.to_numpy(float)
    reached = np.flatnonzero(loss <= level)
    if not len(reached):
        return float(step[-1])
    i = int(reached[0])
    if i == 0:
        return float(step[0])
    return float(np.interp(level, loss[[i, i - 1]], step[[i, i - 1]]))


def phases(tables: Tables) -> pd.DataFrame:
    """Where the teacher's phases begin and end, in steps, a row a seed.

    Columns: `plateau`, where the loss comes within `NEAR` of that of copying; `drop`, where it leaves it below; `tail`,
    where three quarters of the way from copying to the end are done; `end`. A teacher that never leaves the plateau has
    an empty drop and an empty tail.
    """
    references = _table(tables, "references").set_index("predictor")
    copying = float(references.loss_nats["copy"])

    def of(run: pd.DataFrame) -> pd.Series[float]:
        rows = run.sort_values("step")
        low = copying - 0.75 * (copying - float(rows.loss_nats.iloc[-1]))
        drop = _first_below(rows, copying - NEAR)
        return pd.Series(
            {
                "plateau": _first_below(rows, copying + NEAR),
                "drop": drop,
                "tail": max(drop, _first_below(rows, low)),
                "end": float(rows.step.iloc[-1]),
            }
        )

    return pd.DataFrame(_table(tables, "teacher").groupby("seed")[["step", "loss_nats"]].apply(of))


def _at(rows: pd.DataFrame, column: str, steps: pd.Series[float]) -> pd.Series[float]:
    """A column at a step of each seed, interpolated between measured ones; outside them the nearest.

    A seed that lacks either the rows or the step has no value.
    """

    def at(run: pd.DataFrame) -> float:
        run = run.sort_values("step")
        return float(np.interp(steps.get(run.seed.iloc[0], np.nan), run.step, run[column]))

    found = rows.groupby("seed")[["seed", "step", column]].apply(at)
    return found.reindex(found.index.union(steps.index))


def _rate(tables: Tables, rows: pd.DataFrame, column: str, start: str, stop: str) -> pd.Series[float]:
    """How fast a column changes on average between two ends of phases, over T0; 0 in an empty phase."""
    found = phases(tables)
    length = (found[stop] - found[start]) / found["end"]
    change = _at(rows, column, found[stop]) - _at(rows, column, found[start])
    return pd.Series(change / length.where(length > 0, 1.0))  # over no time a column changes by 0


def fall_ratio(tables: Tables, start: str, stop: str) -> pd.Series[float]:
    """log2 of how fast the teacher's loss falls in its drop over how fast between two other ends of phases.

    Either is at least `STILL`: the logarithm of a slope of about 0 would be noise.
    """
    rows = _table(tables, "teacher")
    drop = -_rate(tables, rows, "loss_nats", "drop", "tail")
    other = -_rate(tables, rows, "loss_nats", start, stop)
    return pd.Series(np.log2(drop.clip(lower=STILL) / other.clip(lower=STILL)))


def _robust(tables: Tables, n: int) -> pd.DataFrame:
    rows = (
        _table(tables, "ngrams")
        .query("measure == 'robust' and n == @n")
        .sort_values("step", ignore_index=True)
    )
    if rows.empty:
        raise MissingTableError(f"ngrams: robust, n = {n}")
    return rows


def rise_in_drop(tables: Tables, n: int = 3) -> pd.Series[float]:
    """log2 of the teacher's M_robust where its drop ends over that where it begins, either at least `LEAST`."""
    rows, found = _robust(tables, n), phases(tables)
    before, after = (_at(rows, "median", found[end]).clip(lower=LEAST) for end in ("drop", "tail"))
    return pd.Series(np.log2(after / before))


def turn_after_drop(tables: Tables, n: int = 3) -> pd.Series[float]:
    """log2 of how fast the teacher's M_robust moves in its drop over how fast after it, either at least `UNMOVED`."""
    rows = _robust(tables, n)
    within, after = (
        _rate(tables, rows, "median", *ends).abs().clip(lower=UNMOVED)
        for ends in (("drop", "tail"), ("tail", "end"))
    )
    return pd.Series(np.log2(within / after))


def fall_from_peak(tables: Tables, n: int = 3) -> pd.Series[float]:
    """log2 of the largest value of the teacher's M_robust over that of its final checkpoint, at least `LEAST`."""
    rows = _robust(tables, n).groupby("seed")["median"]
    return pd.Series(np.log2(rows.max().clip(lower=LEAST) / rows.last().clip(lower=LEAST)))


def peak_from_candidate(tables: Tables, n: int = 3) -> pd.Series[float]:
    """By how many factors of two the step at which M_robust is largest lies away from C1, in either direction."""
    rows = _robust(tables, n)
    peak = rows.loc[rows.groupby("seed")["median"].idxmax()].set_index("seed").step
    candidate = _table(tables, "candidates").set_index("seed").step
    return pd.Series(np.abs(np.log2(peak / candidate.reindex(peak.index))))


def gain(tables: Tables, horizon: float, against: tuple[str, ...] = OTHERS) -> pd.Series[float]:
    """Final accuracy of progressive distillation minus that of the best of others in the same ancestry."""
    runs = _table(tables, "students").query("horizon == @horizon").sort_values("step")
    if runs.empty:
        raise MissingTableError(f"students at {horizon} of T0")
    final = runs.groupby(["seed", "method"]).accuracy.last().unstack()
    return pd.Series(final["progressive"] - final[list(against)].max(axis=1, skipna=False))


def mean_gain(tables: Tables, against: tuple[str, ...]) -> pd.Series[float]:
    """The mean of the gain over all horizons."""
    each = [gain(tables, horizon, against) for horizon in HORIZONS]
    return pd.concat(each, axis=1).mean(axis=1, skipna=False)


_RISES = Criterion(
    "M_robust rises in the drop",
    "log2 of the teacher's M_robust (n = 3) where the drop of its loss ends over that where it begins",
    rise_in_drop,
    "above",
    TWICE,
)

CLAIMS = (
    Claim(
        "Figure 6",
        (
            Criterion(
                "rapid after still",
                "log2 of the mean slope of the loss in its drop over that on the plateau, within 0.1 nats of copying",
                fall_ratio,
                "above",
                0.0,
                {"start": "plateau", "stop": "drop"},
            ),
            Criterion(
                "slow after rapid",
                "log2 of the mean slope of the loss in its drop over that after it",
                fall_ratio,
                "above",
                TWICE,
                {"start": "tail", "stop": "end"},
            ),
            _RISES,
            Criterion(
                "M_robust peaks at C1",
                "factors of two between the step at which M_robust (n = 3) is largest and C1",
                peak_from_candidate,
                "below",
                1.0,
            ),
            Criterion(
                "M_robust falls",
                "log2 of the largest M_robust (n = 3) over that of the final checkpoint",
                fall_from_peak,
                "above",
                A_TENTH,
            ),
            *(
                Criterion(
                    f"{name} of the teacher's steps",
                    f"final accuracy of progressive distillation minus the best of one-shot and labels, {name} of T0",
                    gain,
                    "above",
                    0.0,
                    {"horizon": horizon},
                )
                for horizon, name in HORIZONS.items()
            ),
        ),
    ),
    Claim(
        "inflection-in-natural-language",
        (
            _RISES,
            Criterion(
                "M_robust turns after it",
                "log2 of how fast M_robust (n = 3) moves in the drop over how fast after it",
                turn_after_drop,
                "above",
                TWICE,
            ),
        ),
    ),
    Claim(
        "benefit-in-natural-language",
        (
            Criterion(
                "than one-shot distillation",
                "final accuracy, progressive minus the better one-shot, mean over a fifth, half and the whole of T0",
                mean_gain,
                "above",
                0.0,
                {"against": ONE_SHOT},
            ),
            Criterion(
                "than the data",
                "final accuracy, progressive minus labels, mean over a fifth, half and the whole of T0",
                mean_gain,
                "above",
                0.0,
                {"against": ("cross_entropy",)},
            ),
        ),
    ),
)

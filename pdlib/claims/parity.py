"""Criteria of the page `parity` (MLP): written before the runs that they judge.

Tables they read, a row an evaluation or a measured group, always with the column `seed`:

- `teacher`: `step`, `accuracy` of the teacher; `candidates`: `candidate`, `step`, `accuracy`
- `correlations`: `step`, `degree`, `group`, `mean`, `minimum`, `maximum`
- `students`: `method`, `step`, `accuracy`; `wide_students` (Figure 8) and `fast_students` (Figure 9) likewise
- `fast_correlations`, `fast_candidates`: those of the teacher with the higher rate
- `widths`: `width`, `step`, `accuracy`; `temperatures`: `targets`, `step`, `accuracy`

Speed is judged by the mean accuracy over the evaluations of a run of fixed length: it needs no run to reach
anything, so no run is censored. An accuracy of 0.5 is chance.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from pdlib.claims import Claim, Criterion, MissingTableError, Tables

ONE_SHOT = (
    "one_shot",
    "one_shot_hard",
)  # both temperatures of one-shot distillation; a gain is over the better
HALFWAY = 0.25  # of accuracy: half the way from chance to perfect
TWICE = 1.0  # log2


def _table(tables: Tables, name: str) -> pd.DataFrame:
    if name not in tables:
        raise MissingTableError(name)
    return tables[name]


def _final(tables: Tables, name: str, method: str) -> pd.Series[float]:
    """Accuracy at the end of a method's run, by seed."""
    runs = _table(tables, name).query("method == @method")
    return runs.sort_values("step").groupby("seed").accuracy.last()


def _over_run(tables: Tables, name: str, method: str) -> pd.Series[float]:
    """Mean accuracy over the evaluations of a method's run, by seed."""
    return _table(tables, name).query("method == @method").groupby("seed").accuracy.mean()


def _log2(values: ArrayLike) -> pd.Series[float]:
    return pd.Series(np.log2(values))


def _best(values: list[pd.Series[float]]) -> pd.Series[float]:
    return pd.concat(values, axis=1).max(axis=1)


def final_gain(
    tables: Tables, method: str, against: tuple[str, ...], students: str = "students"
) -> pd.Series[float]:
    """Accuracy at the end of the budget, minus that of the best rival of the same seed."""
    return _final(tables, students, method) - _best([_final(tables, students, m) for m in against])


def speed_gain(
    tables: Tables, method: str, against: tuple[str, ...], students: str = "students"
) -> pd.Series[float]:
    """Mean accuracy over the run, minus that of the best rival of the same seed."""
    return _over_run(tables, students, method) - _best([_over_run(tables, students, m) for m in against])


def final_accuracy(tables: Tables, method: str, students: str = "students") -> pd.Series[float]:
    """Accuracy at the end of the budget."""
    return _final(tables, students, method)


def speed_against_teacher(tables: Tables, method: str) -> pd.Series[float]:
    """Mean accuracy over the student's run minus that over the teacher's, same seed and number of steps."""
    return _over_run(tables, "students", method) - _table(tables, "teacher").groupby("seed").accuracy.mean()


def teacher_deficit(tables: Tables, candidate: str) -> pd.Series[float]:
    """Accuracy of a candidate checkpoint minus the teacher's final one."""
    chosen = _table(tables, "candidates").query("candidate == @candidate").set_index("seed").accuracy
    return chosen - _table(tables, "teacher").sort_values("step").groupby("seed").accuracy.last()


def _peaks(tables: Tables, stage: str) -> pd.DataFrame:
    """Highest degree-1 mean correlation of each group in a stage of the teacher's run, by seed.

    `transition`: accuracy between 0.55 and 0.99; `before`: from the candidate `before` on back to half its step
    (the first steps, when the initial weights still show, are left out).
    """
    rows = (
        _table(tables, "correlations")
        .query("degree == 1")
        .merge(_table(tables, "teacher")[["seed", "step", "accuracy"]], on=["seed", "step"])
    )
    if stage == "transition":
        rows = rows[(rows.accuracy >= 0.55) & (rows.accuracy <= 0.99)]
    else:
        before = _table(tables, "candidates").query("candidate == 'before'").set_index("seed").step
        last = rows.seed.map(before)
        rows = rows[(rows.step <= last) & (rows.step >= last / 2)]
    return rows.pivot_table(index="seed", columns="group", values="mean", aggfunc="max")


def degree_1_gap(tables: Tables, stage: str) -> pd.Series[float]:
    """log2 of the highest in-support over the highest off-support mean correlation in a stage."""
    peaks = _peaks(tables, stage)
    return _log2(peaks.in_support / peaks.off_support)


def degree_1_fading(tables: Tables) -> pd.Series[float]:
    """log2 of the in-support peak in the transition over the in-support value at the end."""
    last = _table(tables, "correlations").query("degree == 1 and group == 'in_support'")
    final = last.sort_values("step").groupby("seed")["mean"].last()
    return _log2(_peaks(tables, "transition").in_support / final)


def clean_gap(tables: Tables, degree: int) -> pd.Series[float]:
    """log2 of the mean in-support over the largest off-support correlation at the fast teacher's middle."""
    middle = _table(tables, "fast_candidates").query("candidate == 'middle'")[["seed", "step"]]
    rows = _table(tables, "fast_correlations").query("degree == @degree").merge(middle, on=["seed", "step"])
    inside = rows.query("group == 'in_support'").set_index("seed")["mean"]
    return _log2(inside / rows.query("group == 'off_support'").set_index("seed")["maximum"])


def width_order(tables: Tables) -> pd.Series[float]:
    """Spearman's rank correlation of width with mean accuracy over the run, by seed."""
    speed = _table(tables, "widths").groupby(["seed", "width"]).accuracy.mean().reset_index()
    ranks = speed.groupby("seed")[["width", "accuracy"]].rank().assign(seed=speed.seed)
    return ranks.groupby("seed")[["width", "accuracy"]].apply(lambda r: r.width.corr(r.accuracy))


def width_gain(tables: Tables) -> pd.Series[float]:
    """Mean accuracy over the run of the widest network minus that of the narrowest."""
    speed = _table(tables, "widths").groupby(["seed", "width"]).accuracy.mean().unstack()
    return speed[speed.columns.max()] - speed[speed.columns.min()]


def hard_label_gain(tables: Tables) -> pd.Series[float]:
    """Final accuracy of the (2, T) student with hard labels minus that of the best one-shot student."""
    hard = (
        _table(tables, "temperatures")
        .query("targets == 'hard'")
        .sort_values("step")
        .groupby("seed")
        .accuracy.last()
    )
    return hard - _best([_final(tables, "students", m) for m in ONE_SHOT]).reindex(hard.index)


def low_temperature_distance(tables: Tables, below: float) -> pd.Series[float]:
    """Largest difference, over temperatures below a bound, of mean accuracy over the run from hard labels'."""
    speed = _table(tables, "temperatures").groupby(["seed", "targets"]).accuracy.mean().unstack()
    low = [c for c in speed.columns if c != "hard" and float(c) < below]
    return speed[low].sub(speed["hard"], axis=0).abs().max(axis=1)


_MIDDLE, _BEFORE, _AFTER = "two_checkpoint_middle", "two_checkpoint_before", "two_checkpoint_after"

CLAIMS = (
    Claim(
        "R1",
        (
            Criterion(
                "gap in the transition",
                "log2 of the peak mean degree-1 correlation in the support over that off it, in the transition",
                degree_1_gap,
                "above",
                TWICE,
                {"stage": "transition"},
            ),
            Criterion(
                "no gap before",
                "the same ratio before the transition",
                degree_1_gap,
                "below",
                TWICE,
                {"stage": "before"},
            ),
            Criterion(
                "fades",
                "log2 of the in-support peak in the transition over the in-support value of the final checkpoint",
                degree_1_fading,
                "above",
                TWICE,
            ),
        ),
    ),
    Claim(
        "R2",
        (
            Criterion(
                "the middle teaches",
                "final accuracy with the checkpoint in the transition minus the best one-shot",
                final_gain,
                "above",
                HALFWAY,
                {"method": _MIDDLE, "against": ONE_SHOT},
            ),
            Criterion(
                "the beginning does not",
                "final accuracy with the checkpoint before the transition minus the best one-shot",
                final_gain,
                "below",
                HALFWAY,
                {"method": _BEFORE, "against": ONE_SHOT},
            ),
            Criterion(
                "the end does not",
                "final accuracy with the checkpoint after the transition minus the best one-shot",
                final_gain,
                "below",
                HALFWAY,
                {"method": _AFTER, "against": ONE_SHOT},
            ),
        ),
    ),
    Claim(
        "Figure 1 (left)",
        (
            Criterion(
                "ahead of one-shot",
                "final accuracy of progressive distillation minus the best one-shot",
                final_gain,
                "above",
                HALFWAY,
                {"method": "progressive", "against": ONE_SHOT},
            ),
            Criterion(
                "ahead of labels",
                "final accuracy of progressive distillation minus cross-entropy",
                final_gain,
                "above",
                HALFWAY,
                {"method": "progressive", "against": ("cross_entropy",)},
            ),
        ),
    ),
    Claim(
        "Figure 2",
        (
            Criterion(
                "correlations",
                "log2 of the peak mean degree-1 correlation in the support over that off it, in the transition",
                degree_1_gap,
                "above",
                TWICE,
                {"stage": "transition"},
            ),
            Criterion(
                "the middle reaches 100 %",
                "final accuracy of the (2, T) student of the middle checkpoint",
                final_accuracy,
                "above",
                0.99,
                {"method": _MIDDLE},
            ),
            Criterion(
                "the beginning does not",
                "final accuracy of the (2, T) student of the checkpoint before",
                final_accuracy,
                "below",
                0.99,
                {"method": _BEFORE},
            ),
            Criterion(
                "the end does not",
                "final accuracy of the (2, T) student of the checkpoint after",
                final_accuracy,
                "below",
                0.99,
                {"method": _AFTER},
            ),
        ),
    ),
    Claim(
        "Figure 7 (left)",
        (
            Criterion(
                "widest against narrowest",
                "mean accuracy over the run, widest minus narrowest",
                width_gain,
                "above",
                0.1,
            ),
            Criterion(
                "order", "rank correlation of width and mean accuracy over the run", width_order, "above", 0.5
            ),
        ),
    ),
    Claim(
        "Figure 8",
        (
            Criterion(
                "the middle speeds up",
                "mean accuracy over the wider student's run with the middle checkpoint minus the best one-shot",
                speed_gain,
                "above",
                0.1,
                {"method": _MIDDLE, "against": ONE_SHOT, "students": "wide_students"},
            ),
            Criterion(
                "the beginning does not",
                "the same with the checkpoint before",
                speed_gain,
                "below",
                0.1,
                {"method": _BEFORE, "against": ONE_SHOT, "students": "wide_students"},
            ),
            Criterion(
                "the end does not",
                "the same with the checkpoint after",
                speed_gain,
                "below",
                0.1,
                {"method": _AFTER, "against": ONE_SHOT, "students": "wide_students"},
            ),
        ),
    ),
    Claim(
        "Figure 9",
        (
            Criterion(
                "no clean gap at degree 1",
                "log2 of the mean in-support over the largest off-support correlation, degree 1, middle checkpoint",
                clean_gap,
                "below",
                0.0,
                {"degree": 1},
            ),
            Criterion(
                "clean gap at degree 2", "the same at degree 2", clean_gap, "above", 0.0, {"degree": 2}
            ),
            Criterion(
                "clean gap at degree 3", "the same at degree 3", clean_gap, "above", 0.0, {"degree": 3}
            ),
            Criterion(
                "the middle speeds up the most",
                "mean accuracy over the run with the middle checkpoint minus the best of the other two candidates",
                speed_gain,
                "above",
                0.0,
                {"method": _MIDDLE, "against": (_BEFORE, _AFTER), "students": "fast_students"},
            ),
        ),
    ),
    Claim(
        "Figure 14 (MLP)",
        (
            Criterion(
                "hard labels help",
                "final accuracy of the (2, T) student with hard labels minus the best one-shot",
                hard_label_gain,
                "above",
                HALFWAY,
            ),
        ),
    ),
    Claim(
        "speed-of-the-large-model",
        (
            Criterion(
                "as fast as the teacher",
                "mean accuracy over the run of the progressive student minus that of its teacher",
                speed_against_teacher,
                "above",
                -0.05,
                {"method": "progressive"},
            ),
        ),
    ),
    Claim(
        "worse-teacher-better-student",
        (
            Criterion(
                "the worse teacher",
                "accuracy of the middle checkpoint minus that of the final one",
                teacher_deficit,
                "below",
                -0.05,
                {"candidate": "middle"},
            ),
            Criterion(
                "the better student",
                "final accuracy with the middle checkpoint minus the best one-shot",
                final_gain,
                "above",
                HALFWAY,
                {"method": _MIDDLE, "against": ONE_SHOT},
            ),
        ),
    ),
    Claim(
        "low-temperature-suffices",
        (
            Criterion(
                "like hard labels",
                "largest difference from hard labels in mean accuracy over the run, temperatures below 0.01",
                low_temperature_distance,
                "below",
                0.05,
                {"below": 0.01},
            ),
        ),
    ),
)

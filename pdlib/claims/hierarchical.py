"""Criteria of the page `hierarchical`: written before the runs that they judge.

Tables they read, a row an evaluation or a measured group, always with the column `seed`:

- `teacher`: `step`, `accuracy`; `candidates`: `candidate`, `step`, `accuracy`
- `features`: `step`, `degree`, `scope`, `node`, `level`, `mean`, from the checkpoint `before` on
- `narrow_students`, `wide_students` (Figure 15): `method`, `step`, `accuracy`
- `narrow_chosen`, `wide_chosen` (Figures 19 and 18): the same, by candidates: `single_2` learns from the second for T
  steps and then from the final checkpoint, `long_2` from the second for 2T, `pair_3_5` from the third and the fifth for T
  each
- `narrow_temperatures`, `wide_temperatures`: the same pair, `method` being the teacher's temperature

Six candidates are numbered in the order of training: 1 before the root is learned, 2 to 5 in the transition, 6 after
it. Chance is one in K classes. Speed is the mean accuracy over the evaluations of a run of fixed length.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdlib.claims import Claim, Criterion, MissingTableError, Tables

ONE_SHOT = ("one_shot", "one_shot_hard")  # both temperatures; a gain is over the better in each seed
SINGLES = tuple(f"single_{i}" for i in range(1, 7))
LONG = tuple(f"long_{i}" for i in range(2, 6))  # one checkpoint for as many steps as a pair has
INSIDE = (
    "pair_2_4",
    "pair_2_5",
    "pair_3_4",
    "pair_3_5",
    "pair_4_5",
)  # both in the transition; no more than singles
OUTSIDE = ("pair_1_3", "pair_1_5", "pair_2_6", "pair_3_6", "pair_5_6")  # one before or after it; as many
CHOSEN = "pair_3_5"  # named beforehand, from teachers and students that are not reported
REACHED = 0.99  # "100 %"
TWICE = 1.0  # log2
APART = 0.5  # checkpoints; an onset is known to one checkpoint
FASTER = 0.1  # of mean accuracy over the run


def _table(tables: Tables, name: str) -> pd.DataFrame:
    if name not in tables:
        raise MissingTableError(name)
    return tables[name]


def _final(tables: Tables, name: str, methods: tuple[str, ...]) -> pd.DataFrame:
    """Accuracy at the end of the budget: a row a seed, a column a method."""
    runs = _table(tables, name).query("method in @methods").sort_values("step")
    return runs.groupby(["seed", "method"]).accuracy.last().unstack()[list(methods)]


def _over_run(tables: Tables, name: str, method: str) -> pd.Series[float]:
    """Mean accuracy over the evaluations of a method's run, by seed."""
    return _table(tables, name).query("method == @method").groupby("seed").accuracy.mean()


def best_final(tables: Tables, methods: tuple[str, ...], students: str) -> pd.Series[float]:
    """Accuracy at the end of the budget of the best of several methods, chosen anew in each seed."""
    return _final(tables, students, methods).max(axis=1, skipna=False)


def spread_of_final(tables: Tables, methods: tuple[str, ...], students: str) -> pd.Series[float]:
    """Accuracy at the end of the budget of the best method minus that of the worst, by seed."""
    final = _final(tables, students, methods)
    return final.max(axis=1, skipna=False) - final.min(axis=1, skipna=False)


def speed_gain(tables: Tables, method: str, against: tuple[str, ...], students: str) -> pd.Series[float]:
    """Mean accuracy over the run, minus that of the best rival of the same seed."""
    rivals = pd.concat([_over_run(tables, students, m) for m in against], axis=1)
    return _over_run(tables, students, method) - rivals.max(axis=1, skipna=False)


def speed_against_teacher(tables: Tables, method: str, students: str) -> pd.Series[float]:
    """Mean accuracy over the student's run minus that over the teacher's, same seed and number of steps."""
    return _over_run(tables, students, method) - _table(tables, "teacher").groupby("seed").accuracy.mean()


def low_temperature_gain(
    tables: Tables, temperature: str, against: tuple[str, ...], temperatures: str, students: str
) -> pd.Series[float]:
    """Accuracy of the pair at one temperature minus that of the best one-shot student at the same step."""
    runs = _table(tables, temperatures).query("method == @temperature").sort_values("step")
    last = runs.groupby("seed").step.last()
    rivals = _table(tables, students).query("method in @against")
    same = rivals[rivals.step == rivals.seed.map(last)]
    return runs.groupby("seed").accuracy.last() - same.groupby("seed").accuracy.max().reindex(last.index)


# ------------------------------------------------------------------ Figure 17


def _along_path(tables: Tables, degree: int) -> pd.DataFrame:
    """Mean correlation of the paper's class 1: a row a seed and rising step, a column a node of its path, 0 the rest."""
    rows = _table(tables, "features").query("degree == @degree and scope == 'class_0'")
    return rows.pivot_table(index=["seed", "step"], columns="node", values="mean")


def spike_over_rest(tables: Tables, degree: int) -> pd.Series[float]:
    """log2 of a feature's highest correlation over the rest's in that checkpoint; of the least clear level."""

    def weakest(run: pd.DataFrame) -> float:
        steps = run.drop(columns=0).idxmax()
        return min(float(np.log2(run[node][step] / run[0][step])) for node, step in steps.items())

    return _by_seed(_along_path(tables, degree), weakest)


def spike_over_end(tables: Tables, degree: int) -> pd.Series[float]:
    """log2 of a feature's highest correlation over its value in the final checkpoint; of the level that fades least."""

    def weakest(run: pd.DataFrame) -> float:
        levels = run.drop(columns=0)  # steps rise
        return float(np.log2(levels.max() / levels.iloc[-1]).min())

    return _by_seed(_along_path(tables, degree), weakest)


def onset_gap(tables: Tables, degree: int) -> pd.Series[float]:
    """Smallest distance, in checkpoints, between the steps at which two levels' features first stand out.

    A feature stands out when its correlation is more than twice the rest's; one that never does so counts as 0
    checkpoints away from the others.
    """

    def smallest(run: pd.DataFrame) -> float:
        out = _stands_out(run)
        return float(np.diff(np.sort(out.argmax(axis=0))).min()) if out.any(axis=0).all() else 0.0

    return _by_seed(_along_path(tables, degree), smallest)


def noisier_at_degree_1(tables: Tables) -> pd.Series[float]:
    """How much more the correlations jump from checkpoint to checkpoint at degree 1 than at degree 2.

    The mean absolute log2 of a value over the one before it, over the levels, and over the checkpoints from the first
    in which a level stands out at degree 2 to candidate 6.
    """
    last = _table(tables, "candidates").query("candidate == 6").set_index("seed").step
    second = _along_path(tables, 2)
    first = {seed: int(_stands_out(run).any(axis=1).argmax()) for seed, run in second.groupby(level="seed")}

    def jumps(run: pd.DataFrame) -> float:
        seed = run.index.get_level_values("seed")[0]
        shown = run[run.index.get_level_values("step") <= last[seed]].iloc[first[seed] :]
        return float(np.abs(np.diff(np.log2(shown.drop(columns=0)), axis=0)).mean())

    return _by_seed(_along_path(tables, 1), jumps) - _by_seed(second, jumps)


def _stands_out(run: pd.DataFrame) -> NDArray[np.bool_]:
    """Whether each level's correlation is more than twice the rest's, (checkpoint, level)."""
    return (run.drop(columns=0).to_numpy() > 2 * run[[0]].to_numpy()).astype(np.bool_)


def _by_seed(table: pd.DataFrame, effect: Callable[[pd.DataFrame], float]) -> pd.Series[float]:
    return pd.Series({seed: effect(run) for seed, run in table.groupby(level="seed")})


# ----------------------------------------------------------------- the claims


def _figure(students: str, one_shot: str, temperatures: str) -> tuple[Criterion, ...]:
    """Return the parts of Figure 18 or 19."""
    return (
        Criterion(
            "two suffice",
            "final accuracy of the best pair of checkpoints from the transition",
            best_final,
            "above",
            REACHED,
            {"methods": INSIDE, "students": students},
        ),
        Criterion(
            "the pair named beforehand suffices",
            "final accuracy with the third and the fifth candidate",
            best_final,
            "above",
            REACHED,
            {"methods": (CHOSEN,), "students": students},
        ),
        Criterion(
            "one does not",
            "final accuracy of the best single checkpoint",
            best_final,
            "below",
            REACHED,
            {"methods": SINGLES, "students": students},
        ),
        Criterion(
            "nor one for twice as long",
            "final accuracy of the best single checkpoint from the transition, for as many steps as both of a pair",
            best_final,
            "below",
            REACHED,
            {"methods": LONG, "students": students},
        ),
        Criterion(
            "the choice matters",
            "final accuracy of the best pair from the transition minus that of the worst",
            spread_of_final,
            "above",
            FASTER,
            {"methods": INSIDE, "students": students},
        ),
        Criterion(
            "at a very low temperature too",
            "final accuracy of that pair at temperature 1e-4 minus the best one-shot at the same step",
            low_temperature_gain,
            "above",
            0.25,
            {
                "temperature": "0.0001",
                "against": ONE_SHOT,
                "temperatures": temperatures,
                "students": one_shot,
            },
        ),
    )


_NARROW = ("narrow_chosen", "narrow_students", "narrow_temperatures")
_WIDE = ("wide_chosen", "wide_students", "wide_temperatures")

CLAIMS = (
    Claim(
        "Figure 15",
        tuple(
            Criterion(
                f"{name} student",
                f"mean accuracy over the {name} student's run, progressive minus the best one-shot",
                speed_gain,
                "above",
                FASTER,
                {"method": "progressive", "against": ONE_SHOT, "students": f"{name}_students"},
            )
            for name in ("narrow", "wide")
        ),
    ),
    Claim(
        "Figure 17",
        (
            *(
                part
                for degree in (1, 2)
                for part in (
                    Criterion(
                        f"features stand out, degree {degree}",
                        f"log2 of each level's highest degree-{degree} correlation over the rest's, least level",
                        spike_over_rest,
                        "above",
                        TWICE,
                        {"degree": degree},
                    ),
                    Criterion(
                        f"and fade, degree {degree}",
                        "log2 of the same over the level's value in the final checkpoint, least level",
                        spike_over_end,
                        "above",
                        TWICE,
                        {"degree": degree},
                    ),
                    Criterion(
                        f"at different steps, degree {degree}",
                        "smallest distance between the steps at which two levels first stand out, in checkpoints",
                        onset_gap,
                        "above",
                        APART,
                        {"degree": degree},
                    ),
                )
            ),
            Criterion(
                "degree 1 is noisier",
                "mean jump (log2) from checkpoint to checkpoint in the transition, degree 1 minus degree 2",
                noisier_at_degree_1,
                "above",
                0.0,
            ),
        ),
    ),
    Claim("Figure 18", _figure(*_WIDE)),
    Claim("Figure 19", _figure(*_NARROW)),
    Claim(
        "one-checkpoint-is-not-enough",
        tuple(
            Criterion(
                f"{name} student, {length}",
                f"final accuracy of the {name} student of the best single checkpoint, for {length}",
                best_final,
                "below",
                REACHED,
                {"methods": methods, "students": f"{name}_chosen"},
            )
            for name in ("narrow", "wide")
            for length, methods in (("T steps", SINGLES), ("2T steps", LONG))
        ),
    ),
    Claim(
        "both-checkpoints-in-the-transition",
        tuple(
            part
            for name in ("narrow", "wide")
            for part in (
                Criterion(
                    f"both inside, {name} student",
                    f"final accuracy of the {name} student of the best pair from the transition",
                    best_final,
                    "above",
                    REACHED,
                    {"methods": INSIDE, "students": f"{name}_chosen"},
                ),
                Criterion(
                    f"one outside, {name} student",
                    f"final accuracy of the {name} student of the best pair with one checkpoint outside",
                    best_final,
                    "below",
                    REACHED,
                    {"methods": OUTSIDE, "students": f"{name}_chosen"},
                ),
            )
        ),
    ),
    Claim(
        "small-student-as-fast-as-its-teacher",
        (
            Criterion(
                "as fast as the teacher",
                "mean accuracy over the narrow student's run, progressive, minus that over its teacher's",
                speed_against_teacher,
                "above",
                -0.05,
                {"method": "progressive", "students": "narrow_students"},
            ),
            Criterion(
                "reaches 100 %",
                "final accuracy of the narrow student by progressive distillation",
                best_final,
                "above",
                REACHED,
                {"methods": ("progressive",), "students": "narrow_students"},
            ),
        ),
    ),
)

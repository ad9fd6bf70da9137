"""Criteria of the page `pcfg`: written before the runs that they judge.

Tables they read, a row an evaluation or a measured group, always with the column `seed`:

- `teacher`: `step`, `loss_nats`, `accuracy`; every run has the same length T0
- `candidates`: `candidate`, `step`: `loss` is the checkpoint halfway down the teacher's loss, `robust` that of the
  largest M_robust at n = 3
- `ngrams`: the teacher's `step`, `measure` (`robust`, `close`), `n`, `median`
- `nonterminals`: the teacher's `step` (0 is the untrained network), `level`, `accuracy`
- `checkpoints`: `checkpoint` (a step, or a candidate's name), `step`, `accuracy` of (2, T) students
- `students`: `horizon` (of T0: 0.25, 0.5), `method`, `step`, `accuracy`
- `heads`: `n_heads`, `step`, `accuracy`; `variants`: as `students`, with the student's `size` (`small`, `strong`), up to
  the horizon 1; `elsewhere`: `setting` (`as above`, `p = ...`, a grammar's name), `method`, `step`, `accuracy`
- `student_ngrams`, `student_nonterminals`: as the teacher's, at the end of a student's run of a quarter of T0, by `method`

An accuracy is a share of selected positions; differences are in these units, 0.01 being a point.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from pdlib.claims import Claim, Criterion, MissingTableError, Tables

ONE_SHOT = ("one_shot", "one_shot_hard")  # both temperatures; a gain is over the better in each seed
ANY = (*ONE_SHOT, "cross_entropy")
POINT = 0.01  # of accuracy
TWICE = 1.0  # log2
EARLY, RAPID = 0.05, 0.25  # of T0: where the paper's first and second phase end
STILL = 0.1  # nats over T0: a loss that falls no faster stands still


def _table(tables: Tables, name: str) -> pd.DataFrame:
    if name not in tables:
        raise MissingTableError(name)
    return tables[name]


def _final(tables: Tables, horizon: float) -> pd.DataFrame:
    """Accuracy at the end of runs of a horizon: a row a seed, a column a method."""
    runs = _table(tables, "students").query("horizon == @horizon").sort_values("step")
    if runs.empty:
        raise MissingTableError(f"students at {horizon} of T0")
    return runs.groupby(["seed", "method"]).accuracy.last().unstack()


def final_gain(
    tables: Tables, method: str, against: tuple[str, ...], horizon: float = 0.25
) -> pd.Series[float]:
    """Final accuracy of a method minus that of the best of others in the same ancestry."""
    final = _final(tables, horizon)
    return pd.Series(final[method] - final[list(against)].max(axis=1, skipna=False))


def _loss_at(tables: Tables, share: float) -> pd.Series[float]:
    """The teacher's loss at a share of its run, interpolated between evaluations, by seed."""

    def at(run: pd.DataFrame) -> float:
        rows = run.sort_values("step")
        return float(np.interp(share * rows.step.iloc[-1], rows.step, rows.loss_nats))

    return _table(tables, "teacher").groupby("seed")[["step", "loss_nats"]].apply(at)


def slope_ratio(tables: Tables, one: tuple[float, float], other: tuple[float, float]) -> pd.Series[float]:
    """log2 of how fast the teacher's loss falls on average in one part of its run over how fast in another.

    Either is at least `STILL`: the logarithm of a slope of about 0 would be noise.
    """

    def slope(part: tuple[float, float]) -> pd.Series[float]:
        fall = (_loss_at(tables, part[0]) - _loss_at(tables, part[1])) / (part[1] - part[0])
        return fall.clip(lower=STILL)

    return pd.Series(np.log2(slope(one) / slope(other)))


def _measured(tables: Tables, name: str, measure: str, n: int) -> pd.DataFrame:
    rows = _table(tables, name).query("measure == @measure and n == @n")
    if rows.empty:
        raise MissingTableError(f"{name}: {measure}, n = {n}")
    return rows


def peak_time(tables: Tables, measure: str = "robust", n: int = 3) -> pd.Series[float]:
    """Where the teacher's measure is largest, as a share of its run."""
    rows = _measured(tables, "ngrams", measure, n).sort_values("step")
    at = rows.loc[rows.groupby("seed")["median"].idxmax()].set_index("seed").step
    return at / _table(tables, "teacher").groupby("seed").step.max().reindex(at.index)


def fall_from_peak(tables: Tables, measure: str = "robust", n: int = 3) -> pd.Series[float]:
    """log2 of the largest value of a teacher's measure over that of its final checkpoint, at least 0.001."""
    rows = _measured(tables, "ngrams", measure, n).sort_values("step").groupby("seed")["median"]
    return pd.Series(np.log2(rows.max() / rows.last().clip(lower=1e-3)))


def rise_to_peak(tables: Tables, measure: str = "robust", n: int = 3) -> pd.Series[float]:
    """log2 of the largest value of a teacher's measure over that at the end of the first phase, at least 0.001."""
    rows = _measured(tables, "ngrams", measure, n).sort_values("step")
    last = rows.seed.map(_table(tables, "teacher").groupby("seed").step.max())
    early = rows[rows.step <= EARLY * last].groupby("seed")["median"].last()
    if early.empty:
        raise MissingTableError(f"ngrams up to {EARLY} of T0")
    return pd.Series(np.log2(rows.groupby("seed")["median"].max() / early.clip(lower=1e-3)))


def _by_checkpoint(tables: Tables) -> pd.DataFrame:
    """Final accuracy of (2, T) students: a row a seed, a column a first checkpoint, as text."""
    runs = _table(tables, "checkpoints").sort_values("step")
    return (
        runs.assign(checkpoint=runs.checkpoint.astype(str))
        .groupby(["seed", "checkpoint"])
        .accuracy.last()
        .unstack()
    )


def candidate_gain(tables: Tables, candidate: str, against: str) -> pd.Series[float]:
    """Final accuracy of a candidate's student minus that of the first, the last or the best checkpoint of the grid."""
    final = _by_checkpoint(tables)
    grid = sorted((c for c in final.columns if c.isdigit()), key=int)
    chosen = {"first": grid[:1], "last": grid[-1:], "best": grid}[against]
    return pd.Series(final[candidate] - final[chosen].max(axis=1, skipna=False))


def close_turn(tables: Tables, n: int) -> pd.Series[float]:
    """log2 of the teacher's M_close at the checkpoint halfway down its loss over that of its final one, at least 0.001."""
    rows = _measured(tables, "ngrams", "close", n).sort_values("step")
    step = _table(tables, "candidates").query("candidate == 'loss'").set_index("seed").step
    at = rows[rows.step >= rows.seed.map(step)].groupby("seed")["median"].first()
    return pd.Series(np.log2(at.clip(lower=1e-3) / rows.groupby("seed")["median"].last().clip(lower=1e-3)))


def probe_share(tables: Tables) -> pd.Series[float]:
    """Mean probe accuracy over levels at the checkpoint halfway down the loss, over that of the final one."""
    rows = _table(tables, "nonterminals")
    rows = rows.groupby(["seed", "step"]).accuracy.mean().reset_index().sort_values("step")
    step = _table(tables, "candidates").query("candidate == 'loss'").set_index("seed").step
    at = rows[rows.step >= rows.seed.map(step)].groupby("seed").accuracy.first()
    return pd.Series(at / rows.groupby("seed").accuracy.last())


def student_measure(tables: Tables, measure: str, n: int, against: tuple[str, ...] = ANY) -> pd.Series[float]:
    """A progressively distilled student's median measure minus the lowest of other methods'."""
    rows = _measured(tables, "student_ngrams", measure, n)
    value = rows.set_index(["seed", "method"])["median"].unstack()
    return pd.Series(value["progressive"] - value[list(against)].min(axis=1, skipna=False))


def student_probe(tables: Tables, n_levels: int, against: tuple[str, ...] = ANY) -> pd.Series[float]:
    """Mean probe accuracy over the levels nearest to the root, progressive minus the best of other methods."""
    rows = _table(tables, "student_nonterminals")
    highest = sorted(rows.level.unique())[:n_levels]
    value = rows[rows.level.isin(highest)].groupby(["seed", "method"]).accuracy.mean().unstack()
    return pd.Series(value["progressive"] - value[list(against)].max(axis=1, skipna=False))


def heads_delay(tables: Tables) -> pd.Series[float]:
    """log2 of the steps to 80 % of a network's own final accuracy, fewest heads over most, by seed."""

    def steps(run: pd.DataFrame) -> float:
        rows = run.sort_values("step")
        return max(1.0, float(rows.step[rows.accuracy >= 0.8 * rows.accuracy.iloc[-1]].iloc[0]))

    found = _table(tables, "heads").groupby(["seed", "n_heads"])[["step", "accuracy"]].apply(steps).unstack()
    return pd.Series(np.log2(found[found.columns.min()] / found[found.columns.max()]))


def heads_final(tables: Tables) -> pd.Series[float]:
    """Final accuracy with the most heads minus that with the fewest."""
    rows = _table(tables, "heads").sort_values("step")
    final = rows.groupby(["seed", "n_heads"]).accuracy.last().unstack()
    return final[final.columns.max()] - final[final.columns.min()]


def variant_gain(
    tables: Tables, size: str, horizon: float, method: str, against: tuple[str, ...]
) -> pd.Series[float]:
    """Final accuracy of a method minus that of the best of others, for a student's size and a horizon."""
    rows = _table(tables, "variants")
    rows = rows[(rows["size"] == size) & (rows.horizon == horizon)].sort_values("step")
    if rows.empty:
        raise MissingTableError(f"variants: {size} students at {horizon} of T0")
    final = rows.groupby(["seed", "method"]).accuracy.last().unstack()
    return pd.Series(final[method] - final[list(against)].max(axis=1, skipna=False))


def lead_over_teacher(tables: Tables, method: str, horizon: float) -> pd.Series[float]:
    """Final accuracy of the small student after a share of T0 minus its teacher's accuracy at that step of its own run."""
    rows = _table(tables, "variants").query("size == 'small' and horizon == @horizon and method == @method")
    if rows.empty:
        raise MissingTableError(f"variants: {method} at {horizon} of T0")
    final = rows.sort_values("step").groupby("seed").accuracy.last()

    def at(run: pd.DataFrame) -> float:
        rows = run.sort_values("step")
        return float(np.interp(horizon * rows.step.iloc[-1], rows.step, rows.accuracy))

    teacher = _table(tables, "teacher").groupby("seed")[["step", "accuracy"]].apply(at)
    return pd.Series(final - teacher.reindex(final.index))


def _gains_elsewhere(tables: Tables) -> pd.DataFrame:
    """Progressive minus one-shot, both with hard labels: a row a seed, a column a setting."""
    rows = _table(tables, "elsewhere").sort_values("step")
    final = rows.groupby(["seed", "setting", "method"]).accuracy.last().unstack()
    return (final["progressive"] - final["one_shot_hard"]).unstack()


def mask_rate_gain(tables: Tables) -> pd.Series[float]:
    """The smallest gain of progressive over one-shot distillation at the other mask rates."""
    gains = _gains_elsewhere(tables)
    rates = [c for c in gains.columns if c.startswith("p = ")]
    if not rates:
        raise MissingTableError("elsewhere: mask rates")
    return gains[rates].min(axis=1, skipna=False)


def grammar_gain(tables: Tables, setting: str) -> pd.Series[float]:
    """The gain of progressive over one-shot distillation on another grammar minus that on the page's own."""
    gains = _gains_elsewhere(tables)
    if setting not in gains:
        raise MissingTableError(f"elsewhere: {setting}")
    return gains[setting] - gains["as above"]


def shrinking(tables: Tables) -> pd.Series[float]:
    """The gain of progressive over the best one-shot distillation after a quarter of T0 minus that after half of it."""
    return final_gain(tables, "progressive", ONE_SHOT, 0.25) - final_gain(
        tables, "progressive", ONE_SHOT, 0.5
    )


def _ahead(horizon: float, name: str) -> Criterion:
    return Criterion(
        f"{name} of the teacher's steps",
        f"final accuracy of progressive distillation minus the best of one-shot and labels, {name} of T0",
        final_gain,
        "above",
        0.0,
        {"method": "progressive", "against": ANY, "horizon": horizon},
    )


_BEST = "final accuracy of the (2, T) student of the checkpoint halfway down the loss minus"
_INFLECTION = (
    Criterion(
        "not worse than any other",
        f"{_BEST} the best of the grid's",
        candidate_gain,
        "above",
        -POINT,
        {"candidate": "loss", "against": "best"},
    ),
    Criterion(
        "better than early",
        f"{_BEST} that of the grid's first checkpoint",
        candidate_gain,
        "above",
        POINT,
        {"candidate": "loss", "against": "first"},
    ),
    Criterion(
        "better than late",
        f"{_BEST} that of the grid's last checkpoint",
        candidate_gain,
        "above",
        POINT,
        {"candidate": "loss", "against": "last"},
    ),
)

_MATURE = Criterion(
    "the probe is nearly done",
    "mean probe accuracy at that checkpoint over that of the final one",
    probe_share,
    "above",
    0.95,
)
_SOONER = Criterion(
    "sooner",
    "log2 of the steps to 80 % of a network's final accuracy, fewest heads over most",
    heads_delay,
    "above",
    0.0,
)
_SOFT_LOSES = Criterion(
    "temperature 1 can lose",
    "final accuracy after a quarter of T0, progressive at temperature 1 minus the best one-shot, strong student",
    variant_gain,
    "below",
    0.0,
    {"size": "strong", "horizon": 0.25, "method": "progressive_soft", "against": ONE_SHOT},
)
_SHRINKS = Criterion(
    "shrinks",
    "gain of progressive over the best one-shot after a quarter of T0 minus that after half of it",
    shrinking,
    "above",
    0.0,
)

CLAIMS = (
    Claim("R4", _INFLECTION),
    Claim(
        "R5",
        (
            Criterion(
                "less M_robust",
                "median M_robust (n = 3) of the progressive student minus the lowest of the others'",
                student_measure,
                "below",
                0.0,
                {"measure": "robust", "n": 3},
            ),
            Criterion(
                "less M_close",
                "median M_close (n = 7) of the progressive student minus the lowest of the others'",
                student_measure,
                "below",
                0.0,
                {"measure": "close", "n": 7},
            ),
            Criterion(
                "non-terminals",
                "probe accuracy over all levels, progressive minus the best of the others",
                student_probe,
                "above",
                0.0,
                {"n_levels": 99},
            ),
        ),
    ),
    Claim("Figure 1 (right)", (_ahead(0.25, "a quarter"), _ahead(0.5, "half"))),
    Claim(
        "Figure 4",
        (
            Criterion(
                "rapid after still",
                "log2 of the mean slope of the loss in the second phase (5 to 25 % of T0) over that in the plateau before "
                "it (2.5 to 5 %)",
                slope_ratio,
                "above",
                0.0,
                {"one": (EARLY, RAPID), "other": (EARLY / 2, EARLY)},
            ),
            Criterion(
                "slow after rapid",
                "log2 of the mean slope of the loss in the second phase over that after it",
                slope_ratio,
                "above",
                TWICE,
                {"one": (EARLY, RAPID), "other": (RAPID, 1.0)},
            ),
            Criterion(
                "M_robust rises",
                "log2 of the largest M_robust (n = 3) over that at the end of the first phase",
                rise_to_peak,
                "above",
                TWICE,
            ),
            Criterion(
                "M_robust falls",
                "log2 of the largest M_robust (n = 3) over that of the final checkpoint",
                fall_from_peak,
                "above",
                TWICE,
            ),
            Criterion(
                "M_robust peaks in the drop",
                "where M_robust (n = 3) is largest, as a share of T0",
                peak_time,
                "below",
                RAPID,
            ),
            *_INFLECTION,
        ),
    ),
    Claim(
        "Figure 5",
        (
            Criterion(
                "M_close of long windows",
                "median M_close (n = 7) of the progressive student minus the lowest of the others'",
                student_measure,
                "below",
                0.0,
                {"measure": "close", "n": 7},
            ),
            *(
                Criterion(
                    f"M_robust, n = {n}",
                    f"median M_robust (n = {n}) of the progressive student minus the lowest of the others'",
                    student_measure,
                    "below",
                    0.0,
                    {"measure": "robust", "n": n},
                )
                for n in (3, 5)
            ),
            Criterion(
                "high levels",
                "probe accuracy at the level nearest to the root, progressive minus the best of the others",
                student_probe,
                "above",
                0.0,
                {"n_levels": 1},
            ),
        ),
    ),
    Claim(
        "Figure 22",
        (
            Criterion(
                "M_close falls from the middle on",
                "log2 of M_close (n = 7) at the checkpoint halfway down the loss over that of the final one",
                close_turn,
                "above",
                TWICE,
                {"n": 7},
            ),
            _MATURE,
        ),
    ),
    Claim(
        "Figure 23",
        (
            _SOONER,
            Criterion(
                "better",
                "final accuracy with the most heads minus that with the fewest",
                heads_final,
                "above",
                POINT,
            ),
        ),
    ),
    Claim(
        "Figure 24",
        tuple(
            Criterion(
                f"{part}, {size} student",
                f"final accuracy after {run} of T0, {text}, {size} student",
                variant_gain,
                "above",
                0.0,
                {"size": size, "horizon": horizon, "method": method, "against": against},
            )
            for size in ("small", "strong")
            for part, run, horizon, method, against, text in (
                (
                    "half beats one-shot",
                    "a quarter",
                    0.25,
                    "progressive_half",
                    ONE_SHOT,
                    "the split over half of T0 minus the best one-shot",
                ),
                (
                    "equal split beats one-shot",
                    "a quarter",
                    0.25,
                    "progressive_split",
                    ONE_SHOT,
                    "the split over the run minus the best one-shot",
                ),
                (
                    "half is better early",
                    "a quarter",
                    0.25,
                    "progressive_half",
                    ("progressive_split",),
                    "the split over half of T0 minus that over the run",
                ),
                (
                    "equal split is better late",
                    "the whole",
                    1.0,
                    "progressive_split",
                    ("progressive_half",),
                    "the split over the run minus that over half of T0",
                ),
            )
        ),
    ),
    Claim(
        "Figure 25",
        (
            *(
                Criterion(
                    f"hard labels, {size} student",
                    f"final accuracy after a quarter of T0, hard labels, minus the best one-shot, {size} student",
                    variant_gain,
                    "above",
                    0.0,
                    {"size": size, "horizon": 0.25, "method": "progressive", "against": ONE_SHOT},
                )
                for size in ("small", "strong")
            ),
            _SOFT_LOSES,
        ),
    ),
    Claim(
        "Figure 26",
        (
            Criterion(
                "at every mask rate",
                "final accuracy after a quarter of T0, progressive minus one-shot, the smallest over the other mask rates",
                mask_rate_gain,
                "above",
                0.0,
            ),
            _SHRINKS,
        ),
    ),
    Claim(
        "Figure 27",
        (
            Criterion(
                "less on cfg3i",
                "gain of progressive over one-shot distillation on cfg3i minus that on cfg3b, after a quarter of T0",
                grammar_gain,
                "below",
                0.0,
                {"setting": "cfg3i"},
            ),
        ),
    ),
    Claim("gap-closes-with-training", (_SHRINKS,)),
    Claim("probe-mature-at-mid-drop", (_MATURE,)),
    Claim("steps-to-most-of-the-final-accuracy", (_SOONER,)),
    Claim("soft-progressive-can-lose", (_SOFT_LOSES,)),
    Claim(
        "half-the-teachers-time",
        tuple(
            Criterion(
                f"after {name} of the teacher's steps",
                f"final accuracy after {name} of T0, split over half of it, minus the teacher's at that step",
                lead_over_teacher,
                "above",
                0.0,
                {"method": "progressive_half", "horizon": horizon},
            )
            for name, horizon in (("a quarter", 0.25), ("the whole", 1.0))
        ),
    ),
)

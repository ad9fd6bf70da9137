"""Effects of the pages `parity`, `parity_transformers` and `hierarchical`: correlations, attention, features of a tree."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdlib.claims.effects.shared import Measure, MissingTableError, Tables, UndecidedError, _by, _log2, _rows

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
    """Mean correlation of the paper's class 1: a row per seed and rising step, a column per node of its path, 0 the rest."""
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

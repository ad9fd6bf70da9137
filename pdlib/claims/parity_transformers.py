"""Criteria of the page `parity_transformers`: written before the runs that they judge.

Tables they read, a row an evaluation or a measured group, always with the column `seed`:

- `teacher`, `candidates`, `correlations`, `students`, `temperatures`: as on the page `parity`
- `attention`: `step` (0 is the untrained network), `on_support`
- `heads`: `n_heads`, `step`, `accuracy`, one initial scale for all; `scaled_heads`: that scale divided by the
  square root of the width; `fixed_width_heads` (Figure 10b) and `averaged_heads` (10c) likewise
- `sizes`: `method` (`heads`, `head_size`, `mlp_width`: where the same number of parameters went), `step`, `accuracy`
- `depths`: `n_layers`, `step`, `accuracy`
- `spikes`: `step`, `accuracy` of the students of a second spike's checkpoint; without a row if no teacher has one

Speed is judged by the mean accuracy over the evaluations of a run of fixed length: it needs no run to reach
anything, so no run is censored. An accuracy of 0.5 is chance.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from pdlib.claims import Claim, Criterion, MissingTableError, Tables, UndecidedError
from pdlib.claims.parity import (
    ONE_SHOT,
    TWICE,
    low_temperature_distance,
    speed_against_teacher,
    speed_gain,
)

FASTER = 0.1  # of mean accuracy over the run: a fifth of the way from chance to perfect
_MIDDLE, _BEFORE, _AFTER = "two_checkpoint_middle", "two_checkpoint_before", "two_checkpoint_after"


def _table(tables: Tables, name: str) -> pd.DataFrame:
    if name not in tables:
        raise MissingTableError(name)
    return tables[name]


def _speed(tables: Tables, name: str, by: str) -> pd.DataFrame:
    """Mean accuracy over the run, a row a seed, a column a value of `by`."""
    return _table(tables, name).groupby(["seed", by]).accuracy.mean().unstack()


def _peaks(tables: Tables, stage: str) -> pd.DataFrame:
    """Highest degree-1 mean correlation of each group in a stage of the teacher's run, by seed.

    `transition`: after the candidate `before`, up to the candidate `after`; `before`: from the candidate `before` on back to
    half its step (the first steps, when the initial weights still show, are left out).
    """
    rows = _table(tables, "correlations").query("degree == 1")
    at = _table(tables, "candidates").pivot_table(index="seed", columns="candidate", values="step")
    before, after = rows.seed.map(at.before), rows.seed.map(at.after)
    chosen = {
        "transition": (rows.step > before) & (rows.step <= after),
        "before": (rows.step >= before / 2) & (rows.step <= before),
    }
    return rows[chosen[stage]].pivot_table(index="seed", columns="group", values="mean", aggfunc="max")


def degree_1_gap(tables: Tables, stage: str) -> pd.Series[float]:
    """log2 of the highest in-support over the highest off-support mean correlation in a stage."""
    peaks = _peaks(tables, stage)
    return pd.Series(np.log2(peaks.in_support / peaks.off_support))


def degree_1_fading(tables: Tables) -> pd.Series[float]:
    """log2 of the in-support peak in the transition over the in-support value at the end."""
    inside = _table(tables, "correlations").query("degree == 1 and group == 'in_support'")
    final = inside.sort_values("step").groupby("seed")["mean"].last()
    return pd.Series(np.log2(_peaks(tables, "transition").in_support / final))


def heads_gain(tables: Tables, name: str = "heads") -> pd.Series[float]:
    """Mean accuracy over the run with the most heads minus that with the fewest."""
    speed = _speed(tables, name, "n_heads")
    return speed[speed.columns.max()] - speed[speed.columns.min()]


def heads_order(tables: Tables, name: str = "heads") -> pd.Series[float]:
    """Spearman's rank correlation of the number of heads with mean accuracy over the run, by seed."""
    speed = _table(tables, name).groupby(["seed", "n_heads"]).accuracy.mean().reset_index()
    ranks = speed.groupby("seed")[["n_heads", "accuracy"]].rank().assign(seed=speed.seed)
    return ranks.groupby("seed")[["n_heads", "accuracy"]].apply(lambda r: r.n_heads.corr(r.accuracy))


def size_gain(tables: Tables, into: str, against: str) -> pd.Series[float]:
    """Mean accuracy over the run of parameters put into one part minus that of as many put into another."""
    speed = _speed(tables, "sizes", "method")
    return speed[into] - speed[against]


def depth_gain(tables: Tables) -> pd.Series[float]:
    """Mean accuracy over the run with two layers minus that with one."""
    speed = _speed(tables, "depths", "n_layers")
    return speed[2] - speed[1]


def _mass(tables: Tables, stage: str) -> pd.Series[float]:
    """Path mass on the support at a candidate, untrained or at the end, by seed."""
    rows = _table(tables, "attention").sort_values("step")
    if stage == "untrained":
        return rows.query("step == 0").set_index("seed").on_support
    if stage == "end":
        return rows.groupby("seed").on_support.last()
    at = _table(tables, "candidates").query("candidate == @stage")[["seed", "step"]]
    return rows.merge(at, on=["seed", "step"]).set_index("seed").on_support


def mass_growth(tables: Tables) -> pd.Series[float]:
    """Path mass on the support at the end minus that of the untrained network."""
    return _mass(tables, "end") - _mass(tables, "untrained")


def mass_grown(tables: Tables, candidate: str) -> pd.Series[float]:
    """Growth of the path mass up to a candidate, minus half of its whole growth."""
    start = _mass(tables, "untrained")
    return _mass(tables, candidate) - start - 0.5 * (_mass(tables, "end") - start)


def soft_label_gain(tables: Tables, soft: str, against: str) -> pd.Series[float]:
    """Mean accuracy over the (2, T) student's run at one kind of targets minus that at another."""
    speed = _speed(tables, "temperatures", "targets")
    return speed[soft] - speed[against]


def hard_label_speed(tables: Tables) -> pd.Series[float]:
    """Mean accuracy over the run of the (2, T) student with hard labels minus the best one-shot student's."""
    hard = _speed(tables, "temperatures", "targets")["hard"]
    students = _speed(tables, "students", "method")
    return hard - students[list(ONE_SHOT)].max(axis=1).reindex(hard.index)


def spike_gain(tables: Tables) -> pd.Series[float]:
    """Mean accuracy over the run of a second spike's student minus the best one-shot student's.

    Raises
    ------
    UndecidedError
        If no teacher has a second spike.
    """
    spikes = _table(tables, "spikes")
    if spikes.empty:
        raise UndecidedError("no teacher's correlations spike again after the transition")
    spike = spikes.groupby("seed").accuracy.mean()
    return spike - _speed(tables, "students", "method")[list(ONE_SHOT)].max(axis=1).reindex(spike.index)


def _gain(name: str, text: str, method: str, against: tuple[str, ...]) -> Criterion:
    return Criterion(name, text, speed_gain, "above", FASTER, {"method": method, "against": against})


def _no_gain(name: str, text: str, method: str) -> Criterion:
    return Criterion(name, text, speed_gain, "below", FASTER, {"method": method, "against": ONE_SHOT})


_GAP = Criterion(
    "gap in the transition",
    "log2 of the peak mean degree-1 correlation in the support over that off it, in the transition",
    degree_1_gap,
    "above",
    TWICE,
    {"stage": "transition"},
)
_MIDDLE_TEACHES = _gain(
    "the middle teaches",
    "mean accuracy over the run with the checkpoint in the transition minus the best one-shot",
    _MIDDLE,
    ONE_SHOT,
)
_MOST_AGAINST_FEWEST = "mean accuracy over the run, most heads minus fewest"
_ORDER = "rank correlation of the number of heads and mean accuracy over the run"

CLAIMS = (
    Claim(
        "R1 (Transformer)",
        (
            _GAP,
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
        "R2 (Transformer)",
        (
            _MIDDLE_TEACHES,
            _no_gain("the beginning does not", "the same with the checkpoint before", _BEFORE),
            _no_gain("the end does not", "the same with the checkpoint after", _AFTER),
        ),
    ),
    Claim(
        "R6",
        (
            Criterion("most against fewest", _MOST_AGAINST_FEWEST, heads_gain, "above", FASTER),
            Criterion("order", _ORDER, heads_order, "above", 0.5),
            Criterion(
                "not by the initial scale alone",
                "most heads minus fewest where the initial scale is matched to the width",
                heads_gain,
                "above",
                FASTER,
                {"name": "scaled_heads"},
            ),
        ),
    ),
    Claim(
        "Figure 1 (middle)",
        (
            _gain(
                "ahead of one-shot",
                "mean accuracy over the run of progressive distillation minus the best one-shot",
                "progressive",
                ONE_SHOT,
            ),
            _gain(
                "ahead of labels",
                "mean accuracy over the run of progressive distillation minus cross-entropy",
                "progressive",
                ("cross_entropy",),
            ),
        ),
    ),
    Claim(
        "Figure 7 (right)",
        (
            Criterion("most against fewest", _MOST_AGAINST_FEWEST, heads_gain, "above", FASTER),
            Criterion("order", _ORDER, heads_order, "above", 0.5),
        ),
    ),
    Claim(
        "Figure 10",
        tuple(
            Criterion(part, f"{_MOST_AGAINST_FEWEST}: {how}", heads_gain, "above", FASTER, {"name": name})
            for part, how, name in (
                ("a", "fixed dimension per head", "heads"),
                ("b", "fixed width", "fixed_width_heads"),
                ("c", "fixed dimension per head and fixed width, heads averaged", "averaged_heads"),
            )
        ),
    ),
    Claim(
        "Figure 11",
        (
            Criterion(
                "grows",
                "path mass on the support at the end minus that of the untrained network",
                mass_growth,
                "above",
                0.1,
            ),
            Criterion(
                "not before",
                "growth up to the candidate before the transition, minus half of the whole",
                mass_grown,
                "below",
                0.0,
                {"candidate": "before"},
            ),
            Criterion(
                "by its end",
                "growth up to the candidate after the transition, minus half of the whole",
                mass_grown,
                "above",
                0.0,
                {"candidate": "after"},
            ),
        ),
    ),
    Claim("Figure 12", (_GAP,)),
    Claim(
        "Figure 13",
        (
            _gain(
                "regular checkpoints",
                "mean accuracy over the run of progressive distillation minus the best of one-shot and labels",
                "progressive",
                (*ONE_SHOT, "cross_entropy"),
            ),
            _gain(
                "two checkpoints",
                "the same for the (2, T) student of the checkpoint in the transition",
                _MIDDLE,
                (*ONE_SHOT, "cross_entropy"),
            ),
        ),
    ),
    Claim(
        "Figure 14 (Transformer)",
        (
            Criterion(
                "hard labels help",
                "mean accuracy over the run of the (2, T) student with hard labels minus the best one-shot",
                hard_label_speed,
                "above",
                FASTER,
            ),
            Criterion(
                "like low temperatures",
                "largest difference from hard labels in mean accuracy over the run, temperatures below 0.01",
                low_temperature_distance,
                "below",
                0.05,
                {"below": 0.01},
            ),
        ),
    ),
    Claim(
        "speed-of-the-large-transformer",
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
        "heads-before-width",
        tuple(
            Criterion(
                f"heads before {what}",
                f"mean accuracy over the run, parameters in heads minus as many in the {what}",
                size_gain,
                "above",
                0.0,
                {"into": "heads", "against": name},
            )
            for what, name in (("dimension per head", "head_size"), ("MLP width", "mlp_width"))
        ),
    ),
    Claim(
        "soft-labels-can-be-slower",
        (
            Criterion(
                "temperature 1 against hard labels",
                "mean accuracy over the (2, T) student's run at temperature 1 minus that with hard labels",
                soft_label_gain,
                "below",
                0.0,
                {"soft": "1", "against": "hard"},
            ),
        ),
    ),
    Claim(
        "a-second-spike-need-not-teach",
        (
            Criterion(
                "does not speed up",
                "mean accuracy over the run of the second spike's student minus the best one-shot",
                spike_gain,
                "below",
                FASTER,
            ),
        ),
    ),
    Claim(
        "one-layer-is-hard-to-train",
        (
            Criterion(
                "two layers against one",
                "mean accuracy over the run, two layers minus one",
                depth_gain,
                "above",
                FASTER,
            ),
        ),
    ),
)

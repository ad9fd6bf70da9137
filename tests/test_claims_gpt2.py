"""Claims of the page `gpt2`: every criterion both ways, every effect against plain arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from judging import (
    assert_absent_names_its_claim,
    assert_documented,
    assert_incomplete_is_an_error,
    assert_tables_are_needed,
    exchanged,
    of_ancestries,
    of_one,
    row_criteria,
    tuned,
)

from pdlib.claims import judge
from pdlib.claims.effects import text as effects
from pdlib.claims.judge import INCONCLUSIVE, NOT_REPRODUCED, REPRODUCED, Criterion

T0, LEVELS = 1400, (4, 3, 2)
GAIN = {
    4: 0.08,
    3: 0.06,
    2: 0.04,
}  # after a quarter of T0, smaller with more tokens; half of it after half of T0
STUDENTS = of_ancestries(
    "level horizon method step accuracy",
    *(
        (level, h, method, step, (0.7 + (method == "progressive") * gain * 0.25 / h) if step else 0.9)
        for level, gain in GAIN.items()
        for h in (0.25, 0.5)
        for method in ("progressive", "one_shot", "one_shot_hard", "cross_entropy")
        for step in (0, round(T0 * h))
    ),
)
CURVE = ((0, 1.4, 0.3), (35, 0.9, 0.7), (140, 0.5, 0.8), (1400, 0.4, 0.9))
TABLES = {
    "teacher": of_ancestries("level step loss_nats accuracy", *((n, *row) for n in LEVELS for row in CURVE)),
    "ngrams": of_ancestries(
        "level measure n step median",
        *((3, "robust", 3, t, v) for t, v in ((35, 0.02), (140, 0.3), (700, 0.2), (1400, 0.1))),
        *((3, "close", 3, t, v) for t, v in ((35, 0.5), (140, 0.2), (700, 0.3), (1400, 0.4))),
    ),
    "students": STUDENTS,
    "large_students": STUDENTS,
    "heads": of_ancestries(
        "level n_heads step accuracy",
        *(
            (level, n, t, v)
            for level in LEVELS
            for n, values in ((2, (0.3, 0.35, 0.7)), (4, (0.3, 0.5, 0.8)), (8, (0.3, 0.75, 0.9)))
            for t, v in zip((0, 140, 1400), values, strict=True)
        ),
    ),
    "grammars": of_ancestries(
        "grammar method step accuracy",
        *(
            (grammar, method, 350, 0.8 + gain * (method == "progressive"))
            for grammar, gain in (("cfg3f", 0.08), ("cfg3g", 0.01), ("cfg3h", -0.1))
            for method in ("progressive", "one_shot", "one_shot_hard")
        ),
    ),
    "tuning": of_ancestries(
        "comparison method learning_rate step accuracy",
        *tuned("students L(3)", ["progressive"], ["one_shot", "one_shot_hard"]),
        *tuned("students L(4)", ["one_shot"], ["progressive"]),
        seeds=range(101, 105),
    ),
}
TABLE_OF = {"fall_ratio": "teacher", "half_risen": "teacher", "inflection": "ngrams", "change": "ngrams"}
TABLE_OF |= {"heads_delay": "heads", "early_rise": "heads", "rates_learned": "tuning"}


def spoiled(criterion: Criterion) -> dict[str, pd.DataFrame]:
    """The tables of a world in which the paper is wrong."""
    name = TABLE_OF.get(criterion.effect) or criterion.arguments["table"]
    rows = TABLES[name]
    if name == "heads":
        rows = exchanged("n_heads", 2, 8)(rows)
    elif name == "teacher":
        rows = rows.assign(loss_nats=1.4 - rows.step / T0, accuracy=0.3 + 0.6 * rows.step / T0)
    elif name == "ngrams":
        rows = rows.assign(median=0.2)
    else:
        rows = rows.assign(accuracy=1 - rows.accuracy)
    return {**TABLES, name: rows}


@pytest.mark.parametrize("criterion", row_criteria("gpt2"))
def test_each_criterion_comes_out_as_the_tables_say(criterion: Criterion) -> None:
    assert criterion.judge(TABLES).verdict == REPRODUCED
    assert criterion.judge(spoiled(criterion)).verdict == NOT_REPRODUCED


def test_the_tables_are_the_documented_ones_and_each_is_needed() -> None:
    assert_documented("gpt2", TABLES)
    assert_tables_are_needed("gpt2", TABLES)


def test_what_is_absent_is_an_error_that_names_the_claim() -> None:
    assert_absent_names_its_claim("gpt2", TABLES)
    assert_incomplete_is_an_error("gpt2", TABLES, "students")


@pytest.mark.parametrize("shape", ["linear", "logarithm", "noise"])
def test_a_curve_without_a_turn_has_no_inflection(shape: str) -> None:
    """Even over the steps, even over their logarithm, which bends wherever one looks, or of noise alone."""
    rng = np.random.default_rng(3)
    steps = np.array([35, 70, 140, 700, 1400])
    values = {"linear": 0.3 * steps / T0, "logarithm": 0.03 * np.log2(steps), "noise": 0 * steps}[shape]
    rows = [
        (s, 3, "robust", 3, t, v + 1e-3 * rng.standard_normal())
        for s in range(8)
        for t, v in zip(steps, values, strict=True)
    ]
    flat = pd.DataFrame(rows, columns=["seed", "level", "measure", "n", "step", "median"])
    (figure,) = (c for c in judge.of_page("gpt2") if c.id == "Figure 29")
    (criterion,) = (c for c in figure.criteria if c.name == "inflection of M_robust")
    assert criterion.judge({**TABLES, "ngrams": flat}).verdict in (INCONCLUSIVE, NOT_REPRODUCED)


def test_a_network_that_stays_where_it_began_is_soon_at_most_of_its_own_end_and_not_at_the_others() -> None:
    rows = TABLES["heads"]
    stuck = rows.assign(accuracy=rows.accuracy.where(rows.n_heads != 2, 0.3))

    def delay(goal: Any) -> Any:
        return effects.heads_delay({"heads": stuck}, goal, where={"level": 3}).iloc[:, 0]

    assert (delay("own end") < 0).all()
    assert (delay("largest's end") > 2).all()
    assert (delay("largest's rise") > 2).all()


def test_effects_are_what_is_computed_by_hand() -> None:
    tables = {
        "teacher": of_one(
            "level step loss_nats accuracy", (3, 0, 2.0, 0.2), (3, 10, 1.0, 0.4), (3, 100, 0.1, 0.8)
        ),
        "ngrams": of_one(
            "level measure n step median",
            *((3, "close", 3, t, v) for t, v in ((5, 0.5), (10, 0.2), (100, 0.8))),
        ),
        "heads": of_one(
            "n_heads step accuracy",
            *((2, t, v) for t, v in ((0, 0.2), (20, 0.3), (100, 0.5))),
            *((8, t, v) for t, v in ((0, 0.1), (20, 0.7), (100, 0.9))),
        ),
    }
    level = {"level": 3}
    fall = effects.fall_ratio(tables, [0.0, 0.1], [[0.1, 1.0]], ["level"]).loc[7]
    assert fall.to_dict() == pytest.approx({"0.1 to 1.0, level 3": np.log2(10)})
    # from the first measured step on: 0.3 in 0.05 of T0, then 0.6 in 0.9 of it
    assert effects.inflection(tables, "close", 3, [0.0, 0.1], [0.1, 1.0], level)[7] == pytest.approx(
        np.log2(9)
    )
    assert effects.change(tables, "close", 3, 1.0, [0.0, 0.1], level).loc[7].tolist() == pytest.approx(
        [0.3, 0.6]
    )
    assert effects.half_risen(tables).loc[7].item() == pytest.approx(0.325)
    flat = {"teacher": tables["teacher"].assign(accuracy=0.2)}
    assert effects.half_risen(flat).loc[7].item() == 1
    assert effects.early_rise(tables, 0.1).loc[7].item() == pytest.approx(0.3 - 0.05)

"""Claims of the page `wiki`: every criterion both ways, the phases of the loss against plain arithmetic."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from judging import (
    assert_absent_names_its_claim,
    assert_documented,
    assert_incomplete_is_an_error,
    assert_tables_are_needed,
    of_ancestries,
    row_criteria,
    tuned,
)

from pdlib.claims import judge
from pdlib.claims.effects import text as effects
from pdlib.claims.judge import NOT_REPRODUCED, REPRODUCED, Criterion

RIVALS = ("one_shot", "one_shot_hard", "cross_entropy")
# copying has 5.8: the plateau is from 5.9 at step 100 to 5.7 at 500, the tail begins at 4.95, step 700 or so, of 2,000
LOSS = ((0, 7.0), (100, 5.9), (500, 5.7), (600, 5.2), (760, 4.9), (2000, 4.6))
FINAL = {
    "progressive": (0.403, 0.482, 0.514),
    "one_shot": (0.37, 0.465, 0.502),
    "one_shot_hard": (0.38, 0.472, 0.506),
    "cross_entropy": (0.36, 0.46, 0.50),
}
TABLES = {
    "references": pd.DataFrame({"predictor": ["unigram", "copy"], "loss_nats": [6.3, 5.8]}),
    "teacher": of_ancestries("step loss_nats accuracy", *((t, v, 0.1) for t, v in LOSS)),
    "candidates": of_ancestries("candidate step", ("loss", 600)).round({"step": 0}),
    "ngrams": of_ancestries(
        "measure n step median",
        *(("robust", 3, t, v) for t, v in ((80, 0.02), (500, 0.05), (700, 0.4), (800, 0.4), (2000, 0.3))),
    ),
    "students": of_ancestries(
        "horizon method step accuracy",
        *(
            (h, method, step, accuracy if step else 0.9)
            for method, finals in FINAL.items()
            for h, accuracy in zip((0.2, 0.5, 1.0), finals, strict=True)
            for step in (0, round(2000 * h))
        ),
    ),
    "tuning": of_ancestries(
        "comparison method learning_rate step accuracy",
        *tuned("students", ["progressive"], RIVALS),
        seeds=range(101, 105),
    ),
}
TABLE_OF = {"fall_ratio": "teacher", "fold_change": "ngrams", "inflection": "ngrams"}
TABLE_OF |= {"peak_from_candidate": "ngrams", "rates_learned": "tuning"}


def spoiled(criterion: Criterion) -> dict[str, pd.DataFrame]:
    """The tables of a world in which the paper is wrong."""
    name = TABLE_OF.get(criterion.effect, "students")
    rows = TABLES[name]
    if name == "teacher":
        slow = {0: 7.0, 100: 5.9, 500: 5.7, 600: 5.696, 760: 5.69, 2000: 5.5}  # slowest where it should drop
        rows = rows.assign(loss_nats=rows.step.map(slow))
    elif name == "ngrams":
        rows = rows.assign(median=0.2)
    else:
        rows = rows.assign(accuracy=1 - rows.accuracy)
    return {**TABLES, name: rows}


@pytest.mark.parametrize("criterion", row_criteria("wiki"))
def test_each_criterion_comes_out_as_the_tables_say(criterion: Criterion) -> None:
    assert criterion.judge(TABLES).verdict == REPRODUCED
    assert criterion.judge(spoiled(criterion)).verdict == NOT_REPRODUCED


def test_the_tables_are_the_documented_ones_and_each_is_needed() -> None:
    assert_documented("wiki", TABLES)
    assert_tables_are_needed("wiki", TABLES)


def test_what_is_absent_is_an_error_that_names_the_claim() -> None:
    assert_absent_names_its_claim("wiki", TABLES, {("teacher", "accuracy")})
    assert_incomplete_is_an_error("wiki", TABLES, "students")


def test_a_lead_over_two_rivals_is_no_lead_over_the_third() -> None:
    """The closest rival decides, and the verdict names it."""
    students = TABLES["students"]
    better = students.assign(accuracy=students.accuracy + 0.05 * (students.method == "cross_entropy"))
    (claim,) = (c for c in judge.of_page("wiki") if c.id == "benefit-in-natural-language")
    judged = claim.primary.judge({**TABLES, "students": better})
    assert (judged.verdict, judged.closest) == (NOT_REPRODUCED, "cross_entropy")


def test_phases_begin_where_the_loss_meets_that_of_copying() -> None:
    run = pd.DataFrame(
        {"seed": 7, "step": [0, 100, 300, 400, 500, 1000], "loss_nats": [6.9, 5.9, 5.7, 4.7, 4.2, 4.2]}
    )
    tables = {"references": TABLES["references"], "teacher": run}
    # three quarters of 5.8 to 4.2 are done at 4.6, a fifth of the way from step 400 to 500
    assert effects._phases(tables).loc[7].to_dict() == pytest.approx(
        {"plateau": 100, "drop": 300, "tail": 420}
    )
    # slopes per step: 0.2 / 200, 1.1 / 120, 0.4 / 580
    fall = effects.fall_ratio(tables, ["drop", "tail"], [["plateau", "drop"], ["tail", 1.0]]).loc[7]
    assert fall.tolist() == pytest.approx(np.log2([1.1 / 120 / (0.2 / 200), 1.1 / 120 / (0.4 / 580)]))
    never = {**tables, "teacher": run.assign(loss_nats=6.5)}
    assert effects.fall_ratio(never, ["drop", "tail"], [["tail", 1.0]]).loc[7].item() == 0  # both stand still
    medians = pd.DataFrame(
        {"seed": 7, "measure": "robust", "n": 3, "step": [300, 420, 1000], "median": [0.1, 0.4, 0.3]}
    )
    tables["ngrams"] = medians
    turn = effects.inflection(tables, "robust", 3, ["drop", "tail"], ["tail", 1.0])
    assert turn[7] == pytest.approx(np.log2(0.3 / 0.12 / (0.1 / 0.58)))  # of T0, up or down
    assert effects.fold_change(tables, "robust", 3, "tail", "drop")[7] == pytest.approx(2)

"""Sentences and tables for reading, on tables whose numbers are known."""

from __future__ import annotations

import pandas as pd
import pytest

from pdlib import words

RUNS = [
    (method, seed, horizon, step, end if step else 0.1)
    for method, by_length in {
        "progressive": (0.80, 0.90),
        "one_shot": (0.70, 0.95),
        "one_shot_hard": (0.60, 0.97),
        "cross_entropy": (0.50, 0.60),
    }.items()
    for horizon, end in zip((0.25, 0.5), by_length, strict=True)
    for seed in (1, 2)
    for step in (0, 9)
]
STUDENTS = pd.DataFrame(RUNS, columns=["method", "seed", "horizon", "step", "accuracy"])


def test_a_gain_is_over_the_better_one_shot_student_of_the_ancestry_at_the_end_of_each_length() -> None:
    assert words.gains_by_length(STUDENTS) == (
        "ahead (+10.0 points [10.0, 10.0]) after T₀/4 and behind (-7.0 points [-7.0, -7.0]) after T₀/2"
    )
    assert words.gains_by_length(STUDENTS[STUDENTS.seed == 1]) == (
        "not told apart (+10.0 points) after T₀/4 and not told apart (-7.0 points) after T₀/2"
    )


def test_what_methods_reach_is_said_of_the_shortest_runs_in_the_order_of_legends() -> None:
    assert words.ends_by_method(STUDENTS) == (
        "After T₀/4: from labels 50.0 %, one-shot, τ = 1 70.0 %, one-shot, hard labels 60.0 % and "
        "progressive 80.0 %"
    )


def test_the_course_of_a_measure_is_that_of_the_mean_over_teachers() -> None:
    rows = [(seed, step, "robust", 3, step / 100 * seed) for seed in (1, 3) for step in (10, 2000, 40)]
    ngrams = pd.DataFrame(rows, columns=["seed", "step", "measure", "n", "median"])
    said = "M_robust at n = 3 begins at 0.20 (step 10), is highest at 40.00 (step 2k) and ends at 40.00"
    assert words.course(ngrams, "robust", 3) == said


@pytest.mark.parametrize("axis", [0, 1])
def test_methods_of_a_table_are_those_of_legends_and_other_levels_stay(axis: int) -> None:
    ends = STUDENTS[STUDENTS.step == 9].pivot_table(index=["horizon", "method"], values="accuracy").accuracy
    found = ends.unstack("horizon") if axis == 0 else ends.unstack("method")
    named = words.by_legend(found)
    order = ["student, from labels", "one-shot, τ = 1", "one-shot, hard labels", "progressive"]
    assert named.axes[axis].tolist() == order
    assert named.axes[1 - axis].tolist() == [0.25, 0.5]
    both = words.by_legend(ends.to_frame())
    assert [key[0] for key in both.index] == [0.25] * 4 + [0.5] * 4
    assert [key[1] for key in both.index] == order * 2
    assert both.accuracy.tolist() == [0.5, 0.7, 0.6, 0.8, 0.6, 0.95, 0.97, 0.9]

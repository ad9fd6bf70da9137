"""Claims of the page `gpt2`: each effect against plain arithmetic, each criterion both ways."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from judging import (
    SEEDS,
    Spoil,
    Tables,
    assert_a_seed_without_a_run_is_an_error,
    assert_claims_are_those_of_the_register,
    assert_effect,
    assert_one_seed_decides_nothing,
    assert_only_what_needs_it_is_not_run,
    assert_refuted,
    at,
    exchanged,
    judged_page,
    labels_shuffled,
    not_run,
    own_effects,
    parts_of,
)

from pdlib import claims
from pdlib.claims import (
    INCONCLUSIVE,
    NOT_REPRODUCED,
    REPRODUCED,
    Claim,
    Criterion,
    MissingTableError,
    gpt2,
)
from pdlib.store import Store

CLAIMS = claims.of_page("gpt2")
PARTS = parts_of("gpt2")


def table(columns: str, *rows: tuple[Any, ...]) -> pd.DataFrame:
    """Rows in any order."""
    return pd.DataFrame(list(rows), columns=columns.split()).sample(frac=1, random_state=0)


def students_of(*finals: tuple[int, float, int, tuple[float, float, float, float]]) -> pd.DataFrame:
    """Runs that end with these accuracies, by method: progressive, one-shot soft and hard, from labels."""
    methods = ("progressive", "one_shot", "one_shot_hard", "cross_entropy")
    return table(
        "level horizon seed method step accuracy",
        *(
            (level, horizon, seed, method, step, final if step else 0.99)
            for level, horizon, seed, accuracies in finals
            for method, final in zip(methods, accuracies, strict=True)
            for step in (0, 400 * horizon)
        ),
    )


# Effects, on tables whose answer is plain arithmetic

STUDENTS = students_of(
    *(
        (4, 0.25, 7, (0.7, 0.6, 0.4, 0.9)),
        (3, 0.25, 7, (0.6, 0.5, 0.55, 0.9)),
        (2, 0.25, 7, (0.5, 0.5, 0.6, 0.9)),
    ),
    *(
        (4, 0.5, 7, (0.7, 0.7, 0.4, 0.9)),
        (3, 0.5, 7, (0.6, 0.5, 0.58, 0.9)),
        (2, 0.5, 7, (0.5, 0.5, 0.7, 0.9)),
    ),
    *(
        (4, 0.25, 8, (0.5, 0.6, 0.4, 0.9)),
        (3, 0.25, 8, (0.6, 0.6, 0.6, 0.9)),
        (2, 0.25, 8, (0.8, 0.5, 0.6, 0.9)),
    ),
    *(
        (4, 0.5, 8, (0.5, 0.4, 0.4, 0.9)),
        (3, 0.5, 8, (0.6, 0.6, 0.5, 0.9)),
        (2, 0.5, 8, (0.8, 0.5, 0.6, 0.9)),
    ),
)
LARGE = STUDENTS.replace({"method": {"progressive": "one_shot", "one_shot": "progressive"}})
TEACHER = table(
    "level seed step loss_nats accuracy",
    # slopes: 0.8 / 0.1 = 8 and 0.9 / 0.9 = 1; half of the rise from 0.2 to 0.8 at step 5
    *((3, 7, 0, 2.0, 0.2), (3, 7, 10, 1.6, 0.8), (3, 7, 20, 1.2, 0.7), (3, 7, 200, 0.3, 0.8)),
    # 0.9 at step 20 by interpolation: 1, and nothing for 0.1; half of the rise at step 100
    *((3, 8, 0, 1.0, 0.2), (3, 8, 40, 0.8, 0.2), (3, 8, 160, 0.9, 0.8), (3, 8, 200, 0.9, 0.8)),
    *((2, 7, 0, 0.0, 0.5), (2, 7, 200, 9.0, 0.5), (4, 7, 0, 0.0, 0.8), (4, 7, 100, 9.0, 0.2)),
)
NGRAMS = table(
    "level seed measure n step median",
    # a turn: 0.6 up and 0.4 down by step 20; 0.1 down by 120, which is nearest to the middle, then nothing
    *((3, 7, "robust", 3, 5, 0.1), (3, 7, "robust", 3, 10, 0.7), (3, 7, "robust", 3, 20, 0.3)),
    *((3, 7, "robust", 3, 60, 0.9), (3, 7, "robust", 3, 80, 0.4), (3, 7, "robust", 3, 120, 0.2)),
    (3, 7, "robust", 3, 200, 0.2),
    # 0.1 at once, and 0.4 by the end, nothing lying nearer to the middle
    *((3, 8, "robust", 3, 10, 0.4), (3, 8, "robust", 3, 20, 0.5), (3, 8, "robust", 3, 200, 0.9)),
    *((3, s, "close", 3, step, 0.3) for s in (7, 8) for step in (5, 10, 20, 200)),
    *((3, s, "robust", 5, step, step / 200) for s in (7, 8) for step in (10, 20, 200)),
    *((2, s, "robust", 3, step, 0.0) for s in (7, 8) for step in (5, 10, 20, 200)),
)
HEADS = table(
    "level seed n_heads step accuracy",
    # 0.4 at step 25, halfway between 10 and 40; 0.6 at step 50
    *((3, 7, 2, 0, 0.2), (3, 7, 2, 10, 0.3), (3, 7, 2, 40, 0.5), (3, 7, 2, 60, 0.7), (3, 7, 2, 100, 0.5)),
    # 0.8 at step 6; halfway from 0.2 to 1, 0.6, at step 4
    *((3, 7, 16, 0, 0.2), (3, 7, 16, 10, 1.2), (3, 7, 16, 40, 0.9), (3, 7, 16, 100, 1.0)),
    # before the first step; never at 0.6
    *((3, 8, 2, 0, 0.5), (3, 8, 2, 100, 0.5)),
    # 0.64 at step 8, 0.6 at step 5
    *((3, 8, 16, 0, 0.4), (3, 8, 16, 5, 0.6), (3, 8, 16, 8, 0.64), (3, 8, 16, 100, 0.8)),
    *((3, s, 4, step, 0.1) for s in (7, 8) for step in (0, 100)),
    *((2, s, n, step, 0.1) for s in (7, 8) for n in (2, 16) for step in (0, 100)),
)
GRAMMARS = table(
    "grammar seed method step accuracy",
    *(
        (grammar, seed, method, step, a if step else 0.1)
        for grammar, seed, accuracies in (
            *(("cfg3f", 7, (0.9, 0.8, 0.7)), ("cfg3f", 8, (0.8, 0.7, 0.85))),
            *(("cfg3g", 7, (0.8, 0.7, 0.78)), ("cfg3g", 8, (0.8, 0.8, 0.7)), ("cfg3h", 7, (0.9, 0.1, 0.1))),
        )
        for method, a in zip(("progressive", *gpt2.ONE_SHOT), accuracies, strict=True)
        for step in (0, 100)
    ),
)

EFFECTS: list[tuple[str, dict[str, Any], Tables, dict[int, float]]] = [
    *(
        ("gain", {"level": level, "horizon": horizon}, {"students": STUDENTS}, expected)
        for level, horizon, expected in (
            (4, 0.25, {7: 0.1, 8: -0.1}),
            (3, 0.25, {7: 0.05, 8: 0.0}),
            (2, 0.25, {7: -0.1, 8: 0.2}),
            (2, 0.5, {7: -0.2, 8: 0.2}),
        )
    ),
    (
        "gain",
        {"level": 4, "horizon": 0.25, "name": "large_students"},
        {"large_students": LARGE},
        {7: -0.1, 8: 0.1},
    ),
    ("shrinking", {}, {"students": STUDENTS}, {7: (0.1 + 0.03 + 0.1) / 3, 8: -0.2 / 3}),
    (
        "shrinking",
        {"name": "large_students"},
        {"large_students": LARGE},
        {7: (-0.1 + 0.03 + 0.1) / 3 - 0.01, 8: 0.2 / 3},
    ),
    ("more_tokens", {}, {"students": STUDENTS}, {7: -0.2, 8: 0.3}),
    ("gain_on", {"grammar": "cfg3f"}, {"grammars": GRAMMARS}, {7: 0.1, 8: -0.05}),
    ("grammar_difference", {"one": "cfg3g", "other": "cfg3f"}, {"grammars": GRAMMARS}, {7: -0.08, 8: 0.05}),
    ("drop_ratio", {"level": 3}, {"teacher": TEACHER}, {7: 3.0, 8: np.log2(1 / 0.1)}),
    ("drop_ratio", {"level": 2}, {"teacher": TEACHER}, {7: 0.0}),  # a loss that rises stands still too
    ("half_risen", {"level": 3}, {"teacher": TEACHER}, {7: 0.025, 8: 0.5}),
    ("half_risen", {"level": 2}, {"teacher": TEACHER}, {7: 1.0}),
    ("half_risen", {"level": 4}, {"teacher": TEACHER}, {7: 1.0}),
    (
        *("inflection", {"measure": "robust", "n": 3}),
        {"teacher": TEACHER, "ngrams": NGRAMS},
        {7: np.log2(1.0 / 0.1), 8: np.log2(0.1 / 0.4)},
    ),
    *(
        ("inflection", {"measure": measure, "n": n}, {"teacher": TEACHER, "ngrams": NGRAMS}, {7: x, 8: x})
        for measure, n, x in (("close", 3, 0.0), ("robust", 5, np.log2(0.05 / 0.9)))
    ),
    *(
        (
            *("change", {"measure": "robust", "n": 3, "since": since, "until": until}),
            *({"teacher": TEACHER, "ngrams": NGRAMS}, expected),
        )
        for since, until, expected in ((0.0, 0.1, {7: 0.2, 8: 0.1}), (0.1, 1.0, {7: -0.1, 8: 0.4}))
    ),
    ("heads_delay", {"level": 3}, {"heads": HEADS}, {7: np.log2(25 / 6), 8: -3.0}),
    ("transition_delay", {"level": 3}, {"heads": HEADS}, {7: np.log2(50 / 4), 8: np.log2(100 / 5)}),
    ("final_difference", {"level": 3}, {"heads": HEADS}, {7: 0.5, 8: 0.3}),
    ("early_rise", {"level": 3}, {"heads": HEADS}, {7: 0.9, 8: 0.24 + 0.16 * 2 / 92}),
]


@pytest.mark.parametrize(
    ("name", "arguments", "tables", "expected"),
    [pytest.param(*case, id=f"{case[0]} {i}") for i, case in enumerate(EFFECTS)],
)
def test_an_effect_is_what_plain_arithmetic_says(
    name: str, arguments: dict[str, Any], tables: Tables, expected: dict[int, float]
) -> None:
    assert_effect(getattr(gpt2, name), tables, arguments, expected)


def test_every_effect_of_the_page_is_measured_above() -> None:
    own = own_effects(gpt2)
    assert own == {name for name, *_ in EFFECTS}
    assert {c.effect.__name__ for _, c in (p.values for p in PARTS)} == own


# What an inflection at the first selected checkpoint is, and what is none

TIMES = [40, 80, 120, 160, 200, 240, 320, 480, 800, 1200, 1600]
SHAPES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "a knee": (lambda t: np.minimum(t, 160) / 400, REPRODUCED),
    "a step up": (lambda t: 0.5 / (1 + (80 / t) ** 6), REPRODUCED),
    "a step down": (lambda t: 0.5 / (1 + (t / 80) ** 6), REPRODUCED),
    "a turn": (lambda t: 0.5 * np.exp(-((np.log2(t / 80)) ** 2) / 0.5), REPRODUCED),
    "a knee and a slow tail": (lambda t: np.minimum(t, 160) / 400 + 1e-4 * t, REPRODUCED),
    "even in time": (lambda t: t / 3200, NOT_REPRODUCED),
    "even in the logarithm of time": (lambda t: 0.1 * np.log2(t / 20), NOT_REPRODUCED),
    "a late turn": (lambda t: 0.5 * np.exp(-((np.log2(t / 640)) ** 2) / 0.5), NOT_REPRODUCED),
    "a late step": (lambda t: 0.5 / (1 + (640 / t) ** 6), NOT_REPRODUCED),
    "nothing": (lambda t: 0.3 + 0 * t, NOT_REPRODUCED),
}


def measured(shape: Callable[[Any], Any], noise: float, n_seeds: int = 5, first: int = 0) -> Tables:
    """A teacher whose M_robust has this course, with independent noise at every checkpoint."""
    rng = np.random.default_rng(first)
    return {
        "teacher": table("level seed step", *((3, s, step) for s in range(n_seeds) for step in (0, 1600))),
        "ngrams": table(
            "level seed measure n step median",
            *(
                (3, s, "robust", 3, t, float(shape(float(t)) + noise * rng.standard_normal()))
                for s in range(n_seeds)
                for t in TIMES
            ),
        ),
    }


def criterion_called(name: str) -> Criterion:
    return next(c for claim in CLAIMS for c in claim.criteria if c.name == name)


@pytest.mark.parametrize("name", SHAPES)
def test_an_inflection_is_a_bend_or_a_turn_around_the_first_selected_checkpoint(name: str) -> None:
    shape, verdict = SHAPES[name]
    tables = measured(shape, noise=0.004)
    assert criterion_called("inflection of M_robust").judge(tables).verdict == verdict


def test_noise_alone_is_no_inflection_however_large_it_is() -> None:
    criterion = criterion_called("inflection of M_robust")
    for noise in (0.01, 0.1, 1.0):
        tables = measured(lambda t: 0.3, noise, n_seeds=400)
        assert criterion.judge(tables).verdict != REPRODUCED
        assert (
            abs(criterion.values(tables).mean()) < 0.2
        )  # the slope between neighbors would be five times as large
    small = [criterion.judge(measured(lambda t: 0.3, 0.05, first=i)).verdict for i in range(40)]
    assert small.count(REPRODUCED) <= 4


# A world in which the paper is right in everything, and one in which it is wrong in everything

STEPS = (0, 10, 20, 40, 80, 200, 400)  # of a teacher; 20 and 40 are 5 and 10 % of them


def world(
    loss: Sequence[float],
    accuracy: Sequence[float],
    robust: Sequence[float],
    close: Sequence[float],
    gains: Mapping[tuple[int, float], float],
    heads: Mapping[int, Sequence[float]],
    grammars: Mapping[str, float],
) -> Tables:
    """Tables with the columns that the page makes.

    `loss`, `accuracy`, `robust` and `close` are the teacher's at `STEPS`, `heads` accuracies there by number of heads;
    `gains` those of progressive over one-shot distillation by level and horizon, `grammars` by grammar.
    """
    noise = np.random.default_rng(1)

    def jitter() -> float:
        return float(noise.uniform(0.0, 0.002))

    def ends(gain: float) -> dict[str, float]:
        return {"cross_entropy": 0.9, "one_shot": 0.7, "one_shot_hard": 0.69, "progressive": 0.7 + gain}

    students = table(
        "level horizon seed method step accuracy",
        *(
            (level, horizon, s, method, step, (final if step else 0.3) + jitter())
            for (level, horizon), gain in gains.items()
            for s in SEEDS
            for method, final in ends(gain).items()
            for step in (0, 200 * horizon, 400 * horizon)
        ),
    )
    return {
        "teacher": table(
            "level seed step loss_nats accuracy",
            *(
                (level, s, step, x + jitter(), a + jitter())
                for level in gpt2.LEVELS
                for s in SEEDS
                for step, x, a in zip(STEPS, loss, accuracy, strict=True)
            ),
        ),
        "ngrams": table(
            "level seed measure n step median mean",
            *(
                (3, s, measure, n, step, x + jitter(), 0.5)
                for s in SEEDS
                for measure, n in (("robust", 3), ("robust", 5), ("close", 3), ("close", 5))
                for step, x in zip(STEPS, robust if measure == "robust" else close, strict=True)
                if step
            ),
        ),
        "students": students,
        "large_students": students.assign(accuracy=students.accuracy + 0.1),
        "heads": table(
            "level seed n_heads step accuracy",
            *(
                (level, s, n, step, x + jitter())
                for level in gpt2.LEVELS
                for s in SEEDS
                for n, curve in heads.items()
                for step, x in zip(STEPS, curve, strict=True)
            ),
        ),
        "grammars": table(
            "grammar seed method step accuracy",
            *(
                (grammar, s, method, step, (final if step else 0.3) + jitter())
                for grammar, gain in grammars.items()
                for s in SEEDS
                for method, final in ends(gain).items()
                for step in (0, 100)
            ),
        ),
    }


def as_stated() -> Tables:
    return dict(_stated())


@cache  # tables are changed into others, never in place
def _stated() -> Tables:
    return world(
        loss=[1.4, 1.0, 0.7, 0.4, 0.35, 0.3, 0.25],
        accuracy=[0.3, 0.55, 0.7, 0.8, 0.82, 0.85, 0.88],
        robust=[0.0, 0.05, 0.3, 0.4, 0.35, 0.3, 0.3],
        close=[0.0, 0.1, 0.02, 0.1, 0.1, 0.13, 0.15],
        gains={
            (4, 0.25): 0.1,
            (4, 0.5): 0.06,
            (3, 0.25): 0.08,
            (3, 0.5): 0.05,
            (2, 0.25): 0.05,
            (2, 0.5): 0.03,
        },
        heads={
            2: [0.3, 0.32, 0.35, 0.4, 0.55, 0.65, 0.7],
            4: [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.8],
            8: [0.3, 0.55, 0.7, 0.8, 0.82, 0.85, 0.88],
        },
        grammars={"cfg3f": 0.08, "cfg3g": 0.02, "cfg3h": 0.2},
    )


def as_denied() -> Tables:
    return world(
        loss=[1.4, 1.38, 1.36, 1.3, 1.2, 0.8, 0.1],
        accuracy=[0.3, 0.31, 0.32, 0.35, 0.4, 0.7, 0.9],
        robust=[0.0, 0.3, 0.29, 0.28, 0.3, 0.4, 0.5],
        close=[0.0, 0.5, 0.51, 0.52, 0.5, 0.4, 0.3],
        gains={
            **{(4, 0.25): -0.1, (4, 0.5): -0.05, (3, 0.25): -0.06, (3, 0.5): -0.03},
            **{(2, 0.25): -0.03, (2, 0.5): -0.02},
        },
        heads={
            2: [0.3, 0.6, 0.8, 0.88, 0.9, 0.9, 0.9],
            8: [0.3, 0.31, 0.35, 0.4, 0.55, 0.7, 0.85],
        },
        grammars={"cfg3f": -0.03, "cfg3g": 0.05, "cfg3h": 0.2},
    )


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_every_claim_is_reproduced_where_the_paper_is_right_and_not_where_it_is_wrong(claim: Claim) -> None:
    verdict, parts = claim.judge(as_stated())
    assert verdict == REPRODUCED, [(p.criterion.name, p.interval) for p in parts]
    assert all(p.interval.n == len(SEEDS) for p in parts)
    verdict, parts = claim.judge(as_denied())
    assert {p.verdict for p in parts} == {NOT_REPRODUCED}, [(p.criterion.name, p.interval) for p in parts]
    assert verdict == NOT_REPRODUCED


# One thing at a time that is otherwise

# effect -> what makes it fail: the table, from the criterion's arguments, and the change
SPOILED: dict[str, Callable[[dict[str, Any]], tuple[str, Spoil]]] = {
    "gain": lambda a: (
        a["name"],
        at(
            f"level == {a['level']} and horizon == {a['horizon']} and method == 'one_shot_hard'",
            "accuracy",
            0.95,
        ),
    ),
    "shrinking": lambda a: (a["name"], exchanged("horizon", 0.25, 0.5)),
    "more_tokens": lambda a: (a["name"], exchanged("level", 2, 4)),
    "gain_on": lambda a: (
        "grammars",
        at(f"grammar == '{a['grammar']}' and method == 'one_shot_hard'", "accuracy", 0.95),
    ),
    "grammar_difference": lambda _: ("grammars", exchanged("grammar", "cfg3f", "cfg3g")),
    "drop_ratio": lambda a: ("teacher", at(f"level == {a['level']} and step == 40", "loss_nats", 1.3)),
    "half_risen": lambda a: (
        "teacher",
        at(f"level == {a['level']} and step > 0 and step < 100", "accuracy", 0.4),
    ),
    "inflection": lambda a: (
        "ngrams",
        at(f"measure == '{a['measure']}' and n == 3 and step == 400", "median", 0.9),
    ),
    "change": lambda a: (
        "ngrams",
        at(f"measure == '{a['measure']}' and n == 3 and step > 20 and step <= 40", "median", 0.2)
        if a["since"]
        else at("measure == 'robust' and n == 3 and step == 10", "median", 0.9),
    ),
    "heads_delay": lambda a: (
        "heads",
        at(f"level == {a['level']} and n_heads == 2 and step == 10", "accuracy", 0.9),
    ),
    "transition_delay": lambda a: (
        "heads",
        at(f"level == {a['level']} and n_heads == 2 and step == 10", "accuracy", 0.9),
    ),
    "final_difference": lambda a: (
        "heads",
        at(f"level == {a['level']} and n_heads == 8 and step == 400", "accuracy", 0.6),
    ),
    "early_rise": lambda a: (
        "heads",
        at(f"level == {a['level']} and n_heads == 8 and step == 40", "accuracy", 0.35),
    ),
}


def spoiled(criterion: Criterion) -> Tables:
    """The tables on which a criterion fails."""
    name, spoil = SPOILED[criterion.effect.__name__](dict(criterion.arguments))
    tables = as_stated()
    if criterion.name == "longer contexts later":
        spoil = at("measure == 'close' and n == 3 and step == 400", "median", 0.02)
    return tables | {name: spoil(tables[name])}


@pytest.mark.parametrize(("claim", "criterion"), PARTS)
def test_every_criterion_comes_out_negative_on_spoiled_tables(claim: Claim, criterion: Criterion) -> None:
    assert_refuted(claim, criterion, spoiled(criterion))


@pytest.mark.parametrize(("claim", "criterion"), PARTS)
def test_no_criterion_is_decided_by_one_seed(claim: Claim, criterion: Criterion) -> None:
    assert_one_seed_decides_nothing(criterion, as_stated())


@pytest.mark.parametrize(("claim", "criterion"), PARTS)
def test_seeds_that_disagree_decide_nothing(claim: Claim, criterion: Criterion) -> None:
    good, bad = as_stated(), as_denied()
    mixed = {
        name: pd.concat([good[name].query("seed < 2"), bad[name].query("seed in (2, 3)")]) for name in good
    }
    assert criterion.judge(mixed).verdict == INCONCLUSIVE


OF_TEACHER = ("drop_ratio", "half_risen", "inflection", "change")


@pytest.mark.parametrize(
    ("claim", "criterion"), parts_of("gpt2", lambda c: c.effect.__name__ not in OF_TEACHER)
)
def test_nothing_is_found_where_labels_are_shuffled_within_each_seed(
    claim: Claim, criterion: Criterion
) -> None:
    shuffled = labels_shuffled(as_stated(), ("method", "n_heads", "grammar", "horizon", "level"))
    assert criterion.judge(shuffled).verdict != REPRODUCED


def test_a_teacher_that_wobbles_has_no_phases() -> None:
    tables = as_stated()
    noise = np.random.default_rng(2)
    for name, column, level, size in (("teacher", "loss_nats", 1.0, 0.02), ("ngrams", "median", 0.3, 0.05)):
        steps = tables[name]
        tables[name] = steps.assign(**{column: level + size * noise.standard_normal(len(steps))})
    for _, criterion in (p.values for p in PARTS):
        if criterion.effect.__name__ in ("drop_ratio", "inflection", "change"):
            assert criterion.judge(tables).verdict != REPRODUCED, criterion.name


# changes of one table -> the claims that are no longer reproduced
DECIDES: list[tuple[str, Spoil, set[str]]] = [
    (
        "students",
        at("method == 'cross_entropy'", "accuracy", 0.1),
        set(),
    ),  # one-shot distillation is the rival
    ("students", at("step < 50", "accuracy", 0.99), set()),  # the ends of runs are compared
    (
        "students",
        at("level == 3 and horizon == 0.5 and method == 'one_shot'", "accuracy", 0.8),
        {"Figure 30"},
    ),
    (
        "students",
        at("level == 3 and horizon == 0.25 and method == 'one_shot'", "accuracy", 0.8),
        {"R7", "Figure 30"},
    ),
    (
        "students",
        at("level == 2 and horizon == 0.25 and method == 'progressive' and step > 0", "accuracy", 0.9),
        {"R7", "Figure 30", "gap-shrinks-with-tokens-in-the-loss"},
    ),
    (
        "students",
        at("horizon == 0.5 and method == 'progressive' and step > 0", "accuracy", 0.9),
        {"R7", "Figure 30"},
    ),
    ("large_students", at("level == 3 and method == 'one_shot'", "accuracy", 0.95), {"Figure 31"}),
    ("grammars", at("grammar == 'cfg3h'", "accuracy", 0.1), set()),
    ("grammars", at("grammar == 'cfg3g' and method == 'progressive'", "accuracy", 0.9), {"Figure 32"}),
    ("heads", at("n_heads == 4", "accuracy", 0.1), set()),  # the fewest and the most are compared
    ("heads", at("level == 4 and n_heads == 8 and step == 400", "accuracy", 0.7), {"Figure 28"}),
    (
        "heads",
        at("level == 2 and n_heads == 8 and step == 40", "accuracy", 0.35),
        {"larger-models-sooner-in-the-rapid-phase"},
    ),
    ("teacher", at("level == 4 and step == 40", "loss_nats", 1.3), {"rapid-drop-in-the-first-tenth"}),
    (
        "teacher",
        at("level == 3 and step == 40", "loss_nats", 1.3),
        {"Figure 29", "rapid-drop-in-the-first-tenth"},
    ),
    ("teacher", at("step == 20", "loss_nats", 1.4), set()),  # where in the first tenth it falls is open
    ("teacher", at("level == 2 and step in (10, 20)", "accuracy", 0.3), {"dormant-phase-is-short"}),
    ("ngrams", at("n == 5", "median", 0.9), set()),
    ("ngrams", at("measure == 'close' and step == 400", "median", 0.9), {"Figure 29"}),
    ("ngrams", at("measure == 'robust' and step == 400", "median", 0.45), {"curriculum-of-3-grams"}),
    ("ngrams", at("measure == 'robust' and step == 10", "median", 0.5), {"curriculum-of-3-grams"}),
]


@pytest.mark.parametrize(
    ("name", "spoil", "changed"), [pytest.param(*case, id=f"{i} {case[0]}") for i, case in enumerate(DECIDES)]
)
def test_a_change_of_a_table_changes_the_claims_that_speak_of_it_and_no_other(
    name: str, spoil: Spoil, changed: set[str]
) -> None:
    tables = as_stated()
    tables[name] = spoil(tables[name])
    assert {claim.id for claim in CLAIMS if claim.judge(tables)[0] != REPRODUCED} == changed


def test_a_small_network_that_stays_where_it_began_is_not_called_fast() -> None:
    tables = as_stated()
    tables["heads"] = at("n_heads == 2", "accuracy", 0.3)(tables["heads"])
    assert criterion_called("sooner, L(3)").judge(tables).verdict == REPRODUCED
    assert (
        criterion_called("earlier, L(3)").judge(tables).verdict == NOT_REPRODUCED
    )  # the paper's own measure


def test_a_teacher_that_learns_nothing_has_no_short_dormant_phase() -> None:
    tables = as_stated()
    tables["teacher"] = at("step > 0", "accuracy", 0.2)(tables["teacher"])
    assert criterion_called("half risen early, L(3)").judge(tables).verdict == NOT_REPRODUCED


# What the page did not run

OF_STUDENTS = {"R7", "Figure 30", "gap-shrinks-with-tokens-in-the-loss"}
NEEDED = {
    **{claim: {"students"} for claim in OF_STUDENTS},
    "Figure 28": {"heads"},
    "Figure 29": {"teacher", "ngrams"},
    "Figure 31": {"large_students"},
    "Figure 32": {"grammars"},
    "rapid-drop-in-the-first-tenth": {"teacher"},
    "dormant-phase-is-short": {"teacher"},
    "larger-models-sooner-in-the-rapid-phase": {"heads"},
    "curriculum-of-3-grams": {"teacher", "ngrams"},
}


@pytest.mark.parametrize("name", as_stated())
def test_claims_without_their_tables_are_not_run_and_the_others_are_judged(name: str, store: Store) -> None:
    assert_only_what_needs_it_is_not_run("gpt2", as_stated(), name, NEEDED, store)


@pytest.mark.parametrize(("name", "arguments", "tables"), [case[:3] for case in EFFECTS])
def test_a_table_that_is_not_there_is_named(name: str, arguments: dict[str, Any], tables: Tables) -> None:
    for missing in tables:
        with pytest.raises(MissingTableError, match=missing):
            getattr(gpt2, name)({k: t for k, t in tables.items() if k != missing}, **arguments)


OF_LEVELS = {"Figure 28", "rapid-drop-in-the-first-tenth", "dormant-phase-is-short"}


@pytest.mark.parametrize(
    ("kept", "unjudged"),
    [
        ({"students": "level < 4"}, OF_STUDENTS),
        ({"students": "horizon == 0.25"}, {"R7", "Figure 30"}),
        ({"large_students": "level != 3"}, {"Figure 31"}),
        ({"heads": "level != 2"}, {"Figure 28", "larger-models-sooner-in-the-rapid-phase"}),
        ({"teacher": "level != 4"}, {"rapid-drop-in-the-first-tenth", "dormant-phase-is-short"}),
        ({"ngrams": "n != 3"}, {"Figure 29", "curriculum-of-3-grams"}),
        ({"ngrams": "step > 20"}, {"Figure 29", "curriculum-of-3-grams"}),
        ({"ngrams": "step < 400"}, {"Figure 29", "curriculum-of-3-grams"}),
        ({"ngrams": "level == 2"}, {"Figure 29", "curriculum-of-3-grams"}),
        ({"grammars": "grammar != 'cfg3g'"}, {"Figure 32"}),
    ],
)
def test_what_other_parameters_leave_out_is_not_run(
    kept: dict[str, str], unjudged: set[str], store: Store
) -> None:
    tables = {name: t.query(kept[name]) if name in kept else t for name, t in as_stated().items()}
    verdicts = judged_page("gpt2", tables, store)
    assert not_run(verdicts) == unjudged


def test_nothing_is_judged_on_a_smoke_run(store: Store) -> None:
    assert set(judged_page("gpt2", as_stated(), store, "smoke").values()) == {"not judged"}


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("students", "seed != 3 or method != 'one_shot'"),
        ("students", "seed != 3 or level != 2"),
        ("students", "seed != 3 or horizon != 0.5"),
        ("large_students", "seed != 3 or method != 'progressive'"),
        ("ngrams", "seed != 3 or step > 20"),
        ("ngrams", "seed != 3 or step < 400"),
        ("heads", "seed != 3 or n_heads != 2"),
        ("heads", "seed != 3 or n_heads != 8"),
        ("grammars", "seed != 3 or grammar != 'cfg3g'"),
    ],
)
def test_a_run_that_one_seed_lacks_is_an_error_and_not_left_out(name: str, query: str) -> None:
    tables = as_stated()
    tables[name] = tables[name].query(query)
    assert_a_seed_without_a_run_is_an_error(PARTS, tables)


# The register


def test_the_claims_of_the_page_are_those_of_the_register() -> None:
    assert_claims_are_those_of_the_register("gpt2", {"cfg3g-saturates"})


def test_every_effect_gives_one_value_a_seed() -> None:
    for _, criterion in (p.values for p in PARTS):
        values = criterion.values(as_stated())
        assert sorted(values.index) == list(SEEDS)
        assert values.index.name in ("seed", None)

"""Claims of the page `wiki`: each effect against plain arithmetic, each criterion both ways."""

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
    NOT_RUN,
    PARTLY,
    REPRODUCED,
    Claim,
    Criterion,
    MissingTableError,
    wiki,
)
from pdlib.store import Store

CLAIMS = claims.of_page("wiki")
PARTS = parts_of("wiki")
METHODS = ("progressive", "one_shot", "one_shot_hard", "cross_entropy")
LABELS = "cross_entropy"  # what trains on the data alone


def table(columns: str, *rows: tuple[Any, ...]) -> pd.DataFrame:
    """Rows in any order."""
    return pd.DataFrame(list(rows), columns=columns.split()).sample(frac=1, random_state=0)


# Effects, on tables whose answer is plain arithmetic

REFERENCES = table("predictor loss_nats", ("uniform", 5.0), ("frequencies", 4.0), ("copy", 3.0))
COURSES = {  # loss by step; the plateau begins at 3.1 and is left at 2.9
    # 3.1 halfway between 10 and 30, 2.9 at 25; 1.5 is three quarters down from 3 to 1
    "three phases": {0: 5.0, 10: 3.5, 30: 2.7, 60: 1.2, 100: 1.0},
    "at the levels": {0: 3.1, 20: 2.9, 40: 2.95, 60: 1.0, 100: 1.0},  # and back on the plateau once
    "never leaves": {0: 5.0, 50: 3.05, 80: 2.95, 100: 2.95},
    "below from the first": {0: 2.0, 50: 1.5, 100: 1.0},
    "never arrives": {0: 5.0, 100: 4.0},
    "comes back": {0: 3.0, 50: 2.8, 100: 3.2},
}
NAMED = dict(zip(COURSES, range(7, 13), strict=True))  # course -> seed
TEACHER = table(
    "seed step loss_nats accuracy",
    *((NAMED[name], step, x, 0.5) for name, course in COURSES.items() for step, x in course.items()),
)
TAILS = {7: 54.0, 8: 40 + 29 / 1.95, 9: 100.0, 10: 50.0, 11: 100.0, 12: 25.0}
PHASES = {
    "plateau": {7: 20.0, 8: 0.0, 9: 50 * 1.9 / 1.95, 10: 0.0, 11: 100.0, 12: 0.0},
    "drop": {7: 25.0, 8: 20.0, 9: 100.0, 10: 0.0, 11: 100.0, 12: 25.0},
    "tail": TAILS,
    "end": dict.fromkeys(NAMED.values(), 100.0),
}
MEDIANS = {  # M_robust, n = 3, by step
    7: {10: 0.1, 25: 0.2, 54: 0.8, 75: 0.7, 100: 0.4},
    8: {20: 0.0, 100: 0.8},  # even in time
    9: {10: 0.3, 50: 0.3, 100: 0.1},
    10: {10: 0.2, 40: 0.4, 60: 0.4, 100: 0.4},  # first measured after the drop has begun
    11: {10: 0.5, 100: 0.0002},
    12: {10: 0.5, 25: 0.5, 100: 0.2},
}
NGRAMS = table(
    "seed measure n step median",
    *((s, "robust", 3, step, x) for s, course in MEDIANS.items() for step, x in course.items()),
    *((s, "robust", 5, step, step / 100) for s in MEDIANS for step in (1, 100)),
    *((s, "close", 3, step, 0.9) for s in MEDIANS for step in (1, 100)),
)
CANDIDATES = table("seed step", (7, 27), (8, 25), (9, 80), (10, 40), (11, 20), (12, 10))
ALL = {"references": REFERENCES, "teacher": TEACHER, "ngrams": NGRAMS}
STUDENTS = table(
    "horizon seed method step accuracy",
    *(
        (horizon, seed, method, step, final if step else 0.99)
        for horizon, seed, finals in (
            *((0.2, 7, (0.7, 0.6, 0.4, 0.5)), (0.2, 8, (0.7, 0.5, 0.65, 0.75))),
            *((0.5, 7, (0.7, 0.7, 0.4, 0.9)), (0.5, 8, (0.6, 0.5, 0.55, 0.2))),
            *((1.0, 7, (0.5, 0.6, 0.7, 0.8)), (1.0, 8, (0.8, 0.7, 0.6, 0.7))),
        )
        for method, final in zip(METHODS, finals, strict=True)
        for step in (0, 50 * horizon, 100 * horizon)
    ),
)

EFFECTS: list[tuple[str, dict[str, Any], Tables, dict[int, float]]] = [
    (
        *("fall_ratio", {"start": "plateau", "stop": "drop"}),
        {"references": REFERENCES, "teacher": TEACHER},
        {
            7: np.log2((1.4 / 0.29) / (0.2 / 0.05)),
            8: np.log2(1.4 / (TAILS[8] - 20) * 100),  # 0.2 over a fifth of the run
            9: np.log2(0.1 / (0.15 / (1 - 0.95 / 1.95))),
            10: np.log2(1.0 / 0.1),
            11: 0.0,
            12: -2.0,
        },
    ),
    (
        *("fall_ratio", {"start": "tail", "stop": "end"}),
        {"references": REFERENCES, "teacher": TEACHER},
        {
            7: np.log2((1.4 / 0.29) / (0.5 / 0.46)),
            8: np.log2((1.4 / (TAILS[8] - 20)) / (0.5 / (100 - TAILS[8]))),
            **{9: 0.0, 10: 0.0, 11: 0.0, 12: 0.0},
        },
    ),
    (
        *("rise_in_drop", {}, ALL),
        {7: 2.0, 8: np.log2(0.8 * (TAILS[8] - 20) / 80 / 0.001), 9: 0.0, 10: 1.0, 11: 0.0, 12: 0.0},
    ),
    (
        *("rise_in_drop", {"n": 5}, ALL),
        {7: np.log2(54 / 25), 8: np.log2(TAILS[8] / 20), 9: 0.0, 10: np.log2(50.0), 11: 0.0, 12: 0.0},
    ),
    (
        *("turn_after_drop", {}, ALL),
        {
            7: np.log2((0.6 / 0.29) / (0.4 / 0.46)),
            **{8: 0.0, 9: 0.0, 10: np.log2(0.4 / 0.02), 11: 0.0},
            12: np.log2(0.02 / 0.4),
        },
    ),
    (
        *("fall_from_peak", {}, {"ngrams": NGRAMS}),
        {7: 1.0, 8: 0.0, 9: np.log2(3.0), 10: 0.0, 11: np.log2(500.0), 12: np.log2(2.5)},
    ),
    ("fall_from_peak", {"n": 5}, {"ngrams": NGRAMS}, dict.fromkeys(MEDIANS, 0.0)),
    (
        *("peak_from_candidate", {}, {"ngrams": NGRAMS, "candidates": CANDIDATES}),
        {7: 1.0, 8: 2.0, 9: 3.0, 10: 0.0, 11: 1.0, 12: 0.0},  # of equal ones the first
    ),
    *(
        ("gain", {"horizon": horizon, **against}, {"students": STUDENTS}, expected)
        for horizon, against, expected in (
            (0.2, {}, {7: 0.1, 8: -0.05}),
            (0.2, {"against": wiki.ONE_SHOT}, {7: 0.1, 8: 0.05}),
            (0.2, {"against": (LABELS,)}, {7: 0.2, 8: -0.05}),
            (0.5, {}, {7: -0.2, 8: 0.05}),
            (1.0, {}, {7: -0.3, 8: 0.1}),
        )
    ),
    ("mean_gain", {"against": wiki.ONE_SHOT}, {"students": STUDENTS}, {7: -0.1 / 3, 8: 0.2 / 3}),
    ("mean_gain", {"against": (LABELS,)}, {"students": STUDENTS}, {7: -0.1, 8: 0.15}),
]


@pytest.mark.parametrize(
    ("name", "arguments", "tables", "expected"),
    [pytest.param(*case, id=f"{case[0]} {i}") for i, case in enumerate(EFFECTS)],
)
def test_an_effect_is_what_plain_arithmetic_says(
    name: str, arguments: dict[str, Any], tables: Tables, expected: dict[int, float]
) -> None:
    assert_effect(getattr(wiki, name), tables, arguments, expected)


@pytest.mark.parametrize("end", PHASES)
def test_phases_begin_and_end_where_the_loss_passes_its_levels(end: str) -> None:
    def phase(tables: Tables) -> pd.Series:
        return wiki.phases(tables)[end]

    assert_effect(phase, {"references": REFERENCES, "teacher": TEACHER}, {}, PHASES[end])


def test_every_effect_of_the_page_is_measured_above() -> None:
    own = own_effects(wiki)
    assert own == {name for name, *_ in EFFECTS} | {"phases"}
    assert {c.effect.__name__ for _, c in (p.values for p in PARTS)} <= own


@pytest.mark.parametrize(
    ("name", "arguments", "tables"),
    [pytest.param(*case[:3], id=f"{case[0]} {i}") for i, case in enumerate(EFFECTS)],
)
def test_the_order_of_rows_and_their_numbers_do_not_matter(
    name: str, arguments: dict[str, Any], tables: Tables
) -> None:
    effect = getattr(wiki, name)
    once = effect(tables, **arguments)
    for i in range(2):
        other = {k: t.sample(frac=1, random_state=i).reset_index(drop=True) for k, t in tables.items()}
        joined = {  # one run after the other, each with numbers from 0
            k: pd.concat([part.reset_index(drop=True) for _, part in t.groupby("seed")]) if "seed" in t else t
            for k, t in other.items()
        }
        for changed in (other, joined):
            pd.testing.assert_series_equal(effect(changed, **arguments), once)


# Two routes to one number


def falling(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A loss that falls at every evaluation, from well above copying, 3 nats, to well below it."""
    steps = np.append(0, np.sort(rng.choice(np.arange(1, 400), 12, replace=False)))
    return np.append(steps, 400), np.append(5.0, 5.0 - np.cumsum(rng.uniform(0.1, 0.5, 13)))


@pytest.mark.parametrize("first", range(5))
def test_of_a_loss_that_only_falls_every_slope_is_a_known_fall_over_the_length_of_a_phase(first: int) -> None:
    rng = np.random.default_rng(first)
    curves = {s: falling(rng) for s in SEEDS}
    tables = {
        "references": REFERENCES,
        "teacher": table(
            "seed step loss_nats",
            *((s, t, x) for s, curve in curves.items() for t, x in zip(*curve, strict=True)),
        ),
    }
    still = wiki.fall_ratio(tables, "plateau", "drop")
    slow = wiki.fall_ratio(tables, "tail", "end")
    for s, (steps, loss) in curves.items():
        depth = 3.0 - loss[-1]  # below copying
        assert depth > 0.2
        levels = [3.1, 2.9, 3.0 - 0.75 * depth, loss[-1]]
        plateau, drop, tail, end = np.interp(levels, loss[::-1], steps[::-1])
        rapid = (0.75 * depth - 0.1) / (tail - drop)
        assert still[s] == pytest.approx(np.log2(rapid / (0.2 / (drop - plateau))))
        assert slow[s] == pytest.approx(np.log2(rapid / (0.25 * depth / (end - tail))))


def test_the_best_of_all_others_is_the_better_of_one_shot_and_labels() -> None:
    for horizon in wiki.HORIZONS:
        parts = [wiki.gain({"students": STUDENTS}, horizon, a) for a in (wiki.ONE_SHOT, (LABELS,))]
        np.testing.assert_allclose(
            wiki.gain({"students": STUDENTS}, horizon), np.minimum(*parts), rtol=0, atol=1e-15
        )


def test_the_mean_of_gains_is_the_gain_of_means_over_one_other() -> None:
    last = STUDENTS[STUDENTS.step == 100 * STUDENTS.horizon]
    mean = last.groupby(["seed", "method"]).accuracy.mean().unstack()
    found = wiki.mean_gain({"students": STUDENTS}, (LABELS,))
    np.testing.assert_allclose(found, mean.progressive - mean[LABELS], rtol=0, atol=1e-15)


@pytest.mark.parametrize("factor", [3, 400])
def test_the_unit_of_time_does_not_matter(factor: int) -> None:
    tables = ALL | {"candidates": CANDIDATES}
    scaled = {k: t.assign(step=factor * t.step) if "step" in t else t for k, t in tables.items()}
    for name, arguments, needed, expected in EFFECTS:
        if "students" not in needed and "n" not in arguments:
            assert getattr(wiki, name)(scaled, **arguments).to_dict() == pytest.approx(expected, abs=1e-9)


# A world in which the paper is right in everything, and one in which it is wrong in everything

STEPS = (0, 20, 40, 80, 120, 150, 180, 200, 220, 300, 400)  # of a teacher


def world(
    loss: Sequence[float], robust: Sequence[float], candidate: int, gains: Mapping[float, float]
) -> Tables:
    """Tables with the columns that the page makes.

    `loss` and `robust` are the teacher's at `STEPS`, `candidate` the step of C1; `gains` those of progressive over
    one-shot distillation by horizon, that over labels being twice as large.
    """
    noise = np.random.default_rng(1)

    def jitter() -> float:
        return float(noise.uniform(0.0, 0.002))

    return {
        "references": table("predictor loss_nats", ("uniform", 9.0), ("frequencies", 7.0), ("copy", 6.0)),
        "teacher": table(
            "seed step loss_nats accuracy",
            *((s, step, x + jitter(), 0.5) for s in SEEDS for step, x in zip(STEPS, loss, strict=True)),
        ),
        "candidates": table("seed step", *((s, candidate) for s in SEEDS)),
        "ngrams": table(
            "seed measure n step median",
            *(
                (s, measure, n, step, (x if (measure, n) == ("robust", 3) else 0.4) + jitter())
                for s in SEEDS
                for measure in ("robust", "close")
                for n in (3, 5, 7)
                for step, x in zip(STEPS, robust, strict=True)
                if step
            ),
        ),
        "students": table(
            "horizon seed method step accuracy",
            *(
                (horizon, s, method, step, (final if step else 0.3) + jitter())
                for horizon, gain in gains.items()
                for s in SEEDS
                for method, final in zip(METHODS, (0.7, 0.7 - gain, 0.69 - gain, 0.7 - 2 * gain), strict=True)
                for step in (0, 200 * horizon, 400 * horizon)
            ),
        ),
    }


def as_stated() -> Tables:
    return dict(_stated())


@cache  # tables are changed into others, never in place
def _stated() -> Tables:
    return world(
        # the plateau is left at step 121, three quarters are down at step 200
        loss=[9.0, 7.0, 6.08, 6.0, 5.92, 5.0, 4.0, 3.75, 3.5, 3.2, 3.0],
        robust=[0.0, 0.02, 0.05, 0.05, 0.05, 0.3, 0.6, 0.6, 0.58, 0.53, 0.5],
        candidate=165,
        gains={0.2: 0.1, 0.5: 0.05, 1.0: 0.02},
    )


def as_denied() -> Tables:
    return world(
        loss=[9.0, 8.0, 6.5, 5.0, 4.75, 4.5625, 4.375, 4.25, 4.125, 3.625, 3.0],  # even from step 80
        robust=[0.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.55, 0.8],
        candidate=150,
        gains={0.2: -0.1, 0.5: -0.05, 1.0: -0.05},
    )


def criterion_called(name: str) -> Criterion:
    return next(c for claim in CLAIMS for c in claim.criteria if c.name == name)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_every_claim_is_reproduced_where_the_paper_is_right_and_not_where_it_is_wrong(claim: Claim) -> None:
    verdict, parts = claim.judge(as_stated())
    assert verdict == REPRODUCED, [(p.criterion.name, p.interval) for p in parts]
    assert all(p.interval.n == len(SEEDS) for p in parts)
    verdict, parts = claim.judge(as_denied())
    assert {p.verdict for p in parts} == {NOT_REPRODUCED}, [(p.criterion.name, p.interval) for p in parts]
    assert verdict == NOT_REPRODUCED


# One thing at a time that is otherwise


def robust_at(query: str, value: float) -> Spoil:
    """M_robust, n = 3, has this value in the rows of a query."""
    return at(f"measure == 'robust' and n == 3 and {query}", "median", value)


# effect -> what makes it fail: the table, from the criterion's arguments, and the change
SPOILED: dict[str, Callable[[dict[str, Any]], tuple[str, Spoil]]] = {
    "fall_ratio": lambda a: (
        "teacher",
        at("step in (40, 80)", "loss_nats", 8.0)  # no rest on the way down
        if a["start"] == "plateau"
        else at("step > 180 and step < 400", "loss_nats", 3.9),
    ),
    "rise_in_drop": lambda _: ("ngrams", robust_at("step <= 120", 0.5)),
    "turn_after_drop": lambda _: ("ngrams", robust_at("step <= 120", 0.55)),
    "fall_from_peak": lambda _: ("ngrams", robust_at("step == 400", 0.58)),
    "peak_from_candidate": lambda _: ("candidates", at("step > 0", "step", 40)),
    "gain": lambda a: (
        "students",
        at(f"horizon == {a['horizon']} and method == 'one_shot_hard'", "accuracy", 0.95),
    ),
    "mean_gain": lambda a: ("students", at(f"method == '{a['against'][-1]}'", "accuracy", 0.95)),
}


def spoiled(criterion: Criterion) -> Tables:
    """The tables on which a criterion fails."""
    name, spoil = SPOILED[criterion.effect.__name__](dict(criterion.arguments))
    tables = as_stated()
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
        name: pd.concat([t.query("seed < 2"), bad[name].query("seed in (2, 3)")]) if "seed" in t else t
        for name, t in good.items()
    }
    assert criterion.judge(mixed).verdict == INCONCLUSIVE


OF_STUDENTS = parts_of("wiki", lambda c: c.effect.__name__ in ("gain", "mean_gain"))


@pytest.mark.parametrize(("claim", "criterion"), OF_STUDENTS)
def test_nothing_is_found_where_labels_are_shuffled_within_each_seed(
    claim: Claim, criterion: Criterion
) -> None:
    shuffled = labels_shuffled(as_stated(), ("method", "horizon"))
    assert criterion.judge(shuffled).verdict != REPRODUCED


@pytest.mark.parametrize("columns", [("step",), ("measure", "n")])
@pytest.mark.parametrize(
    ("claim", "criterion"), parts_of("wiki", lambda c: c.effect.__name__ not in ("gain", "mean_gain"))
)
def test_no_curriculum_is_found_where_the_teachers_measures_are_shuffled(
    claim: Claim, criterion: Criterion, columns: tuple[str, ...]
) -> None:
    tables = as_stated()
    needs_ngrams = criterion.effect.__name__ != "fall_ratio"
    if needs_ngrams:
        tables["ngrams"] = labels_shuffled({"ngrams": tables["ngrams"]}, columns)["ngrams"]
    else:
        tables["teacher"] = labels_shuffled({"teacher": tables["teacher"]}, ("step",))["teacher"]
    assert criterion.judge(tables).verdict != REPRODUCED


# Teachers without one of the phases


@pytest.mark.parametrize(
    ("query", "level"),
    [
        ("step >= 120", 5.95),  # never leaves the plateau
        ("step >= 40", 6.5),  # never comes to it
        ("step >= 0", 9.0),  # learns nothing
        ("step >= 220", 6.5),  # leaves it and ends above
    ],
)
def test_a_teacher_without_a_drop_reproduces_nothing_that_is_said_of_one(query: str, level: float) -> None:
    tables = as_stated()
    tables["teacher"] = at(query, "loss_nats", level)(tables["teacher"])
    found = wiki.phases(tables)
    assert (found["drop"] == found["tail"]).all()
    for name in (
        *("rapid after still", "slow after rapid", "M_robust rises in the drop"),
        "M_robust turns after it",
    ):
        assert criterion_called(name).judge(tables).verdict == NOT_REPRODUCED, name


def test_a_teacher_first_seen_below_copying_has_no_plateau_and_its_drop_begins_there() -> None:
    tables = as_stated()
    tables["teacher"] = tables["teacher"].query("step >= 150")
    found = wiki.phases(tables)
    assert (found[["plateau", "drop"]] == 150).all(axis=None)
    values = wiki.fall_ratio(tables, "plateau", "drop")
    fall = 0.75 * 3.0 - 1.0  # from the first evaluation, 1 nat below copying
    expected = np.log2(fall / ((found["tail"] - 150) / 400) / wiki.STILL)
    np.testing.assert_allclose(values, expected, atol=0.02)


def test_a_loss_that_falls_ever_more_slowly_never_stood_still() -> None:
    tables = as_stated()
    loss = {s: 3.0 + 6.0 * np.exp(-s / 60) for s in STEPS}
    tables["teacher"] = tables["teacher"].assign(loss_nats=tables["teacher"].step.map(loss))
    assert criterion_called("rapid after still").judge(tables).verdict == NOT_REPRODUCED
    assert criterion_called("slow after rapid").judge(tables).verdict == REPRODUCED


def test_a_plateau_that_is_flat_in_one_seed_does_not_drown_the_others() -> None:
    tables = as_stated()
    flat = tables["teacher"].query("seed == 0").iloc[[0]].assign(step=119.999, loss_nats=6.0)
    spread = pd.concat([tables["teacher"].query("seed != 0 or step != 120"), flat])
    values = criterion_called("rapid after still").judge(tables | {"teacher": spread}).values
    assert max(values) < min(values) + 5


def test_a_teacher_that_wobbles_has_no_phases() -> None:
    tables = as_stated()
    noise = np.random.default_rng(2)
    for name, column, level, size in (("teacher", "loss_nats", 6.0, 0.05), ("ngrams", "median", 0.3, 0.02)):
        t = tables[name]
        tables[name] = t.assign(**{column: level + size * noise.standard_normal(len(t))})
    for name in (
        *("rapid after still", "slow after rapid", "M_robust rises in the drop"),
        "M_robust turns after it",
    ):
        assert criterion_called(name).judge(tables).verdict != REPRODUCED, name


def test_a_measure_of_about_nothing_neither_rises_nor_falls_nor_turns() -> None:
    tables = as_stated()
    noise = np.random.default_rng(3).uniform(0.0, wiki.LEAST, len(tables["ngrams"]))
    tables["ngrams"] = tables["ngrams"].assign(median=noise)
    for name in ("M_robust rises in the drop", "M_robust falls", "M_robust turns after it"):
        judged = criterion_called(name).judge(tables)
        assert judged.verdict == NOT_REPRODUCED
        assert judged.values == (0.0,) * len(SEEDS)


@pytest.mark.parametrize("factor", [1.9, 2.0, 2.1])
def test_the_peak_may_lie_on_either_side_of_the_candidate_up_to_a_factor_of_two(factor: float) -> None:
    tables = as_stated()
    tables["ngrams"] = robust_at("step == 200", 0.7)(tables["ngrams"])
    for step in (200 * factor, 200 / factor):
        near = tables | {"candidates": tables["candidates"].assign(step=step)}
        verdict = criterion_called("M_robust peaks at C1").judge(near).verdict
        assert verdict == (REPRODUCED if factor < 2 else NOT_REPRODUCED)


@pytest.mark.parametrize(("claim", "criterion"), OF_STUDENTS)
def test_students_that_are_all_alike_have_no_gain(claim: Claim, criterion: Criterion) -> None:
    tables = as_stated()
    tables["students"] = tables["students"].assign(accuracy=0.5)
    judged = criterion.judge(tables)
    assert set(judged.values) == {0.0}
    assert judged.verdict == NOT_REPRODUCED


# changes of one table -> the claims that are no longer reproduced
DECIDES: list[tuple[str, Spoil, set[str]]] = [
    ("references", at("predictor != 'copy'", "loss_nats", 1.0), set()),
    (
        "references",
        at("predictor == 'copy'", "loss_nats", 4.0),
        {"Figure 6", "inflection-in-natural-language"},
    ),
    ("teacher", at("step == 0", "loss_nats", 12.0), set()),
    ("teacher", at("step >= 0", "accuracy", 0.1), set()),
    ("teacher", at("step in (40, 80)", "loss_nats", 8.0), {"Figure 6"}),
    ("candidates", at("step > 0", "step", 200), set()),
    ("candidates", at("step > 0", "step", 40), {"Figure 6"}),
    ("ngrams", at("measure == 'close' or n > 3", "median", 0.9), set()),
    ("ngrams", robust_at("step == 150", 0.05), set()),  # how it rises within the drop is open
    ("ngrams", robust_at("step == 400", 0.58), {"Figure 6"}),
    ("ngrams", robust_at("step <= 120", 0.55), {"Figure 6", "inflection-in-natural-language"}),
    ("students", at("step == 0", "accuracy", 0.99), set()),
    ("students", at("horizon < 1 and step == 200 * horizon", "accuracy", 0.99), set()),  # the ends count
    ("students", at("method == 'one_shot_hard'", "accuracy", 0.1), set()),  # the better one is the rival
    ("students", at("horizon == 1 and method == 'one_shot'", "accuracy", 0.72), {"Figure 6"}),
    (
        "students",
        at("horizon == 1 and method == 'one_shot_hard'", "accuracy", 0.95),
        {"Figure 6", "benefit-in-natural-language"},
    ),
    (
        "students",
        at("method == 'cross_entropy'", "accuracy", 0.75),
        {"Figure 6", "benefit-in-natural-language"},
    ),
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


def test_better_than_one_shot_but_not_than_the_data_is_part_of_the_benefit() -> None:
    tables = as_stated()
    tables["students"] = at("method == 'cross_entropy'", "accuracy", 0.75)(tables["students"])
    benefit = next(claim for claim in CLAIMS if claim.id == "benefit-in-natural-language")
    verdict, parts = benefit.judge(tables)
    assert verdict == PARTLY
    assert [p.verdict for p in parts] == [REPRODUCED, NOT_REPRODUCED]


# What the page did not run

NEEDED = {
    "Figure 6": {"references", "teacher", "candidates", "ngrams", "students"},
    "inflection-in-natural-language": {"references", "teacher", "ngrams"},
    "benefit-in-natural-language": {"students"},
}


@pytest.mark.parametrize("name", as_stated())
def test_claims_without_their_tables_are_not_run_and_the_others_are_judged(name: str, store: Store) -> None:
    assert_only_what_needs_it_is_not_run("wiki", as_stated(), name, NEEDED, store)


@pytest.mark.parametrize(("name", "arguments", "tables"), [case[:3] for case in EFFECTS])
def test_a_table_that_is_not_there_is_named(name: str, arguments: dict[str, Any], tables: Tables) -> None:
    for missing in tables:
        with pytest.raises(MissingTableError, match=missing):
            getattr(wiki, name)({k: t for k, t in tables.items() if k != missing}, **arguments)


@pytest.mark.parametrize(
    ("kept", "unjudged"),
    [
        ({"ngrams": "n != 3"}, {"Figure 6", "inflection-in-natural-language"}),
        ({"ngrams": "measure == 'close'"}, {"Figure 6", "inflection-in-natural-language"}),
        ({"students": "horizon != 0.5"}, {"Figure 6", "benefit-in-natural-language"}),
        ({"students": "horizon == 0.2"}, {"Figure 6", "benefit-in-natural-language"}),
    ],
)
def test_what_other_parameters_leave_out_is_not_run(
    kept: dict[str, str], unjudged: set[str], store: Store
) -> None:
    tables = {name: t.query(kept[name]) if name in kept else t for name, t in as_stated().items()}
    verdicts = judged_page("wiki", tables, store)
    assert not_run(verdicts) == unjudged
    assert set(judged_page("wiki", tables, store, "smoke").values()) == {NOT_RUN, "not judged"}


def test_nothing_is_judged_on_a_smoke_run(store: Store) -> None:
    assert set(judged_page("wiki", as_stated(), store, "smoke").values()) == {"not judged"}


@pytest.mark.parametrize(
    ("name", "query"),
    [
        *(("students", f"seed != 3 or method != '{method}'") for method in METHODS),
        *(("students", f"seed != 3 or horizon != {horizon}") for horizon in wiki.HORIZONS),
        *((name, "seed != 3") for name in ("teacher", "candidates", "ngrams")),
        ("ngrams", "seed != 3 or n != 3"),
        ("ngrams", "seed != 3 or measure != 'robust'"),
    ],
)
def test_a_run_that_one_seed_lacks_is_an_error_and_not_left_out(name: str, query: str) -> None:
    tables = as_stated()
    tables[name] = tables[name].query(query)
    assert_a_seed_without_a_run_is_an_error(PARTS, tables)


@pytest.mark.parametrize(("name", "arguments", "tables"), [case[:3] for case in EFFECTS])
def test_no_value_is_invented_for_a_seed_that_a_table_lacks(
    name: str, arguments: dict[str, Any], tables: Tables
) -> None:
    for lacking, t in tables.items():
        if "seed" in t:
            values = getattr(wiki, name)(tables | {lacking: t.query("seed != 7")}, **arguments)
            assert np.isnan(values.get(7, np.nan))
            assert values.drop(7, errors="ignore").notna().all()


@pytest.mark.parametrize(
    ("name", "query", "missing"),
    [
        ("references", "predictor != 'copy'", "copy"),
        ("students", "method != 'progressive'", "progressive"),
        ("students", "method != 'one_shot_hard'", "one_shot_hard"),
    ],
)
def test_what_no_seed_has_is_named(name: str, query: str, missing: str) -> None:
    tables = as_stated()
    tables[name] = tables[name].query(query)
    with pytest.raises(ValueError, match=missing):
        CLAIMS[0].judge(tables)


# The register


def test_the_claims_of_the_page_are_those_of_the_register() -> None:
    assert_claims_are_those_of_the_register("wiki")


def test_every_effect_gives_one_value_a_seed() -> None:
    for _, criterion in (p.values for p in PARTS):
        values = criterion.values(as_stated())
        assert sorted(values.index) == list(SEEDS)
        assert values.index.name in ("seed", None)

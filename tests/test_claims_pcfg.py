"""Claims of the page `pcfg`: each effect against plain arithmetic, each criterion both ways."""

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
    NOT_REPRODUCED,
    NOT_RUN,
    REPRODUCED,
    Claim,
    Criterion,
    MissingTableError,
    pcfg,
)
from pdlib.store import Store

CLAIMS = claims.of_page("pcfg")
PARTS = parts_of("pcfg")


def table(columns: str, *rows: tuple[Any, ...]) -> pd.DataFrame:
    """Rows in any order."""
    return pd.DataFrame(list(rows), columns=columns.split()).sample(frac=1, random_state=0)


# Effects, on tables whose answer is plain arithmetic

TEACHER = table(
    "seed step loss_nats accuracy",
    # slopes: 0.1 / 0.025 = 4 from 2.5 to 5 % of 200 steps, 0.4 / 0.2 = 2 up to 25 %, 0.3 / 0.75 = 0.4 after it
    *((7, 0, 2.0, 0.4), (7, 5, 1.0, 0.5), (7, 10, 0.9, 0.5), (7, 50, 0.5, 0.6), (7, 200, 0.2, 0.9)),
    # 0.95 and 0.9 by interpolation: 2, 0.5, and 0.1 for nothing at all
    *((8, 0, 1.0, 0.4), (8, 20, 0.8, 0.5), (8, 200, 0.8, 0.9)),
)
NGRAMS = table(
    "seed measure n step median",
    *((7, "robust", 3, 10, 0.1), (7, "robust", 3, 20, 0.8), (7, "robust", 3, 50, 0.2)),
    *((7, "robust", 3, 5, 0.7), (7, "robust", 3, 200, 0.1)),
    *((8, "robust", 3, 10, 0.2), (8, "robust", 3, 50, 0.1), (8, "robust", 3, 200, 0.4)),
    *((7, "robust", 5, 10, 0.9), (8, "robust", 5, 10, 0.9)),
    *((7, "close", 7, 10, 0.9), (7, "close", 7, 20, 0.4), (7, "close", 7, 200, 0.1)),
    *((8, "close", 7, 10, 0.9), (8, "close", 7, 50, 0.2), (8, "close", 7, 200, 0.4)),
    *((7, "close", 3, 20, 0.9), (8, "close", 3, 20, 0.9)),
)
CANDIDATES = table(
    "seed candidate step", (7, "loss", 20), (8, "loss", 30), (7, "robust", 200), (8, "robust", 200)
)
VANISHES = table(  # 0.128 over at least 0.001 is 2^7
    "seed measure n step median",
    *(
        (s, measure, n, step, median)
        for s in (7, 8)
        for measure, n in (("robust", 3), ("close", 7))
        for step, median in ((10, 0.0), (50, 0.128), (200, 0.0002))
    ),
)
NONTERMINALS = table(
    "seed step level accuracy",
    *((7, 0, 1, 0.9), (7, 0, 2, 0.9), (7, 20, 1, 0.6), (7, 20, 2, 0.8), (7, 200, 1, 0.7), (7, 200, 2, 0.9)),
    *((8, 0, 1, 0.2), (8, 0, 2, 0.2), (8, 50, 1, 0.5), (8, 50, 2, 0.5), (8, 200, 1, 0.5), (8, 200, 2, 0.3)),
)
STUDENTS = table(
    "horizon seed method step accuracy",
    *((0.25, 7, "progressive", 0, 0.1), (0.25, 7, "progressive", 50, 0.7)),
    *((0.25, 7, "cross_entropy", 0, 0.9), (0.25, 7, "cross_entropy", 50, 0.5)),
    *((0.25, 7, "one_shot", 50, 0.6), (0.25, 7, "one_shot_hard", 50, 0.4)),
    *((0.25, 8, "progressive", 50, 0.75), (0.25, 8, "cross_entropy", 50, 0.8)),
    *((0.25, 8, "one_shot", 50, 0.6), (0.25, 8, "one_shot_hard", 50, 0.7)),
    *((0.5, 7, "progressive", 100, 0.7), (0.5, 7, "cross_entropy", 100, 0.2)),
    *((0.5, 7, "one_shot", 100, 0.75), (0.5, 7, "one_shot_hard", 100, 0.9)),
)
CHECKPOINTS = table(
    "seed checkpoint step accuracy",
    *((7, 5, 50, 0.5), (7, 10, 50, 0.7), (7, 40, 50, 0.6), (7, "loss", 50, 0.65), (7, "robust", 50, 0.9)),
    *((7, 5, 0, 0.9), (7, 10, 0, 0.9), (7, 40, 0, 0.9), (7, "loss", 0, 0.9), (7, "robust", 0, 0.9)),
    *((8, 5, 50, 0.8), (8, 10, 50, 0.6), (8, 40, 50, 0.7), (8, "loss", 50, 0.8), (8, "robust", 50, 0.1)),
)
STUDENT_NGRAMS = table(
    "seed method measure n median",
    *((7, "progressive", "robust", 3, 0.2), (7, "cross_entropy", "robust", 3, 0.3)),
    *((7, "one_shot", "robust", 3, 0.4), (7, "one_shot_hard", "robust", 3, 0.1)),
    *((8, "progressive", "robust", 3, 0.0), (8, "cross_entropy", "robust", 3, 0.3)),
    *((8, "one_shot", "robust", 3, 0.4), (8, "one_shot_hard", "robust", 3, 0.2)),
    *((s, method, "close", 3, 0.0) for s in (7, 8) for method in ("progressive", *pcfg.ANY)),
    *((s, method, "robust", 5, 0.0) for s in (7, 8) for method in ("progressive", *pcfg.ANY)),
)

STUDENT_NONTERMINALS = table(
    "seed method level accuracy",
    *((7, "progressive", 1, 0.6), (7, "progressive", 2, 0.4), (7, "progressive", 3, 0.2)),
    *((7, "cross_entropy", 1, 0.5), (7, "cross_entropy", 2, 0.8), (7, "cross_entropy", 3, 0.8)),
    *((7, "one_shot", 1, 0.7), (7, "one_shot", 2, 0.2), (7, "one_shot", 3, 0.0)),
    *((7, "one_shot_hard", level, 0.1) for level in (1, 2, 3)),
)
HEADS = table(
    "seed n_heads step accuracy",
    *((7, 2, 10, 0.2), (7, 2, 40, 0.5), (7, 2, 80, 0.5)),  # 0.4 at step 40
    *((7, 16, 10, 0.9), (7, 16, 40, 0.95), (7, 16, 80, 1.0)),  # 0.8 at step 10
    *((8, 2, 0, 0.5), (8, 2, 80, 0.5)),  # before the first step
    *((8, 16, 0, 0.1), (8, 16, 8, 0.7), (8, 16, 80, 0.8)),
    *((s, 4, step, 0.1) for s in (7, 8) for step in (0, 80)),
)
VARIANTS = table(
    "size horizon seed method step accuracy",
    *(("small", 0.25, 7, "progressive", 50, 0.6), ("small", 0.25, 7, "progressive", 0, 0.1)),
    *(("small", 0.25, 7, "one_shot", 50, 0.5), ("small", 0.25, 7, "one_shot_hard", 50, 0.55)),
    *(("strong", 0.25, 7, "progressive", 50, 0.4), ("strong", 0.25, 7, "one_shot", 50, 0.55)),
    *(("strong", 0.25, 7, "one_shot_hard", 50, 0.5), ("small", 1.0, 7, "progressive", 200, 0.9)),
    *(("small", 1.0, 7, "one_shot", 200, 0.6), ("small", 1.0, 7, "one_shot_hard", 200, 0.7)),
)
ELSEWHERE = table(
    "seed setting method step accuracy",
    *(
        (s, setting, method, step, a if step else 0.1)
        for s, setting, progressive, one_shot in (
            *((7, "as above", 0.6, 0.5), (7, "p = 0.15", 0.5, 0.55), (7, "p = 0.5", 0.9, 0.6)),
            *((8, "as above", 0.5, 0.5), (8, "p = 0.15", 0.6, 0.5), (8, "p = 0.5", 0.7, 0.5)),
            *(
                (7, "cfg3i", 0.7, 0.68),
                (8, "cfg3i", 0.5, 0.4),
                (7, "cfg3h", 0.1, 0.9),
                (8, "cfg3h", 0.1, 0.9),
            ),
        )
        for method, a in (("progressive", progressive), ("one_shot_hard", one_shot))
        for step in (0, 50)
    ),
)

EFFECTS: list[tuple[str, dict[str, Any], Tables, dict[int, float]]] = [
    (
        "final_gain",
        {"method": "progressive", "against": pcfg.ANY},
        {"students": STUDENTS},
        {7: 0.1, 8: -0.05},
    ),
    (
        *("final_gain", {"method": "progressive", "against": pcfg.ONE_SHOT}),
        {"students": STUDENTS},
        {7: 0.1, 8: 0.05},
    ),
    (
        *("final_gain", {"method": "progressive", "against": pcfg.ANY, "horizon": 0.5}),
        {"students": STUDENTS},
        {7: -0.2},
    ),
    ("slope_ratio", {"one": (0.05, 0.25), "other": (0.025, 0.05)}, {"teacher": TEACHER}, {7: -1.0, 8: -2.0}),
    (
        *("slope_ratio", {"one": (0.05, 0.25), "other": (0.25, 1.0)}),
        {"teacher": TEACHER},
        {7: np.log2(5.0), 8: np.log2(5.0)},
    ),
    ("slope_ratio", {"one": (0.25, 1.0), "other": (0.25, 1.0)}, {"teacher": TEACHER}, {7: 0.0, 8: 0.0}),
    ("peak_time", {}, {"teacher": TEACHER, "ngrams": NGRAMS}, {7: 0.1, 8: 1.0}),
    ("peak_time", {"measure": "close", "n": 7}, {"teacher": TEACHER, "ngrams": NGRAMS}, {7: 0.05, 8: 0.05}),
    ("fall_from_peak", {}, {"ngrams": NGRAMS}, {7: 3.0, 8: 0.0}),
    ("fall_from_peak", {}, {"ngrams": VANISHES}, {7: 7.0, 8: 7.0}),
    ("rise_to_peak", {}, {"teacher": TEACHER, "ngrams": NGRAMS}, {7: 3.0, 8: 1.0}),
    ("rise_to_peak", {}, {"teacher": TEACHER, "ngrams": VANISHES}, {7: 7.0, 8: 7.0}),
    *(
        ("candidate_gain", {"candidate": "loss", "against": against}, {"checkpoints": CHECKPOINTS}, expected)
        for against, expected in (
            ("first", {7: 0.15, 8: 0.0}),
            ("last", {7: 0.05, 8: 0.1}),
            ("best", {7: -0.05, 8: 0.0}),
        )
    ),
    (
        *("candidate_gain", {"candidate": "robust", "against": "best"}),
        {"checkpoints": CHECKPOINTS},
        {7: 0.2, 8: -0.7},
    ),
    # at step 20, and at 50 for want of 30
    ("close_turn", {"n": 7}, {"ngrams": NGRAMS, "candidates": CANDIDATES}, {7: 2.0, 8: -1.0}),
    ("close_turn", {"n": 7}, {"ngrams": VANISHES, "candidates": CANDIDATES}, {7: 7.0, 8: 7.0}),
    (
        *("probe_share", {}),
        {"nonterminals": NONTERMINALS, "candidates": CANDIDATES},
        {7: 0.7 / 0.8, 8: 0.5 / 0.4},
    ),
    (
        *("student_measure", {"measure": "robust", "n": 3}),
        {"student_ngrams": STUDENT_NGRAMS},
        {7: 0.1, 8: -0.2},
    ),
    (
        *("student_measure", {"measure": "robust", "n": 3, "against": ("one_shot",)}),
        {"student_ngrams": STUDENT_NGRAMS},
        {7: -0.2, 8: -0.4},
    ),
    ("student_measure", {"measure": "close", "n": 3}, {"student_ngrams": STUDENT_NGRAMS}, {7: 0.0, 8: 0.0}),
    ("student_probe", {"n_levels": 1}, {"student_nonterminals": STUDENT_NONTERMINALS}, {7: -0.1}),
    ("student_probe", {"n_levels": 2}, {"student_nonterminals": STUDENT_NONTERMINALS}, {7: -0.15}),
    ("student_probe", {"n_levels": 99}, {"student_nonterminals": STUDENT_NONTERMINALS}, {7: -0.3}),
    (
        *("student_probe", {"n_levels": 1, "against": ("cross_entropy",)}),
        {"student_nonterminals": STUDENT_NONTERMINALS},
        {7: 0.1},
    ),
    ("heads_delay", {}, {"heads": HEADS}, {7: 2.0, 8: -3.0}),
    ("heads_final", {}, {"heads": HEADS}, {7: 0.5, 8: 0.3}),
    *(
        (
            *(
                "variant_gain",
                {"size": size, "horizon": horizon, "method": "progressive", "against": against},
            ),
            *({"variants": VARIANTS}, {7: expected}),
        )
        for size, horizon, against, expected in (
            ("small", 0.25, pcfg.ONE_SHOT, 0.05),
            ("small", 0.25, ("one_shot",), 0.1),
            ("strong", 0.25, pcfg.ONE_SHOT, -0.15),
            ("small", 1.0, pcfg.ONE_SHOT, 0.2),
        )
    ),
    ("mask_rate_gain", {}, {"elsewhere": ELSEWHERE}, {7: -0.05, 8: 0.1}),
    ("grammar_gain", {"setting": "cfg3i"}, {"elsewhere": ELSEWHERE}, {7: -0.08, 8: 0.1}),
    ("shrinking", {}, {"students": STUDENTS[STUDENTS.seed == 7]}, {7: 0.3}),
    *(
        (
            "lead_over_teacher",
            {"method": method, "horizon": 0.25},
            {"variants": VARIANTS, "teacher": TEACHER},
            {7: x},
        )
        for method, x in (("progressive", 0.0), ("one_shot", -0.1))
    ),
]


@pytest.mark.parametrize(
    ("name", "arguments", "tables", "expected"),
    [pytest.param(*case, id=f"{case[0]} {i}") for i, case in enumerate(EFFECTS)],
)
def test_an_effect_is_what_plain_arithmetic_says(
    name: str, arguments: dict[str, Any], tables: Tables, expected: dict[int, float]
) -> None:
    assert_effect(getattr(pcfg, name), tables, arguments, expected)


def test_every_effect_of_the_page_is_measured_above() -> None:
    own = own_effects(pcfg)
    assert own == {name for name, *_ in EFFECTS}
    assert {c.effect.__name__ for _, c in (p.values for p in PARTS)} <= own


# A world in which the paper is right in everything, and one in which it is wrong in everything

STEPS = (0, 10, 20, 40, 60, 100, 200, 400)  # of a teacher; 10, 20 and 100 are 2.5, 5 and 25 % of them
GRID = (20, 40, 100, 300)


def world(
    loss: Sequence[float],
    robust: Sequence[float],
    close: Sequence[float],
    probe: Sequence[float],
    progressive: Sequence[float],
    grid: Sequence[float],
    inflection: float,
    low: float,
    heads: Mapping[int, Sequence[float]],
    early: Mapping[str, float],
    late: Mapping[str, float],
    gains: Mapping[str, float],
    teacher: float,
) -> Tables:
    """Tables with the columns that the page makes.

    `loss`, `robust`, `close` and `probe` are the teacher's at `STEPS`, `grid` the (2, T) students' final accuracy by
    the first checkpoint and `inflection` that of the candidate at step 60. Progressive students have the final accuracies
    `progressive`, at a quarter and half, and the first as probe accuracy, where others have 0.7; and measures `low`
    where others have 0.3. `heads` are accuracies at `STEPS` by number of heads, `early` and `late` those of methods at a
    quarter and the whole of T0, `gains` those of progressive over one-shot distillation by setting; `teacher` is the
    teacher's accuracy.
    """
    noise = np.random.default_rng(1)

    def jitter() -> float:
        return float(noise.uniform(0.0, 0.002))

    measures = [("robust", n) for n in (3, 5, 7)] + [("close", n) for n in (3, 5, 7)]
    methods = {"progressive": progressive[0], "cross_entropy": 0.7, "one_shot": 0.7, "one_shot_hard": 0.69}
    medians = {method: low if method == "progressive" else 0.3 for method in methods}
    first = {**dict(zip(GRID, grid, strict=True)), "loss": inflection, "robust": grid[-1]}
    return {
        "teacher": table(
            "seed step loss_nats accuracy",
            *((s, step, x + jitter(), teacher) for s in SEEDS for step, x in zip(STEPS, loss, strict=True)),
        ),
        "candidates": table(
            "seed candidate step",
            *((s, name, step) for s in SEEDS for name, step in (("loss", 60), ("robust", 200))),
        ),
        "ngrams": table(
            "seed measure n step median",
            *(
                (s, measure, n, step, x + jitter())
                for s in SEEDS
                for measure, n in measures
                for step, x in zip(STEPS, robust if measure == "robust" else close, strict=True)
                if step
            ),
        ),
        "nonterminals": table(
            "seed step level accuracy",
            *(
                (s, step, level, x + 0.02 * level + jitter())
                for s in SEEDS
                for level in (1, 2, 3)
                for step, x in zip(STEPS, probe, strict=True)
            ),
        ),
        "students": table(
            "horizon seed method step accuracy",
            *(
                (horizon, s, method, step, (final if step else 0.3) + jitter())
                for horizon, of_progressive in zip((0.25, 0.5), progressive, strict=True)
                for s in SEEDS
                for method, final in (methods | {"progressive": of_progressive}).items()
                for step in (0, 200 * horizon, 400 * horizon)
            ),
        ),
        "checkpoints": table(
            "seed checkpoint step accuracy",
            *(
                (s, name, step, (final if step else 0.3) + jitter())
                for s in SEEDS
                for name, final in first.items()
                for step in (0, 100)
            ),
        ),
        "student_ngrams": table(
            "seed method measure n median",
            *(
                (s, method, measure, n, x + jitter())
                for s in SEEDS
                for measure, n in measures
                for method, x in medians.items()
            ),
        ),
        "student_nonterminals": table(
            "seed method level accuracy",
            *(
                (s, method, level, x + 0.02 * level + jitter())
                for s in SEEDS
                for level in (1, 2, 3)
                for method, x in methods.items()
            ),
        ),
        "heads": table(
            "seed n_heads step accuracy",
            *(
                (s, n, step, x + jitter())
                for s in SEEDS
                for n, curve in heads.items()
                for step, x in zip(STEPS, curve, strict=True)
            ),
        ),
        "variants": table(
            "size horizon seed method step accuracy",
            *(
                (size, horizon, s, method, step, (final if step else 0.3) + jitter())
                for size in ("small", "strong")
                for horizon, finals in ((0.25, early), (0.5, early), (1.0, late))
                for s in SEEDS
                for method, final in finals.items()
                for step in (0, 400 * horizon)
            ),
        ),
        "elsewhere": table(
            "seed setting method step accuracy",
            *(
                (s, setting, method, step, (0.5 + more if step else 0.3) + jitter())
                for s in SEEDS
                for setting, gain in gains.items()
                for method, more in (("progressive", gain), ("one_shot_hard", 0.0))
                for step in (0, 100)
            ),
        ),
    }


def as_stated() -> Tables:
    return dict(_stated())


@cache  # tables are changed into others, never in place
def _stated() -> Tables:
    return world(
        loss=[1.4, 1.01, 1.0, 0.9, 0.7, 0.3, 0.2, 0.1],
        robust=[0.0, 0.01, 0.01, 0.3, 0.8, 0.4, 0.1, 0.01],
        close=[0.0, 0.1, 0.3, 0.4, 0.4, 0.3, 0.1, 0.01],
        probe=[0.4, 0.5, 0.6, 0.8, 0.9, 0.91, 0.91, 0.92],
        progressive=[0.8, 0.77],
        grid=[0.6, 0.75, 0.78, 0.7],
        inflection=0.8,
        low=0.1,
        heads={
            2: [0.3, 0.3, 0.35, 0.4, 0.45, 0.5, 0.7, 0.8],
            4: [0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85],
            8: [0.3, 0.4, 0.5, 0.6, 0.8, 0.9, 0.9, 0.92],
        },
        early={
            **{"cross_entropy": 0.65, "one_shot": 0.7, "one_shot_hard": 0.69},
            **{
                "progressive": 0.8,
                "progressive_split": 0.8,
                "progressive_half": 0.85,
                "progressive_soft": 0.6,
            },
        },
        late={
            **{"cross_entropy": 0.85, "one_shot": 0.85, "one_shot_hard": 0.85},
            **{
                "progressive": 0.9,
                "progressive_split": 0.9,
                "progressive_half": 0.87,
                "progressive_soft": 0.85,
            },
        },
        teacher=0.5,
        gains={
            **{"as above": 0.1, "p = 0.15": 0.05, "p = 0.5": 0.08, "cfg3i": 0.01, "cfg3h": 0.2},
            **{"hidden positions": 0.1, "dropout 0.1": 0.1},
        },
    )


def as_denied() -> Tables:
    return world(
        loss=[1.4, 1.4, 1.0, 0.95, 0.9, 0.8, 0.5, 0.0],
        robust=[0.0, 0.3, 0.4, 0.4, 0.35, 0.4, 0.45, 0.5],
        close=[0.0, 0.1, 0.1, 0.1, 0.1, 0.2, 0.3, 0.4],
        probe=[0.4, 0.4, 0.4, 0.4, 0.5, 0.7, 0.8, 0.9],
        progressive=[0.6, 0.65],
        grid=[0.8, 0.75, 0.7, 0.8],
        inflection=0.7,
        low=0.4,
        heads={
            2: [0.3, 0.4, 0.8, 0.9, 0.9, 0.9, 0.9, 0.9],
            8: [0.3, 0.3, 0.3, 0.3, 0.4, 0.5, 0.7, 0.8],
        },
        early={
            **{"cross_entropy": 0.65, "one_shot": 0.8, "one_shot_hard": 0.8},
            **{
                "progressive": 0.75,
                "progressive_split": 0.75,
                "progressive_half": 0.7,
                "progressive_soft": 0.85,
            },
        },
        late={
            **{"cross_entropy": 0.8, "one_shot": 0.8, "one_shot_hard": 0.8},
            **{
                "progressive": 0.7,
                "progressive_split": 0.7,
                "progressive_half": 0.8,
                "progressive_soft": 0.8,
            },
        },
        teacher=0.95,
        gains={"as above": 0.05, "p = 0.15": -0.05, "p = 0.5": 0.1, "cfg3i": 0.1, "cfg3h": 0.0},
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


def of_part(arguments: Mapping[str, Any]) -> str:
    return f"measure == '{arguments['measure']}' and n == {arguments['n']}"


# effect -> what makes it fail: the table, from the criterion's arguments, and the change
SPOILED: dict[str, Callable[[dict[str, Any]], tuple[str, Spoil]]] = {
    "final_gain": lambda a: (
        "students",
        at(f"horizon == {a['horizon']} and method == 'one_shot_hard' and step > 0", "accuracy", 0.85),
    ),
    "slope_ratio": lambda a: (
        "teacher",
        at("step == 20", "loss_nats", 0.8) if a["other"][1] < 0.25 else at("step == 100", "loss_nats", 0.8),
    ),
    "rise_to_peak": lambda _: ("ngrams", at("measure == 'robust' and step == 20", "median", 0.5)),
    "fall_from_peak": lambda _: ("ngrams", at("measure == 'robust' and step == 400", "median", 0.5)),
    "peak_time": lambda _: ("ngrams", at("measure == 'robust' and step == 200", "median", 0.9)),
    "candidate_gain": lambda a: (
        "checkpoints",
        at(f"step > 0 and checkpoint == {GRID[-1] if a['against'] == 'last' else GRID[0]}", "accuracy", 0.85),
    ),
    "close_turn": lambda _: ("ngrams", at("measure == 'close' and step == 60", "median", 0.015)),
    "probe_share": lambda _: ("nonterminals", at("step == 60", "accuracy", 0.85)),
    "student_measure": lambda a: (
        "student_ngrams",
        at(f"{of_part(a)} and method == 'one_shot_hard'", "median", 0.05),
    ),
    "student_probe": lambda a: (
        "student_nonterminals",
        at("method == 'one_shot_hard' and (level == 1)", "accuracy", 0.9)
        if a["n_levels"] == 1
        else exchanged("method", "progressive", "cross_entropy"),
    ),
    "heads_delay": lambda _: ("heads", at("n_heads == 2 and step == 10", "accuracy", 0.95)),
    "heads_final": lambda _: ("heads", at("n_heads == 8 and step == 400", "accuracy", 0.7)),
    "variant_gain": lambda a: (
        "variants",
        at(
            f"size == '{a['size']}' and horizon == {a['horizon']} and method == '{a['method']}'",
            "accuracy",
            0.99 if a["method"] == "progressive_soft" else 0.3,
        ),
    ),
    "lead_over_teacher": lambda a: (
        "variants",
        at(f"horizon == {a['horizon']} and method == '{a['method']}'", "accuracy", 0.3),
    ),
    "mask_rate_gain": lambda _: (
        "elsewhere",
        at("setting == 'p = 0.5' and method == 'progressive'", "accuracy", 0.3),
    ),
    "grammar_gain": lambda a: (
        "elsewhere",
        at(f"setting == '{a['setting']}' and method == 'progressive'", "accuracy", 0.9),
    ),
    "shrinking": lambda _: (
        "students",
        at("horizon == 0.5 and method == 'progressive'", "accuracy", 0.9),
    ),
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


OF_TEACHER = (
    "lead_over_teacher",
    "slope_ratio",
    "rise_to_peak",
    "fall_from_peak",
    "peak_time",
    "close_turn",
    "probe_share",
)


@pytest.mark.parametrize(
    ("claim", "criterion"), parts_of("pcfg", lambda c: c.effect.__name__ not in OF_TEACHER)
)
def test_nothing_is_found_where_labels_are_shuffled_within_each_seed(
    claim: Claim, criterion: Criterion
) -> None:
    tables = as_stated()
    tables["checkpoints"] = tables["checkpoints"].astype({"checkpoint": str})
    shuffled = labels_shuffled(tables, ("method", "checkpoint", "n_heads", "setting"))
    assert criterion.judge(shuffled).verdict != REPRODUCED


def test_a_teacher_that_wobbles_has_no_phases() -> None:
    tables = as_stated()
    noise = np.random.default_rng(2)
    for name, column, level, size in (("teacher", "loss_nats", 1.0, 0.02), ("ngrams", "median", 0.3, 0.05)):
        steps = tables[name]
        tables[name] = steps.assign(**{column: level + size * noise.standard_normal(len(steps))})
    of_teacher = ("slow after rapid", "M_robust rises", "M_robust falls", "M_close falls from the middle on")
    found = {c.name: c.judge(tables).verdict for _, c in (p.values for p in PARTS) if c.name in of_teacher}
    assert found == dict.fromkeys(of_teacher, NOT_REPRODUCED)


# changes of one table -> the claims that are no longer reproduced
DECIDES: list[tuple[str, Spoil, set[str]]] = [
    ("students", at("method == 'cross_entropy'", "accuracy", 0.76), set()),
    ("students", at("method == 'cross_entropy' and horizon == 0.5", "accuracy", 0.85), {"Figure 1 (right)"}),
    ("students", at("step < 50", "accuracy", 0.99), set()),  # the ends of runs are compared
    (
        "students",
        at("method == 'one_shot' and horizon == 0.25", "accuracy", 0.78),
        {"Figure 26", "gap-closes-with-training"},
    ),
    ("checkpoints", at("checkpoint == 100 and step > 0", "accuracy", 0.805), set()),  # within a point
    ("checkpoints", at("checkpoint == 100 and step > 0", "accuracy", 0.82), {"R4", "Figure 4"}),
    ("checkpoints", at("checkpoint == 'robust'", "accuracy", 0.99), set()),  # no part of the grid
    ("checkpoints", at("step == 0", "accuracy", 0.99), set()),
    ("teacher", at("step == 0", "loss_nats", 9.0), set()),
    ("teacher", at("step == 10", "loss_nats", 0.9), set()),  # a loss that rises stands still too
    ("teacher", at("step == 10", "loss_nats", 1.4), {"Figure 4"}),
    ("ngrams", at("measure == 'robust' and n > 3", "median", 0.5), set()),
    ("ngrams", at("measure == 'close' and n < 7", "median", 0.5), set()),
    (
        "ngrams",
        at("measure == 'robust' and step == 10", "median", 0.5),
        set(),
    ),  # the last of the phase counts
    ("ngrams", at("measure == 'robust' and step == 20", "median", 0.5), {"Figure 4"}),
    ("ngrams", at("measure == 'close' and step == 20", "median", 0.9), set()),
    ("ngrams", at("measure == 'close' and step == 400", "median", 0.5), {"Figure 22"}),
    ("nonterminals", at("step == 0", "accuracy", 1.0), set()),
    (
        "nonterminals",
        at("step == 60 and level == 3", "accuracy", 0.5),
        {"Figure 22", "probe-mature-at-mid-drop"},
    ),
    ("candidates", exchanged("candidate", "robust", "loss"), set()),
    ("candidates", at("candidate == 'loss'", "step", 20), {"Figure 22", "probe-mature-at-mid-drop"}),
    ("student_ngrams", at("n == 7 and measure == 'robust'", "median", 0.2), set()),
    (
        "student_ngrams",
        at("method == 'one_shot' and n == 7 and measure == 'close'", "median", 0.0),
        {"R5", "Figure 5"},
    ),
    (
        "student_ngrams",
        at("method == 'one_shot' and n == 5 and measure == 'robust'", "median", 0.0),
        {"Figure 5"},
    ),
    (
        "student_ngrams",
        at("method == 'cross_entropy' and n == 3 and measure == 'robust'", "median", 0.0),
        {"R5", "Figure 5"},
    ),
    ("student_nonterminals", at("method == 'one_shot' and level == 1", "accuracy", 0.85), {"Figure 5"}),
    ("student_nonterminals", at("method == 'progressive' and level > 1", "accuracy", 0.5), {"R5"}),
    ("heads", at("n_heads == 4", "accuracy", 0.1), set()),  # the fewest and the most are compared
    ("heads", at("n_heads == 8 and step == 400", "accuracy", 0.75), {"Figure 23"}),
    (
        "heads",
        at("n_heads == 2 and step > 0", "accuracy", 0.8),
        {"Figure 23", "steps-to-most-of-the-final-accuracy"},
    ),
    ("variants", at("horizon == 0.5", "accuracy", 0.1), set()),
    ("variants", at("method == 'cross_entropy'", "accuracy", 0.99), set()),
    ("variants", at("size == 'small' and method == 'progressive_soft'", "accuracy", 0.99), set()),
    (
        "variants",
        at("size == 'strong' and horizon == 0.25 and method == 'progressive'", "accuracy", 0.6),
        {"Figure 25"},
    ),
    (
        "variants",
        at("size == 'strong' and horizon == 0.25 and method == 'progressive_split'", "accuracy", 0.6),
        {"Figure 24"},
    ),
    (
        "variants",
        at("size == 'small' and horizon == 1 and method == 'progressive_split'", "accuracy", 0.6),
        {"Figure 24"},
    ),
    ("elsewhere", at("setting == 'cfg3h' and method == 'progressive'", "accuracy", 0.1), set()),
    ("elsewhere", at("setting == 'p = 0.15' and method == 'progressive'", "accuracy", 0.1), {"Figure 26"}),
    ("elsewhere", at("setting == 'as above' and method == 'progressive'", "accuracy", 0.1), {"Figure 27"}),
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


def test_a_plateau_that_is_flat_in_one_seed_does_not_drown_the_others() -> None:
    tables = as_stated()
    tables["teacher"] = at("seed == 0 and step == 10", "loss_nats", 1.0)(tables["teacher"])
    still = next(c for _, c in (p.values for p in PARTS) if c.name == "rapid after still")
    values = still.judge(tables).values
    assert max(values) < min(values) + 5


# What the page did not run

NEEDED = {
    "R4": {"checkpoints"},
    "R5": {"student_ngrams", "student_nonterminals"},
    "Figure 1 (right)": {"students"},
    "Figure 4": {"teacher", "ngrams", "checkpoints"},
    "Figure 5": {"student_ngrams", "student_nonterminals"},
    "Figure 22": {"ngrams", "candidates", "nonterminals"},
    "Figure 23": {"heads"},
    "Figure 24": {"variants"},
    "Figure 25": {"variants"},
    "Figure 26": {"elsewhere", "students"},
    "Figure 27": {"elsewhere"},
    "gap-closes-with-training": {"students"},
    "probe-mature-at-mid-drop": {"nonterminals", "candidates"},
    "steps-to-most-of-the-final-accuracy": {"heads"},
    "soft-progressive-can-lose": {"variants"},
    "half-the-teachers-time": {"variants", "teacher"},
}


@pytest.mark.parametrize("name", as_stated())
def test_claims_without_their_tables_are_not_run_and_the_others_are_judged(name: str, store: Store) -> None:
    assert_only_what_needs_it_is_not_run("pcfg", as_stated(), name, NEEDED, store)


@pytest.mark.parametrize(("name", "arguments", "tables"), [case[:3] for case in EFFECTS])
def test_a_table_that_is_not_there_is_named(name: str, arguments: dict[str, Any], tables: Tables) -> None:
    for missing in tables:
        with pytest.raises(MissingTableError, match=missing):
            getattr(pcfg, name)({k: t for k, t in tables.items() if k != missing}, **arguments)


@pytest.mark.parametrize(
    ("kept", "unjudged"),
    [
        ({"ngrams": "n < 7", "student_ngrams": "n < 7"}, {"R5", "Figure 5", "Figure 22"}),
        ({"ngrams": "n != 3"}, {"Figure 4"}),
        ({"ngrams": "step > 20"}, {"Figure 4"}),
        ({"students": "horizon == 0.25"}, {"Figure 1 (right)", "Figure 26", "gap-closes-with-training"}),
        ({"variants": "horizon < 1"}, {"Figure 24", "half-the-teachers-time"}),
        ({"variants": "size == 'small'"}, {"Figure 24", "Figure 25", "soft-progressive-can-lose"}),
        ({"elsewhere": "setting in ('as above', 'cfg3i')"}, {"Figure 26"}),
        ({"elsewhere": "setting != 'cfg3i'"}, {"Figure 27"}),
    ],
)
def test_what_other_parameters_leave_out_is_not_run(
    kept: dict[str, str], unjudged: set[str], store: Store
) -> None:
    tables = {name: t.query(kept[name]) if name in kept else t for name, t in as_stated().items()}
    verdicts = judged_page("pcfg", tables, store)
    assert not_run(verdicts) == unjudged
    assert set(judged_page("pcfg", tables, store, "smoke").values()) == {NOT_RUN, "not judged"}


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("students", "seed != 3 or method != 'one_shot'"),
        ("students", "seed != 3 or method != 'progressive'"),
        ("checkpoints", "seed != 3 or checkpoint != 40"),
        ("checkpoints", "seed != 3 or checkpoint != 'loss'"),
        ("student_ngrams", "seed != 3 or method != 'cross_entropy'"),
        ("student_nonterminals", "seed != 3 or method != 'one_shot_hard'"),
        ("ngrams", "seed != 3 or step > 20"),
        ("heads", "seed != 3 or n_heads != 2"),
        ("variants", "seed != 3 or method != 'one_shot'"),
        ("variants", "seed != 3 or method != 'progressive_half'"),
        ("elsewhere", "seed != 3 or setting != 'p = 0.5'"),
        ("elsewhere", "seed != 3 or setting != 'as above'"),
    ],
)
def test_a_run_that_one_seed_lacks_is_an_error_and_not_left_out(name: str, query: str) -> None:
    tables = as_stated()
    tables[name] = tables[name].query(query)
    assert_a_seed_without_a_run_is_an_error(PARTS, tables)


# The register


def test_the_claims_of_the_page_are_those_of_the_register() -> None:
    assert_claims_are_those_of_the_register("pcfg", {"cfg3i-saturates", "cfg3g-and-cfg3f-not-learned"})

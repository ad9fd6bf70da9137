"""Claims of the page `parity_transformers`: each effect against plain arithmetic, each criterion both ways."""

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
    own_effects,
    parts_of,
)

from pdlib import claims
from pdlib.claims import (
    INCONCLUSIVE,
    NOT_REPRODUCED,
    PARTLY,
    REPRODUCED,
    Claim,
    Criterion,
    MissingTableError,
    UndecidedError,
    parity_transformers,
)
from pdlib.store import Store

STEPS = range(0, 110, 10)
BEFORE, MIDDLE, AFTER = (f"two_checkpoint_{which}" for which in ("before", "middle", "after"))
SPIKE = "two_checkpoint_spike"
CLAIMS = claims.of_page("parity_transformers")
PARTS = parts_of("parity_transformers")

RISE = [0.5] * 6 + [0.7, 0.95, 1.0, 1.0, 1.0]  # the transition lies at steps 60 and 70
EARLY = [0.5, 0.8] + [1.0] * 9
FLAT = [0.5] * 11


def runs(by: str, curves: Mapping[Any, Sequence[float]], seed: int = 0) -> pd.DataFrame:
    """A run a value of the column and seed, with a little noise, its rows in any order."""
    noise = np.random.default_rng(seed)
    rows = [
        {by: value, "seed": s, "step": step, "accuracy": a - 0.005 * noise.random()}
        for value, curve in curves.items()
        for s in SEEDS
        for step, a in zip(STEPS, curve, strict=True)
    ]
    return pd.DataFrame(rows).sample(frac=1, random_state=0)


# Effects, on tables whose answer is plain arithmetic


def few(by: str, *rows: tuple[Any, ...]) -> pd.DataFrame:
    """Rows of value, seed and the accuracies of its run."""
    return pd.DataFrame(
        [
            {by: value, "seed": s, "step": 10 * i, "accuracy": a}
            for value, s, *accuracies in rows
            for i, a in enumerate(accuracies)
        ]
    ).sample(frac=1, random_state=0)


HEADS = few(
    "n_heads",
    *((2, 7, 0.5, 0.6), (4, 7, 0.7, 0.7), (16, 7, 0.5, 1.0)),  # 0.55, 0.7, 0.75
    *((2, 8, 0.9, 0.9), (4, 8, 0.5, 0.5), (16, 8, 0.6, 0.6)),  # 0.9, 0.5, 0.6
    *((2, 9, 0.9, 0.9), (4, 9, 0.7, 0.7), (16, 9, 0.6, 0.6)),
)
SIZES = few("method", *(("heads", 7, 0.5, 0.9), ("mlp_width", 7, 0.6, 0.6), ("head_size", 7, 0.8, 1.0)))
ATTENTION = pd.DataFrame(
    [(7, 30, 0.9), (7, 0, 0.5), (7, 20, 0.8), (7, 10, 0.55), (8, 10, 0.9), (8, 0, 0.6), (8, 30, 0.4)],
    columns=["seed", "step", "on_support"],
)
CANDIDATES = pd.DataFrame(
    [("before", 7, 10), ("middle", 7, 20), ("before", 8, 10)], columns=["candidate", "seed", "step"]
)
STUDENTS = few(
    "method",
    *(("one_shot", 7, 0.5, 0.7), ("one_shot_hard", 7, 0.5, 0.5), ("progressive", 7, 1.0, 1.0)),
    *(("one_shot", 8, 0.5, 0.5), ("one_shot_hard", 8, 0.9, 0.9), ("progressive", 8, 1.0, 1.0)),
)
WARM = few("targets", *(("hard", 7, 0.5, 0.9), ("1", 7, 0.6, 0.6), ("hard", 8, 0.5, 0.7), ("1", 8, 0.9, 0.9)))

# in the support and off it at steps 10, 20, ...; ① at 40, ③ at 70
CURVES = {
    7: ([9.0, 1.0, 2.0, 4.0, 8.0, 16.0, 2.0, 4.0], [9.0, 1.0, 1.0, 1.0, 4.0, 2.0, 1.0, 9.0]),
    8: ([9.0, 2.0, 1.0, 1.0, 1.0, 2.0, 4.0, 16.0], [9.0, 1.0, 8.0, 1.0, 8.0, 2.0, 1.0, 9.0]),
}
DEGREES = {
    "correlations": pd.DataFrame(
        [
            {"seed": s, "step": 10 * (i + 1), "degree": degree, "group": group, "mean": value * degree**9}
            for s, groups in CURVES.items()
            for group, values in zip(("in_support", "off_support"), groups, strict=True)
            for i, value in enumerate(values)
            for degree in (1, 2)
        ]
    ).sample(frac=1, random_state=0),
    "candidates": pd.DataFrame(
        [(name, s, step) for s in CURVES for name, step in (("before", 40), ("middle", 60), ("after", 70))],
        columns=["candidate", "seed", "step"],
    ),
}

EFFECTS: list[tuple[str, dict[str, Any], Tables, dict[int, float]]] = [
    ("degree_1_gap", {"stage": "transition"}, DEGREES, {7: 2.0, 8: -1.0}),  # 16/4, 4/8
    ("degree_1_gap", {"stage": "before"}, DEGREES, {7: 2.0, 8: -2.0}),  # 4/1, 2/8, without step 10
    ("degree_1_fading", {}, DEGREES, {7: 2.0, 8: -2.0}),  # 16/4, 4/16
    ("heads_gain", {}, {"heads": HEADS}, {7: 0.2, 8: -0.3, 9: -0.3}),
    ("heads_gain", {"name": "others"}, {"others": HEADS[HEADS.n_heads < 16]}, {7: 0.15, 8: -0.4, 9: -0.2}),
    ("heads_order", {}, {"heads": HEADS}, {7: 1.0, 8: -0.5, 9: -1.0}),
    ("size_gain", {"into": "heads", "against": "mlp_width"}, {"sizes": SIZES}, {7: 0.1}),
    ("size_gain", {"into": "heads", "against": "head_size"}, {"sizes": SIZES}, {7: -0.2}),
    ("depth_gain", {}, {"depths": few("n_layers", (1, 7, 0.5, 0.7), (2, 7, 0.5, 1.0))}, {7: 0.15}),
    ("depth_gain", {}, {"depths": few("n_layers", (2, 7, 0.5, 0.7), (1, 7, 0.5, 1.0))}, {7: -0.15}),
    ("mass_growth", {}, {"attention": ATTENTION}, {7: 0.4, 8: -0.2}),
    (  # 0.05 of 0.4, and a mass that grows and falls below its start
        *("mass_grown", {"candidate": "before"}),
        {"attention": ATTENTION, "candidates": CANDIDATES},
        {7: -0.15, 8: 0.4},
    ),
    (
        *("mass_grown", {"candidate": "middle"}),
        {"attention": ATTENTION[ATTENTION.seed == 7], "candidates": CANDIDATES},
        {7: 0.1},
    ),
    ("soft_label_gain", {"soft": "1", "against": "hard"}, {"temperatures": WARM}, {7: -0.1, 8: 0.3}),
    ("hard_label_speed", {}, {"temperatures": WARM, "students": STUDENTS}, {7: 0.1, 8: -0.3}),
    (  # a sweep over fewer seeds
        "hard_label_speed",
        {},
        {"temperatures": WARM[WARM.seed == 7], "students": STUDENTS},
        {7: 0.1},
    ),
    (  # one teacher of two spikes again
        "spike_gain",
        {},
        {"spikes": few("method", (SPIKE, 8, 0.5, 0.7)), "students": STUDENTS},
        {8: -0.3},
    ),
]


@pytest.mark.parametrize(
    ("name", "arguments", "tables", "expected"),
    [pytest.param(*case, id=f"{case[0]} {i}") for i, case in enumerate(EFFECTS)],
)
def test_an_effect_is_what_plain_arithmetic_says(
    name: str, arguments: dict[str, Any], tables: Tables, expected: dict[int, float]
) -> None:
    assert_effect(getattr(parity_transformers, name), tables, arguments, expected)


def test_every_effect_of_the_page_is_measured_above_or_is_one_of_the_page_parity() -> None:
    own = own_effects(parity_transformers)
    assert own == {name for name, *_ in EFFECTS}
    used = {(c.effect.__module__, c.effect.__name__) for _, c in (p.values for p in PARTS)}
    assert own == {name for module, name in used if module == parity_transformers.__name__}
    assert {module for module, _ in used} == {parity_transformers.__name__, "pdlib.claims.parity"}


# A world in which the paper is right in everything, and one in which it is wrong in everything


def world(
    correlations: Callable[[int], float],
    mass: Callable[[int], float],
    good: Mapping[str, Sequence[float]],
    targets: Mapping[str, Sequence[float]],
    spike: Sequence[float],
    larger: Sequence[float],
    smaller: Sequence[float],
) -> Tables:
    """Tables with the columns that the page makes.

    `good` are the students that learn, `correlations` and `mass` functions of the step in the support, `larger` and
    `smaller` the curves of what should be faster and slower.
    """
    noise = np.random.default_rng(1)
    middle = [(a + b) / 2 for a, b in zip(larger, smaller, strict=True)]
    methods = dict.fromkeys(
        ("cross_entropy", "one_shot", "one_shot_hard", "progressive", BEFORE, MIDDLE, AFTER), FLAT
    )
    heads = {1: smaller, 2: middle, 8: larger}
    groups = [
        {
            "seed": s,
            "step": step,
            "degree": degree,
            "group": group,
            "mean": mean * (1 + 0.05 * noise.random()),
        }
        for s in SEEDS
        for step in STEPS[1:]
        for degree, factor in ((1, 1.0), (2, 9.0))
        for group, mean in (("in_support", factor * correlations(step)), ("off_support", 0.01))
    ]
    attention = [
        {"seed": s, "step": step, "on_support": mass(step) + 0.01 * noise.random()}
        for s in SEEDS
        for step in STEPS
    ]
    candidates = [
        {"seed": s, "candidate": name, "step": step, "accuracy": RISE[step // 10]}
        for s in SEEDS
        for name, step in (("before", 40), ("middle", 60), ("after", 80))
    ]
    return {
        "teacher": runs("method", {"teacher": RISE}).drop(columns="method"),
        "candidates": pd.DataFrame(candidates),
        "correlations": pd.DataFrame(groups),
        "attention": pd.DataFrame(attention).sample(frac=1, random_state=0),
        "students": runs("method", methods | dict(good), 2),
        "temperatures": runs("targets", targets, 3),
        **{
            name: runs("n_heads", heads, i)
            for i, name in enumerate(("heads", "scaled_heads", "fixed_width_heads", "averaged_heads"), 4)
        },
        "sizes": runs("method", {"heads": larger, "head_size": smaller, "mlp_width": smaller}, 8),
        "depths": runs("n_layers", {1: smaller, 2: larger}, 9),
        "spikes": runs("method", {SPIKE: spike}, 10),
    }


def as_stated() -> Tables:
    return dict(_stated())


@cache  # tables are changed into others, never in place
def _stated() -> Tables:
    return world(
        correlations=lambda step: 0.2 if step in (60, 70) else 0.02 if step > 70 else 0.01,
        mass=lambda step: 0.5 if step < 50 else 0.6 if step < 60 else 0.9,
        good={"progressive": RISE, MIDDLE: EARLY},
        targets={"hard": EARLY, "0.0001": EARLY, "1": FLAT},
        spike=FLAT,
        larger=EARLY,
        smaller=FLAT,
    )


def as_denied() -> Tables:
    masses = {0: 0.5, 40: 0.9, 80: 0.2, 100: 0.52}
    return world(
        correlations=lambda step: 0.01 if 40 < step <= 80 else 0.2,  # the candidates before and after
        mass=lambda step: masses.get(step, 0.5),
        good={BEFORE: EARLY, AFTER: EARLY},
        targets={"hard": FLAT, "0.0001": EARLY, "1": EARLY},
        spike=EARLY,
        larger=FLAT,
        smaller=EARLY,
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


# (effect, side) -> what makes it fail: the table, from the criterion's arguments, and the change
SPOILED: dict[tuple[str, str], Callable[[dict[str, Any]], tuple[str, Spoil]]] = {
    ("degree_1_gap", "above"): lambda _: (
        "correlations",
        exchanged("group", "in_support", "off_support"),
    ),
    ("degree_1_gap", "below"): lambda _: (
        "correlations",
        at("group == 'in_support' and step == 30", "mean", 0.2),
    ),
    ("degree_1_fading", "above"): lambda _: (
        "correlations",
        at("group == 'in_support' and step == 100", "mean", 0.2),
    ),
    ("speed_gain", "above"): lambda a: ("students", exchanged("method", a["method"], a["against"][-1])),
    ("speed_gain", "below"): lambda a: ("students", exchanged("method", a["method"], MIDDLE)),
    ("heads_gain", "above"): lambda a: (a.get("name", "heads"), exchanged("n_heads", 1, 8)),
    ("heads_order", "above"): lambda _: ("heads", exchanged("n_heads", 1, 8)),
    ("mass_growth", "above"): lambda _: ("attention", at("step == 100", "on_support", 0.59)),
    ("mass_grown", "below"): lambda _: ("attention", at("step == 40", "on_support", 0.72)),
    ("mass_grown", "above"): lambda _: ("attention", at("step == 80", "on_support", 0.68)),
    ("hard_label_speed", "above"): lambda _: ("temperatures", exchanged("targets", "hard", "1")),
    ("low_temperature_distance", "below"): lambda _: (
        "temperatures",
        exchanged("targets", "0.0001", "1"),
    ),
    ("soft_label_gain", "below"): lambda _: ("temperatures", exchanged("targets", "hard", "1")),
    ("speed_against_teacher", "above"): lambda a: (
        "students",
        exchanged("method", a["method"], "one_shot"),
    ),
    ("size_gain", "above"): lambda a: ("sizes", exchanged("method", a["into"], a["against"])),
    ("spike_gain", "below"): lambda _: ("spikes", at("step > 0", "accuracy", 1.0)),
    ("depth_gain", "above"): lambda _: ("depths", exchanged("n_layers", 1, 2)),
}


def spoiled(criterion: Criterion) -> Tables:
    """The tables on which a criterion fails."""
    key = (criterion.effect.__name__, criterion.side)
    assert key in SPOILED, f"say above how {key} can come out negative"
    name, spoil = SPOILED[key](dict(criterion.arguments))
    tables = as_stated()
    return tables | {name: spoil(tables[name])}


@pytest.mark.parametrize(("claim", "criterion"), PARTS)
def test_every_criterion_comes_out_negative_on_spoiled_tables(claim: Claim, criterion: Criterion) -> None:
    assert_refuted(claim, criterion, spoiled(criterion))


@pytest.mark.parametrize(("claim", "criterion"), PARTS)
def test_no_criterion_is_decided_by_one_seed(claim: Claim, criterion: Criterion) -> None:
    assert_one_seed_decides_nothing(criterion, as_stated())


@pytest.mark.parametrize(("claim", "criterion"), parts_of("parity_transformers", lambda c: c.side == "above"))
def test_nothing_is_found_where_labels_are_shuffled_within_each_seed(
    claim: Claim, criterion: Criterion
) -> None:
    tables = labels_shuffled(as_stated(), ("method", "n_heads", "n_layers", "targets", "group"))
    mass = tables["attention"]  # what was measured at a step, at another one
    tables["attention"] = mass.assign(step=(mass.step + 10 * (1 + 2 * mass.seed)) % 110)
    assert criterion.judge(tables).verdict != REPRODUCED


# changes of one table -> the claims that are no longer reproduced
DECIDES: list[tuple[str, Spoil, set[str]]] = [
    ("students", at("method == 'cross_entropy'", "accuracy", 0.5), set()),
    (
        "students",
        at("method == 'cross_entropy'", "accuracy", 1.0),
        {"Figure 1 (middle)", "Figure 13"},
    ),
    (
        "students",
        at("method == 'one_shot'", "accuracy", 0.95),
        {"R2 (Transformer)", "Figure 1 (middle)", "Figure 13", "Figure 14 (Transformer)"},
    ),
    ("students", at(f"method == '{AFTER}'", "accuracy", 0.95), {"R2 (Transformer)"}),
    ("students", at(f"method == '{MIDDLE}'", "accuracy", 0.5), {"R2 (Transformer)", "Figure 13"}),
    ("teacher", at("step > 10", "accuracy", 0.8), {"speed-of-the-large-transformer"}),
    ("temperatures", at("targets == '1'", "accuracy", 1.0), {"soft-labels-can-be-slower"}),
    ("temperatures", at("targets == '0.0001'", "accuracy", 0.8), {"Figure 14 (Transformer)"}),
    ("heads", at("n_heads == 2", "accuracy", 0.5), set()),  # a tie below leaves the order
    (
        "heads",
        at("n_heads == 2", "accuracy", 0.4),
        {"R6", "Figure 7 (right)"},
    ),  # one that learns less does not
    ("heads", at("n_heads > 1", "accuracy", 0.5), {"R6", "Figure 7 (right)", "Figure 10"}),
    ("scaled_heads", at("n_heads > 1", "accuracy", 0.5), {"R6"}),  # the initial scale was all
    ("fixed_width_heads", at("n_heads > 1", "accuracy", 0.5), {"Figure 10"}),
    ("averaged_heads", at("n_heads > 1", "accuracy", 0.5), {"Figure 10"}),
    ("sizes", at("method == 'mlp_width'", "accuracy", 1.0), {"heads-before-width"}),
    ("attention", at("step == 0", "on_support", 0.85), {"Figure 11"}),
    ("attention", at("step == 60", "on_support", 0.0), set()),  # between the candidates
    ("correlations", at("degree == 2", "mean", 9.0), set()),
    ("correlations", at("step < 20 and group == 'in_support'", "mean", 0.2), set()),  # first steps
    (
        "correlations",
        at("step < 80 and step > 50 and group == 'off_support'", "mean", 0.2),
        {"R1 (Transformer)", "Figure 12"},
    ),
    ("spikes", at("step > 0", "accuracy", 0.8), {"a-second-spike-need-not-teach"}),
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


def test_r6_is_partly_reproduced_where_the_initial_scale_explains_the_heads() -> None:
    tables = as_stated()
    tables["scaled_heads"] = at("n_heads > 1", "accuracy", 0.5)(tables["scaled_heads"])
    verdicts = {claim.id: claim.judge(tables)[0] for claim in CLAIMS}
    assert (verdicts["R6"], verdicts["Figure 7 (right)"]) == (PARTLY, REPRODUCED)


# The second spike


@pytest.mark.parametrize(
    "nothing", [pd.DataFrame(), as_stated()["spikes"].iloc[:0]], ids=["no columns", "no rows"]
)
def test_no_second_spike_is_inconclusive_and_not_a_refutation(nothing: pd.DataFrame, store: Store) -> None:
    tables = as_stated() | {"spikes": nothing}
    with pytest.raises(UndecidedError, match="no teacher"):
        parity_transformers.spike_gain(tables)
    verdicts = judged_page("parity_transformers", tables, store)
    assert verdicts["a-second-spike-need-not-teach"] == INCONCLUSIVE
    assert {v for name, v in verdicts.items() if name != "a-second-spike-need-not-teach"} == {REPRODUCED}


@pytest.mark.parametrize(("n", "verdict"), [(1, INCONCLUSIVE), (2, REPRODUCED)])
def test_a_second_spike_is_judged_by_the_teachers_that_have_one(n: int, verdict: str, store: Store) -> None:
    spikes = as_stated()["spikes"]
    tables = as_stated() | {"spikes": spikes[spikes.seed < n]}
    assert judged_page("parity_transformers", tables, store)["a-second-spike-need-not-teach"] == verdict


# What the page did not run

NEEDED = {
    "R1 (Transformer)": {"candidates", "correlations"},
    "R2 (Transformer)": {"students"},
    "R6": {"heads", "scaled_heads"},
    "Figure 1 (middle)": {"students"},
    "Figure 7 (right)": {"heads"},
    "Figure 10": {"heads", "fixed_width_heads", "averaged_heads"},
    "Figure 11": {"attention", "candidates"},
    "Figure 12": {"candidates", "correlations"},
    "Figure 13": {"students"},
    "Figure 14 (Transformer)": {"temperatures", "students"},
    "speed-of-the-large-transformer": {"teacher", "students"},
    "heads-before-width": {"sizes"},
    "soft-labels-can-be-slower": {"temperatures"},
    "a-second-spike-need-not-teach": {"spikes", "students"},
    "one-layer-is-hard-to-train": {"depths"},
}


@pytest.mark.parametrize("name", as_stated())
def test_claims_without_their_tables_are_not_run_and_the_others_are_judged(name: str, store: Store) -> None:
    assert_only_what_needs_it_is_not_run("parity_transformers", as_stated(), name, NEEDED, store)


def test_a_table_that_is_not_there_is_named() -> None:
    tables = as_stated()
    del tables["averaged_heads"]
    with pytest.raises(MissingTableError, match="averaged_heads"):
        parity_transformers.heads_gain(tables, "averaged_heads")


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("heads", "seed != 3 or n_heads != 8"),
        ("sizes", "seed != 3 or method != 'heads'"),
        ("depths", "seed != 3 or n_layers != 1"),
        ("attention", "seed != 3 or step != 40"),  # that of the candidate before
        ("attention", "seed != 3 or step != 0"),
        ("temperatures", "seed != 3 or targets != '1'"),
        ("students", f"seed != 3 or method != '{MIDDLE}'"),
    ],
)
def test_a_run_that_one_seed_lacks_is_an_error_and_not_left_out(name: str, query: str) -> None:
    tables = as_stated()
    tables[name] = tables[name].query(query)
    assert_a_seed_without_a_run_is_an_error(PARTS, tables)


@pytest.mark.parametrize(
    ("name", "column", "lost", "criterion"),
    [
        ("temperatures", "targets", "1", "temperature 1 against hard labels"),
        ("temperatures", "targets", "hard", "like low temperatures"),
        ("students", "method", "one_shot", "does not speed up"),
        ("sizes", "method", "mlp_width", "heads before MLP width"),
        ("depths", "n_layers", 1, "two layers against one"),
    ],
)
def test_a_setting_that_no_seed_ran_is_an_error_that_names_it(
    name: str, column: str, lost: Any, criterion: str, store: Store
) -> None:
    tables = as_stated()
    tables[name] = tables[name][tables[name][column] != lost]
    said = rf"criterion '{criterion}': its tables lack .*\b{lost}\b.*Run the missing ones"
    (found,) = (c for _, c in (p.values for p in PARTS) if c.name == criterion)
    with pytest.raises(ValueError, match=said):
        found.judge(tables)
    with pytest.raises(ValueError, match="its tables lack"):
        judged_page("parity_transformers", tables, store)
    assert found.judge(as_stated()).verdict == REPRODUCED  # the control


# The register


def test_the_claims_of_the_page_are_those_of_the_register() -> None:
    assert_claims_are_those_of_the_register("parity_transformers")
    assert {claim.id for claim in CLAIMS} == set(NEEDED)

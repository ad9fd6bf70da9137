"""Claims of the page `hierarchical`: each effect against plain arithmetic, each criterion both ways."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from judging import (
    SEEDS,
    Tables,
    assert_claims_are_those_of_the_register,
    assert_one_seed_decides_nothing,
    assert_refuted,
    own_effects,
    parts_of,
)

from pdlib import claims
from pdlib.claims import (
    NOT_RUN,
    REPRODUCED,
    Claim,
    Criterion,
    MissingTableError,
    hierarchical,
)
from pdlib.store import Store

CLAIMS = claims.of_page("hierarchical")
IDS = [claim.id for claim in CLAIMS]
PARTS = parts_of("hierarchical")


def runs(finals: dict[str, float], steps: tuple[int, ...] = (0, 100, 200)) -> pd.DataFrame:
    """A run a method and seed: chance until the last step, there its final accuracy, in the seeds' own order."""
    rows = [
        (method, seed, step, final + (0.0001 * seed if step == steps[-1] else 0.0) if step else 0.125)
        for method, final in finals.items()
        for seed in SEEDS
        for step in steps
    ]
    return pd.DataFrame(rows, columns=["method", "seed", "step", "accuracy"]).sample(frac=1, random_state=0)


# Effects, on tables whose answer is plain arithmetic

AB = {
    "s": pd.DataFrame(
        [
            *[
                ("a", 1, 0, 0.2),
                ("a", 1, 9, 0.8),
                ("b", 1, 9, 0.4),
                ("b", 1, 0, 0.6),
                ("c", 1, 0, 0.1),
                ("c", 1, 9, 0.1),
            ],
            *[
                ("a", 2, 9, 1.0),
                ("a", 2, 0, 0.4),
                ("b", 2, 0, 0.0),
                ("b", 2, 9, 0.0),
                ("c", 2, 0, 0.3),
                ("c", 2, 9, 0.5),
            ],
        ],
        columns=["method", "seed", "step", "accuracy"],
    ),
    "teacher": pd.DataFrame({"seed": [1, 1, 2, 2], "step": [0, 9, 0, 9], "accuracy": [0.1, 0.3, 0.5, 0.7]}),
    "hot": pd.DataFrame(
        [
            ("0.0001", 1, 9, 0.9),
            ("1", 1, 9, 0.2),
            ("0.0001", 2, 9, 0.7),
            ("0.0001", 2, 0, 0.1),
            ("0.0001", 1, 0, 0.1),
        ],
        columns=["method", "seed", "step", "accuracy"],
    ),
}


def curves(*runs: dict[int, list[float]], degree: int = 2) -> Tables:
    """Correlations of class 1 by node, the k-th dictionary being the run of seed k; steps 10, 20, ... ."""
    rows = [
        {"seed": seed, "step": 10 * (i + 1), "degree": d, "scope": scope, "node": node, "mean": value + shift}
        for seed, run in enumerate(runs)
        for node, values in run.items()
        for i, value in enumerate(values)
        for d, scope, shift in ((degree, "class_0", 0), (degree, "below", 9), (degree + 5, "class_0", 9))
    ]
    last = [{"seed": seed, "candidate": c, "step": 10 * c} for seed in range(len(runs)) for c in (1, 6)]
    return {"features": pd.DataFrame(rows).sample(frac=1, random_state=0), "candidates": pd.DataFrame(last)}


ONE = {0: [1.0, 1.0, 2.0, 1.0], 1: [1.0, 8.0, 2.0, 1.0], 2: [1.0, 1.0, 8.0, 2.0]}
TOGETHER = {0: [1.0, 1.0, 1.0, 1.0], 1: [1.0, 4.0, 1.0, 1.0], 2: [2.0, 4.0, 1.0, 1.0]}
NEVER = {
    0: [1.0, 1.0, 1.0, 1.0],
    1: [1.0, 4.0, 1.0, 1.0],
    2: [1.0, 2.0, 1.0, 1.0],
}  # twice is not more than twice

EFFECTS: list[tuple[Callable[..., Any], dict[str, Any], Tables, list[float]]] = [
    (hierarchical.best_final, {"methods": ("b", "c"), "students": "s"}, AB, [0.4, 0.5]),
    (hierarchical.best_final, {"methods": ("a",), "students": "s"}, AB, [0.8, 1.0]),
    (hierarchical.spread_of_final, {"methods": ("a", "b", "c"), "students": "s"}, AB, [0.7, 1.0]),
    (hierarchical.speed_gain, {"method": "a", "against": ("b", "c"), "students": "s"}, AB, [0.0, 0.3]),
    (hierarchical.speed_gain, {"method": "b", "against": ("c",), "students": "s"}, AB, [0.4, -0.4]),
    (hierarchical.speed_against_teacher, {"method": "a", "students": "s"}, AB, [0.3, 0.1]),
    (
        hierarchical.low_temperature_gain,
        {"temperature": "0.0001", "against": ("b", "c"), "temperatures": "hot", "students": "s"},
        AB,
        [0.5, 0.2],
    ),
    (hierarchical.spike_over_rest, {"degree": 2}, curves(ONE, TOGETHER, NEVER), [2.0, 2.0, 1.0]),
    (hierarchical.spike_over_end, {"degree": 2}, curves(ONE, TOGETHER), [2.0, 2.0]),
    (hierarchical.onset_gap, {"degree": 2}, curves(ONE, TOGETHER, NEVER), [1.0, 0.0, 0.0]),
    (
        hierarchical.noisier_at_degree_1,
        {},
        {
            **curves(ONE, TOGETHER),
            "features": pd.concat(
                [
                    curves({n: [1.0, 2.0, 4.0, 8.0] for n in (0, 1, 2)}, TOGETHER, degree=1)["features"],
                    curves(ONE, TOGETHER, degree=2)["features"],
                ]
            ),
        },
        [1.0 - 8 / 4, 0.0],  # degree 2 jumps by 2, 1, 3 and 2 from its first step that stands out
    ),
]


@pytest.mark.parametrize(
    ("effect", "arguments", "tables", "expected"),
    [pytest.param(*case, id=f"{case[0].__name__} {case[1]}") for case in EFFECTS],
)
def test_an_effect_is_what_plain_arithmetic_says(
    effect: Callable[..., Any], arguments: dict[str, Any], tables: Tables, expected: list[float]
) -> None:
    assert effect(tables, **arguments).tolist() == pytest.approx(expected)


def test_every_effect_of_the_page_is_measured_above() -> None:
    used = {criterion.effect for claim in CLAIMS for criterion in claim.criteria}
    assert used == {effect for effect, *_ in EFFECTS}
    assert own_effects(hierarchical) == {effect.__name__ for effect in used}


def test_a_level_that_never_stands_out_is_no_distance_from_the_others() -> None:
    assert hierarchical.onset_gap(curves(NEVER), 2).tolist() == [0.0]
    assert hierarchical.onset_gap(curves(ONE), 2).tolist() == [1.0]  # the control


# Tables on which all is as the paper says


def as_stated() -> Tables:
    """Staged features, progressive students as fast as their teacher, pairs that work and singles that do not."""
    n = 8
    rise = {node: np.where(np.arange(n) == 2 * level, 0.08, 0.01) for level, node in enumerate((1, 2, 4))}
    rough = {node: values * np.where(np.arange(n) % 2, 1.9, 1) for node, values in rise.items()}
    rest = {0: np.full(n, 0.01)}
    features = [
        {"seed": seed, "step": 10 * (i + 1), "degree": degree, "scope": "class_0", "node": node}
        | {"mean": float(values[i]) * (1 + 0.01 * seed)}
        for seed in SEEDS
        for degree, nodes in ((1, rough), (2, rise))
        for node, values in (rest | nodes).items()
        for i in range(n)
    ]
    slow = {"cross_entropy": 0.3, "one_shot": 0.4, "one_shot_hard": 0.3, "progressive": 0.995}
    pairs = dict.fromkeys(hierarchical.INSIDE, 0.995) | {"pair_4_5": 0.8}
    others = dict.fromkeys((*hierarchical.SINGLES, *hierarchical.LONG, *hierarchical.OUTSIDE), 0.87)
    return {
        "teacher": runs({"teacher": 0.99}).drop(columns="method"),
        "candidates": pd.DataFrame(
            [{"seed": s, "candidate": c, "step": 10 * c} for s in SEEDS for c in range(1, 7)]
        ),
        "features": pd.DataFrame(features),
        **{f"{name}_students": runs(slow) for name in ("narrow", "wide")},
        **{f"{name}_chosen": runs(pairs | others, (0, 100)) for name in ("narrow", "wide")},
        **{
            f"{name}_temperatures": runs({"hard": 0.99, "0.0001": 0.99}, (0, 100))
            for name in ("narrow", "wide")
        },
    }


def accuracy(methods: tuple[str, ...], value: float) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """The table with another accuracy of these methods, chance at step 0 included."""
    return lambda t: t.assign(accuracy=t.accuracy.mask(t.method.isin(methods) & (t.step > 0), value))


def means(query: str, value: float) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda t: t.assign(mean=t["mean"].mask(t.index.isin(t.query(query).index), value))


def same_time(degree: int) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """All levels stand out at the first step."""
    return means(f"degree == {degree} and node > 0 and step == 10", 0.08)


# (effect, side) -> what makes it fail: the table, from the criterion's arguments, and the change
SPOILED: dict[
    tuple[str, str], Callable[[dict[str, Any]], tuple[str, Callable[[pd.DataFrame], pd.DataFrame]]]
] = {
    ("best_final", "above"): lambda a: (a["students"], accuracy(a["methods"], 0.87)),
    ("best_final", "below"): lambda a: (
        a["students"],
        accuracy(a["methods"][-1:], 1.0),
    ),  # a single one is enough
    ("spread_of_final", "above"): lambda a: (a["students"], accuracy(a["methods"], 0.97)),
    ("speed_gain", "above"): lambda a: (a["students"], accuracy(a["against"][-1:], 0.99)),
    ("speed_against_teacher", "above"): lambda a: (a["students"], accuracy((a["method"],), 0.7)),
    ("low_temperature_gain", "above"): lambda a: (a["temperatures"], accuracy((a["temperature"],), 0.5)),
    ("spike_over_rest", "above"): lambda a: (
        "features",
        means(f"degree == {a['degree']} and node == 4", 0.01),
    ),
    ("spike_over_end", "above"): lambda a: (
        "features",
        means(f"degree == {a['degree']} and node == 4 and step == 80", 0.08),
    ),
    ("onset_gap", "above"): lambda a: ("features", same_time(a["degree"])),
    ("noisier_at_degree_1", "above"): lambda _: ("features", means("degree == 1", 0.02)),
}


def spoiled(criterion: Criterion, tables: Tables) -> Tables:
    """The tables on which a criterion fails."""
    key = (criterion.effect.__name__, criterion.side)
    assert key in SPOILED, f"say above how {key} can come out negative"
    name, change = SPOILED[key](dict(criterion.arguments))
    return tables | {name: change(tables[name])}


def test_all_claims_come_out_reproduced_where_all_is_as_the_paper_says() -> None:
    tables = as_stated()
    for claim in CLAIMS:
        verdict, parts = claim.judge(tables)
        assert verdict == REPRODUCED, [(claim.id, p.criterion.name, p.interval) for p in parts]


@pytest.mark.parametrize(("claim", "criterion"), PARTS)
def test_every_criterion_comes_out_negative_on_spoiled_tables(claim: Claim, criterion: Criterion) -> None:
    assert_refuted(claim, criterion, spoiled(criterion, as_stated()))


@pytest.mark.parametrize(("claim", "criterion"), PARTS)
def test_no_criterion_is_decided_by_one_seed(claim: Claim, criterion: Criterion) -> None:
    assert_one_seed_decides_nothing(criterion, as_stated())


def test_one_single_checkpoint_that_works_everywhere_refutes_that_one_is_not_enough() -> None:
    tables = as_stated()
    works = tables | {"narrow_chosen": accuracy(("single_4",), 1.0)(tables["narrow_chosen"])}
    changed = {claim.id for claim in CLAIMS if claim.judge(works)[0] != REPRODUCED}
    assert changed == {"Figure 19", "one-checkpoint-is-not-enough"}


def test_a_pair_with_a_checkpoint_outside_that_works_refutes_that_both_must_lie_inside() -> None:
    tables = as_stated()
    works = tables | {"wide_chosen": accuracy(("pair_3_6",), 1.0)(tables["wide_chosen"])}
    assert {c.id for c in CLAIMS if c.judge(works)[0] != REPRODUCED} == {"both-checkpoints-in-the-transition"}


def test_singles_and_both_kinds_of_pairs_are_tried_about_as_often() -> None:
    assert len(hierarchical.INSIDE) == len(hierarchical.OUTSIDE) <= len(hierarchical.SINGLES)
    assert {name.replace("long", "single") for name in hierarchical.LONG} == set(hierarchical.SINGLES[1:5])
    numbers = {
        name: {int(i) for i in name.split("_")[1:]} for name in hierarchical.INSIDE + hierarchical.OUTSIDE
    }
    assert all(numbers[name] <= {2, 3, 4, 5} for name in hierarchical.INSIDE)
    assert all(len(numbers[name] & {1, 6}) == 1 for name in hierarchical.OUTSIDE)
    assert hierarchical.CHOSEN in hierarchical.INSIDE


def test_a_method_that_a_seed_lacks_is_an_error_and_not_left_out() -> None:
    tables = as_stated()
    rows = tables["narrow_chosen"]
    fewer = tables | {"narrow_chosen": rows[~((rows.seed == 3) & (rows.method == "single_6"))]}
    (criterion,) = [c for c in CLAIMS[3].criteria if c.name == "one does not"]
    with pytest.raises(ValueError, match=r"\[3\] have no value"):
        criterion.judge(fewer)


def test_core_figures_alone_leave_figures_18_and_19_not_run(store: Store) -> None:
    core = {k: v for k, v in as_stated().items() if not k.endswith(("chosen", "temperatures"))}
    shown = claims.judge_page("hierarchical", "laptop", core, [], store).groupby("claim").verdict.agg(set)
    assert set(shown.index) == set(IDS)
    assert {name for name, verdict in shown.items() if verdict == {NOT_RUN}} == {
        *("Figure 18", "Figure 19", "one-checkpoint-is-not-enough", "both-checkpoints-in-the-transition")
    }
    assert {name for name, verdict in shown.items() if verdict == {REPRODUCED}} == {
        *("Figure 15", "Figure 17", "small-student-as-fast-as-its-teacher")
    }
    with pytest.raises(MissingTableError, match="narrow_chosen"):
        hierarchical.best_final(core, hierarchical.SINGLES, "narrow_chosen")


def test_the_claims_of_the_page_are_those_of_the_register() -> None:
    assert_claims_are_those_of_the_register("hierarchical")

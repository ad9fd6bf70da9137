"""What is measured of runs and rivals, against numbers computed by hand, and on the curves that the paper shows."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pdlib.claims import of_page
from pdlib.claims.effects import MissingTableError, parity, shared
from pdlib.claims.judge import INCONCLUSIVE, NOT_REPRODUCED, REPRODUCED, Claim

MIDDLE, BEFORE, AFTER = (f"two_checkpoint_{name}" for name in ("middle", "before", "after"))
ONE_SHOT = ("one_shot", "one_shot_hard")


def runs(curves: dict[str, list[float]], seeds: int = 4, every: int = 10, **columns: Any) -> pd.DataFrame:
    """One row per evaluation: the same curve of each method in every ancestry, but for a little of the seed's own."""
    rows = [
        {"seed": s, "method": method, "step": every * i, "accuracy": a + 0.001 * s * (i > 0), **columns}
        for method, curve in curves.items()
        for s in range(seeds)
        for i, a in enumerate(curve)
    ]
    return pd.DataFrame(rows)


def only(found: pd.DataFrame | pd.Series) -> list[float]:
    return [round(float(v), 6) for v in np.ravel(found.to_numpy())]


TWO = {"students": runs({"a": [0.5, 0.9, 1.0], "b": [0.5, 0.5, 0.8], "c": [0.5, 0.6, 0.7]}, seeds=1)}


LENGTHS = {"students": pd.concat([TWO["students"].assign(horizon=h) for h in (0.25, 0.5)])}
WIDE = {**TWO, "wide": TWO["students"]}
TAUGHT = {**TWO, "teacher": runs({"teacher": [0.5, 0.5, 0.7, 1.0]}, seeds=1)}
FAMILY = runs({"8": [0.5, 0.5], "16": [0.5, 0.7], "32": [0.5, 1.0]}, seeds=2)
HEADS = {"heads": FAMILY.assign(n_heads=FAMILY.method.astype(int))}
HOT = {"temperatures": runs({"x": [0.5, 1.0]}, seeds=1).assign(targets="hard")}
HALF = {"horizon": 0.5}
PROBE = pd.DataFrame({"seed": [0, 0, 1, 0], "step": [9, 3, 4, 6], "sure": [0.9, 0.3, 0.4, 0.6]})


@pytest.mark.parametrize(
    ("effect", "tables", "arguments", "expected"),
    [
        (shared.gain, TWO, ("students", "a", ["b", "c"]), [0.2, 0.3]),
        (shared.gain, TWO, ("students", "a", ["b"], "mean"), [0.2]),
        (shared.gain, WIDE, (["students", "wide"], "a", ["b"]), [0.2, 0.2]),
        (shared.gain, LENGTHS, ("students", "a", ["b"], "final", "method", HALF), [0.2]),
        (shared.gain_change, LENGTHS, ("students", "a", ["b"], {"horizon": 0.25}, HALF), [0.0]),
        (shared.value, TWO, ("students", "b", "mean"), [0.6]),
        (shared.final_value, {"probe": PROBE}, ("probe", "sure"), [0.9, 0.4]),
        (shared.reached, TWO, ("students", ["b", "c"], 0.8), [1.0]),
        (shared.reached, TWO, ("students", ["c"], 0.8), [0.0]),
        (shared.reached, WIDE, (["students", "wide"], ["a"], 0.99), [1.0, 1.0]),
        (shared.only_reached, TWO, ("students", "a", ["b"], 0.9), [1.0]),
        (shared.only_reached, TWO, ("students", "a", ["b"], 0.8), [0.0]),  # b got there as well
        (shared.speedup, TWO, ("students", "a", ["b"]), [1.0]),  # who never gets there takes the whole budget
        (shared.speedup, TWO, ("students", "c", ["b"]), [0.0]),
        (shared.speedup, TWO, ("students", "b", ["a"]), [-1.0]),
        (shared.lead_over_teacher, TAUGHT, ("students", "a"), [round(0.8 - 1.7 / 3, 6)]),  # as many steps
        (shared.lead_over_teacher, TAUGHT, ("students", "a", "final"), [0.3]),
        (shared.most_against_fewest, HEADS, ("heads", "n_heads", "final"), [0.5, 0.5]),
        (shared.order, HEADS, ("heads", "n_heads"), [1.0, 1.0]),
        # b's later rise does not count
        (parity.across, TWO | HOT, ("temperatures", "hard", "targets", "students", ["b"]), [0.25]),
    ],
)
def test_an_effect_is_what_is_computed_by_hand(
    effect: Callable[..., Any],
    tables: dict[str, pd.DataFrame],
    arguments: tuple[Any, ...],
    expected: list[float],
) -> None:
    assert only(effect(tables, *arguments)) == expected


def test_of_several_tables_each_has_its_columns_and_an_absent_setting_is_not_run() -> None:
    found = shared.gain(WIDE, ["students", "wide"], "a", ["b"])
    assert found.columns.tolist() == ["students b", "wide b"]
    with pytest.raises(MissingTableError, match="students: horizon = 1"):
        shared.gain(LENGTHS, "students", "a", ["b"], where={"horizon": 1.0})


def test_a_method_learns_at_a_rate_or_not_whatever_its_best_rate() -> None:
    rows = [
        ("students", m, rate, 101, step, a if step else 0.5)
        for m, ends in {"a": [0.9, 1.0, 0.9], "b": [0.5, 1.0, 0.5]}.items()
        for rate, a in zip((0.1, 0.2, 0.4), ends, strict=True)
        for step in (0, 10)
    ]
    tuning = pd.DataFrame(rows, columns=["comparison", "method", "learning_rate", "seed", "step", "accuracy"])
    assert only(shared.rates_learned({"tuning": tuning}, "a", ["b"], "students")) == [2.0]
    assert only(shared.gain({"tuning": tuning[tuning.learning_rate == 0.2]}, "tuning", "a", ["b"])) == [0.0]
    with pytest.raises(MissingTableError):
        shared.rates_learned({"tuning": tuning}, "a", ["b"], "others")


def correlations(inside: list[float], off: list[float], degree: int = 1) -> pd.DataFrame:
    rows = [
        (0, 10 * (i + 1), degree, group, value, value)
        for group, values in (("in_support", inside), ("off_support", off))
        for i, value in enumerate(values)
    ]
    return pd.DataFrame(rows, columns=["seed", "step", "degree", "group", "mean", "maximum"])


def candidates(before: int = 10, middle: int = 20, after: int = 40) -> pd.DataFrame:
    rows = [(0, "before", before, 0.5), (0, "middle", middle, 0.75), (0, "after", after, 1.0)]
    return pd.DataFrame(rows, columns=["seed", "candidate", "step", "accuracy"])


def test_the_gap_compares_both_groups_at_one_checkpoint() -> None:
    tables = {
        "correlations": correlations([0.1, 0.4, 0.8, 0.1], [0.1, 0.1, 0.1, 0.8]),
        "candidates": candidates(),
    }
    assert only(parity.degree_1_gap(tables, "middle")) == [2.0]
    assert only(parity.degree_1_gap(tables, "before")) == [0.0]
    assert only(parity.degree_1_peak(tables)) == [3.0]  # of two maxima at different checkpoints it would be 0
    assert only(parity.degree_1_fading(tables)) == [3.0]


def test_correlations_as_the_paper_reads_them_show_the_gap() -> None:
    """Figure 2, middle: .093 in the support at candidate 2, .002 off it, .015 before."""
    table = correlations([0.015, 0.093, 0.02], [0.015, 0.002, 0.002])
    tables = {"correlations": table, "candidates": candidates(after=30)}
    assert only(parity.degree_1_gap(tables, "middle")) == [round(math.log2(0.093 / 0.002), 6)]
    assert only(parity.degree_1_gap(tables, "before")) == [0.0]


def test_a_clean_gap_is_over_the_largest_of_the_others() -> None:
    table = correlations([0.1, 0.4], [0.1, 0.1]).assign(maximum=0.8)
    tables = {"fast_correlations": table, "fast_candidates": candidates()}
    assert only(parity.clean_gap(tables, 1)) == [-1.0]


def test_attention_that_grows_before_or_after_the_transition_fails() -> None:
    def mass(*values: float) -> dict[str, pd.DataFrame]:
        attention = pd.DataFrame({"seed": 0, "step": [0, 10, 40, 50], "on_support": values})
        return {"attention": attention, "candidates": candidates()}

    assert only(parity.mass_in_transition(mass(0.1, 0.1, 0.5, 0.5))) == [0.2]
    assert only(parity.mass_in_transition(mass(0.1, 0.5, 0.5, 0.5))) == [-0.2]
    assert only(parity.mass_in_transition(mass(0.1, 0.1, 0.1, 0.5))) == [-0.2]
    assert only(parity.mass_growth(mass(0.1, 0.1, 0.5, 0.5))) == [0.4]


def test_hard_labels_are_compared_with_each_low_temperature() -> None:
    table = pd.concat(
        runs({"x": c}, seeds=1).assign(targets=t)
        for t, c in {"hard": [1.0], "0.001": [0.9], "1": [0.5]}.items()
    )
    assert parity.distance_from_hard({"temperatures": table}, 0.01).round(6).to_dict("list") == {
        "0.001": [0.1]
    }
    with pytest.raises(MissingTableError):
        parity.distance_from_hard({"temperatures": table}, 1e-4)


def features(peaks: dict[int, int], n: int = 6, end: float = 0.1) -> pd.DataFrame:
    """Correlations along class 1's path: each node's spikes at one checkpoint, node 0 being the rest."""
    rows = [
        (seed, 10 * i, degree, "class_0", node, 0.8 if i == peak else end if i == n - 1 else 0.1)
        for seed in (1, 2)
        for degree in (1, 2)
        for node, peak in {0: -1, **peaks}.items()
        for i in range(n)
    ]
    return pd.DataFrame(rows, columns=["seed", "step", "degree", "scope", "node", "mean"])


def test_features_that_spike_apart_are_told_from_those_that_spike_together() -> None:
    apart = {"features": features({1: 1, 2: 3, 4: 4})}
    assert only(parity.onset_gap(apart, 1)) == [1.0, 1.0]
    assert only(parity.onset_gap({"features": features({1: 1, 2: 3, 4: 3})}, 1)) == [0.0, 0.0]
    assert only(parity.spike_over_rest(apart, 2)) == [3.0, 3.0]
    assert only(parity.spike_over_end(apart, 2)) == [3.0, 3.0]
    last = pd.DataFrame({"seed": [1, 2], "candidate": 6, "step": 50})
    assert only(parity.noisier_at_degree_1({**apart, "candidates": last})) == [0.0, 0.0]


# ------------------------------------------------- the paper's curves, and the verdicts

STEPS = [0, 1.0, 2.0, 6.0, 10.0, 12.0, 18.0, 20.0]  # millions; Figures 1 (left) and 2 (right)
PAPER = {
    MIDDLE: [0.5, 0.74, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
    BEFORE: [0.5] * 8,
    AFTER: [0.5] * 8,
    "progressive": [0.5, 0.5, 0.5, 0.5, 0.75, 1.0, 1.0, 1.0],
    "one_shot": [0.5] * 8,
    "one_shot_hard": [0.5] * 6 + [0.51, 0.66],
    "cross_entropy": [0.5] * 6 + [0.51, 0.66],
}


def page_claim(page: str, name: str) -> Claim:
    return next(claim for claim in of_page(page) if claim.id == name)


def paper_tables(**changes: list[float]) -> dict[str, pd.DataFrame]:
    return {"students": runs(PAPER | changes, seeds=6)}


@pytest.mark.parametrize("name", ["R2", "Figure 1 (left)", "Figure 2", "worse-teacher-better-student"])
def test_the_papers_own_curves_reproduce_the_papers_claims(name: str) -> None:
    assert page_claim("parity", name).primary.judge(paper_tables()).verdict == REPRODUCED


def test_a_rival_that_arrives_at_the_very_end_is_slower_all_the_same() -> None:
    """Accuracy at the end of the budget would not tell them apart; speed does."""
    late = [0.5] * 7 + [1.0]
    tables = paper_tables(cross_entropy=late, one_shot_hard=late)
    claim = page_claim("parity", "Figure 1 (left)")
    assert claim.primary.judge(tables).verdict == REPRODUCED
    by_name = {c.name: c.judge(tables).verdict for c in claim.criteria}
    assert by_name["reaches 90 % sooner"] == REPRODUCED
    assert by_name["ends ahead"] == NOT_REPRODUCED  # the control, as it was judged once


def test_methods_that_are_equal_are_not_called_faster() -> None:
    for name, claim in {c.id: c for c in of_page("parity")}.items():
        if name in ("R2", "Figure 1 (left)", "worse-teacher-better-student"):
            equal = paper_tables(**dict.fromkeys(PAPER, PAPER["progressive"]))
            assert claim.primary.judge(equal).verdict == NOT_REPRODUCED
    early = paper_tables(**{BEFORE: PAPER[MIDDLE]})
    assert page_claim("parity", "R2").primary.judge(early).verdict == NOT_REPRODUCED
    assert page_claim("parity", "Figure 2").primary.judge(early).verdict == NOT_REPRODUCED


def test_twelve_students_of_thirteen_reach_it_though_their_mean_does_not() -> None:
    table = runs({m: PAPER[m] for m in (MIDDLE, BEFORE, AFTER)}, seeds=13)
    failed = (table.seed == 12) & (table.method == MIDDLE)
    table.loc[failed, "accuracy"] = 0.6
    assert table[(table.method == MIDDLE) & (table.step == 70)].accuracy.mean() < 0.99
    claim = page_claim("parity", "Figure 2")
    assert claim.primary.judge({"students": table}).verdict == REPRODUCED
    half = table.assign(accuracy=table.accuracy.where((table.seed % 2 == 0) | (table.method != MIDDLE), 0.6))
    assert claim.primary.judge({"students": half}).verdict == INCONCLUSIVE


def tree_tables(**changes: list[float]) -> dict[str, pd.DataFrame]:
    learned, stuck = [0.125, 0.5, 1.0, 1.0], [0.125, 0.3, 0.6, 0.875]
    inside = {f"pair_{p}": learned for p in ("2_4", "2_5", "3_4", "3_5")} | {
        "pair_4_5": [0.125, 0.2, 0.3, 0.5]
    }
    outside = {f"pair_{p}": stuck for p in ("1_3", "1_5", "2_6", "3_6", "5_6")}
    single = {f"single_{i}": stuck for i in range(1, 7)} | {f"long_{i}": stuck for i in range(2, 6)}
    methods = {"progressive": learned, "one_shot": stuck, "one_shot_hard": stuck, "cross_entropy": stuck}
    tables = {"teacher": runs({"teacher": learned}, seeds=6)}
    for width in ("narrow", "wide"):
        tables[f"{width}_chosen"] = runs(inside | outside | single | changes, seeds=6)
        tables[f"{width}_students"] = runs(methods | changes, seeds=6)
        tables[f"{width}_temperatures"] = runs({"0.0001": learned} | changes, seeds=6)
    return tables


TREE = [
    *("Figure 15", "Figure 18", "Figure 19", "one-checkpoint-is-not-enough"),
    *("both-checkpoints-in-the-transition", "small-student-as-fast-as-its-teacher"),
]


@pytest.mark.parametrize("name", TREE)
def test_a_tree_that_behaves_as_the_paper_says_is_reproduced_and_its_opposite_is_not(name: str) -> None:
    claim = page_claim("hierarchical", name)
    tables = tree_tables()
    verdicts = {c.name: c.judge(tables).verdict for c in claim.criteria}
    assert {v for n, v in verdicts.items() if not n.startswith("learns at more rates")} == {REPRODUCED}
    learned, stuck = [0.125, 0.9, 1.0, 1.0], [0.125, 0.125, 0.125, 0.125]
    spoiled = {
        "pair_3_5": stuck,
        "progressive": stuck,
        "single_3": learned,
        "pair_3_6": learned,
        "0.0001": stuck,
    }
    assert claim.primary.judge(tree_tables(**spoiled)).verdict == NOT_REPRODUCED

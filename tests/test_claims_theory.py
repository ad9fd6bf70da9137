"""Claims of the page `theory`: each effect against plain arithmetic, each criterion both ways."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import cache, partial
from itertools import product
from typing import Any

import pandas as pd
import pytest
import tiny_theory
from judging import (
    SEEDS,
    Tables,
    assert_documented,
    assert_every_claim_of_the_register_is_judged,
    assert_it_reads_one_table_and_names_each_missing_column,
    assert_one_case_refutes,
    assert_one_seed_decides_nothing,
)

from pdlib import claims
from pdlib.claims import INCONCLUSIVE, NOT_REPRODUCED, NOT_RUN, REPRODUCED, Criterion
from pdlib.claims.effects import EFFECTS

CLAIMS = {claim.id: claim for claim in claims.of_page("theory")}
CRITERIA = [criterion for claim in CLAIMS.values() for criterion in claim.criteria]


def each(which: Callable[[Criterion], Any] = lambda c: True) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("criterion", [*filter(which, CRITERIA)], ids=lambda c: c.title)


def frame(table: str, columns: str, *rows: tuple[Any, ...]) -> Tables:
    return {table: pd.DataFrame(rows, columns=columns.split())}


searched = partial(frame, "batches", "seed target rule support_size n_bits batch_size predicted")


# Effects, on tables whose answer is plain arithmetic

AB = frame("t", "case seed a b", ("x", 1, 8.0, 2.0), ("x", 1, 1.0, 2.0), ("y", 2, 2.0, 8.0))
CURVES = (*((s, x, float(x**p)) for s, p in ((1, 2), (2, -3)) for x in (2, 4, 8)), (3, 2, 1.0))
POWERS = frame("t", "seed x y", *CURVES)
OFF = frame(  # (k - 1)/(d - k) = 3/7
    *("teachers", "n_bits support_size seed width aligned group mean"),
    *((11, 4, 1, m, False, "in_support", 7.0) for m in (16, 64)),
    *((11, 4, 1, 16, False, "off_support", 3.0), (11, 4, 1, 64, False, "off_support", 12.0)),
    *((11, 4, 2, 16, False, "in_support", 7.0), (11, 4, 2, 16, False, "off_support", 1.5)),
    *((11, 4, 3, 16, True, "in_support", 1.0), (11, 4, 3, 16, True, "off_support", 1.0)),
)
SHARES = frame(
    *("separation", "support_size n_bits n_draws n_separated"),
    *((2, 31, 100, 80), (2, 11, 100, 20), (2, 21, 100, 90)),
    *((4, 11, 100, 64), (4, 31, 200, 16)),  # falls by a factor of eight
    *((6, 11, 100, 0), (6, 31, 100, 2)),  # none counts as half a draw
)
SECONDS = frame(
    *("second_stages", "seed step bound_steps in_regime reached"),
    *((1, 64, 1024.0, True, False), (1, 256, 1024.0, True, True)),
    *((2, 4096, 1024.0, True, True), (2, 64, 1024.0, True, False)),  # rows in any order
    *((3, 9999, 1024.0, True, False), (4, 64, 1024.0, False, True)),  # the last outside the regime
)
SEARCHES = searched(
    *((1, "intermediate", "one", 4, d, 16.0, 16.0) for d in (11, 21)),
    *((1, "labels", "one", 4, d, b, 128.0) for d, b in ((11, 64.0), (21, 256.0), (31, 9e9))),
    *((2, "intermediate", "one", 4, 21, 512.0, 512.0), (2, "labels", "one", 4, 21, 256.0, 128.0)),
    *((1, "labels", "pooled", 4, 21, 16.0, math.nan), (1, "labels", "one", 2, 21, 1.0, 1.0)),
    *((3, "intermediate", "one", 4, 21, 16.0, 1.0), (3, "labels", "one", 4, 21, math.inf, 128.0)),
)
SLOPES = searched(
    *((1, "labels", "one", 4, d, float(d**3), 1.0) for d in (11, 21, 31)),
    *((2, "labels", "one", 4, d, 7.0, 1.0) for d in (11, 21, 31)),
    *((1, "labels", "pooled", 4, d, float(d**9), 1.0) for d in (11, 21)),
    *((s, "intermediate", "one", 4, d, float(d), 1.0) for s in (1, 2) for d in (11, 31)),
)
PREDICTED = searched(
    *((1, "labels", "one", 4, 11, 64.0, 16.0), (1, "labels", "one", 2, 21, 16.0, 16.0)),
    *((2, "labels", "one", 4, 11, 4.0, 16.0), (2, "labels", "pooled", 4, 11, 99.0, 1.0)),
    *((3, "labels", "one", 4, 11, 64.0, 16.0), (3, "labels", "one", 2, 21, 4.0, 16.0)),  # cancel
    *((4, "labels", "one", 2, 21, math.inf, 16.0), (1, "intermediate", "one", 4, 11, 99.0, 1.0)),
)
TO_LABELS = {"target": "intermediate", "against": "labels", "k": 4}

# effect -> (tables, arguments, one value per case or ancestry)
MEASURED: dict[str, list[tuple[Tables, dict[str, Any], dict[Any, float]]]] = {
    "statistic": [
        (AB, {"table": "t", "of": "a"}, {"x": 8, "y": 2}),
        (AB, {"table": "t", "of": "a", "reduce": "mean", "per": "seed"}, {1: 4.5, 2: 2}),
        (AB, {"table": "t", "of": "a - b", "query": "a < 8"}, {"x": -1, "y": -6}),
        (AB, {"table": "t", "of": "a / b", "log": True}, {"x": 2, "y": -2}),
        (AB, {"table": "t", "of": "a / b", "log": True, "reduce": "min", "per": "seed"}, {1: -1, 2: -2}),
        (AB, {"table": "t", "of": "8 * a * b", "query": "b == b.max()"}, {"y": 128}),
    ],
    "ratio_spread": [  # ratios 4, 1/2, 1/4
        (AB, {"table": "t", "of": "a / b"}, {"all": 4}),
        (AB, {"table": "t", "of": "a / b", "query": "case == 'x'"}, {"all": 3}),
        ({"t": AB["t"].assign(b=3 * AB["t"].a)}, {"table": "t", "of": "a / b"}, {"all": 0}),
    ],
    "slope_error": [
        (POWERS, {"table": "t", "y": "y", "x": "x", "expected": 2}, {1: 0, 2: 5, 3: math.nan}),
        (POWERS, {"table": "t", "y": "y", "x": "x", "expected": 2.5, "query": "seed < 2"}, {1: 0.5}),
        (POWERS, {"table": "t", "y": "y", "x": "x", "expected": 1.5, "query": "seed < 2"}, {1: 0.5}),
    ],
    "off_against_in": [(OFF, {}, {1: 1, 2: -1})],  # 1 and 4 times as large: the mean of 0 and 2
    "share_growth": [(SHARES, {}, {2: 2, 4: -3, 6: 2})],
    "steps_over_bound": [(SECONDS, {}, {1: -2, 2: 2, 3: math.inf})],
    "read_off_gain": [
        (SEARCHES, TO_LABELS, {1: 4, 2: -1, 3: math.inf}),
        (SEARCHES, TO_LABELS | {"target": "labels", "against": "intermediate"}, {1: -4, 2: 1, 3: -math.inf}),
        (SEARCHES, TO_LABELS | {"target": "labels", "rule": "pooled"}, {1: 0}),
    ],
    "read_off_power": [
        (SLOPES, {"target": "labels", "k": 4}, {1: 3, 2: 0}),
        (SLOPES, {"target": "labels", "k": 4, "rule": "pooled"}, {1: 9}),
        (SLOPES, {"target": "labels", "k": 4, "less": "intermediate"}, {1: 2, 2: -1}),
    ],
    "distance_from_prediction": [
        (PREDICTED, {"target": "labels"}, {1: 1, 2: 2, 3: 0, 4: math.inf}),
        (PREDICTED, {"target": "intermediate"}, {1: math.log2(99)}),
    ],
}


@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
@pytest.mark.parametrize(
    ("name", "tables", "arguments", "expected"),
    [pytest.param(n, *case, id=f"{n} {i}") for n, cases in MEASURED.items() for i, case in enumerate(cases)],
)
def test_an_effect_is_what_plain_arithmetic_says(
    name: str, tables: Tables, arguments: dict[str, Any], expected: dict[Any, float]
) -> None:
    values = EFFECTS[name](tables, **arguments).to_dict()
    assert values == pytest.approx(expected, abs=1e-12, nan_ok=True)
    changed = {key: value + 1e-6 for key, value in expected.items() if math.isfinite(value)}
    assert values != pytest.approx(expected | changed, abs=1e-12, nan_ok=True)  # the control


# Tables on which every statement holds, and what makes each fail


def grid(**columns: Any) -> pd.DataFrame:
    """All combinations of the columns with several values; one value, or a function of those before, is for all rows."""
    several = {name: c for name, c in columns.items() if isinstance(c, (tuple, range))}
    rows = pd.DataFrame(list(product(*several.values())), columns=list(several))
    return rows.assign(**{name: c for name, c in columns.items() if name not in several})


def needed(row: pd.Series[Any]) -> float:
    """The batch that a target needs where the theorem holds."""
    if row.target == "intermediate":
        return 8.0
    c = float(row.target.split(" = ")[1]) if " = " in row.target else math.inf
    return 1e3 * float(row.n_bits) ** min(2 * c, row.support_size - 1)


ORDERS = ("majority", "sums")  # judged by the spread of all rows: one suffices to refute
CASES, GROUPS = ("a", "b"), ("in_support", "off_support", "even", "odd_higher", "norm")
TARGETS = ("labels", "intermediate", "trained", *(f"constructed, c = {c}" for c in ("1", "1.25", "2")))


@cache
def as_stated(name: str = "") -> Tables:
    """Tables with the columns that the page makes; all statements hold but those that contradict each other.

    Corollary B.6 as printed and as corrected cannot both hold; `name` says which claim shall.
    """
    of_maj = 1 / 32 if name == "Corollary B.6 (as printed)" else 1e-17
    majority = grid(n_bits=(9, 11), degree=(1, 3, 5, 7, 9), exact=lambda t: 2.0**-t.degree, case="a")
    first = grid(seed=SEEDS, batch_size=(256, 1024, 4096), decay=("cancelling", "printed"), group=GROUPS[:2])
    root = (1 + 0.01 * first.seed) * first.batch_size**-0.5
    teachers = grid(
        seed=SEEDS, width=(16, 64, 256), aligned=(False, True), group=GROUPS, n_bits=11, support_size=4
    )
    mean = ((1 + 0.01 * teachers.seed) * teachers.width**-0.5).mask(teachers.aligned, 1 / 16)
    batches = grid(
        seed=SEEDS, support_size=(2, 4, 6), n_bits=(11, 15, 21), rule=("one", "pooled"), target=TARGETS
    )
    predicted = batches.apply(needed, axis=1)
    lemmas = partial(grid, lemma=("Lemma C.2", "Lemma C.4"), case=CASES)
    layers = lemmas(quantity=("width_1", "W_1"), value=4.0, bound=4.0)
    outputs = lemmas(perturbation=(0.0, 0.25, 0.5), quantity="output")
    return {
        "majority": majority.assign(printed=majority.exact / 3, right=majority.exact / 2),
        "sums": grid(n_bits=(9, 11), case="a", absolute_sum=1.2, printed=1.0),
        "gaps": grid(case=CASES, support_size=(2, 4), gap=2.0, bound=1.0),
        "gradients": grid(case=CASES, error=1e-15, printed_error=1e-15),
        "first_steps": first.assign(
            error=0.5, bound=1.0, printed_centre_error=0.5, printed_bound=1.0,
            gradient_error=root, gradient_rms=root, tau_g=2 * root,
        ),
        "first_batches": grid(
            seed=SEEDS, batch=("B.7", "B.7 printed", "B.9", "B.9 printed"), gradient_error=1.0, allowed=1.0
        ),
        "teachers": teachers.assign(
            case=lambda t: t.seed.astype(str) + " " + t.width.astype(str) + " " + t.aligned.astype(str),
            minimum=1 / 16,
            mean=mean.where(teachers.group != "off_support", mean * 3 / 7).mask(teachers.group == "norm", 11 / 8),
            maximum=teachers.group.map({"even": 1e-16}).fillna(1.0),
            majority=teachers.group.map({"in_support": of_maj, "off_support": 1e-17}),
        ),
        "separation": grid(
            support_size=(2, 4, 6), n_bits=(31, 11), n_draws=100, n_separated=lambda t: 90 - 4 * (31 - t.n_bits)
        ),
        "second_stages": grid(
            seed=SEEDS, in_regime=(True, False), step=(0, 64, 200), bound_steps=1e4, reached=lambda t: t.step == 200,
            loss=lambda t: 1 - t.step / 250, max_degree_1=lambda t: t.loss / 2,
        ),
        "best": grid(
            seed=SEEDS, support_size=(2, 4), supervision=("labels", "intermediate"), aligned=(False, True),
            best_loss=0.01,
        ),
        "directions": grid(case=CASES, draw=range(4), succeeds=True),
        "predictors": grid(case=CASES, largest=(1.0, 3.0), loss=0.2, correlation=0.1),
        "batches": batches.assign(
            batch_size=(1 + 0.01 * batches.seed) * predicted, predicted=predicted.where(batches.rule == "one")
        ),
        "trade_off": grid(
            seed=SEEDS, n_bits=(11, 15), step=100, bound=lambda t: t.n_bits.map({11: 0.1, 15: 10.0})
        ),
        "selection": grid(
            case=CASES, example=("printed", "repaired"), last_in_support=(True, False), n_errors=0, hidden=12,
            hidden_bound=12, largest_entry=10.0, norm_bound=24,
        ),
        "uniform": grid(
            case=CASES, layers=("zigzag", "lemma"), n_errors=0, widest=4, printed_width=4, operator_norm=3.0,
            norm_bound=16,
        ),
        "interpolation": pd.concat(
            [layers, outputs.assign(max_error=outputs.perturbation.gt(0.25) * 0.5)], ignore_index=True
        ),
    }  # fmt: skip


MADE_BY = {  # table -> the calculation that makes its columns; the others are labels of the page
    "majority": "Majority", "gaps": "FourierGap", "gradients": "PopulationGradient", "first_steps": "FirstStep",
    "first_batches": "FirstStep", "teachers": "FirstStageTeacher", "separation": "SeparationShare",
    "second_stages": "SecondStage", "best": "BestSecondStage", "directions": "SharedDirection",
    "predictors": "FinalTeachers", "trade_off": "WidthTradeOff", "selection": "SupportSelection",
    "uniform": "UniformAttention", "interpolation": "Interpolation1D", "batches": "ReadOff, labels",
}  # fmt: skip
LABELS = {
    *("case", "seed", "n_bits", "support_size", "width", "aligned", "batch", "allowed", "supervision"),
    *("lemma", "example", "last_in_support", "layers", "target", "rule"),  # named by the page
    *("succeeds", "widest"),  # computed by the page from best_loss, width_1 and width_2
}


@pytest.mark.parametrize("table", MADE_BY)
def test_the_hand_made_tables_have_the_columns_that_the_calculations_make(table: str) -> None:
    made = set(tiny_theory.CALCULATIONS[MADE_BY[table]].rows()[0])
    assert set(as_stated()[table].columns) - LABELS <= made


def test_every_effect_is_measured_every_column_documented_and_every_claim_judged() -> None:
    assert {c.effect for c in CRITERIA} == set(MEASURED)
    assert_documented("theory", as_stated())
    assert_every_claim_of_the_register_is_judged("theory")


def table_of(criterion: Criterion) -> str:
    own = {"off_against_in": "teachers", "share_growth": "separation", "steps_over_bound": "second_stages"}
    return str(criterion.arguments.get("table", own.get(criterion.effect, "batches")))


def target_scaled(rows: pd.DataFrame, target: str, factor: Any) -> pd.DataFrame:
    """Multiply the batches of a target."""
    return rows.assign(batch_size=rows.batch_size.where(rows.target != target, rows.batch_size * factor))


def spoiled(criterion: Criterion, tables: Tables, only: Any = True) -> Tables:
    """The tables on which a criterion fails; with `only`, a mask, no other rows are changed."""
    a, table = criterion.arguments, tables[table_of(criterion)]
    above = criterion.side == "above"
    match criterion.effect:
        case "statistic" | "ratio_spread":  # the first column of the formula that is no size
            column = next(n for n in re.findall(r"[a-z]\w*", a["of"]) if n != "support_size")
            value = table[column] / 1e9 if above else table[column] * 1e3 + 9
            one = a["table"] in ORDERS and only is True
            changed = {column: value.where(table.index == 0, table[column]) if one else value}
        case "slope_error":
            changed = {a["y"]: table[a["y"]] * table[a["x"]]}
        case "off_against_in":
            changed = {"mean": table["mean"].where(table.group != "off_support", 9.0)}
        case "share_growth":
            changed = {"n_separated": table.n_separated.where(table.n_bits < 31, 1)}
        case "steps_over_bound":
            changed = {"bound_steps": table.bound_steps / 1e3}
        case _:
            factor = table.n_bits ** (-9.0 if above else 9.0) if "power" in criterion.effect else 1e9
            changed = {"batch_size": target_scaled(table, a["target"], factor).batch_size}
    new = {name: values.where(pd.Series(only, table.index), table[name]) for name, values in changed.items()}
    return tables | {table_of(criterion): table.assign(**new)}


@each()
def test_every_criterion_is_reproduced_as_stated_and_refuted_on_spoiled_tables(criterion: Criterion) -> None:
    tables = as_stated(criterion.claim)
    assert criterion.judge(tables).verdict == REPRODUCED
    assert criterion.judge(spoiled(criterion, tables)).verdict == NOT_REPRODUCED


@each(lambda c: c.arguments.get("query"))
def test_rows_that_a_criterion_leaves_out_do_not_change_it(criterion: Criterion) -> None:
    tables = as_stated(criterion.claim)
    table = tables[table_of(criterion)]
    outside = ~table.index.isin(table.query(criterion.arguments["query"]).index)
    assert outside.any()
    pd.testing.assert_frame_equal(
        criterion.values(spoiled(criterion, tables, outside)), criterion.values(tables)
    )


@each(lambda c: c.interval == "exact" and c.effect != "ratio_spread")
def test_one_case_refutes_an_exact_criterion(criterion: Criterion) -> None:
    tables = as_stated(criterion.claim)
    table = tables[table_of(criterion)]
    by = "support_size" if criterion.effect == "share_growth" else "case"
    last = criterion.values(tables).index[-1]
    assert_one_case_refutes(criterion, spoiled(criterion, tables, table[by] == last))


@each()
def test_what_is_judged_by_cases_is_exact_and_no_experiment_is_decided_by_one_seed(
    criterion: Criterion,
) -> None:
    tables = as_stated(criterion.claim)
    assert (set(criterion.values(tables).index) == set(SEEDS)) == (criterion.interval != "exact")
    if criterion.interval != "exact":
        assert_one_seed_decides_nothing(criterion, tables)


@each()
def test_a_criterion_needs_one_table_and_every_column_that_it_reads(criterion: Criterion) -> None:
    tables = as_stated(criterion.claim)
    assert_it_reads_one_table_and_names_each_missing_column(criterion, table_of(criterion), tables)


@pytest.mark.parametrize("sign", [1, -1])
@each(lambda c: c.effect in ("slope_error", "distance_from_prediction"))
def test_a_distance_is_refuted_on_either_side(criterion: Criterion, sign: int) -> None:
    tables = as_stated()
    for size, verdict in ((0.8, REPRODUCED), (1.2, NOT_REPRODUCED)):
        by, a = sign * size * criterion.threshold, criterion.arguments
        table = a.get("table", "batches")
        rows = tables[table]
        changed = (
            target_scaled(rows, a["target"], 2.0**by)
            if "target" in a
            else rows.assign(**{a["y"]: rows[a["y"]] * rows[a["x"]].astype(float) ** by})
        )
        assert criterion.judge(tables | {table: changed}).verdict == verdict


# What the theorem says


def test_settings_whose_bound_is_below_one_step_cannot_contradict_lemma_b10() -> None:
    (criterion,) = CLAIMS["Lemma B.10"].criteria
    tables = as_stated()
    runs = tables["trade_off"]
    for d, verdict in ((11, REPRODUCED), (15, NOT_REPRODUCED)):
        at_once = runs.assign(step=runs.step.mask(runs.n_bits == d, 1))
        assert criterion.judge(tables | {"trade_off": at_once}).verdict == verdict
    assert criterion.judge(tables | {"trade_off": runs[runs.bound < 1]}).verdict == NOT_RUN


# Runs that found nothing, and runs that were not made


def not_found(query: str) -> Tables:
    """Tables as stated, the searches of a query ended without a batch."""
    tables = as_stated()
    rows = tables["batches"]
    lost = rows.index.isin(rows.query(query).index)
    assert lost.any()
    return tables | {"batches": rows.assign(batch_size=rows.batch_size.mask(lost, math.inf))}


@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
@pytest.mark.parametrize("criterion", CLAIMS["R3"].criteria, ids=lambda c: c.name)
def test_a_teacher_that_never_shows_the_support_is_no_gain(criterion: Criterion) -> None:
    ours, rival = (f"target == {criterion.arguments[name]!r}" for name in ("target", "against"))
    assert criterion.judge(not_found(ours)).verdict == NOT_REPRODUCED
    assert criterion.judge(not_found(f"{ours} and seed == 0")).verdict == INCONCLUSIVE
    won = criterion.judge(not_found(f"{rival} and seed == 0"))  # the control: the rival's loss is a gain
    assert won.interval.high == math.inf
    assert won.verdict == REPRODUCED
    neither = criterion.judge(not_found(f"({ours} or {rival}) and seed == 0"))
    assert neither.verdict == INCONCLUSIVE
    assert neither.frame is not None
    assert neither.frame.empty


def test_a_slope_through_a_batch_that_was_not_found_is_undecided() -> None:
    one = not_found("target == 'labels' and n_bits == 21 and seed == 0")
    verdicts = {c.name: c.judge(one).verdict for c in CLAIMS["Theorem 3.2"].criteria}
    assert {name for name, v in verdicts.items() if v == INCONCLUSIVE} == {
        n for n in verdicts if "labels" in n
    }
    assert CLAIMS["Theorem 3.2"].primary.judge(one).verdict == REPRODUCED


def test_one_run_that_never_got_there_keeps_the_second_stage_from_being_within_its_bound() -> None:
    (criterion,), tables = CLAIMS["Lemma B.7 (second stage)"].criteria, as_stated()
    runs = tables["second_stages"]
    outside = runs.assign(in_regime=False)  # a smoke run's d is too small
    cases = [(outside, NOT_RUN)]
    for lost, verdict in (([3], INCONCLUSIVE), (list(SEEDS), NOT_REPRODUCED)):
        cases.append((runs.assign(reached=runs.reached & ~runs.seed.isin(lost)), verdict))
    for found, verdict in cases:
        assert criterion.judge(tables | {"second_stages": found}).verdict == verdict


def test_a_search_that_was_not_made_is_not_run_and_one_without_a_seed_an_error() -> None:
    tables, criterion = as_stated(), CLAIMS["R3"].primary
    rows = tables["batches"]
    rival = rows.target == criterion.arguments["against"]
    assert criterion.judge({"batches": rows[~rival]}).verdict == NOT_RUN
    with pytest.raises(ValueError, match=rf"{criterion.title}: \[3\] have no value; expected every ancestry"):
        criterion.judge({"batches": rows[~(rival & (rows.seed == 3))]})

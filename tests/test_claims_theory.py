"""Claims of the page `theory`: each effect against plain arithmetic, each criterion both ways."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
import tiny_theory
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
    INCONCLUSIVE,
    NOT_REPRODUCED,
    NOT_RUN,
    PARTLY,
    REPRODUCED,
    Claim,
    Criterion,
    MissingTableError,
    UndecidedError,
    theory,
)
from pdlib.store import Store

PARTS = parts_of("theory")
IDS = [claim.id for claim in claims.of_page("theory")]


def by_id(name: str) -> Claim:
    (found,) = [claim for claim in claims.of_page("theory") if claim.id == name]
    return found


# Effects, on tables whose answer is plain arithmetic


def frame(columns: str, *rows: tuple[Any, ...]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=columns.split())


def teachers(columns: str, *rows: tuple[Any, ...]) -> Tables:
    """Coefficients at d = 11 and k = 4."""
    return {"teachers": frame(columns, *rows).assign(n_bits=11, support_size=4)}


def searched(*rows: tuple[Any, ...]) -> Tables:
    return {"batches": frame("seed target rule support_size n_bits batch_size predicted", *rows)}


AB = frame("case seed a b", ("x", 1, 8.0, 2.0), ("x", 1, 1.0, 2.0), ("y", 2, 2.0, 8.0))
POWERS = frame(
    "seed x y", *((s, x, float(x**p)) for s, p in ((1, 2), (2, -3)) for x in (2, 4, 8)), (3, 2, 1.0)
)
SIZES = teachers(
    "seed width aligned group minimum mean",
    (1, 64, False, "in_support", 1 / 32, 1 / 8),  # 1/(8k) = 1/32
    (1, 64, False, "in_support", 9.0, 9.0),  # the smallest counts
    (1, 16, False, "in_support", 1 / 999, 1 / 999),  # and the widest network
    (2, 64, False, "in_support", 1 / 128, 1 / 64),
    (1, 64, False, "off_support", 9.0, 9.0),
    (1, 64, True, "in_support", 1 / 8, 1 / 4),
)
OFF = teachers(  # (k - 1)/(d - k) = 3/7
    "seed width aligned group mean",
    *((1, m, False, "in_support", 7.0) for m in (16, 64)),
    (1, 16, False, "off_support", 3.0),
    (1, 64, False, "off_support", 12.0),
    *((2, 16, False, group, mean) for group, mean in (("in_support", 7.0), ("off_support", 1.5))),
    *((3, 16, True, group, 1.0) for group in ("in_support", "off_support")),
)
NORMS = teachers(  # d/k = 11/4
    "seed width group mean",
    (1, 16, "norm", 11 / 8),
    (1, 64, "norm", 11 / 16),
    (2, 16, "norm", 22.0),
    (1, 16, "even", 9.0),
)
VOTES = teachers(
    "case group majority",
    ("a", "in_support", 1 / 8),
    ("a", "in_support", 1 / 16),
    ("b", "in_support", 0.0),
    ("a", "off_support", 9.0),
)
SHARES = {
    "separation": frame(
        "support_size n_bits n_draws n_separated",
        *((2, 31, 100, 80), (2, 11, 100, 20), (2, 21, 100, 90)),
        *((4, 11, 100, 64), (4, 31, 200, 16)),  # falls by a factor of eight
        *((6, 11, 100, 0), (6, 31, 100, 2)),  # none counts as half a draw
    )
}
SECONDS = {
    "second_stages": frame(
        "seed step bound_steps in_regime reached",
        *((1, 64, 1024.0, True, False), (1, 256, 1024.0, True, True)),
        *((2, 4096, 1024.0, True, True), (2, 64, 1024.0, True, False)),  # rows in any order
        (3, 9999, 1024.0, True, False),
        (4, 64, 1024.0, False, True),  # outside the regime
    )
}
SEARCHES = searched(
    *((1, "intermediate", "one", 4, d, 16.0, 16.0) for d in (11, 21)),
    *((1, "labels", "one", 4, d, b, 128.0) for d, b in ((11, 64.0), (21, 256.0), (31, 9e9))),
    *((2, "intermediate", "one", 4, 21, 512.0, 512.0), (2, "labels", "one", 4, 21, 256.0, 128.0)),
    *((1, "labels", "pooled", 4, 21, 16.0, math.nan), (1, "labels", "one", 2, 21, 1.0, 1.0)),
    *((3, "intermediate", "one", 4, 21, 16.0, 1.0), (3, "labels", "one", 4, 21, math.inf, 128.0)),
)


def steps_at(*rows: tuple[int, int, float]) -> Tables:
    """Second stages at k = 4, and one at k = 2 that no effect at k = 4 may see."""
    at_4 = [(seed, d, 4, step) for seed, d, step in rows]
    return {"second_steps": frame("seed n_bits support_size step", *at_4, (1, 21, 2, 9))}


STEPS = steps_at((1, 21, 16), (2, 21, 256))
SLOPES = searched(
    *((1, "labels", "one", 4, d, float(d**3), 1.0) for d in (11, 21, 31)),
    *((2, "labels", "one", 4, d, 7.0, 1.0) for d in (11, 21, 31)),
    *((1, "labels", "pooled", 4, d, float(d**9), 1.0) for d in (11, 21)),
)
PREDICTED = searched(
    *((1, "labels", "one", 4, 11, 64.0, 16.0), (1, "labels", "one", 2, 21, 16.0, 16.0)),
    (2, "labels", "one", 4, 11, 4.0, 16.0),
    *((1, "labels", "pooled", 4, 11, 99.0, 1.0), (1, "intermediate", "one", 4, 11, 99.0, 1.0)),
)

# effect -> (tables, arguments, one value a case or seed)
MEASURED: dict[str, list[tuple[Tables, dict[str, Any], dict[Any, float]]]] = {
    "statistic": [
        ({"t": AB}, {"table": "t", "column": "a"}, {"x": 8, "y": 2}),
        ({"t": AB}, {"table": "t", "column": "a", "reduce": "mean", "per": "seed"}, {1: 4.5, 2: 2}),
        ({"t": AB}, {"table": "t", "column": "a", "reduce": "min", "where": "b == 2"}, {"x": 1}),
    ],
    "log2_ratio": [
        ({"t": AB}, {"table": "t", "over": "a", "under": "b"}, {"x": 2, "y": -2}),
        ({"t": AB}, {"table": "t", "over": "b", "under": "a", "per": "seed"}, {1: 1, 2: 2}),
        ({"t": AB}, {"table": "t", "over": "a", "under": "b", "reduce": "min"}, {"x": -1, "y": -2}),
        ({"t": AB}, {"table": "t", "over": "a", "under": "b", "where": "b > 2"}, {"y": -2}),
    ],
    "spread": [  # ratios 4, 1/2, 1/4
        ({"t": AB}, {"table": "t", "over": "a", "under": "b"}, {"all": 4}),
        ({"t": AB}, {"table": "t", "over": "a", "under": "b", "where": "case == 'x'"}, {"all": 3}),
        ({"t": AB.assign(b=3 * AB.a)}, {"table": "t", "over": "a", "under": "b"}, {"all": 0}),
    ],
    "excess": [
        ({"t": AB}, {"table": "t", "of": "a", "above": "b"}, {"x": 6, "y": -6}),
        ({"t": AB}, {"table": "t", "of": "a", "above": "b", "per": "seed", "where": "a < 8"}, {1: -1, 2: -6}),
    ],
    "power": [
        ({"t": POWERS}, {"table": "t", "y": "y", "x": "x"}, {1: 2, 2: -3, 3: math.nan}),
        ({"t": POWERS}, {"table": "t", "y": "y", "x": "x", "where": "seed < 2"}, {1: 2}),
        (  # a value that the query leaves out may be infinite
            {"t": POWERS.replace({64.0: math.inf})},
            {"table": "t", "y": "y", "x": "x", "where": "seed > 1"},
            {2: -3, 3: math.nan},
        ),
    ],
    "power_error": [
        ({"t": POWERS}, {"table": "t", "y": "y", "x": "x", "expected": 2}, {1: 0, 2: 5, 3: math.nan}),
        ({"t": POWERS}, {"table": "t", "y": "y", "x": "x", "expected": 2.5, "where": "seed < 2"}, {1: 0.5}),
        ({"t": POWERS}, {"table": "t", "y": "y", "x": "x", "expected": 1.5, "where": "seed < 2"}, {1: 0.5}),
    ],
    "coefficient_size": [
        (SIZES, {"aligned": False, "reduce": "minimum"}, {1: 0, 2: -2}),
        (SIZES, {"aligned": False, "reduce": "mean"}, {1: 2, 2: -1}),
        (SIZES, {"aligned": True, "reduce": "minimum"}, {1: 2}),
    ],
    "off_against_in": [(OFF, {}, {1: 1, 2: -1})],  # 1 and 4 times as large: the mean of 0 and 2
    "output_size": [(NORMS, {}, {1: -1, 2: 3})],
    "majority_size": [(VOTES, {}, {"a": 1 / 2, "b": 0})],
    "share_growth": [(SHARES, {}, {2: 2, 4: -3, 6: 2})],
    "steps_over_bound": [(SECONDS, {}, {1: -2, 2: 2, 3: math.inf})],
    "read_off_gain": [
        (SEARCHES, {"target": "intermediate", "against": "labels", "k": 4}, {1: 4, 2: -1, 3: math.inf}),
        (SEARCHES, {"target": "labels", "against": "intermediate", "k": 4}, {1: -4, 2: 1, 3: -math.inf}),
        (SEARCHES, {"target": "labels", "against": "labels", "k": 4, "rule": "pooled"}, {1: 0}),
    ],
    "total_gain": [  # 272/32, 512/768
        (
            SEARCHES | STEPS,
            {"target": "intermediate", "against": "labels", "k": 4},
            {1: math.log2(8.5), 2: math.log2(2 / 3), 3: math.nan},  # a seed without steps is kept
        ),
        (SEARCHES | STEPS, {"target": "labels", "against": "labels", "k": 4}, {1: 0, 2: 0, 3: math.nan}),
        (
            SEARCHES | steps_at((1, 21, 16), (2, 21, math.inf), (3, 21, 16)),
            {"target": "intermediate", "against": "labels", "k": 4},
            {1: math.log2(8.5), 2: 0, 3: math.inf},  # a second stage that never ends leaves no gain
        ),
        (
            SEARCHES | steps_at((1, 21, 16), (2, 21, 256), (3, 21, 16)),
            {"target": "labels", "against": "intermediate", "k": 4},
            {1: -math.log2(8.5), 2: math.log2(3 / 2), 3: -math.inf},
        ),
        (  # at the larger of two that all have
            SEARCHES | steps_at((1, 11, 1), (1, 21, 16), (2, 21, 256), (3, 21, 16)),
            {"target": "intermediate", "against": "labels", "k": 4},
            {1: math.log2(8.5), 2: math.log2(2 / 3), 3: math.inf},
        ),
        (  # the second stage was run at the smaller d, and at one of labels alone: 80/32
            SEARCHES | steps_at((1, 11, 16), (1, 31, 16)),
            {"target": "intermediate", "against": "labels", "k": 4},
            {1: math.log2(2.5)},
        ),
        (  # the target at the smaller d alone
            SEARCHES
            | steps_at((1, 11, 16), (1, 21, 16))
            | {"batches": SEARCHES["batches"].query("target == 'labels' or n_bits == 11")},
            {"target": "intermediate", "against": "labels", "k": 4},
            {1: math.log2(2.5)},
        ),
    ],
    "read_off_power": [
        (SLOPES, {"target": "labels", "k": 4}, {1: 3, 2: 0}),
        (SLOPES, {"target": "labels", "k": 4, "rule": "pooled"}, {1: 9}),
    ],
    "distance_from_prediction": [
        (PREDICTED, {"target": "labels"}, {1: 1, 2: 2}),  # four times too many, four times too few
        (PREDICTED, {"target": "intermediate"}, {1: math.log2(99)}),
        (  # too many here and too few there are none on average, infinite is infinite
            searched(
                *((1, "labels", "one", 4, 11, 64.0, 16.0), (1, "labels", "one", 2, 21, 4.0, 16.0)),
                *((2, "labels", "one", 4, 11, 16.0, 16.0), (2, "labels", "one", 2, 21, math.inf, 16.0)),
            ),
            {"target": "labels"},
            {1: 0, 2: math.inf},
        ),
    ],
}


@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
@pytest.mark.parametrize(
    ("name", "tables", "arguments", "expected"),
    [
        pytest.param(name, *case, id=f"{name} {i}")
        for name, cases in MEASURED.items()
        for i, case in enumerate(cases)
    ],
)
def test_an_effect_is_what_plain_arithmetic_says(
    name: str, tables: Tables, arguments: dict[str, Any], expected: dict[Any, float]
) -> None:
    values = getattr(theory, name)(tables, **arguments)
    assert values.to_dict() == pytest.approx(expected, abs=1e-12, nan_ok=True)
    changed = {key: value + 1e-6 for key, value in expected.items() if math.isfinite(value)}
    if changed:
        assert values.to_dict() != pytest.approx(expected | changed, abs=1e-12, nan_ok=True)  # the control


def test_every_effect_of_the_page_is_measured_above_with_both_signs_or_zero() -> None:
    effects = own_effects(theory)
    assert effects == set(MEASURED)
    assert {criterion.effect.__name__ for _, criterion in (p.values for p in PARTS)} <= effects
    for name, cases in MEASURED.items():
        values = [v for *_, expected in cases for v in expected.values()]
        assert any(v > 0 for v in values), name
        assert any(v <= 0 for v in values) or name in ("statistic",), name
        assert len(values) >= 2, name


# Tables on which every statement holds, and what makes each fail


def as_stated(name: str = "") -> Tables:
    """Tables with the columns that the page makes; all statements hold but those that contradict each other.

    Corollary B.6 as printed and as corrected cannot both hold; `name` says which claim shall.
    """
    printed_b6 = name == "Corollary B.6 (as printed)"
    noise = {seed: 1 + 0.01 * seed for seed in SEEDS}
    majority = [
        {
            "case": f"d = {d}",
            "n_bits": d,
            "degree": i,
            "exact": 2.0**-i,
            "printed": 2.0**-i / 3,
            "right": 2.0**-i / 2,
        }
        for d in (5, 11)
        for i in range(1, d + 1, 2)
    ]
    sums = [
        {"case": f"d = {d}", "n_bits": d, "absolute_sum": 1.2 * d ** (2 / 3), "printed": d ** (2 / 3)}
        for d in (5, 11)
    ]
    gaps = [
        {"case": f"d = {d}", "n_bits": d, "support_size": k, "gap": 2.0, "bound": 1.0}
        for d in (9, 11)
        for k in (2, 4)
    ]
    gradients = [
        {"case": f"d = {d}", "group": group, "error": 1e-15, "printed_error": 1e-15}
        for d in (7, 9)
        for group in ("in_support", "off_support")
    ]
    first_steps = [
        {"seed": s, "batch_size": b, "decay": decay, "group": group}
        | {"error": 0.5, "bound": 1.0, "printed_centre_error": 0.5, "printed_bound": 1.0}
        | {"gradient_error": 2 * b**-0.5, "gradient_rms": noise[s] * b**-0.5, "tau_g": 4 * b**-0.5}
        for s in SEEDS
        for b in (256, 1024, 4096)
        for decay in ("cancelling", "printed")
        for group in ("in_support", "off_support")
    ]
    first_batches = [
        {"seed": s, "batch": batch, "gradient_error": 1.0, "allowed": 1.0}
        for s in SEEDS
        for batch in ("B.7 printed", "B.7 corrected", "B.9 printed")
    ]
    d, k = 11, 4
    coefficients: list[dict[str, Any]] = []
    for s, m, aligned in itertools.product(SEEDS, (16, 64, 256), (False, True)):
        label = {
            "case": f"m = {m}, aligned = {aligned}, seed = {s}",
            "seed": s,
            "n_bits": d,
            "support_size": k,
        }
        label |= {"width": m, "aligned": aligned}
        mean = 1 / 16 if aligned else noise[s] * m**-0.5
        coefficients += [
            label
            | {"group": "in_support", "minimum": 1 / 16, "mean": mean, "maximum": 1.0}
            | {"majority": 1 / 32 if printed_b6 else 1e-17},
            label
            | {"group": "off_support", "minimum": 0.0, "mean": mean * (k - 1) / (d - k), "maximum": 1.0}
            | {"majority": 1e-17},
            label | {"group": "even", "minimum": 0.0, "mean": 1e-17, "maximum": 1e-16, "majority": math.nan},
            label
            | {"group": "odd_higher", "minimum": 0.0, "mean": 0.1, "maximum": 0.5, "majority": math.nan},
            label
            | {
                "group": "norm",
                "minimum": math.nan,
                "mean": 0.5 * d / k,
                "maximum": math.nan,
                "majority": math.nan,
            },
        ]
    separation = [
        {
            "case": f"d = {n}, k = {size}",
            "n_bits": n,
            "support_size": size,
            "n_draws": 100,
            "n_separated": share,
        }
        for size in (2, 4, 6)
        for n, share in ((31, 90), (11, 10))
    ]
    second_stages = [
        {
            "seed": s,
            "step": step,
            "loss": 1 - step / 200,
            "bound_steps": 1e4,
            "in_regime": True,
            "reached": step == 200,
        }
        for s in SEEDS
        for step in (0, 64, 200)
    ]
    second_steps = [
        {"seed": s, "n_bits": n, "support_size": 2, "step": 100} for s in SEEDS for n in (11, 15, 21)
    ]
    best = [
        {"seed": s, "support_size": size, "supervision": supervision, "aligned": aligned, "best_loss": 0.01}
        for s in SEEDS
        for size in (2, 4)
        for supervision, aligned in (("labels", False), ("intermediate", False), ("intermediate", True))
    ]
    directions = [
        {"case": f"k = {size}", "support_size": size, "draw": draw, "best_loss": 0.0, "succeeds": True}
        for size in (2, 4, 6)
        for draw in range(4)
    ]
    predictors = [
        {"case": f"k = {size}: {of}", "largest": largest, "loss": 0.2, "correlation": 0.1}
        for size in (2, 4)
        for of, largest in (("2y + x_1", 3.0), ("constructed", 1.0))
    ]

    def batch(target: str, size: int, n: int) -> float:
        if target == "intermediate":
            return 8.0
        c = float(target.split(" = ")[1]) if " = " in target else math.inf
        return 1e3 * n ** min(2 * c, size - 1)

    batches = [
        {"seed": s, "n_bits": n, "support_size": size, "target": target, "rule": rule}
        | {"batch_size": noise[s] * batch(target, size, n)}
        | {"predicted": batch(target, size, n) if rule == "one" else math.nan}
        for s in SEEDS
        for size, n, rule in itertools.product((2, 4, 6), (11, 15, 21), ("one", "pooled"))
        for target in (
            "labels",
            "intermediate",
            "trained",
            *(f"constructed, c = {c}" for c in ("1", "1.25", "2")),
        )
    ]
    trade_off = [
        {"seed": s, "n_bits": n, "width": 16, "step": 100, "bound": 1.0, "reached": True}
        for s in SEEDS
        for n in (11, 15)
    ]
    selection = [
        {"case": f"d = 8, k = 2, {last}", "example": example, "n_errors": 0, "hidden": 12, "hidden_bound": 12}
        | {"largest_entry": 10.0, "norm_bound": 24}
        for last in ("in", "off")
        for example in ("printed", "repaired")
    ]
    uniform = [
        {
            "case": f"d = 8, k = {size}",
            "embedding": e,
            "n_errors": 0,
            "widest": 2**size,
            "printed_width": 2**size,
        }
        for size in (2, 4)
        for e in ("joint", "additive")
    ]
    interpolation = [
        {"lemma": lemma, "case": f"points = {n}"} | row
        for lemma in ("Lemma C.2", "Lemma C.4")
        for n in (3, 20)
        for row in (
            *(
                {"quantity": "output", "perturbation": p, "max_error": 1e-15 if p <= 0.25 else 0.5}
                for p in (0.0, 0.25, 0.5)
            ),
            *({"quantity": q, "value": 4.0, "bound": 4.0} for q in ("width_1", "W_1", "b_1")),
        )
    ]
    rows = {
        "majority": majority,
        "sums": sums,
        "gaps": gaps,
        "gradients": gradients,
        "first_steps": first_steps,
        "first_batches": first_batches,
        "teachers": coefficients,
        "separation": separation,
        "second_stages": second_stages,
        "second_steps": second_steps,
        "best": best,
        "directions": directions,
        "predictors": predictors,
        "batches": batches,
        "trade_off": trade_off,
        "selection": selection,
        "uniform": uniform,
        "interpolation": interpolation,
    }
    return {table: pd.DataFrame(values) for table, values in rows.items()}


# what the columns of the tables are called where they are made; the others are labels of the page
MADE_BY = {
    "majority": "Majority",
    "gaps": "FourierGap",
    "gradients": "PopulationGradient",
    "first_steps": "FirstStep",
    "first_batches": "FirstStep",
    "teachers": "FirstStageTeacher",
    "separation": "SeparationShare",
    "second_stages": "SecondStage",
    "best": "BestSecondStage",
    "directions": "SharedDirection",
    "predictors": "FinalTeachers",
    "trade_off": "WidthTradeOff",
    "selection": "SupportSelection",
    "uniform": "UniformAttention",
    "interpolation": "Interpolation1D",
    "batches": "ReadOff, labels",
}
LABELS = {"case", "seed", "n_bits", "support_size", "width", "aligned", "batch", "allowed", "supervision"} | {
    *("lemma", "example", "embedding", "target", "rule"),  # named by the page
    *("succeeds", "widest"),  # computed by the page from best_loss, width_1 and width_2
}


@pytest.mark.parametrize("table", MADE_BY)
def test_the_hand_made_tables_have_the_columns_that_the_calculations_make(table: str) -> None:
    made = set(tiny_theory.CALCULATIONS[MADE_BY[table]].rows()[0])
    assert set(as_stated()[table].columns) - LABELS <= made


Spoil = Callable[[pd.DataFrame, dict[str, Any]], pd.DataFrame]


def scaled(column: str, factor: float, where: str = "") -> Spoil:
    """Multiply a column, in all rows or in those of a query."""

    def spoil(rows: pd.DataFrame, _: dict[str, Any]) -> pd.DataFrame:
        at = rows.index if not where else rows.query(where).index
        return rows.assign(**{column: rows[column].where(~rows.index.isin(at), rows[column] * factor)})

    return spoil


def argument(name: str, change: Callable[[pd.Series[Any]], Any]) -> Spoil:
    """Change the column that an argument of the effect names."""
    return lambda rows, arguments: rows.assign(**{arguments[name]: change(rows[arguments[name]])})


def first_row_scaled(rows: pd.DataFrame, arguments: dict[str, Any]) -> pd.DataFrame:
    """Multiply one value by a thousand."""
    over = arguments["over"]
    return rows.assign(**{over: rows[over].where(rows.index != rows.index[0], rows[over] * 1e3)})


def steeper(by: float) -> Spoil:
    """Multiply y by a power of x, for the target where there is one."""

    def spoil(rows: pd.DataFrame, arguments: dict[str, Any]) -> pd.DataFrame:
        x, y = (arguments.get(n, other) for n, other in (("x", "n_bits"), ("y", "batch_size")))
        kept = rows.target != arguments["target"] if "target" in arguments else pd.Series(False, rows.index)
        return rows.assign(**{y: rows[y].where(kept, rows[y] * rows[x].astype(float) ** by)})

    return spoil


def target_scaled(factor: float) -> Spoil:
    def spoil(rows: pd.DataFrame, arguments: dict[str, Any]) -> pd.DataFrame:
        return scaled("batch_size", factor, f"target == {arguments['target']!r}")(rows, arguments)

    return spoil


# (effect, side) -> the table to spoil, "" for the one that an argument names, and how
SPOILED: dict[tuple[str, str], tuple[str, Spoil]] = {
    ("statistic", "below"): ("", argument("column", lambda values: values + 9)),
    ("statistic", "above"): ("", argument("column", lambda values: values & False)),
    ("log2_ratio", "below"): ("", argument("over", lambda values: values * 1e3)),
    ("log2_ratio", "above"): ("", argument("over", lambda values: values / 1e3)),
    ("spread", "below"): ("", first_row_scaled),
    ("excess", "below"): ("", argument("of", lambda values: values + 99)),
    ("power_error", "below"): ("", steeper(3)),
    ("coefficient_size", "above"): ("teachers", argument("reduce", lambda values: values / 1e3)),
    ("off_against_in", "below"): ("teachers", scaled("mean", 9, "group == 'off_support'")),
    ("output_size", "below"): ("teachers", scaled("mean", 9, "group == 'norm'")),
    ("majority_size", "above"): ("teachers", scaled("majority", 1e-12)),
    ("share_growth", "above"): ("separation", scaled("n_separated", 0.01, "n_bits == 31")),
    ("steps_over_bound", "below"): ("second_stages", scaled("step", 1e3)),
    ("read_off_gain", "above"): ("batches", target_scaled(1e9)),
    ("total_gain", "above"): ("batches", target_scaled(1e9)),
    ("read_off_power", "above"): ("batches", steeper(-9)),
    ("read_off_power", "below"): ("batches", steeper(9)),
    ("distance_from_prediction", "below"): ("batches", target_scaled(1e3)),
}


def spoiled(criterion: Criterion, tables: Tables, rows: pd.Index[Any] | None = None) -> Tables:
    """The tables on which a criterion fails; with `rows`, only those are spoiled."""
    key = (criterion.effect.__name__, criterion.side)
    assert key in SPOILED, f"say above how {key} can come out negative"
    name, spoil = SPOILED[key]
    arguments = dict(criterion.arguments)
    name = name or arguments["table"]
    changed = spoil(tables[name], arguments)
    if rows is not None:
        changed = changed.where(pd.Series(changed.index.isin(rows), changed.index), tables[name])
    return tables | {name: changed}


@pytest.mark.parametrize("name", IDS)
def test_every_claim_comes_out_reproduced_on_some_tables_and_not_on_others(name: str) -> None:
    claim, tables = by_id(name), as_stated(name)
    verdict, parts = claim.judge(tables)
    assert verdict == REPRODUCED, [(p.criterion.name, p.interval) for p in parts]
    for criterion in claim.criteria:
        tables = spoiled(criterion, tables)
    verdict, parts = claim.judge(tables)
    assert verdict == NOT_REPRODUCED, parts
    assert {part.verdict for part in parts} == {NOT_REPRODUCED}, parts


@pytest.mark.parametrize(("claim", "criterion"), PARTS)
def test_every_criterion_comes_out_negative_on_spoiled_tables(claim: Claim, criterion: Criterion) -> None:
    tables = as_stated(claim.id)
    assert criterion.judge(tables).verdict == REPRODUCED
    assert_refuted(claim, criterion, spoiled(criterion, tables))


# a criterion of a distance -> the same change of its table by an exponent, or log2, of either sign
EITHER_WAY: dict[str, Callable[[float], Spoil]] = {
    "power_error": steeper,
    "distance_from_prediction": lambda by: target_scaled(2.0**by),
}


def test_every_claim_with_a_two_sided_statement_states_it_as_one_criterion() -> None:
    found = [(c.id, part.effect.__name__) for c, part in (p.values for p in PARTS)]
    assert [pair for pair in found if pair[1] in EITHER_WAY] == [
        ("Theorem 3.2", "distance_from_prediction"),
        ("Claim B.4", "power_error"),
        ("Lemma B.5 (item 1, corrected)", "power_error"),
    ]
    for claim in claims.of_page("theory"):
        measured = [(c.effect.__name__, repr(sorted(c.arguments.items()))) for c in claim.criteria]
        assert len(set(measured)) == len(measured), claim.id  # no value is judged from both sides


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("claim", "criterion"), [p for p in PARTS if p.values[1].effect.__name__ in EITHER_WAY]
)
def test_a_distance_is_refuted_on_either_side(claim: Claim, criterion: Criterion, sign: int) -> None:
    tables = as_stated(claim.id)
    name = SPOILED[criterion.effect.__name__, criterion.side][0] or criterion.arguments["table"]
    change = EITHER_WAY[criterion.effect.__name__]
    for size, verdict in ((0.8, REPRODUCED), (1.2, NOT_REPRODUCED)):
        by = sign * size * criterion.threshold
        changed = change(by)(tables[name], dict(criterion.arguments))
        judged = criterion.judge(tables | {name: changed})
        assert judged.verdict == verdict, judged.interval
        assert judged.values == pytest.approx([abs(by)] * len(SEEDS), abs=0.06)


@pytest.mark.parametrize(("claim", "criterion"), parts_of("theory", lambda c: c.arguments.get("where")))
def test_rows_that_a_criterion_leaves_out_do_not_change_it(claim: Claim, criterion: Criterion) -> None:
    tables = as_stated(claim.id)
    table = tables[criterion.arguments["table"]]
    outside = table.index.difference(table.query(criterion.arguments["where"]).index)
    assert len(outside)
    assert criterion.judge(spoiled(criterion, tables, outside)).verdict == REPRODUCED
    assert criterion.judge(spoiled(criterion, tables, table.index)).verdict == NOT_REPRODUCED  # the control


# rows of a table made a thousand times larger or smaller -> the claims that are no longer reproduced
DECIDES: list[tuple[str, str, str, float, set[str]]] = [
    ("majority", "", "printed", 1.0, set()),
    ("majority", "n_bits == 11 and degree == 5", "printed", 1e3, {"majority-coefficients (as printed)"}),
    ("majority", "n_bits == 11 and degree == 5", "right", 1e3, {"majority-coefficients (corrected)"}),
    ("majority", "n_bits == 11 and degree == 7", "exact", 1e3, set()),  # beyond d/2
    ("gaps", "", "gap", 1e-3, {"fourier-gap"}),
    ("sums", "n_bits == 11", "absolute_sum", 1e3, {"Corollary B.9 (coefficients)"}),
    ("gradients", "", "error", 1e6, {"Claim B.3 (corrected)"}),
    ("gradients", "", "printed_error", 1e6, {"Claim B.3 (as printed)"}),
    ("first_steps", "decay == 'cancelling'", "error", 1e3, {"Lemma B.2 (corrected)"}),
    ("first_steps", "decay == 'printed'", "error", 1e3, set()),
    ("first_steps", "decay == 'printed'", "printed_centre_error", 1e3, {"Lemma B.2 (as printed)"}),
    ("first_steps", "decay == 'cancelling'", "printed_centre_error", 1e3, set()),
    ("first_steps", "group == 'off_support'", "gradient_error", 1e3, {"Claim B.4"}),
    ("first_batches", "batch == 'B.7 printed'", "gradient_error", 1e3, {"Lemma B.7 (batch, as printed)"}),
    ("first_batches", "batch == 'B.7 corrected'", "gradient_error", 1e3, {"Lemma B.7 (batch, corrected)"}),
    ("first_batches", "batch == 'B.9 printed'", "gradient_error", 1e3, {"Corollary B.9 (as printed)"}),
    ("teachers", "width == 256 and not aligned", "minimum", 1e-3, {"Lemma B.5 (item 1, as printed)"}),
    ("teachers", "width == 256 and aligned", "minimum", 1e-3, {"Lemma B.5 (item 1, corrected)"}),
    ("teachers", "width < 256", "minimum", 1e-3, set()),
    ("teachers", "group == 'off_support' and not aligned", "mean", 1e3, {"Lemma B.5 (item 2)"}),
    ("teachers", "group == 'off_support' and aligned", "mean", 1e3, set()),
    ("teachers", "group == 'even'", "maximum", 1e6, {"Lemma B.5 (items 3 and 4)"}),
    ("teachers", "group == 'odd_higher'", "maximum", 1e6, set()),
    ("teachers", "group == 'norm'", "mean", 1e3, {"Lemma B.5 (items 3 and 4)"}),
    ("teachers", "group == 'off_support'", "majority", 1e9, {"Corollary B.6 (corrected)"}),
    ("separation", "n_bits == 31 and support_size == 6", "n_separated", 1e-3, {"Corollary B.6 (corrected)"}),
    ("second_stages", "seed < 5", "bound_steps", 1e-3, {"Lemma B.7 (second stage)"}),
    ("best", "aligned and support_size == 4", "best_loss", 1e3, {"Theorem B.1 (progressive, corrected)"}),
    ("best", "not aligned or support_size == 2", "best_loss", 1e3, set()),
    ("predictors", "largest > 1", "correlation", 1e3, {"Corollary B.8 (as printed)"}),
    (
        *("predictors", "largest <= 1", "correlation", 1e3),
        {"Corollary B.8 (as printed)", "Corollary B.8 (corrected)"},
    ),
    ("trade_off", "n_bits == 15", "step", 1e-3, {"Lemma B.10"}),
    ("selection", "example == 'repaired'", "hidden", 1e3, {"Proposition C.1 (corrected)"}),
    ("selection", "example == 'printed'", "hidden", 1e3, set()),
    ("uniform", "embedding == 'joint'", "widest", 1e3, {"Proposition C.3 (width, as printed)"}),
    ("uniform", "embedding == 'additive'", "widest", 1e3, set()),
    ("interpolation", "lemma == 'Lemma C.2' and perturbation == 0.25", "max_error", 1e9, {"Lemma C.2"}),
    ("interpolation", "lemma == 'Lemma C.4' and perturbation == 0.25", "max_error", 1e9, {"Lemma C.4"}),
    ("interpolation", "perturbation > 0.25", "max_error", 1e9, set()),
    ("interpolation", "lemma == 'Lemma C.4' and quantity == 'W_1'", "value", 1e3, {"Lemma C.4"}),
    (
        "batches",
        "target == 'labels' and rule == 'one' and support_size == 6",
        "batch_size",
        1e3,
        {"Theorem 3.2"},
    ),
    (
        "batches",
        "target == 'labels' and rule == 'one' and support_size == 4",
        "batch_size",
        1e-6,
        {"R3", "Theorem 3.2"},
    ),
    ("batches", "target == 'labels' and rule == 'pooled'", "batch_size", 1e-6, set()),
    ("batches", "target == 'trained' and support_size == 2 and rule == 'one'", "batch_size", 1e-6, {"R3"}),
    ("batches", "target == 'trained' and support_size > 2", "batch_size", 1e-6, set()),
    (
        "batches",
        "target == 'constructed, c = 1' and support_size == 4 and rule == 'pooled'",
        "batch_size",
        1e-6,
        {"R3"},
    ),
    (
        *(
            "batches",
            "target == 'constructed, c = 1.25' and n_bits == 21 and rule == 'pooled'",
            "batch_size",
            1e-3,
        ),
        {"Theorem B.1 (distillation)"},
    ),
    (
        "batches",
        "target == 'intermediate' and n_bits == 21 and rule == 'one'",
        "batch_size",
        50.0,
        {"Theorem 3.2"},
    ),
    ("second_steps", "n_bits == 21", "step", 1e6, {"R3"}),
]


@pytest.mark.parametrize(
    ("table", "where", "column", "factor", "expected"),
    [pytest.param(*case, id=f"{case[0]}: {case[1]} {case[2]}") for case in DECIDES],
)
def test_a_table_decides_the_claims_it_is_about_and_no_other(
    table: str, where: str, column: str, factor: float, expected: set[str]
) -> None:
    tables = as_stated()
    changed = tables | {table: scaled(column, factor, where)(tables[table], {})}
    before, after = (
        {name for name in IDS if by_id(name).judge(t)[0] != REPRODUCED} for t in (tables, changed)
    )
    assert before == {"Corollary B.6 (as printed)"}
    assert after - before == expected


@pytest.mark.parametrize(
    ("table", "where", "expected"),
    [
        ("selection", "example == 'printed'", {"Proposition C.1 (the example, as printed)"}),
        ("selection", "example == 'repaired'", {"Proposition C.1 (corrected)"}),
        ("uniform", "embedding == 'joint'", {"Proposition C.3 (computes parity)"}),
        ("uniform", "embedding == 'additive'", set()),
    ],
)
def test_one_wrong_output_of_a_construction_refutes_its_claim_alone(
    table: str, where: str, expected: set[str]
) -> None:
    tables = as_stated()
    rows = tables[table]
    wrong = rows.n_errors.where(rows.index != rows.query(where).index[-1], 1)
    changed = tables | {table: rows.assign(n_errors=wrong)}
    not_all = {name for name in IDS if by_id(name).judge(changed)[0] != REPRODUCED}
    assert not_all - {"Corollary B.6 (as printed)"} == expected


@pytest.mark.parametrize(
    ("claim", "criterion"),
    [p for p in PARTS if p.values[1].exact and len(p.values[1].values(as_stated(p.values[0].id))) > 1],
)
def test_one_case_refutes_an_exact_criterion(claim: Claim, criterion: Criterion) -> None:
    tables = as_stated(claim.id)
    name = SPOILED[criterion.effect.__name__, criterion.side][0] or criterion.arguments["table"]
    by = "support_size" if criterion.effect.__name__ == "share_growth" else "case"
    last = criterion.values(tables).index[-1]
    one = tables[name].index[tables[name][by] == last]
    judged = criterion.judge(spoiled(criterion, tables, one))
    sign = 1 if criterion.side == "above" else -1
    assert sum(sign * (v - criterion.threshold) <= 0 for v in judged.values) == 1
    assert judged.verdict == NOT_REPRODUCED


@pytest.mark.parametrize(("claim", "criterion"), parts_of("theory", lambda c: not c.exact))
def test_no_experiment_is_decided_by_one_seed(claim: Claim, criterion: Criterion) -> None:
    assert_one_seed_decides_nothing(criterion, as_stated(claim.id))


@pytest.mark.parametrize(("claim", "criterion"), PARTS)
def test_what_is_judged_by_cases_is_exact_and_what_is_judged_by_seeds_is_not(
    claim: Claim, criterion: Criterion
) -> None:
    values = criterion.values(as_stated(claim.id))
    over_seeds = set(values.index) == set(SEEDS)
    assert over_seeds == (not criterion.exact)


# Runs that found nothing


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_one_run_that_never_got_there_keeps_the_second_stage_from_being_within_its_bound() -> None:
    tables = as_stated()
    runs = tables["second_stages"]
    lost = tables | {"second_stages": runs.assign(reached=runs.reached & (runs.seed != 3))}
    assert theory.steps_over_bound(lost).to_dict()[3] == math.inf
    assert by_id("Lemma B.7 (second stage)").judge(tables)[0] == REPRODUCED
    assert by_id("Lemma B.7 (second stage)").judge(lost)[0] == INCONCLUSIVE
    late = tables | {"second_stages": lost["second_stages"].assign(bound_steps=10.0)}
    assert by_id("Lemma B.7 (second stage)").judge(late)[0] == NOT_REPRODUCED  # the others suffice to refute
    never = tables | {"second_stages": runs.assign(reached=False)}
    assert by_id("Lemma B.7 (second stage)").judge(never)[0] == NOT_REPRODUCED
    outside = tables | {"second_stages": runs.assign(in_regime=False)}
    assert by_id("Lemma B.7 (second stage)").judge(outside)[0] == INCONCLUSIVE  # a smoke run's d is too small


def not_found(tables: Tables, where: str) -> Tables:
    """The tables with the searches of a query ended without a batch."""
    rows = tables["batches"]
    lost = rows.index.isin(rows.query(where).index)
    assert lost.any()
    return tables | {"batches": rows.assign(batch_size=rows.batch_size.mask(lost, math.inf))}


GAINS = [
    pytest.param(c, id=c.name)
    for c in by_id("R3").criteria
    if c.effect.__name__ in ("read_off_gain", "total_gain")
]


@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
@pytest.mark.parametrize("criterion", GAINS)
@pytest.mark.parametrize(
    ("lost", "of_the_target"), [("seed == 0", INCONCLUSIVE), ("seed >= 0", NOT_REPRODUCED)]
)
def test_a_teacher_that_never_shows_the_support_is_no_gain(
    criterion: Criterion, lost: str, of_the_target: str
) -> None:
    tables = as_stated()
    ours, rival = (f"target == {criterion.arguments[name]!r} and {lost}" for name in ("target", "against"))
    judged = criterion.judge(not_found(tables, ours))
    assert judged.values[0] == -math.inf
    assert judged.verdict == of_the_target
    won = criterion.judge(not_found(tables, rival))  # the control: the rival's loss is a gain
    assert won.values[0] == won.interval.high == math.inf
    assert won.interval.low > criterion.threshold
    assert won.verdict == REPRODUCED


def test_a_rival_that_was_not_found_adds_nothing_to_a_gain_that_is_too_small() -> None:
    tables = as_stated()
    (criterion, *_) = by_id("R3").criteria
    same = target_scaled(4.0)(tables["batches"], {"target": "intermediate"})
    same = same.assign(batch_size=same.batch_size.mask(same.target == "labels", 8.0))
    small = not_found(tables | {"batches": same}, "target == 'labels' and seed == 0")
    judged = criterion.judge(small)
    assert judged.interval.low < criterion.threshold < judged.interval.high == math.inf
    assert judged.verdict == INCONCLUSIVE


@pytest.mark.parametrize("k", [2, 4])
def test_where_neither_batch_was_found_a_gain_is_undecided(k: int) -> None:
    both = f"support_size == {k} and seed == 0"
    neither = not_found(as_stated(), both)
    with pytest.raises(UndecidedError, match="neither batch was found"):
        theory.read_off_gain(neither, "intermediate", "labels", k)
    other = theory.read_off_gain(neither, "intermediate", "labels", 6 - k)  # the control
    assert len(other) == len(SEEDS)
    for criterion in by_id("R3").criteria:
        if criterion.effect is theory.read_off_gain:
            judged = criterion.judge(neither)
            undecided = criterion.arguments["k"] == k
            assert judged.verdict == (INCONCLUSIVE if undecided else REPRODUCED)
            assert len(judged.values) == (0 if undecided else len(SEEDS))


def test_where_neither_batch_was_found_a_total_gain_is_an_error() -> None:
    neither = not_found(as_stated(), "support_size == 2 and seed == 0")
    (criterion,) = [c for c in by_id("R3").criteria if c.effect is theory.total_gain]
    with pytest.raises(ValueError, match="have no value"):
        criterion.judge(neither)


def test_a_seed_without_a_second_stage_is_an_error_and_not_left_out() -> None:
    tables = as_stated()
    (criterion,) = [c for c in by_id("R3").criteria if c.effect is theory.total_gain]
    fewer = tables | {"second_steps": tables["second_steps"].query("seed != 3")}
    with pytest.raises(
        ValueError, match=r"criterion 'fewer in total': \[3\] have no value; expected every seed"
    ):
        criterion.judge(fewer)


def test_a_second_stage_that_never_ends_leaves_no_gain_in_total() -> None:
    tables = as_stated()
    (criterion,) = [c for c in by_id("R3").criteria if c.effect is theory.total_gain]
    for endless, verdict in (([0, 1, 2], INCONCLUSIVE), (list(SEEDS), NOT_REPRODUCED)):
        steps = tables["second_steps"]
        steps = steps.assign(step=steps.step.astype(float).mask(steps.seed.isin(endless), math.inf))
        judged = criterion.judge(tables | {"second_steps": steps})
        assert [v == 0 for v in judged.values] == [seed in endless for seed in SEEDS]
        assert judged.verdict == verdict


def test_a_slope_through_a_batch_that_was_not_found_is_undecided() -> None:
    one = not_found(as_stated(), "target == 'labels' and n_bits == 21 and seed == 0")
    with pytest.raises(UndecidedError, match="batch_size was not found within the budget of some run"):
        theory.read_off_power(one, "labels", 4)
    infinite = {"t": POWERS.replace({64.0: math.inf})}
    for effect, more in ((theory.power, {}), (theory.power_error, {"expected": 2.0})):
        with pytest.raises(UndecidedError, match="y was not found"):
            effect(infinite, table="t", y="y", x="x", **more)  # type: ignore[arg-type]
    verdict, parts = by_id("Theorem 3.2").judge(one)
    assert {p.criterion.name: (p.verdict, len(p.values)) for p in parts} == {
        "labels: as predicted": (INCONCLUSIVE, len(SEEDS)),  # one seed is infinitely far off
        "labels: a power of d": (INCONCLUSIVE, 0),
        "intermediate teacher: no power of d": (REPRODUCED, len(SEEDS)),
    }
    assert verdict == PARTLY


UNDECIDED = "target == 'labels' and n_bits == 21 and support_size == 4 and seed == 0"


def test_a_page_with_an_undecided_part_is_judged_all_the_same(store: Store) -> None:
    shown = claims.judge_page("theory", "laptop", not_found(as_stated(), UNDECIDED), [], store)
    slope = shown[shown.criterion.str.startswith("slope of log batch against log d, labels")].iloc[0]
    assert (slope.claim, slope.measured, slope.n_seeds) == ("Theorem 3.2", "no seeds", 0)
    assert (slope.part_verdict, slope.verdict) == (INCONCLUSIVE, PARTLY)
    assert set(shown.claim) == set(IDS)
    assert NOT_RUN not in set(shown.verdict)
    assert "| Theorem 3.2 |" in claims.ledger_markdown(store.root)


# Tables that are missing


@pytest.mark.parametrize(("claim", "criterion"), PARTS)
def test_a_criterion_without_its_table_says_so(claim: Claim, criterion: Criterion) -> None:
    tables = as_stated(claim.id)
    with pytest.raises(MissingTableError):
        criterion.values({})
    needed = SPOILED[criterion.effect.__name__, criterion.side][0] or criterion.arguments["table"]
    with pytest.raises(MissingTableError, match=needed):
        criterion.values({name: table for name, table in tables.items() if name != needed})
    criterion.values({name: tables[name] for name in {needed, "second_steps"}})  # it needs no other


@pytest.mark.parametrize("column", ["target", "rule", "support_size"])
def test_a_search_that_was_not_made_is_a_missing_table(column: str) -> None:
    tables = as_stated()
    other = {"target": "noise", "rule": "all", "support_size": 8}[column]
    gone = tables | {"batches": tables["batches"].assign(**{column: other})}
    for claim, criterion in (p.values for p in PARTS):
        name = criterion.effect.__name__
        if name.startswith(("read_off", "total")):
            with pytest.raises(MissingTableError, match=r"batches of .* at k = \d, rule"):
                criterion.values(gone)
            assert claim.id in ("R3", "Theorem 3.2", "Theorem B.1 (distillation)")


def test_second_stages_at_no_d_of_the_batches_are_a_missing_table() -> None:
    tables = as_stated()
    elsewhere = tables | {
        "second_steps": tables["second_steps"].assign(n_bits=tables["second_steps"].n_bits + 2)
    }
    with pytest.raises(MissingTableError, match="second stages at a d of the batches, k = 2"):
        theory.total_gain(elsewhere, "intermediate", "labels", 2)


def test_core_figures_alone_leave_the_claims_of_the_others_not_run(store: Store) -> None:
    tables = as_stated()
    batches = tables["batches"]
    core = {name: table for name, table in tables.items() if name not in ("best", "directions", "trade_off")}
    core["batches"] = batches[(batches.support_size < 6) & ~batches.target.isin(["constructed, c = 1.25"])]
    shown = claims.judge_page("theory", "laptop", core, [], store).groupby("claim").verdict.agg(set)
    not_run = {
        *("Theorem B.1 (progressive, as printed)", "Theorem B.1 (progressive, corrected)"),
        *("Theorem B.1 (distillation)", "Lemma B.10"),
    }
    assert set(shown.index) == set(IDS)
    assert {name for name, verdict in shown.items() if verdict == {NOT_RUN}} == not_run
    assert {name for name, verdict in shown.items() if verdict != {REPRODUCED}} == not_run | {
        "Corollary B.6 (as printed)"
    }
    nothing = claims.judge_page("theory", "laptop", {}, [], store)
    assert set(nothing.verdict) == {NOT_RUN}


# Register, page and ledger


def test_the_claims_of_the_page_are_those_of_the_register() -> None:
    assert_claims_are_those_of_the_register("theory")


def test_the_ledger_says_of_an_exact_statement_how_bad_its_worst_case_is(store: Store) -> None:
    tables = as_stated()
    tables["gaps"] = tables["gaps"].assign(gap=[8.0, 2.0, 4.0, 16.0])  # two cases, by d: 2 and 4 at least
    shown = claims.judge_page("theory", "laptop", tables, [], store).set_index("claim")
    assert shown.loc["fourier-gap", "measured"] == "1, the worst of 2 cases"
    assert shown.loc["fourier-gap", "n_seeds"] == 2
    table = claims.ledger(store.root)
    (row,) = table[(table.claim == "fourier-gap") & (table.profile == "laptop")].to_dict("records")
    assert (row["measured"], row["interval"], row["n_seeds"]) == (1.0, "1, the worst of 2 cases", 2)
    assert (row["verdict"], row["part_verdict"]) == (REPRODUCED, REPRODUCED)
    (line,) = [
        x for x in claims.ledger_markdown(store.root).splitlines() if x.startswith("| fourier-gap | log2")
    ]
    assert line.endswith("| 1, the worst of 2 cases | 2 | laptop | reproduced |")
    (seeds,) = [
        x for x in claims.ledger_markdown(store.root).splitlines() if x.startswith("| Lemma B.10 | log2")
    ]
    assert "worst" not in seeds  # a sample over seeds keeps its interval
    assert "| 6.64 [6.64, 6.64] | 5 |" in seeds

"""What the tests of every page's criteria ask in the same way."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

from pdlib import claims
from pdlib.claims import INCONCLUSIVE, NOT_REPRODUCED, NOT_RUN, REPRODUCED, Claim, Criterion
from pdlib.store import Store

Tables = dict[str, pd.DataFrame]
Spoil = Callable[[pd.DataFrame], pd.DataFrame]  # a change of a table that makes a criterion fail
SEEDS = range(5)  # of hand-made tables


def parts_of(page: str, chosen: Callable[[Criterion], Any] = lambda criterion: True) -> list[Any]:
    """The criteria of a page, or those chosen, each with its claim, as parameters of a test."""
    return [
        pytest.param(claim, criterion, id=f"{claim.id}: {criterion.name}")
        for claim in claims.of_page(page)
        for criterion in claim.criteria
        if chosen(criterion)
    ]


def own_effects(module: ModuleType) -> set[str]:
    """The effects that a page's criteria define themselves."""
    return {
        name
        for name, f in inspect.getmembers(module, inspect.isfunction)
        if f.__module__ == module.__name__ and not name.startswith("_")
    }


def assert_effect(
    effect: Callable[..., Any], tables: Tables, arguments: dict[str, Any], expected: dict[int, float]
) -> None:
    """The effect is what was computed by hand, one value a seed, and nothing near it."""
    values = effect(tables, **arguments).to_dict()
    assert values == pytest.approx(expected, abs=1e-12)
    assert values != pytest.approx({s: v + 1e-6 for s, v in expected.items()}, abs=1e-12)  # the control


def exchanged(column: str, one: Any, other: Any) -> Spoil:
    """Two labels of a column change places."""
    swap = {one: other, other: one}
    return lambda rows: rows.assign(**{column: [swap.get(value, value) for value in rows[column]]})


def at(query: str, column: str, value: float) -> Spoil:
    """A column has this value in the rows of a query."""
    return lambda t: t.assign(**{column: t[column].mask(t.index.isin(t.query(query).index), value)})


def assert_refuted(claim: Claim, criterion: Criterion, tables: Tables) -> None:
    """The criterion comes out negative."""
    judged = criterion.judge(tables)
    assert judged.verdict == NOT_REPRODUCED, judged.interval


def assert_one_seed_decides_nothing(criterion: Criterion, tables: Tables) -> None:
    """Neither for nor against; a table without seeds stays whole."""
    one = {name: table[table.seed == 0] if "seed" in table else table for name, table in tables.items()}
    assert criterion.judge(one).verdict == INCONCLUSIVE


def labels_shuffled(tables: Tables, columns: Iterable[str]) -> Tables:
    """The tables with the labels of these columns rotated, further with each seed: every label is once everything."""
    shuffled = dict(tables)
    for name, table in tables.items():
        for column in sorted(set(columns) & set(table)):
            values = sorted(table[column].unique())
            for seed in SEEDS:
                turned = {v: values[(i + seed) % len(values)] for i, v in enumerate(values)}
                mine = table.seed == seed
                table = table.assign(**{column: table[column].where(~mine, table[column].map(turned))})
        shuffled[name] = table
    return shuffled


def assert_claims_are_those_of_the_register(page: str, unjudged: Collection[str] = ()) -> None:
    """Each claim and each criterion once, none of the register left out but illustrations and those of the paper's size."""
    judged = claims.of_page(page)
    registered = [
        row["id"] for row in claims.register() if row["page"] == page and row.get("kind") != "illustration"
    ]
    assert sorted([*(claim.id for claim in judged), *unjudged]) == sorted(registered)
    for claim in judged:
        assert len({c.name for c in claim.criteria}) == len(claim.criteria)


def judged_page(page: str, tables: Tables, store: Store, profile: str = "laptop") -> dict[str, str]:
    """Claim to verdict, as the page shows it."""
    shown = claims.judge_page(page, profile, tables, [], store)
    assert not shown.groupby("claim").verdict.nunique().gt(1).any()
    return {str(k): str(v) for k, v in shown.groupby("claim").verdict.first().items()}


def not_run(verdicts: Mapping[str, str]) -> set[str]:
    """The claims that were not run."""
    return {claim for claim, verdict in verdicts.items() if verdict == NOT_RUN}


def assert_only_what_needs_it_is_not_run(
    page: str, tables: Tables, missing: str, needed: Mapping[str, set[str]], store: Store
) -> None:
    """Without a table the claims that need it are not run, and the others come out as they did."""
    verdicts = judged_page(page, {name: t for name, t in tables.items() if name != missing}, store)
    assert not_run(verdicts) == {claim for claim, names in needed.items() if missing in names}
    assert set(verdicts.values()) <= {NOT_RUN, REPRODUCED}
    assert set(verdicts) == set(needed)


def assert_a_seed_without_a_run_is_an_error(parts: Iterable[Any], tables: Tables, seed: int = 3) -> None:
    """Some criterion complains of the seed, and none of anything else."""
    failed = []
    for _, criterion in (p.values for p in parts):
        try:
            criterion.judge(tables)
        except ValueError as error:
            failed.append(str(error))
    assert failed
    assert all(f"[{seed}] have no value" in said for said in failed)


# ------------------------------------------------------------ rows of the register, on tables made by hand


def assert_it_reads_one_table_and_names_each_missing_column(
    criterion: Criterion, table: str, tables: Tables
) -> None:
    """Not run without its table; without a column the same values, or an error that names claim, criterion and column."""
    assert (
        criterion.judge({name: other for name, other in tables.items() if name != table}).verdict == NOT_RUN
    )
    values, errors = criterion.values({table: tables[table]}), {}
    for column in tables[table]:
        try:
            fewer = criterion.values({table: tables[table].drop(columns=column)})
            pd.testing.assert_frame_equal(fewer, values)
        except ValueError as error:
            errors[column] = str(error)
    assert errors
    for column, said in errors.items():
        assert re.match(rf"{re.escape(criterion.title)}: its tables lack .*{column}", said)


def assert_one_case_refutes(criterion: Criterion, tables: Tables) -> None:
    """Of the values of an exact criterion a single one fails, and with it the criterion."""
    judged = criterion.judge(tables)
    assert judged.frame is not None
    assert judged.agreeing == len(judged.frame) - 1
    assert judged.verdict == NOT_REPRODUCED


def assert_every_claim_of_the_register_is_judged(page: str) -> None:
    """Each claim of the page has criteria, but illustrations."""
    registered = {claim.id for claim in claims.register() if claim.page == page and not claim.illustration}
    assert {claim.id for claim in claims.of_page(page)} == registered

"""What the tests of every page's criteria ask in the same way."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from pdlib import claims
from pdlib.claims import INCONCLUSIVE, NOT_REPRODUCED, NOT_RUN, REPRODUCED, Criterion, judge

Tables = dict[str, pd.DataFrame]
Spoil = Callable[[pd.DataFrame], pd.DataFrame]  # a change of a table that makes a criterion fail
SEEDS = range(5)  # of hand-made tables


def exchanged(column: str, one: Any, other: Any) -> Spoil:
    """Two labels of a column change places."""
    swap = {one: other, other: one}
    return lambda rows: rows.assign(**{column: [swap.get(value, value) for value in rows[column]]})


def assert_one_seed_decides_nothing(criterion: Criterion, tables: Tables) -> None:
    """Neither for nor against; a table without seeds stays whole."""
    one = {name: table[table.seed == 0] if "seed" in table else table for name, table in tables.items()}
    assert criterion.judge(one).verdict == INCONCLUSIVE


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


# ---- criteria as rows: masked and next-token prediction

MANY = range(8)  # ancestries of hand-made tables


def of_ancestries(columns: str, *rows: tuple[Any, ...], seeds: Iterable[int] = MANY) -> pd.DataFrame:
    """The same rows for each ancestry, the last column with some noise, in any order."""
    rng = np.random.default_rng(0)
    made = [(s, *row[:-1], row[-1] + 4e-4 * rng.standard_normal()) for s in seeds for row in rows]
    return pd.DataFrame(made, columns=["seed", *columns.split()]).sample(frac=1, random_state=0)


def of_one(columns: str, *rows: tuple[Any, ...]) -> pd.DataFrame:
    """Rows of one ancestry, 7, as they are: for effects that are computed by hand."""
    return pd.DataFrame([(7, *row) for row in rows], columns=["seed", *columns.split()])


def tuned(comparison: str, robust: Iterable[str], others: Iterable[str]) -> list[tuple[Any, ...]]:
    """Rows of `tuning`: some methods learn at every rate, others at one."""
    rates = (0.01, 0.02, 0.04)
    return [
        *((comparison, m, rate, 50, 0.8) for m in robust for rate in rates),
        *((comparison, m, rate, 50, 0.7 if rate == 0.02 else 0.4) for m in others for rate in rates),
    ]


def row_criteria(page: str) -> list[Any]:
    """The criteria of a page as parameters of a test."""
    return [pytest.param(c, id=c.title) for claim in judge.of_page(page) for c in claim.criteria]


def assert_documented(page: str, tables: Mapping[str, pd.DataFrame]) -> None:
    """The hand-made tables, on which every criterion has a verdict, have the columns of tables.yaml and no other."""
    path = Path(judge.__file__).with_name("tables.yaml")
    documented = yaml.safe_load(path.read_text(encoding="utf-8"))[page]
    assert {t: set(rows["columns"]) for t, rows in documented.items()} == {
        t: set(rows) for t, rows in tables.items()
    }


class _Read(dict[str, pd.DataFrame]):
    """Tables that remember which of them were asked for."""

    def __init__(self, tables: Mapping[str, pd.DataFrame]) -> None:
        super().__init__(tables)
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> pd.DataFrame:
        self.asked.add(name)
        return super().__getitem__(name)


def _reads(page: str, tables: Mapping[str, pd.DataFrame]) -> list[tuple[Criterion, str]]:
    """Each criterion with each table that it reads."""
    found = []
    for criterion in (c for claim in judge.of_page(page) for c in claim.criteria):
        read = _Read(tables)
        criterion.values(read)
        found += [(criterion, name) for name in sorted(read.asked)]
    return found


def assert_tables_are_needed(page: str, tables: Mapping[str, pd.DataFrame]) -> None:
    """Every table is read, and without it what reads it is not run."""
    reads = _reads(page, tables)
    assert {name for _, name in reads} == set(tables)
    for criterion, missing in reads:
        rest = {name: t for name, t in tables.items() if name != missing}
        assert criterion.judge(rest).verdict == NOT_RUN


def assert_absent_names_its_claim(
    page: str, tables: Mapping[str, pd.DataFrame], optional: Collection[tuple[str, str]] = ()
) -> None:
    """Without a column or a method there is an error that names the claim, or no verdict, or the verdict is the same.

    Left out are `step`, without which rows count in their order, and columns of a table that are optional.
    """
    complained = set()
    for criterion, name in _reads(page, tables):
        rows = tables[name]
        columns = [c for c in rows if c != "step" and (name, c) not in optional]
        less = {column: rows.drop(columns=column) for column in columns}
        if "method" in rows:
            less |= {m: rows[rows.method != m] for m in ("progressive", "one_shot")}
        for absent, changed in less.items():
            judged, said = _verdict(criterion, {**tables, name: changed})
            assert judged in (REPRODUCED, NOT_RUN) or said.startswith(criterion.title), (name, absent)
            complained |= {(name, absent)} if said else set()
    unread = {(name, c) for name, rows in tables.items() for c in rows if c != "step"} - complained
    assert unread <= set(optional), unread


def _verdict(criterion: Criterion, tables: Mapping[str, pd.DataFrame]) -> tuple[str, str]:
    try:
        return criterion.judge(tables).verdict, ""
    except ValueError as error:
        return "", str(error)


def assert_incomplete_is_an_error(page: str, tables: Mapping[str, pd.DataFrame], table: str) -> None:
    """An ancestry that lacks a run is named, and not left out."""
    rows = tables[table]
    incomplete = rows[~((rows.seed == 3) & (rows.method == "one_shot_hard"))]
    criteria = [c for claim in judge.of_page(page) for c in claim.criteria]
    comparing = [c for c in criteria if c.arguments.get("table") == table]
    assert comparing
    for c in comparing:
        if "one_shot_hard" not in c.arguments["over"]:
            continue
        with pytest.raises(ValueError, match=r"\[3\] have no value"):
            c.judge({**tables, table: incomplete})

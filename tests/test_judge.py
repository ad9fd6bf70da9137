"""Rows of the register become criteria, values become verdicts, and the lock tells when."""

from __future__ import annotations

import ast
import inspect
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pdlib.claims import judge
from pdlib.claims.effects import EFFECTS, MODULES, UndecidedError
from pdlib.claims.judge import (
    INCONCLUSIVE,
    NOT_REPRODUCED,
    NOT_RUN,
    REPRODUCED,
    Criterion,
    Judgement,
    RegisterError,
    lock_complaints,
    locked,
    register,
    write_lock,
)
from pdlib.tables import mean_interval, wilson_interval

SINCE = datetime(2026, 1, 1, tzinfo=UTC)


def criterion(**changes: Any) -> Criterion:
    usual: dict[str, Any] = {
        "claim": "R2",
        "name": "ahead",
        "words": "a gain",
        "effect": "gain",
        "side": "above",
    }
    usual |= {"threshold": 0.0, "since": SINCE, "arguments": {"table": "students", "of": "a", "over": ["b"]}}
    return Criterion(**{**usual, **changes})


def judged(*columns: list[float], **changes: Any) -> Judgement:
    frame = pd.DataFrame({f"rival {i}": values for i, values in enumerate(columns)})
    return Judgement(criterion(**changes), frame)


def test_one_rival_is_judged_by_the_interval_of_the_mean() -> None:
    values = [1.0, 2.0, 3.0, 4.0]
    assert judged(values).interval == mean_interval(values)
    assert judged(values).verdict == REPRODUCED
    assert judged([-v for v in values]).verdict == NOT_REPRODUCED
    assert judged([-v for v in values], side="below").verdict == REPRODUCED
    assert judged([-1.0, 1.0, 2.0, 0.5]).verdict == INCONCLUSIVE


def test_several_rivals_widen_the_interval_and_all_must_be_cleared() -> None:
    narrow = [1.0, 1.1, 0.9, 1.05]
    three = judged(narrow, narrow, narrow)
    assert three.interval == mean_interval(narrow, 1 - 0.05 / 3)
    assert three.interval.low < mean_interval(narrow).low
    assert three.verdict == REPRODUCED
    assert judged(narrow, [-0.5, 0.5, 0.6, 0.1]).verdict == INCONCLUSIVE
    assert judged(narrow, [-v for v in narrow]).verdict == NOT_REPRODUCED
    assert judged(narrow, [-v for v in narrow]).closest == "rival 1"


def test_rivals_that_are_no_better_do_not_win_by_being_several() -> None:
    """The best of several noisy rivals lies above each of them; one comparison per rival does not pay for that."""
    rng = np.random.default_rng(0)
    ours, rivals = 0.1 + rng.normal(size=(200, 40)), rng.normal(size=(3, 200, 40))
    best = (ours - rivals.max(axis=0)).mean()
    assert best < -0.5  # the control: against the best of each ancestry a method that is ahead falls behind
    each = [judged(*(ours - r for r in rivals[:, i]))._verdict("rival 0") for i, ours in enumerate(ours)]
    assert NOT_REPRODUCED not in set(each) or each.count(NOT_REPRODUCED) < 0.05 * len(each)
    one = judged(*((ours.ravel() - r.ravel()).tolist() for r in rivals))
    assert one.verdict == REPRODUCED


def test_all_or_none_values_get_wilson_intervals() -> None:
    twelve = judged([1.0] * 12 + [0.0], interval="share", threshold=0.5)
    assert (twelve.interval.low, twelve.interval.high) == wilson_interval(12, 13)
    assert twelve.verdict == REPRODUCED
    assert (twelve.agreeing, str(twelve)) == (12, "12 of 13 [0.67, 0.99]")
    assert judged([1.0] * 3, interval="share", threshold=0.5).verdict == INCONCLUSIVE  # three cannot tell
    assert judged([0.0] * 13, interval="share", side="below", threshold=0.5).verdict == REPRODUCED
    with pytest.raises(ValueError, match=r"R2: ahead: values \[0.4\]: expected 0 or 1"):
        _ = judged([0.4], interval="share").interval


def test_exact_values_must_all_clear_and_one_that_does_not_refutes() -> None:
    assert judged([1.0, 2.0], interval="exact").verdict == REPRODUCED
    assert judged([1.0, -2.0], interval="exact").verdict == NOT_REPRODUCED
    assert str(judged([1.0, 2.0], interval="exact")) == "1, the worst of 2 cases"


def test_one_ancestry_decides_nothing_and_three_must_agree() -> None:
    assert judged([5.0]).verdict == INCONCLUSIVE
    assert judged([1.0, 1.01, 1.02]).verdict == REPRODUCED
    share = judged([1.0, 1.0], threshold=-1.0)
    assert share.verdict == REPRODUCED


@given(st.lists(st.lists(st.floats(-5, 5), min_size=4, max_size=4), min_size=1, max_size=4), st.floats(-2, 2))
def test_turning_everything_around_turns_nothing_of_the_verdict(
    columns: list[list[float]], at: float
) -> None:
    other = judged(*([-v for v in column] for column in columns), side="below", threshold=-at)
    assert judged(*columns, threshold=at).verdict == other.verdict


def test_a_row_of_a_result_is_judged_again_from_its_values() -> None:
    first = judged([1.0, 2.0, 4.0, 1.5], [2.0, 2.0, 3.0, 2.5])
    again = Judgement.of_row(yaml.safe_load(yaml.safe_dump(first.row())))
    assert (again.verdict, again.intervals, str(again)) == (first.verdict, first.intervals, str(first))
    spoiled = first.row() | {"verdict": REPRODUCED, "values": {"": [-1.0, -2.0, -1.5, -1.1]}}
    assert Judgement.of_row(spoiled).verdict == NOT_REPRODUCED
    assert Judgement.of_row(Judgement(criterion(), None).row()).verdict == NOT_RUN


def students(**accuracy: list[float]) -> pd.DataFrame:
    rows = [(m, s, 10, a) for m, values in accuracy.items() for s, a in enumerate(values)]
    return pd.DataFrame(rows, columns=["method", "seed", "step", "accuracy"])


def test_a_missing_table_is_not_run_and_a_missing_method_an_error_that_names_the_claim() -> None:
    assert criterion().judge({}).verdict == NOT_RUN
    assert criterion().judge({"students": students(a=[1.0, 0.9], b=[0.5, 0.5])}).agreeing == 2
    with pytest.raises(ValueError, match=r"R2: ahead: its tables lack .*'b'"):
        criterion().judge({"students": students(a=[1.0, 0.9])})
    with pytest.raises(ValueError, match=r"R2: ahead: its tables lack 'accuracy'|Column not found: accuracy"):
        criterion().judge({"students": students(a=[1.0], b=[0.5]).drop(columns="accuracy")})
    with pytest.raises(ValueError, match=r"R2: ahead: \[1\] have no value"):
        criterion().judge({"students": students(a=[1.0, 0.9], b=[0.5])})


def test_siblings_share_what_only_their_teacher_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    values = pd.Series({1: 0.5, 1001: np.nan, 2: 0.25, 1002: np.nan})
    monkeypatch.setitem(judge.EFFECTS, "gain", lambda tables, **_: values)
    assert criterion().values({}).index.tolist() == [1, 2]


def test_an_effect_without_a_value_is_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    def undecided(tables: Any, **_: Any) -> None:
        raise UndecidedError("censored")

    monkeypatch.setitem(judge.EFFECTS, "gain", undecided)
    assert criterion().judge({}).verdict == INCONCLUSIVE


# -------------------------------------------------------------------- the register

GAIN = {"table": "students", "of": "a", "over": ["b"]}
ROW: dict[str, Any] = {
    "id": "R9",
    "statement": "A statement.",
    "source": "Nowhere",
    "page": "parity",
    "criteria": [
        {
            "name": "ahead",
            "words": "a gain",
            "effect": "gain",
            "arguments": GAIN,
            "side": "above",
            "threshold": 0.0,
            "primary": True,
            "since": "2026-01-01T00:00:00Z",
        }
    ],
}


def registered(tmp_path: Path, claim: dict[str, Any] | None = None, **changes: Any) -> tuple[Any, ...]:
    row = ROW | {"criteria": [ROW["criteria"][0] | changes]} | (claim or {})
    path = tmp_path / "register.yaml"
    path.write_text(yaml.safe_dump([row]))
    return register(path)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"effect": "gian"}, "R9: ahead: unknown effect 'gian'"),
        ({"effect": "_rows"}, "R9: ahead: unknown effect '_rows'"),
        ({"effect": "Mapping"}, "R9: ahead: unknown effect 'Mapping'"),
        (
            {"arguments": {"tables_": "students"}},
            "R9: ahead: arguments of gain: .*tables_|missing a required argument",
        ),
        (
            {"arguments": GAIN | {"table": "studnets"}},
            "R9: ahead: unknown table 'studnets': expected one of .*students",
        ),
        (
            {"arguments": GAIN | {"by": "methods"}},
            "R9: ahead: unknown column 'methods': expected one of accuracy",
        ),
        ({"arguments": GAIN | {"where": {"lvl": 2}}}, "R9: ahead: unknown column 'lvl'"),
        ({"primary": False}, "R9: 0 primary criteria: expected exactly one"),
        ({"side": "over"}, "R9: ahead: unknown side 'over': expected one of above, below"),
        ({"limit": 1}, "R9: ahead: unknown field 'limit'"),
        ({"since": "2999-01-01T00:00:00Z"}, "R9: ahead: since 2999-01-01T00:00:00.00:00 lies in the future"),
    ],
)
def test_a_criterion_that_cannot_mean_anything_is_named(
    tmp_path: Path, changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(RegisterError, match=complaint):
        registered(tmp_path, **changes)


def test_a_claim_has_exactly_one_primary_criterion(tmp_path: Path) -> None:
    one = ROW["criteria"][0]
    (claim,) = registered(tmp_path)
    assert claim.primary.name == "ahead"
    with pytest.raises(RegisterError, match="R9: 2 primary criteria"):
        registered(tmp_path, {"criteria": [one, one | {"name": "again"}]})
    with pytest.raises(RegisterError, match="R9: two criteria of one name"):
        registered(tmp_path, {"criteria": [one, one | {"primary": False}]})
    with pytest.raises(RegisterError, match="R9: open at laptop"):
        registered(tmp_path, {"open": {"laptop": {"cause": "bad luck", "settles": "more"}}})


def test_a_claim_that_is_contradicted_has_passed_five_checks(tmp_path: Path) -> None:
    contradicted = {"open": {"laptop": {"cause": "contradicted", "settles": "another run"}}}
    checks = dict.fromkeys(judge.CHECKS, "Done,\n  and so it is.")
    (claim,) = registered(tmp_path, contradicted | {"checks": checks})
    assert claim.checks == dict.fromkeys(judge.CHECKS, "Done, and so it is.")
    for wrong, named in (
        ({}, "'change_our_mind'"),
        ({k: v for k, v in checks.items() if k != "units"}, "'units'"),
        (checks | {"units": " "}, "'units'"),
        (checks | {"units": None}, "'units'"),
        (checks | {"sixth": "One more."}, "'sixth'"),
    ):
        for row in (
            contradicted,
            {} if wrong else contradicted,
        ):  # some checks without the others, whatever the cause
            with pytest.raises(RegisterError, match=f"R9: checks: {named} is missing, empty or unknown"):
                registered(tmp_path, row | {"checks": wrong})
    assert registered(tmp_path)[0].checks == {}


# ------------------------------------------------------------------------ the lock


def test_the_lock_holds_every_criterion_as_it_is() -> None:
    assert lock_complaints(register(), locked()) == []


def test_a_changed_criterion_must_be_registered_anew(tmp_path: Path) -> None:
    path = tmp_path / "criteria.lock"
    before = registered(tmp_path)
    assert "not registered" in lock_complaints(before, locked(path))[0]
    write_lock(before, path)
    assert lock_complaints(before, locked(path)) == []

    softer = registered(tmp_path, threshold=-1.0)
    assert lock_complaints(softer, locked(path))[0].startswith("R9: ahead: changed since it was registered")
    with pytest.raises(RegisterError, match="R9: ahead: changed, and still registered since 2026-01-01"):
        write_lock(softer, path)
    earlier = registered(tmp_path, since="2025-06-01T00:00:00Z")
    assert "registered at another time" in lock_complaints(earlier, locked(path))[0]

    anew = registered(tmp_path, threshold=-1.0, since="2026-02-01T00:00:00Z")
    write_lock(anew, path)
    assert lock_complaints(anew, locked(path)) == []
    assert lock_complaints([], locked(path)) == ["R9: ahead: registered, but no longer in the register."]


def test_a_hash_is_of_the_row_and_of_the_code_with_its_helpers(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = criterion()
    assert usual.hash == criterion(since=SINCE + timedelta(days=1)).hash
    others = [
        criterion(threshold=0.1),
        criterion(words="another"),
        criterion(side="below"),
        criterion(primary=True),
    ]
    assert len({usual.hash, *(c.hash for c in others), criterion(effect="speedup").hash}) == 6
    code = judge.code_of("gain")
    nodes = judge._definitions()
    assert "_by" in nodes
    changed = nodes | {"_by": nodes["_rows"]}  # another helper: the same effect means something else
    monkeypatch.setattr(judge, "_definitions", lambda: changed)
    assert judge.code_of("gain") != code


def test_the_documentation_of_an_effect_is_no_part_of_its_hash() -> None:
    words = EFFECTS["gain"].__doc__
    assert words
    assert words.split("\n")[0] not in judge.code_of("gain")


def test_names_of_effects_are_unique_and_the_package_decides_nothing_else_of_them() -> None:
    """A hash counts the files of effects as one, and looks nowhere else."""
    trees = [ast.parse(inspect.getsource(module)) for module in MODULES]
    kinds = (ast.FunctionDef, ast.ClassDef)
    names = [node.name for tree in trees for node in tree.body if isinstance(node, kinds)]
    assert len(names) == len(set(names)) > 50
    used = {n.module for tree in trees for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert {m for m in used if m and m.startswith("pdlib")} == {"pdlib.claims.effects.shared"}

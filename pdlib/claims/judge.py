"""Criteria as rows, and the rules that turn tables into verdicts.

A criterion is a row of `register.yaml`: words, an effect (a function of `pdlib.claims.effects`), its arguments, a side and a
threshold. The effect gives one value per ancestry, or one per ancestry and rival. The values give an interval, the interval
a verdict. `criteria.lock` holds the hash of every criterion and when it was registered: runs that began before that are
judged after the fact.

No torch here, and nothing flows back: a verdict is a function of tables alone, a result knows no criterion.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import yaml

from pdlib.claims import effects
from pdlib.claims.effects import MissingTableError, Tables, UndecidedError
from pdlib.tables import LEVEL, Interval, data_seed, mean_interval, wilson_interval

REPRODUCED, NOT_REPRODUCED, INCONCLUSIVE = "reproduced", "not reproduced", "inconclusive"
NOT_RUN, NOT_JUDGED = "not run", "not judged"
FEW = 3  # ancestries; at so few, "reproduced" also needs each of them to agree
CAUSES = ("power", "scale", "setting", "contradicted")  # of a claim that is not reproduced or not decided
CHECKS = {  # what a claim has passed before this book says that it does not hold
    "second_route": "A second route to the number",
    "longer_horizon": "A longer horizon",
    "units": "Units",
    "text_or_code": "The text or the official code where we differ",
    "change_our_mind": "What would change our mind",
}
REGISTER, LOCK, TABLES = (
    Path(__file__).with_name(n) for n in ("register.yaml", "criteria.lock", "tables.yaml")
)
_FIELDS = {
    "name",
    "words",
    "effect",
    "arguments",
    "side",
    "threshold",
    "primary",
    "since",
    "interval",
    "tables",
}


class RegisterError(ValueError):
    """A row of the register that cannot mean anything, or that is not the one registered: names the claim."""


@dataclass(frozen=True)
class Criterion:
    """What would count as reproduction, registered before the run.

    Parameters
    ----------
    claim, name
        The claim's id, and what tells this criterion from its others.
    words
        The criterion in words, without the numbers of a run.
    effect, arguments
        A function of `pdlib.claims.effects` and its arguments by name.
    side
        `"above"`: the interval must lie above `threshold`; `"below"`: below it.
    threshold
        In the effect's unit.
    since
        When it was registered, UTC. No part of what it means.
    primary
        Whether it alone decides the claim's word.
    interval
        `"student"`: the mean over ancestries with Student's interval; `"share"`: values are 0 or 1, their share has
        Wilson's; `"exact"`: values are exact ones of different cases, which all must clear the threshold.
    """

    claim: str
    name: str
    words: str
    effect: str
    side: Literal["above", "below"]
    threshold: float
    since: datetime
    arguments: Mapping[str, Any] = field(default_factory=dict)
    primary: bool = False
    interval: Literal["student", "share", "exact"] = "student"

    @property
    def title(self) -> str:
        """Claim and name: unique in the register."""
        return f"{self.claim}: {self.name}"

    @cached_property
    def hash(self) -> str:
        """Hexadecimal hash of the row and of the code of its effect with all helpers, formatting aside."""
        row = [
            self.claim,
            self.name,
            self.words,
            self.side,
            self.threshold,
            dict(self.arguments),
            self.primary,
        ]
        text = json.dumps([*row, self.interval, code_of(self.effect)])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def values(self, tables: Tables) -> pd.DataFrame:
        """Return the effect: a row per ancestry (or case), a column per rival, or the one column `""`.

        Raises
        ------
        MissingTableError
            If a table is not there: the page did not make it.
        UndecidedError
            If censored runs leave the effect without a value.
        ValueError
            If a table lacks a method, a setting or a column that the criterion names, or an ancestry has no value.
        """
        try:
            found = getattr(effects, self.effect)(tables, **self.arguments)
        except MissingTableError:
            raise
        except (KeyError, AttributeError, pd.errors.UndefinedVariableError) as error:
            raise ValueError(
                f"{self.title}: its tables lack {error}; expected every column, method and setting that it names. "
                "Run the missing ones, or correct the row."
            ) from error
        frame = (found.to_frame("") if isinstance(found, pd.Series) else found).astype(float)
        frame = _once_a_teacher(frame)
        if frame.isna().any(axis=None):
            missing = frame.index[frame.isna().any(axis=1)].tolist()
            raise ValueError(
                f"{self.title}: {missing} have no value; expected every "
                f"{'case' if self.interval == 'exact' else 'ancestry'} in all the tables that it compares. "
                "Run the missing ones."
            )
        return frame

    def judge(self, tables: Tables) -> Judgement:
        """Return the verdict on a page's tables; `not run` without the tables, `inconclusive` without a value."""
        try:
            return Judgement(self, self.values(tables))
        except MissingTableError:
            return Judgement(self, None)
        except UndecidedError:
            return Judgement(self, pd.DataFrame({"": []}, dtype=float))


def _once_a_teacher(values: pd.DataFrame) -> pd.DataFrame:
    """Leave out siblings without a value of their own: what only teachers decide has one value per teacher."""
    absent = values.isna().all(axis=1)
    known = set(values.index[~absent])
    repeated = [isinstance(s, int) and s != data_seed(s) and data_seed(s) in known for s in values.index]
    return values[~(absent & np.array(repeated, bool))]


@dataclass(frozen=True)
class Judgement:
    """A criterion with what was measured, and the verdict that follows: from the values alone.

    Several rivals are judged one by one, each with an interval at 1 - 0.05 / m for m rivals (Bonferroni), so that all m
    hold together at 95 %. All must clear the threshold; one that certainly does not refutes. The best rival of each
    ancestry is never taken: the maximum of noisy rivals is larger than any of them.

    Examples
    --------
    >>> since = datetime(2026, 1, 1, tzinfo=UTC)
    >>> faster = Criterion("R2", "faster", "a gain", "gain", "above", 0.0, since)
    >>> judged = Judgement(faster, pd.DataFrame({"labels": [2.0, 3.0, 4.0], "one_shot": [0.5, 2.0, -1.0]}))
    >>> judged.verdict, judged.closest, str(judged.interval)
    ('inconclusive', 'one_shot', '0.5 [-4.87, 5.87]')
    """

    criterion: Criterion
    frame: (
        pd.DataFrame | None
    )  # a row per ancestry, a column per rival; None if the page did not make the tables

    @cached_property
    def intervals(self) -> dict[str, Interval]:
        """The interval against each rival."""
        if self.frame is None:
            return {}
        level = 1 - (1 - LEVEL) / max(1, len(self.frame.columns))
        return {str(rival): self._interval(values, level) for rival, values in self.frame.items()}

    def _interval(self, values: pd.Series[float], level: float) -> Interval:
        kind = self.criterion.interval
        if kind == "exact" and len(values):
            worst = values.min() if self.criterion.side == "above" else values.max()
            return Interval(float(worst), float(values.min()), float(values.max()), len(values))
        if kind == "share" and len(values):
            if not values.isin([0, 1]).all():
                raise ValueError(
                    f"{self.criterion.title}: values {sorted(set(values))}: expected 0 or 1 for a share."
                )
            low, high = wilson_interval(int(values.sum()), len(values), level)
            return Interval(float(values.mean()), low, high, len(values))
        return mean_interval(values, level)

    @property
    def closest(self) -> str:
        """The rival against whom the criterion is nearest to failing; `""` without rivals."""
        if not self.intervals:
            return ""
        sign = 1 if self.criterion.side == "above" else -1
        return min(self.intervals, key=lambda rival: sign * self.intervals[rival].mean)

    @property
    def interval(self) -> Interval:
        """The interval against that rival."""
        return self.intervals.get(self.closest, mean_interval([]))

    @property
    def agreeing(self) -> int:
        """How many ancestries lie on the asked side of the threshold, against every rival."""
        return 0 if self.frame is None else int(self._clears(self.frame).all(axis=1).sum())

    def _clears(self, values: Any) -> Any:
        """Whether values lie on the asked side; a share's ancestry does if its run did what is asked for."""
        threshold = 0.5 if self.criterion.interval == "share" else self.criterion.threshold
        return values > threshold if self.criterion.side == "above" else values < threshold

    @cached_property
    def verdict(self) -> str:
        """`reproduced`, `not reproduced`, `inconclusive` or `not run`."""
        if self.frame is None:
            return NOT_RUN
        each = [self._verdict(rival) for rival in self.intervals]
        if NOT_REPRODUCED in each:
            return NOT_REPRODUCED
        return REPRODUCED if each and all(v == REPRODUCED for v in each) else INCONCLUSIVE

    def _verdict(self, rival: str) -> str:
        assert self.frame is not None
        found, criterion = self.intervals[rival], self.criterion
        agree = bool(self._clears(self.frame[rival]).all())
        if criterion.interval == "exact" and found.n:
            return REPRODUCED if agree else NOT_REPRODUCED
        sign = 1 if criterion.side == "above" else -1
        clear = [sign * (end - criterion.threshold) > 0 for end in (found.low, found.high)]
        if found.n >= 2 and all(clear) and (found.n > FEW or agree):
            return REPRODUCED
        return NOT_REPRODUCED if found.n >= 2 and not any(clear) else INCONCLUSIVE

    def __str__(self) -> str:
        """What was measured, in words."""
        if self.frame is None or not len(self.frame):
            return ""
        found, n = self.interval, len(self.frame)
        if self.criterion.interval == "exact":
            return f"{found.mean:.3g}" + (f", the worst of {n} cases" if n > 1 else "")
        if self.criterion.interval == "share":
            return f"{round(found.mean * n)} of {n} [{found.low:.2g}, {found.high:.2g}]"
        rivals = len(self.intervals)
        return str(found) + (f" against {self.closest}, the closest of {rivals}" if rivals > 1 else "")

    def row(self) -> dict[str, Any]:
        """Return the judgement as plain values, for a page's result."""
        c = self.criterion
        row: dict[str, Any] = {"claim": c.claim, "criterion": c.name, "words": c.words, "side": c.side}
        row |= {"threshold": c.threshold, "interval": c.interval, "primary": c.primary}
        row |= {"since": c.since.isoformat(), "hash": c.hash}
        if self.frame is None:
            return row | {"ancestries": None, "values": None}
        ancestries = [a if isinstance(a, str) else int(a) for a in self.frame.index]
        return row | {
            "ancestries": ancestries,
            "values": {str(rival): [float(v) for v in values] for rival, values in self.frame.items()},
        }

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Judgement:
        """Return the judgement of a row of a page's result: judged again, from its values."""
        since = datetime.fromisoformat(row["since"])
        criterion = Criterion(
            row["claim"], row["criterion"], row["words"], "", row["side"], row["threshold"], since, {}, row["primary"],
            row["interval"],
        )  # fmt: skip
        if row["values"] is None:
            return cls(criterion, None)
        return cls(criterion, pd.DataFrame(row["values"], index=row["ancestries"], dtype=float))


# ------------------------------------------------------------------------ register


@dataclass(frozen=True)
class Claim:
    """A statement of the paper with the criteria that judge it: one primary, which gives the claim its word."""

    id: str  # as printed; with the part of a figure in brackets: "Figure 1 (left)"
    statement: str
    source: str
    page: str
    criteria: tuple[Criterion, ...]
    quote: str = ""
    illustration: bool = False
    open: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # profile -> cause, settles
    checks: Mapping[str, str] = field(default_factory=dict)  # a sentence for each of `CHECKS`, or none at all

    @property
    def primary(self) -> Criterion:
        """The criterion that decides."""
        return next(c for c in self.criteria if c.primary)


def register(path: Path = REGISTER) -> tuple[Claim, ...]:
    """Return every claim of the paper, in its order, parts of figures on their own.

    Raises
    ------
    RegisterError
        If a row names an unknown effect, argument, table, column, cause or field, has two primary criteria or none, was
        registered in the future, or contradicts the paper without the five checks; the message names the claim.

    Examples
    --------
    >>> [claim.id for claim in register()][:3]
    ['R1', 'R1 (Transformer)', 'R2']
    """
    return _register(path, path.stat().st_mtime_ns)


@cache
def _register(path: Path, _changed: int) -> tuple[Claim, ...]:
    rows = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    claims = []
    for row in rows:
        for part in row.get("parts", [{}]):
            name = f"{row['id']} ({part['part']})" if part else row["id"]
            claims.append(_claim({k: v for k, v in row.items() if k != "parts"} | part | {"id": name}))
    return tuple(claims)


def _claim(row: Mapping[str, Any]) -> Claim:
    name, illustration = row["id"], row.get("kind") == "illustration"
    criteria = tuple(_criterion(name, row["page"], c) for c in row.get("criteria", ()))
    n = sum(c.primary for c in criteria)
    if n != 1 and (criteria or n):
        raise RegisterError(
            f"{name}: {n} primary criteria: expected exactly one, which decides the claim's word."
        )
    if len({c.name for c in criteria}) < len(criteria):
        raise RegisterError(f"{name}: two criteria of one name: expected distinct names.")
    for profile, why in row.get("open", {}).items():
        if why.get("cause") not in CAUSES or not why.get("settles"):
            raise RegisterError(
                f"{name}: open at {profile}: {why}: expected `cause` ({', '.join(CAUSES)}) and `settles`."
            )
    checks = _checks(name, row)
    return Claim(
        name,
        " ".join(row["statement"].split()),
        row["source"],
        row["page"],
        criteria,
        row.get("quote", ""),
        illustration,
        row.get("open", {}),
        checks,
    )


def _checks(claim: str, row: Mapping[str, Any]) -> dict[str, str]:
    """Return a claim's five checks, or none; raise `RegisterError` if one is missing, empty or unknown."""
    checks = row.get("checks", {})
    contradicted = any(why["cause"] == "contradicted" for why in row.get("open", {}).values())
    if not checks and not contradicted:
        return {}
    written = {key for key, text in checks.items() if isinstance(text, str) and text.strip()}
    if wrong := sorted(checks.keys() ^ CHECKS.keys() | (checks.keys() - written)):
        raise RegisterError(
            f"{claim}: checks: {wrong[0]!r} is missing, empty or unknown: expected a sentence for each of "
            f"{', '.join(CHECKS)}. A claim that is contradicted has passed all five."
        )
    return {key: " ".join(checks[key].split()) for key in CHECKS}


def _criterion(claim: str, page: str, row: Mapping[str, Any]) -> Criterion:
    title = f"{claim}: {row.get('name', 'a criterion without a name')}"
    if unknown := sorted(row.keys() - _FIELDS):
        raise RegisterError(f"{title}: unknown field {unknown[0]!r}: expected {', '.join(sorted(_FIELDS))}.")
    if missing := sorted({"name", "words", "effect", "side", "threshold", "since"} - row.keys()):
        raise RegisterError(f"{title}: no field {missing[0]!r}.")
    effect = getattr(effects, str(row["effect"]), None)
    if (
        not inspect.isfunction(effect)
        or str(row["effect"]).startswith("_")
        or effect.__module__ != effects.__name__
    ):
        raise RegisterError(
            f"{title}: unknown effect {row['effect']!r}: expected a function of pdlib/claims/effects.py."
        )
    arguments = row.get("arguments", {})
    try:
        inspect.signature(effect).bind({}, **arguments)
    except TypeError as error:
        raise RegisterError(f"{title}: arguments of {row['effect']}: {error}.") from error
    _check_names(title, _tables_of(page) | row.get("tables", {}), arguments)
    if row["side"] not in ("above", "below") or row.get("interval", "student") not in (
        "student",
        "share",
        "exact",
    ):
        raise RegisterError(f"{title}: side {row['side']!r}, interval {row.get('interval')!r}: expected above or below; "
                            "student, share or exact.")  # fmt: skip
    since = row["since"] if isinstance(row["since"], datetime) else datetime.fromisoformat(str(row["since"]))
    since = since.replace(tzinfo=since.tzinfo or UTC).astimezone(UTC)
    if since > datetime.now(UTC):
        raise RegisterError(
            f"{title}: since {since.isoformat()} lies in the future: expected when it was registered, UTC."
        )
    return Criterion(
        claim,
        row["name"],
        " ".join(row["words"].split()),
        row["effect"],
        row["side"],
        float(row["threshold"]),
        since,
        arguments,
        bool(row.get("primary", False)),
        row.get("interval", "student"),
    )


def _check_names(title: str, made: Mapping[str, Collection[str]], arguments: Mapping[str, Any]) -> None:
    """Raise `RegisterError` if arguments name a table that the page does not make, or a column that its tables lack."""
    named = [arguments[key] for key in ("table", "students") if key in arguments]
    tables = [name for names in named for name in _names(names)]
    if unknown := [name for name in tables if name not in made]:
        raise RegisterError(
            f"{title}: unknown table {unknown[0]!r}: expected one of {', '.join(sorted(made))}."
        )
    columns = [
        c for key in ("where", "first", "second", "each", "by") for c in _names(arguments.get(key, ()))
    ]
    known = {column for name in tables or made for column in made[name]}
    if unknown := [column for column in columns if column not in known]:
        raise RegisterError(
            f"{title}: unknown column {unknown[0]!r}: expected one of {', '.join(sorted(known))}."
        )


def _names(argument: str | Iterable[str]) -> list[str]:
    return [argument] if isinstance(argument, str) else list(argument)


@cache
def _tables_of(page: str) -> dict[str, list[str]]:
    """Return the tables that a page makes, each with its columns."""
    pages = yaml.safe_load(TABLES.read_text(encoding="utf-8"))
    return {name: table["columns"] for name, table in pages.get(page, {}).items()}


def of_page(page: str) -> tuple[Claim, ...]:
    """Return the claims that a page judges.

    >>> [claim.id for claim in of_page("parity")][:2]
    ['R1', 'R2']
    """
    return tuple(claim for claim in register() if claim.page == page and claim.criteria)


# ---------------------------------------------------------------------------- lock


def locked(path: Path = LOCK) -> dict[str, tuple[str, datetime]]:
    """Return what was registered: criterion -> hash and time."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    rows = (line.split(maxsplit=2) for line in lines if line and not line.startswith("#"))
    return {title: (digest, datetime.fromisoformat(since)) for digest, since, title in rows}


def lock_complaints(claims: Iterable[Claim], lock: Mapping[str, tuple[str, datetime]]) -> list[str]:
    """Return a sentence for each criterion that is not the one registered."""
    found, known = [], {c.title: c for claim in claims for c in claim.criteria}
    for title, c in known.items():
        if title not in lock:
            found.append(
                f"{title}: not registered. Set its `since` to now and call `python -m pdlib claims --lock`."
            )
        elif lock[title] != (c.hash, c.since):
            what = (
                "registered at another time"
                if lock[title][0] == c.hash
                else "changed since it was registered"
            )
            found.append(
                f"{title}: {what} ({lock[title][1].isoformat()}). A changed criterion is registered anew: set its "
                "`since` to now and call `python -m pdlib claims --lock`."
            )
    return found + [
        f"{title}: registered, but no longer in the register." for title in lock if title not in known
    ]


def write_lock(claims: Sequence[Claim], path: Path = LOCK) -> None:
    """Register all criteria.

    Raises
    ------
    RegisterError
        If one has changed and still bears its old time: it would pass for older than it is.
    """
    before = locked(path)
    for c in (c for claim in claims for c in claim.criteria):
        digest, since = before.get(c.title, ("", datetime.min.replace(tzinfo=UTC)))
        if digest not in ("", c.hash) and c.since <= since:
            raise RegisterError(
                f"{c.title}: changed, and still registered since {since.isoformat()}: expected a later time. Set its "
                "`since` to now."
            )
    lines = ["# hash, registered at (UTC), criterion: written by `python -m pdlib claims --lock`"]
    lines += [f"{c.hash} {c.since.isoformat()} {c.title}" for claim in claims for c in claim.criteria]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def code_of(name: str, module: str = effects.__name__) -> str:
    """Return the code of an effect and of every definition of this package that it uses, without docstrings.

    >>> "ast" in code_of("gain") or "FunctionDef" in code_of("gain")
    True
    """
    used: dict[str, str] = {}
    queue = [(module, name)]
    while queue:
        where, current = queue.pop()
        nodes, imported = _definitions(where)
        if current in imported:
            queue.append(imported[current])
        elif current in nodes and f"{where}.{current}" not in used:
            used[f"{where}.{current}"] = _dumped(nodes[current])
            queue += [(where, n.id) for n in ast.walk(nodes[current]) if isinstance(n, ast.Name)]
    return "\n".join(used[key] for key in sorted(used))


@cache
def _definitions(module: str) -> tuple[dict[str, ast.stmt], dict[str, tuple[str, str]]]:
    """Return what a module defines, docstrings left out, and what it imports by name from this package."""
    nodes: dict[str, ast.stmt] = {}
    imported: dict[str, tuple[str, str]] = {}
    for node in ast.parse(inspect.getsource(import_module(module))).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            if ast.get_docstring(node) is not None:
                node.body = node.body[1:] or [ast.Pass()]
            nodes[node.name] = node
        elif isinstance(node, ast.Assign):
            nodes |= {
                t.id: node for target in node.targets for t in ast.walk(target) if isinstance(t, ast.Name)
            }
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            nodes[node.target.id] = node
        elif isinstance(node, ast.ImportFrom) and str(node.module).startswith("pdlib"):
            imported |= {a.asname or a.name: (str(node.module), a.name) for a in node.names}
    return nodes, imported


def _dumped(node: ast.AST) -> str:
    """Return a syntax tree as text, the same under every Python: 3.12 adds type parameters, 3.13 leaves empty lists out."""
    shown: dict[str, bool] = {"show_empty": True} if sys.version_info >= (3, 13) else {}
    return ast.dump(node, **shown).replace(", type_params=[]", "")

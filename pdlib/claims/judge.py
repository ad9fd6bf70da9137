"""Criteria as rows, and the rules that turn tables into verdicts.

A criterion is a row of `register.yaml`: its effect gives one value per ancestry, or one per ancestry and rival; the values
give an interval, the interval a verdict. `criteria.lock` holds the hash of every criterion and when it was registered.

No torch here, and nothing flows back: a verdict is a function of tables alone, a result knows no criterion.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import yaml

from pdlib.claims.effects import EFFECTS, MODULES, MissingTableError, Tables, UndecidedError
from pdlib.sources import dumped, parsed
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
REGISTER, LOCK, TABLES = map(Path(__file__).with_name, ("register.yaml", "criteria.lock", "tables.yaml"))
_NEEDED = {"name", "words", "effect", "side", "threshold", "since"}
_FIELDS = _NEEDED | {"arguments", "primary", "interval", "tables"}
_CHOICES = {"side": ("above", "below"), "interval": ("student", "share", "exact")}


class RegisterError(ValueError):
    """A row of the register that cannot mean anything, or that is not the one registered: names the claim."""


@dataclass(frozen=True)
class Criterion:
    """What would count as reproduction, registered before the run."""

    claim: str
    name: str  # tells it from the claim's others
    words: str  # without the numbers of a run
    effect: str  # one of `pdlib.claims.effects.EFFECTS`
    side: Literal["above", "below"]  # of the threshold, where the interval must lie
    threshold: float  # in the effect's unit
    since: datetime  # when it was registered, UTC; no part of what it means
    arguments: Mapping[str, Any] = field(default_factory=dict)  # of the effect
    primary: bool = False  # whether it alone decides the claim's word
    # of the mean over ancestries; of the share of values that are 1 and not 0 (Wilson's); or exact values of different
    # cases, which all must clear the threshold
    interval: Literal["student", "share", "exact"] = "student"

    @property
    def title(self) -> str:
        """Claim and name: unique in the register."""
        return f"{self.claim}: {self.name}"

    @cached_property
    def hash(self) -> str:
        """Hexadecimal hash of the row and of the code of its effect with all helpers, formatting aside."""
        row = [getattr(self, name) for name in ("claim", "name", "words", "side", "threshold")]
        row += [dict(self.arguments), self.primary]
        text = json.dumps([*row, self.interval, code_of(self.effect)])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def values(self, tables: Tables) -> pd.DataFrame:
        """Return the effect: one row per ancestry (or case), one column per rival, or the one column `""`.

        It raises `MissingTableError` if the page did not make a table, `UndecidedError` if censored runs leave no value, and
        ValueError if a table lacks what the criterion names, or an ancestry has no value.
        """
        try:
            found = EFFECTS[self.effect](tables, **self.arguments)
        except MissingTableError:
            raise
        except (KeyError, AttributeError, pd.errors.UndefinedVariableError) as error:
            raise ValueError(
                f"{self.title}: its tables lack {error}; expected every column, method and setting that it names. "
                "Run the missing ones, or correct the row."
            ) from error
        frame = (found.to_frame("") if isinstance(found, pd.Series) else found).astype(float)
        frame = _once_a_teacher(frame)
        if missing := frame.index[frame.isna().any(axis=1)].tolist():
            what = "case" if self.interval == "exact" else "ancestry"
            raise ValueError(
                f"{self.title}: {missing} have no value; expected every {what} in all the tables that it compares. "
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

    >>> since = datetime(2026, 1, 1, tzinfo=UTC)
    >>> faster = Criterion("R2", "faster", "a gain", "gain", "above", 0.0, since)
    >>> judged = Judgement(faster, pd.DataFrame({"labels": [2.0, 3.0, 4.0], "one_shot": [0.5, 2.0, -1.0]}))
    >>> judged.verdict, judged.closest, str(judged.interval)
    ('inconclusive', 'one_shot', '0.5 [-4.87, 5.87]')
    """

    criterion: Criterion
    frame: pd.DataFrame | None  # one row per ancestry, one column per rival; None without the tables

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

    @property
    def holds(self) -> tuple[float, float]:
        """From which to which threshold the verdict would be the same, all else equal.

        >>> since = datetime(2026, 1, 1, tzinfo=UTC)
        >>> faster = Criterion("R2", "faster", "a gain", "gain", "above", 0.0, since)
        >>> [round(end, 2) for end in Judgement(faster, pd.DataFrame({"": [2.0, 3.0, 4.0, 5.0]})).holds]
        [-inf, 1.45]
        """
        if self.frame is None:
            return -math.inf, math.inf
        c, sign = self.criterion, 1 if self.criterion.side == "above" else -1
        yes = no = math.inf  # reproduced below `yes`, not reproduced from `no` on; `sign` turns them around
        for rival, found in self.intervals.items():
            worst = float((sign * self.frame[rival]).min()) if found.n else math.nan
            ends = sorted((sign * found.low, sign * found.high))
            if c.interval == "exact" and found.n:
                ends = [worst, worst]
            elif found.n < 2:
                ends = [-math.inf, math.inf]
            elif found.n <= FEW and c.interval != "share":
                ends[0] = min(ends[0], worst)
            elif found.n <= FEW and not self._clears(self.frame[rival]).all():
                ends[0] = -math.inf
            yes, no = min(yes, ends[0]), min(no, ends[1])
        low, high = {REPRODUCED: (-math.inf, yes), INCONCLUSIVE: (yes, no), NOT_REPRODUCED: (no, math.inf)}[
            self.verdict
        ]
        return (low, high) if sign > 0 else (-high, -low)

    @property
    def turned_by_one(self) -> int:
        """How many ancestries there are without which the verdict would be another."""
        n = 0 if self.frame is None else len(self.frame)
        return sum(self.without(i).verdict != self.verdict for i in range(n))

    def without(self, *places: int) -> Judgement:
        """Return the judgement without the ancestries at these places."""
        assert self.frame is not None
        kept = [i for i in range(len(self.frame)) if i not in places]
        return Judgement(self.criterion, self.frame.iloc[kept])

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
        values = {str(rival): [float(v) for v in column] for rival, column in self.frame.items()}
        return row | {
            "ancestries": [a if isinstance(a, str) else int(a) for a in self.frame.index],
            "values": values,
        }

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Judgement:
        """Return the judgement of a row of a page's result: judged again, from its values."""
        named = {name: row[name] for name in ("claim", "words", "side", "threshold", "primary", "interval")}
        since = datetime.fromisoformat(row["since"])
        criterion = Criterion(name=row["criterion"], effect="", since=since, **named)
        frame = None if row["values"] is None else pd.DataFrame(row["values"], row["ancestries"], dtype=float)
        return cls(criterion, frame)


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

    A row that names an unknown effect, argument, table, column, cause or field, has two primary criteria or none, was
    registered in the future, or contradicts the paper without the five checks is a `RegisterError`, which names the claim.

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
    name, reasons = row["id"], row.get("open", {})
    criteria = tuple(_criterion(name, row["page"], c) for c in row.get("criteria", ()))
    n = sum(c.primary for c in criteria)
    if n != 1 and criteria:
        raise RegisterError(
            f"{name}: {n} primary criteria: expected exactly one, which decides the claim's word."
        )
    if len({c.name for c in criteria}) < len(criteria):
        raise RegisterError(f"{name}: two criteria of one name: expected distinct names.")
    for profile, why in reasons.items():
        if why.get("cause") not in CAUSES or not why.get("settles"):
            raise RegisterError(
                f"{name}: open at {profile}: {why}: expected `cause` ({', '.join(CAUSES)}) and `settles`."
            )
    statement, illustration = " ".join(row["statement"].split()), row.get("kind") == "illustration"
    of_paper = (row["source"], row["page"], criteria, row.get("quote", ""))
    return Claim(name, statement, *of_paper, illustration, reasons, _checks(name, row))


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
    if missing := sorted(_NEEDED - row.keys()):
        raise RegisterError(f"{title}: no field {missing[0]!r}.")
    row = {"arguments": {}, "primary": False, "interval": "student", **row}
    _require_known(title, "field", row, _FIELDS)
    _require_known(title, "effect", [row["effect"]], EFFECTS)
    try:
        inspect.signature(EFFECTS[row["effect"]]).bind({}, **row["arguments"])
    except TypeError as error:
        raise RegisterError(f"{title}: arguments of {row['effect']}: {error}.") from error
    made, arguments = _tables_of(page) | row.get("tables", {}), row["arguments"]
    tables = _names(arguments, "table", "students")
    _require_known(title, "table", tables, made)
    columns = {column for name in tables or made for column in made[name]}
    _require_known(title, "column", _names(arguments, "where", "first", "second", "each", "by"), columns)
    for name, known in _CHOICES.items():
        _require_known(title, name, [row[name]], known)
    since = row["since"] if isinstance(row["since"], datetime) else datetime.fromisoformat(str(row["since"]))
    since = since.replace(tzinfo=since.tzinfo or UTC).astimezone(UTC)
    if since > datetime.now(UTC):
        raise RegisterError(
            f"{title}: since {since.isoformat()} lies in the future: expected when it was registered, UTC."
        )
    changed: dict[str, Any] = {
        "words": " ".join(row["words"].split()),
        "threshold": float(row["threshold"]),
        "since": since,
    }
    return Criterion(claim, **{**row, **changed})


def _require_known(title: str, kind: str, named: Iterable[Any], known: Collection[str]) -> None:
    """Raise `RegisterError` for the first of these names that is not a known one."""
    for name in named:
        if name not in known:
            raise RegisterError(
                f"{title}: unknown {kind} {name!r}: expected one of {', '.join(sorted(known))}."
            )


def _names(arguments: Mapping[str, Any], *keys: str) -> list[str]:
    """Return the names that these arguments hold, each one name or several."""
    found = [arguments[key] for key in keys if key in arguments]
    return [name for names in found for name in ([names] if isinstance(names, str) else names)]


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
    advice = "`since` to now and call `python -m pdlib claims --lock`."
    found, known = [], {c.title: c for claim in claims for c in claim.criteria}
    for title, c in known.items():
        if title not in lock:
            found.append(f"{title}: not registered. Set its {advice}")
        elif lock[title] != (c.hash, c.since):
            same = lock[title][0] == c.hash
            what = "registered at another time" if same else "changed since it was registered"
            when = lock[title][1].isoformat()
            found.append(
                f"{title}: {what} ({when}). A changed criterion is registered anew: set its {advice}"
            )
    gone = (title for title in lock if title not in known)
    return found + [f"{title}: registered, but no longer in the register." for title in gone]


def write_lock(claims: Sequence[Claim], path: Path = LOCK) -> None:
    """Register all criteria; one that has changed and still bears its old time is a `RegisterError`."""
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


def code_of(effect: str) -> str:
    """Return the code of an effect and of everything in `pdlib.claims.effects` that it names, docstrings left out.

    The files of effects count as one: a definition may move from one to another.

    >>> "FunctionDef(name='gain'" in code_of("gain")
    True
    """
    used: dict[str, str] = {}
    queue, nodes = [effect], _definitions()
    while queue:
        if (name := queue.pop()) in nodes and name not in used:
            used[name] = dumped(nodes[name])
            queue += [n.id for n in ast.walk(nodes[name]) if isinstance(n, ast.Name)]
    return "\n".join(used[name] for name in sorted(used))


@cache
def _definitions() -> dict[str, ast.stmt]:
    """Return what the files of effects define."""
    nodes: dict[str, ast.stmt] = {}
    for node in (node for module in MODULES for node in parsed(inspect.getsource(module)).body):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            nodes[node.name] = node
        elif isinstance(node, ast.Assign):
            nodes |= {
                t.id: node for target in node.targets for t in ast.walk(target) if isinstance(t, ast.Name)
            }
    return nodes

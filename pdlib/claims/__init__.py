"""The paper's claims: statement, source, criterion; tables in, verdict out.

A `Claim` has one or more `Criterion` parts, each an effect measured once a seed and a threshold that its
95 % interval must clear; an effect that is exact is measured once a case, and every case must clear the
threshold. The criteria of a page live in a file named as the page. `register.yaml` lists every claim of the
paper, those without a page too; `ledger` joins it with the pages' results.

A criterion has a hash, of its words, its threshold and its effect's code. The engine stores the hashes with
each run, so that a criterion changed after a run shows as "judged after the fact".

No torch here: a verdict is a function of tables alone.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import math
import re
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import yaml
from pandas.io.formats.style import Styler

from pdlib.store import (
    DamagedError,
    Record,
    Store,
    parse_table,
    published_folder,
    table_text,
    write_bytes,
)
from pdlib.tables import Interval, data_seed, mean_interval, prediction_interval

Tables = Mapping[str, pd.DataFrame]  # a page's tidy tables, by name
Effect = Callable[
    ..., "pd.Series[float]"
]  # (tables, **arguments) -> one value a seed, the index being the seed

REPRODUCED, PARTLY, NOT_REPRODUCED = "reproduced", "partly", "not reproduced"
INCONCLUSIVE, NOT_RUN, NOT_AT_THIS_SCALE = "inconclusive", "not run", "not run at this scale"
FEW_SEEDS = 3  # at so few, "reproduced" also needs every seed to agree
JUDGED_PROFILES = ("laptop", "paper")  # a smoke run shows the machinery; no claim is judged on it


@dataclass(frozen=True)
class Criterion:
    """What would count as reproduction, written before the run.

    Parameters
    ----------
    name
        Short, unique within the claim.
    text
        The criterion in words, without the numbers of a run.
    effect
        Named function of its module: tables and `arguments` to one value a seed.
    side
        `"above"`: the interval must lie above `threshold`; `"below"`: below it.
    threshold
        In the effect's unit.
    arguments
        Of `effect`, by name.
    exact
        Whether the values are exact ones of different cases (the index being the case) instead of a sample over
        seeds. Then no interval is taken: all cases must clear the threshold, and one that does not refutes.
    """

    name: str
    text: str
    effect: Effect
    side: Literal["above", "below"]
    threshold: float
    arguments: Mapping[str, Any] = field(default_factory=dict)
    exact: bool = False

    @cached_property
    def hash(self) -> str:
        """Hexadecimal hash of the words, the threshold and the effect's code, formatting aside."""
        module = inspect.getmodule(self.effect)
        assert module is not None
        code = _code_of(self.effect.__name__, ast.parse(inspect.getsource(module)))
        words = [self.name, self.text, self.side, self.threshold, dict(self.arguments), code]
        text = json.dumps(words + (["exact"] if self.exact else []))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def values(self, tables: Tables) -> pd.Series[float]:
        """Return the effect, one value a seed.

        Raises
        ------
        MissingTableError
            If a table is not there: the page did not make it.
        ValueError
            If a table is there without a method, a setting or a column that the effect names.
        """
        try:
            return self.effect(tables, **self.arguments).astype(float)
        except MissingTableError:
            raise
        except KeyError as error:
            raise ValueError(
                f"criterion {self.name!r}: its tables lack {error}; expected every method and setting that it "
                "compares. Run the missing ones."
            ) from error

    def judge(self, tables: Tables) -> Judgement:
        """Return the verdict of this part on a page's tables."""
        try:
            values = self.values(tables)
        except UndecidedError:
            return Judgement(self, mean_interval([]), (), INCONCLUSIVE)
        values = _once_a_teacher(values)
        if values.isna().any():
            missing = values.index[values.isna()].tolist()
            raise ValueError(
                f"criterion {self.name!r}: {missing} have no value; expected every "
                f"{'case' if self.exact else 'seed'} in all the tables it compares. Run the missing ones."
            )
        interval = summary(values, self.side, self.exact)
        sign = 1.0 if self.side == "above" else -1.0
        clears = [sign * (v - self.threshold) > 0 for v in (interval.low, interval.high)]
        agree = all(sign * (v - self.threshold) > 0 for v in values)
        if self.exact and interval.n:
            verdict = REPRODUCED if agree else NOT_REPRODUCED
        elif interval.n >= 2 and all(clears) and (interval.n > FEW_SEEDS or agree):
            verdict = REPRODUCED
        elif interval.n >= 2 and not any(clears):
            verdict = NOT_REPRODUCED
        else:
            verdict = INCONCLUSIVE
        return Judgement(self, interval, tuple(float(v) for v in values), verdict)


def _once_a_teacher(values: pd.Series[float]) -> pd.Series[float]:
    """Leave out siblings without a value of their own: what only teachers decide has one value a teacher."""
    known = set(values.index[values.notna()])
    repeated = [isinstance(s, int) and s != data_seed(s) and data_seed(s) in known for s in values.index]
    return values[~(values.isna() & np.array(repeated, bool))]


def summary(values: Sequence[float] | pd.Series[float], side: str, exact: bool) -> Interval:
    """Return the mean with its interval over seeds; of exact values the case nearest to failing, with their range."""
    if not exact or not len(values):
        return mean_interval(values)
    return Interval(
        float(min(values) if side == "above" else max(values)),
        float(min(values)),
        float(max(values)),
        len(values),
    )


def written(row: Mapping[str, Any]) -> str:
    """Return in words what a row of a page's result measured.

    >>> written({"values": [1.0, 2.0, 4.0], "side": "above", "exact": True})
    '1, the worst of 3 cases'
    >>> written({"values": [1.0, 2.0, 3.0], "side": "above"})
    '2 [-0.484, 4.48]'
    """
    values = row.get("values") or []
    if row.get("exact") and values:
        worst = f"{summary(values, row['side'], exact=True).mean:.3g}"
        return worst if len(values) == 1 else f"{worst}, the worst of {len(values)} cases"
    return str(mean_interval(values))


def _code_of(name: str, tree: ast.Module) -> str:
    """Return the code of a function and of the definitions beside it that it uses, without docstrings."""
    definitions: dict[str, ast.stmt] = {}
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            definitions[node.name] = node
        elif isinstance(node, ast.Assign):
            definitions |= {t.id: node for t in node.targets if isinstance(t, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            definitions[node.target.id] = node
    used, queue = set[str](), [name]
    while queue:
        current = queue.pop()
        if current in definitions and current not in used:
            used.add(current)
            queue += [n.id for n in ast.walk(definitions[current]) if isinstance(n, ast.Name)]
    parts = []
    for key in sorted(used):
        node = definitions[key]
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        parts.append(_dumped(node))
    return "\n".join(parts)


def _dumped(node: ast.AST) -> str:
    """Return a syntax tree as text, the same under every Python: 3.12 adds type parameters, 3.13 leaves empty lists out."""
    shown: dict[str, bool] = {"show_empty": True} if sys.version_info >= (3, 13) else {}
    return ast.dump(node, **shown).replace(", type_params=[]", "")


@dataclass(frozen=True)
class Judgement:
    """A criterion with what was measured."""

    criterion: Criterion
    interval: Interval
    values: tuple[float, ...]  # one a seed
    verdict: str


@dataclass(frozen=True)
class Claim:
    """A statement of the paper as a page judges it: all criteria together.

    All parts reproduced: reproduced. Some: partly. None, and at least one contradicted: not reproduced.
    Otherwise inconclusive.
    """

    id: str  # as in the register; with the part of a figure in brackets: "Figure 1 (left)"
    criteria: tuple[Criterion, ...]

    def judge(self, tables: Tables) -> tuple[str, list[Judgement]]:
        """Return the verdict and its parts."""
        parts = [criterion.judge(tables) for criterion in self.criteria]
        return combined([p.verdict for p in parts]), parts


def combined(verdicts: Sequence[str]) -> str:
    """Return the verdict of a claim from those of its parts.

    >>> combined([REPRODUCED, INCONCLUSIVE]), combined([INCONCLUSIVE, NOT_REPRODUCED])
    ('partly', 'not reproduced')
    """
    if all(v == REPRODUCED for v in verdicts):
        return REPRODUCED
    if any(v == REPRODUCED for v in verdicts):
        return PARTLY
    return NOT_REPRODUCED if any(v == NOT_REPRODUCED for v in verdicts) else INCONCLUSIVE


def of_page(page: str) -> tuple[Claim, ...]:
    """Return the claims that a page judges.

    >>> [claim.id for claim in of_page("parity")][:2]
    ['R1', 'R2']
    """
    claims: tuple[Claim, ...] = import_module(f"pdlib.claims.{page}").CLAIMS
    return claims


def hashes(page: str) -> dict[str, str]:
    """Return the hash of each criterion of a page, to be stored with its runs."""
    return {f"{claim.id}: {c.name}": c.hash for claim in of_page(page) for c in claim.criteria}


# ------------------------------------------------------------------ a page's result


def judge_page(
    page: str,
    profile: str,
    tables: Tables,
    records: Iterable[Record],
    store: Store | None = None,
    *,
    costs: Mapping[str, Mapping[str, float]] | None = None,
) -> pd.DataFrame:
    """Judge a page's claims, keep the result in the store, and return it as a table.

    Columns: `claim`, `criterion`, `measured`, `n_seeds`, `part_verdict`, `verdict`. On a profile that is not
    judged (smoke) the verdict is "not judged", whatever was measured. A claim whose tables the page did not
    make is "not run". At the profile `paper` the tables are kept too, for `load_tables`.
    """
    records = list(records)
    store = store or Store()
    now = hashes(page)
    rows: list[dict[str, Any]] = []
    for claim in of_page(page):
        if not all(_can_be_measured(c, tables) for c in claim.criteria):
            rows.append({"claim": claim.id, "criterion": claim.criteria[0].text, "verdict": NOT_RUN})
            continue
        parts = [c.judge(tables) for c in claim.criteria]
        verdict = combined([p.verdict for p in parts]) if profile in JUDGED_PROFILES else "not judged"
        for part in parts:
            name = f"{claim.id}: {part.criterion.name}"
            rows.append(
                {
                    "claim": claim.id,
                    "part": part.criterion.name,
                    "criterion": part.criterion.text,
                    "side": part.criterion.side,
                    "threshold": part.criterion.threshold,
                    "values": list(part.values),
                    "exact": part.criterion.exact,
                    "hash": part.criterion.hash,
                    "after_the_fact": any(
                        r.provenance.get("criteria", {}).get(name) != now[name] for r in records
                    ),
                    "part_verdict": part.verdict if profile in JUDGED_PROFILES else "not judged",
                    "verdict": verdict,
                }
            )
    result = {
        "page": page,
        "profile": profile,
        "runs": [r.fingerprint for r in records],
        "cost": {part: dict(values) for part, values in (costs or {}).items()},
        "machines": sorted({str(r.provenance.get("machine")) for r in records}),
        "dates": [f(str(r.provenance.get("date")) for r in records) for f in (min, max)] if records else [],
        "commits": sorted({str(r.provenance.get("commit")) for r in records}),
        "claims": rows,
    }
    if profile == "paper":
        texts = {f"{name}.csv": table_text(table) for name, table in tables.items()}
        result["tables"] = {name: hashlib.sha256(text).hexdigest() for name, text in texts.items()}
        for name, text in texts.items():
            write_bytes(page_file(store.root, page, profile).with_suffix("") / name, text)
    write_bytes(page_file(store.root, page, profile), (json.dumps(result, indent=1) + "\n").encode())
    return verdict_table(result)


def _can_be_measured(criterion: Criterion, tables: Tables) -> bool:
    """Whether the page made the tables that a criterion needs; core figures alone leave some out."""
    try:
        criterion.values(tables)
    except MissingTableError:
        return False
    except UndecidedError:
        return True
    return True


class UndecidedError(ValueError):
    """Censored runs leave an effect without a value: the verdict is "inconclusive"."""


class MissingTableError(KeyError):
    """An effect needs runs that the page did not make (`figures = "core"` leaves the ablations out)."""


def page_file(root: Path, page: str, profile: str) -> Path:
    """Return where a page's result is kept below a store's or the published folder."""
    return root / "pages" / f"{page}-{profile}.json"


def load_page(root: Path, page: str, profile: str) -> dict[str, Any] | None:
    """Return a page's result, or None."""
    path = page_file(root, page, profile)
    return json.loads(path.read_text()) if path.exists() else None


def load_tables(root: Path, page: str, profile: str = "paper") -> dict[str, pd.DataFrame]:
    """Return the tables that a page was judged on at the paper's scale, by name; none if it was not.

    So a page shows results of this profile beside those of the one it runs at, and trains nothing for them.

    Raises
    ------
    DamagedError
        If a table is not the one that was judged.
    """
    path = page_file(root, page, profile)
    found = {}
    for name, expected in (load_page(root, page, profile) or {}).get("tables", {}).items():
        table = path.with_suffix("") / name
        text = table.read_bytes() if table.exists() else b""
        if hashlib.sha256(text).hexdigest() != expected:
            raise DamagedError(
                f"{table}: its SHA-256 is not the one in {path.name}. Expected the table that was judged; publish "
                "the page again."
            )
        found[table.stem] = parse_table(text)
    return found


def verdict_table(result: Mapping[str, Any]) -> pd.DataFrame:
    """Return a page's result as a table for reading, a row a criterion."""
    rows = []
    for row in result["claims"]:
        values = row.get("values")
        sign = {"above": ">", "below": "<"}.get(row.get("side", ""), "")
        note = (
            " (judged after the fact)" if row.get("after_the_fact") and row["verdict"] != "not judged" else ""
        )
        rows.append(
            {
                "claim": row["claim"],
                "criterion": f"{row['criterion']} {sign} {row['threshold']:g}"
                if values is not None
                else row["criterion"],
                "measured": written(row) if values is not None else "",
                "n_seeds": len(values) if values is not None else 0,
                "part_verdict": row.get("part_verdict", ""),
                "verdict": row["verdict"] + note,
            }
        )
    return pd.DataFrame(rows)


def by_claim(verdicts: pd.DataFrame) -> pd.DataFrame:
    """Return what `judge_page` returns for reading, a row a claim."""
    return verdicts[["claim", "n_seeds", "verdict"]].drop_duplicates("claim").reset_index(drop=True)


def by_criterion(verdicts: pd.DataFrame) -> Styler:
    """Return what `judge_page` returns for reading, a row a criterion, with what was measured."""
    return verdicts[["claim", "criterion", "measured", "part_verdict"]].style.hide(axis="index")


def compare(published: Mapping[str, Any], new: Mapping[str, Any]) -> pd.DataFrame:
    """Return published and new numbers side by side, the new ones inside or outside their tolerance.

    The tolerance is the 95 % prediction interval that the published seeds give for as many new seeds as
    were run; of exact values, the range of the published cases, with the same verdict. Columns: `claim`,
    `part`, `published`, `new`, `low`, `high`, `inside`, `published_verdict`, `verdict`.
    """
    old = {(r["claim"], r.get("part")): r for r in published["claims"]}
    rows = []
    for row in new["claims"]:
        before = old.get((row["claim"], row.get("part")))
        if before is None or not row.get("values") or not before.get("values"):
            continue
        if row.get("exact"):
            a, b = (summary(r["values"], r["side"], exact=True).mean for r in (before, row))
            low, high = min(before["values"]), max(before["values"])
        else:
            a, b = mean_interval(before["values"]).mean, mean_interval(row["values"]).mean
            low, high = prediction_interval(before["values"], len(row["values"]))
        slack = 1e-9 * max(1.0, abs(a))  # a deviation of zero leaves no room for the last bit
        rows.append(
            {
                "claim": row["claim"],
                "part": row["part"],
                "published": a,
                "new": b,
                "low": low,
                "high": high,
                "inside": bool(a == b or low - slack <= b <= high + slack)
                and (not row.get("exact") or row["part_verdict"] == before["part_verdict"]),
                "published_verdict": before["verdict"],
                "verdict": row["verdict"],
            }
        )
    return pd.DataFrame(rows)


# ------------------------------------------------------------------------ ledger


def register() -> list[dict[str, Any]]:
    """Return the register: every claim of the paper, a dictionary each, parts of figures on their own."""
    rows = yaml.safe_load(Path(__file__).with_name("register.yaml").read_text(encoding="utf-8"))
    flat = []
    for row in rows:
        for part in row.get("parts", [None]):
            name = f"{row['id']} ({part['part']})" if part else row["id"]
            flat.append({k: v for k, v in row.items() if k != "parts"} | (part or {}) | {"id": name})
    return flat


def read_off(page: str) -> pd.DataFrame:
    """Return what we read off the paper's figures for a page: `figure`, `curve`, `step`, `quantity`, `value`.

    >>> read_off("parity").query("curve == 'teacher'").value.tolist()
    [0.53, 0.75, 0.9, 0.965, 1.0]
    """
    rows = yaml.safe_load(Path(__file__).with_name("read_off.yaml").read_text(encoding="utf-8"))
    return pd.DataFrame(rows[page])


def ledger(root: Path | None = None, outdated: Collection[str] = ()) -> pd.DataFrame:
    """Return every claim of the paper with its verdicts, a row a claim, profile and criterion.

    Columns: `claim`, `statement`, `source`, `criterion`, `measured`, `interval`, `n_seeds`, `profile`,
    `verdict`, `page`. A claim whose page has no result says "not run"; one whose page has results, but not
    at paper scale, has a row "not run at this scale" for profile `paper`.

    Parameters
    ----------
    root
        Folder whose `pages/` holds the results; by default the published one.
    outdated
        Fingerprints of results that another version of the code wrote (`Store.outdated`); a verdict that rests
        on one of them says so.
    """
    root = root or published_folder()
    rows = []
    for claim in register():
        base = {
            "claim": claim["id"],
            "statement": claim["statement"],
            "source": claim["source"],
            "page": claim["page"],
        }
        empty = {"criterion": "", "measured": math.nan, "interval": "", "n_seeds": 0, "profile": ""}
        if claim.get("kind") == "illustration":
            rows.append(base | empty | {"verdict": "illustration"})
            continue
        found = []
        for profile in JUDGED_PROFILES:
            result = load_page(root, claim["page"], profile)
            for row in result["claims"] if result else []:
                if row["claim"] != claim["id"]:
                    continue
                interval = summary(row.get("values", []), row.get("side", ""), row.get("exact", False))
                sign = {"above": ">", "below": "<"}.get(row.get("side", ""), "")
                found.append(
                    base
                    | {
                        "criterion": f"{row['criterion']} {sign} {row.get('threshold', ''):g}"
                        if sign
                        else row["criterion"],
                        "measured": interval.mean,
                        "interval": written(row) if interval.n else "",
                        "n_seeds": interval.n,
                        "profile": profile,
                        "verdict": row["verdict"] + _remarks(row, result, outdated),
                        "part_verdict": row.get("part_verdict", row["verdict"]),
                    }
                )
        if not found:
            rows.append(base | empty | {"verdict": NOT_RUN})
        else:
            rows += found
            if not any(r["profile"] == "paper" for r in found):
                rows.append(base | empty | {"profile": "paper", "verdict": NOT_AT_THIS_SCALE})
    return pd.DataFrame(rows)


def _remarks(row: Mapping[str, Any], result: Mapping[str, Any] | None, outdated: Collection[str]) -> str:
    """Return what a reader must know of a verdict, in brackets, or nothing."""
    remarks = ["judged after the fact"] if row.get("after_the_fact") else []
    if result is not None and set(result["runs"]) & set(outdated):
        remarks.append("of an older version of the code")
    return f" ({', '.join(remarks)})" if remarks else ""


def ledger_markdown(root: Path | None = None, outdated: Collection[str] = ()) -> str:
    """Return the page of the book that shows the ledger, generated from the pages' results."""
    table = ledger(root, outdated)
    lines = [
        "# Claims",
        "",
        "Every claim of the paper, a row each. Criteria were written before the runs that judge them; a verdict that",
        'rests on a criterion changed since its runs says "judged after the fact". Measured effects are means over',
        "seeds with 95 % intervals, or, where a statement is exact, the worst of its cases: one that fails refutes it.",
        "How verdicts are reached stands in {doc}`notation`.",
        "",
    ]
    counts = (
        table.drop_duplicates(["claim", "profile"])
        .verdict.str.replace(r" \(.*", "", regex=True)
        .value_counts()
    )
    lines += [
        "| verdict | rows |",
        "|---|---|",
        *(f"| {verdict} | {n} |" for verdict, n in counts.items()),
        "",
    ]
    lines += ["| claim | statement | source | verdict |", "|---|---|---|---|"]
    details = []
    for claim, group in table.groupby("claim", sort=False):
        first = group.iloc[0]
        link = (
            f"{{doc}}`{first['page']} <../notebooks/{first['page']}>`"
            if _has_page(str(first["page"]))
            else first["page"]
        )
        verdicts = []
        for row in group.drop_duplicates("profile").to_dict("records"):
            verdicts.append(
                f"{row['profile']}: **{row['verdict']}**" if row["profile"] else f"**{row['verdict']}**"
            )
        lines.append(
            f"| {claim} | {_cell(first['statement'])} | {_cell(first['source'])}; page {link} | {'; '.join(verdicts)} |"
        )
        measured = group[group.interval != ""]
        details += [
            f"| {claim} | {_cell(r['criterion'])} | {r['interval']} | {r['n_seeds']} | {r['profile']} "
            f"| {r['part_verdict']} |"
            for r in measured.to_dict("records")
        ]
    lines += ["", "## Criteria and measured effects", ""]
    if details:
        lines += [
            "| claim | criterion | measured | seeds or cases | profile | verdict of the part |",
            "|---|---|---|---|---|---|",
            *details,
        ]
    else:
        lines.append("No page has published results.")
    return "\n".join(lines) + "\n"


def glance_markdown(root: Path | None = None) -> str:
    """Return the verdicts of the pages that have results, as the short table of the README."""
    table = ledger(root)
    table = table[(table.profile != "") & (table.verdict != NOT_AT_THIS_SCALE)]
    if table.empty:
        return "No page has published results.\n"
    lines = ["| claim | what it says | profile | verdict |", "|---|---|---|---|"]
    for row in table.drop_duplicates(["claim", "profile"]).to_dict("records"):
        lines.append(f"| {row['claim']} | {_cell(row['statement'])} | {row['profile']} | {row['verdict']} |")
    return "\n".join(lines) + "\n"


_GLANCE = re.compile(r"(<!-- glance[^>]*-->\n).*?(<!-- end of glance -->)", re.DOTALL)


def with_glance(readme: str, root: Path | None = None) -> str:
    """Return a README with the table between its two `glance` comments made anew.

    >>> with_glance("no marks")
    Traceback (most recent call last):
    ...
    ValueError: the README has no `glance` comments: expected two, around the table of verdicts.
    """
    if not _GLANCE.search(readme):
        raise ValueError("the README has no `glance` comments: expected two, around the table of verdicts.")
    return _GLANCE.sub(lambda m: m.group(1) + glance_markdown(root) + m.group(2), readme)


def _has_page(page: str) -> bool:
    return (Path(__file__).resolve().parents[2] / "notebooks" / f"{page}.py").exists()


def _cell(text: str) -> str:
    return " ".join(str(text).split()).replace("|", "\\|")

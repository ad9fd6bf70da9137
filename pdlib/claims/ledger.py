"""Pages' results and the ledger: what was measured at which size, each claim in one word.

A page's result holds the values of its criteria, one per ancestry. Whoever reads it judges them again, so no stored verdict
can be stale.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from pdlib.claims.effects import Tables
from pdlib.claims.judge import (
    INCONCLUSIVE,
    NOT_JUDGED,
    NOT_REPRODUCED,
    NOT_RUN,
    Claim,
    Criterion,
    Judgement,
    locked,
    of_page,
    register,
)
from pdlib.published import Published, Record
from pdlib.store import Store
from pdlib.tables import mean_interval, prediction_interval

# judged profiles, the largest first; a smoke run shows the machinery, and no claim is judged on it
SIZES = {"paper": "paper's size", "desk": "reduced size", "laptop": "reduced size"}
MEASURED = [
    "criterion",
    "primary",
    "measured",
    "ancestries",
    "agreeing",
    "part_verdict",
]  # columns of a criterion
HEADLINES = (*(f"R{i}" for i in range(1, 8)), "Theorem 3.2")  # the paper's numbered results


def judge_page(
    page: str,
    profile: str,
    tables: Tables,
    records: Iterable[Record],
    store: Store | None = None,
    *,
    parameters: Mapping[str, object] | None = None,
    costs: Mapping[str, Mapping[str, float]] | None = None,
    edges: Sequence[str] = (),
    at_other_values: bool = False,
) -> pd.DataFrame:
    """Judge a page's claims on its tables, keep the result in the store, and return it as `verdict_table` does.

    `records` are the runs behind the tables, `parameters` those that the page ran at (it is published under a profile only
    if they are the profile's), `costs` what each part of the page cost, `edges` a sentence for each rate that was chosen at
    an end of its grid. A criterion whose tables are not there is "not run"; at smoke size, and at values that are no
    profile's, every verdict is "not judged". At such values a criterion is "not run" too if its tables lack the method or
    the setting that it names; else that is an error.
    """
    records, store = list(records), store or Store()

    def judged(criterion: Criterion) -> Judgement:
        try:
            return criterion.judge(tables)
        except ValueError:
            if not at_other_values:
                raise
            return Judgement(criterion, None)

    rows = [judged(c).row() for claim in of_page(page) for c in claim.criteria]
    seen = {
        key: sorted({str(r.provenance.get(key)) for r in records}) for key in ("machine", "commit", "date")
    }
    result: dict[str, Any] = {"page": page, "profile": profile, "edges": list(edges), "criteria": rows}
    result["parameters"] = None if parameters is None else dict(parameters)
    result["runs"] = [r.fingerprint for r in records]
    result["began"] = min((_began(r) for r in records), default=None)
    result["cost"] = {part: dict(values) for part, values in (costs or {}).items()}
    result |= {"machines": seen["machine"], "commits": seen["commit"]}
    result["dates"] = [seen["date"][0], seen["date"][-1]] if records else []
    store.save_page(page, profile, result, tables if profile in SIZES else {})
    return verdict_table(result)


def _began(record: Record) -> str:
    """Return when a run began, UTC: its date is that of its end."""
    ended = datetime.fromisoformat(str(record.provenance["date"]))
    took = timedelta(seconds=float(record.provenance.get("wall_s", 0.0)))
    return (ended - took).isoformat(timespec="seconds")


def judgements(result: Mapping[str, Any]) -> list[Judgement]:
    """Return the judgements of a page's result, each made again from its values."""
    return [Judgement.of_row(row) for row in result["criteria"]]


def asked(judgement: Judgement) -> str:
    """Return a criterion in words, with what its interval must clear."""
    criterion = judgement.criterion
    return f"{criterion.words} {'>' if criterion.side == 'above' else '<'} {criterion.threshold:g}"


def sized(judgement: Judgement, profile: str) -> str:
    """Return a verdict with the size at which it was reached: `reproduced (reduced size)`."""
    if judgement.verdict == NOT_RUN:
        return NOT_RUN
    return f"{judgement.verdict} ({'exact' if judgement.criterion.interval == 'exact' else SIZES[profile]})"


def remarks(judgement: Judgement, result: Mapping[str, Any], outdated: Collection[str] = ()) -> list[str]:
    """Return what a reader must know of a verdict beside it: runs that are older than the criterion, or of other code."""
    found, criterion = [], judgement.criterion
    if result["began"] and criterion.since > datetime.fromisoformat(result["began"]):
        found.append("judged after the fact")
    if (now := locked().get(criterion.title)) and now[1] != criterion.since:
        found.append("under an older criterion")
    return found + (["of an older version of the code"] if set(result["runs"]) & set(outdated) else [])


def _shown(judgement: Judgement) -> dict[str, Any]:
    """Return the columns that a judgement has in every table."""
    return {
        "criterion": asked(judgement),
        "primary": judgement.criterion.primary,
        "measured": str(judgement),
        "ancestries": 0 if judgement.frame is None else len(judgement.frame),
        "agreeing": judgement.agreeing,
        "part_verdict": judgement.verdict,
    }


def verdict_table(result: Mapping[str, Any]) -> pd.DataFrame:
    """Return a page's result as a table for reading, one row per criterion.

    Columns: `claim`, those of the criterion (`criterion`, `primary`, `measured`, `ancestries`, `agreeing`, `part_verdict`),
    and `verdict`, that of the claim, which is its primary criterion's.
    """
    judged, words, rows = result["profile"] in SIZES, {}, []
    for j in judgements(result):
        claim, row = j.criterion.claim, _shown(j)
        if not judged and j.verdict != NOT_RUN:
            row["part_verdict"] = (
                NOT_JUDGED if result["profile"] == "smoke" else f"other values: {NOT_JUDGED}"
            )
        if j.criterion.primary:
            notes = remarks(j, result) if judged and j.verdict != NOT_RUN else []
            word = sized(j, result["profile"]) if judged else row["part_verdict"]
            words[claim] = ", ".join([word, *notes])
        rows.append({"claim": claim} | row)
    table = pd.DataFrame(rows, columns=["claim", *MEASURED])
    return table.assign(verdict=table.claim.map(words))


def by_claim(verdicts: pd.DataFrame) -> pd.DataFrame:
    """Return what `judge_page` returns for reading, one row per claim."""
    return verdicts.loc[verdicts.primary, ["claim", "ancestries", "verdict"]].reset_index(drop=True)


def compare(published: Mapping[str, Any], new: Mapping[str, Any]) -> pd.DataFrame:
    """Return published and new numbers side by side, the new ones inside or outside their tolerance.

    The tolerance is the 95 % prediction interval that the published ancestries give for as many new ones as were run; of
    exact values, the range of the published cases, with the same verdict. Columns: `claim`, `part`, `published`, `new`,
    `low`, `high`, `inside`, `published_verdict`, `verdict`; one row per criterion and rival.
    """
    old = {j.criterion.title: j for j in judgements(published)}
    rows = []
    for j in judgements(new):
        before = old.get(j.criterion.title)
        if before is None or before.frame is None or j.frame is None:
            continue
        exact = j.criterion.interval == "exact"
        for rival in sorted(set(before.intervals) & set(j.intervals)):
            one, other = list(before.frame[rival]), list(j.frame[rival])
            if not one or not other:
                continue
            if exact:
                a, b = (judged.intervals[rival].mean for judged in (before, j))
            else:
                a, b = (mean_interval(values).mean for values in (one, other))
            low, high = (min(one), max(one)) if exact else prediction_interval(one, len(other))
            slack = 1e-9 * max(1.0, abs(a))  # a deviation of zero leaves no room for the last bit
            inside = bool(a == b or low - slack <= b <= high + slack)
            name = j.criterion.name + (f" ({rival})" if rival else "")
            row = {
                "claim": j.criterion.claim,
                "part": name,
                "published": a,
                "new": b,
                "low": low,
                "high": high,
            }
            row["inside"] = inside and (not exact or j.verdict == before.verdict)
            rows.append(row | {"published_verdict": before.verdict, "verdict": j.verdict})
    return pd.DataFrame(rows)


# ------------------------------------------------------------------------ ledger


def read_off(page: str) -> pd.DataFrame:
    """Return what we read off the paper's figures for a page: `figure`, `curve`, `step`, `quantity`, `value`.

    >>> read_off("parity").query("curve == 'teacher'").value.tolist()
    [0.53, 0.75, 0.9, 0.965, 1.0]
    """
    rows = yaml.safe_load(Path(__file__).with_name("read_off.yaml").read_text(encoding="utf-8"))
    return pd.DataFrame(rows[page])


def ledger(root: Path | None = None, outdated: Collection[str] = ()) -> pd.DataFrame:
    """Return every claim of the paper with its verdicts: one row per claim, profile (the largest first) and criterion.

    Columns: `claim`, `statement`, `source`, `page`, `profile`, `judged` (the `Judgement`), those of the criterion (see
    `verdict_table`); of the claim
    at this profile `verdict` (one word and the size), `remarks`, `cause` (why it is not reproduced, or not decided) and
    `settles` (the run that would change our mind). A claim without a result is "not run". `root` is the folder of published
    results, `outdated` the fingerprints of those that other code wrote (`Store.outdated`): a verdict on them says so.
    """
    published, claims = Published(root), register()
    sizes = [(page, profile) for page in {c.page for c in claims} for profile in SIZES]
    results = {size: published.page(*size) or {"criteria": []} for size in sizes}
    judged = {size: judgements(result) for size, result in results.items()}
    return pd.DataFrame(row for claim in claims for row in _rows_of(claim, results, judged, outdated))


def _rows_of(
    claim: Claim,
    results: Mapping[tuple[str, str], dict[str, Any]],
    judged: Mapping[tuple[str, str], Sequence[Judgement]],
    outdated: Collection[str],
) -> list[dict[str, Any]]:
    base = {"claim": claim.id, "statement": claim.statement, "source": claim.source, "page": claim.page}
    rows: list[dict[str, Any]] = []
    for profile in SIZES:
        result = results[claim.page, profile]
        mine = [j for j in judged[claim.page, profile] if j.criterion.claim == claim.id]
        primary = next((j for j in mine if j.criterion.primary), None)
        if primary is None or primary.verdict == NOT_RUN:
            continue
        notes = remarks(primary, result, outdated) + list(result.get("edges", []))
        why = claim.open.get(profile, {}) if primary.verdict in (INCONCLUSIVE, NOT_REPRODUCED) else {}
        of_claim = {"verdict": sized(primary, profile), "remarks": "; ".join(notes)}
        of_claim |= {key: why.get(key, "") for key in ("cause", "settles")}
        rows += [base | {"profile": profile, "judged": j} | _shown(j) | of_claim for j in mine]
    if rows:
        return rows
    empty: dict[str, Any] = dict.fromkeys(
        ("profile", "criterion", "measured", "remarks", "cause", "settles"), ""
    )
    empty |= {"primary": True, "judged": None, "ancestries": 0, "agreeing": 0, "part_verdict": NOT_RUN}
    return [base | empty | {"verdict": "illustration" if claim.illustration else NOT_RUN}]


def at_a_glance(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per claim of the ledger, at the largest size run, the paper's numbered results first.

    Columns: `claim`, `the paper says`, `measured` (our effect with its interval), `agree` (ancestries), `verdict`, `cause`,
    `remarks`, `page`.
    """
    first = table[table.primary].drop_duplicates("claim")
    rank = first.claim.map(lambda name: HEADLINES.index(name) if name in HEADLINES else len(HEADLINES))
    first = first.iloc[rank.argsort(kind="stable")]
    agree = [f"{a} of {n}" if n else "" for a, n in zip(first.agreeing, first.ancestries, strict=True)]
    shown = first.rename(columns={"statement": "the paper says"}).assign(agree=agree)
    columns = ["claim", "the paper says", "measured", "agree", "verdict", "cause", "remarks", "page"]
    return shown[columns].reset_index(drop=True)

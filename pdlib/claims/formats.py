"""The ledger for machines: Paper Spec, paper.json, a PaperBench rubric with grades, and an RO-Crate of published runs.

All of it follows from the register, `relations.yaml` and the published results, so that nothing can be stale. The formats:
https://github.com/spectralbranding/paper-spec (0.1.0), https://github.com/arquicanedo/paper-json (0.2.0-draft), PaperBench
(arXiv:2504.01848), https://w3id.org/ro/crate/1.3 with https://w3id.org/ro/wfrun/process/0.6.
"""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Collection, Iterable
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd
import yaml

import pdlib
from pdlib.claims.judge import (
    INCONCLUSIVE,
    NOT_REPRODUCED,
    NOT_RUN,
    REPRODUCED,
    Claim,
    Criterion,
    RegisterError,
    register,
)
from pdlib.claims.ledger import SIZES, ledger
from pdlib.files import json_bytes, sha256, write_bytes
from pdlib.published import Published

CRATE = "ro-crate-metadata.json"
RELATIONS = Path(__file__).with_name("relations.yaml")
TITLE, PAPER = "The progressive-distillation companion", "https://arxiv.org/abs/2410.05464"
AUTHORS, LICENSE = "The companion's authors", "https://spdx.org/licenses/CC-BY-4.0"
STATUS = {
    REPRODUCED: "supported",
    NOT_REPRODUCED: "refuted",
    INCONCLUSIVE: "inconclusive",
    NOT_RUN: "not_tested",
}
ENCODINGS = {
    "parquet": "application/vnd.apache.parquet",
    "json": "application/json",
    "yaml": "application/yaml",
}
ABSTRACT = (
    'Runs the experiments of "Progressive distillation induces an implicit curriculum" (Panigrahi, Liu, Malladi, Risteski, '
    "Goel; ICLR 2025, arXiv:2410.05464) again, and judges each of its claims by criteria with registered thresholds."
)
Row: TypeAlias = dict[str, Any]


def short_id(claim: str) -> str:
    """Return a claim's name in every format but paper.json.

    >>> short_id("Lemma B.5 (item 1, as printed)"), short_id("R2 (Transformer)")
    ('lemma-b-5-item-1-as-printed', 'r2-transformer')
    """
    return re.sub(r"[^a-z0-9]+", "-", claim.lower()).strip("-")


def numbers(path: Path = RELATIONS) -> dict[str, str]:
    """Return the claims' names in paper.json, which must be C and a number: a place in a list that only grows.

    >>> numbers()["R1"], numbers()["Theorem 3.2"]
    ('C1', 'C10')
    """
    return {claim: f"C{i}" for i, claim in enumerate(_data(path)["numbers"], 1)}


def relations(path: Path = RELATIONS) -> list[tuple[str, str, str]]:
    """Return the relations between claims: a claim, `needs`, `shows`, `repeats` or `corrects`, another claim.

    Raises
    ------
    RegisterError
        If a relation names no claim of the register, or claims need each other in a circle.

    Examples
    --------
    >>> ("R2", "needs", "R1") in relations()
    True
    """
    found = [
        (claim, kind, other)
        for kind, rows in _data(path)["relations"].items()
        for claim, others in rows.items()
        for other in others
    ]
    known = {claim.id for claim in register()}
    for claim, kind, other in found:
        if unknown := {claim, other} - known:
            raise RegisterError(f"{claim} {kind} {other}: {unknown.pop()!r} is no claim of the register.")
    needs = [(claim, other) for claim, kind, other in found if kind == "needs"]
    try:
        TopologicalSorter({c: [b for a, b in needs if a == c] for c, _ in needs}).prepare()
    except CycleError as error:
        raise RegisterError(f"claims that need each other: {' needs '.join(error.args[1])}.") from error
    return found


@cache
def _data(path: Path) -> Row:
    found: Row = yaml.safe_load(path.read_text("utf-8"))
    return found


# ------------------------------------------------------------------------ what the formats share


def _by_claim(table: pd.DataFrame) -> list[tuple[Claim, list[Row]]]:
    """Return each claim with what was measured of it, the largest size first."""
    found: dict[str, list[Row]] = {claim.id: [] for claim in register()}
    for row in table[table.judged.notna()].to_dict("records"):
        found[row["claim"]].append(_measured({str(name): value for name, value in row.items()}))
    return [(claim, found[claim.id]) for claim in register()]


def _measured(row: Row) -> Row:
    criterion, found = row["judged"].criterion, row["judged"].interval
    kept = {name: row[name] for name in ("profile", "measured", "ancestries", "agreeing", "remarks", "cause")}
    return kept | {
        "criterion": criterion.name,
        "primary": criterion.primary,
        "size": "exact" if criterion.interval == "exact" else SIZES[row["profile"]],
        "status": STATUS[row["part_verdict"]],
        "effect": _number(found.mean),
        "interval": [_number(found.low), _number(found.high)],
        "rival": row["judged"].closest,
    }


def _number(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None  # JSON has no infinity


def _status(rows: list[Row]) -> str:
    """Return the word of a claim at the largest size run."""
    return next((str(row["status"]) for row in rows if row["primary"]), STATUS[NOT_RUN])


def _asks(criterion: Criterion) -> str:
    return f"{'>' if criterion.side == 'above' else '<'} {criterion.threshold:g}"


# ------------------------------------------------------------------------ the formats


def paper_yaml(table: pd.DataFrame, date: str) -> Row:
    """Return a ledger as Paper Spec has it, as of a day."""
    claims, acceptance, results = [], [], []
    for claim, rows in _by_claim(table):
        at = {"claim_id": short_id(claim.id)}
        needs = [short_id(other) for one, kind, other in relations() if (one, kind) == (claim.id, "needs")]
        said: Row = {
            "id": short_id(claim.id),
            "type": _type(claim),
            "statement": f"{claim.id}: {claim.statement}",
        }
        said |= {"testable": bool(claim.criteria), "status": _status(rows)}
        claims.append(said | ({"depends_on": needs} if needs else {}))
        for c in claim.criteria:
            fails = "The interval lies on the other side of the threshold, against one rival at least."
            fails = "One case is on the other side." if c.interval == "exact" else fails
            asked = {"criterion": f"{c.name}: {c.words}", "threshold": _asks(c), "falsification": fails}
            acceptance.append(at | asked)
        for row in rows:
            notes = [
                row["criterion"],
                "decides the claim" if row["primary"] else "",
                f"profile {row['profile']}",
            ]
            notes += [row["size"], f"{row['agreeing']} of {row['ancestries']} agree", row["remarks"]]
            notes += [f"cause: {row['cause']}" if row["cause"] else ""]
            found = {
                "effect_size": row["measured"].split(" [")[0],
                "confidence_interval": str(row["interval"]),
            }
            status = at | {"status": row["status"], "notes": "; ".join(filter(None, notes))}
            results.append(status | (found if row["ancestries"] else {}))
    meta = {"title": TITLE, "authors": [AUTHORS], "date": date, "version": pdlib.__version__}
    return {
        "meta": meta | {"license": "CC-BY-4.0", "abstract": ABSTRACT},
        "claims": claims,
        "acceptance": acceptance,
        "results": results,
        "dependencies": [{"reference": PAPER, "relationship": "tests", "critical": True}],
        "limitations": [{"description": f"Not claimed: {text}"} for text in _data(RELATIONS)["not_claimed"]],
    }


def _type(claim: Claim) -> str:
    known = dict.fromkeys(("Lemma", "Claim", "Corollary", "Proposition"), "proposition")
    return (known | {"Theorem": "theorem"}).get(claim.id.split()[0], "hypothesis")


def paper_json(table: pd.DataFrame) -> Row:
    """Return a ledger as paper.json has it; what that cannot say stands in `x_companion`, by the claims' numbers."""
    number, claims, more = numbers(), [], {}
    for claim, rows in _by_claim(table):
        at = number[claim.id]
        evidence = [f"{row['profile']}: {row['criterion']}: {row['measured']}" for row in rows]
        said = {"id": at, "statement": f"{claim.id}: {claim.statement}"}
        claims.append(said | ({"evidence": evidence} if evidence else {}))
        criteria = ("name", "words", "side", "threshold", "primary", "interval")
        more[at] = {
            "register_id": claim.id,
            "short_id": short_id(claim.id),
            "source": claim.source,
            "page": claim.page,
            "status": _status(rows),
            "size": next((row["size"] for row in rows if row["primary"]), ""),
            "criteria": [
                {name: getattr(c, name) for name in criteria} | {"registered": c.since.isoformat()}
                for c in claim.criteria
            ],
            "results": rows,
            "relations": [{"type": k, "target": number[b]} for a, k, b in relations() if a == claim.id],
        }
    run = table[table.judged.notna()][["page", "profile"]].drop_duplicates().itertuples(index=False)
    commands = [f"make reproduce PROFILE={profile} PAGE={page}" for page, profile in run]
    return {
        "id": "progressive-distillation-companion",
        "title": TITLE,
        "version": pdlib.__version__,
        "status": "draft",
        "authors": [{"name": AUTHORS}],
        "abstract": ABSTRACT,
        "claims": sorted(claims, key=lambda c: int(c["id"][1:])),
        "does_not_claim": _data(RELATIONS)["not_claimed"],
        "reproducibility": {
            "environment": "Python 3.11 to 3.13; packages as constraints.txt pins them",
            "commands": commands or ["make book"],
            "human_intervention_required": False,
        },
        "x_companion": more,
    }


def rubric(table: pd.DataFrame) -> Row:
    """Return a ledger as a rubric of PaperBench with our grades in it.

    Of each claim a leaf for its runs and one for each criterion, with weight 2 for that which decides. Grades are those of
    the largest size run: 1 for what is reproduced, else 0; a parent has the mean of its children by weight.
    """
    claims = [(claim, rows) for claim, rows in _by_claim(table) if claim.criteria]
    pages = [
        _parent(
            f"page-{short_id(page)}",
            f"The claims that the page {page} judges are tested.",
            [_tested(claim, rows) for claim, rows in claims if claim.page == page],
        )
        for page in dict.fromkeys(claim.page for claim, _ in claims)
    ]
    return _parent("companion", f"The claims of {PAPER} are tested, and their outcomes agree with it.", pages)


def _tested(claim: Claim, rows: list[Row]) -> Row:
    at, first = short_id(claim.id), {r["criterion"]: r for r in rows if r["profile"] == rows[0]["profile"]}
    asks = "The runs that judge this claim have been made, at a size at which claims are judged."
    of, why = ("Code Execution", "Experimental Setup"), f"profile {rows[0]['profile']}" if rows else NOT_RUN
    leaves = [_leaf(f"{at}-run", asks, 1, of, bool(rows), why)]
    for c in claim.criteria:
        row = first.get(c.name, {"status": STATUS[NOT_RUN], "measured": ""})
        of, why = (
            ("Result Analysis", "Evaluation, Metrics & Benchmarking"),
            row["status"] + f": {row['measured']}",
        )
        holds = row["status"] == STATUS[REPRODUCED]
        leaves.append(
            _leaf(f"{at}-{short_id(c.name)}", f"{c.words} {_asks(c)}", 1 + c.primary, of, holds, why)
        )
    return _parent(at, f"{claim.id}: {claim.statement}", leaves)


def _leaf(at: str, asks: str, weight: int, of: tuple[str, str], holds: bool, why: str) -> Row:
    node = {"id": at, "requirements": asks, "weight": weight, "sub_tasks": [], "task_category": of[0]}
    return node | {"finegrained_task_category": of[1]} | _grade(int(holds), why)


def _parent(at: str, asks: str, children: list[Row]) -> Row:
    score = sum(c["weight"] * c["score"] for c in children) / sum(c["weight"] for c in children)
    node = {"id": at, "requirements": asks, "weight": 1, "sub_tasks": children, "task_category": None}
    return node | {"finegrained_task_category": None} | _grade(score, "the mean of its parts, by weight")


def _grade(score: float, why: str) -> Row:
    return {"score": score, "valid_score": True, "explanation": why, "judge_metadata": None}


def crate(folder: Path, files: Iterable[str], published: Published) -> Row:
    """Return the RO-Crate of some files of a folder, those of published pages among them: each page's run is an action."""
    authors, entities, actions = {"@id": "#authors"}, list[Row](), list[Row]()
    for name in files:
        data, kind = (folder / name).read_bytes(), ENCODINGS[name.rpartition(".")[2]]
        said = {"@id": name, "@type": "File", "name": name, "encodingFormat": kind}
        entities.append(said | {"contentSize": str(len(data)), "sha256": sha256(data)})
    for page, profile in published.pages():
        result, run = published.page(page, profile) or {}, f"{page}-{profile}"
        where = f"on {', '.join(result['machines'])}; commits {', '.join(result['commits'])}"
        action: Row = {"@id": f"#{run}", "@type": "CreateAction", "name": f"{page}, profile {profile}"}
        action |= {"description": f"python -m pdlib run {page} --profile {profile}; {where}"}
        action |= {"instrument": {"@id": "#pdlib"}, "agent": authors}
        action |= {"startTime": result["began"], "endTime": result["dates"][-1]}
        action |= {"actionStatus": "http://schema.org/CompletedActionStatus"}
        made = [{"@id": entity["@id"]} for entity in entities if entity["@id"].startswith(f"{run}/")]
        actions.append(action | {"result": made})
    base, profile = "https://w3id.org/ro/crate/1.3", "https://w3id.org/ro/wfrun/process/0.6"
    whole: Row = {"@id": "./", "@type": "Dataset", "name": TITLE, "description": ABSTRACT, "author": authors}
    whole |= {"datePublished": _date(published), "license": {"@id": LICENSE}, "publisher": authors}
    whole |= {"hasPart": [{"@id": entity["@id"]} for entity in entities], "conformsTo": {"@id": profile}}
    whole |= {"mentions": [{"@id": action["@id"]} for action in actions]}
    about: Row = {"@id": CRATE, "@type": "CreativeWork", "conformsTo": {"@id": base}, "about": {"@id": "./"}}
    code = {"@id": "#pdlib", "@type": "SoftwareApplication", "name": "pdlib", "version": pdlib.__version__}
    others: list[Row] = [
        code | {"url": PAPER},  # of what it examines; its own address is the repository's
        {"@id": profile, "@type": ["CreativeWork", "Profile"], "name": "Process Run Crate", "version": "0.6"},
        {"@id": LICENSE, "@type": "CreativeWork", "name": "CC BY 4.0", "description": "Attribution 4.0"},
        {"@id": "#authors", "@type": "Organization", "name": AUTHORS},
    ]
    context = [f"{base}/context", {"sha256": "https://schema.org/sha256"}]
    return {"@context": context, "@graph": [about, whole, *others, *actions, *entities]}


def _date(published: Published) -> str:
    """Return the day on which the newest published run ended."""
    results = [published.page(*page) for page in published.pages()]
    return max((str(end)[:10] for r in results if r for end in r["dates"]), default="1970-01-01")


def export(folder: Path, root: Path | None = None, outdated: Collection[str] = ()) -> list[Path]:
    """Write all formats into a folder, with copies of the published results that they speak of; return the files.

    `root` and `outdated` are those of `ledger`.

    Raises
    ------
    StoreError
        If the folder cannot be written.
    """
    published, table = Published(root), ledger(root, outdated)
    text = yaml.safe_dump(paper_yaml(table, _date(published)), sort_keys=False, allow_unicode=True, width=110)
    contents = {
        "paper.yaml": f"# paper.yaml, Paper Spec 0.1.0\n{text}".encode(),
        "paper.json": json_bytes(paper_json(table)),
        "rubric.json": json_bytes(rubric(table)),
    }
    for name, data in contents.items():
        write_bytes(folder / name, data)
    files = [*contents]
    for page in map("-".join, published.pages()):
        shutil.copytree(published.root / page, folder / page, dirs_exist_ok=True)
        there = (path for path in sorted((published.root / page).rglob("*")) if path.is_file())
        files += [path.relative_to(published.root).as_posix() for path in there]
    write_bytes(folder / CRATE, json_bytes(crate(folder, files, published)))
    return [folder / name for name in (*contents, CRATE)]

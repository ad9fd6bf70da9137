"""The ledger as it is read: verdicts as chips, effects as strips, claims that open, the README's table.

A chip has its word and a sign beside its color; a strip stands beside it (`rejudged`). All of it is plain HTML that a page
without scripts shows too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Hashable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd

from pdlib.claims.judge import (
    CHECKS,
    INCONCLUSIVE,
    NOT_JUDGED,
    NOT_REPRODUCED,
    NOT_RUN,
    REPRODUCED,
    Claim,
    register,
)
from pdlib.claims.ledger import HEADLINES, at_a_glance, ledger
from pdlib.claims.rejudged import legend, measured, rejudge

SIGNS = {REPRODUCED: "✓", NOT_REPRODUCED: "✗", INCONCLUSIVE: "?", NOT_RUN: "–", NOT_JUDGED: "–"}
PAGES = {  # in the book's order, as headings of the ledger
    "parity": "Sparse parity with an MLP",
    "parity_transformers": "Sparse parity with attention heads",
    "hierarchical": "Hierarchical parity",
    "pcfg": "BERT on a grammar",
    "wiki": "BERT on an encyclopedia and books",
    "gpt2": "GPT-2 on a grammar",
    "theory": "Theory",
    "checkpoints": "Beyond the paper: do you need the checkpoints?",
}


Row: TypeAlias = Mapping[Hashable, Any]  # of the ledger


class Shown(str):
    """HTML that a page shows as it is."""

    def _repr_html_(self) -> str:
        """IPython's hook."""
        return str(self)


def anchor(claim: str) -> str:
    """Return where the ledger has a claim.

    >>> anchor("Figure 1 (left)")
    'claim-figure-1-left'
    """
    return "claim-" + re.sub(r"[^a-z0-9]+", "-", claim.lower()).strip("-")


def chip(verdict: str) -> str:
    """Return a verdict as a chip; what follows the word, such as the size, stands beside it.

    >>> chip("reproduced (paper's size)")
    "<span class='pd-chip pd-reproduced'>✓ reproduced</span> <span class='pd-quiet'>paper&#x27;s size</span>"
    """
    word, _, size = verdict.partition(" (")
    kind = word.replace(" ", "-")
    beside = f" <span class='pd-quiet'>{escape(size.removesuffix(')'))}</span>" if size else ""
    return (
        f"<span class='pd-chip pd-{kind}'>{SIGNS.get(word, '')} {escape(word)}</span>".replace("> ", ">")
        + beside
    )


def _quiet(*notes: str) -> str:
    return "".join(f"<span class='pd-quiet'>{escape(note)}</span>" for note in notes if note)


def beside(*claims: str, root: Path | None = None, above: bool = False) -> Shown:
    """Return the published verdicts of claims at their largest size, each with what was measured: for a page's sections.

    Each is a link to the claim's row in the ledger, and the place to which that row leads back; `above`, at the top of a
    page, each leads down to that place. `Lemma B.5` names all its parts.
    """
    first = largest(ledger(root))
    parts = {
        name: [name] if name in first else [c for c in first if c.startswith(f"{name} (")] for name in claims
    }
    if unknown := [name for name, found in parts.items() if not found]:
        raise ValueError(f"claims {unknown}: expected names of the register, such as R1 or Figure 2.")
    rows = (_line(first[c], above) for found in parts.values() for c in found)
    return Shown(f"<div class='pd-verdicts'>{''.join(rows)}</div>")


def _line(row: Row, above: bool) -> str:
    at, name = anchor(row["claim"]), escape(row["claim"])
    said = row["measured"] and f"published: {legend(row['measured'])}"  # beside a reader's own run
    start = (
        f"<p><a href='#shown-{at}'>" if above else f"<p id='shown-{at}'><a href='../book/claims.html#{at}'>"
    )
    return f"{start}{name}</a> {chip(row['verdict'])} {_quiet(said)}</p>"


def movable(shown: str, first: Mapping[str, Row]) -> str:
    """Return what `beside` showed with verdicts that can be moved: as `first`, of `largest`, has them now.

    The book does so when it is staged: the references of pages stay short, and no older verdict stands in it.
    """
    rows = {anchor(claim): row for claim, row in first.items()}

    def line(found: re.Match[str]) -> str:
        if not (row := rows.get(found["claim"])):
            return found[0]  # of a register that has since changed
        return f"<div class='pd-verdict'>{_line(row, not found['place'])}{rejudge(row['judged'])}</div>"

    return re.sub(
        r"<p(?P<place> id='shown-[^']*')?><a href='[^'#]*#(shown-)?(?P<claim>claim-[^']*)'>.*?</p>",
        line,
        shown,
    )


def folded(title: str, table: pd.DataFrame) -> Shown:
    """Return a table that opens on a click on its title; its texts are shown as they are.

    >>> folded("Rates", pd.DataFrame({"rate": [0.1]})).partition("<div")[0]
    "<details class='pd-fold'><summary>Rates</summary>"
    """
    shown = table.to_html(index=table.index.name is not None, classes="pd-table", border=0)
    return Shown(
        f"<details class='pd-fold'><summary>{escape(title)}</summary><div class='pd-wide'>{shown}</div></details>"
    )


def by_criterion(verdicts: pd.DataFrame) -> Shown:
    """Return what `judge_page` returns for reading, folded: one row per criterion, with what was measured."""
    shown = verdicts.assign(
        claim=verdicts.claim.where(~verdicts.claim.duplicated(), ""),
        decides=verdicts.primary.map({True: "✓", False: ""}),
    )
    columns = ["claim", "criterion", "decides", "measured", "ancestries", "agreeing", "part_verdict"]
    return folded(
        "Every criterion, with what was measured", shown[columns].rename(columns={"part_verdict": "verdict"})
    )


def largest(table: pd.DataFrame) -> dict[str, Row]:
    """Return the row of each claim's primary criterion at the largest size run, by claim."""
    return {row["claim"]: row for row in table[table.primary].drop_duplicates("claim").to_dict("records")}


def numbered_results(table: pd.DataFrame, shown: Mapping[str, str]) -> str:
    """Return the paper's numbered results as rows: claim, effect with its interval, verdict, size, cause.

    Each is a link to where a page shows it, if `shown` names that page, else to the top of the claim's page.
    """
    first = largest(table)
    rows = []
    for claim in HEADLINES:
        row = first[claim]
        notes = _quiet(row["cause"] and f"cause: {row['cause']}", row["remarks"])
        rows.append(
            f"<div class='pd-result'><a class='pd-name' href='{_place(claim, row['page'], shown)}'>{escape(claim)}</a>"
            f"<span class='pd-says'>{escape(row['statement'])}</span>"
            f"<div class='pd-effect'>{_quiet(legend(row['measured']))}{rejudge(row['judged'])}</div>"
            f"<span class='pd-word'>{chip(row['verdict'])}{notes}</span></div>"
        )
    return f"<div class='pd-results'>{''.join(rows)}</div>"


def _place(claim: str, page: str, shown: Mapping[str, str]) -> str:
    return f"../notebooks/{shown.get(claim, page)}.html" + (
        f"#shown-{anchor(claim)}" if claim in shown else ""
    )


# ------------------------------------------------------------------------ the ledger's page


_INTRODUCTION = """\
# Claims

Every claim of the paper. One criterion, the paper's statement in its own terms, gives a claim its word; further criteria are
listed with it and do not change it. Effects are means over ancestries with 95 % intervals; against several rivals the one
nearest to failing is shown, and the intervals are corrected for their number. Where a statement is exact, the worst of its
cases is shown: one that fails refutes it. How verdicts are reached stands in {doc}`notation`.

For machines: <a href='../_static/ledger/paper.yaml'>paper.yaml</a>, <a href='../_static/ledger/paper.json'>paper.json</a>,
a <a href='../_static/ledger/rubric.json'>rubric</a> with grades, and the published runs as an
<a href='../_static/ledger/ro-crate-metadata.json'>RO-Crate</a>."""

_FILTER = """\
<form class='pd-filter' hidden>
<label>verdict <select name='verdict'><option value=''>all</option><option>reproduced</option><option>not reproduced</option>
<option>inconclusive</option></select></label>
<label>size <select name='size'><option value=''>all</option><option>paper</option><option>desk</option>
<option>laptop</option></select></label>
<label>text <input type='search' name='text'></label> <output></output></form>"""


def ledger_markdown(
    root: Path | None = None, outdated: Collection[str] = (), shown: Mapping[str, str] | None = None
) -> str:
    """Return the page of the book that shows the ledger, generated from the pages' results.

    `shown` says of each claim that a page shows at a place of its own, on which.
    """
    table, known, shown = ledger(root, outdated), {claim.id: claim for claim in register()}, shown or {}
    run = table[table.measured != ""]
    lines = [
        *_INTRODUCTION.splitlines(),
        "",
        "## The paper's numbered results",
        "",
        numbered_results(table, shown),
        "",
    ]
    lines += ["## All claims", "", _counts(table), "", " ".join(_FILTER.split("\n")), ""]
    for page, title in PAGES.items():
        group = run[run.page == page]
        lines += [f"### {title}", ""]
        for claim, rows in group.groupby("claim", sort=False):
            lines += [_claim(known[str(claim)], rows.to_dict("records"), shown), ""]
        left = table[(table.page == page) & (table.measured == "") & table.primary]
        left = left[~left.claim.isin(run.claim)]
        if len(left):
            names = ", ".join(f"<span id='{anchor(c)}'>{escape(c)}</span>" for c in left.claim)
            lines += [f"<p class='pd-quiet'>Not run, or an illustration: {names}.</p>", ""]
    return "\n".join(lines) + "\n"


def _counts(table: pd.DataFrame) -> str:
    words = Counter(row["verdict"].partition(" (")[0] for row in largest(table).values())
    order = [w for w in (REPRODUCED, INCONCLUSIVE, NOT_REPRODUCED, NOT_RUN) if w in words]
    return "<p>" + ", ".join(f"{chip(w)} {words[w]}" for w in order) + " at the largest size run.</p>"


def _claim(claim: Claim, rows: Sequence[Row], shown: Mapping[str, str]) -> str:
    """Return a claim that opens: its verdict in the line, everything else inside."""
    heads = {row["profile"]: row for row in rows if row["primary"]}
    first = next(iter(heads.values()), rows[0])
    at_first = [row for row in rows if row["profile"] == first["profile"]]
    failed = "; ".join(row["criterion"] for row in at_first if row["part_verdict"] == NOT_REPRODUCED)
    where = f"<a href='{_place(claim.id, claim.page, shown)}'>where the page shows it</a>"
    parts = [f"<p>{escape(claim.statement)} {_quiet(claim.source)}; {where}.</p>"]
    parts += [f"<blockquote>{escape(claim.quote)}</blockquote>"] if claim.quote else []
    for profile, head in heads.items():
        notes = "; ".join(filter(None, (head["remarks"], head["cause"] and f"cause: {head['cause']}")))
        settles = f" What would settle it: {head['settles']}." if head["settles"] else ""
        parts.append(f"<p><strong>{profile}</strong> {chip(head['verdict'])} {escape(notes + settles)}</p>")
        parts.append(_criteria([row for row in rows if row["profile"] == profile]))
    if claim.checks and first["cause"] == "contradicted":
        checks = "".join(
            f"<li><strong>{CHECKS[k]}</strong>: {escape(t)}</li>" for k, t in claim.checks.items()
        )
        parts.append(
            f"<details><summary>What was checked before we say so</summary><ul>{checks}</ul></details>"
        )
    word = first["verdict"].partition(" (")[0]
    return (
        f"<details class='pd-claim' id='{anchor(claim.id)}' data-verdict='{word}' data-size='{first['profile']}'>"
        f"<summary>{chip(first['verdict'])} <strong>{escape(claim.id)}</strong> "
        f"<span class='pd-says'>{escape(claim.statement)}</span> "
        f"{_quiet(legend(first['measured']), failed and f'failed: {failed}')}</summary>{''.join(parts)}</details>"
    )


def _criteria(rows: Sequence[Row]) -> str:
    """Return the criteria of a claim at one size with what was measured, the one that decides first."""
    lines = "".join(
        f"<li class='pd-verdict{' pd-primary' if row['primary'] else ''}'><p>{chip(row['part_verdict'])} "
        f"{escape(row['criterion'])} {_quiet(measured(row['judged']))}</p>{rejudge(row['judged'])}</li>"
        for row in sorted(rows, key=lambda row: not row["primary"])
    )
    return f"<ul class='pd-criteria'>{lines}</ul>"


# ------------------------------------------------------------------------ the README's table


def glance_markdown(root: Path | None = None) -> str:
    """Return the paper's numbered results with their verdicts, as the table of the README."""
    table = at_a_glance(ledger(root))
    table = table[table.claim.isin(HEADLINES)]
    if (table.verdict == NOT_RUN).all():
        return "No page has published results.\n"
    notes = [f"; {note}" if note else "" for note in table.remarks]
    said = [legend(text) for text in table.measured]
    table = table.assign(verdict=table.verdict + notes, measured=said)
    shown = table[["claim", "the paper says", "measured", "agree", "verdict", "cause"]]
    return "\n".join(_markdown(shown)) + "\n"


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


def _markdown(table: pd.DataFrame) -> list[str]:
    """Return the lines of a table in Markdown, whose texts are shown as they are."""
    rows: Sequence[Sequence[Any]] = [list(table.columns), *table.to_numpy().tolist()]
    lines = ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]
    return [lines[0], "| " + " | ".join(["---"] * len(table.columns)) + " |", *lines[1:]]


_MARKUP = re.compile(r"([\\`*<$&~|]|(?<!\w)_|_(?!\w)|\](?=[(\[:]))")


def _cell(text: Any) -> str:
    """Return a text for a cell: on one line, and no part of it read as markup.

    >>> print(_cell("M_robust < 1 [0, 2] | <b> _a_"))
    M_robust \\< 1 [0, 2] \\| \\<b> \\_a\\_
    """
    return _MARKUP.sub(r"\\\1", " ".join(str(text).split()))

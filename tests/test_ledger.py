"""Pages' results are kept as values and judged again when they are read; the ledger shows every claim once."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tiny
from markdown_it import MarkdownIt

from pdlib import claims, pages
from pdlib.claims.rejudged import strip
from pdlib.files import DamagedError, table_bytes
from pdlib.published import Published, Record
from pdlib.store import Store

ROOT = Path(__file__).parents[1]
CANDIDATES = ("two_checkpoint_middle", "two_checkpoint_before", "two_checkpoint_after")
METHODS = (*CANDIDATES, "progressive", "one_shot", "one_shot_hard", "cross_entropy")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path, published=None)


def students(fast: tuple[str, ...] = ("two_checkpoint_middle", "progressive")) -> dict[str, pd.DataFrame]:
    rows = [
        (m, s, step, 0.99 + 0.001 * s if step and m in fast else 0.5 + 0.001 * s)
        for m in METHODS
        for s in range(5)
        for step in (0, 10, 20)
    ]
    return {"students": pd.DataFrame(rows, columns=["method", "seed", "step", "accuracy"])}


def record(date: str = "2099-01-01T00:00:10+00:00", wall_s: float = 10.0) -> Record:
    provenance = {"date": date, "wall_s": wall_s, "commit": "0" * 40, "machine": "a machine", "cpu_s": 1.0}
    return Record(tiny.training(), pd.DataFrame(), provenance, "local")


def judged(
    store: Store,
    *records: Record,
    page: str = "parity",
    profile: str = "laptop",
    edges: Sequence[str] = (),
    **tables: Any,
) -> pd.Series[str]:
    """The words of a page that is judged and published, in the folder `published` of the store."""
    found = records or (record(),)
    shown = claims.judge_page(page, profile, tables or students(), found, store, edges=edges)
    if profile != "smoke":
        result, kept = store.load_page(page, profile), store.page_tables(page, profile)
        Published(store.root / "published").write_page(page, profile, [], result, kept)
    return shown[shown.primary].set_index("claim").verdict


def page_of(store: Store, profile: str = "laptop") -> dict[str, Any]:
    found = store.load_page("parity", profile)
    assert found is not None
    return found


def test_a_verdict_carries_its_size_and_a_claim_without_tables_is_not_run(store: Store) -> None:
    found = judged(store)
    assert found["R2"] == "reproduced (reduced size)"
    assert found["Figure 7 (left)"] == "not run"
    assert judged(store, profile="desk")["R2"] == "reproduced (reduced size)"
    assert judged(store, profile="paper")["R2"] == "reproduced (paper's size)"
    assert set(judged(store, profile="smoke")) == {"not judged", "not run"}
    assert set(judged(store, profile="other")) == {"other values: not judged", "not run"}


def test_at_a_readers_own_values_a_criterion_whose_method_is_not_there_is_not_run(store: Store) -> None:
    frame = students()["students"]
    without = {"students": frame[frame.method != "two_checkpoint_after"]}
    found = claims.judge_page("parity", "smoke", without, [record()], store, at_other_values=True)
    words = "log2 of each one-shot"  # of the criterion that needs other methods
    rows = found[found.claim == "R2"]
    assert set(rows.part_verdict) == {"not run", "not judged"}
    assert rows[rows.criterion.str.startswith(words)].part_verdict.tolist() == ["not judged"]
    with pytest.raises(
        ValueError, match=r"its tables lack .*two_checkpoint_after"
    ):  # the control: a profile's values
        claims.judge_page("parity", "laptop", without, [record()], store)


def test_runs_that_began_before_their_criterion_are_judged_after_the_fact(store: Store) -> None:
    (r2,) = (c for c in claims.of_page("parity") if c.id == "R2")
    since = r2.primary.since.isoformat()
    late = "reproduced (reduced size), judged after the fact"
    assert judged(store, record(since, wall_s=1.0))["R2"] == late
    assert judged(store, record(), record(since, wall_s=1.0))["R2"] == late
    assert judged(store, record(since, wall_s=0.0))["R2"] == "reproduced (reduced size)"


def test_a_stored_verdict_is_never_trusted(store: Store) -> None:
    judged(store)
    kept = page_of(store)
    assert not any("verdict" in key for row in kept["criteria"] for key in row)
    for row in kept["criteria"]:
        if row["values"] and row["interval"] == "student":
            row["values"] = {rival: [-v for v in values] for rival, values in row["values"].items()}
    Published(store.root / "published").write_page("parity", "laptop", [], kept)
    table = claims.ledger(store.root / "published")
    assert set(table[(table.claim == "R2") & table.primary].part_verdict) == {"not reproduced"}


def test_the_ledger_has_every_claim_the_numbered_ones_first_and_the_largest_size(store: Store) -> None:
    judged(store)
    judged(store, profile="paper", **students(fast=()))
    table = claims.ledger(store.root / "published")
    assert set(table.claim) == {claim.id for claim in claims.register()}
    r2 = table[(table.claim == "R2") & table.primary]
    assert r2[["profile", "verdict"]].to_numpy().tolist() == [
        ["paper", "not reproduced (paper's size)"],
        ["laptop", "reproduced (reduced size)"],
    ]
    glance = claims.at_a_glance(table).set_index("claim")
    assert glance.index.tolist()[:8] == [*(f"R{i}" for i in range(1, 8)), "Theorem 3.2"]
    assert glance.loc["R2", ["verdict", "agree"]].tolist() == ["not reproduced (paper's size)", "0 of 5"]
    assert glance.loc["R3", "verdict"] == "not run"
    assert glance.loc["Figure 3", "verdict"] == "illustration"


def test_the_ledgers_page_shows_words_values_and_remarks(store: Store) -> None:
    assert "<details class='pd-claim'" not in claims.ledger_markdown(store.root / "published")
    judged(store, edges=["students: progressive at an end"])
    text = claims.ledger_markdown(store.root / "published", shown={"R2": "parity_more"})
    (row,) = (
        line for line in text.splitlines() if line.startswith("<details class='pd-claim' id='claim-r2'")
    )
    assert "data-verdict='reproduced' data-size='laptop'" in row
    assert (
        "<span class='pd-chip pd-reproduced'>✓ reproduced</span> <span class='pd-quiet'>reduced size</span>"
        in row
    )
    assert "students: progressive at an end" in row
    assert "<li class='pd-verdict pd-primary'>" in row
    assert "5 of 5" in row
    assert "href='../notebooks/parity_more.html#shown-claim-r2'" in row
    assert "Not run, or an illustration: " in text
    assert "of an older version of the code" in claims.ledger_markdown(
        store.root / "published", [record().fingerprint]
    )


def test_the_part_that_failed_is_named_in_the_line_of_a_claim(store: Store) -> None:
    judged(store, **students(fast=("progressive",)))
    text = claims.ledger_markdown(store.root / "published")
    (row,) = (line for line in text.splitlines() if "id='claim-r2'" in line)
    summary = row.partition("</summary>")[0]
    assert "✗ not reproduced" in summary
    assert "failed: mean accuracy over the run" in summary


def test_the_numbered_results_lead_to_where_a_page_shows_them_or_to_the_page(store: Store) -> None:
    judged(store)
    shown = claims.numbered_results(claims.ledger(store.root / "published"), {"R2": "parity_more"})
    assert shown.count("<div class='pd-result'") == 8
    assert "href='../notebooks/parity_more.html#shown-claim-r2'" in shown
    assert "href='../notebooks/pcfg.html'" in shown


def test_a_page_shows_verdicts_where_the_ledger_leads_and_no_unknown_claim(store: Store) -> None:
    judged(store)
    shown = claims.beside("R2", root=store.root / "published")
    assert "id='shown-claim-r2'" in shown
    assert "✓ reproduced" in shown
    assert "published: " in shown
    assert "claim-r1-transformer" not in claims.beside("R1")
    with pytest.raises(ValueError, match=r"claims \['R99'\]: expected names of the register"):
        claims.beside("R99", root=store.root / "published")


def test_the_book_shows_a_pages_verdicts_as_they_are_now_and_lets_them_be_moved(store: Store) -> None:
    judged(store)
    older = claims.beside("R2", "R3", root=store.root / "published")
    assert "data-widget" not in older
    judged(store, profile="paper", **students(fast=()))
    first = claims.largest(claims.ledger(store.root / "published"))
    shown = claims.movable(older, first)
    assert re.search(r"id='shown-claim-r2'.*✗ not reproduced.*</p><details class='pd-rejudge'", shown)
    assert "reduced size" not in shown
    assert shown.count("data-widget='rejudge'") == 1  # R3 is not run
    above = claims.movable(claims.beside("R2", root=store.root / "published", above=True), first)
    assert "<p><a href='#shown-claim-r2'>R2</a>" in above
    gone = older.replace("claim-r2'", "claim-r99'")
    assert "✓ reproduced" in claims.movable(gone, first)


def test_a_strip_has_a_dot_for_each_ancestry_its_interval_and_the_threshold(store: Store) -> None:
    judged(store)
    table = claims.ledger(store.root / "published")
    row = table[(table.claim == "R2") & table.primary].iloc[0]
    drawn = strip(row.judged, width=216)
    assert drawn.count("<circle") == 5
    places = {
        name: re.findall(rf"x1='([\d.]+)' x2='([\d.]+)'[^>]*class='pd-{name}'", drawn)[0]
        for name in ("threshold", "interval")
    }
    assert float(places["threshold"][0]) == 8.0  # all values lie above it
    low, high = map(float, places["interval"])
    assert 8 < low <= high <= 208
    assert "threshold 0.1; 5 ancestries" in drawn
    assert strip(claims.Judgement(row.judged.criterion, None)) == ""


def test_no_text_of_a_claim_or_a_table_is_read_as_markup(store: Store) -> None:
    odd = "<script>x</script> | `a` *b* _c_ [d](e) {doc}`f` $g$ &amp; \\ ~h~"
    judged(store, edges=[odd])
    text = claims.ledger_markdown(store.root / "published")
    (row,) = (
        line for line in text.splitlines() if line.startswith("<details class='pd-claim' id='claim-r2'")
    )
    assert html.escape(odd) in MarkdownIt("gfm-like", {"linkify": False}).render(
        row
    )  # a block of HTML, as it is
    assert "<script>" not in text
    verdicts = claims.verdict_table(page_of(store)).assign(measured=odd)
    assert "<script>" not in claims.by_criterion(verdicts)


def test_new_numbers_are_compared_with_the_published_ones_rival_by_rival(
    store: Store, tmp_path: Path
) -> None:
    judged(store)
    one = page_of(store)
    other = Store(tmp_path / "other", published=None)
    judged(other, **students(fast=()))
    two = page_of(other)
    assert claims.compare(one, one).inside.all()
    table = claims.compare(one, two)
    assert "only the middle teaches (one_shot)" in set(table.part)
    assert not table[table.claim == "R2"].inside.all()


def test_the_tables_of_a_page_are_kept_and_a_changed_one_is_refused(store: Store) -> None:
    judged(store, profile="desk")
    published = Published(store.root / "published")
    for found in (published.tables("parity", "desk"), store.page_tables("parity", "desk")):
        assert found["students"].equals(students()["students"])
    judged(store, profile="smoke")
    assert store.page_tables("parity", "smoke") == {}
    changed = students()["students"].replace(0.5, 0.6)
    for folder in (published.root / "parity-desk" / "tables", store.root / "pages" / "parity-desk"):
        (folder / "students.parquet").write_bytes(table_bytes(changed))
    for read in (published.tables, store.page_tables):
        with pytest.raises(
            DamagedError, match=r"students\.parquet: not the table that the page was judged on"
        ):
            read("parity", "desk")


def test_what_is_published_and_open_names_its_cause_and_what_is_not_reproduced_has_passed_five_checks() -> (
    None
):
    table = claims.ledger()
    primary = table[table.primary]
    open_ones = primary[primary.part_verdict.isin(["inconclusive", "not reproduced"])]
    assert len(open_ones) > 0
    assert open_ones[open_ones.cause == ""].claim.tolist() == []
    failed = set(primary[primary.part_verdict == "not reproduced"].claim)
    assert failed <= {claim.id for claim in claims.register() if claim.checks}


def test_the_ledgers_page_folds_the_checks_of_what_is_not_reproduced(store: Store) -> None:
    claim = next(c for c in claims.of_page("theory") if c.id == "Corollary B.6 (as printed)")
    for value, shown in ((0.0, True), (0.1, False)):
        rows = {
            "case": ["a", "b"],
            "support_size": 4,
            "group": "in_support",
            "majority": value,
            "minimum": 1.0,
        }
        others = {"seed": 1, "width": 1, "aligned": True, "mean": 1.0, "maximum": 1.0, "n_bits": 9}
        judged(store, page="theory", teachers=pd.DataFrame(rows | others))
        text = claims.ledger_markdown(store.root / "published")
        (row,) = (line for line in text.splitlines() if f"id='{claims.anchor(claim.id)}'" in line)
        fold = row.partition("What was checked before we say so")[2]
        assert re.findall(r"<li><strong>(.*?)</strong>", fold) == (
            list(claims.CHECKS.values()) if shown else []
        )
        assert ("A network that meets" in fold) == shown


# ------------------------------------------------------- parameters that decide power


def test_there_are_ancestries_enough_to_decide_and_four_to_tune_on_or_one_at_the_papers_size() -> None:
    least = {"seeds": 8, "ablation_seeds": 6, "tuning_seeds": 4, "ablation_tuning_seeds": 4}
    for profile in ("laptop", "desk"):
        for page in sorted(
            set(pages.page_names(ROOT, profile)) - {"theory"}
        ):  # its experiments have 20 seeds
            given: dict[str, Any] = pages.load_parameters(profile, page, root=ROOT)
            assert all(len(given[name]) >= n for name, n in least.items() if name in given), (page, profile)
            assert given["grow"] >= 1
            assert not set(given["tuning_seeds"]) & set(given["seeds"])
    for page in ("parity", "hierarchical"):
        given = pages.load_parameters("paper", page)
        assert len({s % 1000 for s in [*given["seeds"], *given["tuning_seeds"]]}) >= 4
        assert len(given["tuning_seeds"]) == 1

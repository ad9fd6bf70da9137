"""A verdict that its reader moves: a page judges as `pdlib.claims.judge` does, in its words, by mouse and by keyboard.

No book is built here: a page of all published verdicts with the book's style and script is enough.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from test_site import PHONE, Visit, accessibility_faults, sideways

from pdlib import claims
from pdlib.claims import Criterion, Judgement, judge, rejudged

pytestmark = pytest.mark.site

STATIC = Path(__file__).parents[1] / "book" / "_ext" / "static"
SCRIPT = (STATIC / "rejudge.js").read_text("utf-8")
SINCE = datetime(2026, 1, 1, tzinfo=UTC)
# few ancestries, one rival, several, cases, more cases than are drawn, a share
KINDS = (
    "R1",
    "R6",
    "R2",
    "Figure 6",
    "Claim B.3",
    "Corollary B.6 (as printed)",
    "one-checkpoint-is-not-enough",
)
JUDGE = """cases => cases.map(({data, threshold, level, kept}) => {
    const values = rejudge.valuesOf(data);
    const now = rejudge.judge(data, values, threshold, level, kept);
    const turned = rejudge.turnedByOne(data, values, threshold, level, kept);
    return {...now, said: rejudge.words(data, now, turned)};
})"""


@cache
def published() -> list[Judgement]:
    """Every criterion that was measured, at every published size."""
    found = [judged for judged in claims.ledger().judged if judged is not None]
    return [judged for judged in found if judged.frame is not None and len(judged.frame)]


@dataclass(frozen=True)
class Case:
    """A judgement, and what a reader does to it."""

    judged: Judgement
    level: float
    kept: list[bool]

    def told(self) -> dict[str, Any]:
        """What the page gets."""
        threshold = self.judged.criterion.threshold
        told = {"threshold": threshold, "level": self.level, "kept": self.kept}
        return {"data": rejudged.data(self.judged)} | told

    def by_python(self) -> Judgement:
        """What is to come out, as long as `judge.LEVEL` is this level."""
        return self.judged.without(*(i for i, kept in enumerate(self.kept) if not kept))


def as_registered(judged: Judgement) -> Case:
    assert judged.frame is not None
    return Case(judged, judge.LEVEL, [True] * len(judged.frame))


def random_cases(n: int, rng: np.random.Generator) -> Iterator[Case]:
    """Criteria of every kind, with ties, values without end, and any number of ancestries left out."""
    for _ in range(n):
        kind: Literal["student", "share", "exact"] = rng.choice(["student", "share", "exact"])
        shape = (int(rng.integers(1, 31)), int(rng.integers(1, 7)))
        if kind == "share":
            values = (rng.random(shape) < rng.random()).astype(float)
        else:
            values = 0.3 + rng.standard_normal(shape) * rng.choice([0.01, 0.3, 1, 100])
            values = np.round(4 * values) / 4 if rng.random() < 0.3 else values
            if rng.random() < 0.2:
                values[rng.random(shape) < 0.2] = rng.choice([np.inf, -np.inf])
        threshold = float(
            rng.choice([0.0, 0.25, 0.5, float(rng.standard_normal()), float(rng.choice(values.flat))])
        )
        threshold = threshold if np.isfinite(threshold) else 0.0
        frame = pd.DataFrame(values, columns=[str(9 - i) for i in range(shape[1])])
        side: Literal["above", "below"] = rng.choice(["above", "below"])
        criterion = Criterion("R1", "made up", "a gain", "", side, threshold, SINCE, interval=kind)
        kept = (rng.random(len(frame)) < rng.choice([0.0, 0.3, 0.9, 1.0])).tolist()
        yield Case(
            Judgement(criterion, frame), float(rng.choice([0.8, 0.95, 0.999, rng.uniform(0.8, 0.999)])), kept
        )


def disagreements(page: Any, cases: Sequence[Case], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Where the page says otherwise than Python: verdict, closest rival, agreement, intervals, or how far it holds."""
    wrong = []
    for case, found in zip(cases, page.evaluate(JUDGE, [case.told() for case in cases]), strict=True):
        with monkeypatch.context() as patch:
            patch.setattr(judge, "LEVEL", case.level)
            asked = case.by_python()
            intervals = list(asked.intervals.values())
            ends = [end for i in intervals for end in (i.mean, i.low, i.high)] + [*asked.holds]
            words = (asked.verdict, asked.agreeing, list(asked.intervals).index(asked.closest))
        others = [i[end] for i in found["intervals"] for end in ("mean", "low", "high")] + found["holds"]
        if words != (found["verdict"], found["agreeing"], found["closest"]):
            wrong.append(f"{asked.criterion}: {words}, {found}")
        elif not np.allclose(ends, others, rtol=1e-6, atol=1e-12, equal_nan=True):
            wrong.append(f"{asked.criterion}: {ends}, {others}")
    return wrong


@pytest.fixture
def script(browser: Any) -> Iterator[Any]:
    """An empty page with the script alone."""
    page = browser.new_page()
    page.add_script_tag(content=SCRIPT)
    yield page
    page.close()


# ------------------------------------------------------------------------ the rules


def test_a_page_judges_every_published_criterion_as_python_does_and_in_its_words(
    script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [as_registered(rejudged.rounded(judged)) for judged in published()]
    assert len(cases) > 200
    assert disagreements(script, cases, monkeypatch) == []
    said = [found["said"] for found in script.evaluate(JUDGE, [case.told() for case in cases])]
    assert said == [rejudged.words(case.judged) for case in cases]


def test_a_page_judges_whatever_a_reader_makes_of_a_criterion_as_python_does(
    script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = list(random_cases(300, np.random.default_rng(0)))
    with monkeypatch.context() as patch:
        seen = set()
        for case in cases:
            patch.setattr(judge, "LEVEL", case.level)
            seen.add((case.judged.criterion.interval, case.by_python().verdict))
    kinds = {
        (k, v)
        for k in ("student", "share", "exact")
        for v in ("reproduced", "not reproduced", "inconclusive")
    }
    assert seen == kinds  # exact cases are undecided where all are left out
    assert disagreements(script, cases, monkeypatch) == []


@pytest.mark.parametrize(
    ("rule", "wrong"),
    [
        ("student(level, n - 1)", "normal(level)"),
        ("1 - (1 - level) / used.length", "level"),
        ("at >= no", "at > no"),
        ("n <= FEW", "n < FEW"),
    ],
)
def test_control_a_wrong_rule_is_found(
    rule: str, wrong: str, browser: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert rule in SCRIPT
    page = browser.new_page()
    page.add_script_tag(content=SCRIPT.replace(rule, wrong))
    assert disagreements(page, list(random_cases(300, np.random.default_rng(0))), monkeypatch)
    page.close()


def test_a_verdict_holds_just_as_far_as_it_says() -> None:
    def at(judged: Judgement, threshold: float) -> str:
        return Judgement(replace(judged.criterion, threshold=threshold), judged.frame).verdict

    ends = 0
    for case in random_cases(150, np.random.default_rng(1)):
        judged = case.judged
        low, high = judged.holds
        for end, inward in ((low, 1), (high, -1)):
            if np.isfinite(end):
                little = 1e-9 * max(1.0, abs(end))
                inside = at(judged, end + inward * little)
                assert at(judged, end - inward * little) != judged.verdict
                assert inside == judged.verdict or high - low < 3 * little
                ends += 1
    assert ends > 100


def test_rounding_changes_no_verdict_no_printed_number_and_no_fragility() -> None:
    for judged in published():
        few = rejudged.rounded(judged)
        assert few.turned_by_one == judged.turned_by_one
        assert few.verdict == judged.verdict
        assert list(map(str, (few, *few.intervals.values()))) == list(
            map(str, (judged, *judged.intervals.values()))
        )


def test_values_that_differ_in_late_digits_keep_them() -> None:
    criterion = Criterion("R1", "nearly one", "a share", "", "above", 1.0, SINCE, interval="exact")
    judged = Judgement(criterion, pd.DataFrame({"": [1 + 1e-8, 1 + 1e-12]}))
    few = rejudged.rounded(judged)
    assert judged.verdict == few.verdict == "reproduced"


def test_what_was_not_measured_cannot_be_moved() -> None:
    criterion = published()[0].criterion
    for frame in (None, pd.DataFrame({"": []}, dtype=float)):
        assert rejudged.rejudge(Judgement(criterion, frame)) == ""
    assert rejudged.rejudge(None) == ""


# ------------------------------------------------------------------------- the page


def written(path: Path, *body: str) -> Path:
    """A page with the book's style and the script."""
    text = f"""<!doctype html><html lang=en><meta name=viewport content='width=device-width'><title>t</title>
        <link rel=stylesheet href='{(STATIC / "book.css").as_uri()}'>
        <style>[data-theme=dark] {{color-scheme: dark; background: #121212; color: #ced6dd;
            --pst-color-text-muted: #9ca4af}}</style>
        <script>document.documentElement.dataset.theme = localStorage.theme ?? "light"</script>
        <script defer src='{(STATIC / "rejudge.js").as_uri()}'></script>
        <main><h1>t</h1><article>{"".join(body)}</article></main>"""
    path.write_text(text, "utf-8")
    return path


@cache
def largest() -> dict[str, Any]:
    """The row of each claim's primary criterion."""
    return dict(claims.largest(claims.ledger()))


@cache
def ledger_text() -> str:
    """The ledger's page."""
    return claims.ledger_markdown()


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with verdicts of all kinds, as sections show them."""
    shown = claims.movable(claims.beside(*KINDS), largest())
    return written(tmp_path_factory.mktemp("verdicts") / "verdicts.html", shown)


def fold_of(visit: Visit, claim: str) -> Any:
    return visit.page.locator(f"#shown-{claims.anchor(claim)} + [data-widget=rejudge]")


def test_every_measured_verdict_can_be_moved_and_is_built_when_it_is_opened(
    tmp_path: Path, browser: Any
) -> None:
    measured = [claim for claim, row in largest().items() if row["measured"]]
    shown = claims.movable(claims.beside(*largest()), largest())
    ledger = ledger_text().replace("<details class='pd-claim'", "<details open class='pd-claim'")
    lines = [line for line in ledger.splitlines() if line.startswith("<")]
    with Visit(browser, written(tmp_path / "all.html", shown, *lines)) as visit:
        assert [claim for claim in largest() if fold_of(visit, claim).count()] == measured
        assert visit.page.locator(".pd-criteria [data-widget=rejudge]").count() == len(published())
        assert visit.page.locator("[data-widget=rejudge] input").count() == 0
        faults = visit.page.evaluate(
            """() => [...document.querySelectorAll("[data-widget=rejudge]")].filter(fold => {
                const before = fold.querySelector(".pd-found").textContent;
                fold.open = true;
                fold.dispatchEvent(new Event("toggle"));
                const said = fold.querySelector(".pd-found").textContent;
                return !said.startsWith("As registered:") || !said.endsWith(before);
            }).map(fold => fold.textContent)"""
        )
        assert faults == []
        assert visit.errors == []


def test_a_threshold_beyond_the_interval_turns_the_word_and_reset_brings_it_back(
    verdicts: Path, browser: Any
) -> None:
    with Visit(browser, verdicts) as visit:
        for claim in ("R6", "R2", "Claim B.3"):
            judged, fold = largest()[claim]["judged"], fold_of(visit, claim)
            fold.locator("summary").click()
            found, number = fold.locator("[role=status]"), fold.locator("input[type=number]")
            assert found.inner_text().startswith(f"As registered: ✓ {judged.verdict}")
            high = max(i.high for i in judged.intervals.values())
            number.fill(f"{high + 1 if judged.criterion.side == 'above' else -high - 1}")
            assert found.inner_text().startswith("Your settings, not the registered ones: ✗ not reproduced")
            number.fill("")
            assert "Expected a number as threshold" in found.inner_text()
            fold.get_by_role("button", name="Reset").click()
            assert found.inner_text().startswith(f"As registered: ✓ {judged.verdict}")


def test_the_keyboard_alone_opens_moves_and_leaves_out(verdicts: Path, browser: Any) -> None:
    judged = largest()["R6"]["judged"]
    with Visit(browser, verdicts) as visit:
        fold = fold_of(visit, "R6")
        fold.locator("summary").focus()
        visit.page.keyboard.press("Enter")
        found = fold.locator("[role=status]")
        start = found.inner_text()

        def after(*keys: str) -> str:
            for key in keys:
                visit.page.keyboard.press(key)
            return str(found.inner_text())

        assert after("Tab", "End").startswith("Your settings, not the registered ones: ✗ not reproduced")
        assert visit.page.evaluate("document.activeElement.ariaLabel") == "threshold"
        assert after("Home").startswith("Your settings, not the registered ones: ✓ reproduced")
        fold.get_by_role("button", name="Reset").press("Enter")
        assert found.inner_text() == start
        fold.get_by_role("slider", name="confidence level, in percent").focus()
        assert after("End") != start
        assert "99.9 %" in fold.inner_text()
        fold.get_by_role("button", name="Reset").press("Enter")
        fold.get_by_role("checkbox").first.focus()
        assert f"of {len(judged.frame) - 1} agree" in after("Space")
        assert str(judged.without(0)) in found.inner_text()
        assert fold.locator(".pd-out").count() == 1
        for box in fold.get_by_role("checkbox").all():
            box.uncheck()
        assert "? inconclusive nothing is left to judge" in found.inner_text()
        assert visit.errors == []


def test_without_scripts_the_strip_and_its_words_stand(verdicts: Path, browser: Any) -> None:
    judged = largest()["R2"]["judged"]
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(verdicts.as_uri())
    fold = page.locator(f"#shown-{claims.anchor('R2')} + [data-widget=rejudge]")
    assert fold.locator("summary .pd-strip circle").first.is_visible()
    fold.locator("summary").click()
    assert rejudged.words(judged) in fold.inner_text()
    assert fold.locator(".pd-rivals li").count() == len(judged.intervals) > 1
    assert fold.locator("input").count() == 0
    context.close()


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_what_opens_is_accessible_and_fits_a_phone(mode: str, verdicts: Path, browser: Any) -> None:
    with Visit(browser, verdicts, mode=mode) as visit:
        for claim in KINDS:
            fold_of(visit, claim).locator("summary").click()
        visit.page.locator(".pd-panel").nth(len(KINDS) - 1).wait_for()  # each is made a moment later
        assert visit.page.locator(".pd-panel").count() == len(KINDS)
        assert accessibility_faults(visit) == []
        assert sideways(visit) == []
        visit.page.set_viewport_size(PHONE)
        assert sideways(visit) == []


def test_the_values_of_a_page_are_few() -> None:
    told = re.findall("data-judged='([^']*)'", ledger_text())
    assert sum(map(len, told)) < 120_000
    assert all(json.loads(html.unescape(one))["values"] for one in told)

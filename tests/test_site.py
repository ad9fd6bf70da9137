"""The built book, opened in a browser: what a reader without a network, a mouse or good eyes gets.

The book is staged from the committed references, so nothing is trained here. Each check is a function of a
page, and has a control: a small page planted with the fault it must find.
"""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
import yaml

from pdlib import book, claims, pages
from pdlib.published import Published

pytestmark = pytest.mark.site

ROOT = Path(__file__).resolve().parents[1]
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))
CHAPTERS = [TOC["root"], *(chapter["file"] for part in TOC["parts"] for chapter in part["chapters"])]
PARTS = {  # the main path of each page, then its further parts
    page: [f"notebooks/{name}" for name in book._in_parts(nbformat.read(path, as_version=4), page)]
    for page in pages.page_names(ROOT)
    for path in [ROOT / "notebooks" / f"{page}.ipynb"]
}
FURTHER = [name for names in PARTS.values() for name in names[1:]]
NAMES = [*CHAPTERS, *FURTHER, "book/api", "book/api/pdlib.engine", "search", "genindex"]
TALLEST = 9000  # pixels of a page with its code folded
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The staged source tree, from the committed references."""
    folder = tmp_path_factory.mktemp("book")
    return book.stage(folder / "src", folder / "nothing-executed", root=ROOT)


@pytest.fixture(scope="session")
def site(source: Path) -> Path:
    """The folder of the built book; a warning on the way is an error."""
    return book.build_site(source, source.parent).parent


class Visit:
    """A page opened in a fresh browser context, with what it asked for and what it complained about."""

    def __init__(self, browser: Any, path: Path, query: str = "", mode: str = "light") -> None:
        self.context = browser.new_context(color_scheme=mode, viewport=DESK)
        self.context.add_init_script(f"localStorage.mode = localStorage.theme = '{mode}'")
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on(
            "console", lambda message: self.errors.append(message.text) if message.type == "error" else None
        )
        self.page.goto(path.as_uri() + query, timeout=120_000)
        self.page.wait_for_load_state("load")
        self.page.evaluate("async () => { if (window.MathJax?.startup) await MathJax.startup.promise }")

    def __enter__(self) -> Visit:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()


# The checks: each returns what is wrong, so that an empty list is a clean page


def unrendered_maths(visit: Visit) -> list[str]:
    """Formulas that MathJax left as they were or marked as faulty."""
    return visit.page.evaluate(
        """() => [...document.querySelectorAll('span.math, div.math')]
            .filter(e => !e.querySelector('mjx-container') || e.querySelector('mjx-merror, [data-mjx-error]'))
            .map(e => e.textContent)"""
    )


def outside_requests(visit: Visit) -> list[str]:
    """Addresses asked for that are not files of the book."""
    return [url for url in visit.requests if urlsplit(url).scheme not in ("file", "data", "blob", "about")]


def accessibility_faults(visit: Visit) -> list[str]:
    """What axe-core finds serious or critical, with the element."""
    from axe_playwright_python.sync_playwright import Axe

    violations = Axe().run(visit.page).response["violations"]
    return [
        f"{violation['id']}: {node['html'][:200]} {node['failureSummary'][-200:]}"
        for violation in violations
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]


def sideways(visit: Visit) -> list[str]:
    """What makes a phone scroll sideways."""
    visit.page.set_viewport_size(PHONE)
    return visit.page.evaluate(
        """() => document.documentElement.scrollWidth <= innerWidth ? [] :
            [...document.querySelectorAll('article *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1)
            .slice(0, 5).map(e => e.outerHTML.slice(0, 120))"""
    )


def places(visit: Visit, selector: str) -> list[float]:
    """Where the elements that can be seen begin, in pixels from the top of the page."""
    return visit.page.evaluate(
        """selector => [...document.querySelectorAll(selector)].filter(e => e.checkVisibility())
            .map(e => e.getBoundingClientRect().top + scrollY)""",
        selector,
    )


def reacts_to_keyboard(visit: Visit) -> list[bool]:
    """For each interactive figure, whether an arrow key on its slider changes what it shows."""
    answers = []
    for figure in visit.page.locator(".pd-interactive").all():
        shown = "e => [...e.querySelectorAll('*')].map(x => x.outerHTML).join('') + e.innerText"
        figure.locator("input[type=range]").first.focus()
        before = figure.evaluate(shown)
        visit.page.keyboard.press(
            "ArrowLeft" if figure.locator("input").first.evaluate("e => e.value === e.max") else "ArrowRight"
        )
        answers.append(figure.evaluate(shown) != before)
    return answers


class _Reader(HTMLParser):
    """Collects the links, the anchors and the images of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.alts: list[tuple[str, str]] = []
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.anchors |= {attributes[name] for name in ("id", "name") if name in attributes}
        self.links += [attributes[name] for name in ("href", "src") if attributes.get(name)]
        if tag == "img":
            self.alts.append((attributes.get("src", ""), attributes.get("alt", "")))


def broken_links(folder: Path) -> list[str]:
    """Links, images, scripts and anchors of a folder of pages that lead to nothing in it."""
    folder = folder.resolve()
    readers = {path: _Reader(path) for path in folder.rglob("*.html") if "_static" not in path.parts}
    broken = []
    for path, reader in readers.items():
        for link in reader.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            lost = not target.exists() or target.is_dir()
            anchor = unquote(parts.fragment)
            if not lost and anchor and target in readers:
                lost = anchor not in readers[target].anchors
            if lost:
                broken.append(f"{path.relative_to(folder)}: {link}")
    return broken


def images_without_words(path: Path) -> list[str]:
    """Images whose alternative text is missing, or is the file's name that Sphinx puts there instead."""
    return [
        src for src, alt in _Reader(path).alts if not alt.strip() or alt.endswith((".png", ".svg", ".jpg"))
    ]


# The book


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("name", NAMES)
def test_page_renders_offline_without_a_complaint_and_is_accessible(
    name: str, mode: str, site: Path, browser: Any
) -> None:
    with Visit(browser, site / f"{name}.html", mode=mode) as visit:
        assert unrendered_maths(visit) == []
        assert outside_requests(visit) == []
        assert visit.errors == []
        assert visit.page.evaluate("document.documentElement.dataset.theme") == mode
        assert accessibility_faults(visit) == []
        assert sideways(visit) == []


@pytest.mark.parametrize("page", [page for page in PARTS if page not in pages.GUIDES])
def test_a_page_answers_at_its_top_and_its_parts_are_not_long(page: str, site: Path, browser: Any) -> None:
    for name in PARTS[page]:
        with Visit(browser, site / f"{name}.html") as visit:
            assert visit.page.evaluate("document.documentElement.scrollHeight") <= TALLEST, name
    with Visit(browser, site / f"notebooks/{page}.html") as visit:
        assert places(visit, ".pd-verdicts")[0] <= 700
        if any(Published().tables(page, size) for size in claims.SIZES):
            assert places(visit, "figure img, .pd-figure, .pd-interactive")[0] <= 900


def test_the_first_page_shows_the_result_at_once(site: Path, browser: Any) -> None:
    for size in (DESK, PHONE):
        with Visit(browser, site / "book/intro.html") as visit:
            visit.page.set_viewport_size(size)
            assert places(visit, ".pd-interactive")[0] <= size["height"]
            assert len(places(visit, ".pd-results .pd-chip")) == len(claims.HEADLINES)
    with Visit(browser, site / "book/claims.html") as visit:
        assert visit.page.evaluate("document.documentElement.scrollHeight") <= 6000
    assert (site / "genindex.html").stat().st_size < 500_000


def test_every_published_verdict_of_a_page_can_be_moved(site: Path) -> None:
    first = claims.largest(claims.ledger())
    measured = {claims.anchor(claim) for claim, row in first.items() if row["measured"]}
    line = r"<p(?: id='shown-[^']*')?><a href='[^'#]*#(?:shown-)?(claim-[^']*)'>.*?</p>(<details class='pd-rejudge')?"
    shown = {}
    for name in [name for names in PARTS.values() for name in names]:
        lines = re.findall(line, (site / f"{name}.html").read_text("utf-8"))
        assert [at for at, fold in lines if bool(fold) != (at in measured)] == [], name
        shown |= {at: name for at, _ in lines}
    assert len(measured & set(shown)) > len(claims.HEADLINES)


@pytest.mark.parametrize(("name", "mode"), [("book/intro", "dark"), ("notebooks/theory", "light")])
def test_verdicts_that_are_moved_are_accessible_and_fit_a_phone(
    name: str, mode: str, site: Path, browser: Any
) -> None:
    with Visit(browser, site / f"{name}.html", mode=mode) as visit:
        for fold in visit.page.locator("[data-widget=rejudge]").all():
            fold.locator("summary").click()
            fold.locator("input[type=range]").first.press("End")
        assert visit.page.locator(".pd-found:has-text('Your settings')").count() > 5
        assert visit.errors == []
        assert accessibility_faults(visit) == []
        assert sideways(visit) == []


def test_some_pages_have_maths(site: Path) -> None:
    assert any('class="math' in (site / f"{name}.html").read_text("utf-8") for name in CHAPTERS)


def test_every_link_image_and_anchor_leads_somewhere_and_every_image_has_words(site: Path) -> None:
    assert broken_links(site) == []
    faults = {name: images_without_words(site / f"{name}.html") for name in [*CHAPTERS, *FURTHER]}
    assert not any(faults.values()), faults


def test_interactive_figures_react_to_the_keyboard(site: Path, browser: Any) -> None:
    interactive = [
        name
        for name in [*CHAPTERS, *FURTHER]
        if "pd-interactive" in (site / f"{name}.html").read_text("utf-8")
    ]
    assert interactive
    for name in interactive:
        with Visit(browser, site / f"{name}.html") as visit:
            answers = reacts_to_keyboard(visit)
            assert answers, name
            assert all(answers), name


def test_search_finds_parity_and_nothing_that_is_not_there(site: Path, browser: Any) -> None:
    with Visit(browser, site / "search.html", query="?q=zzyzx") as visit:
        visit.page.wait_for_selector("p.search-summary:has-text('did not match')")
        assert visit.page.locator("ul.search li").count() == 0
    with Visit(browser, site / "search.html", query="?q=parity") as visit:
        visit.page.wait_for_selector("ul.search li a")
        visit.page.wait_for_selector("ul.search li p.context")  # an excerpt
        found = visit.page.eval_on_selector_all("ul.search li a", "links => links.map(link => link.href)")
        assert any("/notebooks/parity.html" in link for link in found), found
        assert outside_requests(visit) == []
        assert visit.errors == []


@pytest.mark.parametrize("page", pages.page_names(ROOT))
def test_page_can_be_downloaded_as_a_notebook(page: str, site: Path) -> None:
    link = f"../_sources/notebooks/{page}.ipynb"
    assert link in _Reader(site / "notebooks" / f"{page}.html").links
    notebook = json.loads((site / "_sources" / "notebooks" / f"{page}.ipynb").read_text("utf-8"))
    assert any(cell.get("outputs") for cell in notebook["cells"])


def test_the_theme_button_reaches_dark_mode(site: Path, browser: Any) -> None:
    with Visit(browser, site / f"{CHAPTERS[0]}.html") as visit:
        seen = []
        for _ in range(3):  # the modes in turn: light, dark, as the system says
            visit.page.locator("button.theme-switch-button:visible").first.click()
            seen.append(visit.page.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert len(set(seen)) == 2, seen


def test_book_prints(source: Path, browser: Any, tmp_path: Path) -> None:
    pdf = book.print_site(source, tmp_path)
    content = pdf.read_bytes()
    assert content.startswith(b"%PDF")
    assert len(CHAPTERS) < len(re.findall(rb"/Type\s*/Page\b", content)) < 150


# Controls: each check finds the fault it is for


def planted(folder: Path, body: str) -> Path:
    """A small page with a fault in it."""
    path = folder / "planted.html"
    path.write_text(f"<!doctype html><html lang=en><title>t</title><main><h1>t</h1>{body}</main>", "utf-8")
    return path


def test_control_raw_and_faulty_maths_are_seen(tmp_path: Path, browser: Any) -> None:
    faulty = "<mjx-container><g data-mjx-error='x'></g></mjx-container>"
    path = planted(tmp_path, f"<span class=math>\\(x^2\\)</span><span class=math>{faulty}</span>")
    with Visit(browser, path) as visit:
        assert len(unrendered_maths(visit)) == 2


def test_control_an_outside_request_is_seen(tmp_path: Path, browser: Any) -> None:
    with Visit(browser, planted(tmp_path, "<img alt=x src='http://127.0.0.1:9/x.png'>")) as visit:
        assert outside_requests(visit) == ["http://127.0.0.1:9/x.png"]
        assert visit.errors  # it could not be loaded


def test_control_an_error_in_a_script_is_seen(tmp_path: Path, browser: Any) -> None:
    with Visit(browser, planted(tmp_path, "<script>undefined.x</script>")) as visit:
        assert len(visit.errors) == 1


def test_control_axe_sees_gray_text_and_a_nameless_slider(tmp_path: Path, browser: Any) -> None:
    with Visit(browser, planted(tmp_path, "<p style='color:#ccc'>pale</p><input type=range>")) as visit:
        found = " ".join(accessibility_faults(visit))
        assert "color-contrast" in found
        assert "label" in found


def test_control_a_dead_slider_is_seen(tmp_path: Path, browser: Any) -> None:
    slider = "<input type=range min=0 max=9 value=3><output>3</output>"
    with Visit(browser, planted(tmp_path, f"<div class=pd-interactive>{slider}</div>")) as visit:
        assert reacts_to_keyboard(visit) == [False]


def test_control_a_page_wider_than_a_phone_is_seen(tmp_path: Path, browser: Any) -> None:
    body = "<article><pre style='width: 800px'>wide</pre></article>"
    with Visit(browser, planted(tmp_path, body)) as visit:
        assert sideways(visit)
    with Visit(browser, planted(tmp_path, body.replace("800px", "80px"))) as visit:
        assert sideways(visit) == []


def test_control_broken_links_and_images_are_seen(tmp_path: Path) -> None:
    path = planted(
        tmp_path,
        "<a href='gone.html'>x</a><a href='#nowhere'>x</a><a href='planted.html#here'>x</a><p id=here>x</p>"
        "<img src='gone.png' alt='gone.png'><a href='https://example.org'>x</a>",
    )
    assert broken_links(tmp_path) == [
        f"planted.html: {link}" for link in ("gone.html", "#nowhere", "gone.png")
    ]
    assert images_without_words(path) == ["gone.png"]

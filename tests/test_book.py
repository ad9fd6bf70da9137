"""The book's source: executed pages in the form in which they are read, and what is generated beside them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest
import yaml

from pdlib import book
from pdlib.pages import PageError

ROOT = Path(__file__).resolve().parents[1]
TINY = """\
# %% [markdown]
# # A tiny page

# %% tags=["parameters"]
profile: str = "smoke"
figures: str = "core"
n_bits: int = 20_000  # d; paper: <100>
rates: list[float] = [0.5, 0.01]  # eta

# %%
print(n_bits)
"""
ADDRESS = "https://github.com/Someone/companion"
SVG = '<svg viewBox="0 0 525.6 {}"></svg>'


def cell(source: str, *tags: str, **outputs: str) -> Any:
    """A code cell as papermill leaves it; `outputs` are the MIME types of a figure's vectors."""
    made = nbformat.v4.new_code_cell(source, metadata={"tags": list(tags)})
    if outputs:
        known = {"provenance": "3 runs, <published>"}
        made.metadata["mystnb"] = {"image": {"alt": "A 'curve' rises."}}
        made.outputs = [nbformat.v4.new_output("display_data", outputs, metadata=known)]
    return made


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with one executed page, and a ledger that links to no other page."""
    monkeypatch.setattr("pdlib.claims.ledger_markdown", lambda *_: "# Claims\n")
    monkeypatch.setattr("pdlib.claims.numbered_results", lambda *_: "<p>R1 holds</p>")
    monkeypatch.setattr(book, "_opening_figure", lambda: "<svg></svg>")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "pdlib"\n')
    for folder in ("notebooks", "book", "exec", "pdlib"):
        (tmp_path / folder).mkdir()
    for module in ("bench", "schedules", "_hidden"):
        (tmp_path / "pdlib" / f"{module}.py").write_text(f'"""What ``{module}``\nholds.\n\nMore."""\n')
    (tmp_path / "notebooks" / "tiny.py").write_text(TINY)
    (tmp_path / "_config.yml").write_text((ROOT / "_config.yml").read_text("utf-8"), "utf-8")
    (tmp_path / "_toc.yml").write_text(
        "format: jb-book\nroot: book/intro\nparts:\n- caption: Pages\n  chapters:\n  - file: notebooks/tiny\n"
    )
    (tmp_path / "book" / "intro.md").write_text(
        "# Intro\n\n<!-- the opening figure -->\n\n<!-- the numbered results -->\n"
    )
    (tmp_path / "book" / "references.bib").touch()
    shutil.copytree(ROOT / "book" / "_ext", tmp_path / "book" / "_ext")
    return tmp_path


def executed(checkout: Path, *cells: Any) -> Path:
    """Write the tiny page with these cells as executed, stage the book, and return its source."""
    first = [nbformat.v4.new_markdown_cell("# A tiny page"), cell("n_bits: int = 20_000", "parameters")]
    notebook = nbformat.v4.new_notebook(cells=[*first, *cells])
    nbformat.write(notebook, checkout / "exec" / "tiny.ipynb")
    return book.stage(checkout / "src", checkout / "exec", root=checkout)


def staged(source: Path, name: str = "tiny") -> Any:
    return nbformat.read(source / "notebooks" / f"{name}.ipynb", as_version=4)


def test_a_page_never_executed_cannot_be_staged(checkout: Path) -> None:
    with pytest.raises(PageError, match="page 'tiny' has not been executed"):
        book.stage(checkout / "src", checkout / "exec", root=checkout)


def test_staging_mirrors_the_checkout_and_makes_what_is_generated(checkout: Path) -> None:
    source = executed(checkout)
    assert (source / "book" / "claims.md").read_text("utf-8").startswith("# ")
    assert not (checkout / "book" / "claims.md").exists()
    assert (source / "book" / "intro.md").read_text("utf-8").split() == [
        "#",
        "Intro",
        "<svg></svg>",
        "<p>R1",
        "holds</p>",
    ]


def test_code_is_folded_but_for_the_lines_that_teach(checkout: Path) -> None:
    cells = staged(
        executed(checkout, cell("a = 1"), cell("b = 2", "show"), cell("c = 3", "remove-input"))
    ).cells
    assert ["hide-input" in c.metadata.get("tags", []) for c in cells[2:]] == [True, False, False]


def test_the_values_of_a_run_are_a_table_with_what_papermill_changed(checkout: Path) -> None:
    shown = staged(
        executed(checkout, cell("n_bits = 30000\nprofile = 'laptop'", "injected-parameters"))
    ).cells
    assert len(shown) == 2  # the cells of parameters are gone
    table = shown[1].source
    assert "profile <code>laptop</code>" in table
    assert "<code>n_bits</code></th><td>30,000</td><td>d; paper: &lt;100&gt;</td>" in table
    assert "<code>rates</code></th><td>0.5, 0.01</td>" in table


def test_a_figure_is_linked_as_vectors_for_wide_and_narrow_screens_above_its_provenance(
    checkout: Path,
) -> None:
    both = {book.SVG: SVG.format(300), book.NARROW_SVG: SVG.format(600)}
    source = executed(checkout, cell("draw()", **both), cell("tree()", **{book.SVG: SVG.format(90)}))
    first, whole = (c.outputs[0].data["text/html"] for c in staged(source).cells[2:])
    assert "srcset='../_static/figures/tiny-1-narrow.svg'" in first
    assert "alt='A &#x27;curve&#x27; rises.' width='701' height='400'" in first
    assert "Where this comes from</summary>3 runs, &lt;published&gt;" in first
    assert "pd-scrolls" in whole
    assert "narrow" not in whole
    folder = source / "book" / "_ext" / "static" / "figures"
    assert sorted(path.name for path in folder.iterdir()) == ["tiny-1-narrow.svg", "tiny-1.svg", "tiny-2.svg"]


def test_a_page_is_cut_in_parts_and_the_further_ones_are_its_children(checkout: Path) -> None:
    more, last = (
        nbformat.v4.new_markdown_cell(f"# {title}", metadata={"tags": ["more"]})
        for title in ("Ablations", "Sizes")
    )
    source = executed(checkout, cell("a = 1"), more, cell("b = 2"), last)
    assert [c.source for c in staged(source).cells][2:] == ["a = 1"]
    assert [c.source for c in staged(source, "tiny_more").cells] == ["# Ablations", "b = 2"]
    assert [c.source for c in staged(source, "tiny_more2").cells] == ["# Sizes"]
    first = yaml.safe_load((source / "_toc.yml").read_text("utf-8"))["parts"][0]["chapters"][0]
    children = [{"file": "notebooks/tiny_more"}, {"file": "notebooks/tiny_more2"}]
    assert first == {"file": "notebooks/tiny", "sections": children}


def test_the_book_of_a_profile_executes_the_pages_that_have_it_and_names_the_others(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = checkout / "book" / "parameters" / "laptop"
    folder.mkdir(parents=True)
    (folder / "tiny.yaml").write_text("profile: laptop\n")
    (checkout / "notebooks" / "other.py").write_text(TINY)
    done: list[str] = []
    monkeypatch.setattr(book, "execute", lambda page, *_, **__: done.append(page))
    monkeypatch.setattr(book, "stage", lambda source, *_, **__: source)
    monkeypatch.setattr(book, "build_site", lambda *_: checkout / "index.html")
    book.build_book("laptop", root=checkout)
    assert done == ["tiny"]
    assert "Not executed at profile laptop: other." in capsys.readouterr().out
    with pytest.raises(PageError, match="page 'other' has the profiles"):
        book.build_book("laptop", ["other"], root=checkout)


def test_buttons_and_sitemap_come_with_the_address_of_the_repository(checkout: Path) -> None:
    def built() -> tuple[str, str, bool]:
        more = nbformat.v4.new_markdown_cell("# Ablations", metadata={"tags": ["more"]})
        site = book.build_site(executed(checkout, more), checkout).parent
        pages = [(site / "notebooks" / f"{name}.html").read_text("utf-8") for name in ("tiny", "tiny_more")]
        return *pages, (site / "sitemap.xml").is_file()  # type: ignore[return-value]

    *texts, sitemap = built()
    elsewhere = ("github.com", "mybinder.org", "colab.research", "/edit/", "/issues/")
    assert not any(word in text for word in elsewhere for text in texts)
    assert not sitemap
    assert book.write_for_colab(checkout / "colab", checkout) == []
    with (checkout / "pyproject.toml").open("a") as file:
        file.write(f'[project.urls]\nRepository = "{ADDRESS}"\n')
    *texts, sitemap = built()
    for text in texts:  # a page's further part is in the same notebook
        assert f"{ADDRESS}/edit/main/notebooks/tiny.py" in text
        assert f"{ADDRESS}/issues/new" in text
        assert (
            "https://mybinder.org/v2/gh/Someone/companion/main?urlpath=lab/tree/notebooks/tiny.ipynb" in text
        )
        assert (
            "https://colab.research.google.com/github/Someone/companion/blob/colab/notebooks/tiny.ipynb"
            in text
        )
    assert 'rel="canonical" href="https://someone.github.io/companion/notebooks/tiny.html"' in texts[0]
    assert sitemap


def test_what_colab_opens_is_the_reference_behind_a_cell_that_installs(checkout: Path) -> None:
    reference = checkout / "notebooks" / "tiny.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[cell("print(20)")]), reference)
    before = reference.read_bytes()
    with (checkout / "pyproject.toml").open("a") as file:
        file.write(f'[project.urls]\nRepository = "{ADDRESS}"\n')
    (written,) = book.write_for_colab(checkout / "colab", checkout)
    assert written == checkout / "colab" / "notebooks" / "tiny.ipynb"
    first, *others = nbformat.read(written, as_version=4).cells
    assert first.source == book.install_cell(f"pdlib @ {ADDRESS}/archive/refs/heads/main.zip")
    assert [c.source for c in others] == ["print(20)"]
    assert reference.read_bytes() == before


def test_the_address_of_the_repository_stands_in_one_place() -> None:
    text = (ROOT / "_config.yml").read_text("utf-8") + (ROOT / "_toc.yml").read_text("utf-8")
    assert "github.com" not in text


def test_a_table_has_no_numbers_of_rows_but_keeps_their_names() -> None:
    table = pd.DataFrame({"method": ["one-shot", "progressive"], "n": [3, 4]})
    shown = re.findall(r"<t[hd]>(.*?)</t[hd]>", book._without_numbers(table.to_html()))
    assert shown == ["method", "n", "one-shot", "3", "progressive", "4"]
    assert "<th>progressive</th>" in book._without_numbers(table.set_index("method").to_html())


def test_a_page_alone_is_staged_with_its_second_part_and_the_bibliography(checkout: Path) -> None:
    verdict = cell(
        "beside()",
        **{"text/html": "<p id='shown-claim-r1'><a href='../book/claims.html#claim-r1'>R1</a></p>"},
    )
    executed(checkout, verdict, nbformat.v4.new_markdown_cell("# Ablations", metadata={"tags": ["more"]}))
    assert "claims.html" in str(staged(checkout / "src"))
    book.stage(checkout / "src", checkout / "exec", alone="tiny", root=checkout)
    (part,) = yaml.safe_load((checkout / "src" / "_toc.yml").read_text("utf-8"))["parts"]
    assert part["chapters"] == [
        {"file": "notebooks/tiny", "sections": [{"file": "notebooks/tiny_more"}]},
        {"file": "book/notation"},
        {"file": "book/bibliography"},
    ]
    assert "claims.html" not in str(staged(checkout / "src"))
    assert not (checkout / "src" / "book" / "claims.md").exists()


def test_the_reference_has_one_page_per_module_and_what_serves_the_others_comes_last(checkout: Path) -> None:
    source = executed(checkout)
    reference = yaml.safe_load((source / "_toc.yml").read_text("utf-8"))["parts"][-1]
    files = [section["file"] for section in reference["chapters"][0]["sections"]]
    assert files == ["book/api/pdlib.schedules", "book/api/pdlib.bench"]
    assert ".. automodule:: pdlib.schedules\n" in (source / "book" / "api" / "pdlib.schedules.md").read_text(
        "utf-8"
    )
    assert "| [`pdlib.schedules`](api/pdlib.schedules.md) | What `schedules` holds. |" in (
        source / "book" / "api.md"
    ).read_text("utf-8")

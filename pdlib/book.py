"""The book: executed pages staged with what is written by hand and what is generated, then built by Sphinx.

``_build/src/`` is the source that Sphinx reads and turns into ``_build/html/``. Staging gives executed pages the form in
which they are read: figures as vectors for wide and narrow screens, code folded, parameters as a table, ablations on a page
of their own. The extra ``book`` is needed.
"""

from __future__ import annotations

import ast
import copy
import html
import importlib
import io
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from pdlib.files import write_bytes
from pdlib.install import optional
from pdlib.pages import PageError, checkout, declared_parameters, execute, load_parameters, page_names

if TYPE_CHECKING:
    import pandas as pd

MORE = "_more"  # in the names of a page's further parts
SVG, NARROW_SVG = "image/svg+xml", "application/x-narrow+svg"  # of a figure in an executed page
REFERENCE = "Reference"  # the part of the contents with the package's documentation, which is not printed
_API = """\
# The package `pdlib`

A page declares *specs*, asks the *engine* for their tables, and draws and judges what comes back; the *store* keeps results
under the fingerprint of the spec that made them. Public names load when they are first used: `import pdlib` is quick, and
only what trains pays for importing torch."""
_AT_THE_END = tuple(  # what serves the others
    f"pdlib.{name}"
    for name in ("bench", "compiled", "contents", "fields", "files", "install", "progress", "sources")
)
_LEDGER = re.compile(
    r"<a href='\.\./book/claims\.html[^']*'>(.*?)</a>"
)  # a link to where a page alone has nothing
COLAB = "colab"  # the branch whose notebooks Colab opens, see `write_for_colab`
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def stage(destination: Path, executed: Path, *, alone: str = "", root: Path | None = None) -> Path:
    """Assemble the book's source: hand-written text, executed pages, generated pages, configuration.

    Sphinx reads this tree and not the checkout, which also holds environments, tests and build output. `destination` is
    replaced; a page that is not in the folder `executed` is taken from its committed reference. With `alone` the book is
    this page and the bibliography.
    """
    root = root or checkout()
    found = {}
    for page in [alone] if alone else page_names(root):
        places = [folder / f"{page}.ipynb" for folder in (executed, root / "notebooks")]
        if not any(place.is_file() for place in places):
            raise PageError(f"page {page!r} has not been executed: no {places[0]} and no {places[1]}.")
        found[page] = next(place for place in places if place.is_file())
    shutil.rmtree(destination, ignore_errors=True)
    left_out = shutil.ignore_patterns("__pycache__", "results")
    shutil.copytree(root / "book", destination / "book", ignore=left_out)
    (destination / "notebooks").mkdir()
    contents = yaml.safe_load((root / "_toc.yml").read_text("utf-8"))
    if alone:
        files = (
            f"notebooks/{alone}",
            "book/notation",
            "book/bibliography",
        )  # what its equations and citations name
        chapters: list[dict[str, Any]] = [{"file": file} for file in files]
        contents = {
            "format": "jb-book",
            "root": "book/alone",
            "parts": [{"caption": "This page", "chapters": chapters}],
        }
    for page, path in found.items():
        notebook = optional("nbformat", "notebooks").read(path, as_version=4)
        parts = _in_parts(_for_readers(notebook, page, destination, root, bool(alone)), page)
        for name, part in parts.items():
            optional("nbformat", "notebooks").write(part, destination / "notebooks" / f"{name}.ipynb")
        for chapter in itertools.chain(*(part["chapters"] for part in contents["parts"])):
            if chapter["file"] == f"notebooks/{page}" and len(parts) > 1:
                chapter["sections"] = [{"file": f"notebooks/{name}"} for name in [*parts][1:]]
    config = _site_config(root)
    (destination / "_config.yml").write_text(yaml.safe_dump(config, sort_keys=False), "utf-8")
    if alone:
        text = f"# {alone}\n\nOne page of the book, executed by itself: {{doc}}`../notebooks/{alone}`.\n"
        (destination / "book" / "alone.md").write_text(text, "utf-8")
    else:
        _stage_ledger(destination)
        contents["parts"].append(_stage_api(destination / "book", root / "pdlib"))
    _stage_training(destination)
    (destination / "_toc.yml").write_text(yaml.safe_dump(contents, sort_keys=False), "utf-8")
    return destination


# An executed page as its readers get it


def _in_parts(notebook: Any, page: str) -> dict[str, Any]:
    """Cut a page before each cell tagged `more`: the main path, then ablations and further sizes, by their files' names.

    What a further part is called stands in its first heading.
    """
    cuts = [i for i, cell in enumerate(notebook.cells) if "more" in _tags(cell)]
    parts = {}
    for n, (start, stop) in enumerate(itertools.pairwise([0, *cuts, len(notebook.cells)])):
        part = copy.copy(notebook)
        part["cells"] = notebook.cells[start:stop]
        parts[page + (f"{MORE}{n}" if n > 1 else MORE * n)] = part
    return parts


def _for_readers(notebook: Any, page: str, destination: Path, root: Path, alone: bool) -> Any:
    """Fold code but for the cells tagged `show`, tell the parameters in a table, and link figures as vectors."""
    cells, folder = [], destination / "book" / "_ext" / "static" / "figures"
    n_figures = 0
    for cell in notebook.cells:
        if "injected-parameters" in _tags(cell):
            continue
        if "parameters" in _tags(cell):
            cell = _parameter_table(notebook, page, root)
        elif cell.cell_type == "code":
            if not {"show", "remove-input"} & set(_tags(cell)):
                cell.metadata["tags"] = [*_tags(cell), "hide-input"]
            words = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
            for output in cell.outputs:
                if "dataframe" in output.get("data", {}).get("text/html", ""):
                    output["data"]["text/html"] = _without_numbers(output["data"]["text/html"])
                if alone and "text/html" in output.get("data", {}):
                    output["data"]["text/html"] = _LEDGER.sub(r"\1", output["data"]["text/html"])
                if SVG in output.get("data", {}):
                    n_figures += 1
                    _link_figure(output, folder, f"{page}-{n_figures}", words)
        cells.append(cell)
    notebook["cells"] = cells
    _let_verdicts_move(notebook)
    return notebook


def _let_verdicts_move(notebook: Any) -> None:
    """Put beside a page's verdicts what lets a reader judge them again."""
    found = [
        output["data"] for cell in notebook.cells for output in cell.get("outputs", ()) if "data" in output
    ]
    if found := [data for data in found if "pd-verdicts" in data.get("text/html", "")]:
        claims = importlib.import_module("pdlib.claims")
        first = claims.largest(claims.ledger())
        for data in found:
            data["text/html"] = claims.movable(data["text/html"], first)


def _without_numbers(table: str) -> str:
    """Return a table of pandas without numbers of rows."""
    head, _, body = table.partition("<tbody>")
    numbers = re.findall(r"<tr>\s*<th>(.*?)</th>", body)
    if numbers == [str(i) for i in range(len(numbers))]:
        head, body = head.replace("<th></th>", "", 1), re.sub(r"<th>\d+</th>", "", body)
    return f"{head}<tbody>{body}"


def _tags(cell: Any) -> list[str]:
    return list(cell.metadata.get("tags", []))


def _parameter_table(notebook: Any, page: str, root: Path) -> Any:
    """Return a folded table of what a page was run with: its defaults, and what papermill put in their place."""
    values = {name: parameter.default for name, parameter in declared_parameters(page, root=root).items()}
    for cell in notebook.cells:
        if "injected-parameters" in _tags(cell):
            for node in ast.parse(cell.source).body:
                assert isinstance(node, ast.Assign)
                values[ast.unparse(node.targets[0])] = ast.literal_eval(node.value)
    rows = "".join(
        f"<tr><th scope='row'><code>{name}</code></th><td>{html.escape(_spelled(values[name]))}</td>"
        f"<td>{html.escape(parameter.comment)}</td></tr>"
        for name, parameter in declared_parameters(page, root=root).items()
    )
    text = (
        f"<details class='pd-fold'><summary>This page was run with: profile "
        f"<code>{html.escape(str(values.get('profile')))}</code></summary><div class='pd-wide'>"
        "<table class='pd-table'><thead><tr><th>parameter</th><th>value</th><th>what it is</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div></details>"
    )
    return optional("nbformat", "notebooks").v4.new_markdown_cell(text, id="parameters")


def _spelled(value: Any) -> str:
    """Write a parameter's value as a person would."""
    if isinstance(value, list):
        return ", ".join(map(_spelled, value))
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _link_figure(output: Any, folder: Path, name: str, words: str) -> None:
    """Put in the place of a figure's vectors a link to them, for wide and for narrow screens, above where they come from."""
    folder.mkdir(parents=True, exist_ok=True)
    data, known = output["data"], output.get("metadata", {})
    sizes = {}
    for kind, ending in ((SVG, ""), (NARROW_SVG, "-narrow")):
        if kind in data:
            (folder / f"{name}{ending}.svg").write_text(data[kind], "utf-8")
            sizes[ending] = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', data[kind])
    at, box = f"../_static/figures/{name}", sizes[""]
    assert box is not None
    width, height = (round(float(length) * 4 / 3) for length in box.groups())  # points to pixels
    narrow = f"<source media='(max-width: 600px)' srcset='{at}-narrow.svg'>" if "-narrow" in sizes else ""
    image = f"<img src='{at}.svg' alt='{html.escape(words, quote=True)}' width='{width}' height='{height}'>"
    source = html.escape(str(known.get("provenance", "")))
    shown = (
        f"<div class='pd-figure{'' if narrow else ' pd-scrolls'}'>"
        f"<a href='{at}.svg' aria-label='Open this figure by itself'><picture>{narrow}{image}</picture></a></div>"
        + (
            f"<details class='pd-from'><summary>Where this comes from</summary>{source}</details>"
            if source
            else ""
        )
    )
    output["data"], output["metadata"] = {"text/html": shown, "text/plain": words}, {}


# What is generated


def _stage_ledger(destination: Path) -> None:
    """Write the ledger's page, its files for machines, and the numbered results into the first page, with links."""
    paths = sorted((destination / "notebooks").glob("*.ipynb"))
    staged = {path.stem: path.read_text("utf-8") for path in paths}
    outdated = importlib.import_module("pdlib.store").Store().outdated("published")
    claims = importlib.import_module("pdlib.claims")
    shown = {
        claim.id: page
        for claim in claims.register()
        for page, text in staged.items()
        if f"id='shown-{claims.anchor(claim.id)}'" in text
    }
    (destination / "book" / "claims.md").write_text(claims.ledger_markdown(None, outdated, shown), "utf-8")
    claims.export(destination / "book" / "_ext" / "static" / "ledger", None, outdated)
    intro = destination / "book" / "intro.md"
    results = claims.numbered_results(claims.ledger(outdated=outdated), shown)
    text = intro.read_text("utf-8").replace("<!-- the numbered results -->", results)
    intro.write_text(text.replace("<!-- the opening figure -->", _opening_figure()), "utf-8")


def _stage_training(destination: Path) -> None:
    """Put what trains in the reader's browser in its places, its script and the labels it loads beside the pages."""
    pages = [path for folder in ("book", "notebooks") for path in sorted((destination / folder).glob("*.*"))]
    texts = {path: path.read_text("utf-8") for path in pages if path.suffix in (".md", ".ipynb")}
    texts = {path: text for path, text in texts.items() if "<!-- train a " in text}
    if not texts:
        return
    browser = importlib.import_module("pdlib.browser")
    students = browser.students()
    widgets = {"student": browser.published_markup(students), "teacher": browser.live_markup()}
    for path, text in texts.items():
        for what, markup in widgets.items():
            shown = json.dumps(markup)[1:-1] if path.suffix == ".ipynb" else markup
            text = text.replace(f"<!-- train a {what} -->", shown)
        path.write_text(text, "utf-8")
    folder = destination / "book" / "_ext"
    (folder / "static" / browser.SCRIPT).write_text(browser.script(folder / "widget"), "utf-8")
    if students:
        (folder / "static" / browser.LABELS_SCRIPT).write_text(browser.labels_script(students), "utf-8")


def _opening() -> dict[str, pd.DataFrame]:
    """Return the tables of one published teacher of the paper's size and its students, around its transition."""
    tables = importlib.import_module("pdlib.published").Published().tables("parity", "paper")
    if not tables:
        return {}
    seed = int(tables["candidates"].seed.iloc[-1])
    one = {name: table[table.seed == seed] for name, table in tables.items() if "seed" in table}
    one["teacher"] = one["teacher"][one["teacher"].step <= 1.3 * one["candidates"].step.max()]
    one["students"] = one["students"][one["students"].step <= 4e6]
    return one


def _opening_figure() -> str:
    """Return the whole idea as a figure: what the checkpoints of a teacher teach."""
    if not (one := _opening()):
        return ""
    steps = one["candidates"].set_index("candidate").step
    method = one["students"].method.str.removeprefix("two_checkpoint_")
    students = one["students"].assign(checkpoint=method.map(steps))
    draw = importlib.import_module("pdlib.diagrams").interactive_checkpoints
    taught = students[students.checkpoint.notna()]
    return str(draw(one["teacher"], one["label_correlations"], taught, name="opening").markup)


def write_card(path: Path) -> None:
    """Draw the same, still, for the README and for who links to the book; nothing if no such result is published."""
    if not (one := _opening()):
        return
    plots, plt = importlib.import_module("pdlib.figures"), importlib.import_module("matplotlib.pyplot")
    plots.house_style()
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 4.2), sharey=True, layout="constrained")
    plots.plot_seeds(one["teacher"], left, label="a teacher")
    plots.mark_candidates(one["candidates"], left)
    shown = one["students"].method.str.contains("two_checkpoint|one_shot_hard")
    plots.plot_accuracy(one["students"][shown], right)
    for ax, title in (
        (left, "a wide teacher"),
        (right, "its narrow students"),
    ):
        ax.set_title(title, fontsize=10)
        ax.legend(fontsize=8)
    data = io.BytesIO()
    figure.savefig(data, dpi=150, metadata={"Software": None})
    plt.close(figure)
    write_bytes(path, data.getvalue())


def _address(root: Path) -> str:
    """The repository's address, which stands in one place, ``[project.urls] Repository`` of pyproject.toml."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    return str(project.get("urls", {}).get("Repository", "")).rstrip("/").removesuffix(".git")


def _site_config(root: Path) -> dict[str, Any]:
    """``_config.yml`` with what follows from the repository's address; without one no button would lead anywhere."""
    config: dict[str, Any] = yaml.safe_load((root / "_config.yml").read_text("utf-8"))
    if not (url := _address(root)):
        return config
    config["repository"] = {"url": url, "branch": "main", "path_to_book": ""}
    config["launch_buttons"] = {"notebook_interface": "jupyterlab", "binderhub_url": "https://mybinder.org"}
    html = config.setdefault("html", {})
    html |= {"use_repository_button": True, "use_issues_button": True, "use_edit_page_button": True}
    if github := re.fullmatch(r"https://github\.com/([^/]+)/([^/]+)", url):
        config["launch_buttons"]["colab_url"] = (
            "https://colab.research.google.com"  # opens GitHub's notebooks alone
        )
        html["baseurl"] = f"https://{github[1].lower()}.github.io/{github[2]}/"
        config["sphinx"]["extra_extensions"].append("sphinx_sitemap")  # a sitemap needs full addresses
        config["sphinx"]["config"]["sitemap_url_scheme"] = "{link}"
    return config


def install_cell(package: str) -> str:
    """Return the first cell of a notebook for Colab: it installs the package where it cannot be imported.

    >>> "pip" in install_cell("pdlib")
    True
    """
    return f"""\
# Installs the companion's package, on Colab or wherever it is missing; it takes a minute or two
import importlib.util, subprocess, sys

if importlib.util.find_spec("pdlib") is None:
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", {package!r}], check=True)
    importlib.invalidate_caches()
"""


def write_for_colab(folder: Path, root: Path) -> list[Path]:
    """Write the pages as Colab opens them, the references behind a cell that installs the package; none without an address.

    The workflow ``publish`` pushes the folder to a branch of its own: so pages and references in the repository are without
    that cell.
    """
    if not (url := _address(root)):
        return []
    nbformat, paths = optional("nbformat", "notebooks"), []
    (folder / "notebooks").mkdir(parents=True, exist_ok=True)
    for page in page_names(root):
        notebook = nbformat.read(root / "notebooks" / f"{page}.ipynb", as_version=4)
        source = install_cell(f"pdlib @ {url}/archive/refs/heads/main.zip")
        notebook.cells.insert(0, nbformat.v4.new_code_cell(source, id="install"))
        paths.append(folder / "notebooks" / f"{page}.ipynb")
        nbformat.write(notebook, paths[-1])
    return paths


def _stage_api(book: Path, package: Path) -> dict[str, Any]:
    """Write the reference, one page per module and a table of them all; return its part of the table of contents.

    The modules are those of the folder, in the order of their names, those in `_AT_THE_END` last.
    """
    docstrings = {}
    for path in package.rglob("*.py"):
        parts = path.relative_to(package.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        docstring = ast.get_docstring(ast.parse(path.read_text("utf-8")))
        if docstring and not re.search(r"\._", name):
            docstrings[name] = " ".join(docstring.split("\n\n")[0].split())
    names = sorted(docstrings, key=lambda name: (name.startswith(_AT_THE_END), name))
    (book / "api").mkdir()
    for name in names:
        text = (
            f"# `{name}`\n\n```{{eval-rst}}\n.. automodule:: {name}\n   :members:\n   :ignore-module-all:\n"
        )
        (book / "api" / f"{name}.md").write_text(f"{text}   :member-order: bysource\n```\n", "utf-8")
    rows = [f"| [`{name}`](api/{name}.md) | {docstrings[name]} |".replace("``", "`") for name in names]
    table = "\n".join(["| module | what it holds |", "| --- | --- |", *rows])
    (book / "api.md").write_text(f"{_API}\n\n{table}\n", "utf-8")
    chapter = {"file": "book/api", "sections": [{"file": f"book/api/{name}"} for name in names]}
    return {"caption": REFERENCE, "chapters": [chapter]}


# Building


def build_book(profile: str, pages: Sequence[str] | None = None, *, root: Path | None = None) -> Path:
    """Execute the pages at a profile's values and build the book from them, warnings being errors.

    By default all pages that have the profile are executed; the others are shown as last executed, or as their committed
    reference. Returned is the built ``index.html``, which opens without a server and without a network.
    """
    root = root or checkout()
    optional("jupyter_book", "book")  # before pages run for hours
    pages = pages or page_names(root, profile)
    if left := sorted(set(page_names(root)) - set(pages)):
        print(f"Not executed at profile {profile}: {', '.join(left)}.", flush=True)
    values = {page: load_parameters(profile, page, root=root) for page in pages}  # all, before any runs
    executed = root / "_build" / "exec"
    for page, asked in values.items():
        declared = declared_parameters(page, root=root)
        changed = {name: value for name, value in asked.items() if value != declared[name].default}
        execute(page, executed / f"{page}.ipynb", changed, root=root, vectors=True)
    write_for_colab(root / "_build" / COLAB, root)
    index = build_site(stage(root / "_build" / "src", executed, root=root), root)
    print(f"The book is at {index.as_uri()}", flush=True)
    return index


def view(page: str, values: Mapping[str, object], *, root: Path | None = None) -> Path:
    """Execute a page at some values and render it alone; return its HTML in ``_build/view/<page>``, which opens from disk.

    References to other pages of the book are words there instead of links.
    """
    root = root or checkout()
    optional("jupyter_book", "book")
    folder = root / "_build" / "view" / page
    execute(page, folder / "exec" / f"{page}.ipynb", values, root=root, vectors=True)
    build_site(stage(folder / "src", folder / "exec", alone=page, root=root), folder, strict=False)
    return folder / "_build" / "html" / "notebooks" / f"{page}.html"


def build_site(source: Path, output: Path, *, strict: bool = True) -> Path:
    """Turn a staged source tree into ``<output>/_build/html`` and return its ``index.html``; a warning is an error."""
    html = output / "_build" / "html"
    shutil.rmtree(html, ignore_errors=True)  # pages that are gone from the source
    options = ("-q", "-W", "--keep-going") if strict else ("-q", "-q")
    _jupyter_book("build", str(source), "--path-output", str(output), "--all", *options)
    return html / "index.html"


def print_book(*, root: Path | None = None) -> Path:
    """Print the book last staged by :func:`build_book` to ``_build/print/book.pdf``."""
    root = root or checkout()
    source = root / "_build" / "src"
    if not source.is_dir():
        raise PageError(f"no staged book in {source}: run `make book` first.")
    pdf = print_site(source, root / "_build" / "print")
    print(f"The book in print is at {pdf.as_uri()}", flush=True)
    return pdf


def print_site(source: Path, output: Path) -> Path:
    """Turn a staged source tree, its reference left out, into ``<output>/book.pdf``, in a headless browser."""
    browser = find_browser()
    contents = yaml.safe_load((source / "_toc.yml").read_text("utf-8"))
    contents["parts"] = [part for part in contents["parts"] if part["caption"] != REFERENCE]
    output.mkdir(parents=True, exist_ok=True)
    (output / "_toc.yml").write_text(yaml.safe_dump(contents, sort_keys=False), "utf-8")
    options = ("--path-output", str(output), "-q", "-W", "--keep-going", "--all", "--builder", "singlehtml")
    _jupyter_book("build", str(source), "--toc", str(output / "_toc.yml"), *options)
    site = output / "_build" / "singlehtml"
    whole = site / "whole.html"
    shutil.copyfile(site / "book" / "intro.html", whole)  # its files are named relative to the top
    pdf = output / "book.pdf"
    pdf.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [browser, "--headless", "--disable-gpu", "--no-first-run", f"--user-data-dir={profile}"]
        command += ["--virtual-time-budget=30000", "--no-pdf-header-footer"]
        command += ["--no-sandbox"] if getattr(os, "geteuid", lambda: 1)() == 0 else []  # root has none
        subprocess.run([*command, f"--print-to-pdf={pdf}", whole.as_uri()], check=False, capture_output=True)
    if not pdf.is_file():
        raise PageError(f"{browser} wrote no {pdf}.")
    return pdf


def find_browser() -> str:
    """The path of a Chromium or Chrome on this machine."""
    found = next((path for name in _BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        raise PageError(
            f"no browser: expected one of {', '.join(_BROWSERS)} on PATH; on Debian or Ubuntu, "
            "`apt-get install chromium`."
        )
    return found


def _jupyter_book(*arguments: str) -> None:
    """Call jupyter-book of this Python."""
    optional("jupyter_book", "book")
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", *arguments]
    if subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode:
        raise PageError(f"the book did not build without warnings: jupyter-book {' '.join(arguments)}")

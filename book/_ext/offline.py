"""The built book reads from file:// and without a network, and passes an accessibility check.

MathJax comes as one file out of the package ``sphinx-mathjax-offline`` and is copied beside the pages. It is
not kept in a ``_static`` folder of the source: jupyter-book loads every script found there on every page.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ExtensionError
from sphinx.util.fileutil import copy_asset_file


def _mathjax() -> Path:
    """The script that typesets TeX as SVG, with no fonts to fetch."""
    spec = find_spec("sphinx-mathjax-offline")
    if spec is None or spec.origin is None:
        raise ExtensionError("MathJax is not installed: pip install sphinx-mathjax-offline")
    return Path(spec.origin).parent / "static" / "mathjax" / "tex-svg.js"


def _copy_mathjax(app: Sphinx, error: Exception | None) -> None:
    if error is None and app.builder.format == "html":
        folder = Path(app.outdir, "_static", "mathjax")
        folder.mkdir(parents=True, exist_ok=True)
        copy_asset_file(_mathjax(), folder)


def _without_thebe(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Drop the live-code scripts: they load from outside, and the theme declares their constants twice."""

    def is_thebe(asset: Any) -> bool:
        body = str(getattr(asset, "attributes", {}).get("body") or "")
        return "thebe" in f"{getattr(asset, 'filename', asset)} {body}".lower()

    for key in ("script_files", "css_files"):
        context[key] = [asset for asset in context.get(key, []) if not is_thebe(asset)]


def _edit_the_source(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Point a page's edit button at its py:percent source instead of the executed notebook."""
    if page.startswith("notebooks/"):
        for group in context.get("header_buttons", []):
            for button in group.get("buttons", []):
                url = button.get("url", "")
                if "/edit/" in url and url.endswith(".ipynb"):
                    button["url"] = url.removesuffix(".ipynb") + ".py"


def _roles_that_agree(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Leave out the role of a bibliography, which promises list items that its entries are not."""
    if "body" in context:
        context["body"] = context["body"].replace(
            '<div role="list" class="citation-list">', '<div class="citation-list">'
        )


def _add_style(app: Sphinx, config: Config) -> None:
    config.html_static_path.append(str(Path(__file__).parent / "static"))


# Results of a search are shown with an excerpt of the page. From file:// a browser refuses to fetch it.
EXCERPTS_ONLY_ONLINE = "DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = location.protocol !== 'file:';"

# A formula wider than the page scrolls; who reads by keyboard must be able to reach it.
WIDE_FORMULAS_IN_REACH = """
addEventListener("load", () => window.MathJax?.startup?.promise.then(() => {
  for (const formula of document.querySelectorAll('mjx-container[display="true"]'))
    if (formula.scrollWidth > formula.clientWidth) formula.tabIndex = 0;
}));
"""


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("config-inited", _add_style)
    app.add_css_file("book.css")
    app.add_js_file("book.js")
    app.add_js_file(None, body=EXCERPTS_ONLY_ONLINE)
    app.add_js_file(None, body=WIDE_FORMULAS_IN_REACH)
    app.config.mathjax_path = "mathjax/tex-svg.js"
    app.config.mathjax3_config = {"options": {"enableMenu": False}}  # its entries would load further scripts
    app.connect("html-page-context", _without_thebe, priority=999)
    app.connect("html-page-context", _edit_the_source, priority=900)
    app.connect("html-page-context", _roles_that_agree)
    app.connect("build-finished", _copy_mathjax)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

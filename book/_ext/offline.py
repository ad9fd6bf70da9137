"""The built book reads from file:// and without a network, and passes an accessibility check.

MathJax comes as one file out of the package ``sphinx-mathjax-offline`` and is copied beside the pages. It is
not kept in a ``_static`` folder of the source: jupyter-book loads every script found there on every page.
"""

from __future__ import annotations

import html
import json
import re
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


def _lead_to_the_source(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Point a page's buttons at what the repository has: the whole notebook where the page is a part of it, its py:percent
    source to be edited, and for Colab the branch whose notebooks install the package."""
    whole = re.sub(r"_more\d*$", "", page)
    for group in context.get("header_buttons", []):
        for button in group.get("buttons", []) if page.startswith("notebooks/") else []:
            url = button.get("url", "").replace(f"{page}.ipynb", f"{whole}.ipynb")
            if "/edit/" in url and url.endswith(".ipynb"):
                url = url.removesuffix(".ipynb") + ".py"
            if url.startswith("https://colab."):
                url = url.replace("/blob/main/", "/blob/colab/")
            if url:
                button["url"] = url


def _roles_that_agree(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Leave out the role of a bibliography, which promises list items that its entries are not."""
    if "body" in context:
        context["body"] = context["body"].replace(
            '<div role="list" class="citation-list">', '<div class="citation-list">'
        )


def _add_style(app: Sphinx, config: Config) -> None:
    config.html_static_path.append(str(Path(__file__).parent / "static"))


TEXTS: dict[str, str] = {}  # each page's text, in its sections, for the excerpts of a search

# From file:// a browser refuses to fetch the page that an excerpt is cut from; its text is at hand.
EXCERPTS_AT_HAND = """
window.fetch = (url) => Promise.resolve({
  text: () => `<div role="main">${TEXTS[url.replace(/^(\\.\\/)?|\\.html$/g, "")] ?? ""}</div>`,
});
"""


def _keep_text(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Keep a page's text for searches, its first sentences as its description; the page of searches gets them all."""
    if page == "search":
        app.add_js_file("texts.js")
        app.add_js_file(None, body=EXCERPTS_AT_HAND)
    if doctree is None:
        return
    left_out = r"(?s)<(script|style|svg)\b.*?</\1>|<a class=\"headerlink.*?</a>"
    text = re.sub(left_out, " ", context["body"])
    TEXTS[page] = re.sub(r"\s+", " ", re.sub(r"<(?!/?section\b)[^>]*>", " ", text))
    paragraphs = [p.astext() for p in doctree.findall(lambda node: node.tagname == "paragraph")]
    says = re.sub(r"\s+", " ", next(iter(paragraphs), ""))[:200]
    title = re.sub(r"<[^>]*>", "", context["title"])
    card = {"og:title": title, "og:description": says, "og:type": "article"}
    if base := app.config.html_baseurl:  # the address of an image must be whole
        card["og:image"] = f"{base}_static/card.png"
    lines = [f'<meta name="description" content="{html.escape(says)}"/>']
    lines += [f'<meta property="{k}" content="{html.escape(v)}"/>' for k, v in card.items()]
    context["metatags"] = context.get("metatags", "") + "\n".join(lines)


def _add_training(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Load what trains in the reader's browser on the pages that have a place for it."""
    if 'data-widget="train"' in context.get("body", ""):
        app.add_js_file("train.js")


def _write_texts(app: Sphinx, error: Exception | None) -> None:
    if error is None and app.builder.format == "html":
        Path(app.outdir, "_static", "texts.js").write_text(f"const TEXTS = {json.dumps(TEXTS)};", "utf-8")


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
    app.add_js_file("rejudge.js", loading_method="defer")
    app.add_js_file(None, body=WIDE_FORMULAS_IN_REACH)
    app.config.mathjax_path = "mathjax/tex-svg.js"
    app.config.mathjax3_config = {"options": {"enableMenu": False}}  # its entries would load further scripts
    app.connect("html-page-context", _without_thebe, priority=999)
    app.connect("html-page-context", _lead_to_the_source, priority=900)
    app.connect("html-page-context", _roles_that_agree)
    app.connect("html-page-context", _keep_text)
    app.connect("html-page-context", _add_training)
    app.connect("build-finished", _copy_mathjax)
    app.connect("build-finished", _write_texts)
    return {"parallel_read_safe": True, "parallel_write_safe": False}

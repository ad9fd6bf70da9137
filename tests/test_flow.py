"""Who may import whom: from the spec to the table and from the table to the figure, never back."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pdlib

PACKAGE = Path(pdlib.__file__).parent

# Module or package -> what of pdlib it may import, besides its own siblings.
ALLOWED = {
    "install": set(),
    "sequences": set(),
    "sources": set(),
    "fields": set(),
    "compiled": set(),
    "specs": {"sequences", "sources", "fields"},
    "optimizers": {"fields", "specs"},
    "schedules": {"specs"},
    "contents": {"specs"},
    "tasks": {"sequences", "specs", "contents", "compiled"},
    "models": {
        "install",
        "compiled",
        "sequences",
        "specs",
        "contents",
        "files",
        "text",
    },  # a file whole or not at all; published networks' vocabularies
    "probes": {"sequences", "specs", "optimizers", "models", "tasks"},
    "theory": {"sequences", "specs", "compiled", "models", "tasks", "probes"},
    "text": {"install", "sequences", "specs", "compiled", "files", "tasks"},
    "files": set(),
    "published": {"files", "specs"},
    "store": {"files", "published", "specs"},
    "target_rules": {"specs", "models", "tasks"},
    "labels": {"sequences", "specs", "store", "models", "target_rules"},
    "training": {
        "install",
        "sequences",
        "specs",
        "optimizers",
        "compiled",
        "store",
        "models",
        "labels",
        "text",
    },
    "progress": set(),
    "engine": {"files", "install", "sources", "specs", "store", "labels", "training", "progress"},
    "tables": set(),
    "figures": {"tables"},
    "diagrams": {"figures"},
    "words": {"figures", "tables"},
    "claims": {"files", "published", "sources", "specs", "store", "tables", "figures"},
    "pages": {"install", "claims", "files", "store", "progress"},
    "comparison": {
        "specs",
        "optimizers",
        "schedules",
        "store",
        "tables",
        "figures",
        "claims",
        "pages",
        "engine",
        "training",
    },
    "browser": {
        "specs",
        "optimizers",
        "schedules",
        "published",
        "store",
        "labels",
        "models",
        "tasks",
        "tables",
        "figures",
        "comparison",
        "pages",
    },
    "book": {"install", "files", "pages"},
}
LIGHT = [
    "pdlib",
    "pdlib.specs",
    "pdlib.files",
    "pdlib.published",
    "pdlib.store",
    "pdlib.tables",
    "pdlib.figures",
    "pdlib.diagrams",
    "pdlib.claims",
    "pdlib.claims.effects",
    "pdlib.claims.judge",
    "pdlib.claims.ledger",
]


def imported(text: str) -> set[str]:
    """The rooms of pdlib that a module imports at its top or inside its functions, but not for types alone."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name the whole path"
            found |= (
                {f"pdlib.{alias.name}" for alias in node.names}
                if node.module == "pdlib"
                else {node.module or ""}
            )
    return {name.split(".")[1] for name in found if name.startswith("pdlib.")}


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


MODULES = [p for p in sorted(PACKAGE.rglob("*.py")) if room(p) not in ("__init__", "__main__", "bench")]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_module_imports_only_what_lies_to_its_left(path: Path) -> None:
    assert room(path) in ALLOWED, f"say above what {room(path)} may import, and in the picture of the house"
    assert imported(path.read_text("utf-8")) <= ALLOWED[room(path)] | {room(path)}


def test_the_check_of_imports_can_fail() -> None:
    text = "def f():\n    from pdlib.training import train\n    import pdlib.engine\n    from pdlib import labels"
    assert imported(text) == {"training", "engine", "labels"}
    assert not imported(text) <= ALLOWED["figures"]


def test_the_allowed_imports_have_no_circle() -> None:
    left: set[str] = set()
    waiting = dict(ALLOWED)
    while waiting:
        ready = {name for name, needs in waiting.items() if needs <= left}
        assert ready, f"a circle among {sorted(waiting)}"
        left |= ready
        waiting = {name: needs for name, needs in waiting.items() if name not in ready}


def test_nothing_of_the_package_runs_what_a_pickle_holds() -> None:
    for path in PACKAGE.rglob("*.py"):
        names = {
            n.name
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
            for n in getattr(node, "names", ())
            if hasattr(n, "name")
        }
        assert not names & {"pickle", "joblib", "dill", "cloudpickle"}, path
        loads = re.findall(r"torch\.load\([^\n]*", path.read_text("utf-8"))
        assert all("weights_only=True" in call for call in loads), path
        assert "allow_pickle" not in path.read_text("utf-8"), path


def packages(text: str) -> set[str]:
    """The outermost packages that a module imports anywhere."""
    return {
        name.split(".")[0]
        for node in ast.walk(ast.parse(text))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }


def test_transformers_is_a_peer_opens_checkpoints_and_has_trainers_and_nothing_else_of_ours_needs_it() -> (
    None
):
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text("utf-8")
        assert room(path) == "bench" or "transformers" not in packages(text), path
        known = ("huggingface.py", "hub.py", "teacher_schedule.py")
        assert path.name in known or 'optional("transformers"' not in text, path


def test_the_check_of_packages_can_fail() -> None:
    text = "def f():\n    from transformers.models import gpt2\n    import numpy.random as r"
    assert packages(text) == {"transformers", "numpy"}


def loads(*modules: str) -> set[str]:
    """Which of the heavy packages are loaded after these imports, in a fresh process."""
    heavy = "('torch', 'numba', 'transformers')"
    code = f"import sys, {', '.join(modules)}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(ast.literal_eval(done.stdout))


def test_figures_and_verdicts_load_no_torch() -> None:
    assert loads(*LIGHT) == set()


def test_the_check_for_torch_can_fail() -> None:
    assert "torch" in loads("pdlib.engine")


def test_every_public_name_has_an_example() -> None:
    without = [
        name
        for name in dir(pdlib)
        if not name.startswith("_") and ">>>" not in str(getattr(pdlib, name).__doc__)
    ]
    assert without == []


def test_every_kind_is_a_public_name_that_loads_on_first_use_and_a_wrong_one_is_an_error() -> None:
    offered = set(dir(pdlib))
    assert {"Softness", "MLP", "Training", "Store", "execute", "grammar", "load_grammar"} <= offered
    for name in ("Softness", "Store", "execute", "load_grammar"):
        assert getattr(pdlib, name).__name__ == name
    assert not any(name.startswith("_") for name in offered - {"__version__"})
    for wrong in ("Sparse", "labels_", "_FewClasses"):
        with pytest.raises(AttributeError, match=rf"no public name '{wrong}'; it offers .*SparseParity"):
            getattr(pdlib, wrong)

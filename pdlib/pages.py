r"""A page's parameters and its execution.

A page is ``notebooks/<page>.py`` (py:percent), the only form edited by hand. From it come

- ``notebooks/<page>.ipynb``, the reference: executed at the default values, which are the smoke profile;
- ``_build/exec/<page>.ipynb``, executed at the values of ``book/parameters/<profile>/<page>.yaml``.

:func:`check_parameters` runs inside a page and needs little but Python; the rest needs a checkout of the
project and the extra ``notebooks``. `pdlib.book` makes the book of executed pages.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import difflib
import io
import logging
import os
import re
import shutil
import sys
import tempfile
import threading
import time
import tokenize
import tomllib
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from pdlib.files import user_folder, write_bytes, writing
from pdlib.install import optional
from pdlib.progress import Display, appended

SMOKE = "smoke"  # a page's defaults
PROFILES = (
    SMOKE,
    "laptop",
    "desk",
    "paper",
)  # seconds, minutes, hours on two cores (some pages), the paper's
OTHER = "other"  # in the place of a profile: a page ran at values that are not its profile's
GUIDES = ("own", "speed")  # pages that judge nothing: their defaults are their only profile
CHOICES = {"profile": PROFILES, "figures": ("core", "all")}  # the two parameters that every page has
MAY_BE_EMPTY = (
    "label_weights",
    "n_labels",
    "temperatures",
    "variants",
    "widths",
)  # what they vary is then left out

VECTORS = "PDLIB_VECTORS"  # set in the environment of a page's kernel: figures as SVG, for the built book

# how names begin that are IPython's, or that papermill gives by `--inject-paths`
_OTHERS = ("_", "PAPERMILL_")
_LITERALS = (bool, int, float, str, list, tuple, dict, type(None))  # what papermill can inject
_CHECKED = "_pdlib_parameters"  # names found by the first check of a kernel, kept in its namespace
_NOISE = (
    "papermill",
    "execution",
    "ExecuteTime",
    "widgets",
    "jupytext",
)  # metadata that changes from run to run
_WIDGET = "application/vnd.jupyter.widget-view+json"
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class PageError(RuntimeError):
    """A page, or the book made of them, could not be executed, staged or built."""


class ParameterError(ValueError):
    """A page was given a parameter that it does not declare, or a value of the wrong type."""

    def _render_traceback_(self) -> list[str]:
        """IPython's hook: in a page the message alone, without the frames of this module."""
        return [f"{type(self).__name__}: {self}"]


class Parameter(NamedTuple):
    """One line of a page's ``parameters`` cell."""

    kind: Any  # the declared type, such as `int` or `list[float]`
    default: object
    comment: str  # the trailing comment: symbol, unit, the paper's value


# Checking parameters, inside a page and in files


def check_parameters(namespace: MutableMapping[str, Any]) -> dict[str, object]:
    """What a page was asked to run: declared name to value; a `ParameterError` says what is wrong with it.

    A page calls this with ``globals()`` in the cell after its ``parameters`` cell. That cell declares every
    parameter with a type; papermill adds a cell that assigns without one, and only logs a misspelt name. So
    a plain value that a cell assigns and none declares is a misspelt parameter; papermill's own names, and what a startup
    file defines, are not. A later call in the same kernel checks types alone, as
    by then the page has variables of its own. An ``int`` given for a ``float`` is replaced by that float in the
    namespace too, so that 1 and 1.0 describe the same run.

    Examples
    --------
    >>> page = {"__annotations__": {"n_bits": int, "rate": float}, "n_bits": 20, "rate": 1}
    >>> check_parameters(page)
    {'n_bits': 20, 'rate': 1.0}
    >>> del page["_pdlib_parameters"]                       # a fresh kernel
    >>> check_parameters(page | {"n_bitz": 30})
    Traceback (most recent call last):
    pdlib.pages.ParameterError: unknown parameter n_bitz = 30; did you mean n_bits? Declared: n_bits, rate.
    """
    annotations: dict[str, Any] = namespace.get("__annotations__") or {}
    known: Iterable[str] = namespace.get(_CHECKED, annotations)
    declared = {name: annotations[name] for name in known if name in annotations}
    if not declared:
        raise ParameterError(
            "no parameter is declared: run the cell tagged `parameters` first; "
            "each of its lines has a type and a default, such as `n_bits: int = 20`."
        )
    values = {name: namespace[name] for name in declared if name in namespace}
    if _CHECKED not in namespace:
        cells = namespace.get("In")  # IPython's list of what cells ran
        assigned = re.findall(r"^(\w+) *=", "\n".join(cells), re.MULTILINE) if cells else namespace
        values |= {
            name: value
            for name, value in namespace.items()
            if name in assigned and not name.startswith(_OTHERS) and isinstance(value, _LITERALS)
        }
    if complaints := _complaints(values, declared):
        raise ParameterError("\n".join(complaints))
    checked = {name: _as_declared(values[name], kind) for name, kind in declared.items() if name in values}
    namespace.update(checked)
    namespace[_CHECKED] = tuple(declared)
    return checked


def _complaints(values: Mapping[str, object], declared: Mapping[str, Any]) -> list[str]:
    """A sentence for each value whose name or type is not declared."""
    lines = []
    for name, value in values.items():
        kind = declared.get(name)
        if name not in declared:
            close = difflib.get_close_matches(name, declared, n=1)
            guess = f"; did you mean {close[0]}?" if close else "."
            lines.append(f"unknown parameter {name} = {value!r}{guess} Declared: {', '.join(declared)}.")
        elif not _matches(value, kind):
            wrong = f"{name} = {value!r} is {_type_of(value)}"
            lines.append(f"{wrong}, expected {_spelled(kind)}{_hint(value, kind)}.")
        elif name in CHOICES and value not in CHOICES[name]:
            lines.append(f"{name} = {value!r}, expected one of {', '.join(CHOICES[name])}.")
        elif isinstance(value, list) and (twice := [v for i, v in enumerate(value) if v in value[:i]]):
            lines.append(f"{name} = {value!r} holds {twice[0]!r} twice, expected each value once.")
        elif value == [] and name not in MAY_BE_EMPTY:
            lines.append(f"{name} = [] is empty, expected at least one of the {name.replace('_', ' ')}.")
    return lines


def _matches(value: object, kind: Any) -> bool:
    """Whether a value read from YAML or a command line has a declared type; `bool` is no `int` here."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return any(_matches(value, argument) for argument in arguments)
    if origin is list:
        return isinstance(value, list) and all(_matches(item, arguments[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(
            _matches(key, arguments[0]) and _matches(item, arguments[1]) for key, item in value.items()
        )
    if kind in (None, type(None)):
        return value is None
    if kind in (int, float):
        if isinstance(value, bool) or not isinstance(value, (int, kind)):
            return False
        return kind is int or bool(abs(value) <= sys.float_info.max)
    if kind in (bool, str, list, dict):
        return isinstance(value, kind)
    raise ParameterError(
        f"a parameter is declared as {_spelled(kind)}: expected bool, int, float, str, "
        "list[...], dict[..., ...] or one of these `| None`."
    )


def _as_declared(value: Any, kind: Any) -> object:
    """The value with ints turned into floats where floats are declared."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is list:
        return [_as_declared(item, arguments[0]) for item in value]
    if origin is dict:
        return {key: _as_declared(item, arguments[1]) for key, item in value.items()}
    if origin in (typing.Union, types.UnionType):
        return next(_as_declared(value, argument) for argument in arguments if _matches(value, argument))
    return float(value) if kind is float else value


def _type_of(value: object) -> str:
    """The type in words, a list's with its elements' types."""
    if value is None:
        return "None"
    if isinstance(value, list):
        return f"a list of {' and '.join(sorted({type(item).__name__ for item in value})) or 'nothing'}"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _spelled(kind: Any) -> str:
    """A type as one writes it."""
    return kind.__name__ if isinstance(kind, type) and not typing.get_args(kind) else str(kind)


def _hint(value: object, kind: Any) -> str:
    """What to write instead, where a number arrived as text, or is none."""
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return f" of at most {sys.float_info.max:.2g}"
    texts = value if isinstance(value, list) else [value]
    text = next((item for item in texts if isinstance(item, str)), "")
    try:
        number = float(text)
    except ValueError:
        return ""
    if "float" in _spelled(kind) and "e" in text.lower():
        mantissa, _, exponent = text.lower().partition("e")
        point = mantissa if "." in mantissa else f"{mantissa}.0"
        sign = exponent if exponent[0] in "+-" else f"+{exponent}"
        return f": YAML reads {text} as text, write {point}e{sign}"
    return f": write {number:g} without quotes (papermill: -p, not -r)" if kind in (int, float) else ""


# Where things are


def checkout(start: Path | None = None) -> Path:
    """The top folder of a checkout of the project: above the current folder, or above this package.

    Outside of one that is a `PageError`: the installed package alone has no pages.
    """
    starts = [start] if start else [Path.cwd(), Path(__file__).resolve().parent]
    for folder in (above for first in starts for above in (first, *first.parents)):
        project = folder / "pyproject.toml"
        if (
            project.is_file()
            and tomllib.loads(project.read_text("utf-8")).get("project", {}).get("name") == "pdlib"
        ):
            return folder
    raise PageError(
        f"no checkout of the project at or above {starts[0]}: pages and the book are built "
        "from one, so clone the repository and call this inside it."
    )


def page_names(root: Path | None = None, profile: str | None = None) -> list[str]:
    """The pages' names, by folder: each ``notebooks/*.py`` is one; with a profile, those that have values for it."""
    root = root or checkout()
    names = sorted(path.stem for path in (root / "notebooks").glob("*.py"))
    return [n for n in names if profile in (None, SMOKE) or _values(root, str(profile), n).is_file()]


def _values(root: Path, profile: str, page: str) -> Path:
    """The file of a page's values in a profile; the smoke profile, a page's defaults, has none."""
    return root / "book" / "parameters" / profile / f"{page}.yaml"


def _source(page: str, root: Path) -> Path:
    """A page's py:percent file."""
    path = root / "notebooks" / f"{page}.py"
    if not path.is_file():
        unknown_page(page, page_names(root))
    return path


def unknown_page(page: str, known: Sequence[str]) -> typing.NoReturn:
    """Raise that there is no page of this name, and which ones there are."""
    close = difflib.get_close_matches(page, known, n=1)
    guess = f" Did you mean {close[0]}?" if close else ""
    raise PageError(f"no page {page!r}: expected one of {', '.join(known) or 'none yet'}.{guess}")


def declared_parameters(page: str, *, root: Path | None = None) -> dict[str, Parameter]:
    """The parameters of a page, read from its source without running it.

    A `PageError` says so if the page has not exactly one cell tagged ``parameters``, or that cell holds anything but typed
    literals (papermill could not override what is computed from them).
    """
    path = _source(page, root or checkout())
    cells = [
        c.source
        for c in optional("jupytext", "notebooks").read(path).cells
        if "parameters" in c.metadata.get("tags", [])
    ]
    if len(cells) != 1:
        raise PageError(f"{path}: {len(cells)} cells tagged `parameters`, expected one.")
    tokens = tokenize.generate_tokens(io.StringIO(cells[0]).readline)
    comments = {t.start[0]: t.string.lstrip("# ") for t in tokens if t.type == tokenize.COMMENT}
    declared = {}
    for node in ast.parse(cells[0]).body:
        try:
            if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value):
                raise ValueError("a line without a type or a default")
            name, default = node.target.id, ast.literal_eval(node.value)
            kind = _kind(node.annotation)
            if complaints := _complaints({name: default}, {name: kind}):
                raise ValueError(complaints[0])
        except (TypeError, ValueError) as error:
            raise PageError(
                f"{path}: in the `parameters` cell, `{ast.unparse(node)}`: {error}; "
                "expected a typed literal such as `n_bits: int = 20  # d; paper: 100`."
            ) from error
        lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
        declared[name] = Parameter(kind, default, next((comments[n] for n in lines if n in comments), ""))
    return declared


def _kind(annotation: ast.expr) -> Any:
    """The type that an annotation writes, of plain ones, `list`, `dict`, `|` and `None`; nothing of it is run."""
    match annotation:
        case ast.Name("int" | "float" | "bool" | "str" | "list" | "dict" as name):
            return getattr(builtins, name)
        case ast.Subscript(outer, ast.Tuple(elts=inner)):
            return _kind(outer)[tuple(map(_kind, inner))]
        case ast.Subscript(outer, inner):
            return _kind(outer)[_kind(inner)]
        case ast.BinOp(left, ast.BitOr(), right):
            return _kind(left) | _kind(right)
        case ast.Constant(None):
            return None
    raise ValueError(f"`{ast.unparse(annotation)}` is no type of a parameter")


def load_parameters(
    profile: str, page: str, changes: Mapping[str, object] | None = None, *, root: Path | None = None
) -> dict[str, object]:
    """A page's values in one profile, with changes, both checked against what the page declares.

    What ``book/parameters/<profile>/<page>.yaml`` does not name keeps its default; the smoke profile is the defaults,
    without a file. No such file is a `PageError`; an undeclared parameter in it, or a value of the wrong type, a
    `ParameterError` that names the file.
    """
    root = root or checkout()
    declared = declared_parameters(page, root=root)
    path = _values(root, profile, page)
    values: Any = {}
    if profile != SMOKE:
        if not path.is_file():
            found = [p for p in PROFILES if p == SMOKE or _values(root, p, page).is_file()]
            raise PageError(f"no file {path}: page {page!r} has the profiles {', '.join(found)}.")
        values = yaml.safe_load(path.read_text("utf-8")) or {}
    if not isinstance(values, dict):
        raise ParameterError(f"{path}: expected lines such as `n_bits: 20`, got {_type_of(values)}.")
    kinds = {name: parameter.kind for name, parameter in declared.items()}
    complaints = _complaints(values, kinds)
    if "profile" in declared and values.get("profile", declared["profile"].default) != profile:
        complaints.append(f"expected the line `profile: {profile}`, as the file lies in that folder.")
    if complaints:
        raise ParameterError("\n".join(f"{path}: {line}" for line in complaints))
    if complaints := _complaints(changes or {}, kinds):
        raise ParameterError("\n".join(complaints))
    values = {name: parameter.default for name, parameter in declared.items()} | values | dict(changes or {})
    return {name: _as_declared(value, kinds[name]) for name, value in values.items()}


def differences(
    page: str, profile: str, ran: Mapping[str, object], *, root: Path | None = None
) -> dict[str, tuple[object, object]]:
    """Where a page's values are not its profile's: name to both of them; a value that one side lacks is None.

    A `ParameterError` says so if the profile was named and none of its values taken, as by `papermill -p profile laptop`.
    """
    root = root or checkout()
    asked = load_parameters(profile, page, root=root)
    found = {n: (ran.get(n), asked.get(n)) for n in {**asked, **ran} if ran.get(n) != asked.get(n)}
    smoke = load_parameters(SMOKE, page, root=root)
    own = {name for name, value in asked.items() if value != smoke[name]} - {"profile"}
    if own and own <= found.keys():
        path = _values(root, profile, page)
        raise ParameterError(
            f"profile = {profile!r}, but no other value is that profile's: expected those of {path}: papermill -f {path}, "
            f"or python -m pdlib run {page} --profile {profile}."
        )
    return found


# Executing


def execute(
    page: str,
    out: Path,
    parameters: Mapping[str, object] | None = None,
    *,
    root: Path | None = None,
    vectors: bool = False,
) -> Path:
    """Run a page from its source, with these values besides its defaults, and write the executed notebook in one step.

    `out` is a file, or a folder that gets ``<page>.ipynb``.
    The same page run twice gives the same bytes: no times, no random cell ids, no progress bars. How far
    its cells and its trainings are is shown in the terminal or, in plain lines, in the file that standard error
    is. With `vectors` figures are SVG, as the built book wants them, else PNG. Warnings stay in the notebook.
    If a cell fails, a `PageError` shows it with its error, and what ran is kept in
    ``_build/failed/<page>.ipynb``.
    """
    root = root or checkout()
    source = _source(page, root)
    out = out / f"{page}.ipynb" if out.is_dir() else out
    with writing(out):  # before hours of work
        out.parent.mkdir(parents=True, exist_ok=True)
    for variable in ("PDLIB_STORE", "PDLIB_CACHE"):  # the page runs in a folder of its own
        os.environ[variable] = str(user_folder(variable))
    jupytext, nbformat, papermill = (optional(m, "notebooks") for m in ("jupytext", "nbformat", "papermill"))
    notebook = jupytext.read(source)
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        raw, done = Path(folder, "page.ipynb"), Path(folder, "done.ipynb")
        nbformat.write(notebook, raw)
        try:
            with (
                _progress_of_runs(page, Path(folder, "progress")),
                _environment(VECTORS, "1" if vectors else ""),
            ):
                papermill.execute_notebook(
                    str(raw),
                    str(done),
                    parameters=dict(parameters or {}),
                    kernel_name="python3",
                    cwd=str(source.parent),  # as nbval does, so that relative paths agree
                    progress_bar=sys.stderr.isatty() and {"desc": page, "file": sys.stderr},
                )
        except KeyboardInterrupt:
            # else it tells at the end of the cell that was cut off
            logging.getLogger("asyncio").disabled = True
            raise
        except Exception as error:
            kept = root / "_build" / "failed" / f"{page}.ipynb"
            kept.parent.mkdir(parents=True, exist_ok=True)
            if done.is_file():
                shutil.copyfile(done, kept)
            raise PageError(f"{_failure(page, error)}\nWhat ran is in {kept}") from error
        notebook = nbformat.read(done, as_version=4)
    _remove_noise(notebook)
    write_bytes(out, (nbformat.writes(notebook) + "\n").encode())
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    print(f"{page}: {len(code)} cells in {time.monotonic() - start:.0f} s -> {out}", flush=True)
    return out


@contextlib.contextmanager
def _progress_of_runs(page: str, file: Path) -> Iterator[None]:
    """Show in the terminal how far the page's trainings are, which the engine writes to `PDLIB_PROGRESS`."""
    stop = threading.Event()

    def watch() -> None:
        display, states, ended = Display(f"{page}: ", sys.stderr, leave=False), appended(file), False
        while not ended:
            ended = stop.wait(0.5)
            for state in next(states):
                display.show(state)
        display.close()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        with _environment("PDLIB_PROGRESS", str(file)):
            yield
    finally:
        stop.set()
        watcher.join()


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """Set a variable of the environment with which a page's kernel starts."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


def _failure(page: str, error: Exception) -> str:
    """What failed, with the cell's own lines and error, in plain text."""
    if not hasattr(error, "ename"):  # the kernel died, or the notebook is malformed
        return f"page {page!r} stopped: {type(error).__name__}: {error}"
    lines = [f"page {page!r}: its code cell {getattr(error, 'exec_count', '?')} failed:", ""]
    lines += [f"    {line}" for line in str(getattr(error, "source", "")).splitlines()]
    lines += ["", *(_ANSI.sub("", line) for line in getattr(error, "traceback", []))]
    return "\n".join(lines)


def _remove_noise(notebook: Any) -> None:
    """Drop from a notebook, in place, what differs between two runs of the same page."""
    for metadata in (notebook.metadata, *(cell.metadata for cell in notebook.cells)):
        for key in _NOISE:
            metadata.pop(key, None)
    notebook.metadata.get("language_info", {}).pop("version", None)
    for index, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{index}"
        if not cell.metadata.get("tags", True):
            del cell.metadata["tags"]
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not _is_progress(output)]


def _is_progress(output: Any) -> bool:
    """Whether an output is a progress bar: a widget, or standard error that returns to its line's start."""
    if output.output_type == "stream":
        return bool(output.name == "stderr" and "\r" in output.text)
    return _WIDGET in output.get("data", {})


def write_references(pages: Sequence[str] | None = None, *, root: Path | None = None) -> list[Path]:
    """Execute pages at their default values and write ``notebooks/<page>.ipynb``, which nbval compares."""
    root = root or checkout()
    names = [_source(page, root).stem for page in pages or page_names(root)]  # all, before any runs
    return [execute(page, root / "notebooks" / f"{page}.ipynb", root=root) for page in names]

"""The pages as files: parameters, references in sync, and what happens when something is wrong."""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import pytest
import yaml
from tiny import alive, wait_until

from pdlib import pages
from pdlib.files import StoreError, user_folder
from pdlib.pages import PageError, ParameterError

ROOT = Path(__file__).resolve().parents[1]
PAGES = pages.page_names(ROOT)
FILES = [(profile, page) for profile in pages.PROFILES for page in pages.page_names(ROOT, profile)]
TINY = """\
# %% [markdown]
# # A tiny page

# %% tags=["parameters"]
profile: str = "smoke"
figures: str = "core"
n_bits: int = 20  # d; paper: 100
rate: float = 0.5  # eta
widths: list[int] = [1, 2]

# %%
from pdlib import pages

_ = pages.check_parameters(globals())

# %%
print(n_bits, rate)

# %%
n_bits + 1
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A checkout with one small page."""
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "pdlib"\n')
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "tiny.py").write_text(TINY)
    folder = tmp_path / "book" / "parameters" / "laptop"
    folder.mkdir(parents=True)
    (folder / "tiny.yaml").write_text("profile: laptop\nrate: 1\n")
    return tmp_path


def run(*command: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """A program of this Python's environment, with what it printed."""
    words = [sys.executable, "-m", *(str(word) for word in command)]
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)


def nbval(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The comparison that `make test` runs on the references."""
    sanitize = ROOT / "tests" / "nbval_sanitize.cfg"
    options = ("--nbval", "--nbval-current-env", "--nbval-sanitize-with", sanitize, "-p", "no:cacheprovider")
    return run("pytest", *options, *arguments)


# The pages of this checkout


def test_every_page_has_its_place_in_the_book_and_every_parameter_file_its_page() -> None:
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))
    chapters = {chapter["file"] for part in toc["parts"] for chapter in part["chapters"]}
    assert PAGES
    assert {f"notebooks/{page}" for page in PAGES} == {c for c in chapters if c.startswith("notebooks/")}
    files = (path for path in (ROOT / "book" / "parameters").rglob("*") if path.is_file())
    found = {(path.parent.name, path.stem) for path in files}
    assert found == {(profile, page) for profile, page in FILES if profile != "smoke"}
    judged = set(PAGES) - set(pages.GUIDES)
    own = {"checkpoints"}  # its questions are this book's: the paper has no size for them
    assert {("laptop", page) for page in judged} | {("paper", page) for page in judged - own} <= found
    assert sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb")) == PAGES


@pytest.mark.parametrize(("profile", "page"), FILES)
def test_a_parameter_file_holds_what_the_page_declares_and_the_smoke_profile_is_its_defaults(
    page: str, profile: str
) -> None:
    declared = pages.declared_parameters(page, root=ROOT)
    assert {"profile", "figures"} <= set(declared)
    values = pages.load_parameters(profile, page, root=ROOT)
    assert values["profile"] == profile
    if profile == "smoke":
        assert values == {name: line.default for name, line in declared.items()}
    else:
        path = ROOT / "book" / "parameters" / profile / f"{page}.yaml"
        assert set(yaml.safe_load(path.read_text("utf-8"))) == set(declared)


@pytest.mark.parametrize("page", [page for page in PAGES if page not in pages.GUIDES])
def test_the_idea_of_a_page_in_a_few_lines_is_what_the_engine_computes(page: str) -> None:
    text = (ROOT / "notebooks" / f"{page}.ipynb").read_text("utf-8")
    (said,) = (ast.literal_eval(found) for found in re.findall(r"\{[^{}\"]*'equal': [^}]*\}", text))
    assert said["equal"] == said.get("parameters", True)


NUMBER = r"(?<![\w.])(\d[\d,_]*(?:\.\d+)?(?:e-?\d+)?)([kM]?)\b"
NAMED = (  # what bears a number: Figure 7, Theorems 3.2 and B.1, R1, section 3.1
    r"(?i)\b(figures?|theorems?|lemmas?|claims?|corollar(?:y|ies)|propositions?|definitions?|equations?|sections?|appendix|appendices|tables?|items?|"
    r"levels?|R)\s*[A-Z]?\.?\d[\d.]*(?:(?:,|\sand|\sto)\s[A-Z]?\.?\d+[\d.]*)*"
)
SHARES = {50, 75, 90, 95, 99}  # thresholds and intervals, in per cent
TOLD: dict[str, set[float]] = {  # of the page's small example, of its inputs, or numbers of sections
    "hierarchical": {16, 2250, 2750, 4000},
    "parity_transformers": {80},
    "pcfg": {138, 432},
    "theory": {3.2, 128},
    "wiki": {30_522},
}


def numbers(text: str) -> Iterator[tuple[float, str]]:
    """The numbers of a text, with what stands around them."""
    for found in re.finditer(NUMBER, text):
        size = {"": 1, "k": 1e3, "M": 1e6}[found[2]]
        around = text[max(0, found.start() - 40) : found.end() + 20]
        yield float(re.sub("[,_]", "", found[1])) * size, around


def typed_results(page: str, prose: str, root: Path = ROOT) -> list[str]:
    """Numbers in prose that no parameter, section, figure, formula or quotation explains: a result typed by hand."""
    declared = pages.declared_parameters(page, root=root).values()
    files = [path.read_text("utf-8") for path in root.glob(f"book/parameters/*/{page}.yaml")]
    known = {
        v for text in [*(f"{p.default} {p.comment}" for p in declared), *files] for v, _ in numbers(text)
    }
    for unread in (
        r"(?m)^(#|>).*$",
        r"(?s)\$\$.*?\$\$",
        r"\$[^$]*\$",
        r"(\{[\w:]+\})?`[^`]*`",
        r"\([\w-]+\)=",
        NAMED,
    ):
        prose = re.sub(unread, "", prose)
    return [
        around for v, around in numbers(prose) if v > 2 and v not in known | SHARES | TOLD.get(page, set())
    ]


@pytest.mark.parametrize("page", PAGES)
def test_no_result_is_typed_into_a_pages_prose(page: str) -> None:
    cells = jupytext.read(ROOT / "notebooks" / f"{page}.py").cells
    prose = [cell.source for cell in cells if cell.cell_type == "markdown"]
    assert [fault for text in prose for fault in typed_results(page, text)] == []


def test_control_a_typed_result_is_found(tiny: Path) -> None:
    allowed = "# Over 99\n\nWidth 20 of $d = 77$ in Figure 7 (section 3.1), `n = 55`, 90 %.\n\n> 1,234 steps"
    assert typed_results("tiny", allowed, tiny) == []
    (found,) = typed_results("tiny", f"{allowed}\n\nThe student needs 7,500 steps.", tiny)
    assert "7,500" in found


@pytest.mark.parametrize("page", PAGES)
def test_a_page_checks_its_parameters_and_its_reference_is_executed_compared_and_in_sync(page: str) -> None:
    reference = nbformat.read(ROOT / "notebooks" / f"{page}.ipynb", as_version=4)
    source = jupytext.read(ROOT / "notebooks" / f"{page}.py")
    assert faults_of_reference(reference, source) == []
    assert digits(reference)  # something that one changed digit would make fail
    tagged = [i for i, cell in enumerate(source.cells) if "parameters" in cell.metadata.get("tags", [])]
    checks = rf"""check_parameters\(globals\(\)\)|PageRuns\.of\("{page}", globals\(\)\)"""
    setup = source.cells[tagged[0] + 1].source
    assert re.search(checks, setup)
    first = "from pdlib.pages import check_parameters\n\ncheck_parameters(globals())"
    assert setup.startswith(first), "before the imports that take seconds"


def faults_of_reference(reference: Any, source: Any) -> list[str]:
    """Why a committed notebook does not stand for its source; nbval compares no cell without output."""
    faults = []
    if [(c.cell_type, c.source) for c in reference.cells] != [(c.cell_type, c.source) for c in source.cells]:
        faults.append("cells differ from the source: run `make references`")
    code = [cell for cell in reference.cells if cell.cell_type == "code"]
    if [cell.execution_count for cell in code] != list(range(1, len(code) + 1)):
        faults.append("not executed from top to bottom")
    if any(output.output_type == "error" for cell in code for output in cell.outputs):
        faults.append("a cell failed")
    return faults


def test_control_a_stale_or_unexecuted_reference_is_seen(tiny: Path) -> None:
    source = jupytext.read(tiny / "notebooks" / "tiny.py")
    assert faults_of_reference(source, source) == ["not executed from top to bottom"]
    reference = nbformat.read(*pages.write_references(root=tiny), as_version=4)
    assert faults_of_reference(reference, source) == []
    source.cells[-1].source += "  # edited"
    assert faults_of_reference(reference, source) == ["cells differ from the source: run `make references`"]


# A reference that no longer holds


def digits(notebook: Any) -> list[tuple[Any, str]]:
    """The compared outputs of a notebook that hold a digit: where it is written, and under which key."""
    found = []
    for cell in notebook.cells:
        ignored = {"nbval-ignore-output", "nbval-skip"} & set(cell.metadata.get("tags", []))
        if cell.cell_type == "markdown" or ignored or "NBVAL_IGNORE_OUTPUT" in cell.source:
            continue
        for output in cell.outputs:
            place, key = (output, "text") if "text" in output else (output.get("data", {}), "text/plain")
            if re.search(r"\d", place.get(key, "")):
                found.append((place, key))
    return found


def test_one_changed_digit_in_a_reference_fails(tiny: Path) -> None:
    (path,) = pages.write_references(root=tiny)
    assert nbval(path).returncode == 0
    notebook = nbformat.read(path, as_version=4)
    assert len(digits(notebook)) == 2
    place, key = digits(notebook)[1]
    place[key] = re.sub(r"\d", lambda digit: str((int(digit[0]) + 1) % 10), place[key], count=1)
    nbformat.write(notebook, path)
    result = nbval(path)
    assert result.returncode == 1
    assert "1 failed" in result.stdout


# Parameters


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n_bitz": 30}, "unknown parameter n_bitz = 30; did you mean n_bits? Declared: n_bits, rate, "),
        ({"qwerty": 30}, "unknown parameter qwerty = 30. Declared: n_bits, rate, "),
        ({"n_bits": "30"}, "n_bits = '30' is a str, expected int: write 30 without quotes"),
        ({"n_bits": 30.0}, "n_bits = 30.0 is a float, expected int."),
        ({"n_bits": True}, "n_bits = True is a bool, expected int."),
        ({"n_bits": None}, "n_bits = None is None, expected int."),
        ({"rate": "1e-3"}, "rate = '1e-3' is a str, expected float: YAML reads 1e-3 as text, write 1.0e-3."),
        ({"rate": "1.5e6"}, "YAML reads 1.5e6 as text, write 1.5e+6."),
        ({"rate": False}, "rate = False is a bool, expected float."),
        ({"widths": [1, "2"]}, "widths = [1, '2'] is a list of int and str, expected list[int]."),
        ({"widths": 3}, "widths = 3 is an int, expected list[int]."),
        ({"rates": [1, "1e-3"]}, "YAML reads 1e-3 as text, write 1.0e-3."),
        ({"figures": "al"}, "figures = 'al', expected one of core, all."),
        ({"profile": "large"}, "profile = 'large', expected one of smoke, laptop, desk, paper."),
        ({"rate": 10**400}, "0 is an int, expected float of at most 1.8e+308."),
        ({"rate": float("inf")}, "rate = inf is a float, expected float of at most 1.8e+308."),
        ({"seeds": []}, "seeds = [] is empty, expected at least one of the seeds."),
        ({"ngram_sizes": []}, "ngram_sizes = [] is empty, expected at least one of the ngram sizes."),
        ({"seeds": [1, 2, 1]}, "seeds = [1, 2, 1] holds 1 twice, expected each value once."),
    ],
)
def test_a_wrong_parameter_is_named_with_what_was_expected(given: dict[str, object], message: str) -> None:
    kinds = {"n_bits": int, "rate": float, "widths": list[int], "rates": list[float], "seeds": list[int]}
    kinds["ngram_sizes"] = list[int]
    namespace: dict[str, Any] = {
        "__annotations__": kinds | {"limit": int | None, "profile": str, "figures": str},
        "n_bits": 20,
        "rate": 0.5,
        "limit": None,
        "In": ["", "n_bits: int = 20", "".join(f"{name} = {value!r}\n" for name, value in given.items())],
        "Out": {},
        "json": json,
        "Path": Path,
        "_hidden": 3,
        "DEBUG": True,  # a startup file's, which no cell assigned
        "PAPERMILL_INPUT_PATH": "page.ipynb",
    }
    assert pages.check_parameters(dict(namespace)) == {"n_bits": 20, "rate": 0.5, "limit": None}
    with pytest.raises(ParameterError) as error:
        pages.check_parameters(namespace | given)
    assert message in str(error.value)


def test_an_int_given_for_a_float_becomes_that_float_and_a_second_check_leaves_variables_alone() -> None:
    kinds = {"rate": float, "rates": list[float], "limit": float | None, "by_width": dict[str, float]}
    given = {"rate": 1, "rates": [1, 0.5], "limit": 2, "by_width": {"a": 1}}
    namespace: dict[str, Any] = {"__annotations__": kinds, **given}
    expected = "{'rate': 1.0, 'rates': [1.0, 0.5], 'limit': 2.0, 'by_width': {'a': 1.0}}"
    assert str(pages.check_parameters(namespace)) == expected
    assert str({name: namespace[name] for name in kinds}) == expected

    namespace["accuracy"] = 0.5
    assert str(pages.check_parameters(namespace)) == expected
    namespace["rate"] = "much"
    with pytest.raises(ParameterError, match="expected float"):
        pages.check_parameters(namespace)


def test_parameters_cell_is_read_with_types_defaults_and_comments(tiny: Path) -> None:
    assert pages.declared_parameters("tiny", root=tiny) == {
        "profile": (str, "smoke", ""),
        "figures": (str, "core", ""),
        "n_bits": (int, 20, "d; paper: 100"),
        "rate": (float, 0.5, "eta"),
        "widths": (list[int], [1, 2], ""),
    }


def test_types_of_parameters_are_read_and_nothing_in_them_is_run(tiny: Path) -> None:
    source, line = tiny / "notebooks" / "tiny.py", "n_bits: int = 20  # d; paper: 100"
    kinds = {"dict[str, list[float]] = {}": dict[str, list[float]], "float | None = None": float | None}
    for written, kind in kinds.items():
        source.write_text(TINY.replace(line, f"n_bits: {written}"))
        assert pages.declared_parameters("tiny", root=tiny)["n_bits"][0] == kind
    source.write_text(TINY.replace(line, "n_bits: ().__class__.__base__.__subclasses__() = 5"))
    with pytest.raises(PageError, match="is no type of a parameter"):
        pages.declared_parameters("tiny", root=tiny)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("n_bits = 20", "a line without a type"),
        ("n_bits: int = 4 * 5", "expected a typed literal"),
        ("n_bits: Path = 5", "`Path` is no type of a parameter"),
        ("n_bits: int[str] = 5", "expected a typed literal"),
        ("n_bits: int = 2.5", "n_bits = 2.5 is a float, expected int"),
    ],
)
def test_a_parameters_cell_that_is_not_typed_literals_is_an_error(
    line: str, message: str, tiny: Path
) -> None:
    source = tiny / "notebooks" / "tiny.py"
    source.write_text(TINY.replace("n_bits: int = 20  # d; paper: 100", line))
    with pytest.raises(PageError, match=re.escape(message)):
        pages.declared_parameters("tiny", root=tiny)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("profile: laptop\nn_bitz: 3\n", "tiny.yaml: unknown parameter n_bitz = 3; did you mean n_bits?"),
        ("profile: laptop\nrate: 1e-3\n", "tiny.yaml: rate = '1e-3' is a str, expected float: YAML reads"),
        ("profile: paper\n", "tiny.yaml: expected the line `profile: laptop`"),
        ("- 3\n", "tiny.yaml: expected lines such as `n_bits: 20`, got a list of int"),
    ],
)
def test_a_wrong_parameter_file_is_named(text: str, message: str, tiny: Path) -> None:
    (tiny / "book" / "parameters" / "laptop" / "tiny.yaml").write_text(text)
    with pytest.raises(ParameterError, match=re.escape(message)):
        pages.load_parameters("laptop", "tiny", root=tiny)


def test_a_page_is_named_among_those_of_a_profile_that_it_has_a_file_for(tiny: Path) -> None:
    (tiny / "notebooks" / "other.py").write_text(TINY)
    assert pages.page_names(tiny) == ["other", "tiny"]
    assert pages.page_names(tiny, "laptop") == ["tiny"]
    assert pages.page_names(tiny, "desk") == []
    (tiny / "book" / "parameters" / "desk").mkdir()
    (tiny / "book" / "parameters" / "desk" / "tiny.yaml").write_text("profile: desk\nn_bits: 30\n")
    assert pages.page_names(tiny, "desk") == ["tiny"]
    values = {"profile": "desk", "figures": "core", "n_bits": 30, "rate": 0.5, "widths": [1, 2]}
    assert pages.load_parameters("desk", "tiny", root=tiny) == values
    with pytest.raises(PageError, match="has the profiles smoke, laptop, desk"):
        pages.load_parameters("paper", "tiny", root=tiny)
    with pytest.raises(PageError, match="no page 'tinny': expected one of other, tiny"):
        pages.load_parameters("laptop", "tinny", root=tiny)
    with pytest.raises(PageError, match="page 'other' has the profiles smoke\\."):
        pages.load_parameters("desk", "other", root=tiny)


def test_what_differs_from_a_profile_is_told_and_a_profile_in_name_alone_is_an_error(tiny: Path) -> None:
    ran = pages.load_parameters("laptop", "tiny", root=tiny)
    assert pages.differences("tiny", "laptop", ran, root=tiny) == {}
    assert pages.differences("tiny", "laptop", ran | {"n_bits": 30}, root=tiny) == {"n_bits": (30, 20)}
    defaults = pages.load_parameters("smoke", "tiny", root=tiny)
    with pytest.raises(
        ParameterError, match=r"no other value is that profile's: .*papermill -f .*tiny\.yaml"
    ):
        pages.differences("tiny", "laptop", defaults | {"profile": "laptop"}, root=tiny)
    with pytest.raises(ParameterError, match="unknown parameter n_bitz = 3; did you mean n_bits"):
        pages.load_parameters("laptop", "tiny", {"n_bitz": 3}, root=tiny)


@pytest.mark.parametrize("slip", [["--page", "partiy"], ["--page", "parity", "-p", "n_bitz", "3"]])
def test_a_slip_costs_no_earlier_reproduction(slip: list[str], tiny: Path) -> None:
    (tiny / "notebooks" / "tiny.py").rename(tiny / "notebooks" / "parity.py")
    (tiny / "book" / "parameters" / "laptop" / "tiny.yaml").rename(
        tiny / "book/parameters/laptop/parity.yaml"
    )
    work = tiny / "_build" / "reproduce" / "store" / "work"
    work.parent.mkdir(parents=True)
    work.write_text("hours")
    result = run("pdlib", "reproduce", *slip, cwd=tiny)
    assert result.returncode == 1
    assert "no page 'partiy'" in result.stderr or "unknown parameter n_bitz = 3" in result.stderr
    assert work.read_text() == "hours"


def test_raw_papermill_takes_parameters_and_a_profile(tiny: Path) -> None:
    (path,) = pages.write_references(root=tiny)
    profile = tiny / "book" / "parameters" / "laptop" / "tiny.yaml"
    out = tiny / "out.ipynb"
    result = run("papermill", path, out, "-p", "n_bits", "30", "-f", profile)
    assert result.returncode == 0, result.stderr
    assert "30 1.0\n" in out.read_text("utf-8").replace("\\n", "\n")


def test_raw_papermill_fails_on_a_wrong_parameter(tiny: Path) -> None:
    (path,) = pages.write_references(root=tiny)
    result = run("papermill", path, tiny / "out.ipynb", "-p", "n_bitz", "30")
    assert result.returncode != 0
    assert "ParameterError: unknown parameter n_bitz = 30; did you mean n_bits?" in result.stderr
    assert "pdlib/pages.py" not in result.stderr  # the message alone, no frames of the checker


# Executing


def test_a_page_executed_twice_gives_the_same_bytes(tiny: Path) -> None:
    first = pages.execute("tiny", tiny / "a.ipynb", {"n_bits": 7}, root=tiny).read_bytes()
    assert pages.execute("tiny", tiny / "b.ipynb", {"n_bits": 7}, root=tiny).read_bytes() == first
    assert b"papermill" not in first
    assert b"injected-parameters" in first


def test_progress_is_shown_and_left_out_while_warnings_stay(tiny: Path, capfd: Any) -> None:
    lines = [
        "import os, pathlib, sys, warnings",
        "from pdlib.progress import State, append",
        "print('\\rbar', end='', file=sys.stderr, flush=True)",
        "told = pathlib.Path(os.environ['PDLIB_PROGRESS'])",
        "append(told, State(3, 7_000))",
        "append(told, State(3, 7_000, finished=1, under_way=2, done=30, elapsed_s=59, moment='on'))",
        "append(told, State(3, 7_000, finished=1, under_way=2, done=3_000, elapsed_s=60, moment='on'))",
        "append(told, State(3, 7_000, finished=3, done=7_000, elapsed_s=90, moment='end'))",
        "# %%",
        "warnings.warn('look here')",
    ]
    (tiny / "notebooks" / "tiny.py").write_text("# %%\n" + "\n".join(lines) + "\n")
    text = pages.execute("tiny", tiny / "out.ipynb", root=tiny).read_text("utf-8")
    outputs = str([cell.get("outputs") for cell in nbformat.reads(text, as_version=4).cells])
    assert "bar" not in outputs
    assert "look here" in outputs
    shown = capfd.readouterr().err
    assert [line for line in shown.splitlines() if line.startswith("tiny: ")] == [
        "tiny: 0 of 3 runs done; 0 of 7,000 steps",
        "tiny: 1 of 3 runs done, 2 under way; 3,000 of 7,000 steps; 0:01:00 so far, about 0:01:20 left",
        "tiny: 3 of 3 runs done; 7,000 of 7,000 steps; 0:01:30 so far",
    ]
    assert "\r" not in shown  # standard error is no terminal here
    assert "PDLIB_PROGRESS" not in os.environ


LONG = """# %%
import multiprocessing, os, pathlib, threading
import pdlib.engine
from pdlib import MLP, SGD, SparseParity, Training, execute
from pdlib.store import Store
pool, store = pdlib.engine.Pool(), Store("store", published=None)
short = [Training(SparseParity(8, 2), MLP(8), SGD(0.1), 10, 10, seed=s) for s in (0, 1)]
execute(short, store, n_workers=2, pool=pool)
pathlib.Path("workers").write_text(" ".join(str(p.pid) for p in multiprocessing.active_children()))
long = [Training(SparseParity(50, 6), MLP(99), SGD(0.01), 10**9, 10**9, s, checkpoint_every=1000) for s in (0, 1)]
execute(long, store, n_workers=2, pool=pool)
"""
HALTED = """# %%
import os, pathlib, threading
import pdlib.engine
from pdlib import MLP, SGD, SparseParity, Training, execute
from pdlib.store import Store
train, store = pdlib.engine.train, Store("store", published=None)
def slow(spec, store, *, on_steps, **named):
    def halt(n):
        on_steps(n)
        if os.environ.get("HALT") and (store.run_folder(spec) / "progress.safetensors").exists():
            threading.Event().wait()
    return train(spec, store, save_every_s=0, on_steps=halt, **named)
pdlib.engine.train = slow
execute([Training(SparseParity(10, 3), MLP(16), SGD(0.05), 6_000, evaluate_every=500)], store, n_workers=1)
"""


def page_in_another_process(root: Path, text: str, **environment: str) -> subprocess.Popen[bytes]:
    """Execute a page as `python -m pdlib run` does."""
    (root / "notebooks" / "tiny.py").write_text(text)
    code = (
        "import sys; from pathlib import Path; from pdlib import pages;"
        "root = Path(sys.argv[1]); pages.execute('tiny', root / 'out.ipynb', root=root)"
    )
    command = [sys.executable, "-c", code, str(root)]
    return subprocess.Popen(command, env=os.environ | environment, stderr=subprocess.DEVNULL)


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
def test_a_page_that_is_ended_from_outside_ends_its_workers(tiny: Path, sent: signal.Signals) -> None:
    page = page_in_another_process(tiny, LONG)
    runs = tiny / "notebooks" / "store" / "runs"
    wait_until(lambda: len(list(runs.glob("*/checkpoints/?000.safetensors"))) > 1, "a run in a worker")
    workers = [int(pid) for pid in (tiny / "notebooks" / "workers").read_text().split()]
    assert len(workers) == 2
    assert all(alive(worker) for worker in workers)
    page.send_signal(sent)
    assert page.wait() == -sent
    wait_until(lambda: not any(alive(worker) for worker in workers), "the end of the workers")
    assert not (tiny / "out.ipynb").exists()


def test_a_page_that_was_ended_from_outside_goes_on_where_it_was(tiny: Path) -> None:
    page, folder = page_in_another_process(tiny, HALTED, HALT="1"), tiny / "notebooks" / "store" / "runs"
    wait_until(lambda: len(list(folder.glob("*/progress.safetensors"))) > 0, "progress")
    page.terminate()
    page.wait()
    assert not list(folder.glob("*/result.json"))
    assert page_in_another_process(tiny, HALTED).wait() == 0
    assert (tiny / "out.ipynb").exists()
    (result,) = folder.glob("*/result.json")
    assert json.loads(result.read_text())["provenance"]["resumed"] is True


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("rate / 0", "ZeroDivisionError: float division by zero"),
        ("import os; os._exit(3)", "DeadKernelError"),
    ],
)
def test_a_failing_page_shows_its_cell_and_loses_nothing(fault: str, message: str, tiny: Path) -> None:
    out = pages.execute("tiny", tiny / "out.ipynb", root=tiny)
    before = out.read_bytes()
    (tiny / "notebooks" / "tiny.py").write_text(TINY.replace("n_bits + 1", fault))
    with pytest.raises(PageError, match=message) as error:
        pages.execute("tiny", out, root=tiny)
    kept = tiny / "_build" / "failed" / "tiny.ipynb"
    assert str(kept) in str(error.value)
    assert "20 0.5" in kept.read_text("utf-8")  # what ran before
    assert out.read_bytes() == before
    assert "\x1b" not in str(error.value)


def test_ctrl_c_ends_a_page_with_one_line_and_its_own_status(tiny: Path) -> None:
    declared = '# %% tags=["parameters"]\nprofile: str = "smoke"\n\n'
    (tiny / "notebooks" / "tiny.py").write_text(declared + LONG)
    command = [sys.executable, "-m", "pdlib", "run", "tiny"]
    pipe = subprocess.PIPE
    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # what runs in the background ignores it
    page = subprocess.Popen(command, cwd=tiny, stderr=pipe, text=True, start_new_session=True)
    signal.signal(signal.SIGINT, before)
    runs = tiny / "notebooks" / "store" / "runs"
    begun = "*/checkpoints/?000.safetensors"
    wait_until(lambda: len(list(runs.glob(begun))) > 1 or page.poll() is not None, "a run in a worker")
    workers = [int(pid) for pid in (tiny / "notebooks" / "workers").read_text().split()]
    os.killpg(page.pid, signal.SIGINT)
    said = page.communicate()[1]
    assert page.returncode == 130
    assert "Traceback" not in said
    assert re.search(
        r"Interrupted\. What was finished is kept, .*: give the same command again\.$", said.strip()
    )
    wait_until(lambda: not any(alive(worker) for worker in workers), "the end of the workers")


def test_a_page_and_the_command_line_mean_one_place_by_a_relative_folder(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = "# %%\nfrom pdlib.files import user_folder\nprint(user_folder('PDLIB_STORE'), user_folder('PDLIB_CACHE'))\n"
    (tiny / "notebooks" / "tiny.py").write_text(cells)
    monkeypatch.chdir(tiny)
    monkeypatch.setenv("PDLIB_STORE", "mine")
    monkeypatch.setenv("PDLIB_CACHE", "~/texts")
    expected = f"{user_folder('PDLIB_STORE')} {user_folder('PDLIB_CACHE')}"
    assert expected == f"{tiny / 'mine'} {Path.home() / 'texts'}"
    (tiny / "folder").mkdir()
    out = pages.execute("tiny", Path("folder"), root=tiny)
    assert out == Path("folder/tiny.ipynb")
    assert expected in out.read_text("utf-8")
    assert sorted(path.name for path in (tiny / "folder").iterdir()) == ["tiny.ipynb"]


def test_a_place_that_cannot_be_written_is_refused_before_the_page_runs(tiny: Path) -> None:
    (tiny / "file").touch()
    with pytest.raises(StoreError, match=r"cannot write .*file/out\.ipynb"):
        pages.execute("tiny", tiny / "file" / "out.ipynb", root=tiny)
    assert not (tiny / "_build").exists()


def test_outside_of_a_checkout_the_error_says_so(tmp_path: Path) -> None:
    assert pages.checkout(ROOT / "notebooks") == ROOT
    with pytest.raises(PageError, match="clone the repository"):
        pages.checkout(tmp_path)


def test_pages_need_no_torch() -> None:
    loaded = "import sys, pdlib.pages; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"

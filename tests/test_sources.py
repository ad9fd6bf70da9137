"""A user's own code decides results: what changes the hash of a class, what does not, and where there is no source."""

from __future__ import annotations

import importlib
import json
import linecache
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pdlib import engine
from pdlib.engine import RunsFailedError, execute
from pdlib.optimizers import SGD
from pdlib.sources import PROCESS, own_code
from pdlib.specs import UNSAVED, Spec, SpecError
from pdlib.store import Store, StoreError

CLASSES = '''
"""A module of a user's own."""
import functools
import math
from dataclasses import dataclass
import numpy as np
import own_helpers
from pdlib.specs import Calculation
FACTOR = 3
TABLE = np.arange(4)
SEEN = {}
class Base(Calculation):
    unit = 2.0
    def rows(self):
        """Rows."""
        SEEN[self.n] = True  # a cache
        return [{"y": own_helpers.scaled(i) * FACTOR * self.unit + TABLE[0]} for i in range(self.n)]
@dataclass(frozen=True)
class Mine(Base):
    n: int = 2
    @functools.cached_property
    def late(self):
        from own_helpers import late
        return late() + (lambda x: x + 1)(math.pi)
def unused():
    return FACTOR + 1
'''
HELPERS = """
LIMIT = 10
def scaled(x):
    return min(deeper(x), LIMIT)
def deeper(x):
    return 2 * x
def late():
    return 5
def unused():
    return 6
"""


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Write both modules, with changes, and load them as a new process would."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def loaded(*changes: tuple[str, str]) -> Any:
        for name, text in (("own_helpers", HELPERS), ("own_classes", CLASSES)):
            for old, new in changes:
                text = text.replace(old, new)
            (tmp_path / f"{name}.py").write_text(text)
            monkeypatch.delitem(sys.modules, name, raising=False)
        importlib.invalidate_caches()
        return importlib.import_module("own_classes")

    return loaded


@pytest.mark.parametrize(
    "change",
    [
        ("range(self.n)", "range(1, self.n)"),  # its own code
        ("unit = 2.0", "unit = 3.0"),  # an attribute of a base
        ("FACTOR = 3", "FACTOR = 4"),
        ("TABLE = np.arange(4)", "TABLE = np.arange(4)[::-1]"),
        ("SEEN = {}", "SEEN = {0: False}"),
        ("return 2 * x", "return 3 * x"),  # a helper's helper in another module
        ("LIMIT = 10", "LIMIT = 11"),
        ("return 5", "return 7"),  # what is imported in a method
        ("x + 1)", "x + 2)"),
    ],
    ids=lambda change: change[1],
)
def test_whatever_a_class_uses_decides_its_hash(load: Any, change: tuple[str, str]) -> None:
    assert own_code(load().Mine) != own_code(load(change).Mine)


def test_comments_docstrings_layout_and_what_is_not_used_do_not(load: Any) -> None:
    plain = own_code(load().Mine)
    others = [
        ("# a cache", ""),
        ('"""Rows."""', '"""Other\n        words."""'),
        ("min(deeper(x), LIMIT)", "min(\n        deeper(x),  # twice\n        LIMIT,\n    )"),
        ("FACTOR + 1", "FACTOR + 2"),
        ("return 6", "return 8"),
    ]
    for change in others:
        assert own_code(load(change).Mine) == plain, change
    mine = load().Mine
    mine(3).rows()  # fills the cache
    assert own_code(mine) == plain == "632eeb06685bc80e95bb3228177b3896"  # under every version of Python


def test_what_a_running_class_uses_counts_and_not_what_its_file_says_meanwhile(
    load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = load()
    plain = own_code(module.Mine)
    monkeypatch.setattr(module, "FACTOR", 5)
    assert own_code(module.Mine) == own_code(load(("FACTOR = 3", "FACTOR = 5")).Mine) != plain
    module = load()
    (tmp_path / "own_helpers.py").write_text(HELPERS.replace("2 * x", "3 * x"))  # and not loaded again
    assert PROCESS in own_code(module.Mine)
    assert module.Mine().fingerprint.startswith(UNSAVED)
    importlib.reload(sys.modules["own_helpers"])
    assert own_code(module.Mine) == own_code(load(("2 * x", "3 * x")).Mine) != plain


def cell(source: str, name: str, names: dict[str, Any]) -> None:
    """Run a cell as a notebook does, whose lines `linecache` has."""
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    exec(compile(source, name, "exec"), names)


CELL = """
from dataclasses import dataclass
from pdlib.specs import Calculation
@dataclass(frozen=True)
class Celled(Calculation):
    n: int = 2
    def rows(self):
        return [{"y": helper(i)} for i in range(self.n)]
"""


def test_a_class_of_a_notebooks_cell_has_its_source_and_follows_the_cells_it_uses() -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    cell("def helper(i): return i", "/tmp/ipykernel_1/1.py", names)
    cell(CELL, "/tmp/ipykernel_1/2.py", names)
    spec = names["Celled"]()
    before = spec.fingerprint
    assert not before.startswith(UNSAVED)
    names["rows"] = names["y"] = 5  # names of the kernel that the class does not use
    assert spec.fingerprint == before
    cell("def helper(i): return -i", "/tmp/ipykernel_1/3.py", names)
    assert spec.fingerprint != before  # the same object, asked for again
    cell("def helper(i):\n    return i  # as it was", "/tmp/ipykernel_1/4.py", names)
    assert spec.fingerprint == before
    assert not engine._importable(spec)


def test_without_a_source_nothing_is_kept_beyond_the_process_and_that_is_said_once(
    store: Store, recwarn: pytest.WarningsRecorder
) -> None:
    names: dict[str, Any] = {"__name__": "__main__", "helper": lambda i: 2 * i}
    exec(CELL, names)
    spec = names["Celled"](3)
    for source in ("trained now", "local"):
        (record,) = execute([spec], store, progress=False)
        assert (record.source, record.table.y.tolist()) == (source, [0, 2, 4])
    assert not list(store.root.rglob("*.json"))
    assert sum("Celled (<string>)" in str(w.message) for w in recwarn) == 1
    exec("def helper(i): return 3 * i", names)
    (record,) = execute([spec], store, progress=False)
    assert record.table.y.tolist() == [0, 3, 6]
    assert Spec.from_canonical(spec.canonical()) == spec


def test_a_result_of_edited_code_is_computed_again_and_the_old_record_is_of_other_code(
    load: Any, store: Store
) -> None:
    old = load().Mine()
    (first,) = execute([old], store, progress=False)
    (same,) = execute([load(("# a cache", "")).Mine()], store, progress=False)
    assert (same.source, store.outdated("local")) == ("local", {})
    (again,) = execute([load(("FACTOR = 3", "FACTOR = 4")).Mine()], store, progress=False)
    assert again.source == "trained now"
    assert again.table.y.tolist() != first.table.y.tolist()
    record = json.loads(json.dumps(old.canonical()))
    assert Spec.from_canonical(record).fingerprint == old.fingerprint  # its class is still loaded


def test_a_record_of_other_source_is_refused_and_listed(
    load: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = load(("Mine", "Lone")).Lone()
    execute([spec], store, progress=False)
    record = spec.canonical()
    with monkeypatch.context() as patch:
        patch.setattr(type(spec), "unit", 9.0, raising=False)
        with pytest.raises(
            SpecError, match=r"Lone of another source: expected .* Run it again with this code"
        ):
            Spec.from_canonical(record)
        (found,) = store.outdated("local").items()
        assert found[1].startswith("Lone: Lone of another source")
        with pytest.raises(StoreError, match="of another source"):
            store.find(found[0])
    assert store.outdated("local") == {}


def test_of_two_classes_of_one_name_each_reads_its_own_records(load: Any, store: Store) -> None:
    first = load().Mine()
    execute([first], store, progress=False)
    load(("FACTOR = 3", "FACTOR = 4"))
    (record,) = execute([first], store, progress=False)
    assert (record.source, type(record.spec)) == ("local", type(first))


def test_code_that_differs_in_the_worker_or_changes_while_it_runs_is_refused(load: Any, store: Store) -> None:
    module = load(("SEEN[self.n] = True", "globals()['FACTOR'] += 1"))
    with pytest.raises(RunsFailedError, match="other code or globals of its classes after its run"):
        execute([module.Mine()], store, progress=False)
    assert not list(store.root.rglob("result.json"))
    with pytest.raises(SpecError, match="here than in the process that asked for it: expected one source"):
        engine._require_same_code(
            load().Mine(), "0" * 32, "here than in the process that asked for it", "one source everywhere"
        )


SCRIPT = """
import sys, os, pdlib
from dataclasses import dataclass
from pdlib.specs import Calculation
@dataclass(frozen=True)
class Squares(Calculation):
    n: int
    work = 1e12
    def rows(self):
        return [{"square": FACTOR * i * i, "process": os.getpid()} for i in range(self.n)]
FACTOR = 3
if __name__ == "__main__":
    found = pdlib.execute([Squares(3), Squares(4)], n_workers=2, progress=False)
    print([(r.source, r.table.square.tolist(), int(r.table.process[0]) == os.getpid()) for r in found])
"""


def run(script: Path, folder: Path, **how: Any) -> subprocess.CompletedProcess[str]:
    """Run a script with a store of its own; without one, `input` is the standard input."""
    command = [sys.executable, "-" if "input" in how else str(script)]
    environment = os.environ | {"PDLIB_STORE": str(folder / "store"), "PDLIB_PUBLISHED": "ignore"}
    return subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, check=False, **how
    )


def test_a_script_computes_its_own_classes_in_workers_and_a_line_that_changes_makes_them_anew(
    tmp_path: Path,
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    first = run(script, tmp_path)
    assert first.stdout == "[('trained now', [0, 3, 12], False), ('trained now', [0, 3, 12, 27], False)]\n"
    script.write_text(SCRIPT.replace("FACTOR = 3", "FACTOR = 4").replace("Squares(3), ", ""))
    assert run(script, tmp_path).stdout == "[('trained now', [0, 4, 16, 36], False)]\n"


def test_a_script_without_a_guard_or_from_standard_input_is_one_error(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.replace('if __name__ == "__main__":', "for _ in range(1):"))
    done = run(script, tmp_path)
    assert done.stderr.count("Error: ") == 1
    assert "line 13: starts worker processes" in done.stderr
    assert 'expected it under `if __name__ == "__main__":`, or n_workers=1' in done.stderr
    known = SCRIPT.replace("Squares(3), Squares(4)", "pdlib.FourierGap(11)")
    done = run(script, tmp_path, input=known)
    assert done.stderr.count("Error: ") == 1
    assert "a script from <stdin>: expected one in a file" in done.stderr
    done = run(script, tmp_path, input=SCRIPT)  # what workers cannot have runs here, and nothing is kept
    assert done.stdout == "[('trained now', [0, 3, 12], True), ('trained now', [0, 3, 12, 27], True)]\n"
    assert done.stderr.count("the source of Squares (<stdin>) cannot be read") == 1
    assert not list((tmp_path / "store").rglob("*.json"))


@pytest.mark.parametrize(
    ("specs", "others", "message"),
    [
        (SGD(0.1), {}, r"specs = SGD\(.*\): expected a list of runs. Write execute\(\[spec\]\)"),
        ([None], {}, r"specs\[0\] = None: expected a Training, a Measurement or a Calculation"),
        ([], {"store": "folder"}, "store = 'folder': expected a Store"),
        ([], {"n_workers": -1}, "n_workers = -1: expected a whole number of at least 1"),
    ],
)
def test_slips_in_calls_of_execute_are_one_line(
    specs: Any, others: dict[str, Any], message: str, store: Store
) -> None:
    with pytest.raises(SpecError, match=message):
        execute(specs, **{"store": store, **others})
    assert execute(iter([]), store) == []

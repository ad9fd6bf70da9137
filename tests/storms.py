"""Storms: processes killed at random moments, files damaged at random, input that means nothing. `make storms` runs them.

Nothing may come of it but the undisturbed result, bit for bit, or an error of this project that says what to do; and
nothing may be left over. A blow's choices follow from its number, so that it can be repeated alone: `python
tests/storms.py damages 17`.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import golden
import numpy as np
import pandas as pd
import tiny

from pdlib import __main__ as command_line
from pdlib import labels, published
from pdlib.engine import execute
from pdlib.files import TEMPORARY, lock
from pdlib.published import Published, published_folder
from pdlib.schedules import OneShot
from pdlib.specs import Spec, Training
from pdlib.store import Record, Store
from pdlib.text import corpus as texts

TEACHER = tiny.training(n_steps=4000, evaluate_every=1000, checkpoint_every=500)
STUDENTS = [tiny.student(TEACHER, OneShot()), tiny.student(TEACHER, targets="soft", temperature=0.5, seed=1)]
GRAPH = [TEACHER, *STUDENTS, tiny.measurement(TEACHER)]
RESULT = {"page": "parity", "profile": "laptop", "commits": [], "criteria": [], "began": None}
PAGE = """\
# %% tags=["parameters"]
profile: str = "smoke"
n_bits: int = 20
rate: float = 0.5

# %%
import storms
storms.execute(storms.GRAPH, n_workers=n_bits % 3 + 1)
"""
MOMENTS = ("half written", "before the move", "after the move")
PYTHONPATH = os.pathsep.join([str(Path(__file__).parents[1]), str(Path(__file__).parent)])
PLACES = contextlib.ExitStack()  # what lasts as long as the storm


def folder() -> Path:
    return Path(tempfile.mkdtemp(dir=Path.cwd()))


def plain(value: Any) -> Any:
    """What can be compared to the last bit."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, pd.DataFrame):
        return repr(value.to_dict("list"))
    if isinstance(value, Record):
        return value.fingerprint, plain(value.table)
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def numbers(store: Store, spec: Any) -> Any:
    """The table and every parameter of a run."""
    steps = spec.checkpoints if isinstance(spec, Training) else ()
    return plain([store.find(spec.fingerprint), *(store.load_checkpoint(spec, step) for step in steps)])


@cache
def undisturbed() -> tuple[Store, Any]:
    """The store of a graph that nothing happens to, and its numbers."""
    execute(GRAPH, store := Store(folder(), published=None), n_workers=1, progress=False)
    return store, [numbers(store, spec) for spec in GRAPH]


def assert_whole(root: Path) -> None:
    """The results in a store are those of an undisturbed run, and nothing is left over."""
    store = Store(root, published=None)
    assert [numbers(store, spec) for spec in GRAPH] == undisturbed()[1], "other numbers than undisturbed"
    assert not (left := list(root.rglob(f"{TEMPORARY}*"))), f"left over: {left}"
    assert not (left := list(root.rglob("progress.*"))), f"left over: {left}"
    for path in root.glob("locks/*"):
        with lock(path).acquire(timeout=0):
            pass
    assert not (processes := multiprocessing.active_children()), f"left over: {processes}"


# ----------------------------------------------------------------------- kills


@cache
def context() -> Any:
    """Processes that begin with the package loaded."""
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(["golden", "pdlib.engine", "pdlib.__main__", "scipy.stats"])
    return found


def killed(root: Path, target: Callable[..., None], *arguments: Any, **named: Any) -> bool:
    """Call a function in a process that kills itself by SIGKILL; False if it is done before."""
    process = context().Process(target=target, args=arguments, kwargs=named)
    process.start()
    process.join()
    said = (root / "error.txt").read_text() if (root / "error.txt").exists() else ""
    assert process.exitcode in (0, -signal.SIGKILL), f"ended with {process.exitcode}: {said}"
    return bool(process.exitcode)


def training(dice: random.Random, writes: int = 30, first: Path | None = None) -> None:
    root = folder()
    while True:
        shutil.rmtree(root)
        shutil.copytree(first, root) if first else root.mkdir()
        at = {"kill_at_write": dice.randint(1, writes), "moment": dice.choice(MOMENTS)}
        if killed(root, tiny.run, GRAPH, root, **at):
            break  # else all was done before that write
    execute(GRAPH, Store(root, published=None), n_workers=1, progress=False)
    assert_whole(root)


def labelling(dice: random.Random) -> None:
    """The teacher is trained already."""
    first = folder()
    shutil.copytree(undisturbed()[0].run_folder(TEACHER), first / "runs" / TEACHER.fingerprint)
    training(dice, 8, first)


def publish(root: Path, made: Path, name: str, at_write: int = 0, moment: str = "") -> None:
    if at_write:
        tiny._die_at(at_write, moment)
    store = Store(made, published=None)
    found = [record for spec in GRAPH if (record := store.find(spec.fingerprint)) is not None]
    table = found[0].table
    result = RESULT | {"runs": [name], "tables": {"students": published.table_hash(table)}}
    Published(root).write_page("parity", "laptop", found, result, {"students": table})


def publishing(dice: random.Random) -> None:
    (store, expected), root = undisturbed(), folder()
    publish(root, store.root, "old")
    killed(root, publish, root, store.root, "new", dice.randint(1, 5), dice.choice(MOMENTS))
    layer = Published(root)
    for _ in range(2):
        page = layer.page("parity", "laptop")
        assert page is not None
        assert page["runs"] in (["old"], ["new"])
        assert [plain(layer.find(spec.fingerprint)) for spec in GRAPH] == [found[0] for found in expected]
        assert plain(layer.tables("parity", "laptop")["students"]) == expected[0][0][1]
        publish(root, store.root, "new")
    assert [path.name for path in root.iterdir()] == ["parity-laptop"]
    assert not list(root.rglob(f"{TEMPORARY}*"))


def checkout() -> Path:
    """A checkout with one page and one profile."""
    root = folder()
    for name, text in {
        "pyproject.toml": '[project]\nname = "pdlib"\n',
        "README.md": "<!-- glance -->\n<!-- end of glance -->\n",
        "notebooks/tiny.py": PAGE,
        "book/parameters/laptop/tiny.yaml": "profile: laptop\nrate: 1\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def of(mark: Path) -> list[int]:
    """The living processes with a folder in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if os.fsencode(mark) in path.read_bytes() and tiny.alive(int(path.parent.name)):
                found.append(int(path.parent.name))
    return found


def files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file() and path.suffix != ".lock")


def page(dice: random.Random) -> None:
    """The process that executes a page is killed when so many files are there; its kernel ends, and it goes on."""
    root, n = checkout(), dice.randint(0, 12)
    store = root / "store"
    environment = os.environ | {"PDLIB_STORE": str(store), "PDLIB_PUBLISHED": "ignore"}
    command = [sys.executable, "-m", "pdlib", "run", "tiny", "-p", "n_bits", str(dice.randint(1, 9))]
    process = subprocess.Popen(command, cwd=root, env=environment, stdout=-3, stderr=-3)  # to nowhere
    tiny.wait_until(lambda: len(files(store)) >= n or process.poll() is not None, f"{n} files")
    process.kill()
    process.wait()
    tiny.wait_until(lambda: not of(store), "the end of its kernel and workers")
    again = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr[-900:]
    assert_whole(store)


@cache
def cluster() -> Any:
    return PLACES.enter_context(tiny.cluster(folder()))


def dask(dice: random.Random) -> None:
    """One of two workers is killed when so many files are there."""
    client, start_worker = cluster()
    store, n = Store(folder(), published=None), dice.randint(1, 12)
    victim = dice.choice(sorted(client.run(os.getpid).values()))

    def kill() -> None:
        tiny.wait_until(lambda: len(files(store.root)) >= n, f"{n} files")
        os.kill(victim, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    execute(GRAPH, store, executor=client.get_executor(retries=3, pure=False), progress=False)
    killer.join()
    tiny.wait_until(lambda: len(client.scheduler_info()["workers"]) == 1, "the end of a worker")
    start_worker(f"after {victim}")
    client.wait_for_workers(2)
    assert_whole(store.root)


# --------------------------------------------------------------------- damages


@cache
def readers() -> dict[Path, tuple[Callable[[], Any], Any]]:
    """What reads the files in each folder of a store, of published results and of texts, and what they hold."""
    store, root = Store(folder(), published=None), folder()
    shutil.copytree(undisturbed()[0].root, store.root, dirs_exist_ok=True)
    unfinished, table = tiny.training(seed=7), pd.DataFrame({"step": [0, 1], "word": ["null", "007"]})
    store.save_progress(unfinished, 100, {"0.bias": np.ones(20)}, table)
    store.save_page("parity", "laptop", RESULT, {"students": table})
    store.remember_runs("parity", "laptop", [spec.fingerprint for spec in GRAPH])
    for name in ("parity-laptop", "parity-paper"):
        shutil.copytree(published_folder() / name, root / name)
    layer = Published(root)
    keys = [key for spec in STUDENTS for key, _ in store.hard_labels(TEACHER.fingerprint)]
    layer.write_labels(TEACHER.fingerprint, list(store.hard_labels(TEACHER.fingerprint)))
    corpus = runs_of_all_kinds()["corpus"].task.source  # type: ignore[union-attr]
    asked = corpus.texts, corpus.tokenizer, corpus.length, corpus.held_out

    def taught() -> Any:
        return [[labels.Targets(s, store).block(b) for b in labels.blocks_of(s)] for s in STUDENTS]

    def of_page() -> Any:
        asked = "parity", "laptop"
        return store.load_page(*asked), store.page_tables(*asked), store.remembered_runs(*asked)

    def of_published() -> Any:
        runs = [(layer.find(name), record) for name, record in layer.records()]
        return runs, [(layer.page(*page), layer.tables(*page)) for page in layer.pages()]

    def of_corpus() -> Any:
        arrays = [np.asarray(corpus.sequences(split)) for split in texts.SPLITS]
        return texts.Corpus.prepare(*asked).canonical(), corpus.wordpiece().pieces, arrays

    read: dict[Path, Callable[[], Any]] = {
        **{store.run_folder(s): lambda s=s: (numbers(store, s), list(store.records("local"))) for s in GRAPH},  # type: ignore[misc]
        store.run_folder(unfinished): lambda: store.load_progress(unfinished),
        store.root / "labels": taught,
        store.root / "pages": of_page,
        **{root / name: of_published for name in ("parity-laptop", "parity-paper")},
        root / "labels": lambda: [layer.labels(key) for key in keys],
        texts.cache("corpora"): of_corpus,
    }
    return {place: (reader, afresh(reader)) for place, reader in read.items()}


def afresh(read: Callable[[], Any]) -> Any:
    """What a process reads that has read nothing before."""
    for kept in (published._runs, published._tables, published._keys):
        kept.forget()  # type: ignore[attr-defined]
    texts._opened.cache_clear()
    return plain(read())


def damages(dice: random.Random) -> str:
    place = dice.choice(list(readers()))
    read, expected = readers()[place]
    before = {path: path.read_bytes() for path in files(place)}
    path, how = dice.choice(list(before)), dice.choice(("bits", "cut", "swap"))
    data = bytearray(before[path])
    if how == "bits":
        for _ in range(dice.randint(1, 3)):
            data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    elif how == "cut":
        del data[dice.randrange(len(data)) :]
    else:
        data = bytearray(before[dice.choice([other for other in before if other.suffix == path.suffix])])
    path.write_bytes(data)
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            got = afresh(read)
        deleted = bool(said) and path.name == "progress.safetensors" and not path.exists()
        assert got == expected or (got is None and deleted), f"{how}: {path} is read, with other content"
    except Exception as error:
        said_why = bool(re.search(r"[Dd]elete|take it from the rep|install the pdlib", str(error)))
        named = path.name in str(error) or path.parent.name in str(error)
        refused(error, f"{how}: {path}", named and said_why)
    finally:
        for other, content in before.items():
            other.parent.mkdir(parents=True, exist_ok=True)
            other.write_bytes(content)
    return f"{how} of {path.suffix or path.parent.name}"


# ---------------------------------------------------------------------- inputs

NUMBERS = (True, -1, 0, 1.5, 10**400, -(10**9), float("nan"), float("inf"), 1e308, 5e-324, np.int64(3))
OTHERS = (
    None,
    "",
    "x",
    "ü\0",
    b"x",
    (),
    (1, 2),
    ("a",),
    (None,),
    [1],
    {"a": 1},
    {1},
    object(),
    int,
    len,
    np.ones(2),
)
WORDS = ("partiy", "ü", "../..", " laptop", "[1", "nan", "0" * 33, "None", "%s", "'")
VALUES = ("text", "[1", "null", "{a: 1}", "true", "2001-01-01", "*x", ": : :", "!!python/name:os.system")
ANY = {"pick", "scheduler", "out"}  # arguments that any text may be meant for


def refused(error: Exception, what: str, said: bool = True) -> None:
    """Raise unless an error is one of this project that says what it has to."""
    if not (said and type(error).__module__.startswith("pdlib.") and str(error).strip()):
        raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error


@cache
def runs_of_all_kinds() -> dict[str, Any]:
    return dict(golden.examples())


@cache
def specs() -> list[Spec]:
    """A record of every kind that has fields."""
    found: dict[str, Spec] = {}
    waiting = list(runs_of_all_kinds().values())
    while waiting:
        item = waiting.pop()
        waiting += item if isinstance(item, tuple) else ()
        if isinstance(item, Spec):
            found.setdefault(type(item).__name__, item)
            waiting += [getattr(item, field.name) for field in fields(item)]
    return [found[name] for name in sorted(found) if any(field.init for field in fields(found[name]))]


def records(dice: random.Random) -> str:
    """A field of a record gets a value that it was not made for, or a record of another kind."""
    spec = dice.choice(specs())
    name = dice.choice([field.name for field in fields(spec) if field.init])
    value = dice.choice([*NUMBERS, *OTHERS, dice.choice(specs())])
    try:
        made = replace(spec, **{name: value})
        again = Spec.from_canonical(json.loads(json.dumps(made.canonical())))
        assert again.fingerprint == made.fingerprint, f"{made} comes back as {again}"
    except Exception as error:
        refused(error, f"{type(spec).__name__}({name}={value!r:.80})")
        return "refused"
    return "accepted, and comes back"


def leaves(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Every command."""
    below = [
        sub
        for action in parser._actions
        if action.nargs == argparse.PARSER
        for sub in action.choices.values()
    ]  # type: ignore[union-attr]
    yield from (leaf for sub in below for leaf in leaves(sub)) if below else [parser]


def commands(dice: random.Random) -> None:
    """A command gets a word that means nothing, in one place."""
    parser = dice.choice(list(leaves(command_line._parser())))
    arguments = parser.prog.split()[3:]
    takers = [action for action in parser._actions if action.nargs != 0]
    wrong = dice.choice([*(action for action in takers if action.dest not in ANY), None])
    for action in takers:
        if action is wrong and action.dest == "p":
            arguments += ["-p", *dice.choice([("n_bits", dice.choice(VALUES)), (dice.choice(WORDS), "3")])]
        elif action is wrong:
            arguments += [*action.option_strings[:1], dice.choice(WORDS)]
        elif not action.option_strings and action.nargs is None:
            arguments.append(next(iter(action.choices)) if action.choices else "tiny")
    arguments += [] if wrong else ["--nonsense"]
    err, out, would_run = io.StringIO(), io.StringIO(), AssertionError("accepted, and would run")
    with (
        patch("pdlib.pages.execute", side_effect=would_run),
        patch.dict(os.environ),
        contextlib.redirect_stderr(err),
        contextlib.redirect_stdout(out),
    ):
        try:
            status = command_line.main(arguments)
        except SystemExit as stop:  # argparse's
            status = stop.code
        except BaseException as error:
            raise AssertionError(f"{arguments}: {type(error).__name__}: {error}") from error
    said = [line for line in err.getvalue().splitlines() if not line.startswith(("usage: ", " "))]
    assert (status in (1, 2), len(said)) == (True, 1), (
        f"{arguments}: status {status}: {' | '.join(said)[:300]}"
    )


STORMS: dict[Callable[[random.Random], str | None], int] = {
    **{training: 24, labelling: 14, publishing: 14, page: 4, dask: 4},  # kills
    **{damages: 100, records: 90, commands: 60},
}


def main() -> int:
    """Run the storms, or one, or one blow; 1 if something did harm."""
    asked, failures = sys.argv[1:], []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place, PLACES:
        os.environ |= {
            "PDLIB_CACHE": f"{place}/cache",
            "PDLIB_STORE": f"{place}/mine",
            "PYTHONPATH": PYTHONPATH,
        }
        os.chdir(place)
        os.chdir(checkout())
        for storm, n in STORMS.items():
            name, started, held = storm.__name__, time.monotonic(), Counter[str | None]()
            for number in range(n):
                if asked in ([], [name]) or (asked[:1] == [name] and str(number) in asked):
                    try:
                        held[storm(random.Random(f"{name} {number}"))] += 1
                    except Exception as error:
                        failures.append(f"{name} {number}: {type(error).__name__}: {error}"[:600])
            if not asked or name in asked:
                kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(held.items()) if kind)
                print(
                    f"{name:10} {held.total():4} held, {time.monotonic() - started:4.0f} s  {kinds}",
                    flush=True,
                )
        os.chdir("/")
    print(*(f"harm done by {failure}" for failure in failures), sep="\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

"""Executes a graph of specs: in this process, in worker processes, or on a cluster.

`execute` finds what is stored, works out what else is needed (a student needs its teacher's checkpoints,
unless its labels are stored or others published the checkpoints), and runs the rest in order of dependence.
Workers are anything with `submit()`: by default processes on this machine; a Dask client's `get_executor()`
runs the same graph on a scheduler's address, where all workers see the same store folder.
"""

from __future__ import annotations

import ast
import datetime
import os
import platform
import re
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields, replace
from functools import cache, partial
from importlib.metadata import version
from multiprocessing import get_context, parent_process
from pathlib import Path
from types import FrameType, FunctionType
from typing import Any

import pandas as pd
import torch

from pdlib import labels, sources
from pdlib.files import sha256, there
from pdlib.install import answering, optional
from pdlib.progress import Display, State, Tracker, append
from pdlib.specs import (
    UNSAVED,
    Calculation,
    Distillation,
    Measurement,
    Run,
    Spec,
    Teacher,
    Training,
    ancestors,
    require,
)
from pdlib.store import Record, Store, StoreError
from pdlib.training import clock, place, train, untrained
from pdlib.training.online_sgd import set_threads

LIGHT = 2e10  # multiply-adds; below, starting workers costs more than it saves
POOL_RETRIES = 2  # a worker killed from outside takes the pool with it; its runs resume in a new one


class RunsFailedError(RuntimeError):
    """Some runs of a graph failed; what finished is kept. `failed` says why, by fingerprint."""

    def __init__(self, message: str, failed: Mapping[str, BaseException] | None = None) -> None:
        super().__init__(message)
        self.failed = dict(failed or {})


class WorkerError(RuntimeError):
    """A worker that cannot compute what it is asked for: says which, why, and what to do."""


@dataclass(frozen=True)
class Workplace:
    """What a worker needs beside the spec: the store's folders, the device, and which code the caller has."""

    root: str
    published: str | None
    device: str
    commit: str
    code: str
    asked: str = ""  # the run's fingerprint

    def store(self) -> Store:
        """Return the store."""
        return Store(self.root, self.published)


def execute(
    specs: Iterable[Run],
    store: Store | None = None,
    *,
    executor: Executor | None = None,
    pool: Pool | None = None,
    n_workers: int | None = None,
    device: str | None = None,
    need_checkpoints: bool = False,
    progress: bool = True,
) -> list[Record]:
    """Return the results of `specs`, in their order, computing those that are not stored.

    Parameters
    ----------
    specs
        Trainings, measurements and calculations; what they depend on is found or computed too.
    store
        By default `Store()`.
    executor
        Anything with `submit()`. By default processes on this machine, or this process if the work is
        light; if `$PDLIB_SCHEDULER` is an address, the Dask cluster there (extra `cluster`). The caller
        closes an executor it gives.
    pool
        Keeps the processes on this machine for the next call; by default each call starts its own, which takes seconds.
    n_workers
        Worker processes when `executor` is not given; by default `$PDLIB_WORKERS`, else one a core, or one a GPU. 1 means
        this process. Several small runs share a GPU well.
    device
        Where trainings compute: `"cpu"`, or a PyTorch device; by default `$PDLIB_DEVICE`, else the CPU. `"cuda"` takes all
        GPUs of the machine, one run each; `"cuda:0"` that one.
    need_checkpoints
        Train even if a table is stored, unless the checkpoints are too.
    progress
        Show how far it is while something is computed: a bar or, if standard error is no terminal, a line a minute.

    Raises
    ------
    RunsFailedError
        After everything that could finish has finished; names each failed run and why.
    SpecError
        If an argument is not what it says above.
    WorkerError
        If workers are wanted and cannot load the script that calls this.

    Examples
    --------
    >>> import tempfile
    >>> from pdlib import MLP, SGD, SparseParity
    >>> spec = Training(SparseParity(8, 2), MLP(16), SGD(0.1), n_steps=100, evaluate_every=50)
    >>> store = Store(tempfile.mkdtemp(), published=None)
    >>> [record.source for record in execute([spec], store, progress=False)]
    ['trained now']
    >>> [record.source for record in execute([spec], store, progress=False)]
    ['local']
    """
    store = Store() if store is None else store
    specs = _checked(specs, store, n_workers)
    _say_what_is_not_kept(specs)
    graph = _graph(specs, store, need_checkpoints)
    if graph:
        published = str(store.published.root) if store.published is not None else None
        device = device or os.environ.get("PDLIB_DEVICE", "cpu")
        workplace = Workplace(str(store.root), published, device, commit(), CODE)
        light = sum(_work(node.spec) for node in graph.values()) < LIGHT
        if executor is None and n_workers is None:
            n_workers = (
                1 if light else _workers((os.cpu_count() or 1) if device == "cpu" else len(devices(device)))
            )
        scheduler = os.environ.get("PDLIB_SCHEDULER")
        with _interruptible(store), _tracker(graph, progress) as tracker:
            if executor is not None:
                _run_on(executor, graph, workplace, tracker)
            elif scheduler:
                with optional("distributed", "cluster").Client(answering(scheduler)) as client:
                    workers = client.get_executor(retries=POOL_RETRIES, pure=False)
                    _run_on(workers, graph, workplace, tracker)
            elif n_workers == 1 or not any(_may_leave(node.spec) for node in graph.values()):
                _run_here(graph, workplace, tracker, light)
            else:
                with nullcontext(pool) if pool else Pool() as kept:
                    kept.run(min(n_workers or 1, len(graph)), graph, workplace, tracker)
    records = []
    for spec in specs:
        computed = spec.fingerprint in graph
        record = _found(spec, store, computed_here=computed)
        if record is None:
            where = f"result {spec.fingerprint} is not in {store.root} after its run"
            raise StoreError(f"{where}; is the folder shared?")
        records.append(replace(record, source="trained now") if computed else record)
    return records


def _checked(specs: Iterable[Run], store: Store, n_workers: int | None) -> list[Run]:
    """Return the runs, or raise `SpecError` unless these are arguments of `execute`."""
    one = isinstance(specs, (Spec, str)) or not isinstance(specs, Iterable)
    require(not one, f"specs = {specs!r}", "a list of runs", "Write execute([spec]).")
    runs = list(specs)
    for i, spec in enumerate(runs):
        run = isinstance(spec, (Training, Measurement, Calculation))
        require(run, f"specs[{i}] = {spec!r}", "a Training, a Measurement or a Calculation")
    require(isinstance(store, Store), f"store = {store!r}", "a Store")
    whole = n_workers is None or (type(n_workers) is int and n_workers >= 1)
    require(whole, f"n_workers = {n_workers!r}", "a whole number of at least 1")
    return runs


_said: set[str] = set()


def _say_what_is_not_kept(specs: Sequence[Run]) -> None:
    """Say once, of each class or function, that its source cannot be had."""
    if any(spec.fingerprint.startswith(UNSAVED) for spec in specs) and (new := sources.unread.keys() - _said):
        _said.update(new)
        of = ", ".join(f"{name} ({sources.unread[name]})" for name in sorted(new))
        warnings.warn(
            f"the source of {of} cannot be read, or was edited since it was loaded: results with it are kept for this "
            "process only. Expected code in a file, as it was loaded; save it there, or start again.",
            stacklevel=3,
        )


@contextmanager
def _interruptible(store: Store) -> Iterator[None]:
    """Let Ctrl-C end a script, or a notebook's cell, with one line that says what is kept, and a script with status 130."""
    try:
        yield
    except KeyboardInterrupt as error:
        said = (
            f"Interrupted: finished runs are in {store.root}, and a training goes on from its last saved state. Start again "
            "as before."
        )
        error.args, before = (said,), sys.excepthook
        error._render_traceback_ = lambda: [said]  # type: ignore[attr-defined]  # IPython's hook

        def show(kind: Any, raised: Any, trace: Any) -> None:
            if raised.args == (said,):
                print(said, file=sys.stderr)
            else:
                before(kind, raised, trace)

        sys.excepthook = show
        raise


def _workers(default: int) -> int:
    """Return the number of workers that the environment asks for."""
    asked = os.environ.get("PDLIB_WORKERS", str(default))
    if not asked.isdecimal() or int(asked) == 0:
        raise RuntimeError(f"PDLIB_WORKERS={asked}: expected a whole number of at least 1.")
    return int(asked)


# ---------------------------------------------------------------------- graph


@dataclass
class Node:
    """A run to be done and the fingerprints it waits for."""

    spec: Run
    waits_for: set[str]


def _graph(specs: Sequence[Run], store: Store, need_checkpoints: bool) -> dict[str, Node]:
    """Return what has to be computed, in an order in which each run follows what it waits for."""
    graph: dict[str, Node] = {}

    def visit(spec: Run, checkpoints: bool) -> bool:
        if spec.fingerprint in graph:
            return True
        if checkpoints and isinstance(spec, Training):
            if store.has_checkpoints(spec):
                return False
        elif _found(spec, store) is not None:
            return False
        waits_for = set()
        is_student = isinstance(spec, Training) and isinstance(spec.supervision, Distillation)
        if not (is_student and labels.stored(spec, store)):  # type: ignore[arg-type]
            waits_for = {a.fingerprint for a in ancestors(spec) if visit(a, checkpoints=True)}
        graph[spec.fingerprint] = Node(spec, waits_for)
        return True

    for spec in specs:
        visit(spec, need_checkpoints)
    return graph


def _found(spec: Run, store: Store, *, computed_here: bool = False) -> Record | None:
    """Return a stored result; of published ones, while tables are computed, those that need an absent teacher."""
    as_data = not store.published_tables and labels.needs_teacher(spec, store)
    return store.find(spec.fingerprint, computed_here=computed_here, as_data=as_data)


def _work(spec: Run) -> float:
    """Return roughly how many multiply-adds a run takes."""
    if isinstance(spec, Calculation):
        return spec.work
    if isinstance(spec, Measurement):
        return 0.1 * len(spec.steps) * getattr(spec.probe, "n_samples", 1000) * _size(spec.training)
    examples = 2.0 * spec.n_steps * spec.batch_size + len(spec.evaluations) * spec.n_evaluation
    work = examples * _size(spec)
    if isinstance(spec.supervision, Distillation):
        work += spec.n_steps * spec.batch_size * _size(spec.supervision.teacher)
    return work


def _size(spec: Teacher) -> float:
    return spec.model.multiply_adds(spec.task.n_inputs, spec.task.n_classes)


# -------------------------------------------------------------------- running


def compute(spec: Run, workplace: Workplace, on_steps: Callable[[int], None] = lambda n: None) -> None:
    """Compute one run whose dependencies are stored, unless another process has done so meanwhile.

    A process that has other code than the caller's raises a `WorkerError`: it would give other numbers the caller's name.
    """
    if workplace.code != CODE:
        raise WorkerError(
            f"the worker {platform.node()}, process {os.getpid()}, has other code: pdlib of {commit()} in "
            f"{Path(__file__).parent}. Expected the caller's, of {workplace.commit}. Give workers that code, and start them "
            "again; nothing was computed."
        )
    _require_same_code(
        spec, workplace.asked, "here than in the process that asked for it", "one source everywhere"
    )
    store = workplace.store()
    device = _own_device or devices(workplace.device)[0]
    no_cost = {"wall_s": 0.0, "cpu_s": 0.0}
    with store.lock(spec):
        result = store.run_folder(spec) / "result.json"
        if store.has_checkpoints(spec) if isinstance(spec, Training) else there(result):
            return
        store.sweep(spec)
        spent = clock(store.progress_cost(spec) if isinstance(spec, Training) else no_cost)
        resumed = (store.run_folder(spec) / "progress.safetensors").exists()
        if isinstance(spec, Calculation):
            table = pd.DataFrame(spec.rows())
        elif isinstance(spec, Measurement):
            table = measure(spec, store, device)
        else:
            table = train(spec, store, device=device, on_steps=on_steps)
            device = place(spec, device)
        _require_same_code(spec, workplace.asked, "after its run", "globals that it does not change")
        cost = {name: round(seconds, 3) for name, seconds in spent().items()}
        date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        made = {"commit": commit(), "resumed": resumed, "device": device, "date": date}
        store.save(spec, table, cost | made | surroundings(device))


def _require_same_code(spec: Run, asked: str, where: str, expected: str) -> None:
    what = f"{_label(spec)}: other code or globals of its classes {where}"
    require(asked in ("", spec.fingerprint), what, expected, "Start again with code that stays as it is.")


def measure(spec: Measurement, store: Store, device: str = "cpu") -> pd.DataFrame:
    """Apply a probe to checkpoints; one or more rows a step, with the column `step` first."""
    rows = []
    for step in spec.steps:
        parameters = store.load_checkpoint(spec.training, step) if step else untrained(spec.training)
        rows += [{"step": step, **row} for row in spec.probe.rows(spec.training, parameters, device)]
    return pd.DataFrame(rows)


class _Here(Executor):
    """Runs what is submitted, in this process and at once."""

    def __init__(self, on_steps: Callable[[int], None]) -> None:
        self._on_steps = on_steps

    def submit(self, fn: Callable[..., Any], /, *args: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, self._on_steps))
        except Exception as error:
            future.set_exception(error)
        return future


def _run_here(graph: dict[str, Node], workplace: Workplace, tracker: Tracker, light: bool) -> None:
    before = torch.get_num_threads()
    if light:
        set_threads(1)  # waking more threads for small products costs more than they save
    try:
        _run_on(_Here(tracker.advance), graph, workplace, tracker, 0)  # workers: it tells its own steps
    finally:
        set_threads(before)


def _run_on(
    executor: Executor,
    graph: dict[str, Node],
    workplace: Workplace,
    tracker: Tracker,
    n_workers: int | None = None,
    job: Callable[..., None] | None = None,
) -> None:
    """Run a graph: what waits for a run after it, the longest first, so that none of these is left over."""
    here = executor if isinstance(executor, _Here) else _Here(lambda n: None)
    stay = {f for f, node in graph.items() if not _may_leave(node.spec)}
    order = list(graph)
    if executor is not here:
        order.sort(key=lambda f: (f in stay, -_work(graph[f].spec)))
    waiting, done = {f: graph[f] for f in order}, set[str]()
    known: dict[Future[None], str] = {}
    failed: dict[str, BaseException] = {}
    tracker.under_way = lambda: len(known) if n_workers is None else min(len(known), n_workers)

    def ended(fingerprint: str, error: BaseException | None) -> None:
        if error is None:
            done.add(fingerprint)
        else:
            failed[fingerprint] = error
        tracker.run_done(fingerprint, _steps(graph[fingerprint].spec), failed=error is not None)

    while waiting or known:
        for fingerprint, node in list(waiting.items()):
            if causes := node.waits_for & failed.keys():
                del waiting[fingerprint]
                ended(fingerprint, RuntimeError(f"not run, because {', '.join(sorted(causes))} failed"))
            elif node.waits_for <= done:
                chosen = here if fingerprint in stay else executor
                asked = replace(workplace, asked=fingerprint)
                call = job if job and chosen is not here else compute
                future = chosen.submit(call, waiting.pop(fingerprint).spec, asked)
                known[future] = fingerprint
                if future.done():
                    break  # what failed or was done decides what is next
        finished, _ = wait(known, return_when=FIRST_COMPLETED)
        for future in finished:
            error = future.exception()
            if isinstance(error, BrokenProcessPool):
                raise error
            ended(known.pop(future), error)
    if failed:
        lines = [f"- {_label(graph[k].spec)} {k}: {type(e).__name__}: {e}" for k, e in failed.items()]
        said = f"{len(failed)} of {len(graph)} runs failed; the others are stored and will not be run again."
        raise RunsFailedError("\n".join([said, *lines]), failed) from next(iter(failed.values()))


def _may_leave(spec: Run) -> bool:
    """Whether a run may be done by another process, which has its code and keeps its result."""
    return _importable(spec) and not spec.fingerprint.startswith(UNSAVED)


def _importable(part: Any) -> bool:
    """Whether another process can import the classes and functions of which a spec is made."""
    if isinstance(part, tuple):
        return all(map(_importable, part))
    if isinstance(part, Spec):
        return _importable(type(part)) and all(_importable(getattr(part, f.name)) for f in fields(part))
    if not isinstance(part, (type, FunctionType)):
        return True
    found: Any = sys.modules.get(part.__module__)
    in_a_file = part.__module__ != "__main__" or Path(getattr(found, "__file__", None) or "").is_file()
    for name in part.__qualname__.split("."):
        found = getattr(found, name, None)
    return in_a_file and found is part


def _require_main() -> None:
    """Raise `WorkerError` if workers, which load the main script, would find no file, or a call that starts workers."""
    main, line = sys.modules["__main__"], 0
    frame: FrameType | None = sys._getframe()
    path = getattr(main, "__file__", None)
    if path is None or str(getattr(main.__spec__, "name", "")).endswith("__main__"):
        return  # a prompt, a notebook or a package's command: nothing to load
    advice = "or n_workers=1, which computes in this process (PDLIB_WORKERS=1 for all calls)."
    if not Path(path).is_file():
        raise WorkerError(
            f"a script from {path}: expected one in a file, which worker processes can load, {advice}"
        )
    while frame is not None:
        if frame.f_globals is vars(main) and frame.f_code.co_name == "<module>":
            line = frame.f_lineno
        frame = frame.f_back
    for statement in ast.parse(Path(path).read_bytes()).body:
        if statement.lineno <= line <= (statement.end_lineno or 0) and not isinstance(statement, ast.If):
            raise WorkerError(
                f"{path}, line {line}: starts worker processes, which load this file and come to this line again: expected "
                f'it under `if __name__ == "__main__":`, {advice}'
            )


def devices(device: str) -> list[str]:
    """Return the devices that a name stands for: `"cuda"` for each GPU of the machine, any other for itself.

    >>> devices("cpu")
    ['cpu']
    """
    if device != "cuda":
        return [device]
    n = torch.cuda.device_count()
    if n == 0:
        raise RuntimeError("device 'cuda': PyTorch finds no GPU here. Expected one or more; use 'cpu'.")
    return [f"cuda:{i}" for i in range(n)]


_own_device: str | None = None  # a worker's; None in a process that is no worker of a pool
_under_way: Any = None  # of a pool's workers, all together: steps of the runs that they are at


def _start_worker(n_threads: int, own: Any, under_way: Any) -> None:
    """Set a new worker's threads, give it the next device as its own, and let it end with the process that started it."""
    global _own_device, _under_way
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started it
    set_threads(n_threads)
    _own_device, _under_way = own.get(), under_way
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when its parent has ended, however it did; a run in the middle can be resumed."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _compute_in_pool(spec: Run, workplace: Workplace) -> None:
    """Compute a run in a worker, which counts its steps until the whole run counts."""
    told = 0

    def tell(n: int) -> None:
        nonlocal told
        told += n
        with _under_way.get_lock():
            _under_way.value += n

    try:
        compute(spec, workplace, tell)
    finally:
        tell(-told)


@contextmanager
def _ignoring_ctrl_c() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # others set no signals
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class Pool:
    """Worker processes on this machine, started by the first runs that need them and kept for those that follow.

    A worker that is killed from outside takes the others with it; their runs resume in new ones. Code that is edited
    meanwhile is not read again by workers that are kept.

    Examples
    --------
    >>> import tempfile
    >>> from pdlib import MLP, SGD, SparseParity
    >>> store = Store(tempfile.mkdtemp(), published=None)
    >>> spec = Training(SparseParity(8, 2), MLP(16), SGD(0.1), n_steps=100, evaluate_every=50)
    >>> with Pool() as pool:
    ...     for seed in (0, 1):
    ...         _ = execute([replace(spec, seed=seed)], store, pool=pool, progress=False)
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[int, str], tuple[ProcessPoolExecutor, Any]] = {}  # with the steps under way

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self, *, at_once: bool = False) -> None:
        """End the workers, when each has finished what it is at or at once."""
        while self._kept:
            _, (workers, _) = self._kept.popitem()
            for process in list((workers._processes or {}).values()) if at_once else ():
                process.terminate()
            workers.shutdown(wait=True, cancel_futures=True)

    def run(self, n: int, graph: dict[str, Node], workplace: Workplace, tracker: Tracker) -> None:
        """Run a graph on `n` workers."""
        for attempt in range(POOL_RETRIES + 1):
            try:
                workers, under_way = self._workers(n, workplace.device)
                tracker.steps_elsewhere = under_way
                return _run_on(workers, graph, workplace, tracker, n, _compute_in_pool)
            except RunsFailedError:
                raise
            except BaseException as error:
                # of a graph that was interrupted, too, nothing may go on in the background
                self.close(at_once=True)
                if not isinstance(error, BrokenProcessPool) or attempt == POOL_RETRIES:
                    raise
        return None

    def _workers(self, n: int, device: str) -> tuple[ProcessPoolExecutor, Any]:
        if (n, device) not in self._kept:
            _require_main()
            context = get_context("spawn")
            own, names = context.Queue(), devices(device)
            for i in range(n):
                own.put(names[i % len(names)])
            threads = max(1, (os.cpu_count() or 1) // n)
            under_way = context.Value("q", 0)
            arguments = (threads, own, under_way)
            workers = ProcessPoolExecutor(n, context, initializer=_start_worker, initargs=arguments)
            with _ignoring_ctrl_c():  # which they inherit: they load for seconds before their first line
                for _ in range(n):  # each call starts one, as none is idle yet
                    workers.submit(os.getpid)
            self._kept[n, device] = workers, under_way
        return self._kept[n, device]


# ------------------------------------------------------------------- progress


def _steps(spec: Run) -> int:
    return spec.n_steps if isinstance(spec, Training) else 1


def _label(spec: Run) -> str:
    if isinstance(spec, Calculation):
        return f"calculation {spec}"
    training = spec.training if isinstance(spec, Measurement) else spec
    kind = "measurement of" if isinstance(spec, Measurement) else "training of"
    return f"{kind} {training.model} on {training.task}, seed {training.seed}"


def _tracker(graph: dict[str, Node], show: bool) -> Tracker:
    """Return what shows how far a graph is, here or, if `PDLIB_PROGRESS` names a file, to whoever watches that."""
    path = os.environ.get("PDLIB_PROGRESS")
    tell: Callable[[State], None] = Display().show if show else lambda state: None
    return Tracker(
        len(graph),
        sum(_steps(node.spec) for node in graph.values()),
        partial(append, Path(path)) if path else tell,
    )


# ----------------------------------------------------------------- provenance


def _code() -> str:
    """Return the hash of the package's source."""
    folder = Path(__file__).parent
    sources = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.py")}
    return sha256(b"".join(name.encode() + sources[name] for name in sorted(sources)))


CODE = _code()  # when this process began: what is edited later is not what it runs


@cache
def commit() -> str:
    """Return the commit of the code in use, with `+changes` if files differ from it, or the package's version.

    A repository that does not hold this package, such as one around the environment it is installed in, does not count.
    """

    def git(*words: str) -> str:
        command = ["git", "-C", str(folder), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    folder = Path(__file__).resolve().parent
    try:
        git("ls-files", "--error-unmatch", "--", __file__)
        changes = git("status", "--porcelain", "--", str(folder))
        return git("rev-parse", "HEAD") + ("+changes" if changes else "")
    except (OSError, subprocess.CalledProcessError):
        return f"pdlib {version('pdlib')}"


@cache
def surroundings(device: str = "cpu") -> dict[str, Any]:
    """Return the machine, with its GPU if that is the device, and the versions of what computes."""
    cpus = Path("/proc/cpuinfo")
    named = re.search(r"^model name\s*:\s*(.*)$", cpus.read_text() if cpus.exists() else "", re.MULTILINE)
    model = named[1].strip() if named else platform.processor() or platform.machine()
    card = f", {torch.cuda.get_device_name(device)}" if device.startswith("cuda") else ""
    versions = {name: version(name) for name in ("numba", "numpy", "torch")}
    return {
        "machine": f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}{card}",
        "versions": versions | {"python": platform.python_version()},
    }

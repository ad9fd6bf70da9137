"""Specs small enough for a test, what tests ask of results, and what they start in other processes."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from pdlib import engine
from pdlib.models.mlp import MLP
from pdlib.optimizers import SGD
from pdlib.probes.monomials import MonomialCorrelations
from pdlib.published import Published
from pdlib.schedules import Progressive
from pdlib.specs import Distillation, Measurement, Run, Schedule, Training
from pdlib.store import Store
from pdlib.tasks.grammar import Grammar
from pdlib.tasks.inside_outside import marginals, nodes
from pdlib.tasks.parity import SparseParity
from pdlib.training import train
from pdlib.training.online_sgd import set_threads

TASK = SparseParity(n_bits=10, support_size=3)

# Learns without an error in well under a second.
TEACHER = Training(
    TASK, MLP(64), SGD(0.05), n_steps=8_000, evaluate_every=1_000, checkpoint_every=1_000, n_evaluation=1024
)


def training(**changes: Any) -> Training:
    """A training of 400 steps, with changes."""
    base = Training(
        TASK, MLP(16), SGD(0.05), n_steps=400, evaluate_every=200, checkpoint_every=100, n_evaluation=256
    )
    return replace(base, **changes)


def student(
    teacher: Training = TEACHER,
    schedule: Schedule = Progressive(n_checkpoints=4, steps_per_checkpoint=50),  # noqa: B008  frozen
    targets: Any = "hard",
    temperature: float = 1.0,
    **changes: Any,
) -> Training:
    """The same training, taught."""
    changes.setdefault("checkpoint_every", 0)
    return training(supervision=Distillation(teacher, schedule, temperature, targets), **changes)


def measurement(of: Training | None = None) -> Measurement:
    """A small probe of all checkpoints of a training."""
    of = of or training()
    return Measurement(of, MonomialCorrelations((1, 2), n_samples=500, n_off_support=20), of.checkpoints)


def final(spec: Training, store: Store) -> dict[str, np.ndarray]:
    """The final parameters of a training."""
    return store.load_checkpoint(spec, spec.n_steps)


def assert_same_result(spec: Training, one: Store, other: Store) -> None:
    """Table and every checkpoint agree to the last bit."""
    a, b = one.find(spec.fingerprint), other.find(spec.fingerprint)
    assert a is not None
    assert b is not None
    pd.testing.assert_frame_equal(a.table, b.table, check_exact=True)
    for step in spec.checkpoints:
        assert_same_parameters(one.load_checkpoint(spec, step), other.load_checkpoint(spec, step))


def assert_same_parameters(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    """Equal to the last bit."""
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert value.dtype == other[name].dtype
        assert value.tobytes() == other[name].tobytes(), name


def wait_until(condition: Callable[[], bool], what: str, at_most_s: float = 600.0) -> None:
    """Return as soon as something has happened; a test never counts on how long it takes."""
    deadline = time.monotonic() + at_most_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {at_most_s:.0f} s for {what}")
        time.sleep(0.002)


def alive(process: int) -> bool:
    """Whether a process runs; one that has ended but that nobody has waited for does not."""
    status = Path(f"/proc/{process}/stat")
    return status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


class Stopped(BaseException):
    """What ends a run that is interrupted in this process."""


def interrupted(spec: Training, store: Store, at_step: int, device: str = "cpu") -> None:
    """Train, saving the state whenever that can be done, until a step is reached."""
    done = 0

    def stop(n: int) -> None:
        nonlocal done
        done += n
        if done >= at_step:
            raise Stopped

    with pytest.raises(Stopped):
        train(spec, store, device=device, save_every_s=0, on_steps=stop)


# ------------------------------------------------------- run in other processes


def run(
    specs: Sequence[Run],
    root: Path,
    *,
    kill_at_write: int | None = None,
    moment: Literal["half written", "before the move", "after the move"] = "before the move",
    largest_file: int | None = None,
    gate: Any = None,
) -> None:
    """Execute specs, saving the state at every cut; die by SIGKILL at a write, or fail at a file that is too large."""
    set_threads(1)
    trained = root / "trained-by"

    def noted(spec: Training, *arguments: Any, **named: Any) -> pd.DataFrame:
        trained.mkdir(exist_ok=True)
        (trained / f"{spec.fingerprint}-{os.getpid()}").touch()
        return train(spec, *arguments, **named)

    engine.train = partial(noted, save_every_s=0.0)
    if kill_at_write is not None:
        _die_at(kill_at_write, moment)
    if largest_file is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the write then fails, as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    if gate is not None:
        gate.wait()
    try:
        engine.execute(specs, Store(root, published=None), n_workers=1, progress=False)
    except Exception as error:
        (root / "error.txt").write_text(f"{type(error).__name__}: {error}"[:1500])
        raise SystemExit(1) from None


def _die_at(n: int, moment: str) -> None:
    replace_file, fsync, count = Path.replace, os.fsync, 0

    def die(now: str) -> None:
        if count == n and moment == now:
            os.kill(os.getpid(), signal.SIGKILL)

    def synced(fd: int) -> None:
        nonlocal count
        count += 1
        if count == n and moment == "half written":
            os.ftruncate(fd, os.fstat(fd).st_size // 2)
        die("half written")
        fsync(fd)

    def moved(self: Path, target: Any) -> Any:
        die("before the move")
        result = replace_file(self, target)
        die("after the move")
        return result

    os.fsync, Path.replace = synced, moved  # type: ignore[method-assign,assignment]


@contextmanager
def cluster(folder: Path) -> Iterator[tuple[Any, Callable[[str], None]]]:
    """A client of a scheduler on loopback with two workers, each a process of its own, and what starts another one."""
    from distributed import Client

    file, processes = folder / "scheduler.json", list[subprocess.Popen[bytes]]()
    environment = os.environ | {
        "DASK_DISTRIBUTED__SCHEDULER__WORK_STEALING": "False",
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }

    def started(program: str, *arguments: str) -> None:
        words = [sys.executable, "-m", f"distributed.cli.{program}", "--scheduler-file", str(file)]
        words += ["--no-dashboard", "--host", "127.0.0.1", *arguments]
        log = (folder / "log.txt").open("a")
        processes.append(subprocess.Popen(words, cwd=folder, stdout=log, stderr=log, env=environment))
        log.close()

    def worker(name: str) -> None:
        started(
            "dask_worker", "--no-nanny", "--nthreads", "1", "--local-directory", str(folder), "--name", name
        )

    started("dask_scheduler", "--port", "0")
    try:
        wait_until(file.exists, "the scheduler")
        worker("a")
        worker("b")
        with Client(scheduler_file=str(file), set_as_default=False) as client:
            client.wait_for_workers(2, timeout=120)
            yield client, worker
    finally:
        for process in reversed(
            processes
        ):  # a worker that is asked to stop as its scheduler goes may wait for ever
            process.kill()
            process.wait()


def published(store: Store, folder: Path) -> Published:
    """What a store holds, published: results, and hard labels."""
    found = Published(folder)
    records = [store.find(fingerprint) for fingerprint, _ in store.records("local")]
    found.write_page("parity", "desk", [r for r in records if r is not None])
    for teacher in (store.root / "labels").glob("*"):
        found.write_labels(teacher.name, list(store.hard_labels(teacher.name)))
    return found


def likelihood(grammar: Grammar, tokens: NDArray[Any], lengths: NDArray[Any]) -> NDArray[np.float64]:
    """The log probability of sentences, from their inside values; -inf outside the grammar."""
    evidence = (np.asarray(tokens)[..., None] == np.arange(grammar.n_terminals)).astype(np.float64)
    found, shares = np.empty(len(tokens)), np.zeros(evidence.shape)
    marginals(tuple(nodes(grammar)), evidence, np.asarray(lengths, np.int64), found, shares)
    real = (np.arange(shares.shape[1]) < np.asarray(lengths)[:, None]) & np.isfinite(found)[:, None]
    np.testing.assert_allclose(
        shares.sum(axis=2)[real], 1, rtol=1e-9
    )  # each token of a sentence is what it is
    return found

"""Speed of batch-1 training, of cached labels, and the size of both in memory and on disk.

The peer of training is the loop one would write in PyTorch: the same network, plain SGD on a batch of one,
inputs drawn in blocks ahead of the loop, gradients zeroed by setting them to None. The fastest of its
ordinary forms was taken: `torch.nn.functional.cross_entropy` and `torch.optim.SGD` with `foreach=True`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pdlib.bench import at_most, faster, medians
from pdlib.labels import compressed, key, label_block, pack_classes
from pdlib.models.mlp import MLP, as_module, logits, softmax
from pdlib.schedules import OneShot
from pdlib.specs import SGD, Calculation, Distillation, Parameters, Piece, Task, Training
from pdlib.store import Store
from pdlib.tasks.parity import SparseParity
from pdlib.training import EXAMPLES_AT_ONCE, train
from pdlib.training.online_sgd import WIDE, WIDE_BLOCK, learner, set_threads

TASK = SparseParity(n_bits=100, support_size=6)
RATE = 0.005


def rows() -> Iterator[dict[str, Any]]:
    """Yield the page's cases."""
    for width, steps, peer_steps, reach in ((100, 100_000, 1_500, 150.0), (1000, 20_000, 1_500, 25.0)):
        set_threads(1)
        ours, peer = medians(
            engine_run(TASK, width, steps), eager_run(TASK, labels_in_torch, width, peer_steps)
        )
        yield faster(
            f"width {width}, labels, 1 thread, data included, against eager", ours, peer, "us/step", reach
        )
    yield from _wide()
    for width, n_bits, reach, n in ((2000, 50, 2.5, 100_000), (50_000, 100, 20.0, 4096)):
        yield _cached_labels(width, n_bits, reach, n)
    yield from _paper_size()
    yield _cache_size()
    yield _memory()


@dataclass(frozen=True)
class StepTimes(Calculation):
    """How long a step of batch-1 training takes, by the engine and by the eager loop, drawing inputs included.

    Table rows: `width`, `engine_us` and `eager_us`, microseconds, medians of turns taken; a wide network uses two threads,
    another one. They are of the machine and the hour; their ratio is what they are for.

    Parameters
    ----------
    n_bits, support_size
        Of the parity.
    widths
        Of the hidden layer.

    Examples
    --------
    >>> (row,) = StepTimes(12, 2, (8,)).rows()
    >>> row["engine_us"] < row["eager_us"]
    True
    """

    n_bits: int
    support_size: int
    widths: tuple[int, ...]

    def rows(self) -> list[dict[str, Any]]:
        """Return a row a width."""
        task, found = SparseParity(self.n_bits, self.support_size), []
        for width in self.widths:
            set_threads(2 if width >= WIDE else 1)
            n = min(50_000, max(64, 50_000_000 // width))
            sides = engine_run(task, width, n), eager_run(task, labels_in_torch, width, min(n // 16, 1500))
            engine, eager = medians(*sides, repeats=3)
            found.append({"width": width, "engine_us": engine, "eager_us": eager})
        return found


def _parameters(task: Task, width: int, seed: int = 0) -> Parameters:
    initial = MLP(width).initial(task.n_inputs, task.n_classes, seed)
    return {name: value.astype(np.float32) for name, value in initial.items()}


def _microseconds(started: float, steps: int) -> float:
    return (time.perf_counter() - started) / steps * 1e6


def engine_run(task: Task, width: int, steps: int, rate: float = RATE) -> Callable[[], float]:
    """Return a timed run of the engine from labels, drawing its inputs included."""
    state = learner(_parameters(task, width))
    inputs = np.zeros((EXAMPLES_AT_ONCE, state.n_columns), np.float32)
    inputs[:, task.n_inputs] = 1.0
    one_hot = np.eye(task.n_classes, dtype=np.float32)
    rates = np.full(EXAMPLES_AT_ONCE, rate, np.float32)
    stream = task.stream(0, "train")

    def run() -> float:
        started = time.perf_counter()
        for start in range(0, steps, EXAMPLES_AT_ONCE):
            n = min(EXAMPLES_AT_ONCE, steps - start)
            x, classes = stream.examples(start, start + n, out=inputs[:n])
            state.steps(x, one_hot[classes], rates[:n])
        return _microseconds(started, steps)

    run()  # compiled
    return run


def labels_in_torch(bits: Tensor) -> Tensor:
    """Return the classes of sign vectors (example, bit), as one would write it in PyTorch."""
    return (bits[:, : TASK.support_size].prod(dim=1) < 0).long()


def eager_run(
    task: Task, labels_of: Callable[[Tensor], Tensor], width: int, steps: int, rate: float = RATE
) -> Callable[[], float]:
    """Return a timed run of the eager loop, drawing its inputs included."""
    module = as_module(_parameters(task, width))
    optimizer = torch.optim.SGD(module.parameters(), lr=rate, foreach=True)

    def run() -> float:
        started = time.perf_counter()
        for start in range(0, steps, EXAMPLES_AT_ONCE):
            n = min(EXAMPLES_AT_ONCE, steps - start)
            bits = torch.randint(0, 2, (n, task.n_inputs)).float() * 2 - 1
            labels = labels_of(bits)
            for x, y in zip(torch.split(bits, 1), torch.split(labels, 1), strict=True):
                optimizer.zero_grad(set_to_none=True)
                nn.functional.cross_entropy(module(x), y).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
        return _microseconds(started, steps)

    run()
    return run


def _wide() -> Iterator[dict[str, Any]]:
    width, n = 50_000, 1024
    set_threads(2)
    sides = engine_run(TASK, width, n), eager_run(TASK, labels_in_torch, width, 64), _two_products(width, n)
    ours, peer, products = medians(*sides, repeats=3)
    yield faster("width 50000, labels, 2 threads, data included, against eager", ours, peer, "us/step", 8.0)
    yield at_most(
        "width 50000, 2 threads, against its two matrix products alone", ours, products, "us/step", 2.0
    )


def _paper_size() -> Iterator[dict[str, Any]]:
    """Yield what 20 million steps at the paper's size take on two cores, from short runs; absolute times of a machine."""
    width, n_steps = 50_000, 20_000_000
    set_threads(2)
    teaching = engine_run(TASK, width, 4096)
    (step_us,) = medians(teaching, repeats=3)
    yield at_most(
        f"a teacher of width {width}, 20M steps, 2 threads", step_us * n_steps / 3.6e9, None, "h", 2.3
    )
    teacher_spec = Training(TASK, MLP(width), SGD(RATE), n_steps=n_steps, evaluate_every=n_steps)
    supervision = Distillation(teacher_spec, OneShot(), targets="hard")
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder, published=None)
        store.save_checkpoint(teacher_spec, n_steps, _parameters(TASK, width, seed=1))
        stream, n = TASK.stream(0, "train"), 16_384
        started = time.perf_counter()
        label_block(supervision, stream, Piece(0, n, n_steps), 2, store)
        label_ms = _microseconds(started, n) / 1000
        yield at_most(
            f"hard labels by a network of width {width}, 2 threads", label_ms, None, "ms/sample", 0.12
        )
    with tempfile.TemporaryDirectory() as folder:
        store, n = Store(folder, published=None), 1_000_000
        set_threads(1)
        wrong = np.zeros(n, np.uint8)  # as labels are, once their teacher has learned
        store.save_labels(
            key(supervision, TASK.stream(1, "train"), Piece(0, n, n_steps)),
            compressed(pack_classes(wrong, 2)),
        )
        student = Training(
            TASK, MLP(100), SGD(RATE), n_steps=n, evaluate_every=100_000, seed=1, supervision=supervision
        )
        started = time.perf_counter()
        train(student, store)
        seconds = (time.perf_counter() - started) * n_steps / n
    yield at_most("a student of width 100, 20M steps from stored labels, 1 thread", seconds, None, "s", 90.0)
    yield at_most(f"peak memory of a teacher of width {width}", _peak(width, 512), None, "MiB", 2000.0)


def _two_products(width: int, steps: int) -> Callable[[], float]:
    """Return the time of the products of a block of samples, forward and update, by PyTorch."""
    w = torch.randn(112, width)
    x, g = torch.randn(WIDE_BLOCK, 112), torch.randn(WIDE_BLOCK, width)
    out = torch.empty(WIDE_BLOCK, width)

    def run() -> float:
        started = time.perf_counter()
        for _ in range(0, steps, WIDE_BLOCK):
            torch.mm(x, w, out=out)
            w.addmm_(x.T, g, alpha=1e-6)
        return _microseconds(started, steps)

    run()
    return run


def _cached_labels(width: int, n_bits: int, reach: float, n: int) -> dict[str, Any]:
    """Return the case of a width-100 student fed from stored labels, against its teacher asked in batches."""
    set_threads(1)
    task = SparseParity(n_bits, 6)
    teacher_spec = Training(task, MLP(width), SGD(RATE), n_steps=n, evaluate_every=n)
    supervision = Distillation(teacher_spec, OneShot(), targets="hard")
    teacher = _parameters(task, width, seed=1)
    stream = task.stream(0, "train")
    piece = Piece(0, n, n)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder, published=None)
        store.save_checkpoint(teacher_spec, n, teacher)
        label_block(supervision, stream, piece, 2, store)
        state = learner(_parameters(task, 100))
        inputs = np.zeros((EXAMPLES_AT_ONCE, state.n_columns), np.float32)
        inputs[:, n_bits] = 1.0
        rates = np.full(EXAMPLES_AT_ONCE, RATE, np.float32)

        def run(cached: bool) -> float:
            started = time.perf_counter()
            labels = label_block(supervision, stream, piece, 2, store) if cached else None
            for start in range(0, n, EXAMPLES_AT_ONCE):
                stop = min(start + EXAMPLES_AT_ONCE, n)
                x, true_classes = stream.examples(start, stop, out=inputs[: stop - start])
                if labels is None:
                    targets: NDArray[Any] = softmax(logits(teacher, x[:, :n_bits]), 1e-4)
                else:
                    targets = labels[start:stop] ^ true_classes
                state.steps(x, targets, rates[: stop - start])
            return _microseconds(started, n)

        ours, peer = medians(lambda: run(True), lambda: run(False), repeats=3)
    name = (
        f"width-100 student from cached labels against its teacher (width {width}) asked in batches, 1 thread"
    )
    return faster(name, ours, peer, "us/step", reach)


def _cache_size() -> dict[str, Any]:
    n = 1_000_000
    task = SparseParity(20, 3)
    teacher_spec = Training(task, MLP(8), SGD(RATE), n_steps=n, evaluate_every=n)
    supervision = Distillation(teacher_spec, OneShot(), targets="hard")
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder, published=None)
        store.save_checkpoint(teacher_spec, n, _parameters(task, 8))
        stream = task.stream(0, "train")
        label_block(supervision, stream, Piece(0, n, n), 2, store)
        (path,) = Path(folder).glob("labels/*/*")
        bits = 8 * path.stat().st_size / n
    return at_most("stored bits a hard binary label, file header included", bits, None, "bits", 1.01)


_PEAK = """
import resource, sys, tempfile
from pdlib import MLP, SGD, SparseParity, Training
from pdlib.store import Store
from pdlib.training import train
width, n = map(int, sys.argv[1:])
spec = Training(SparseParity(100, 6), MLP(width), SGD(0.005), n_steps=n, evaluate_every=n)
train(spec, Store(tempfile.mkdtemp(), published=None))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def _memory() -> dict[str, Any]:
    """Return the case of peak memory: 30 times the steps should not need more of it."""
    long, short = medians(lambda: _peak(100, 3_000_000), lambda: _peak(100, 100_000), repeats=1)
    return at_most("peak memory of 3M steps against 100k steps", long, short, "MiB", 1.05)


def _peak(width: int, steps: int) -> float:
    """Return the peak memory of a process that trains a network, MiB."""
    command = [sys.executable, "-c", _PEAK, str(width), str(steps)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ))
    return float(done.stdout.split()[-1])

"""Speed of batch-1 training, and of cached labels: the pages `parity` and `hierarchical`.

The peer of training is the loop one would write in PyTorch: the same network, plain SGD on a batch of one,
inputs drawn in blocks ahead of the loop, gradients zeroed by setting them to None. The fastest of its
ordinary forms was taken: `torch.nn.functional.cross_entropy` and `torch.optim.SGD` with `foreach=True`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pdlib.bench import faster, medians, timed
from pdlib.labels import Targets
from pdlib.models.mlp import MLP, as_module, logits, softmax
from pdlib.optimizers import SGD
from pdlib.schedules import OneShot
from pdlib.specs import Calculation, Count, Distillation, Parameters, Piece, Task, Training
from pdlib.store import Store
from pdlib.tasks.hierarchical import HierarchicalParity
from pdlib.tasks.parity import SparseParity
from pdlib.training import EXAMPLES_AT_ONCE
from pdlib.training.online_sgd import WIDE, WIDE_BLOCK, CompiledLearner, set_threads

TASK = SparseParity(n_bits=100, support_size=6)
TREE = HierarchicalParity(n_bits=100, support_size=5, depth=3)
RATE = 0.005
# width, threads, steps of ours, of the peer, reach
SIZES = ((100, 1, 100_000, 1500, 150.0), (1000, 1, 20_000, 1500, 25.0), (50_000, 2, 1024, 64, 8.0))
CACHED = ((2000, 50, 100_000, 2.5), (50_000, 100, 4096, 20.0))  # teacher's width, bits, steps, reach


def parity() -> Iterator[dict[str, Any]]:
    """Yield the cases of the page `parity`."""
    for width, threads, *steps, reach in SIZES:
        set_threads(threads)
        sides = [engine_run(TASK, width, steps[0]), eager_run(TASK, width, steps[1])]
        sides += [_two_products(width, steps[0])] if width >= WIDE else []
        ours, peer, *products = medians(*sides)
        case = f"width {width}, labels, {threads} threads, data included, against"
        yield faster(f"{case} eager", ours, peer, "us/step", reach)
        for alone in products:
            yield faster(f"{case} its two matrix products alone", ours, alone, "us/step", 0.5)
    for size in CACHED:
        yield _cached_labels(*size)


def hierarchical() -> Iterator[dict[str, Any]]:
    """Yield the case of the page `hierarchical`."""
    width, _, *steps, _ = SIZES[0]
    set_threads(1)
    ours, peer = medians(engine_run(TREE, width, steps[0]), eager_run(TREE, width, steps[1]))
    case = f"width {width}, {TREE.n_classes} classes, labels, 1 thread, data included, against eager"
    yield faster(case, ours, peer, "us/step", 100.0)


def checkpoints() -> Iterator[dict[str, Any]]:
    """Yield the cases of the page `checkpoints`, whose networks are those of `parity`."""
    yield from parity()


@dataclass(frozen=True)
class StepTimes(Calculation):
    """How long a step of batch-1 training takes, by the engine and by the eager loop, drawing inputs included.

    Table rows: `width`, `engine_us` and `eager_us`, microseconds, medians of turns taken; a wide network uses two threads,
    another one. They are of the machine and the hour; their ratio is what they are for.

    >>> (row,) = StepTimes(12, 2, (8,)).rows()
    >>> row["engine_us"] < row["eager_us"]
    True
    """

    n_bits: Count
    support_size: Count
    widths: tuple[Count, ...]  # of the hidden layer

    def rows(self) -> list[dict[str, Any]]:
        """Return one row for each width."""
        task, found = SparseParity(self.n_bits, self.support_size), []
        for width in self.widths:
            set_threads(2 if width >= WIDE else 1)
            n = min(50_000, max(64, 50_000_000 // width))
            engine, eager = medians(
                engine_run(task, width, n), eager_run(task, width, min(n // 16, 1500)), repeats=3
            )
            found.append({"width": width, "engine_us": engine, "eager_us": eager})
        return found


def initial(n_inputs: int, width: int, seed: int = 0, n_classes: int = 2) -> Parameters:
    """Return initial weights of a network, float32.

    >>> sorted(initial(9, 4))
    ['0.bias', '0.weight', '2.bias', '2.weight']
    """
    return {k: v.astype(np.float32) for k, v in MLP(width).initial(n_inputs, n_classes, seed).items()}


def torch_steps(module: nn.Module, network: Any, rate: float) -> Callable[[Tensor, Tensor], None]:
    """Return the loop one would write in PyTorch, over examples (example, input) and classes; `network` calls the module."""
    optimizer = torch.optim.SGD(module.parameters(), lr=rate, foreach=True)

    def steps(inputs: Tensor, classes: Tensor) -> None:
        for x, y in zip(torch.split(inputs, 1), torch.split(classes, 1), strict=True):
            optimizer.zero_grad(set_to_none=True)
            nn.functional.cross_entropy(network(x), y).backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    return steps


def engine_run(task: Task, width: int, steps: int) -> Callable[[], float]:
    """Return a timed run of the engine from labels, drawing its inputs included: us a step."""
    one_hot = np.eye(task.n_classes, dtype=np.float32)
    return _run(task, width, steps, lambda start, x, classes: one_hot[classes])


def _run(
    task: Task,
    width: int,
    steps: int,
    targets: Callable[[int, Any, Any], Any],
    before: Callable[[], Any] = int,
) -> Callable[[], float]:
    """Return a timed run of the engine from targets made of a block's start, inputs and classes."""
    state = CompiledLearner(initial(task.n_inputs, width, n_classes=task.n_classes))
    inputs = np.zeros((EXAMPLES_AT_ONCE, state.n_columns), np.float32)
    inputs[:, task.n_inputs] = 1.0
    rates = np.full(EXAMPLES_AT_ONCE, RATE, np.float32)
    stream = task.stream(0, "train")

    def run() -> None:
        before()
        for start in range(0, steps, EXAMPLES_AT_ONCE):
            n = min(EXAMPLES_AT_ONCE, steps - start)
            x, classes = stream.examples(start, start + n, out=inputs[:n])
            state.steps(x, targets(start, x, classes), rates[:n])

    return timed(run, steps, "us")


def labels_in_torch(task: Task, bits: Tensor) -> Tensor:
    """Return the classes of sign vectors (example, bit), as one would write it in PyTorch."""
    if isinstance(task, SparseParity):
        return (bits[:, : task.support_size].prod(dim=1) < 0).long()
    assert isinstance(task, HierarchicalParity)
    negative = torch.stack([bits[:, list(f)].prod(dim=1) < 0 for f in task.features], dim=1).long()
    node = torch.ones(len(bits), dtype=torch.long)
    for _ in range(task.depth):
        node = 2 * node + negative.gather(1, (node - 1)[:, None])[:, 0]
    return node - task.n_classes


def eager_run(task: Task, width: int, steps: int) -> Callable[[], float]:
    """Return a timed run of the eager loop, drawing its inputs included: us a step."""
    module = as_module(initial(task.n_inputs, width, n_classes=task.n_classes))
    take = torch_steps(module, module, RATE)

    def run() -> None:
        for start in range(0, steps, EXAMPLES_AT_ONCE):
            n = min(EXAMPLES_AT_ONCE, steps - start)
            bits = torch.randint(0, 2, (n, task.n_inputs)).float() * 2 - 1
            take(bits, labels_in_torch(task, bits))

    return timed(run, steps, "us")


def _two_products(width: int, steps: int) -> Callable[[], float]:
    """Return the time of the products of a block of samples, forward and update, by PyTorch."""
    w = torch.randn(112, width)
    x, g = torch.randn(WIDE_BLOCK, 112), torch.randn(WIDE_BLOCK, width)
    out = torch.empty(WIDE_BLOCK, width)

    def run() -> None:
        for _ in range(0, steps, WIDE_BLOCK):
            torch.mm(x, w, out=out)
            w.addmm_(x.T, g, alpha=1e-6)

    return timed(run, steps, "us")


def _cached_labels(width: int, n_bits: int, n: int, reach: float) -> dict[str, Any]:
    """Return the case of a width-100 student fed from stored labels, against its teacher asked in batches."""
    set_threads(1)
    task = SparseParity(n_bits, 6)
    spec = Training(task, MLP(width), SGD(RATE), n_steps=n, evaluate_every=n)
    teacher, supervision = initial(n_bits, width, seed=1), Distillation(spec, OneShot(), targets="hard")
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder, published=None)
        store.save_checkpoint(spec, n, teacher)
        student = replace(spec, supervision=supervision)
        read = partial(Targets(student, store).block, Piece(0, n, n))
        labels = read()
        sides = [
            _run(task, 100, n, lambda start, x, true: labels[start : start + len(x)] ^ true, before=read),
            _run(task, 100, n, lambda start, x, true: softmax(logits(teacher, x[:, :n_bits]), 1e-4)),
        ]
        ours, peer = medians(*sides, repeats=3)
    case = (
        f"width-100 student from cached labels against its teacher (width {width}) asked in batches, 1 thread"
    )
    return faster(case, ours, peer, "us/step", reach)

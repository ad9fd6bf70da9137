"""Speed of batch-1 training with eight classes against the loop one would write in PyTorch; see `pdlib.bench.parity`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pdlib.bench import faster, medians
from pdlib.models.mlp import MLP, as_module
from pdlib.specs import Parameters
from pdlib.tasks.hierarchical import HierarchicalParity
from pdlib.training import EXAMPLES_AT_ONCE
from pdlib.training.online_sgd import learner, set_threads

TASK = HierarchicalParity(n_bits=100, support_size=5, depth=3)
WIDTH, RATE = 100, 0.01
STEPS = (100_000, 1_500)  # ours, the peer's
REACH = 100.0


def rows() -> Iterator[dict[str, Any]]:
    """Yield the page's case."""
    set_threads(1)
    ours, peer = medians(_ours(STEPS[0]), _eager(STEPS[1]))
    case = f"width {WIDTH}, {TASK.n_classes} classes, labels, 1 thread, data included, against eager"
    yield faster(case, ours, peer, "us/step", REACH)


def _parameters() -> Parameters:
    initial = MLP(WIDTH).initial(TASK.n_inputs, TASK.n_classes, seed=0)
    return {name: value.astype(np.float32) for name, value in initial.items()}


def _microseconds(started: float, steps: int) -> float:
    return (time.perf_counter() - started) / steps * 1e6


def _ours(steps: int) -> Callable[[], float]:
    """Return a timed run of the engine from labels, drawing its inputs included."""
    state = learner(_parameters())
    inputs = np.zeros((EXAMPLES_AT_ONCE, state.n_columns), np.float32)
    inputs[:, TASK.n_bits] = 1.0
    one_hot = np.eye(TASK.n_classes, dtype=np.float32)
    rates = np.full(EXAMPLES_AT_ONCE, RATE, np.float32)
    stream = TASK.stream(0, "train")

    def run() -> float:
        started = time.perf_counter()
        for start in range(0, steps, EXAMPLES_AT_ONCE):
            n = min(EXAMPLES_AT_ONCE, steps - start)
            x, classes = stream.examples(start, start + n, out=inputs[:n])
            state.steps(x, one_hot[classes], rates[:n])
        return _microseconds(started, steps)

    run()  # compiled
    return run


def labels_in_torch(task: HierarchicalParity, bits: Tensor) -> Tensor:
    """Return the classes of sign vectors (example, bit), as one would write it in PyTorch."""
    negative = torch.stack([bits[:, list(f)].prod(dim=1) < 0 for f in task.features], dim=1).long()
    node = torch.ones(len(bits), dtype=torch.long)
    for _ in range(task.depth):
        node = 2 * node + negative.gather(1, (node - 1)[:, None])[:, 0]
    return node - task.n_classes


def _eager(steps: int) -> Callable[[], float]:
    """Return a timed run of the eager loop, drawing its inputs included."""
    module = as_module(_parameters())
    optimizer = torch.optim.SGD(module.parameters(), lr=RATE, foreach=True)

    def run() -> float:
        started = time.perf_counter()
        for start in range(0, steps, EXAMPLES_AT_ONCE):
            n = min(EXAMPLES_AT_ONCE, steps - start)
            bits = torch.randint(0, 2, (n, TASK.n_bits)).float() * 2 - 1
            labels = labels_in_torch(TASK, bits)
            for x, y in zip(torch.split(bits, 1), torch.split(labels, 1), strict=True):
                optimizer.zero_grad(set_to_none=True)
                nn.functional.cross_entropy(module(x), y).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
        return _microseconds(started, steps)

    run()
    return run

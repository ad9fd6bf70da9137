"""Speed of batch-1 training with eight classes against the loop one would write in PyTorch; see `pdlib.bench.parity`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pdlib.bench import faster, medians
from pdlib.bench.parity import eager_run, engine_run
from pdlib.tasks.hierarchical import HierarchicalParity
from pdlib.training.online_sgd import set_threads

TASK = HierarchicalParity(n_bits=100, support_size=5, depth=3)
WIDTH, RATE = 100, 0.01
STEPS = (100_000, 1_500)  # ours, the peer's
REACH = 100.0


def rows() -> Iterator[dict[str, Any]]:
    """Yield the page's case."""
    set_threads(1)
    sides = (
        engine_run(TASK, WIDTH, STEPS[0], RATE),
        eager_run(TASK, partial(labels_in_torch, TASK), WIDTH, STEPS[1], RATE),
    )
    ours, peer = medians(*sides)
    case = f"width {WIDTH}, {TASK.n_classes} classes, labels, 1 thread, data included, against eager"
    yield faster(case, ours, peer, "us/step", REACH)


def labels_in_torch(task: HierarchicalParity, bits: Tensor) -> Tensor:
    """Return the classes of sign vectors (example, bit), as one would write it in PyTorch."""
    negative = torch.stack([bits[:, list(f)].prod(dim=1) < 0 for f in task.features], dim=1).long()
    node = torch.ones(len(bits), dtype=torch.long)
    for _ in range(task.depth):
        node = 2 * node + negative.gather(1, (node - 1)[:, None])[:, 0]
    return node - task.n_classes

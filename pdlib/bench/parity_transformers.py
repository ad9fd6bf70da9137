"""Speed of a Transformer's training on parity, of cached labels, and of logits at the last position alone.

The peer of training is the loop one would write with Hugging Face's GPT-2: the same sizes, no dropout, `float32`, eager
(not compiled), its key-value cache off, the loss on its last logits, Adam in the faster of PyTorch's two fast settings.
Both sides have their inputs drawn ahead.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pdlib.bench import faster, medians
from pdlib.labels import label_block
from pdlib.models.transformer import Transformer, tokens_of
from pdlib.schedules import OneShot
from pdlib.specs import Adam, Distillation, Parameters, Piece, Training
from pdlib.store import Store
from pdlib.tasks.parity import SparseParity
from pdlib.training.gradient import GradientLearner
from pdlib.training.online_sgd import set_threads

BATCH = 32
# who, bits, heads, steps a measurement: the laptop's sizes, then the paper's
SIZES = (
    ("laptop's teacher", 24, 8, 40),
    ("laptop's student", 24, 2, 100),
    ("paper's teacher", 100, 32, 2),
    ("paper's student", 100, 4, 15),
)
THREADS = 2


def rows() -> Iterator[dict[str, Any]]:
    """Yield the page's cases."""
    set_threads(THREADS)
    for who, n_bits, n_heads, steps in SIZES:
        sides = [_ours(n_bits, n_heads, steps), _gpt2(n_bits, n_heads, steps, "fused")]
        sides.append(_gpt2(n_bits, n_heads, steps, "foreach"))
        ours, *peers = medians(*sides)
        case = f"{who}, {n_heads} heads, {n_bits} bits, batch {BATCH}, {THREADS} threads, against eager GPT-2"
        yield faster(case, ours, min(peers), "ms/step", 2.0)
    yield _cached_labels(steps=15)
    yield _last_position()


def _spec(n_bits: int, n_heads: int) -> tuple[Training, Parameters]:
    model = Transformer(n_layers=2, n_heads=n_heads, head_size=8, n_positions=n_bits)
    spec = Training(
        SparseParity(n_bits, 6), model, Adam(1e-4), n_steps=1000, evaluate_every=1000, batch_size=BATCH
    )
    return spec, {k: v.astype(np.float32) for k, v in model.initial(n_bits, 2, seed=0).items()}


def _milliseconds(started: float, steps: int) -> float:
    return (time.perf_counter() - started) / steps * 1e3


def _ours(n_bits: int, n_heads: int, steps: int) -> Callable[[], float]:
    """Return timed steps of ours."""
    spec, initial = _spec(n_bits, n_heads)
    learner = GradientLearner(spec, initial)
    bits, classes = spec.task.stream(0, "train").examples(0, steps * BATCH)
    targets, rates = np.eye(2, dtype=np.float32)[classes], np.full(steps, 1e-4)

    def run() -> float:
        started = time.perf_counter()
        learner.steps(bits, targets, rates)
        return _milliseconds(started, steps)

    run()
    return run


def _network(n_bits: int, n_heads: int) -> nn.Module:
    """Return Hugging Face's network of the same sizes, with the attention that it chooses for speed."""
    import transformers

    config = transformers.GPT2Config(
        vocab_size=2,
        n_positions=n_bits,
        n_embd=8 * n_heads,
        n_layer=2,
        n_head=n_heads,
        tie_word_embeddings=False,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        use_cache=False,
        bos_token_id=None,
        eos_token_id=None,
        attn_implementation="sdpa",
    )
    module: nn.Module = transformers.GPT2LMHeadModel(config)
    return module


def _gpt2(n_bits: int, n_heads: int, steps: int, adam: str) -> Callable[[], float]:
    """Return timed steps of the eager loop."""
    module = _network(n_bits, n_heads).train()
    optimizer = torch.optim.Adam(
        module.parameters(), lr=1e-4, fused=adam == "fused", foreach=adam == "foreach"
    )
    tokens = torch.randint(0, 2, (steps * BATCH, n_bits))
    labels = tokens[:, :6].sum(dim=1) % 2

    def run() -> float:
        started = time.perf_counter()
        for x, y in zip(torch.split(tokens, BATCH), torch.split(labels, BATCH), strict=True):
            optimizer.zero_grad(set_to_none=True)
            nn.functional.cross_entropy(module(input_ids=x).logits[:, -1], y).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return _milliseconds(started, steps)

    run()
    return run


def _cached_labels(steps: int) -> dict[str, Any]:
    """Return the case of a student fed from stored labels, against its teacher asked at every step."""
    teacher_spec, teacher_initial = _spec(100, 32)
    spec, initial = _spec(100, 4)
    supervision = Distillation(teacher_spec, OneShot(), targets="hard")
    teacher = teacher_spec.model.module(teacher_initial).eval()
    learner = GradientLearner(spec, initial)
    stream, n = spec.task.stream(0, "train"), steps * BATCH
    piece = Piece(0, n, teacher_spec.n_steps)
    bits, true_classes = stream.examples(0, n)
    rate = np.full(1, 1e-4)

    def asked(batch: NDArray[Any]) -> NDArray[Any]:
        with torch.inference_mode():
            return np.asarray(teacher(tokens_of(batch), at=-1).argmax(dim=1))

    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder, published=None)
        store.save_checkpoint(teacher_spec, teacher_spec.n_steps, teacher_initial)

        def run(cached: bool) -> float:
            started = time.perf_counter()
            labels = label_block(supervision, stream, piece, 2, store) if cached else None
            for start in range(0, n, BATCH):
                batch = bits[start : start + BATCH]
                now = slice(start, start + BATCH)
                classes = asked(batch) if labels is None else labels[now] ^ true_classes[now]
                learner.steps(batch, classes, rate)
            return _milliseconds(started, steps)

        run(True)  # made, once
        ours, peer = medians(lambda: run(True), lambda: run(False))
    case = f"4-head student from cached labels against its 32-head teacher asked at each step, 100 bits, {THREADS} threads"
    return faster(case, ours, peer, "ms/step", 4.0)


def _last_position() -> dict[str, Any]:
    """Return the case of logits and gradients at the last position, against those at all of which the last is read."""
    spec, initial = _spec(100, 4)
    module = spec.model.module(initial)
    tokens = torch.randint(0, 2, (BATCH, 100))
    sides: list[Callable[[], Tensor]] = [lambda: module(tokens, at=-1), lambda: module(tokens)[:, -1]]
    last, among_all = (side() for side in sides)
    torch.testing.assert_close(last, among_all, rtol=0, atol=1e-5)

    def timed(side: Callable[[], Tensor], steps: int = 15) -> float:
        started = time.perf_counter()
        for _ in range(steps):
            side().square().sum().backward()  # type: ignore[no-untyped-call]
        return _milliseconds(started, steps)

    ours, peer = medians(*(lambda side=side: timed(side) for side in sides))
    case = f"the last position's logits and gradients alone against all positions', 4 heads, 100 bits, {THREADS} threads"
    return faster(case, ours, peer, "ms", 1.3)

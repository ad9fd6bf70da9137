"""Speed of sampling a grammar, of BERT's training on it, of cached labels, and of the exact posterior.

The peer of training is the loop one would write with Hugging Face's `BertForMaskedLM`: the same sizes, no dropout,
`float32`, its fused attention, labels of -100 where nothing is asked (`pdlib.bench.sequences`). The paper's official code
takes micro-batches of 8.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pdlib.bench import at_most, faster, medians
from pdlib.bench.sequences import Batch, against_eager, as_peer_takes_them, eager, milliseconds, spec_of
from pdlib.labels import label_block
from pdlib.models.transformer import bert, sequence_tensors
from pdlib.schedules import OneShot
from pdlib.specs import Distillation, Parameters, Piece, Sequences, Training
from pdlib.store import Store
from pdlib.tasks.grammar import SentenceStream, grammar
from pdlib.tasks.inside_outside import posterior
from pdlib.tasks.masked import MaskedPrediction
from pdlib.training.gradient import GradientLearner
from pdlib.training.online_sgd import set_threads

BATCH = 64
N_LAYERS = 4
SMALL_ROOTS = (14, 15)  # the laptop's part of cfg3b
# who, heads, steps a measurement, reach against whole batches and against micro-batches
SIZES = (("laptop's teacher", 12, 6, 1.5, 1.7), ("laptop's student", 2, 24, 1.5, 3.0))
THREADS = 2
N_SENTENCES = 20_000  # sampled a measurement
ROOTS, LENGTH, N_POSTERIORS = (22,), 275, 4  # the paper's cfg3b; of a sentence; sentences a measurement
ONLINE_HEADS, ONLINE_STEPS = (32, 8), 6  # the paper's teacher and student; steps a measurement


def rows() -> Iterator[dict[str, Any]]:
    """Yield the page's cases."""
    set_threads(1)
    yield _sampling(N_SENTENCES)
    yield _posterior()
    set_threads(THREADS)
    for size in SIZES:
        yield from _training(*size)
    set_threads(1)
    yield from _cached_labels(ONLINE_STEPS)


def _sampling(n: int) -> dict[str, Any]:
    """Return the case of sentences with their trees, new ones each time."""
    stream = SentenceStream(grammar("cfg3b", roots=ROOTS), "bench")
    done = 0

    def run() -> float:
        nonlocal done
        started = time.perf_counter()
        for start in range(done, done + n, 2000):
            stream.sentences(start, min(start + 2000, done + n))
        done += n
        return (time.perf_counter() - started) / n * 100_000

    stream.sentences(0, 1)  # compiled
    (seconds,) = medians(run)
    return at_most("100,000 sentences of cfg3b with their trees, 1 core", seconds, None, "s", 60.0)


def _posterior() -> dict[str, Any]:
    """Return the case of the exact posterior at all selected positions of sentences of one length."""
    source = grammar("cfg3b", roots=ROOTS)
    task = MaskedPrediction(source)
    inputs, _ = task.stream(0, "probe").examples(0, 100 * N_POSTERIORS)
    rows = np.argsort(np.abs(inputs.lengths - LENGTH), kind="stable")[:N_POSTERIORS]

    def run() -> float:
        started = time.perf_counter()
        posterior(
            source,
            inputs.tokens[rows],
            inputs.lengths[rows],
            inputs.at[rows],
            mask_rate=task.mask_rate,
        )
        return (time.perf_counter() - started) / len(rows) * 1e3

    run()  # compiled
    (milliseconds,) = medians(run)
    case = f"exact posterior at all selected positions of a sentence of {LENGTH} tokens, cfg3b, 1 core"
    return at_most(case, milliseconds, None, "ms", 250.0)


def _spec(task: MaskedPrediction, n_heads: int, batch_size: int) -> tuple[Training, Parameters]:
    model = bert(N_LAYERS, n_heads, vocabulary=task.vocabulary, n_positions=task.n_inputs)
    return spec_of(task, model, batch_size)


def _training(
    who: str, n_heads: int, steps: int, reach_whole: float, reach_micro: float
) -> Iterator[dict[str, Any]]:
    trained = _spec(MaskedPrediction(grammar("cfg3b", roots=SMALL_ROOTS)), n_heads, BATCH)
    case = f"{who}, {n_heads} heads, batch {BATCH}, {THREADS} threads, against eager BERT"
    peer = (partial(network, trained[0]), masked_loss)
    yield from against_eager(case, trained, peer, steps, reach_whole, reach_micro)


def masked_loss(module: nn.Module, batch: Batch) -> Tensor:
    """Return the loss that Hugging Face's network computes on a batch."""
    tokens, real, labels = batch
    loss: Tensor = module(input_ids=tokens, attention_mask=real, labels=labels).loss
    return loss


def taught_loss(teacher: nn.Module, module: nn.Module, batch: Batch) -> Tensor:
    """Return the loss on what a teacher finds most likely where something is asked."""
    tokens, real, labels = batch
    with torch.inference_mode():
        found = teacher(input_ids=tokens, attention_mask=real).logits.argmax(dim=-1)
    return masked_loss(module, (tokens, real, torch.where(labels == -100, labels, found)))


def network(spec: Training) -> nn.Module:
    """Return Hugging Face's network of the same sizes, with the attention that it chooses for speed."""
    import transformers

    model: Any = spec.model
    config = transformers.BertConfig(
        vocab_size=model.vocabulary,
        hidden_size=model.full_width,
        num_hidden_layers=model.n_layers,
        num_attention_heads=model.n_heads,
        intermediate_size=model.full_mlp_width,
        max_position_embeddings=model.n_positions,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        pad_token_id=None,
        attn_implementation="sdpa",
    )
    module: nn.Module = transformers.BertForMaskedLM(config)
    return module


def _cached_labels(steps: int) -> Iterator[dict[str, Any]]:
    """Yield the cases of a student fed from stored labels, against a teacher asked at every step: ours, and eager.

    On one thread, as a page's workers train on two cores. On two the ratios are lower: the student's small products gain
    less by the second thread than the teacher's large ones.
    """
    task = MaskedPrediction(grammar("cfg3b", roots=SMALL_ROOTS))
    (teacher_spec, teacher_initial), (spec, initial) = (_spec(task, n, BATCH) for n in ONLINE_HEADS)
    supervision = Distillation(teacher_spec, OneShot(), targets="hard")
    teacher = teacher_spec.model.module(teacher_initial).eval()
    learner = GradientLearner(spec, initial)
    stream, n = task.stream(0, "train"), steps * BATCH
    piece = Piece(0, n, teacher_spec.n_steps)
    inputs, true_classes = stream.examples(0, n)
    rate = np.full(1, 1e-4)

    def asked(batch: Sequences) -> NDArray[Any]:
        tokens, how = sequence_tensors(batch, task.vocabulary)
        with torch.inference_mode():
            return np.asarray(teacher(tokens, **how).argmax(dim=1))

    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder, published=None)
        store.save_checkpoint(teacher_spec, teacher_spec.n_steps, teacher_initial)

        def run(cached: bool) -> float:
            started, done = time.perf_counter(), 0
            counts = inputs.n_targets
            labels = (
                label_block(supervision, stream, piece, task.n_classes, store, counts=counts)
                if cached
                else None
            )
            for start in range(0, n, BATCH):
                batch = inputs[start : start + BATCH]
                n_targets = int(batch.n_targets.sum())
                now = slice(done, done + n_targets)
                classes = asked(batch) if labels is None else labels[now] ^ true_classes[now]
                learner.steps(batch, classes, rate)
                done += n_targets
            return milliseconds(started, steps)

        run(True)  # made, once
        batches = as_peer_takes_them(inputs, true_classes, BATCH)
        loss = partial(taught_loss, network(teacher_spec).eval())
        loops = [eager(partial(network, spec), loss, batches, 1, adam) for adam in ("fused", "foreach")]
        ours, peer, *loop = medians(lambda: run(True), lambda: run(False), *loops)
    case = (
        f"{ONLINE_HEADS[1]}-head student from cached labels against its {ONLINE_HEADS[0]}-head teacher asked at each step, "
        f"cfg3b, batch {BATCH}, 1 thread"
    )
    yield faster(case, ours, peer, "ms/step", 4.0)
    yield faster(f"{case}, both networks eager", ours, min(loop), "ms/step", 4.0)

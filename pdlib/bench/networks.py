"""Speed of training Transformers, and of cached labels: the pages `parity_transformers`, `pcfg`, `wiki` and `gpt2`.

The peer is the loop that one would write with Hugging Face's networks: the same sizes, no dropout, `float32`, their fused
attention, no key-value cache, labels of -100 where nothing is asked; whole batches, each padded to its longest sentence;
AdamW in the faster of PyTorch's two fast settings, and, as a peer of its own, the network under `torch.compile`.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pdlib.bench import faster, medians, timed
from pdlib.labels import Targets
from pdlib.models.transformer import Transformer, bert, sequence_tensors, tokens_of
from pdlib.models.transformer import gpt2 as gpt2_model
from pdlib.optimizers import Adam
from pdlib.schedules import OneShot
from pdlib.sequences import Sequences
from pdlib.specs import Count, Distillation, Piece, Purpose, Source, Task, Training
from pdlib.store import Store
from pdlib.tasks.bits import random_words, uniforms
from pdlib.tasks.grammar import grammar
from pdlib.tasks.masked import MaskedPrediction
from pdlib.tasks.next_token import NextToken
from pdlib.tasks.parity import SparseParity
from pdlib.text.corpus import Block
from pdlib.training import untrained
from pdlib.training.gradient import GradientLearner
from pdlib.training.online_sgd import set_threads

THREADS = 2
Batch = tuple[Tensor, Tensor, Tensor]  # tokens, what is no padding, labels


# page -> its task, heads of teacher and student, batch, steps timed of each, reach
LAPTOP: dict[str, tuple[Callable[[], Task], tuple[int, int], int, tuple[int, int], float]] = {
    "parity_transformers": (lambda: SparseParity(24, 6), (8, 2), 32, (40, 100), 2.0),
    "pcfg": (lambda: MaskedPrediction(grammar("cfg3b", roots=(14, 15))), (12, 2), 64, (6, 24), 1.5),
    "wiki": (lambda: MaskedPrediction(ZipfTokens(2047, 16), 0.15), (8, 2), 128, (6, 24), 1.5),
    "gpt2": (lambda: NextToken(grammar("cfg3f", roots=(13, 14, 15)), 3), (8, 2), 64, (6, 24), 1.5),
}


def parity_transformers() -> Iterator[dict[str, Any]]:
    """Yield the cases of the page `parity_transformers`: the laptop's networks, and the paper's student."""
    yield from teacher_and_student("parity_transformers")
    task = SparseParity(100, 6)
    yield from against_eager("paper's student", spec_of(task, 4, 32), 15, 2.0)
    yield cached_labels(spec_of(task, 32, 32), spec_of(task, 4, 32), 15, 4.0)


def pcfg() -> Iterator[dict[str, Any]]:
    """Yield the cases of the page `pcfg`."""
    yield from teacher_and_student("pcfg")
    task = LAPTOP["pcfg"][0]()
    yield cached_labels(spec_of(task, 32, 64), spec_of(task, 8, 64), 6, 4.0)


def wiki() -> Iterator[dict[str, Any]]:
    """Yield the cases of the page `wiki`: tokens as unequally frequent as words are (Zipf's law)."""
    yield from teacher_and_student("wiki")
    large = spec_of(MaskedPrediction(ZipfTokens(30521, 64), 0.15), 4, 32)
    yield from against_eager("vocabulary of 30,522", large, 1, 1.5)


def gpt2() -> Iterator[dict[str, Any]]:
    """Yield the cases of the page `gpt2`."""
    yield from teacher_and_student("gpt2")


def teacher_and_student(page: str, *, compiled: bool = True) -> Iterator[dict[str, Any]]:
    """Yield the cases of a page's two networks at the laptop's sizes, on request against the eager loop alone."""
    make, n_heads, batch_size, steps, reach = LAPTOP[page]
    task = make()
    for who, heads, n in zip(("teacher", "student"), n_heads, steps, strict=True):
        spec = spec_of(task, heads, batch_size)
        yield from against_eager(who, spec, n, reach, compiled=compiled)


def spec_of(task: Task, n_heads: int, batch_size: int) -> Training:
    """Return a training of the network that a page trains on such a task."""
    if not task.vocabulary:
        model = Transformer(n_layers=2, n_heads=n_heads, head_size=8, n_positions=task.n_inputs)
    else:
        model = (gpt2_model if task.causal else bert)(
            4, n_heads, vocabulary=task.vocabulary, n_positions=task.n_inputs
        )
    return Training(
        task, model, Adam(1e-4, clip_norm=1.0), n_steps=1000, evaluate_every=1000, batch_size=batch_size
    )


def against_eager(
    who: str, spec: Training, steps: int, reach: float, *, compiled: bool = True
) -> Iterator[dict[str, Any]]:
    """Yield the cases of a training step against the loop, and against the loop with the compiled network."""
    set_threads(THREADS)
    inputs, classes = spec.task.stream(0, "train").examples(0, steps * spec.batch_size)
    learner, rates = GradientLearner(spec, untrained(spec)), np.full(steps, 1e-4)
    batches = as_peer_takes_them(inputs, classes, spec.batch_size)
    sides = [timed(lambda: learner.steps(inputs, classes, rates), steps, "ms")]
    sides += [eager(network(spec), batches, adam) for adam in ("fused", "foreach")]
    if compiled:
        sides += [eager(cast(nn.Module, torch.compile(network(spec), dynamic=True)), batches, "fused")]
    ours, fused, foreach, *under_compile = medians(*sides)
    case = f"{who}, {spec.model.n_heads} heads, batch {spec.batch_size}, {THREADS} threads, against"  # type: ignore[attr-defined]
    yield faster(f"{case} the eager loop", ours, min(fused, foreach), "ms/step", reach)
    for peer in under_compile:
        yield faster(f"{case} the loop under torch.compile", ours, peer, "ms/step", 1.0)


def network(spec: Training) -> nn.Module:
    """Return Hugging Face's network of the same sizes, with the attention that it chooses for speed."""
    import transformers

    model: Any = spec.model
    if model.attends == "causal":
        config: Any = transformers.GPT2Config(
            vocab_size=model.vocabulary, n_positions=model.n_positions, n_embd=model.full_width,
            n_layer=model.n_layers, n_head=model.n_heads, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
            use_cache=False, bos_token_id=None, eos_token_id=None, attn_implementation="sdpa",
            tie_word_embeddings=model.tied,
        )  # fmt: skip
        return transformers.GPT2LMHeadModel(config)  # type: ignore[no-any-return]
    config = transformers.BertConfig(
        vocab_size=model.vocabulary, hidden_size=model.full_width, num_hidden_layers=model.n_layers,
        num_attention_heads=model.n_heads, intermediate_size=model.full_mlp_width,
        max_position_embeddings=model.n_positions, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        pad_token_id=None, attn_implementation="sdpa",
    )  # fmt: skip
    return transformers.BertForMaskedLM(config)  # type: ignore[no-any-return]


def as_peer_takes_them(inputs: Any, classes: NDArray[Any], size: int) -> list[Batch]:
    """Return batches of this size: tokens, what is no padding, and labels, -100 where nothing is asked."""
    batches, done = [], 0
    for start in range(0, len(inputs), size):
        part = inputs[start : start + size]
        if isinstance(part, Sequences):
            tokens, real, at = torch.tensor(part.tokens), torch.tensor(part.visible).long(), part.at
        else:  # a class for each example, at its last position
            tokens, real = tokens_of(part), torch.ones(part.shape, dtype=torch.long)
            at = np.arange(part.shape[1]) == np.full((len(part), 1), part.shape[1] - 1)
        labels = np.full(at.shape, -100)
        labels[at] = classes[done : done + int(at.sum())]
        done += int(at.sum())
        batches.append((tokens, real, torch.tensor(labels)))
    return batches


def loss_of(module: nn.Module, batch: Batch) -> Tensor:
    """Return the loss of Hugging Face's network on a batch; a causal one needs no mask, as padding stands at the end."""
    tokens, real, labels = batch
    how = {} if "GPT2" in str(getattr(module, "config", "")) else {"attention_mask": real}
    logits = module(input_ids=tokens, **how).logits
    return nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())


def eager(module: nn.Module, batches: list[Batch], adam: str) -> Callable[[], float]:
    """Return timed steps of the eager loop; `adam` is `"fused"` or `"foreach"`."""
    parameters = list(module.train().parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0.0, **{adam: True})  # type: ignore[arg-type]

    def run() -> None:
        for batch in batches:
            optimizer.zero_grad(set_to_none=True)
            loss_of(module, batch).backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()

    return timed(run, len(batches), "ms")


def cached_labels(taught_by: Training, spec: Training, steps: int, reach: float) -> dict[str, Any]:
    """Return the case of a student fed from stored labels, against its teacher asked at every step.

    On one thread, as a page's workers train on two cores. On two the ratio is lower: the student's small products gain
    less by the second thread than the teacher's large ones.
    """
    set_threads(1)
    task, size, initial = spec.task, spec.batch_size, untrained(taught_by)
    learner, teacher = GradientLearner(spec, untrained(spec)), taught_by.model.module(initial).eval()
    n, rate = steps * size, np.full(1, 1e-4)
    inputs, true_classes = task.stream(0, "train").examples(0, n)
    counts = inputs.n_targets if isinstance(inputs, Sequences) else np.ones(n, int)

    def asked(batch: Any) -> NDArray[Any]:
        vectors = not isinstance(batch, Sequences)
        tokens, how = (tokens_of(batch), {"at": -1}) if vectors else sequence_tensors(batch, task.vocabulary)
        with torch.inference_mode():
            return np.asarray(teacher(tokens, **how).argmax(dim=1))

    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder, published=None)
        store.save_checkpoint(taught_by, taught_by.n_steps, initial)
        supervision, piece = (
            Distillation(taught_by, OneShot(), targets="hard"),
            Piece(0, n, taught_by.n_steps),
        )
        student = replace(taught_by, supervision=supervision)
        stored = partial(Targets(student, store).block, piece, int(counts.sum()))

        def run(cached: bool) -> None:
            labels, done = stored() if cached else None, 0
            for start in range(0, n, size):
                batch = inputs[start : start + size]
                now = slice(done, done := done + int(counts[start : start + size].sum()))
                learner.steps(
                    batch, asked(batch) if labels is None else labels[now] ^ true_classes[now], rate
                )

        ours, peer = medians(*(timed(partial(run, cached), steps, "ms") for cached in (True, False)))
    case = (
        f"{spec.model.n_heads}-head student from cached labels against its {taught_by.model.n_heads}-head "  # type: ignore[attr-defined]
        f"teacher asked at each step, batch {size}, 1 thread"
    )
    return faster(case, ours, peer, "ms/step", reach)


@dataclass(frozen=True)
class ZipfTokens(Source):
    """Sequences of independent tokens, the i-th as frequent as 1 / (i + 1).

    >>> ZipfTokens(4, 10).max_length
    10
    """

    version: ClassVar[int] = 1
    vocabulary: Count
    length: Count

    @property
    def n_tokens(self) -> int:
        return self.vocabulary

    @property
    def max_length(self) -> int:
        return self.length

    def sentence_stream(self, identity: str, purpose: Purpose = "train") -> ZipfStream:
        """Return the endless stream that this text names."""
        return ZipfStream(self, identity)


class ZipfStream:
    """The stream of a `ZipfTokens`."""

    def __init__(self, source: ZipfTokens, text: str) -> None:
        self.identity, self._source = hashlib.sha256(text.encode()).hexdigest()[:32], source

    def sentences(self, start: int, stop: int) -> Block:
        """Return the sequences start ... stop - 1."""
        below, length = np.cumsum(1 / np.arange(1, self._source.vocabulary + 1)), self._source.length
        uniform = uniforms(random_words(self.identity, start, stop, length))
        tokens = np.searchsorted(below[:-1], uniform * below[-1], side="right").astype(np.int64)
        return Block(tokens, np.full(stop - start, length, np.int64))

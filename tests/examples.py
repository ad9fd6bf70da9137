"""Small runs of which golden numbers are kept, float64 where it can be, so that they are those of every machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import tiny
import tiny_theory

from pdlib.bench.batch_one import StepTimes
from pdlib.bench.networks import ZipfTokens
from pdlib.models.huggingface import save_pretrained
from pdlib.models.mlp import MLP
from pdlib.models.published import PublishedCheckpoints
from pdlib.models.transformer import Transformer, bert, gpt2
from pdlib.optimizers import SGD, Adam
from pdlib.probes.attention import AttentionPaths
from pdlib.probes.features import FeatureCorrelations
from pdlib.probes.generation import Generation
from pdlib.probes.ngrams import NgramDependence, Predictions
from pdlib.probes.nonterminals import NonterminalPrediction
from pdlib.probes.parts import PartAccuracy
from pdlib.probes.softness import Softness
from pdlib.schedules import EqualSplit, Explicit, KappaSplit, MultiplesSplit, OneShot
from pdlib.specs import Distillation, Measurement, Run, Task, Training
from pdlib.tasks.hierarchical import HierarchicalParity
from pdlib.tasks.masked import MaskedPrediction
from pdlib.tasks.next_token import NextToken
from pdlib.tasks.parity import SparseParity
from pdlib.text.corpus import Corpus
from pdlib.text.facts import CorpusFacts, MaskedExample
from pdlib.text.references import TextReferences

TEACHER = replace(
    tiny.training(), precision="float64", n_steps=1000, evaluate_every=500, checkpoint_every=250
)


def taught(schedule: Any, targets: str = "hard", temperature: float = 1.0, **changes: Any) -> Training:
    """A student of that teacher."""
    return tiny.student(TEACHER, schedule, targets, temperature, precision="float64", seed=1, **changes)


TREE = replace(TEACHER, task=HierarchicalParity(10, 1, 3), seed=2)  # eight classes
ATTENTIVE = replace(
    TEACHER,
    task=SparseParity(10, 3, (1, 4, 8)),
    model=Transformer(2, 2, 4, n_positions=10, initial_std=0.3),
    optimizer=Adam(0.003, "cosine", 0.1),
    n_steps=20,
    evaluate_every=10,
    checkpoint_every=10,
    batch_size=8,
    seed=3,
)
BATCHED = replace(
    TEACHER,
    optimizer=Adam(0.01, warmup_fraction=0.1, weight_decay=0.1, clip_norm=0.2, n_micro_batches=2),
    n_steps=60,
    evaluate_every=30,
    checkpoint_every=0,
    batch_size=16,
    seed=4,
)


def on_sequences(task: Task, **changes: Any) -> Training:
    """Four steps of a small Transformer."""
    make = gpt2 if task.causal else bert
    model = make(1, 2, 4, vocabulary=task.vocabulary, n_positions=task.n_inputs, initial_std=0.3)
    base = Training(
        task,
        model,
        Adam(0.01),
        n_steps=4,
        evaluate_every=2,
        batch_size=8,
        n_evaluation=16,
        precision="float64",
    )
    return replace(base, **changes)


def examples() -> dict[str, Run]:
    """At least one run in which each kind takes part."""
    masked = tiny_theory.SENTENCES
    next_token = NextToken(masked.source, ends=True)
    corpus = Corpus.prepare(("sample:english:60", "sample:english:80"), "trained:300", 16, 20)
    text = MaskedPrediction(corpus)
    found: dict[str, Run] = {
        "labels": tiny.training(precision="float64", optimizer=SGD(0.1, "cosine", 0.1), seed=1),
        "teacher": TEACHER,
        "tree": TREE,
        "attentive": ATTENTIVE,
        "batched": BATCHED,
        "hard": tiny.student(TEACHER, precision="float64", seed=1),
        "soft": taught(Explicit((250, -1), (100,)), "soft", 0.5, model=MLP(24)),
        "OneShot": taught(OneShot()),
        "EqualSplit": taught(EqualSplit(2)),
        "KappaSplit": taught(KappaSplit(4, 0.2)),
        "MultiplesSplit": taught(MultiplesSplit(250, 0.2)),
        "masked": on_sequences(masked),
        "next token": on_sequences(next_token),
        "zipf": on_sequences(MaskedPrediction(ZipfTokens(30, 12))),
        "corpus": on_sequences(text),
        "published": on_sequences(text, supervision=Distillation(published(text), OneShot(), 1.0, "hard")),
        "StepTimes": StepTimes(8, 2, ()),
        "CorpusFacts": CorpusFacts(corpus),
        "MaskedExample": MaskedExample(text),
        "TextReferences": TextReferences(text, n_evaluation=9),
        "MonomialCorrelations": tiny.measurement(TEACHER),
    }
    probes = {
        AttentionPaths(64): ATTENTIVE,
        FeatureCorrelations((1,), n_samples=500, n_rest=20): TREE,
        Softness((0.05, 0.5), n_samples=200): ATTENTIVE,
        NgramDependence((2, 3), n_samples=16): on_sequences(masked),
        Predictions(1, 2): on_sequences(masked),
        NonterminalPrediction(64, 32, n_heads=2, position_size=8, n_epochs=1, batch_size=16): on_sequences(
            masked
        ),
        Generation(20): on_sequences(next_token),
        PartAccuracy(64): on_sequences(text),
    }
    return found | {type(p).__name__: Measurement(spec, p, (0, spec.n_steps)) for p, spec in probes.items()}


def published(task: MaskedPrediction) -> PublishedCheckpoints:
    """A network of somebody else, in a folder; its URI is relative, since it decides random numbers."""
    assert isinstance(task.source, Corpus)
    model = on_sequences(task).model
    save_pretrained("network", model, model.initial(task.n_inputs, task.n_classes, seed=0))
    Path("network/vocab.txt").write_text(task.source.wordpiece().text, encoding="utf-8")
    return PublishedCheckpoints.prepare(task, ["folder:network"], [1000])

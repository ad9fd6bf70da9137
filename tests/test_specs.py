"""Specs: what they refuse, their canonical form, and fingerprints that follow every field and ancestor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import tiny
import tiny_theory

from pdlib.bench.batch_one import StepTimes
from pdlib.models.mlp import MLP
from pdlib.models.published import PublishedCheckpoints
from pdlib.models.transformer import Transformer
from pdlib.probes.attention import AttentionPaths
from pdlib.probes.features import FeatureCorrelations
from pdlib.probes.generation import Generation
from pdlib.probes.monomials import MonomialCorrelations
from pdlib.probes.ngrams import NgramDependence, Predictions
from pdlib.probes.nonterminals import NonterminalPrediction
from pdlib.probes.parts import PartAccuracy
from pdlib.published import Published
from pdlib.schedules import EqualSplit, Explicit, KappaSplit, MultiplesSplit, OneShot, Progressive
from pdlib.specs import (
    SGD,
    Adam,
    Calculation,
    Distillation,
    Labels,
    Measurement,
    Spec,
    SpecError,
    Training,
    ancestors,
    require,
)
from pdlib.tasks.grammar import Grammar, Rule, grammar
from pdlib.tasks.hierarchical import HierarchicalParity
from pdlib.tasks.masked import MaskedPrediction
from pdlib.tasks.next_token import NextToken
from pdlib.tasks.parity import SparseParity
from pdlib.text.corpus import Corpus
from pdlib.text.facts import CorpusFacts, MaskedExample
from pdlib.text.references import TextReferences
from pdlib.theory.best_prediction import BestDependence, BestPrediction
from pdlib.theory.complexity import Totals, WidthTradeOff
from pdlib.theory.constructions import Interpolation1D, InterpolationND, SupportSelection, UniformAttention
from pdlib.theory.first_stage import (
    BatchSizes,
    FirstStageTeacher,
    FirstStep,
    PopulationGradient,
    SeparationShare,
)
from pdlib.theory.majority import FourierGap, Majority
from pdlib.theory.read_off import ConstructedTarget, IntermediateTarget, LabelTarget, ReadOff, TrainedTarget
from pdlib.theory.second_stage import BestSecondStage, FinalTeachers, SecondStage, SharedDirection
from pdlib.training import untrained

TEXT = Corpus(("sample:english:60",), "trained:300", 16, 20, digest="0" * 32, vocabulary=300)
SPECS: list[Spec] = [
    SparseParity(10, 3, (2, 5, 9)),
    SparseParity(10, 3),
    HierarchicalParity(10, 3, 2),
    Rule(3, (1, 2), 0.5),
    Grammar(((3,), (1, 2)), (Rule(3, (1, 2), 0.5), Rule(3, (1,), 0.5))),
    MLP(16),
    Transformer(2, 4, tied=True, norm="post", initial_std=0.1),
    Transformer(2, 4),
    PublishedCheckpoints(
        MaskedPrediction(TEXT),
        Transformer(2, 4, n_positions=16, vocabulary=300, attends="all"),
        ("hub:someone/network@main", "folder:network"),
        (10, 20),
        ("0" * 40, "1" * 32),
    ),
    SGD(0.05, "cosine", 0.1),
    Adam(1e-3, "cosine", 0.1, (0.8, 0.99), n_micro_batches=2),
    Labels(),
    OneShot(),
    Progressive(4, 50),
    Explicit((100, -1), (50,)),
    EqualSplit(2),
    KappaSplit(4, 0.5),
    MultiplesSplit(10),
    tiny.training(),
    tiny.student(),
    tiny.student(tiny.student(tiny.TEACHER, checkpoint_every=100), targets="soft", temperature=0.5),
    StepTimes(10, 3, (16,)),
    MonomialCorrelations((1, 2)),
    FeatureCorrelations((1, 2)),
    AttentionPaths(100),
    tiny_theory.SENTENCES,
    NextToken(grammar("cfg3f")),
    NgramDependence((3, 5)),
    Predictions(1, 4),
    NonterminalPrediction(2000),
    Generation(100),
    PartAccuracy(100),
    TEXT,
    CorpusFacts(TEXT),
    MaskedExample(MaskedPrediction(TEXT)),
    TextReferences(MaskedPrediction(TEXT)),
    tiny.measurement(),
    replace(tiny.measurement(), steps=(0, 100)),
    LabelTarget(),
    ConstructedTarget(1.5),
    IntermediateTarget(24),
    TrainedTarget(24, 0.1, 1000),
    *tiny_theory.CALCULATIONS.values(),
]

# One other valid value a field, for every field that exists.
OTHER: dict[type[Spec], dict[str, Any]] = {
    SparseParity: {"n_bits": 11, "support_size": 2, "positions": (0, 1, 3)},
    MLP: {"width": 17},
    Transformer: {
        "n_layers": 3,
        "n_heads": 5,
        "head_size": 9,
        "width": 33,
        "mlp_width": 7,
        "n_positions": 1025,
        "vocabulary": 3,
        "attends": "all",
        "norm": "post",
        "heads": "averaged",
        "tied": True,
        "output": "transformed",
        "activation": "gelu",
        "norm_epsilon": 1e-4,
        "dropout": 0.1,
        "initial_std": 0.03,
        "initial_bias": "log_frequency",
        "initial_positions": "sinusoidal",
    },
    PublishedCheckpoints: {
        "task": MaskedPrediction(TEXT, mask_rate=0.2),
        "model": Transformer(3, 4, n_positions=16, vocabulary=300, attends="all"),
        "repositories": ("hub:someone/network@other", "folder:network"),
        "steps": (10, 30),
        "contents": ("2" * 40, "1" * 32),
    },
    SGD: {"learning_rate": 0.06, "schedule": "constant", "warmup_fraction": 0.2},
    Adam: {
        "learning_rate": 2e-3,
        "schedule": "constant",
        "warmup_fraction": 0.2,
        "betas": (0.8, 0.98),
        "epsilon": 1e-7,
        "weight_decay": 0.1,
        "clip_norm": 1.0,
        "n_micro_batches": 4,
    },
    Progressive: {"n_checkpoints": 8, "steps_per_checkpoint": 49},
    Explicit: {"checkpoints": (200, -1), "durations": (51,)},
    EqualSplit: {"n_checkpoints": 4},
    KappaSplit: {"n_checkpoints": 2, "kappa": 0.25},
    MultiplesSplit: {"first": 20, "kappa": 0.5},
    Corpus: {
        "texts": ("sample:english:9",),
        "tokenizer": "trained:301",
        "length": 9,
        "held_out": 3,
        "digest": "1" * 32,
        "vocabulary": 301,
    },
    CorpusFacts: {"corpus": replace(TEXT, length=9)},
    MaskedExample: {"task": MaskedPrediction(replace(TEXT, length=9)), "sequence": 1},
    TextReferences: {"task": MaskedPrediction(replace(TEXT, length=9)), "n_evaluation": 9},
    PartAccuracy: {"n_samples": 9},
    HierarchicalParity: {"n_bits": 11, "support_size": 2, "depth": 1, "mirrored": True},
    Rule: {"left": 4, "right": (2, 1), "probability": 0.25},
    Grammar: {"layers": ((3,), (2, 1)), "rules": (Rule(3, (1, 2), 0.25), Rule(3, (1,), 0.75))},
    FeatureCorrelations: {"degrees": (1,), "n_samples": 9, "n_rest": 9},
    AttentionPaths: {"n_samples": 9},
    NgramDependence: {"n": (3,), "n_samples": 9, "n_positions": 2},
    Predictions: {"sentence": 2, "position": 5},
    Generation: {"n_samples": 9, "seed": 1},
    NonterminalPrediction: {
        "n_train": 9,
        "n_validation": 9,
        "n_heads": 2,
        "position_size": 8,
        "n_epochs": 3,
        "batch_size": 7,
        "learning_rate": 0.02,
        "seed": 1,
    },
    MonomialCorrelations: {"degrees": (1,), "n_samples": 9, "n_off_support": 9, "temperature": 2.0},
    Distillation: {
        "teacher": replace(tiny.TEACHER, seed=1),
        "schedule": OneShot(),
        "temperature": 0.5,
        "targets": "hard",
    },
    Training: {
        "task": SparseParity(11, 3),
        "model": MLP(17),
        "optimizer": SGD(0.06),
        "n_steps": 500,
        "evaluate_every": 100,
        "seed": 1,
        "supervision": Distillation(tiny.TEACHER, OneShot()),
        "checkpoint_every": 50,
        "batch_size": 2,
        "n_evaluation": 255,
        "precision": "float64",
        "data_seed": 3,
    },
    StepTimes: {"n_bits": 11, "support_size": 2, "widths": (17,)},
    Measurement: {
        "training": replace(tiny.training(), seed=1),
        "probe": MonomialCorrelations((3,)),
        "steps": (100,),
    },
    ConstructedTarget: {"exponent": 2.0},
    IntermediateTarget: {"width": 26, "aligned": True},
    TrainedTarget: {"width": 26, "epsilon": 0.2, "max_steps": 1001},
    MaskedPrediction: {"source": grammar("cfg3i", roots=10), "mask_rate": 0.2, "selected": "hidden"},
    NextToken: {"source": grammar("cfg3f", roots=10), "level": 2, "counted": "from_root", "ends": True},
    BestPrediction: {"task": replace(tiny_theory.SENTENCES, mask_rate=0.2), "n_evaluation": 17},
    BestDependence: {
        "task": replace(tiny_theory.SENTENCES, mask_rate=0.2),
        "probe": NgramDependence((3,)),
    },
    Majority: {"n_bits": 5},
    FourierGap: {"n_bits": 9},
    PopulationGradient: {"n_bits": 7, "support_size": 4, "width": 10, "seed": 1},
    FirstStep: {
        "n_bits": 9,
        "support_size": 4,
        "width": 10,
        "batch_sizes": (64,),
        "delta": 0.2,
        "seed": 1,
    },
    FirstStageTeacher: {"n_bits": 9, "support_size": 4, "width": 10, "aligned": True, "seed": 1},
    SeparationShare: {"n_bits": 9, "support_size": 4, "width": 10, "n_draws": 21, "seed": 1},
    BatchSizes: {
        "n_bits": 9,
        "support_size": 4,
        "width": 10,
        "n_samples": 512,
        "batch_sizes": (1,),
        "seed": 1,
    },
    ReadOff: {
        "n_bits": 9,
        "support_size": 4,
        "target": IntermediateTarget(24),
        "rule": "pooled",
        "width": 8,
        "n_draws": 7,
        "max_batch": 1024,
        "seed": 1,
    },
    SecondStage: {
        "n_bits": 9,
        "support_size": 4,
        "width": 10,
        "epsilon": 0.4,
        "delta": 0.2,
        "max_steps": 2049,
        "n_evaluation": 513,
        "seed": 1,
        "rate_factor": 2.0,
    },
    BestSecondStage: {
        "n_bits": 9,
        "support_size": 4,
        "width": 10,
        "supervision": "labels",
        "teacher_width": 18,
        "aligned": True,
        "scales": (1.5,),
        "seed": 1,
    },
    SharedDirection: {"support_size": 2, "n_draws": 4, "scales": (1.0,), "seed": 1},
    Totals: {"support_size": 6, "epsilon": 0.2, "delta": 0.2, "c": 2.0, "n_bits": (11,)},
    WidthTradeOff: {
        "n_bits": 9,
        "support_size": 4,
        "width": 10,
        "batch_size": 17,
        "learning_rate": 0.02,
        "max_steps": 31,
        "delta": 0.2,
        "seed": 1,
    },
    FinalTeachers: {"n_bits": 7, "support_size": 4, "n_random": 3, "seed": 1},
    SupportSelection: {
        "n_bits": 7,
        "support_size": 3,
        "last_in_support": True,
        "example": "repaired",
        "n_samples": 10,
        "seed": 1,
        "sharpness_offset": 0.5,
    },
    UniformAttention: {
        "n_bits": 7,
        "support_size": 3,
        "layers": "lemma",
        "n_samples": 10,
        "seed": 1,
    },
    Interpolation1D: {"n_points": 4, "n_outputs": 2, "seed": 1},
    InterpolationND: {"n_points": 4, "n_inputs": 3, "seed": 1},
}
BASE = {type(spec): spec for spec in SPECS} | {
    Training: tiny.training(),
    Distillation: Distillation(tiny.TEACHER, Progressive(4, 50)),
}
# fields that another field has to follow
TOGETHER: dict[tuple[type[Spec], str], dict[str, Any]] = {
    (Transformer, "initial_bias"): {"output": "transformed"},
    (ReadOff, "rule"): {"width": 8},
    (ReadOff, "width"): {"rule": "pooled"},
    (BestSecondStage, "supervision"): {"teacher_width": 0},
}


# Refused


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: SparseParity(5, 5), "support_size k = 5"),
        (lambda: SparseParity(5, 9), "support_size k = 9"),
        (lambda: SparseParity(5, 0), "support_size = 0"),
        (lambda: SparseParity(10.0, 3), "n_bits = 10.0"),  # type: ignore[arg-type]
        (lambda: SparseParity(True, 3), "n_bits = True"),
        (lambda: SparseParity(10, 3, (3, 1, 2)), "positions = (3, 1, 2)"),
        (lambda: SparseParity(10, 3, (1, 2)), "positions = (1, 2)"),
        (lambda: MLP(0), "width = 0"),
        (lambda: MLP("100"), "width = '100'"),  # type: ignore[arg-type]
        (lambda: SGD(0), "learning_rate = 0"),
        (lambda: SGD(-0.1), "learning_rate = -0.1"),
        (lambda: SGD(float("nan")), "learning_rate = nan"),
        (lambda: SGD(float("inf")), "learning_rate = inf"),
        (lambda: SGD("0.1"), "learning_rate = '0.1'"),  # type: ignore[arg-type]
        (lambda: SGD(0.1, "linear"), "schedule = 'linear'"),  # type: ignore[arg-type]
        (lambda: SGD(0.1, warmup_fraction=1.0), "warmup_fraction = 1.0"),
        (lambda: SGD(0.1, warmup_fraction=float("nan")), "warmup_fraction = nan"),
        (lambda: Distillation(tiny.TEACHER, OneShot(), 0.0), "temperature = 0.0"),
        (lambda: Distillation(tiny.TEACHER, OneShot(), -1.0), "temperature = -1.0"),
        (lambda: Distillation(tiny.TEACHER, OneShot(), float("nan")), "temperature = nan"),
        (lambda: Distillation(tiny.TEACHER, OneShot(), "1"), "temperature = '1'"),  # type: ignore[arg-type]
        (lambda: Distillation(tiny.TEACHER, OneShot(), 0.5, "hard"), "temperature = 0.5 with hard"),
        (lambda: Distillation(tiny.TEACHER, OneShot(), 1.0, "sharp"), "'sharp'"),  # type: ignore[arg-type]
        (lambda: Distillation(MLP(3), OneShot()), "teacher = MLP"),  # type: ignore[arg-type]
        (lambda: Distillation(tiny.TEACHER, "one_shot"), "'one_shot'"),  # type: ignore[arg-type]
        (lambda: tiny.training(task=MLP(3)), "task = MLP"),
        (lambda: tiny.training(optimizer=0.1), "optimizer = 0.1"),
        (lambda: tiny.training(n_steps=0), "n_steps = 0"),
        (lambda: tiny.training(n_steps=1e5), "n_steps = 100000.0"),
        (lambda: tiny.training(seed=-1), "seed = -1"),
        (lambda: tiny.training(seed=None), "seed = None"),
        (lambda: tiny.training(checkpoint_every=500), "checkpoint_every = 500"),
        (lambda: tiny.training(precision="float16"), "precision = 'float16'"),
        (lambda: tiny.training(data_seed=-1), "data_seed = -1: expected None, or a whole number"),
        (lambda: tiny.training(data_seed=True), "data_seed = True"),
        (lambda: tiny.student(task=SparseParity(12, 3)), "a teacher of"),
        (lambda: tiny.student(schedule=Progressive(4, 101)), "N T = 4 x 101 = 404"),
        (lambda: Measurement(tiny.training(), MonomialCorrelations(), (150,)), "steps [150]"),
        (lambda: Measurement(tiny.training(), MonomialCorrelations(), (100.0,)), "steps[0] = 100.0"),  # type: ignore[arg-type]
        (lambda: Measurement(tiny.training(), MonomialCorrelations(), (0, 150)), "steps [150]"),
        (lambda: Measurement(tiny.training(), MonomialCorrelations(), (-1,)), "steps [-1]"),
        (lambda: Measurement(tiny.training(), MonomialCorrelations(), ()), "steps = ()"),
        (lambda: AttentionPaths(0), "n_samples = 0"),
        (lambda: NgramDependence((0,)), "n[0] = 0"),
        (lambda: Predictions(-1), "sentence = -1"),
        (lambda: NonterminalPrediction(n_heads=0), "n_heads = 0"),
        (lambda: MonomialCorrelations(temperature=0), "temperature = 0"),
        (lambda: MonomialCorrelations(temperature="1"), "temperature = '1'"),  # type: ignore[arg-type]
        (lambda: MonomialCorrelations(degrees=()), "degrees = ()"),
        (lambda: MonomialCorrelations(degrees=(0,)), "degrees[0] = 0"),
        (lambda: MonomialCorrelations(degrees=(np.float32(1),)), "degrees[0] = "),  # type: ignore[arg-type]
        (lambda: MonomialCorrelations(n_samples=0), "n_samples = 0"),
        (lambda: ConstructedTarget(0), "exponent = 0"),
        (lambda: IntermediateTarget(3), "width m = 3"),
        (lambda: TrainedTarget(4, epsilon=1.0), "epsilon = 1.0"),
        (lambda: ReadOff(10, 2, LabelTarget()), "n_bits d = 10"),
        (lambda: ReadOff(11, 3, LabelTarget()), "support_size k = 3"),
        (lambda: ReadOff(129, 2, LabelTarget()), "n_bits d = 129"),
        (lambda: ReadOff(11, 2, "labels"), "target = 'labels'"),  # type: ignore[arg-type]
        (lambda: ReadOff(11, 2, LabelTarget(), "two"), "rule = 'two'"),  # type: ignore[arg-type]
        (lambda: ReadOff(11, 2, LabelTarget(), "one", 2), "width = 2 with rule 'one'"),
        (lambda: ReadOff(11, 2, LabelTarget(), "pooled", 1), "width = 1 with rule 'pooled'"),
        (lambda: FirstStep(11, 2, 8, ()), "batch_sizes = ()"),
        (lambda: BatchSizes(11, 2, 8, 100, (3,)), "batch sizes [3] for n_samples = 100"),
        (lambda: SecondStage(11, 2, 8, 0.1, rate_factor=0), "rate_factor = 0"),
        (lambda: BestSecondStage(11, 2, 8, "labels", 8), "teacher_width = 8 with labels"),
        (lambda: SharedDirection(2, scales=()), "scales = ()"),
        (lambda: WidthTradeOff(11, 2, 7, 8), "width m = 7"),
        (lambda: FourierGap(3), "n_bits d = 3"),
    ],
)
def test_a_spec_that_cannot_mean_anything_is_refused_with_the_value_and_what_was_expected(
    make: Callable[[], Spec], named: str
) -> None:
    with pytest.raises(SpecError, match=r": expected ") as caught:
        make()
    assert named in str(caught.value)


def test_a_value_that_is_no_literal_is_refused_when_the_fingerprint_is_asked_for() -> None:
    with pytest.raises(SpecError, match=r"MonomialCorrelations.degrees .* of type list: expected a literal"):
        _ = MonomialCorrelations([1, 2]).fingerprint  # type: ignore[arg-type]


def test_require_says_what_was_wrong_what_was_expected_and_what_to_do() -> None:
    with pytest.raises(SpecError, match=r"^x = 3: expected at most 2\. Lower x\.$"):
        require(False, "x = 3", "at most 2", "Lower x.")


# Canonical form


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: type(s).__name__)
def test_a_spec_comes_back_from_its_canonical_form(spec: Spec) -> None:
    back = Spec.from_canonical(spec.canonical())
    assert back == spec
    assert back.fingerprint == spec.fingerprint


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(SpecError, match="kind 'Perceptron': expected one of"):
        Spec.from_canonical({"kind": "Perceptron", "version": 1})


def test_an_unknown_a_missing_or_a_misspelt_field_is_refused() -> None:
    record = SGD(0.1).canonical()
    for wrong in (record | {"momentum": 0.9}, {k: v for k, v in record.items() if k != "schedule"}):
        with pytest.raises(SpecError, match=r"SGD with the fields .*: expected exactly the fields"):
            Spec.from_canonical(wrong)


def test_another_version_is_refused_unless_todays_meaning_is_asked_for() -> None:
    record = tiny.student().canonical()
    record["supervision"]["teacher"]["model"]["version"] = 99
    with pytest.raises(SpecError, match=r"MLP of version 99: expected version 1, .*\. Run it again"):
        Spec.from_canonical(record)
    assert Spec.from_canonical(record, current_code=True) == tiny.student()


def test_a_stored_value_is_checked_like_a_typed_one() -> None:
    with pytest.raises(SpecError, match="learning_rate"):
        Spec.from_canonical(SGD(0.1).canonical() | {"learning_rate": -1.0})


# Fields that came later


def test_a_field_that_came_later_is_left_out_at_its_default_and_a_stored_record_without_it_is_read_back() -> (
    None
):
    old = {"kind": "SparseParity", "version": 1, "n_bits": 10, "support_size": 3}  # as it was stored before
    assert SparseParity(10, 3).canonical() == old == SparseParity(10, 3, (0, 1, 2)).canonical()
    assert Spec.from_canonical(old) == SparseParity(10, 3)
    assert Spec.from_canonical(old | {"positions": []}) == SparseParity(10, 3)  # said, it means the same
    assert SparseParity(10, 3).fingerprint == "7a303fa06eec50299df4d8e87401ac7d"
    placed = SparseParity(10, 3, (0, 1, 3))
    assert placed.canonical() == old | {"positions": [0, 1, 3]}
    assert placed.fingerprint != SparseParity(10, 3).fingerprint
    with pytest.raises(SpecError, match=r"SparseParity with the fields .*: expected exactly the fields"):
        Spec.from_canonical(
            {k: v for k, v in old.items() if k != "support_size"}
        )  # that one was always there
    with pytest.raises(SpecError, match=r"with the fields .*'places'.*: expected exactly the fields"):
        Spec.from_canonical(old | {"places": [0, 1, 3]})


def test_a_float64_run_from_soft_targets_says_their_type_and_no_other_run_does() -> None:
    soft = tiny.student(targets="soft", precision="float64")
    assert soft.soft_targets == soft.canonical()["soft_targets"] == "float64"
    others = [
        tiny.training(precision="float64"),
        tiny.student(precision="float64"),
        tiny.student(targets="soft"),
    ]
    for other in (*others, replace(soft, precision="float32")):
        assert other.soft_targets == "float16"
        assert "soft_targets" not in other.canonical()
    assert Spec.from_canonical(soft.canonical()) == soft == replace(replace(soft, seed=1), seed=soft.seed)


def test_a_float64_run_from_soft_targets_in_float16_is_another_codes() -> None:
    soft = tiny.student(targets="soft", precision="float64")
    before = {k: v for k, v in soft.canonical().items() if k != "soft_targets"}  # as it was stored
    with pytest.raises(
        SpecError, match=r"Training with soft_targets 'float16': expected 'float64', that of this"
    ):
        Spec.from_canonical(before)
    assert Spec.from_canonical(before, current_code=True) == soft
    hard = tiny.student(precision="float64")
    with pytest.raises(SpecError, match=r"Training with soft_targets 'float64': expected 'float16'"):
        Spec.from_canonical(hard.canonical() | {"soft_targets": "float64"})


def test_published_results_keep_their_fingerprints_when_a_kind_gets_a_field() -> None:
    checked = 0
    for fingerprint, record in ((f, found["spec"]) for f, found in Published().records()):
        try:
            spec = Spec.from_canonical(record)
        except SpecError as error:
            if " of version " in str(error):  # of older code: marked as such until it is renewed
                continue
            raise
        assert (spec.canonical(), spec.fingerprint) == (record, fingerprint)
        checked += 1
    assert checked


# Fingerprints


def test_a_fingerprint_is_the_same_in_another_process() -> None:
    spec = tiny.student(schedule=Explicit((2000, -1), (100,)))
    code = (
        "import json, sys; from pdlib.specs import Spec;"
        "print(Spec.from_canonical(json.loads(sys.stdin.read())).fingerprint)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(spec.canonical()),
        env=os.environ | {"PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == spec.fingerprint


def test_the_other_values_below_cover_every_field_of_every_kind() -> None:
    for cls, values in OTHER.items():
        assert set(values) == {f.name for f in fields(cls) if f.init}, cls.__name__
    with_fields = {type(s) for s in SPECS if fields(s)} | {Distillation}
    assert set(OTHER) == with_fields


@pytest.mark.parametrize(
    ("cls", "name"), [(c, n) for c, v in OTHER.items() for n in v], ids=lambda x: getattr(x, "__name__", x)
)
def test_a_fingerprint_changes_with_every_field(cls: type[Spec], name: str) -> None:
    base = BASE[cls]
    for field, value in TOGETHER.get((cls, name), {}).items():
        object.__setattr__(base := replace(base), field, value)  # so that one field alone differs
    changed = replace(base, **{name: OTHER[cls][name]})
    assert changed.fingerprint != base.fingerprint
    back = replace(changed)
    object.__setattr__(back, name, getattr(base, name))
    assert back.fingerprint == base.fingerprint  # the control


def test_a_fingerprint_changes_with_the_version_of_any_code_below_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [tiny.student().fingerprint, tiny.measurement().fingerprint, tiny.student().canonical()]
    monkeypatch.setattr(SparseParity, "version", 2)
    assert tiny.student().fingerprint != before[0]
    assert tiny.measurement().fingerprint != before[1]
    monkeypatch.undo()
    monkeypatch.setattr(Progressive, "version", 2)
    assert tiny.student().fingerprint != before[0]
    assert tiny.measurement().fingerprint == before[1]  # no schedule in its ancestry
    monkeypatch.undo()
    assert tiny.student().canonical() == before[2]


def test_every_kind_of_the_theory_has_its_other_values_above() -> None:
    assert tiny_theory.kinds() - {LabelTarget} <= set(OTHER)  # that one has no fields
    assert len({spec.fingerprint for spec in SPECS}) == len(SPECS)


def test_a_calculation_comes_back_in_a_process_that_knows_no_theory_yet() -> None:
    names = list(tiny_theory.CALCULATIONS)
    records = [tiny_theory.CALCULATIONS[name].canonical() for name in names]
    code = (
        "import json, sys; from pdlib.specs import Spec;"
        "assert not [m for m in sys.modules if m.startswith('pdlib.theory')];"
        "print(*[Spec.from_canonical(r).fingerprint for r in json.loads(sys.stdin.read())])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(records),
        env=os.environ | {"PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [tiny_theory.CALCULATIONS[name].fingerprint for name in names]


def test_a_calculations_fingerprint_follows_its_version_and_that_of_its_target(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    labels, taught = (tiny_theory.CALCULATIONS[f"ReadOff, {name}"] for name in ("labels", "intermediate"))

    def fingerprints() -> list[str]:
        return [replace(labels).fingerprint, replace(taught).fingerprint]  # it is kept once it is known

    before = fingerprints()
    monkeypatch.setattr(IntermediateTarget, "version", 2)
    assert fingerprints()[0] == before[0]
    assert fingerprints()[1] != before[1]
    monkeypatch.undo()
    monkeypatch.setattr(ReadOff, "version", 2)
    assert not set(fingerprints()) & set(before)
    monkeypatch.undo()
    assert fingerprints() == before


@pytest.mark.parametrize("name", tiny_theory.CALCULATIONS)
def test_a_calculation_waits_for_nothing_and_says_how_much_work_it_is(name: str) -> None:
    spec = tiny_theory.CALCULATIONS[name]
    assert list(ancestors(spec)) == []
    assert 0 < spec.work < 1e10


def test_a_bare_calculation_has_no_rows() -> None:
    with pytest.raises(NotImplementedError):
        Calculation().rows()
    assert Calculation().work == 1e6


def test_a_students_fingerprint_follows_its_whole_ancestry() -> None:
    grandteacher = tiny.TEACHER
    between = tiny.student(grandteacher, checkpoint_every=100)
    student = tiny.student(between)
    other = tiny.student(tiny.student(replace(grandteacher, seed=5), checkpoint_every=100))
    assert student.fingerprint != other.fingerprint
    assert list(ancestors(student)) == [between]
    assert list(ancestors(tiny.training())) == []
    assert list(ancestors(tiny.measurement(student))) == [student]


def test_equal_numbers_of_other_type_are_the_same_spec() -> None:
    assert SGD(1).fingerprint == SGD(1.0).fingerprint
    assert SGD(1, warmup_fraction=0).fingerprint == SGD(1.0, warmup_fraction=0.0).fingerprint
    assert KappaSplit(4, 1).fingerprint == KappaSplit(4, 1.0).fingerprint
    assert MonomialCorrelations(temperature=1).fingerprint == MonomialCorrelations().fingerprint
    one = Distillation(tiny.TEACHER, OneShot(), 1)
    assert one.fingerprint == Distillation(tiny.TEACHER, OneShot(), 1.0).fingerprint
    assert ConstructedTarget(1).fingerprint == ConstructedTarget(1.0).fingerprint
    assert Totals(4, 0.1, 0.1, 1, (11,)).fingerprint == Totals(4, 0.1, 0.1, 1.0, (11,)).fingerprint
    assert SharedDirection(2, 3, (1,)).fingerprint == SharedDirection(2, 3, (1.0,)).fingerprint


# What follows from a spec


def test_checkpoints_and_evaluations_rise_and_end_with_the_run() -> None:
    spec = tiny.training(n_steps=450, checkpoint_every=100, evaluate_every=200)
    assert spec.checkpoints == (100, 200, 300, 400, 450)
    assert spec.evaluations == (0, 200, 400, 450)
    assert tiny.training(checkpoint_every=0).checkpoints == (400,)
    assert tiny.training(checkpoint_every=400).checkpoints == (400,)


def test_a_rate_warms_up_linearly_and_falls_as_a_cosine() -> None:
    rates = SGD(0.4, "cosine", 0.1).rates(0, 100, n_steps=100)
    assert rates[:10] == pytest.approx(0.4 * np.arange(1, 11) / 10)
    assert rates[10:] == pytest.approx([0.2 * (1 + np.cos(np.pi * (t - 10) / 90)) for t in range(10, 100)])
    assert SGD(0.4, warmup_fraction=0.1).rates(0, 100, 100)[9:] == pytest.approx(0.4)


def test_rates_do_not_depend_on_the_block_they_are_asked_for_in() -> None:
    rates = SGD(0.4, "cosine", 0.1)
    whole = rates.rates(0, 1000, n_steps=1000)
    assert (
        np.concatenate([rates.rates(a, a + 125, 1000) for a in range(0, 1000, 125)]).tolist()
        == whole.tolist()
    )


def test_a_data_seed_decides_the_inputs_and_leaves_the_weights_to_the_seed() -> None:
    one, other = tiny.training(seed=4), tiny.training(seed=4, data_seed=9)
    assert one.stream.identity == tiny.training(seed=1, data_seed=4).stream.identity != other.stream.identity
    assert other.stream.identity == tiny.training(seed=9).stream.identity
    weights = [untrained(spec)["0.weight"] for spec in (one, other, tiny.training(seed=9))]
    np.testing.assert_array_equal(weights[0], weights[1])
    assert (weights[1] != weights[2]).any()


def test_a_data_seed_that_is_the_seed_is_no_other_run() -> None:
    plain = tiny.training(seed=4)
    assert tiny.training(seed=4, data_seed=4) == plain
    assert "data_seed" not in plain.canonical()  # fingerprints from before the field stay
    assert Spec.from_canonical(tiny.training(data_seed=9).canonical()) == tiny.training(data_seed=9)

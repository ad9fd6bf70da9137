"""Golden numbers: results of today's code. If one of these fails, results changed and a version has to rise.

A component's version enters the fingerprint of every spec that uses it; results stored by older code are then not
mistaken for today's. Float64 and short runs, so that the numbers are those of every machine to 1e-9.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tiny
import tiny_theory

from pdlib import labels
from pdlib.engine import execute
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
from pdlib.schedules import EqualSplit, Explicit, KappaSplit, MultiplesSplit, OneShot, Progressive
from pdlib.specs import SGD, Adam, Calculation, Distillation, Labels, Measurement, Spec, Training
from pdlib.store import Store
from pdlib.tasks.grammar import Grammar, Rule
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

VERSIONS = {
    SparseParity: 1,
    HierarchicalParity: 1,
    Grammar: 1,
    Rule: 1,
    FeatureCorrelations: 1,
    AttentionPaths: 1,
    NgramDependence: 1,
    Predictions: 1,
    NonterminalPrediction: 1,
    Generation: 1,
    MLP: 1,
    Transformer: 1,
    PublishedCheckpoints: 1,
    SGD: 1,
    Adam: 1,
    Labels: 1,
    Distillation: 1,
    Training: 1,
    Measurement: 1,
    MonomialCorrelations: 1,
    OneShot: 1,
    Progressive: 1,
    Explicit: 1,
    EqualSplit: 1,
    KappaSplit: 1,
    MultiplesSplit: 1,
    Corpus: 1,
    CorpusFacts: 1,
    MaskedExample: 1,
    TextReferences: 1,
    PartAccuracy: 1,
    MaskedPrediction: 1,
    NextToken: 1,
    BestPrediction: 1,
    BestDependence: 1,
    Majority: 1,
    FourierGap: 1,
    PopulationGradient: 1,
    FirstStep: 1,
    FirstStageTeacher: 1,
    SeparationShare: 1,
    BatchSizes: 1,
    LabelTarget: 1,
    ConstructedTarget: 1,
    IntermediateTarget: 1,
    TrainedTarget: 1,
    ReadOff: 1,
    SecondStage: 1,
    BestSecondStage: 1,
    SharedDirection: 1,
    Totals: 1,
    WidthTradeOff: 1,
    FinalTeachers: 1,
    SupportSelection: 1,
    UniformAttention: 2,
    Interpolation1D: 1,
    InterpolationND: 1,
}
TEACHER = replace(
    tiny.training(), precision="float64", n_steps=1000, evaluate_every=500, checkpoint_every=250
)
STUDENTS = {
    "labels": tiny.training(precision="float64", optimizer=SGD(0.1, "cosine", 0.1), seed=1),
    "hard": tiny.student(TEACHER, precision="float64", seed=1),
    "soft": tiny.student(
        TEACHER, Explicit((250, -1), (100,)), "soft", 0.5, precision="float64", model=MLP(24), seed=1
    ),
}
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
CHANGED = """results of {what} changed: {got!r}, and the golden ones are {golden!r}. If that is meant, raise the
version of the component that gives it its meaning (class attribute `version`, or labels.VERSION), and write the
new numbers and version here, in one commit. Stored results of the old version are then outdated, and pages say so."""

GOLDEN_EXAMPLES = (["-+++--++++", "--+++++---", "--+-+--+++", "+--+---+++"], [1, 0, 0, 0])
GOLDEN_INITIAL = [0.00741861062725, 0.110682060132, -0.0166785594972, 6.49480127327, -1.2913847923]
GOLDEN_TEACHER = [
    0.708325794932,
    0.707740033387,
    0.69972295714,
    0.49609375,
    0.515625,
    0.53515625,
    4.85392986997,
    -0.12623397627,
]  # losses, accuracies, checksum
GOLDEN_STUDENTS = {
    "labels": [0.693448844719, 0.51953125, 5.65274565196, -0.763630468903],
    "hard": [2.07316897882, 0.5390625, 11.8767053239, -0.679479615844],
    "soft": [0.744243095505, 0.5390625, 10.140673965998, 2.573214204217],
}  # loss, accuracy, checksum
GOLDEN_MEASUREMENT = [
    0.0172366301219,
    0.0229309452602,
    0.0171376914978,
    0.0215023984194,
    0.0282357177734,
    0.0518381652832,
    0.0460477333069,
    0.0592997665405,
    0.0215425568289,
    0.0215425568289,
    0.0215425568289,
    0.0215425568289,
]
GOLDEN_TREE_CLASSES = [2, 5, 3, 4, 4, 1, 5, 5]
GOLDEN_TREE = [
    0.0229180022048,
    1.0,
    1.0,
    1.0,
    73.3728261108,
    -0.260318625144,
]  # loss, accuracies by level, checksum
GOLDEN_FEATURES = [1.22178440653, 1.23879389346, 0.145969099159]  # sums of means, of maxima, of noise floors
GOLDEN_PLACED_CLASSES = [1, 0, 1, 0, 1, 0, 0, 0]
GOLDEN_INITIAL_TRANSFORMER = [145.99920129573, -1.2727242711892]
GOLDEN_ATTENTIVE = [
    1.13307183577,
    0.706250709927,
    0.697890375175,
    0.49609375,
    0.5,
    0.47265625,
    146.70365295587,
    -0.8587085780461,
]  # losses, accuracies, checksum
GOLDEN_ATTENTION = {  # untrained, after 10 and after 20 steps
    "on_support": [0.303305408274, 0.301292825634, 0.299860400588],
    "on_support_low": [0.290476548405, 0.285479746363, 0.284133820054],
    "on_support_high": [0.320345067003, 0.313675672514, 0.313213816469],
    "on_coordinate": [0.101101802758, 0.100430941878, 0.0999534668627],
    "on_coordinate_low": [0.0968255161349, 0.0951599154543, 0.0947112733515],
    "on_coordinate_high": [0.106781689001, 0.104558557505, 0.10440460549],
    "off_coordinate": [0.099527798818, 0.0998153106238, 0.100019942773],
    "off_coordinate_low": [0.0970935618568, 0.098046332498, 0.098112311933],
    "off_coordinate_high": [0.101360493085, 0.102074321948, 0.102266597135],
}
GOLDEN_BATCHED = [
    0.702648028926,
    0.699709094368,
    0.741934974515,
    0.46875,
    0.5078125,
    0.45703125,
    5.9101781663,
    -0.9764766454398,
]  # losses, accuracies, checksum
GOLDEN_FINGERPRINTS = {
    "labels": "9765c16135785e378a972ad7d8d3926b",
    "hard": "b55046fab965f7d9abc893862bd58d20",
    "soft": "31bef0f4c8036c90409c338a9189597a",
    "attentive": "5def62669dece2b9f2a8e588dc882b42",
}


def same(what: str, got: list[float], golden: list[float]) -> None:
    """Fail with what to do unless the numbers agree to 1e-9."""
    if got != pytest.approx(golden, rel=0, abs=1e-9):
        pytest.fail(CHANGED.format(what=what, got=got, golden=golden))


def checksum(parameters: dict[str, Any]) -> list[float]:
    """Two numbers that move with any parameter: the sum of squares, and a sum with alternating weights."""
    flat = np.concatenate([parameters[name].ravel() for name in sorted(parameters)])
    return [float((flat**2).sum()), float((flat * np.cos(np.arange(len(flat)))).sum())]


@pytest.mark.parametrize("cls", VERSIONS, ids=lambda c: c.__name__)
def test_the_golden_numbers_are_those_of_this_version(cls: type[Spec]) -> None:
    assert cls.version == VERSIONS[cls], (
        f"{cls.__name__} has version {cls.version}, the golden numbers are of version {VERSIONS[cls]}: "
        "write the new version and the new numbers into this file."
    )


def test_labels_have_the_version_of_the_golden_numbers() -> None:
    assert labels.VERSION == 2
    assert labels.GRID == 1_000_000  # where blocks end is part of every key


def test_every_kind_of_the_core_has_its_version_here() -> None:
    from pdlib import schedules

    kinds = {
        c for _, c in inspect.getmembers(schedules, inspect.isclass) if c.__module__ == schedules.__name__
    }
    assert kinds <= set(VERSIONS)


def test_every_kind_of_the_theory_has_its_version_here_and_a_small_case() -> None:
    kinds = tiny_theory.kinds()
    assert kinds <= set(VERSIONS)
    cases = tiny_theory.CALCULATIONS.values()
    assert {type(case) for case in cases} == {kind for kind in kinds if issubclass(kind, Calculation)}
    targets = {type(case.target) for case in cases if isinstance(case, ReadOff)}
    assert targets == {kind for kind in kinds if not issubclass(kind, Calculation)}


def test_the_first_examples_of_a_stream_are_golden() -> None:
    inputs, classes = SparseParity(10, 3).stream(0, "train").examples(0, 4)
    rows = ["".join("+" if x > 0 else "-" for x in row) for row in inputs]
    assert (rows, classes.tolist()) == GOLDEN_EXAMPLES, CHANGED.format(
        what="SparseParity's stream", got=(rows, classes.tolist()), golden=GOLDEN_EXAMPLES
    )


def test_initial_weights_are_golden() -> None:
    parameters = MLP(16).initial(10, 2, seed=0)
    same("MLP.initial", [*parameters["0.weight"][0, :3].tolist(), *checksum(parameters)], GOLDEN_INITIAL)


def test_a_training_from_labels_is_golden(store: Store) -> None:
    (record,) = execute([TEACHER], store, progress=False)
    got = [*record.table.loss_nats, *record.table.accuracy, *checksum(tiny.final(TEACHER, store))]
    same("a float64 training", got, GOLDEN_TEACHER)


@pytest.mark.parametrize("name", STUDENTS)
def test_a_student_is_golden(store: Store, name: str) -> None:
    spec = STUDENTS[name]
    (record,) = execute([spec], store, progress=False)
    last = record.table.iloc[-1]
    got = [last.loss_nats, last.accuracy, *checksum(tiny.final(spec, store))]
    same(f"a float64 training supervised by {name}", got, GOLDEN_STUDENTS[name])


def test_a_measurement_is_golden(store: Store) -> None:
    spec = tiny.measurement(TEACHER)
    (record,) = execute([spec], store, progress=False)
    last = record.table[record.table.step == 1000]
    got = [*last["mean"], *last.maximum, *last.noise_floor]
    if got != pytest.approx(GOLDEN_MEASUREMENT, rel=0, abs=1e-6):  # the probe works in float32
        pytest.fail(CHANGED.format(what="a measurement", got=got, golden=GOLDEN_MEASUREMENT))


def test_a_training_on_a_tree_and_its_measurement_are_golden(store: Store) -> None:
    probe = FeatureCorrelations((1,), n_samples=500, n_rest=20)
    record, measured = execute([TREE, Measurement(TREE, probe, (1000,))], store, progress=False)
    _, classes = TREE.task.stream(0, "train").examples(0, 8)
    assert classes.tolist() == GOLDEN_TREE_CLASSES
    levels = record.table.iloc[-1][[f"accuracy_level_{level}" for level in (1, 2, 3)]]
    got = [record.table.loss_nats.iloc[-1], *levels, *checksum(tiny.final(TREE, store))]
    same("a float64 training on a tree", got, GOLDEN_TREE)
    got = [float(measured.table[c].sum()) for c in ("mean", "maximum", "noise_floor")]
    if got != pytest.approx(GOLDEN_FEATURES, rel=0, abs=1e-6):  # the probe works in float32
        pytest.fail(CHANGED.format(what="a measurement of features", got=got, golden=GOLDEN_FEATURES))


def test_a_transformer_in_training_and_its_attention_are_golden(store: Store) -> None:
    _, classes = ATTENTIVE.task.stream(0, "train").examples(0, 8)
    assert classes.tolist() == GOLDEN_PLACED_CLASSES
    initial = ATTENTIVE.model.initial(10, 2, seed=3)
    same("Transformer.initial", checksum(initial), GOLDEN_INITIAL_TRANSFORMER)
    probe = Measurement(ATTENTIVE, AttentionPaths(64), (0, 10, 20))
    record, measured = execute([ATTENTIVE, probe], store, progress=False)
    got = [*record.table.loss_nats, *record.table.accuracy, *checksum(tiny.final(ATTENTIVE, store))]
    same("a float64 training of a Transformer", got, GOLDEN_ATTENTIVE)
    found = {str(name): list(values) for name, values in measured.table.drop(columns="step").items()}
    assert found.keys() == GOLDEN_ATTENTION.keys()
    for name, values in found.items():
        same(f"attention paths, {name},", values, GOLDEN_ATTENTION[name])


def test_an_mlp_in_training_by_adam_is_golden(store: Store) -> None:
    (record,) = execute([BATCHED], store, progress=False)
    got = [*record.table.loss_nats, *record.table.accuracy, *checksum(tiny.final(BATCHED, store))]
    same("a float64 training by Adam", got, GOLDEN_BATCHED)


def test_fingerprints_are_golden() -> None:
    got = {name: spec.fingerprint for name, spec in {**STUDENTS, "attentive": ATTENTIVE}.items()}
    assert got == GOLDEN_FINGERPRINTS, (
        "the canonical form of a spec changed, so every stored result is lost to it. Raise a version only if results "
        "changed; otherwise keep the form."
    )


def test_a_change_of_a_millionth_in_the_rate_is_seen(store: Store) -> None:
    """The control."""
    spec = replace(TEACHER, optimizer=SGD(0.05 * (1 + 1e-6)))
    execute([spec], store, progress=False)
    assert checksum(tiny.final(spec, store)) != pytest.approx(GOLDEN_TEACHER[-2:], rel=0, abs=1e-9)


# Calculations: a weighted sum of each column over its rows, so that their order counts

UNDETERMINED = {"BestSecondStage": {"accuracy"}, "SharedDirection": {"best_scale"}}  # several optima
LOOSE = {  # column -> tolerance, where a solver stops at one
    "best_loss": 1e-7,
    "lemma_loss": 1e-7,
    "normal_share": 1e-7,
    "predicted": 1e-6,
}
SINGLE = 1e-4  # WidthTradeOff works in float32
NOT_A_NUMBER, INFINITE = 17.0, 19.0

GOLDEN_CALCULATIONS: dict[str, dict[str, float]] = {
    "BestPrediction": {
        "accuracy": 1.03365977423,
        "loss_nats": 0.164972188059,
    },
    "BestPrediction, hidden": {
        "accuracy": 0.93799059047,
        "loss_nats": 0.257444809541,
    },
    "BestPrediction, text": {
        "accuracy": 0.926851007945,
        "loss_nats": 0.42128431311,
    },
    "BestPrediction, boundaries": {
        "accuracy": 0.605955903252,
        "loss_nats": -0.968816708895,
    },
    "BestDependence": {
        "n": -0.181364245291,
        "median": -0.427916047385,
        "mean": -0.409777909169,
        "low": -0.132608219051,
        "high": -0.764745032923,
        "p5": -0.0304497710961,
        "p95": -0.644969831273,
        "n_pairs": 2.14660756353,
    },
    "Majority": {
        "degree": -6.38977474133,
        "exact": 0.0108870616449,
        "enumerated": 0.0108870616449,
        "printed": -0.37555451982,
        "right": 0.114622841681,
    },
    "FourierGap": {
        "support_size": 4.16120922347,
        "gap": 0.227192223529,
        "bound": 0.00999940875398,
        "ratio": 0.342669242197,
        "one_over_d": 0.140027482352,
    },
    "PopulationGradient": {
        "enumerated": 0.0276586117646,
        "formula": 0.0276586117646,
        "error": 0.0,
        "printed_error": 3.08060461174,
    },
    "FirstStep": {
        "batch_size": 352.673753286,
        "error": 10.0064478154,
        "bound": 0.791573626647,
        "printed_centre_error": 10.1475032805,
        "printed_bound": 1.5153094342,
        "gradient_error": 0.149678084338,
        "gradient_rms": 0.0900678261038,
        "tau_g": 0.389602644365,
        "separated": 0.0384916509808,
    },
    "FirstStageTeacher": {
        "n_monomials": -78.3614583159,
        "minimum": -11.0443762206,
        "mean": 0.0660066475141,
        "maximum": -11.0339623895,
        "binomial_error": -35.0163102182,
        "majority": -35.0163102182,
    },
    "SeparationShare": {
        "n_draws": 20.0,
        "n_separated": 16.0,
        "mean_in": 0.0649444580078,
        "mean_off": 0.0069637345679,
        "normal_share": 0.723082647396,
        "normal_in": 0.0626557745878,
        "normal_off": 0.0064972401363,
    },
    "BatchSizes": {
        "batch_size": 139.317390302,
        "n_steps": 256.540302306,
        "separation": 1.63790956202,
        "share": 1.54030230587,
        "inactive": 0.0,
        "drift": 1.77530065732,
    },
    "ReadOff, labels": {
        "batch_size": 315.437271325,
        "n_draws": 5.44680140967,
        "n_read": 2.03612580495,
        "chosen": 0.96017028665,
        "n_attempts": 1.33275404451,
        "minimum_in": 0.0,
        "maximum_off": 0.0,
        "norm": 1.33275404451,
        "predicted": 261.100885177,
    },
    "ReadOff, constructed": {
        "batch_size": 133.256816729,
        "n_draws": 7.53661201958,
        "n_read": 4.26604895686,
        "chosen": 0.753902254343,
        "n_attempts": 1.47825407831,
        "minimum_in": 0.22285518739,
        "maximum_off": 0.0,
        "norm": 0.788413430342,
        "predicted": 25.1303193313,
    },
    "ReadOff, intermediate": {
        "batch_size": 109.13194459,
        "n_draws": 2.41947604602,
        "n_read": 2.70593194444,
        "chosen": 0.753902254343,
        "n_attempts": 2.95650815663,
        "minimum_in": 0.0286916990298,
        "maximum_off": 0.0179648933128,
        "norm": 0.00635803187789,
        "predicted": 177.112913434,
    },
    "ReadOff, trained": {
        "batch_size": -17.7232154716,
        "n_draws": -2.96458127758,
        "n_read": -1.82228616969,
        "chosen": -0.416146836547,
        "n_attempts": -0.519480648143,
        "minimum_in": -0.0412105934459,
        "maximum_off": -0.00673408496477,
        "norm": -0.0101204651385,
        "predicted": -8.83117101843,
    },
    "SecondStage": {
        "step": -1686.37258929,
        "loss": -0.250176154988,
        "accuracy": -0.719098498548,
        "max_degree_1": -0.0564615620184,
        "norm": -0.0341895684207,
        "learning_rate": -0.000426679113545,
        "bound_steps": -25587.5419467,
        "in_regime": 0.0,
        "reached": 0.0,
    },
    "BestSecondStage": {
        "scale": 2.08060461174,
        "best_loss": 0.546281490195,
        "n_neurons": 9.24181383521,
        "n_directions": 4.6209069176,
        "spread_in": 1.54030230587,
        "ratio_off": 0.513434101956,
    },
    "BestSecondStage, intermediate": {
        "scale": 1.0,
        "best_loss": 1.0,
        "n_neurons": 4.0,
        "n_directions": 1.0,
        "spread_in": 0.0625,
        "ratio_off": 3.33333333333,
    },
    "SharedDirection": {
        "draw": -0.291991367226,
        "spread_in": 0.451110636224,
        "sign_changes": 6.0738483663,
        "lemma_loss": 0.324962019125,
        "best_loss": 0.540302305868,
    },
    "Totals": {
        "n_bits": 137.228994365,
        "progressive_first": 179.35776954,
        "progressive_second": 26156786826.7,
        "distillation": 1293837.79777,
    },
    "WidthTradeOff": {
        "reached": 0.0,
        "step": 30.0,
        "samples": 480.0,
        "loss": 0.866590866979,
        "noise": 0.25,
        "bound": 0.008203125,
    },
    "FinalTeachers": {
        "largest": 3.36694084926,
        "loss": -0.237609388933,
        "correlation": 0.632745369619,
    },
    "SupportSelection": {
        "n_inputs": 98.5793475756,
        "n_errors": 71.0151152934,
        "max_error": 3.08060461174,
        "least_error": 0.469497811759,
        "leak": 0.737979315023,
        "tolerance": 0.192537788234,
        "hidden": 18.4836276704,
        "hidden_bound": 18.4836276704,
        "largest_entry": 15.4030230587,
        "operator_norm": 18.4836276704,
        "norm_bound": 36.9672553408,
        "sharpness": 4.06494609012,
    },
    "UniformAttention": {
        "n_inputs": 64.0,
        "n_errors": 0.0,
        "max_error": 0.0,
        "width_1": 2.0,
        "width_2": 1.0,
        "printed_width": 4.0,
        "largest_entry": 2.0,
        "operator_norm": 3.0,
        "norm_bound": 16.0,
    },
    "Interpolation1D": {
        "perturbation": -17.4067035617,
        "max_error": -17.0886815401,
        "formula": -17.0886815401,
        "value": 1.64334406703,
        "operator_norm": 11.862316022,
        "bound": 1.64334406703,
    },
    "InterpolationND": {
        "perturbation": -12.5702700861,
        "max_error": -11.228608695,
        "formula": -11.228608695,
        "value": -37.6071212875,
        "operator_norm": -25.707719592,
        "bound": -36.6996745061,
    },
}
GOLDEN_CALCULATION_FINGERPRINTS = {
    "BestPrediction": "5d2a4d1a5f23b4d2696396ee3571f726",
    "BestPrediction, hidden": "f433b1e323714aabd1963181867c7131",
    "BestPrediction, text": "170c127e6c7564c41174a5cfbea083f0",
    "BestPrediction, boundaries": "43d17496c176e42e18213f419bc19c3f",
    "BestDependence": "69159fce7f1524e7b2b4854a89c03f4b",
    "Majority": "89b6d0b7682d681d604442654ab4b664",
    "FourierGap": "f661821f1530d6b626852fc404537512",
    "PopulationGradient": "f44bbdac5650f71275c4e154ee371b75",
    "FirstStep": "e4b43c2ce34651ad2e1e0113ec9af8d5",
    "FirstStageTeacher": "9b604a3a22bec15e8ac27ef2e9d5f63c",
    "SeparationShare": "260149b6952e72f32f39d97ed1cc4142",
    "BatchSizes": "78e069be4c921a4e09220b9a8a602968",
    "ReadOff, labels": "dfbe2dcfd866d13cc9462090442d8e90",
    "ReadOff, constructed": "77efc2e3e4d3ac65c9ab8c8ea13ebbbc",
    "ReadOff, intermediate": "01c64023094a051d548032fb4c793eaa",
    "ReadOff, trained": "4400e5f469b8a78f6e082ea7400b0104",
    "SecondStage": "01c2b3aabe917768ea7fd91ea48d0a5b",
    "BestSecondStage": "ff83736b0bf7c5131d075a04072d66b5",
    "BestSecondStage, intermediate": "3305bbf854e164290c3a14922814551a",
    "SharedDirection": "3acc2a0dcc39a1d4b00698567f8e3d4c",
    "Totals": "40233e8184751d491a03cac350827251",
    "WidthTradeOff": "574542ba03ec01e23b3ef951789338c7",
    "FinalTeachers": "5e126cb476ada7b4b633479329d907cd",
    "SupportSelection": "300ec06d168066664bf8da5a905d4cd5",
    "UniformAttention": "e42f8cff3aca77ae337d1a3b140a2076",
    "Interpolation1D": "78b3fde5f7fb4d1f49f47d8eef74ec7b",
    "InterpolationND": "1f4f94c04ecdc90118cf26549fa7f09a",
}


def weighted(spec: Calculation) -> dict[str, float]:
    """The sum over rows of cos(row) times the value, for each column that holds numbers."""
    rows = spec.rows()
    found = {}
    for column in rows[0]:
        values = [row[column] for row in rows]
        if column in UNDETERMINED.get(type(spec).__name__, ()) or any(isinstance(v, str) for v in values):
            continue
        plain = [NOT_A_NUMBER if math.isnan(v) else INFINITE if math.isinf(v) else float(v) for v in values]
        found[column] = math.fsum(v * math.cos(i) for i, v in enumerate(plain))
    return found


def tolerance(spec: Calculation, column: str) -> float:
    if isinstance(spec, WidthTradeOff):
        return SINGLE
    return LOOSE.get(column, 1e-9)


def changed(spec: Calculation, got: Mapping[str, float], golden: Mapping[str, float]) -> list[str]:
    """The columns that differ, or are there on one side only."""
    return [
        column
        for column in {**got, **golden}
        if column not in got
        or column not in golden
        or not math.isclose(
            got[column],
            golden[column],
            rel_tol=tolerance(spec, column),
            abs_tol=tolerance(spec, column),
        )
    ]


@pytest.mark.parametrize("name", tiny_theory.CALCULATIONS)
def test_a_calculation_is_golden(name: str) -> None:
    spec, golden = tiny_theory.CALCULATIONS[name], GOLDEN_CALCULATIONS[name]
    got = weighted(spec)
    columns = changed(spec, got, golden)
    if columns:
        pytest.fail(CHANGED.format(what=f"{name}, columns {columns},", got=got, golden=golden))


def test_a_change_of_a_calculation_is_seen() -> None:
    """The control: another seed, a value off by a millionth, a lost and a new column, rows exchanged."""
    spec, golden = tiny_theory.CALCULATIONS["FirstStep"], GOLDEN_CALCULATIONS["FirstStep"]
    assert changed(spec, golden, golden) == []
    other = weighted(replace(spec, seed=1))  # type: ignore[call-arg]
    assert {"error", "gradient_error", "gradient_rms"} <= set(changed(spec, other, golden))
    assert changed(spec, golden | {"error": golden["error"] * (1 + 1e-6)}, golden) == ["error"]
    without = {k: v for k, v in golden.items() if k != "tau_g"}
    assert changed(spec, without, golden) == ["tau_g"] == changed(spec, golden, without)

    class Turned(FourierGap):
        def rows(self) -> list[dict[str, Any]]:
            return super().rows()[::-1]

    assert "gap" in changed(spec, weighted(Turned(11)), GOLDEN_CALCULATIONS["FourierGap"])


def test_fingerprints_of_calculations_are_golden() -> None:
    got = {name: spec.fingerprint for name, spec in tiny_theory.CALCULATIONS.items()}
    assert got == GOLDEN_CALCULATION_FINGERPRINTS, (
        "the canonical form of a calculation changed, so every stored table of it is lost. Raise a version only if "
        "results changed; otherwise keep the form."
    )

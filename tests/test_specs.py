"""Specs: what they refuse, their canonical form, and fingerprints that follow every ancestor; see `test_golden` for more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import tiny_theory

from pdlib.models.mlp import MLP
from pdlib.optimizers import SGD, Adam
from pdlib.probes.attention import AttentionPaths
from pdlib.probes.monomials import MonomialCorrelations
from pdlib.probes.ngrams import NgramDependence, Predictions
from pdlib.probes.nonterminals import NonterminalPrediction
from pdlib.published import Published
from pdlib.schedules import EqualSplit, Explicit, KappaSplit, MultiplesSplit, OneShot, Progressive
from pdlib.sources import homes
from pdlib.specs import Calculation, Count, Distillation, Measurement, Spec, SpecError, ancestors
from pdlib.tasks.parity import SparseParity
from pdlib.theory.complexity import Totals, WidthTradeOff
from pdlib.theory.first_stage import BatchSizes, FirstStep
from pdlib.theory.majority import FourierGap
from pdlib.theory.read_off import ConstructedTarget, IntermediateTarget, LabelTarget, ReadOff, TrainedTarget
from pdlib.theory.second_stage import BestSecondStage, SecondStage, SharedDirection
from pdlib.training import untrained

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
        (lambda: tiny.training(data_seed=-1), "data_seed = -1: expected a whole number"),
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
        (lambda: Adam(0.1, betas=(0.9,)), "betas = (0.9,)"),  # type: ignore[arg-type]
        (lambda: Adam(0.1, betas=(0.9, 1.0)), "betas[1] = 1.0"),
        (lambda: Adam(0.1, epsilon=0.0), "epsilon = 0.0"),
        (lambda: Adam(0.1, weight_decay=-1.0), "weight_decay = -1.0"),
        (lambda: Adam(0.1, clip_norm=float("nan")), "clip_norm = nan"),
        (lambda: Adam(0.1, n_micro_batches=0), "n_micro_batches = 0"),
        (lambda: tiny.training(batch_size=32, optimizer=Adam(0.1, n_micro_batches=5)), "n_micro_batches = 5"),
        (lambda: Explicit((), ()), "0 checkpoints with 0 durations"),
        (lambda: Explicit((10,), (5, 5)), "1 checkpoints with 2 durations"),
        (lambda: Explicit((10, 20, 30), (5,)), "3 checkpoints with 1 durations"),
        (lambda: Explicit((10, 20), (0,)), "durations[0] = 0"),
        (lambda: Explicit((10.0, -1), (5,)), "checkpoints[0] = 10.0"),  # type: ignore[arg-type]
        (lambda: Explicit((0, -1), (5,)), "checkpoints[0] = 0"),
        (lambda: Progressive(0, 5), "n_checkpoints = 0"),
        (lambda: Progressive(5, 0), "steps_per_checkpoint = 0"),
        (lambda: Progressive(2.0, 5), "n_checkpoints = 2.0"),  # type: ignore[arg-type]
        (lambda: EqualSplit(0), "n_checkpoints = 0"),
        (lambda: MultiplesSplit(0), "first = 0"),
        (lambda: MultiplesSplit(4, 0), "kappa = 0"),
        (lambda: KappaSplit(4, 0), "kappa = 0"),
        (lambda: KappaSplit(4, 1.5), "kappa = 1.5"),
        (lambda: KappaSplit(4, float("nan")), "kappa = nan"),
        (lambda: KappaSplit(4, "0.5"), "kappa = '0.5'"),  # type: ignore[arg-type]
    ],
)
def test_a_spec_that_cannot_mean_anything_is_refused_with_the_value_and_what_was_expected(
    make: Callable[[], Spec], named: str
) -> None:
    with pytest.raises(SpecError, match=r": expected ") as caught:
        make()
    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: SparseParity(8, 2, 3), "positions = 3: expected a tuple, each a whole number. Write (3,)."),
        (
            lambda: SparseParity(np.int64(8), 2),
            "n_bits = np.int64(8): expected a whole number of at least 1. Convert it with int().",
        ),
        (
            lambda: MonomialCorrelations([1, 2]),
            "degrees = [1, 2]: expected a tuple of at least 1, each a whole number of at least 1. "
            "Convert it with tuple().",
        ),
        (lambda: Adam(0.1, betas=None), "betas = None: expected a tuple of 2, each a number in [0, 1)."),
        (lambda: SGD(True), "learning_rate = True: expected a finite number above 0."),
        (lambda: SGD(0.1, "linear"), "schedule = 'linear': expected 'constant' or 'cosine'."),
        (
            lambda: replace(tiny.TEACHER, model=MLP),
            f"model = {MLP!r}: expected a Model. Call it: MLP(...).",
        ),
        (
            lambda: tiny.training(data_seed=0.5),
            "data_seed = 0.5: expected a whole number of at least 0 or None.",
        ),
        (
            lambda: Measurement(tiny.training(), MonomialCorrelations(), 400),
            "steps = 400: expected a tuple of at least 1, each a whole number. Write (400,).",
        ),
        (
            lambda: SparseParity(8, support=2),
            "SparseParity: got an unexpected keyword argument 'support': "
            "expected the fields n_bits, support_size, positions.",
        ),
        (
            lambda: SparseParity(8),
            "SparseParity: missing a required argument: 'support_size': "
            "expected the fields n_bits, support_size, positions.",
        ),
        (
            lambda: Distillation(tiny.TEACHER, OneShot(), 5e-324),
            "temperature = 5e-324: expected a finite number of at least 1e-30.",
        ),
    ],
)
def test_a_value_of_another_type_is_refused_with_what_to_write_instead(make: Any, said: str) -> None:
    with pytest.raises(SpecError) as caught:
        make()
    assert str(caught.value) == said


def test_a_field_of_ones_own_is_checked_as_far_as_its_annotation_is_understood() -> None:
    @dataclass(frozen=True)
    class Mine(Calculation):
        n: Count
        path: Path
        unknown: Nowhere  # type: ignore[name-defined]  # noqa: F821
        mapping: dict[str, int]

    here = Path("here")
    assert Mine(1, here, object(), 3).n == 1  # type: ignore[arg-type]
    for wrong in (0, 1.0, "1"):
        with pytest.raises(SpecError, match=f"n = {wrong!r}: expected a whole number of at least 1"):
            Mine(wrong, here, None, {})  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="path = 'here': expected a Path"):
        Mine(1, "here", None, {})  # type: ignore[arg-type]
    with pytest.raises(SpecError, match=r"Mine\.path = .* of type .*Path: expected a literal"):
        _ = Mine(1, here, None, {}).fingerprint


# Canonical form


def test_what_is_no_record_of_this_code_is_refused_with_what_is_wrong() -> None:
    record = SGD(0.1).canonical()
    fields = r"SGD with the fields .*: expected exactly the fields"
    for wrong, message in (
        ({"kind": "Perceptron", "version": 1}, "kind 'Perceptron': expected one of .*SparseParity"),
        (record | {"momentum": 0.9}, fields),
        ({k: v for k, v in record.items() if k != "schedule"}, fields),
        (record | {"learning_rate": -1.0}, "learning_rate = -1.0"),
    ):
        with pytest.raises(SpecError, match=message):
            Spec.from_canonical(wrong)


def test_another_version_is_refused_unless_todays_meaning_is_asked_for() -> None:
    record = tiny.student().canonical()
    record["supervision"]["teacher"]["model"]["version"] = 99
    with pytest.raises(SpecError, match=r"MLP of version 99: expected version 1, .*\. Run it again"):
        Spec.from_canonical(record)
    assert Spec.from_canonical(record, current_code=True) == tiny.student()


def test_a_kind_that_somebody_defines_elsewhere_is_known_by_its_definition() -> None:
    @dataclass(frozen=True)
    class Mine(Calculation):
        n: int

    assert Spec.from_canonical(Mine(3).canonical()) == Mine(3)
    assert "Mine" not in homes()


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


def test_a_record_comes_back_with_its_fingerprint_in_a_process_that_has_loaded_none_of_its_kinds() -> None:
    specs = [tiny.student(schedule=Explicit((2000, -1), (100,))), *tiny_theory.CALCULATIONS.values()]
    code = (
        "import json, sys; from pdlib.specs import Spec;"
        "assert 'pdlib.schedules' not in sys.modules; assert 'pdlib.theory' not in sys.modules;"
        "print(*[Spec.from_canonical(r).fingerprint for r in json.loads(sys.stdin.read())])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps([spec.canonical() for spec in specs]),
        env=os.environ | {"PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [spec.fingerprint for spec in specs]


def test_a_fingerprint_changes_with_the_version_of_any_code_below_it(monkeypatch: pytest.MonkeyPatch) -> None:
    taught = tiny_theory.CALCULATIONS["ReadOff, intermediate"]

    def fingerprints() -> list[str]:
        return [tiny.student().fingerprint, tiny.measurement().fingerprint, replace(taught).fingerprint]

    before = fingerprints()
    for kind, differs in (
        (SparseParity, [True, True, False]),
        (Progressive, [True, False, False]),  # no schedule in the measurement's ancestry
        (IntermediateTarget, [False, False, True]),
        (ReadOff, [False, False, True]),
    ):
        with monkeypatch.context() as raised:
            raised.setattr(kind, "version", 99)
            assert [a != b for a, b in zip(fingerprints(), before, strict=True)] == differs
    assert fingerprints() == before


@pytest.mark.parametrize("name", tiny_theory.CALCULATIONS)
def test_a_calculation_waits_for_nothing_and_says_how_much_work_it_is(name: str) -> None:
    spec = tiny_theory.CALCULATIONS[name]
    assert list(ancestors(spec)) == []
    assert 0 < spec.work < 1e10


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
    assert (
        tiny.training(checkpoint_every=0).checkpoints
        == tiny.training(checkpoint_every=400).checkpoints
        == (400,)
    )


def test_a_rate_warms_up_linearly_and_falls_as_a_cosine_whatever_block_it_is_asked_for_in() -> None:
    how = SGD(0.4, "cosine", 0.1)
    rates = how.rates(0, 100, n_steps=100)
    assert rates[:10] == pytest.approx(0.4 * np.arange(1, 11) / 10)
    assert rates[10:] == pytest.approx([0.2 * (1 + np.cos(np.pi * (t - 10) / 90)) for t in range(10, 100)])
    assert SGD(0.4, warmup_fraction=0.1).rates(0, 100, 100)[9:] == pytest.approx(0.4)
    parts = [how.rates(a, a + 25, 100) for a in range(0, 100, 25)]
    assert np.concatenate(parts).tolist() == rates.tolist()


def test_a_data_seed_decides_the_inputs_and_leaves_the_weights_to_the_seed() -> None:
    one, other = tiny.training(seed=4), tiny.training(seed=4, data_seed=9)
    assert one.stream.identity == tiny.training(seed=1, data_seed=4).stream.identity != other.stream.identity
    assert other.stream.identity == tiny.training(seed=9).stream.identity
    weights = [untrained(spec)["0.weight"] for spec in (one, other, tiny.training(seed=9))]
    np.testing.assert_array_equal(weights[0], weights[1])
    assert (weights[1] != weights[2]).any()
    assert tiny.training(seed=4, data_seed=4) == one  # no other run
    assert "data_seed" not in one.canonical()  # fingerprints from before the field stay

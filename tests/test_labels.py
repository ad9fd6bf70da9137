"""Teacher labels: packed without loss, keyed, shared, and the same as asking the teacher at every step."""

from __future__ import annotations

import shutil
import threading
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st

from pdlib import labels
from pdlib.engine import RunsFailedError, execute
from pdlib.labels import Targets
from pdlib.models.mlp import MLP, as_module, logits, softmax
from pdlib.models.transformer import bert
from pdlib.optimizers import SGD, Adam
from pdlib.published import key_hash
from pdlib.schedules import Explicit, OneShot, Progressive
from pdlib.specs import Distillation, Piece, Source, SpecError, Training
from pdlib.store import DamagedError, MissingError, Store
from pdlib.tasks.masked import MaskedPrediction
from pdlib.training import train

STREAM = tiny.TASK.stream(0, "train")
HARD = tiny.student(schedule=OneShot())
SOFT = tiny.student(schedule=OneShot(), targets="soft", temperature=0.5)

# Packing


@given(
    st.sampled_from([*range(2, 10), 256, 257, 30_522, 65_536, 65_537, 10**6]).flatmap(
        lambda c: st.tuples(st.just(c), st.lists(st.integers(0, c - 1), max_size=70))
    )
)
def test_packed_classes_come_back_for_any_number_of_classes(case: tuple[int, list[int]]) -> None:
    n_classes, classes = case
    packed = labels.pack(np.array(classes, np.int64), n_classes)
    assert labels.unpack(packed, len(classes), n_classes).tolist() == classes


@pytest.mark.parametrize(("n_classes", "n_bits"), [(2, 1), (5, 3), (256, 8), (257, 16), (65_537, 32)])
def test_a_label_takes_as_few_bits_as_tell_its_class_or_whole_bytes_if_these_are_more_than_eight(
    n_classes: int, n_bits: int
) -> None:
    classes = np.random.default_rng(0).integers(0, n_classes, 80_000)
    most = n_bits if n_bits < 32 else 22  # the compression finds the empty bytes
    assert (
        0.9 * min(n_bits, np.log2(n_classes)) < labels.pack(classes, n_classes).nbytes / 10_000 < 1.01 * most
    )


def test_a_million_labels_take_a_tenth_of_a_bit_each_if_their_teacher_errs_once_in_a_thousand(
    store: Store,
) -> None:
    wrong = (np.random.default_rng(0).random(1_000_000) < 1e-3).astype(np.uint8)
    piece, targets = Piece(0, 1_000_000, 8000), Targets(HARD, store)
    store.save_labels(targets.key(piece), labels.pack(wrong, 2))
    (path,) = store.root.glob("labels/*/*")
    assert path.stat().st_size < 12_500
    np.testing.assert_array_equal(targets.block(piece), wrong)
    truth = STREAM.examples(0, 1_000_000)[1]
    assert 120_000 < labels.pack(wrong ^ truth, 2).nbytes < 126_000  # the control: not as differences


@given(st.integers(0, 5_000_000), st.integers(1, 5_000_000))
def test_blocks_cover_a_piece_and_end_at_multiples_of_the_grid(start: int, length: int) -> None:
    blocks = labels.blocks(Piece(start, start + length, 7))
    assert (blocks[0].start, blocks[-1].stop) == (start, start + length)
    assert all(a.stop == b.start for a, b in pairwise(blocks))
    assert all(b.start % labels.GRID == 0 for b in blocks[1:])
    assert all(0 < b.stop - b.start <= labels.GRID and b.checkpoint == 7 for b in blocks)


# Against asking the teacher at every step


def online(student: Training, store: Store, rounded: bool = False) -> dict[str, Any]:
    """A student trained in a plain loop that runs its teacher at each step."""
    how = student.supervision
    assert isinstance(how, Distillation)
    module = as_module(student.model.initial(10, 2, student.seed))
    inputs, _ = student.stream.examples(0, student.n_steps)
    for piece in student.pieces:
        teacher = as_module(store.load_checkpoint(how.teacher, piece.checkpoint))
        for step in range(piece.start, piece.stop):
            x = torch.from_numpy(inputs[step])
            with torch.no_grad():
                output = teacher(x.to(teacher[0].weight.dtype))
                if how.targets == "hard":
                    target = torch.eye(2, dtype=torch.float64)[output.argmax()]
                else:
                    target = torch.softmax(output / how.temperature, dim=0).double()
                    target = target.half().double() if rounded else target
                    target /= target.sum()
            module.zero_grad()
            (-(target * torch.log_softmax(module(x.double()), dim=0)).sum()).backward()
            with torch.no_grad():
                for p in module.parameters():
                    p -= student.optimizer.learning_rate * p.grad
    return {name: value.numpy() for name, value in module.state_dict().items()}


def distance(one: dict[str, Any], other: dict[str, Any]) -> float:
    return max(float(np.abs(one[name] - other[name]).max()) for name in one)


SCHEDULES = [OneShot(), Progressive(4, 250), Explicit((1000, -1), (700,))]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
def test_cached_labels_train_the_student_that_the_teacher_at_every_step_trains(
    taught: Store, schedule: Any
) -> None:
    hard = tiny.student(schedule=schedule, n_steps=1500, precision="float64", optimizer=SGD(0.1))
    soft = tiny.student(schedule=schedule, n_steps=1500, targets="soft", temperature=2.0)
    for student in (hard, soft):
        train(student, taught)
    assert distance(tiny.final(hard, taught), online(hard, taught)) < 1e-10
    final = tiny.final(soft, taught)  # within float16; one or two labels round the other way
    assert distance(final, online(soft, taught, rounded=True)) < 1e-4
    assert 0 < distance(final, online(soft, taught)) < 2e-3
    assert distance(final, online(replace(hard, optimizer=soft.optimizer), taught)) > 0.01  # the control


EXACT = replace(tiny.TEACHER, precision="float64", n_steps=1000, checkpoint_every=250, seed=3)
PUPIL = tiny.student(
    EXACT, Explicit((250, -1), (150,)), "soft", 2.0, precision="float64", n_steps=400, optimizer=SGD(0.1)
)


def test_soft_labels_are_stored_in_float64_for_a_float64_run_and_in_float16_for_any_other(
    store: Store,
) -> None:
    narrow = replace(PUPIL, precision="float32")
    execute([PUPIL, narrow], store, progress=False, n_workers=1)
    assert labels.stored(PUPIL, store)
    assert distance(tiny.final(PUPIL, store), online(PUPIL, store)) < 1e-12
    assert distance(tiny.final(PUPIL, store), online(PUPIL, store, rounded=True)) > 1e-6  # the control
    block = Piece(150, 400, 1000)
    exact = softmax(logits(store.load_checkpoint(EXACT, 1000), PUPIL.stream.examples(150, 400)[0]), 2.0)
    for spec, dtype, error in ((PUPIL, "float64", 1e-12), (narrow, "float16", 5e-4)):
        targets = Targets(spec, store)
        found = targets.block(block)
        assert found.dtype == dtype == spec.soft_targets
        np.testing.assert_allclose(found.astype(np.float64), exact, rtol=error)
        used = targets.of(150, 400, np.zeros(0, np.uint8))
        assert used.dtype == spec.precision
        np.testing.assert_allclose(used, exact, rtol=error)
    assert np.abs(found.astype(np.float64) - exact).max() > 1e-5  # the control: float16 is another thing
    wide, name = Targets(PUPIL, store), targets.key(block)
    assert name["kind"] == "soft at temperature 2.0"
    assert wide.key(block) == name | {"kind": "soft at temperature 2.0, float64"}
    assert wide.key(block, hard=True) == targets.key(block, hard=True) == name | {"kind": "hard"}


def test_soft_targets_from_a_float32_teacher_are_computed_in_float64_for_a_float64_run(taught: Store) -> None:
    spec = tiny.student(schedule=OneShot(), targets="soft", precision="float64")
    values = logits(taught.load_checkpoint(tiny.TEACHER, 1000), STREAM.examples(0, 300)[0])
    found = Targets(spec, taught).block(Piece(0, 300, 1000))
    np.testing.assert_allclose(found, softmax(values.astype(np.float64)), rtol=1e-12)
    assert np.abs(found - softmax(values)).max() > 1e-9  # the control: float32's softmax


def test_labels_are_the_argmax_of_the_checkpoint_that_is_named_and_soft_ones_bring_them_along(
    taught: Store,
) -> None:
    inputs, truth = STREAM.examples(0, 500)
    hard, soft, said = Targets(HARD, taught), Targets(SOFT, taught), {}
    for checkpoint in (1000, 8000):
        block = Piece(0, 500, checkpoint)
        soft.block(block)
        assert taught.has_labels(hard.key(block))
        brought = hard.block(block)
        taught.label_file(hard.key(block)).unlink()
        assert brought.tolist() == hard.block(block).tolist()
        said[checkpoint] = brought ^ truth
        expected = logits(taught.load_checkpoint(tiny.TEACHER, checkpoint), inputs).argmax(axis=1)
        assert said[checkpoint].tolist() == expected.tolist()
    assert (said[8000] == truth).all()
    assert 0.02 < (said[1000] != truth).mean() < 0.5


def test_a_student_makes_a_later_block_while_another_makes_the_one_it_waits_for(taught: Store) -> None:
    first, second = Piece(0, 100, 8000), Piece(100, 200, 8000)
    targets = Targets(HARD, Store(taught.root, published=None))
    names = [targets.key(block) for block in (first, second)]
    made: list[int] = []
    with taught.label_lock(names[0]):  # the other student
        thread = threading.Thread(target=lambda: made.append(len(targets.block(first, further=[second]))))
        thread.start()
        while not taught.has_labels(names[1]):
            assert thread.is_alive()
            thread.join(0.01)
        assert not taught.has_labels(names[0])
        assert not made
    thread.join()
    assert made == [100]
    assert taught.has_labels(names[0])


# Keys


def test_labels_are_made_once_and_shared_by_students_of_other_sizes(taught: Store) -> None:
    def files() -> dict[str, int]:
        return {p.name: p.stat().st_mtime_ns for p in taught.root.glob("labels/*/*")}

    train(tiny.student(), taught)
    first = files()
    assert len(first) == 4  # a block a piece
    train(tiny.student(model=MLP(33), optimizer=SGD(0.2)), taught)
    assert files() == first
    for other in (
        {"teacher": replace(tiny.TEACHER, seed=1)},
        {"targets": "soft"},
        {"targets": "soft", "temperature": 0.5},
        {"schedule": Progressive(4, 51)},
        {"schedule": Explicit((1000, -1), (50,))},
        {"seed": 1},
    ):
        assert not labels.stored(tiny.student(**other), taught), other
    assert labels.stored(tiny.student(), taught)


def test_labels_that_are_others_or_of_another_size_are_an_error_that_says_what_differs(taught: Store) -> None:
    block = Piece(0, 100, 8000)
    hard, soft = Targets(HARD, taught), Targets(SOFT, taught)
    hard.block(block)
    (made,) = taught.root.glob("labels/*/*")
    made.rename(made.with_name(f"{key_hash(soft.key(block))}.safetensors"))
    with pytest.raises(DamagedError, match=r"its kind is 'hard', not 'soft at .*Delete .*again"):
        soft.block(block)
    of_many = of_numbers(supervision=Distillation(of_numbers(), OneShot(), targets="hard"))
    numbers, ten = Targets(of_many, taught), Piece(0, 10, 8)
    n = int(NUMBERS.stream(0, "train").examples(0, 10)[0].n_targets.sum())
    for targets, piece, stored, message in (
        (hard, block, labels.pack(np.zeros(90, np.uint8), 2), r"shape \(12,\), expected \(13,\)"),
        (hard, block, np.zeros(13, np.uint8), "while decompressing data: .*"),
        (soft, block, np.zeros((99, 2), np.float16), r"shape \(99, 2\), expected \(100, 2\)"),
        (numbers, ten, labels.pack(np.zeros(2 * n - 1, np.uint8), 256), "size must be a multiple of .*"),
        (numbers, ten, labels.pack(np.zeros(n - 1, np.uint16), 300), r"shape \(\d+,\), expected \(\d+,\)"),
    ):
        taught.save_labels(targets.key(piece), stored)
        with pytest.raises(DamagedError, match=rf"{message}\. Delete them"):
            targets.block(piece)


# Many classes


@dataclass(frozen=True)
class Numbers(Source):
    """Sequences of 12 rising numbers below 299; [mask] is the 300th token."""

    n_tokens = 299
    max_length = 12

    def sentence_stream(self, identity: str, purpose: Any = "train") -> Any:
        def sentences(start: int, stop: int) -> Any:
            tokens = (np.arange(start, stop)[:, None] * 5 + np.arange(12)) % 299
            return SimpleNamespace(tokens=tokens.astype(np.uint16), lengths=np.full(stop - start, 12))

        return SimpleNamespace(identity=identity, sentences=sentences)


NUMBERS = MaskedPrediction(Numbers())


def of_numbers(**changes: Any) -> Training:
    model = bert(1, 2, 4, vocabulary=300, n_positions=12, initial_std=2.0)
    base = Training(NUMBERS, model, Adam(1e-4), n_steps=8, evaluate_every=8, batch_size=16, n_evaluation=8)
    return replace(base, **changes)


def test_labels_of_many_classes_are_the_teachers_argmax_in_two_bytes(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = of_numbers(seed=3)
    student = of_numbers(supervision=Distillation(teacher, OneShot(), targets="hard"))
    execute([teacher, student], store, progress=False, n_workers=1)
    (block,), own = labels.blocks_of(student), Targets(student, store)
    inputs, classes = student.stream.examples(0, 128)
    values = teacher.model.logits(store.load_checkpoint(teacher, 8), inputs)
    differences = own.block(block)
    assert differences.dtype == np.uint16
    found = differences ^ classes.astype(np.uint16)
    assert np.array_equal(found, values.argmax(axis=1))
    assert found.max() > 255
    first, last = (int(inputs[:n].n_targets.sum()) for n in (16, 48))
    targets = own.of(16, 48, classes[first:last])
    assert np.issubdtype(targets.dtype, np.integer)  # class numbers, no distributions of 300 each
    assert np.array_equal(targets, found[first:last])
    monkeypatch.setattr(labels, "LOGITS_AT_ONCE", 300 * 7)  # seven targets at a time
    for path in store.root.glob("labels/*/*"):
        path.unlink()
    assert np.array_equal(own.block(block), differences)


def test_distributions_over_many_classes_are_made_again_and_never_stored(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = of_numbers(seed=3)
    student = of_numbers(supervision=Distillation(teacher, OneShot(), temperature=2.0))
    hard = of_numbers(supervision=Distillation(teacher, OneShot(), targets="hard"))
    execute([teacher, student, hard], store, progress=False, n_workers=1)
    files = list(store.root.rglob("labels/**/*.safetensors"))
    assert len(files) == 1  # the hard ones, which also say that the pattern finds what is stored
    assert labels.stored(hard, store)
    assert not labels.stored(student, store)
    inputs, classes = student.stream.examples(40, 72)
    values = teacher.model.logits(store.load_checkpoint(teacher, 8), inputs)
    for grid in (labels.UNKEPT_GRID, 48):  # one block, two
        monkeypatch.setattr(labels, "UNKEPT_GRID", grid)
        found = Targets(student, store).of(40, 72, classes[:0])
        np.testing.assert_allclose(found, softmax(values, 2.0), rtol=0, atol=1e-6)
        assert found.dtype == np.float32
    exact = Targets(replace(student, precision="float64"), store).block(Piece(40, 72, 8))
    np.testing.assert_allclose(exact, softmax(values.astype(np.float64), 2.0), rtol=1e-12)
    assert np.abs(exact - softmax(values, 2.0)).max() > 1e-10  # the control: float32's


@pytest.mark.parametrize(("precision", "n"), [("float32", 10_000_000), ("float64", 2_500_000)])
def test_distributions_over_so_many_classes_that_they_fill_the_memory_are_refused(
    store: Store, precision: Any, n: int
) -> None:
    spec = of_numbers(supervision=Distillation(of_numbers(), OneShot()), precision=precision)
    with pytest.raises(SpecError, match=rf"300 classes, 6 GB for {n} labels: .*Use targets='hard'"):
        Targets(spec, store).block(Piece(0, 1, 8), n)


# Without a teacher


@pytest.mark.parametrize("student", [HARD, SOFT], ids=["hard", "soft"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_teacher_whose_outputs_are_no_numbers_teaches_nothing(
    taught: Store, student: Training, bad: float
) -> None:
    last = tiny.TEACHER.n_steps
    parameters = taught.load_checkpoint(tiny.TEACHER, last)
    parameters["2.bias"][0] = bad
    taught.save_checkpoint(tiny.TEACHER, last, parameters)
    message = (
        f"the teacher {tiny.TEACHER.fingerprint}, a MLP, at its checkpoint {last}: its outputs are no finite"
    )
    with pytest.raises(RunsFailedError, match=message):
        execute([student], taught, n_workers=1, progress=False)
    assert not (taught.root / "labels").exists()
    assert taught.find(student.fingerprint) is None


def test_a_student_whose_labels_are_stored_needs_no_teacher(taught: Store) -> None:
    student, other = tiny.student(), tiny.student(model=MLP(20))
    execute([student], taught, progress=False)
    for path in taught.run_folder(tiny.TEACHER).rglob("*.*"):
        path.unlink()
    (record,) = execute([other], taught, progress=False)
    assert record.source == "trained now"
    assert taught.find(tiny.TEACHER.fingerprint) is None  # it was not trained for that
    with pytest.raises(MissingError, match="checkpoint 2000"):
        train(tiny.student(seed=1), taught)  # the control: other labels need it


def test_what_a_checkpoint_said_is_read_from_labels_without_it(taught: Store, tmp_path: Path) -> None:
    student = tiny.student(seed=5)
    last = student.pieces[-1]
    x, said = labels.predictions(student, taught, last.checkpoint)
    inputs, _ = student.stream.examples(last.start, last.stop)
    assert (x == inputs).all()
    assert (said == logits(taught.load_checkpoint(tiny.TEACHER, last.checkpoint), x).argmax(axis=1)).all()
    elsewhere = Store(tmp_path / "labels alone", published=None)
    shutil.copytree(taught.root / "labels", elsewhere.root / "labels")
    assert (labels.predictions(student, elsewhere, last.checkpoint)[1] == said).all()
    with pytest.raises(MissingError):
        labels.predictions(student, elsewhere, student.pieces[0].checkpoint)  # nobody labeled these
    with pytest.raises(SpecError, match="expected hard labels, one an example"):
        labels.predictions(SOFT, taught, 1000)
    with pytest.raises(SpecError, match=r"checkpoint 7: expected one of \[.*\], which taught this student"):
        labels.predictions(student, taught, 7)


# Twins


def test_one_shot_from_a_teacher_is_cross_entropy_bit_for_bit_if_and_only_if_it_makes_no_errors(
    taught: Store,
) -> None:
    """Two names for the same targets: they are not two baselines."""
    plain = tiny.training(n_steps=3000)
    perfect = tiny.student(schedule=OneShot(), n_steps=3000, checkpoint_every=100)
    early = tiny.student(schedule=Explicit((1000,), (3000,)), n_steps=3000)
    tables = [train(spec, taught) for spec in (plain, perfect, early)]
    pd.testing.assert_frame_equal(*tables[:2], check_exact=True)
    tiny.assert_same_parameters(tiny.final(plain, taught), tiny.final(perfect, taught))
    assert distance(tiny.final(plain, taught), tiny.final(early, taught)) > 0.01


def test_how_often_temperature_1e_4_differs_from_hard_labels_is_measured(taught: Store) -> None:
    """In float16 the distribution is one-hot but where two logits lie within about 1e-3: rarely, if trained."""
    inputs, _ = STREAM.examples(0, 100_000)
    share = {}
    for checkpoint in (1000, 8000):
        outputs = logits(taught.load_checkpoint(tiny.TEACHER, checkpoint), inputs)
        soft = softmax(outputs, 1e-4).astype(np.float16)
        share[checkpoint] = float((soft.max(axis=1) != 1.0).mean())
        assert (soft.argmax(axis=1) == outputs.argmax(axis=1)).all()
    assert share[8000] == 0.0 <= share[1000] < 1e-2
    untrained = logits(MLP(64).initial(10, 2, 0), inputs.astype(np.float64)) / 100
    assert (softmax(untrained, 1e-4).astype(np.float16).max(axis=1) != 1.0).mean() > share[
        1000
    ]  # the control

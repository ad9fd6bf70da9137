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
from pdlib.engine import execute
from pdlib.models.mlp import MLP, as_module, logits, softmax
from pdlib.models.transformer import bert
from pdlib.schedules import Explicit, OneShot, Progressive
from pdlib.specs import SGD, Adam, Distillation, Piece, Source, SpecError, Training
from pdlib.store import DamagedError, MissingError, Store
from pdlib.tasks.masked import MaskedPrediction
from pdlib.training import train

# Packing


@given(
    st.integers(2, 9).flatmap(lambda c: st.tuples(st.just(c), st.lists(st.integers(0, c - 1), max_size=70)))
)
def test_packed_classes_come_back_for_any_number_of_classes(case: tuple[int, list[int]]) -> None:
    n_classes, classes = case
    packed = labels.pack_classes(np.array(classes, dtype=np.uint8), n_classes)
    assert labels.unpack_classes(packed, len(classes), n_classes).tolist() == classes
    assert packed.nbytes == -(-len(classes) * int(np.ceil(np.log2(n_classes))) // 8)


@given(
    st.sampled_from([257, 30_522, 65_536, 65_537, 10**6]).flatmap(
        lambda c: st.tuples(st.just(c), st.lists(st.integers(0, c - 1), max_size=20))
    )
)
def test_many_classes_take_two_bytes_or_four(case: tuple[int, list[int]]) -> None:
    n_classes, classes = case
    packed = labels.pack_classes(np.array(classes, dtype=np.int64), n_classes)
    assert labels.unpack_classes(packed, len(classes), n_classes).tolist() == classes
    assert packed.nbytes == len(classes) * (2 if n_classes <= 65_536 else 4)


def test_256_classes_are_the_most_that_are_packed_to_bits() -> None:
    packed = labels.pack_classes(np.arange(256), 256)
    assert (
        packed.tobytes()
        == np.packbits(np.array([[v >> b & 1 for b in range(8)] for v in range(256)])).tobytes()
    )
    assert labels.pack_classes(np.arange(256), 257).dtype == np.uint16


def test_a_million_binary_labels_take_at_most_1_01_bits_each_header_included(store: Store) -> None:
    classes = np.random.default_rng(0).integers(0, 2, 1_000_000, dtype=np.uint8)
    name = labels.key(
        Distillation(tiny.TEACHER, OneShot(), targets="hard"), STREAM, Piece(0, 1_000_000, 8000)
    )
    store.save_labels(name, labels.compressed(labels.pack_classes(classes, 2)))
    (path,) = store.root.glob("labels/*/*")
    assert 8 * path.stat().st_size / 1_000_000 <= 1.01
    how, piece = Distillation(tiny.TEACHER, OneShot(), targets="hard"), Piece(0, 1_000_000, 8000)
    np.testing.assert_array_equal(labels.label_block(how, STREAM, piece, 2, store), classes)


def test_a_million_labels_of_a_teacher_that_errs_once_in_a_thousand_take_a_tenth_of_that(
    store: Store,
) -> None:
    wrong = (np.random.default_rng(0).random(1_000_000) < 1e-3).astype(np.uint8)
    assert labels.compressed(labels.pack_classes(wrong, 2)).nbytes < 12_500
    truth = STREAM.examples(0, 1_000_000)[1]
    assert (
        labels.compressed(labels.pack_classes(wrong ^ truth, 2)).nbytes > 120_000
    )  # the control: not as differences


@given(st.integers(0, 5_000_000), st.integers(1, 5_000_000))
def test_blocks_cover_a_piece_and_end_at_multiples_of_the_grid(start: int, length: int) -> None:
    blocks = labels.blocks(Piece(start, start + length, 7))
    assert (blocks[0].start, blocks[-1].stop) == (start, start + length)
    assert all(a.stop == b.start for a, b in pairwise(blocks))
    assert all(b.start % labels.GRID == 0 for b in blocks[1:])
    assert all(0 < b.stop - b.start <= labels.GRID and b.checkpoint == 7 for b in blocks)


# Against asking the teacher at every step

STREAM = tiny.TASK.stream(0, "train")


def online(student: Training, store: Store, rounded: bool = False) -> dict[str, Any]:
    """A student trained in a plain loop that runs its teacher at each step."""
    how = student.supervision
    assert isinstance(how, Distillation)
    module = as_module(student.model.initial(10, 2, student.seed))
    inputs, _ = student.task.stream(student.seed, "train").examples(0, student.n_steps)
    for piece in student.pieces:
        teacher = as_module(store.load_checkpoint(how.teacher, piece.checkpoint))
        for step in range(piece.start, piece.stop):
            x = torch.from_numpy(inputs[step])
            with torch.no_grad():
                output = teacher(x)
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
def test_cached_hard_labels_train_the_student_that_the_teacher_at_every_step_trains(
    taught: Store, schedule: Any
) -> None:
    student = tiny.student(schedule=schedule, n_steps=1500, precision="float64", optimizer=SGD(0.1))
    train(student, taught)
    assert distance(tiny.final(student, taught), online(student, taught)) < 1e-10


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
def test_cached_soft_labels_do_so_within_float16(taught: Store, schedule: Any) -> None:
    student = tiny.student(schedule=schedule, n_steps=1500, targets="soft", temperature=2.0)
    train(student, taught)
    final = tiny.final(student, taught)
    assert (
        distance(final, online(student, taught, rounded=True)) < 1e-4
    )  # one or two labels round the other way
    assert 0 < distance(final, online(student, taught)) < 2e-3
    hard = tiny.student(schedule=schedule, n_steps=1500, precision="float64")
    assert distance(final, online(hard, taught)) > 0.01  # the control


EXACT = replace(tiny.TEACHER, precision="float64", n_steps=1000, checkpoint_every=250, seed=3)
PUPIL = tiny.student(
    EXACT, Explicit((250, -1), (150,)), "soft", 2.0, precision="float64", n_steps=400, optimizer=SGD(0.1)
)


def plain(student: Training, store: Store, rounded: bool = False) -> dict[str, Any]:
    """The student of a float64 teacher in NumPy alone: the teacher's softmax, then a step, example by example."""
    how = student.supervision
    assert isinstance(how, Distillation)

    def distribution(p: dict[str, Any], hidden: Any, temperature: float = 1.0) -> Any:
        values = np.exp((p["2.weight"] @ hidden + p["2.bias"]) / temperature)
        return values / values.sum()

    p = student.model.initial(10, 2, student.seed)
    inputs, _ = student.stream.examples(0, student.n_steps)
    for piece in student.pieces:
        t = store.load_checkpoint(EXACT, piece.checkpoint)
        for x in inputs[piece.start : piece.stop].astype(np.float64):
            target = distribution(t, np.maximum(t["0.weight"] @ x + t["0.bias"], 0), how.temperature)
            if rounded:
                target = target.astype(np.float16).astype(np.float64)
                target /= target.sum()
            before = p["0.weight"] @ x + p["0.bias"]
            hidden = np.maximum(before, 0)
            step = -student.optimizer.learning_rate * (distribution(p, hidden) - target)
            first = (p["2.weight"].T @ step) * (before > 0)
            p["2.weight"] += np.outer(step, hidden)
            p["2.bias"] += step
            p["0.weight"] += np.outer(first, x)
            p["0.bias"] += first
    return p


def test_a_float64_student_of_stored_soft_labels_is_the_one_of_the_teachers_own_softmax(store: Store) -> None:
    execute([PUPIL], store, progress=False, n_workers=1)
    assert labels.stored(PUPIL, store)
    assert distance(tiny.final(PUPIL, store), plain(PUPIL, store)) < 1e-12
    assert distance(tiny.final(PUPIL, store), plain(PUPIL, store, rounded=True)) > 1e-6  # the control


def test_soft_labels_are_stored_in_float64_for_a_float64_run_and_in_float16_for_any_other(
    store: Store,
) -> None:
    narrow = replace(PUPIL, precision="float32")
    execute([PUPIL, narrow], store, progress=False, n_workers=1)
    how, block = PUPIL.supervision, Piece(150, 400, 1000)
    assert isinstance(how, Distillation)
    values = logits(store.load_checkpoint(EXACT, 1000), PUPIL.stream.examples(150, 400)[0])
    exact = softmax(values, 2.0)
    for spec, dtype, error in ((PUPIL, "float64", 1e-12), (narrow, "float16", 5e-4)):
        found = labels.label_block(how, spec.stream, block, 2, store, soft_targets=spec.soft_targets)
        assert found.dtype == dtype == spec.soft_targets
        np.testing.assert_allclose(found.astype(np.float64), exact, rtol=error)
        used = labels.Targets(spec, spec.stream, store).of(150, 400, np.zeros(0, np.uint8))
        assert used.dtype == spec.precision
        np.testing.assert_allclose(used, exact, rtol=error)
    assert np.abs(found.astype(np.float64) - exact).max() > 1e-5  # the control: float16 is another thing
    name = labels.key(how, PUPIL.stream, block)
    assert name["kind"] == "soft at temperature 2.0"
    assert labels.key(how, PUPIL.stream, block, "float64") == name | {
        "kind": "soft at temperature 2.0, float64"
    }
    hard = replace(how, targets="hard", temperature=1.0)
    assert labels.key(hard, PUPIL.stream, block, "float64") == labels.key(hard, PUPIL.stream, block)


def test_soft_targets_from_a_float32_teacher_are_computed_in_float64_for_a_float64_run(taught: Store) -> None:
    how, block = Distillation(tiny.TEACHER, OneShot()), Piece(0, 300, 1000)
    values = logits(taught.load_checkpoint(tiny.TEACHER, 1000), STREAM.examples(0, 300)[0])
    found = labels.label_block(how, STREAM, block, 2, taught, soft_targets="float64")
    np.testing.assert_allclose(found, softmax(values.astype(np.float64)), rtol=1e-12)
    assert np.abs(found - softmax(values)).max() > 1e-9  # the control: float32's softmax


def test_labels_are_the_argmax_of_the_checkpoint_that_the_schedule_names(taught: Store) -> None:
    how = Distillation(tiny.TEACHER, Explicit((1000, -1), (200,)), targets="hard")
    inputs, truth = STREAM.examples(0, 500)
    by_checkpoint = {}
    for checkpoint in (1000, 8000):
        block = labels.label_block(how, STREAM, Piece(0, 500, checkpoint), 2, taught) ^ truth
        expected = logits(taught.load_checkpoint(tiny.TEACHER, checkpoint), inputs).argmax(axis=1)
        assert block.tolist() == expected.tolist()
        by_checkpoint[checkpoint] = block
    assert (by_checkpoint[8000] == truth).all()
    assert 0.02 < (by_checkpoint[1000] != truth).mean() < 0.5


def test_soft_labels_bring_the_hard_ones_of_the_same_checkpoint_along(taught: Store) -> None:
    soft, block = Distillation(tiny.TEACHER, OneShot(), temperature=0.5), Piece(0, 500, 1000)
    hard = replace(soft, targets="hard", temperature=1.0)
    labels.label_block(soft, STREAM, block, 2, taught)
    assert taught.has_labels(labels.key(hard, STREAM, block))
    inputs, truth = STREAM.examples(0, 500)
    expected = logits(taught.load_checkpoint(tiny.TEACHER, 1000), inputs).argmax(axis=1)
    found = labels.label_block(hard, STREAM, block, 2, taught) ^ truth
    assert found.tolist() == expected.tolist()


def test_a_student_makes_a_later_block_while_another_makes_the_one_it_waits_for(taught: Store) -> None:
    how = Distillation(tiny.TEACHER, OneShot(), targets="hard")
    first, second = Piece(0, 100, 8000), Piece(100, 200, 8000)
    names = [labels.key(how, STREAM, block) for block in (first, second)]
    store = Store(taught.root, published=None)
    made: list[int] = []
    with store.label_lock(names[0]):  # the other student
        thread = threading.Thread(
            target=lambda: made.append(
                len(labels.label_block(how, STREAM, first, 2, store, further=[second]))
            )
        )
        thread.start()
        while not store.has_labels(names[1]):
            assert thread.is_alive()
            thread.join(0.01)
        assert not store.has_labels(names[0])
        assert not made
    thread.join()
    assert made == [100]
    assert store.has_labels(names[0])


def test_labels_of_several_classes_come_back_too(store: Store) -> None:
    teacher = {k: v.astype(np.float32) for k, v in MLP(30).initial(10, 5, seed=4).items()}
    store.save_checkpoint(tiny.TEACHER, 8000, teacher)
    how = Distillation(tiny.TEACHER, OneShot(), targets="hard")
    made = labels.label_block(how, STREAM, Piece(100, 20_100, 8000), 5, store)
    again = labels.label_block(how, STREAM, Piece(100, 20_100, 8000), 5, store)
    inputs, truth = STREAM.examples(100, 20_100)
    expected = logits(teacher, inputs).argmax(axis=1)
    assert (made ^ truth).tolist() == (again ^ truth).tolist() == expected.tolist()
    assert len(set(expected)) > 2


# Keys


def test_labels_are_made_once_and_shared_by_students_of_other_sizes(taught: Store) -> None:
    def files() -> dict[str, int]:
        return {p.name: p.stat().st_mtime_ns for p in taught.root.glob("labels/*/*")}

    train(tiny.student(), taught)
    first = files()
    assert len(first) == 4  # a block a piece
    train(tiny.student(model=MLP(33), optimizer=SGD(0.2)), taught)
    assert files() == first
    train(tiny.student(seed=1), taught)  # another stream
    assert len(files()) == 8


@pytest.mark.parametrize(
    "other",
    [
        {"teacher": replace(tiny.TEACHER, seed=1)},
        {"targets": "soft"},
        {"targets": "soft", "temperature": 0.5},
        {"schedule": Progressive(4, 51)},
        {"schedule": Explicit((1000, -1), (50,))},
        {"seed": 1},
    ],
    ids=str,
)
def test_labels_of_anything_else_are_not_taken(taught: Store, other: dict[str, Any]) -> None:
    train(tiny.student(), taught)
    assert labels.stored(tiny.student(), taught)
    assert not labels.stored(tiny.student(**other), taught)


def test_a_label_file_under_a_wrong_name_is_an_error_that_says_what_differs(taught: Store) -> None:
    hard = Distillation(tiny.TEACHER, OneShot(), targets="hard")
    soft = Distillation(tiny.TEACHER, OneShot(), targets="soft")
    block = Piece(0, 100, 8000)
    labels.label_block(hard, STREAM, block, 2, taught)
    (made,) = taught.root.glob("labels/*/*")
    from pdlib.published import key_hash

    made.rename(made.with_name(f"{key_hash(labels.key(soft, STREAM, block))}.safetensors"))
    with pytest.raises(
        DamagedError, match=r"its kind is 'hard', not 'soft at temperature 1\.0'\. .*Delete .*again"
    ):
        labels.label_block(soft, STREAM, block, 2, taught)


def test_labels_of_a_wrong_length_are_an_error(taught: Store) -> None:
    how = Distillation(tiny.TEACHER, OneShot(), targets="hard")
    block = Piece(0, 100, 8000)
    taught.save_labels(labels.key(how, STREAM, block), labels.compressed(np.zeros(12, np.uint8)))
    with pytest.raises(DamagedError, match=r"shape \(12,\), expected \(13,\)\. Delete them"):
        labels.label_block(how, STREAM, block, 2, taught)
    taught.save_labels(labels.key(how, STREAM, block), np.zeros(13, np.uint8))
    with pytest.raises(DamagedError, match=r"while decompressing data: .*\. Delete them"):
        labels.label_block(how, STREAM, block, 2, taught)


# Many classes


@dataclass(frozen=True)
class Numbers(Source):
    """Sequences of 12 rising numbers below 299; [mask] is the 300th token."""

    @property
    def n_tokens(self) -> int:
        return 299

    @property
    def max_length(self) -> int:
        return 12

    def sentence_stream(self, identity: str, purpose: Any = "train") -> Any:
        def sentences(start: int, stop: int) -> Any:
            tokens = (np.arange(start, stop)[:, None] * 5 + np.arange(12)) % 299
            return SimpleNamespace(tokens=tokens.astype(np.uint16), lengths=np.full(stop - start, 12))

        return SimpleNamespace(identity=identity, sentences=sentences)


NUMBERS = MaskedPrediction(Numbers())


def of_numbers(**changes: Any) -> Training:
    model = bert(1, 2, 4, vocabulary=300, n_positions=12, initial_std=0.5)
    base = Training(NUMBERS, model, Adam(1e-4), n_steps=8, evaluate_every=8, batch_size=16, n_evaluation=8)
    return replace(base, **changes)


def test_labels_of_many_classes_are_the_teachers_argmax_in_two_bytes(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = of_numbers(seed=3)
    student = of_numbers(supervision=Distillation(teacher, OneShot(), targets="hard"))
    execute([teacher, student], store, progress=False, n_workers=1)
    how, (block,) = student.supervision, labels.blocks_of(student)
    assert isinstance(how, Distillation)
    stream = NUMBERS.stream(0, "train")
    inputs, classes = stream.examples(0, 128)
    values = teacher.model.logits(store.load_checkpoint(teacher, 8), inputs)
    differences = labels.label_block(how, stream, block, 300, store, counts=inputs.n_targets)
    assert differences.dtype == np.uint16
    assert differences.nbytes == 2 * len(classes)
    found = differences ^ classes.astype(np.uint16)
    assert np.array_equal(found, values.argmax(axis=1))
    assert found.max() > 255
    first, last = (int(inputs[:n].n_targets.sum()) for n in (16, 48))
    targets = labels.Targets(student, stream, store).of(16, 48, classes[first:last])
    assert np.issubdtype(targets.dtype, np.integer)  # class numbers, no distributions of 300 each
    assert np.array_equal(targets, found[first:last])
    monkeypatch.setattr(labels, "LOGITS_AT_ONCE", 300 * 7)  # seven targets at a time
    for path in store.root.glob("labels/*/*"):
        path.unlink()
    again = labels.label_block(how, stream, block, 300, store, counts=inputs.n_targets)
    assert np.array_equal(again, differences)


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
    stream = NUMBERS.stream(0, "train")
    inputs, classes = stream.examples(40, 72)
    values = teacher.model.logits(store.load_checkpoint(teacher, 8), inputs)
    for grid in (labels.UNKEPT_GRID, 48):  # one block, two
        monkeypatch.setattr(labels, "UNKEPT_GRID", grid)
        found = labels.Targets(student, stream, store).of(40, 72, classes[:0])
        np.testing.assert_allclose(found, softmax(values, 2.0), rtol=0, atol=1e-6)
        assert found.dtype == np.float32
    how, block, n = student.supervision, Piece(40, 72, 8), inputs.n_targets
    assert isinstance(how, Distillation)
    exact = labels.label_block(how, stream, block, 300, store, counts=n, soft_targets="float64")
    np.testing.assert_allclose(exact, softmax(values.astype(np.float64), 2.0), rtol=1e-12)
    assert np.abs(exact - softmax(values, 2.0)).max() > 1e-10  # the control
    of_float64 = labels.Targets(replace(student, precision="float64"), stream, store).of(40, 72, classes[:0])
    np.testing.assert_allclose(of_float64.sum(axis=1), 1.0, rtol=1e-14)  # float32: 1e-7


def test_labels_of_another_width_are_an_error(store: Store) -> None:
    how = Distillation(of_numbers(), OneShot(), targets="hard")
    stream, block = NUMBERS.stream(0, "train"), Piece(0, 10, 8)
    counts = stream.examples(0, 10)[0].n_targets
    for stored, message in (
        (np.zeros(2 * counts.sum() - 1, np.uint8), r"size must be a multiple of .*\. Delete them"),
        (np.zeros(counts.sum() - 1, np.uint16), r"shape \(\d+,\), expected \(\d+,\)\. Delete them"),
    ):
        store.save_labels(labels.key(how, stream, block), labels.compressed(stored))
        with pytest.raises(DamagedError, match=message):
            labels.label_block(how, stream, block, 300, store, counts=counts)


def test_distributions_over_so_many_classes_that_they_fill_the_memory_are_refused(store: Store) -> None:
    how = Distillation(of_numbers(), OneShot())
    counts = np.full(4096, 19)
    with pytest.raises(SpecError, match=r"30522 classes, 5 GB for 77824 labels: .*Use targets='hard'"):
        labels.label_block(how, NUMBERS.stream(0, "train"), Piece(0, 4096, 8), 30_522, store, counts=counts)
    with pytest.raises(
        SpecError, match=r"30522 classes, 5 GB for 19456 labels"
    ):  # a quarter as many, four times as wide
        labels.label_block(
            how,
            NUMBERS.stream(0, "train"),
            Piece(0, 1024, 8),
            30_522,
            store,
            counts=counts[:1024],
            soft_targets="float64",
        )


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


# Twins


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


def test_predictions_need_hard_labels_of_a_checkpoint_that_gave_some(store: Store) -> None:
    with pytest.raises(SpecError, match="expected hard labels, one an example"):
        labels.predictions(tiny.student(targets="soft"), store, 1000)
    with pytest.raises(SpecError, match=r"checkpoint 7: expected one of \[.*\], which taught this student"):
        labels.predictions(tiny.student(), store, 7)


def test_one_shot_from_a_teacher_without_errors_is_cross_entropy_bit_for_bit(taught: Store) -> None:
    """Two names for the same targets: they are not two baselines."""
    from_labels = tiny.training(n_steps=3000)
    from_teacher = tiny.student(schedule=OneShot(), n_steps=3000, checkpoint_every=100)
    tables = [train(spec, taught) for spec in (from_labels, from_teacher)]
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    tiny.assert_same_parameters(tiny.final(from_labels, taught), tiny.final(from_teacher, taught))


def test_from_a_teacher_with_errors_it_is_not(taught: Store) -> None:
    spec = tiny.student(schedule=Explicit((1000,), (3000,)), n_steps=3000)
    train(spec, taught)
    plain = tiny.training(n_steps=3000)
    train(plain, taught)
    assert distance(tiny.final(spec, taught), tiny.final(plain, taught)) > 0.01


def test_how_often_temperature_1e_4_differs_from_hard_labels_is_measured(taught: Store) -> None:
    """In float16 the distribution is one-hot but where two logits lie within about 1e-3: rarely, if trained."""
    inputs, _ = STREAM.examples(0, 100_000)
    share = {}
    for checkpoint in (1000, 8000):
        outputs = logits(taught.load_checkpoint(tiny.TEACHER, checkpoint), inputs)
        soft = softmax(outputs, 1e-4).astype(np.float16)
        share[checkpoint] = float((soft.max(axis=1) != 1.0).mean())
        assert (soft.argmax(axis=1) == outputs.argmax(axis=1)).all()
    assert share[8000] == 0.0
    assert share[1000] < 1e-2
    untrained = logits(MLP(64).initial(10, 2, 0), inputs.astype(np.float64)) / 100
    assert (softmax(untrained, 1e-4).astype(np.float16).max(axis=1) != 1.0).mean() > share[
        1000
    ]  # the control

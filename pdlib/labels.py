"""A frozen teacher labels a stream once; the labels are packed, keyed, and shared by all students.

A block of labels belongs to a teacher's fingerprint, a checkpoint, a stream, a range of examples and a kind
of target. Hard labels (the argmax) are kept as their exclusive-or with the true classes, which the student's stream gives
again: mostly zeros once the teacher has learned. Of up to 256 classes they are packed to bits, of more they take two
bytes or four; then they are compressed. Soft ones are distributions, in float16 unless the run is of precision float64
(`Training.soft_targets`), and over more classes than that they are not stored but made again. Any key that does not match
is an error. Published blocks are used before the teacher is asked.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from filelock import Timeout
from numpy.typing import NDArray

from pdlib.models.mlp import softmax
from pdlib.specs import (
    Distillation,
    ExampleStream,
    Measurement,
    Parameters,
    Piece,
    Run,
    Sequences,
    SpecError,
    Teacher,
    Training,
    integer_type,
    require,
)
from pdlib.store import DamagedError, Store

VERSION = 2  # of the code below; part of every key
GRID = 1_000_000  # examples; blocks end at its multiples, so that runs of other lengths share them
SEQUENCES_GRID = 4096  # the same for sequences, whose teachers are slower
UNKEPT_GRID = 256  # of distributions over many classes, which are made whenever they are wanted
EXAMPLES_AT_ONCE = 8192
VECTORS_AT_ONCE = 65_536  # more, since a call may move a wide network to a GPU
FEW = 256  # classes; labels of more are not packed, and their logits are made some at a time:
LOGITS_AT_ONCE = 2**25  # numbers, 128 MiB
SOFT_BLOCK = 2**32  # bytes of a block of distributions, which is held in memory


def pack_classes(classes: NDArray[Any], n_classes: int) -> NDArray[Any]:
    """Pack classes into ceil(log2 n_classes) bits each; of more than 256, into the smallest integers that hold them.

    >>> packed = pack_classes(np.array([0, 1, 1, 0, 1]), n_classes=2)
    >>> packed.nbytes, unpack_classes(packed, 5, n_classes=2).tolist()
    (1, [0, 1, 1, 0, 1])
    >>> pack_classes(np.array([0, 29999]), n_classes=30522).nbytes
    4
    """
    if n_classes > FEW:
        return classes.astype(integer_type(n_classes))
    n_bits = _bits(n_classes)
    planes = (classes.astype(np.uint8)[:, None] >> np.arange(n_bits, dtype=np.uint8)) & 1  # (example, bit)
    return np.packbits(planes)


def unpack_classes(packed: NDArray[Any], n_examples: int, n_classes: int) -> NDArray[Any]:
    """Return the classes that `pack_classes` packed, shape (example,)."""
    if n_classes > FEW:
        return packed
    n_bits = _bits(n_classes)
    planes = np.unpackbits(packed, count=n_examples * n_bits).reshape(n_examples, n_bits)
    return np.asarray((planes << np.arange(n_bits, dtype=np.uint8)).sum(axis=1, dtype=np.uint8))


def _bits(n_classes: int) -> int:
    return max(1, math.ceil(math.log2(n_classes)))


def _packed_form(n: int, n_classes: int) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of n packed classes."""
    if n_classes > FEW:
        return (n,), integer_type(n_classes)
    return (-(-n * _bits(n_classes) // 8),), np.dtype(np.uint8)


def compressed(packed: NDArray[Any]) -> NDArray[np.uint8]:
    """Return what is stored of packed labels: their bytes, compressed.

    >>> compressed(np.zeros(125_000, np.uint8)).nbytes < 200
    True
    """
    return np.frombuffer(zlib.compress(packed.tobytes(), 9), np.uint8)


def blocks(piece: Piece, grid: int = GRID) -> list[Piece]:
    """Cut a piece at the multiples of the grid.

    >>> [(b.start, b.stop) for b in blocks(Piece(500_000, 1_200_000, checkpoint=10))]
    [(500000, 1000000), (1000000, 1200000)]
    """
    edges = [piece.start, *range((piece.start // grid + 1) * grid, piece.stop, grid), piece.stop]
    return [Piece(a, b, piece.checkpoint) for a, b in pairwise(edges)]


def blocks_of(spec: Training) -> list[Piece]:
    """Return the blocks of a student's labels, counted in examples: a step has `batch_size` of them."""
    n, grid = spec.batch_size, SEQUENCES_GRID if spec.task.vocabulary else GRID
    if isinstance(spec.supervision, Distillation) and not kept(spec.supervision, spec.task.n_classes):
        grid = UNKEPT_GRID
    return [b for p in spec.pieces for b in blocks(Piece(p.start * n, p.stop * n, p.checkpoint), grid)]


def key(
    supervision: Distillation, stream: ExampleStream, block: Piece, soft_targets: str = "float16"
) -> dict[str, str]:
    """Return what a block of labels belongs to; `soft_targets` is that of the student's `Training`."""
    kind = "hard" if supervision.targets == "hard" else f"soft at temperature {supervision.temperature!r}"
    if supervision.targets == "soft" and soft_targets != "float16":
        kind += f", {soft_targets}"
    return {
        "version": str(VERSION),
        "teacher": supervision.teacher.fingerprint,
        "checkpoint": str(block.checkpoint),
        "stream": stream.identity,
        "start": str(block.start),
        "stop": str(block.stop),
        "kind": kind,
    }


def kept(supervision: Distillation, n_classes: int) -> bool:
    """Whether labels are stored: all but distributions over more than 256 classes, gigabytes that one student reads once."""
    return supervision.targets == "hard" or n_classes <= FEW


def stored(spec: Training, store: Store) -> bool:
    """Whether all labels of a student are in the store, so that its teacher need not be at hand."""
    assert isinstance(spec.supervision, Distillation)
    if not kept(spec.supervision, spec.task.n_classes):
        return False
    stream = spec.stream
    return all(
        store.has_labels(key(spec.supervision, stream, block, spec.soft_targets)) for block in blocks_of(spec)
    )


def needs_teacher(spec: Run, store: Store) -> bool:
    """Whether a run needs a teacher whose labels are published in its place.

    That is the teacher itself, a measurement of it, and a student of it whose own labels are not stored.
    """
    taught = store.published_teachers()
    if isinstance(spec, Measurement):
        return spec.training.fingerprint in taught
    if isinstance(spec, Training) and isinstance(spec.supervision, Distillation):
        return spec.supervision.teacher.fingerprint in taught and not stored(spec, store)
    return spec.fingerprint in taught


class Targets:
    """Targets of a run's samples, from the true classes or from its teacher's labels."""

    def __init__(self, spec: Training, stream: ExampleStream, store: Store, device: str = "cpu") -> None:
        self._supervision = spec.supervision
        self._stream, self._store, self._device = stream, store, device
        self._n_classes = spec.task.n_classes
        self._dtype = np.dtype("float64" if spec.precision == "float64" else "float32")
        self._soft_targets = spec.soft_targets
        self._sequences = spec.task.vocabulary > 0
        self._blocks = blocks_of(spec)
        self._parameters = lru_cache(maxsize=1)(
            self._read
        )  # small blocks of one checkpoint follow each other
        self._current: tuple[Piece, NDArray[Any], NDArray[np.int64]] | None = None

    def of(self, start: int, stop: int, true_classes: NDArray[Any]) -> NDArray[Any]:
        """Return the targets of the samples start ... stop - 1, or all targets of sequences.

        True classes and hard labels are whole numbers, shape (target,); soft labels distributions, (target, class).
        """
        if not isinstance(self._supervision, Distillation):
            if true_classes.max(initial=0) >= self._n_classes:
                raise SpecError(
                    f"class {true_classes.max()}: expected below n_classes = {self._n_classes}, as the task says."
                )
            return true_classes
        parts = []
        while start < stop:
            block, values, first = self._block_of(start)
            end = min(stop, block.stop)
            part = values[first[start - block.start] : first[end - block.start]]
            if part.dtype == np.float16:  # as stored
                part = part.astype(self._dtype)
                part /= part.sum(axis=1, keepdims=True)
            parts.append(part)
            start = end
        found = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return found if self._supervision.targets == "soft" else found ^ true_classes

    def _read(self, checkpoint: int) -> Parameters:
        assert isinstance(self._supervision, Distillation)
        return self._supervision.teacher.parameters(checkpoint, self._store)

    def _block_of(self, step: int) -> tuple[Piece, NDArray[Any], NDArray[np.int64]]:
        """Return the block of a sample, its labels, and the number of the first label of each of its samples."""
        if self._current is None or not self._current[0].start <= step < self._current[0].stop:
            assert isinstance(self._supervision, Distillation)
            place = next(i for i, b in enumerate(self._blocks) if b.start <= step < b.stop)
            block, further = self._blocks[place], self._blocks[place + 1 :]
            n_classes = self._n_classes
            counts = _targets_of(self._stream, block) if self._sequences else None
            values = label_block(
                self._supervision,
                self._stream,
                block,
                n_classes,
                self._store,
                self._device,
                counts,
                further,
                self._parameters,
                self._soft_targets,
            )
            first = np.zeros(block.stop - block.start + 1, np.int64)
            first[1:] = np.cumsum(np.ones(len(first) - 1, np.int64) if counts is None else counts)
            self._current = block, values, first
        return self._current


def _targets_of(stream: ExampleStream, block: Piece) -> NDArray[np.int64]:
    """Return how many targets each sequence of a block has; the stream makes it again, the labels do not store it."""
    return np.concatenate(
        [
            stream.examples(start, min(start + EXAMPLES_AT_ONCE, block.stop))[0].n_targets
            for start in range(block.start, block.stop, EXAMPLES_AT_ONCE)
        ]
    )


def label_block(
    supervision: Distillation,
    stream: ExampleStream,
    block: Piece,
    n_classes: int,
    store: Store,
    device: str = "cpu",
    counts: NDArray[np.int64] | None = None,
    further: Sequence[Piece] = (),
    parameters: Callable[[int], Parameters] | None = None,
    soft_targets: str = "float16",
) -> NDArray[Any]:
    """Return a block's labels, stored or made now: (example,), or distributions (example, class).

    Hard labels are whole numbers, the exclusive-or of the teacher's class with the true one. `counts` says how many
    targets each sequence of the block has; then there is a label a target. While another student makes the block, this
    one makes one of `further`, which it will want later. `parameters` gives those of a checkpoint to who asks often; by
    default they are read from the store. `soft_targets` is the type of distributions, as of the student's `Training`.

    Raises
    ------
    SpecError
        If they are distributions over so many classes that a block of them does not fit into memory.
    MissingError
        If the labels are not stored and the teacher's checkpoint is not at hand.
    HubError
        The same for published checkpoints.
    DamagedError
        If stored labels were altered or belong to something else.
    """
    n, hard = block.stop - block.start if counts is None else int(counts.sum()), supervision.targets == "hard"
    dtype = np.dtype(soft_targets)
    size = dtype.itemsize * n * n_classes
    require(
        hard or size <= SOFT_BLOCK,
        f"soft targets of {n_classes} classes, {size / 1e9:.0f} GB for {n} labels",
        f"at most {SOFT_BLOCK / 1e9:.0f} GB",
        "Use targets='hard'.",
    )

    def read(checkpoint: int) -> Parameters:
        return supervision.teacher.parameters(checkpoint, store)

    if not kept(supervision, n_classes):
        teacher = (parameters or read)(block.checkpoint)
        values = _logits(supervision.teacher, teacher, stream, block, n_classes, device)
        return np.concatenate([_distribution(v, supervision.temperature, dtype) for v, _ in values])
    name = key(supervision, stream, block, soft_targets)
    while (found := store.load_labels(name)) is None:
        if not any(
            _make(supervision, stream, b, n_classes, store, device, soft_targets) for b in (block, *further)
        ):
            with store.label_lock(name):
                pass  # others make all that is left; wait for this one
    if hard:
        return unpack_classes(_decompressed(found, n, n_classes, name), n, n_classes)
    _expect(name, found, (n, n_classes), dtype)
    return found


def predictions(student: Training, store: Store, checkpoint: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the inputs on which a checkpoint taught a student, and the classes that it said: its hard labels.

    So a teacher can be looked at whose labels are published and whose checkpoints are not. Errors as of `label_block`.

    Parameters
    ----------
    student
        Learns from hard labels, one an example.
    checkpoint
        The teacher's step.

    Raises
    ------
    SpecError
        If the student has other labels, or the checkpoint taught it nothing.
    """
    how, n_classes = student.supervision, student.task.n_classes
    if not isinstance(how, Distillation) or how.targets != "hard" or student.task.vocabulary:
        raise SpecError(f"supervision {how} on {student.task}: expected hard labels, one an example.")
    given = blocks_of(student)
    mine = [b for b in given if b.checkpoint == checkpoint]
    known = sorted({b.checkpoint for b in given})
    require(len(mine) > 0, f"checkpoint {checkpoint}", f"one of {known}, which taught this student")
    inputs, said = [], []
    for block in mine:
        examples, true_classes = student.stream.examples(block.start, block.stop)
        inputs.append(examples)
        said.append(label_block(how, student.stream, block, n_classes, store) ^ true_classes)
    return np.concatenate(inputs), np.concatenate(said)


def _make(
    supervision: Distillation,
    stream: ExampleStream,
    block: Piece,
    n_classes: int,
    store: Store,
    device: str,
    soft_targets: str,
) -> bool:
    """Make and store a block of labels, unless they are stored or another student makes them; whether it did."""
    name = key(supervision, stream, block, soft_targets)
    if store.has_labels(name):
        return False
    lock = store.label_lock(name)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    try:
        if store.has_labels(name):
            return False
        teacher = supervision.teacher.parameters(block.checkpoint, store)
        values = _logits(supervision.teacher, teacher, stream, block, n_classes, device)
        if supervision.targets == "hard":
            differences = np.concatenate([_difference(v, true) for v, true in values])
        else:
            both = [
                (_soft(v, supervision.temperature, np.dtype(soft_targets)), _difference(v, true))
                for v, true in values
            ]
            store.save_labels(name, np.concatenate([soft for soft, _ in both]))
            differences = np.concatenate([hard for _, hard in both])
            name = key(
                replace(supervision, targets="hard", temperature=1.0), stream, block
            )  # for nothing more
        store.save_labels(name, compressed(pack_classes(differences, n_classes)))
        return True
    finally:
        lock.release()


def _decompressed(stored: NDArray[Any], n: int, n_classes: int, name: dict[str, str]) -> NDArray[Any]:
    """Return the packed form of n stored labels."""
    shape, dtype = _packed_form(n, n_classes)
    try:
        packed = np.frombuffer(zlib.decompress(stored.tobytes()), dtype)
    except (zlib.error, ValueError) as error:
        raise DamagedError(f"labels of {name}: {error}. Delete them; they are made anew.") from error
    _expect(name, packed, shape, dtype)
    return packed


def _expect(name: dict[str, str], found: NDArray[Any], shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    for what, got, expected in (("shape", found.shape, shape), ("type", found.dtype, dtype)):
        if got != expected:
            raise DamagedError(
                f"labels of {name}: {what} {got}, expected {expected}. Delete them; they are made anew."
            )


def _distribution(values: NDArray[Any], temperature: float, least: np.dtype[Any]) -> NDArray[Any]:
    """Return the distributions of logits that are used at once, (target, class): in their precision, or `least` if wider."""
    exact = values.astype(np.result_type(values, least), copy=False)
    return np.asarray(torch.softmax(torch.from_numpy(exact) / temperature, dim=1).numpy())


def _soft(values: NDArray[Any], temperature: float, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the distributions of logits that are stored, (target, class); those in float64 are computed in it too."""
    return softmax(values.astype(np.result_type(values, dtype), copy=False), temperature).astype(dtype)


def _difference(values: NDArray[Any], true_classes: NDArray[Any]) -> NDArray[Any]:
    """Return the exclusive-or of the hard labels of logits with the true classes, (target,)."""
    kind = integer_type(values.shape[1])
    return np.asarray(values.argmax(axis=1).astype(kind) ^ true_classes.astype(kind))


def _logits(
    taught_by: Teacher, teacher: Parameters, stream: ExampleStream, block: Piece, n_classes: int, device: str
) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Yield a teacher's logits (target, class) on a block, some at a time, with the true classes (target,)."""
    at_once = EXAMPLES_AT_ONCE if taught_by.task.vocabulary else VECTORS_AT_ONCE
    for start in range(block.start, block.stop, at_once):
        examples, true_classes = stream.examples(start, min(start + at_once, block.stop))
        done = 0
        for inputs in in_parts(examples, n_classes, LOGITS_AT_ONCE):
            values = taught_by.model.logits(teacher, inputs, device)
            yield values, true_classes[done : done + len(values)]
            done += len(values)


def in_parts(inputs: Any, n_classes: int, at_once: int) -> Iterator[Any]:
    """Yield inputs whole or, of sequences with many classes, in parts of at most so many logits."""
    if n_classes <= FEW or not isinstance(inputs, Sequences):
        yield inputs
        return
    for part in inputs.slices(max(1, at_once // n_classes)):
        yield inputs[part]

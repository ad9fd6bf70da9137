"""A frozen teacher labels a stream once; the labels are packed, keyed, and shared by all students.

A block of labels belongs to a teacher's fingerprint, a checkpoint, a stream, a range of examples and a kind of target.
Hard labels (the argmax) are kept as their exclusive-or with the true classes, which the student's stream gives again:
mostly zeros once the teacher has learned. Of up to 256 classes they are packed to bits, of more they take two bytes or
four; then they are compressed. Soft ones are distributions, in float16 unless the run is of precision float64
(`Training.soft_targets`), and over more classes than that they are not stored but made again. Any key that does not match
is an error. Published blocks are used before the teacher is asked.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from filelock import Timeout
from numpy.typing import NDArray

from pdlib.models.mlp import softmax
from pdlib.sequences import Sequences, integer_type
from pdlib.specs import (
    Distillation,
    Measurement,
    Parameters,
    Piece,
    Run,
    SpecError,
    TargetRule,
    Training,
    require,
)
from pdlib.store import DamagedError, Store
from pdlib.target_rules import Checkpoint

VERSION = 2  # of the code below; part of every key
GRID = 1_000_000  # examples; blocks end at its multiples, so that runs of other lengths share them
SEQUENCES_GRID = 4096  # the same for sequences, whose teachers are slower
UNKEPT_GRID = 256  # of distributions over many classes, which are made whenever they are wanted
EXAMPLES_AT_ONCE = 8192
VECTORS_AT_ONCE = 65_536  # more, since a call may move a wide network to a GPU
FEW = 256  # classes; labels of more are not packed, and their logits are made some at a time:
LOGITS_AT_ONCE = 2**25  # numbers, 128 MiB
SOFT_BLOCK = 2**32  # bytes of a block of distributions, which is held in memory


def pack(classes: NDArray[Any], n_classes: int) -> NDArray[np.uint8]:
    """Return what is stored of classes: ceil(log2 n_classes) bits each, or of more than 256 whole bytes, compressed.

    >>> unpack(pack(np.array([0, 1, 1, 0, 1]), n_classes=2), 5, n_classes=2).tolist()
    [0, 1, 1, 0, 1]
    >>> pack(np.zeros(1_000_000, np.uint8), 2).nbytes < 200
    True
    """
    packed = classes.astype(integer_type(n_classes))
    if n_classes <= FEW:
        packed = np.packbits((packed[:, None] >> _bits(n_classes)) & 1)  # of (example, bit)
    return np.frombuffer(zlib.compress(packed.tobytes(), 9), np.uint8)


def unpack(stored: NDArray[Any], n_examples: int, n_classes: int) -> NDArray[Any]:
    """Return the classes that `pack` packed, shape (example,), or raise ValueError or zlib.error."""
    packed, bits = np.frombuffer(zlib.decompress(stored.tobytes()), integer_type(n_classes)), _bits(n_classes)
    _expect(packed, (-(-n_examples * len(bits) // 8) if n_classes <= FEW else n_examples,))
    if n_classes > FEW:
        return packed
    planes = np.unpackbits(packed, count=n_examples * len(bits)).reshape(n_examples, len(bits))
    return np.asarray((planes << bits).sum(axis=1, dtype=np.uint8))


def _bits(n_classes: int) -> NDArray[np.uint8]:
    return np.arange(max(1, (n_classes - 1).bit_length()), dtype=np.uint8)


def _expect(found: NDArray[Any], shape: tuple[int, ...]) -> None:
    if found.shape != shape:
        raise ValueError(f"shape {found.shape}, expected {shape}")


def blocks(piece: Piece, grid: int = GRID) -> list[Piece]:
    """Cut a piece at the multiples of the grid.

    >>> [(b.start, b.stop) for b in blocks(Piece(500_000, 1_200_000, checkpoint=10))]
    [(500000, 1000000), (1000000, 1200000)]
    """
    edges = [piece.start, *range((piece.start // grid + 1) * grid, piece.stop, grid), piece.stop]
    return [Piece(a, b, piece.checkpoint) for a, b in pairwise(edges)]


def blocks_of(spec: Training, pieces: Sequence[Piece] = ()) -> list[Piece]:
    """Return the blocks of a student's labels, or of some pieces, counted in examples: a step has `batch_size` of them."""
    n, grid = spec.batch_size, SEQUENCES_GRID if spec.task.vocabulary else GRID
    if not kept(spec):
        grid = UNKEPT_GRID
    return [
        b for p in pieces or spec.pieces for b in blocks(Piece(p.start * n, p.stop * n, p.checkpoint), grid)
    ]


def _taught(spec: Training) -> Distillation:
    assert isinstance(spec.supervision, Distillation)
    return spec.supervision


def kept(spec: Training) -> bool:
    """Whether labels are stored: all but distributions over more than 256 classes, gigabytes that one student reads once."""
    how = spec.supervision
    return not isinstance(how, Distillation) or how.hard or spec.task.n_classes <= FEW


def stored(spec: Training, store: Store) -> bool:
    """Whether all labels of a student are in the store, so that its teacher need not be at hand."""
    targets = Targets(spec, store)
    known = spec.pieces[-1].stop == spec.n_steps  # before it runs
    return known and kept(spec) and all(store.has_labels(targets.key(block)) for block in blocks_of(spec))


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

    def __init__(self, spec: Training, store: Store, device: str = "cpu") -> None:
        self._spec, self._store, self._device = spec, store, device
        self._stream, self._n_classes = spec.stream, spec.task.n_classes
        self._blocks = blocks_of(spec)
        self._dtype = np.dtype("float64" if spec.precision == "float64" else "float32")
        # small blocks of one checkpoint follow each other
        self._parameters = lru_cache(maxsize=1)(self._read)
        self._current: tuple[Piece, NDArray[Any], NDArray[np.int64]] | None = None

    def follow(self, piece: Piece) -> None:
        """Go on with a piece that the run has just been given."""
        self._blocks = blocks_of(self._spec, [piece])

    def told(self, checkpoint: int, inputs: NDArray[Any]) -> NDArray[np.float64]:
        """Return what a checkpoint tells of any inputs, distributions (example, class), unrounded."""
        how = _taught(self._spec)
        logits = how.teacher.model.logits(self._parameters(checkpoint), inputs, self._device)
        if how.hard:
            return np.asarray(np.eye(self._n_classes)[logits.argmax(axis=1)])
        return np.asarray(softmax(logits.astype(np.float64), how.temperature))

    def of(self, start: int, stop: int, true_classes: NDArray[Any]) -> NDArray[Any]:
        """Return the targets of the samples start ... stop - 1, or all targets of sequences.

        True classes and hard labels are whole numbers, shape (target,); soft labels distributions, (target, class).
        """
        if not isinstance(self._spec.supervision, Distillation):
            most = true_classes.max(initial=0)
            below = f"below n_classes = {self._n_classes}, as the task says"
            require(bool(most < self._n_classes), f"class {most}", below)
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
        return found ^ true_classes if self._spec.supervision.hard else found

    def key(self, block: Piece, *, hard: bool = False) -> dict[str, str]:
        """Return what a block of labels belongs to; with `hard` that of the hard labels beside soft ones."""
        how, kind, rule = _taught(self._spec), "hard", self._rule(block)
        if not hard and (rule or not how.hard):
            kind = f"by {rule.fingerprint}" if rule else f"soft at temperature {how.temperature!r}"
            kind += "" if self._spec.soft_targets == "float16" else f", {self._spec.soft_targets}"
        return {
            "version": str(VERSION),
            "teacher": how.teacher.fingerprint,
            "checkpoint": str(block.checkpoint),
            "stream": self._stream.identity,
            "start": str(block.start),
            "stop": str(block.stop),
            "kind": kind,
        }

    def _block_of(self, step: int) -> tuple[Piece, NDArray[Any], NDArray[np.int64]]:
        """Return the block of a sample, its labels, and the number of the first label of each of its samples."""
        if self._current is None or not self._current[0].start <= step < self._current[0].stop:
            i = next(i for i, b in enumerate(self._blocks) if b.start <= step < b.stop)
            block, counts = self._blocks[i], self._counts(self._blocks[i])
            values = self.block(block, int(counts.sum()), self._blocks[i + 1 :])
            self._current = block, values, np.concatenate([[0], np.cumsum(counts)])
        return self._current

    def _counts(self, block: Piece) -> NDArray[np.int64]:
        """Return how many labels each sample of a block has; those of sequences are not stored, the stream tells them."""
        if not self._spec.task.vocabulary:
            return np.ones(block.stop - block.start, np.int64)
        starts = range(block.start, block.stop, EXAMPLES_AT_ONCE)
        made = (self._stream.examples(a, min(a + EXAMPLES_AT_ONCE, block.stop))[0] for a in starts)
        return np.concatenate([examples.n_targets for examples in made])

    def block(self, block: Piece, n: int | None = None, further: Sequence[Piece] = ()) -> NDArray[Any]:
        """Return a block's labels, stored or made now: (target,), or distributions (target, class).

        Hard labels are whole numbers, the exclusive-or of the teacher's class with the true one. `n` is their number,
        if it is known. While another student makes the block, this one makes one of `further`, which it will want later.

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
        how, n_classes, dtype = _taught(self._spec), self._n_classes, np.dtype(self._spec.soft_targets)
        n = int(self._counts(block).sum()) if n is None else n
        size = dtype.itemsize * n * n_classes
        require(
            how.hard or size <= SOFT_BLOCK,
            f"soft targets of {n_classes} classes, {size / 1e9:.0f} GB for {n} labels",
            f"at most {SOFT_BLOCK / 1e9:.0f} GB",
            "Use targets='hard'.",
        )
        if not kept(self._spec):
            return np.concatenate([_distribution(v, how.temperature, dtype) for v, _ in self.logits(block)])
        name = self.key(block)
        while (found := self._store.load_labels(name)) is None:
            if not any(self._make(b) for b in (block, *further)):
                with self._store.label_lock(name):
                    pass  # others make all that is left; wait for this one
        try:
            if how.hard:
                return unpack(found, n, n_classes)
            _expect(found, (n, n_classes))
        except (zlib.error, ValueError) as error:
            raise DamagedError(f"labels of {name}: {error}. Delete them; they are made anew.") from error
        return found

    def _make(self, block: Piece) -> bool:
        """Make and store a block of labels, unless they are stored or another student makes them; whether it did."""
        how, store, name = _taught(self._spec), self._store, self.key(block)
        if store.has_labels(name):
            return False
        try:
            with store.label_lock(name).acquire(timeout=0):
                if store.has_labels(name):
                    return False
                soft, differences, dtype = [], [], np.dtype(self._spec.soft_targets)
                rule, kind = self._rule(block), integer_type(self._n_classes)
                made = self._by_rule(rule, block) if rule else self.logits(block)
                for values, true_classes in made:
                    if rule and not rule.hard:
                        soft.append(values.astype(dtype))
                        continue
                    if not rule and not how.hard:
                        soft.append(_soft(values, how.temperature, dtype))
                    classes = values if rule else values.argmax(axis=1)
                    differences.append(classes.astype(kind) ^ true_classes.astype(kind))
                if soft:
                    store.save_labels(name, np.concatenate(soft))
                if differences:  # beside soft ones too: they cost nothing more
                    packed = pack(np.concatenate(differences), self._n_classes)
                    store.save_labels(self.key(block, hard=not rule), packed)
                return True
        except Timeout:
            return False

    def logits(self, block: Piece) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """Yield the teacher's logits (target, class) on a block, some at a time, with the true classes (target,)."""
        model, parameters = _taught(self._spec).teacher.model, self._parameters(block.checkpoint)
        at_once = EXAMPLES_AT_ONCE if self._spec.task.vocabulary else VECTORS_AT_ONCE
        for start in range(block.start, block.stop, at_once):
            examples, true_classes = self._stream.examples(start, min(start + at_once, block.stop))
            done = 0
            for inputs in in_parts(examples, self._n_classes, LOGITS_AT_ONCE):
                values = model.logits(parameters, inputs, self._device)
                if not np.isfinite(
                    values.max(axis=1, initial=-np.inf)
                ).all():  # -inf rules a class out, if not all
                    raise DamagedError(
                        f"the teacher {_taught(self._spec).teacher.fingerprint}, a {type(model).__name__}, at its "
                        f"checkpoint {block.checkpoint}: its outputs are no finite numbers. Expected those of a trained "
                        "network. Choose an earlier checkpoint, or train it again at a lower rate."
                    )
                yield values, true_classes[done : done + len(values)]
                done += len(values)

    def _rule(self, block: Piece) -> TargetRule | None:
        """Return the rule by which a block's targets are made; None for what its checkpoint says itself."""
        how = _taught(self._spec)
        if not isinstance(how.targets, TargetRule) or how.targets.plain:
            return None
        return how.targets if how.targets.final_too or not self._is_final(block) else None

    def _is_final(self, block: Piece) -> bool:
        return block.checkpoint == _taught(self._spec).teacher.checkpoints[-1]

    def _by_rule(self, rule: TargetRule, block: Piece) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """Yield a rule's targets on a block, some at a time, with the true classes."""
        teacher, stream = _taught(self._spec).teacher, self._stream
        identity = f"{teacher.fingerprint} at {block.checkpoint} on {stream.identity}"
        asked = (teacher.task, teacher.model, self._parameters(block.checkpoint), identity)
        targets = rule.of(Checkpoint(*asked, self._is_final(block), self._device))
        for start in range(block.start, block.stop, VECTORS_AT_ONCE):
            inputs, classes = stream.examples(start, min(start + VECTORS_AT_ONCE, block.stop))
            yield targets(inputs, classes, start), classes

    def _read(self, checkpoint: int) -> Parameters:
        return _taught(self._spec).teacher.parameters(checkpoint, self._store)


def predictions(student: Training, store: Store, checkpoint: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the inputs on which a checkpoint taught a student, and the classes that it said: its hard labels.

    So a teacher can be looked at whose labels are published and whose checkpoints are not. Errors as of `Targets.block`.

    Raises
    ------
    SpecError
        If the student has other labels than hard ones, one an example, or the checkpoint taught it nothing.
    """
    how = student.supervision
    if not isinstance(how, Distillation) or how.targets != "hard" or student.task.vocabulary:
        raise SpecError(f"supervision {how} on {student.task}: expected hard labels, one an example.")
    taught = blocks_of(student)
    mine = [block for block in taught if block.checkpoint == checkpoint]
    known = f"one of {sorted({block.checkpoint for block in taught})}, which taught this student"
    require(len(mine) > 0, f"checkpoint {checkpoint}", known)
    targets, stream = Targets(student, store), student.stream
    seen = [stream.examples(block.start, block.stop) for block in mine]
    said = [targets.block(block) ^ true for block, (_, true) in zip(mine, seen, strict=True)]
    return np.concatenate([inputs for inputs, _ in seen]), np.concatenate(said)


def _distribution(values: NDArray[Any], temperature: float, least: np.dtype[Any]) -> NDArray[Any]:
    """Return the distributions of logits that are used at once, (target, class): in their precision, or `least` if wider."""
    exact = values.astype(np.result_type(values, least), copy=False)
    return np.asarray(torch.softmax(torch.from_numpy(exact) / temperature, dim=1).numpy())


def _soft(values: NDArray[Any], temperature: float, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the distributions of logits that are stored, (target, class); those in float64 are computed in it too."""
    return softmax(values.astype(np.result_type(values, dtype), copy=False), temperature).astype(dtype)


def in_parts(inputs: Any, n_classes: int, at_once: int) -> Iterator[Any]:
    """Yield inputs whole or, of sequences with many classes, in parts of at most so many logits."""
    if n_classes <= FEW or not isinstance(inputs, Sequences):
        yield inputs
        return
    for part in inputs.slices(max(1, at_once // n_classes)):
        yield inputs[part]

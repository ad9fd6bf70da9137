"""Accuracy by part: a predictor with known answers, its sum over parts, and what has no parts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pdlib import SGD, Store, Training, execute
from pdlib.models.transformer import bert
from pdlib.probes import parts
from pdlib.probes.parts import PartAccuracy
from pdlib.sequences import Sequences
from pdlib.specs import Measurement, Model, Parameters, Source, SpecError
from pdlib.tasks.masked import MaskedPrediction

LENGTH = 10


@dataclass(frozen=True)
class Poems(Source):
    """One part of four repeats a token, the rest alternate two: all told apart by their tokens."""

    names: tuple[str, ...] = ("songs", "odes")

    @property
    def n_tokens(self) -> int:
        return 3

    @property
    def max_length(self) -> int:
        return LENGTH

    @property
    def parts(self) -> tuple[str, ...]:
        return self.names

    def sentence_stream(self, identity: str, purpose: Any = "train") -> Any:
        def part_of(start: int, stop: int) -> NDArray[np.intp]:
            return (np.arange(start, stop) % 4 != 1).astype(np.intp)

        def sentences(start: int, stop: int) -> Any:
            odes = np.arange(LENGTH) % 2 + 1
            tokens = np.where(part_of(start, stop)[:, None] == 0, 0, odes).astype(np.uint8)
            return SimpleNamespace(tokens=tokens, lengths=np.full(stop - start, LENGTH, np.int64))

        return SimpleNamespace(identity=identity, sentences=sentences, parts=part_of)


@dataclass(frozen=True)
class Constant(Model):
    """Says the same of every position."""

    logit: tuple[float, ...] = (3.0, 1.0, 0.0, -1.0)

    def logits(self, parameters: Parameters, inputs: Any, device: str = "cpu") -> NDArray[Any]:
        assert isinstance(inputs, Sequences)
        return np.tile(np.array(self.logit, np.float32), (int(inputs.n_targets.sum()), 1))


TASK = MaskedPrediction(Poems())


def training(model: Any = Constant(), task: Any = TASK) -> Training:
    return Training(task, model, SGD(0.1), n_steps=1, evaluate_every=1, n_evaluation=200)


def test_a_constant_predictor_is_right_where_its_token_stands() -> None:
    rows = PartAccuracy(200).rows(training(), {})
    inputs, classes = TASK.stream(0, "evaluation").examples(0, 200)
    songs, odes = rows
    assert [row["text"] for row in rows] == ["songs", "odes"]
    assert [row["part"] for row in rows] == [0, 1]
    assert (songs["n_sequences"], odes["n_sequences"]) == (50, 150)
    assert songs["n_targets"] == int((classes == 0).sum())
    assert songs["n_targets"] + odes["n_targets"] == inputs.n_targets.sum()
    assert (songs["accuracy"], odes["accuracy"]) == (1.0, 0.0)
    losses = np.log(np.exp(Constant().logit).sum()) - np.array(Constant().logit)
    assert songs["loss_nats"] == pytest.approx(losses[0])
    done, of_sequences = 0, []
    for i, n in enumerate(inputs.n_targets):
        if i % 4 != 1 and n:
            of_sequences.append(losses[classes[done : done + n]].mean())
        done += n
    assert odes["loss_nats"] == pytest.approx(np.mean(of_sequences))
    other = PartAccuracy(200).rows(training(Constant((0.0, 3.0, 0.0, 0.0))), {})  # the control
    assert other[0]["accuracy"] == 0.0
    assert 0.4 < other[1]["accuracy"] < 0.6


def test_a_sure_predictor_has_a_finite_loss() -> None:
    songs, odes = PartAccuracy(200).rows(training(Constant((2000.0, 0.0, 0.0, 0.0))), {})
    assert songs["loss_nats"] == 0.0
    assert odes["loss_nats"] == pytest.approx(2000.0)


def test_parts_together_give_the_evaluation_of_the_run(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = training(bert(1, 2, 4, vocabulary=4, n_positions=LENGTH, initial_std=0.5))
    run, measured = execute(
        [spec, Measurement(spec, PartAccuracy(200), (0, 1))], store, progress=False, n_workers=1
    )
    for step, evaluation in zip((0, 1), run.table.itertuples(), strict=True):
        table = measured.table[measured.table.step == step]
        assert np.average(table.accuracy, weights=table.n_targets) == pytest.approx(evaluation.accuracy)
        counts = TASK.stream(0, "evaluation").examples(0, 200)[0].n_targets
        asked = [np.count_nonzero(counts[1::4]), np.count_nonzero(np.delete(counts, np.s_[1::4]))]
        assert np.average(table.loss_nats, weights=asked) == pytest.approx(evaluation.loss_nats)
    assert measured.table.accuracy.nunique() > 1
    monkeypatch.setattr(parts, "PREDICTED_AT_ONCE", 40)  # ten targets at a time
    again = PartAccuracy(200).rows(spec, store.load_checkpoint(spec, 1))
    for row, stored in zip(again, table.to_dict("records"), strict=True):
        assert row["accuracy"] == stored["accuracy"]
        assert row["loss_nats"] == pytest.approx(stored["loss_nats"], rel=1e-5)


def test_too_few_sequences_for_a_part_are_refused() -> None:
    with pytest.raises(SpecError, match=r"n_samples = 1, of which 0 are of songs: .* Raise n_samples"):
        PartAccuracy(1).rows(training(), {})
    with pytest.raises(SpecError, match="of which 0 are of ballads"):
        PartAccuracy(50).rows(training(task=replace(TASK, source=Poems(("songs", "odes", "ballads")))), {})

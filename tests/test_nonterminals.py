"""The reader of non-terminals: its formula by another route, embeddings with known contents, networks, refusals."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from numpy.typing import NDArray
from torch import Tensor

from pdlib.models.transformer import bert
from pdlib.optimizers import Adam
from pdlib.probes import nonterminals
from pdlib.probes.nonterminals import NOWHERE, NonterminalPrediction, Reader, embedding, groups, told_levels
from pdlib.specs import Model, Task, Training
from pdlib.tasks.grammar import Sentences, SentenceStream, grammar
from pdlib.tasks.masked import MaskedPrediction

SOURCE = grammar("cfg3b", roots=(14, 15))
TASK = MaskedPrediction(SOURCE)
SYMBOLS = len(SOURCE.symbols)
PROBE = NonterminalPrediction(400, 200, n_heads=8, position_size=32, n_epochs=8, batch_size=16)
COLUMNS = ["level", "level_from_leaves", "accuracy", "majority", "n_boundaries"]


@cache
def drawn(start: int, stop: int) -> Sentences:
    return SentenceStream(SOURCE, "tests of the reader").sentences(start, stop)


def carrying(offset: int = 0, shuffled: bool = False) -> nonterminals.Embed:
    """Embeddings that carry, at this offset from the end of each span, a unit vector of its symbol, and nothing else."""

    def embed(sentences: Sentences, rows: NDArray[np.intp]) -> Tensor:
        length = int(sentences.lengths[rows[0]])
        levels = told_levels(SOURCE)
        which = np.roll(rows, 1) if shuffled else rows
        units = np.eye(SYMBOLS)[sentences.ancestors[levels][:, which, :length]]
        units *= sentences.ends[levels][:, which, :length, None]
        found = np.zeros((len(rows), length, SYMBOLS))
        here, there = (
            slice(max(0, offset), length + min(0, offset)),
            slice(max(0, -offset), length - max(0, offset)),
        )
        found[:, here] = units.sum(axis=0)[:, there]
        return torch.from_numpy(found)

    return embed


def noise(sentences: Sentences, rows: NDArray[np.intp]) -> Tensor:
    length = int(sentences.lengths[rows[0]])
    found = [np.random.default_rng([i, len(sentences.lengths)]).normal(size=(length, 12)) for i in rows]
    return torch.from_numpy(np.array(found))


def read(embed: nonterminals.Embed, probe: NonterminalPrediction = PROBE) -> list[dict[str, Any]]:
    return probe.read(drawn(0, probe.n_train), drawn(1000, 1000 + probe.n_validation), embed)


def accuracies(embed: nonterminals.Embed, probe: NonterminalPrediction = PROBE) -> list[float]:
    return [row["accuracy"] for row in read(embed, probe)]


def training(task: Task = TASK, model: Model | None = None) -> Training:
    model = model or bert(2, 2, 4, vocabulary=4, n_positions=SOURCE.max_length, initial_std=0.3)
    return Training(task, model, Adam(1e-3), n_steps=1, evaluate_every=1)


# What is asked


def test_classes_stand_at_the_ends_of_spans_and_count_from_the_layers_first_symbol() -> None:
    block = drawn(0, 30)
    found = groups(block, carrying())
    seen = 0
    for group in found:
        length, n, _ = group.embeddings.shape
        rows = np.flatnonzero(block.lengths == length)
        assert n == len(rows)
        for s, row in enumerate(rows):
            for i, level in enumerate((0, 1, 2)):
                expected = [NOWHERE] * length
                for symbol, _, stop in block.spans(int(row), level):
                    expected[stop - 1] = SOURCE.layers[level].index(symbol)
                assert group.classes[i, :, s].tolist() == expected
                seen += 1
    assert seen == 90


def test_the_reader_is_the_papers_formula() -> None:
    generator = torch.Generator().manual_seed(4)
    reader = Reader([2, 3], width=5, n_positions=9, n_heads=3, position_size=4, generator=generator)
    with torch.no_grad():
        for p in reader.parameters:
            p += torch.randn(p.shape, generator=generator)
    e = torch.randn(7, 2, 5, generator=generator)
    position, weight, bias = (p.detach().double().numpy() for p in reader.parameters)
    expected = np.zeros((7, 2, 5))
    for r in range(3):
        for i in range(7):
            scores = np.array([np.exp(position[r, i] @ position[r, k]) for k in range(7)])
            for k, w in enumerate(scores / scores.sum()):
                for s in range(2):
                    f = e[k, s].double().numpy() @ weight[r] + bias / 3  # a third of it for each head
                    expected[i, s] += w * f
    got = reader.outputs(e)
    assert [part.shape for part in got] == [(7, 2, 2), (7, 2, 3)]
    np.testing.assert_allclose(torch.cat(got, dim=2).detach().numpy(), expected, rtol=1e-4, atol=1e-4)


def test_the_loss_is_a_mean_over_the_ends_of_each_level_added_up_over_levels() -> None:
    generator = torch.Generator().manual_seed(4)
    reader = Reader([2, 3, 3], SYMBOLS, SOURCE.max_length, 2, 4, generator)
    with torch.no_grad():
        for p in reader.parameters:
            p += torch.randn(p.shape, generator=generator)
    data = groups(drawn(0, 20), carrying())
    assert len(data) > 3
    total, right = 0.0, [0, 0, 0]
    for level in range(3):
        losses = []
        for group in data:
            p = reader.outputs(group.embeddings)[level].double().log_softmax(dim=2)
            for i, s in (group.classes[level] != NOWHERE).nonzero().tolist():
                c = int(group.classes[level, i, s])
                losses.append(-float(p[i, s, c].detach()))
                right[level] += int(p[i, s].argmax()) == c
        total += float(np.mean(losses))
    assert float(reader.loss(data).detach()) == pytest.approx(total, rel=1e-5)
    assert reader.hits(data).tolist() == right


def test_each_epoch_takes_every_sentence_once_in_batches_of_similar_lengths() -> None:
    block = drawn(0, 50)
    data = groups(
        block, lambda s, rows: torch.from_numpy(rows)[:, None, None].expand(-1, int(s.lengths[rows[0]]), 1)
    )
    generator = torch.Generator().manual_seed(0)
    epochs = [list(nonterminals._batches(data, 8, generator)) for _ in range(2)]
    taken = [[[int(i) for g in batch for i in g.embeddings[0, :, 0]] for batch in epoch] for epoch in epochs]
    for epoch, batches in zip(epochs, taken, strict=True):
        assert sorted(i for batch in batches for i in batch) == list(range(50))
        assert sorted(map(len, batches)) == [2] + [8] * 6
        ranges = sorted((min(block.lengths[b]), max(block.lengths[b])) for b in batches)
        assert all(one[1] <= other[0] for one, other in pairwise(ranges))
        for batch in epoch:
            for group in batch:
                assert group.classes.shape[1:] == group.embeddings.shape[:2]
    assert taken[0] != taken[1]


# Embeddings with known contents


def test_symbols_that_stand_at_their_ends_are_read_perfectly() -> None:
    rows = read(carrying())
    assert [list(row) for row in rows] == [COLUMNS] * 3
    assert [(row["level"], row["level_from_leaves"]) for row in rows] == [(0, 4), (1, 3), (2, 2)]
    assert [row["accuracy"] for row in rows] == [1, 1, 1]
    validation = drawn(1000, 1200)
    for row in rows:
        symbols = [s for i in range(200) for s, _, _ in validation.spans(i, row["level"])]
        assert row["n_boundaries"] == len(symbols)
        assert row["majority"] == max(symbols.count(s) for s in set(symbols)) / len(symbols)
        assert row["majority"] < 0.7


def test_symbols_at_a_fixed_distance_are_read_by_attention_to_positions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    probe = replace(PROBE, n_epochs=20)
    assert min(accuracies(carrying(-2), probe)) > 0.9
    # the control: without attention, each position reads its own embedding
    monkeypatch.setattr(
        Reader,
        "outputs",
        lambda self, e: list(torch.split(e @ self.weight[0] + self.bias, self.sizes, dim=2)),
    )
    monkeypatch.setattr(Reader, "parameters", property(lambda self: [self.weight, self.bias]))
    assert min(accuracies(carrying(-2), probe)) < 0.7
    assert min(accuracies(carrying())) == 1


def test_noise_and_the_symbols_of_other_sentences_are_read_no_better_than_by_naming_the_most_frequent() -> (
    None
):
    for row in read(noise):
        assert row["accuracy"] < row["majority"] + 0.06
    for row in read(carrying(shuffled=True)):
        assert row["accuracy"] < 0.8


def test_reading_is_a_function_of_the_seed_and_leaves_other_randomness_alone() -> None:
    probe = replace(PROBE, n_epochs=2)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = read(noise, probe)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert read(noise, probe) == first
    assert read(noise, replace(probe, seed=1)) != first


# Networks


def test_embeddings_are_what_the_last_layer_hands_to_the_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nonterminals, "SCORES_AT_ONCE", {"cpu": 1})  # a sentence at a time
    spec = training()
    parameters = spec.model.initial(27, 4, seed=1)
    module = spec.model.module(parameters)
    block = drawn(0, 12)
    found = groups(block, embedding(spec.model, parameters))  # type: ignore[arg-type]
    for group in found:
        rows = np.flatnonzero(block.lengths == len(group.embeddings))
        for s, row in enumerate(rows):
            tokens = torch.from_numpy(block.tokens[row : row + 1, : len(group.embeddings)].astype(np.int64))
            with torch.no_grad():
                expected = module.embeddings(tokens)[0]
            np.testing.assert_allclose(group.embeddings[:, s].numpy(), expected.numpy(), atol=1e-5)


def test_a_measured_network_is_left_as_it_was_and_read_on_the_probe_stream() -> None:
    spec = training()
    parameters = {k: v.astype(np.float32) for k, v in spec.model.initial(27, 4, seed=1).items()}
    before = {k: v.copy() for k, v in parameters.items()}
    probe = replace(PROBE, n_epochs=2)
    rows = probe.rows(spec, parameters)
    tiny.assert_same_parameters(parameters, before)
    stream = TASK.stream(0, "probe")
    blocks = [stream.originals(0, 400), stream.originals(400, 600)]
    assert rows == probe.read(*blocks, embedding(spec.model, parameters))  # type: ignore[arg-type]
    # an untrained network embeds its tokens already, which tell something of the lowest level
    assert rows[2]["accuracy"] > rows[2]["majority"] + 0.05

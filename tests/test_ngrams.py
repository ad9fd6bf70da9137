"""n-gram dependence: windows by hand, known predictors, networks by another route, and the exact posterior."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pdlib.models.mlp import softmax
from pdlib.models.transformer import Transformer, bert
from pdlib.optimizers import Adam
from pdlib.probes import ngrams
from pdlib.probes.ngrams import (
    NgramDependence,
    Predictions,
    distances,
    drawn_positions,
    neighborhood,
    preceding,
    removals,
    total_variation,
)
from pdlib.sequences import Sequences
from pdlib.specs import SpecError, Training
from pdlib.tasks.grammar import grammar, load_grammar
from pdlib.tasks.masked import MaskedPrediction
from pdlib.tasks.next_token import NextToken

SOURCE = grammar("cfg3b", roots=(14, 15))
VISIBLE, HIDDEN = MaskedPrediction(SOURCE), MaskedPrediction(SOURCE, selected="hidden")
MASK = VISIBLE.mask_token
COLUMNS = ["measure", "n", "median", "mean", "low", "high", "p5", "p95", "n_pairs"]
# Two triples, each 0 2 0 or 1 2 1: the last token of one is known from its first, and not from the one between.
MIRRORED = load_grammar({"rules": {"9": [[8, 8]], "8": [[1, 3, 1], [2, 3, 2]]}})
EVERY, ENDING, BOUNDARIES = NextToken(SOURCE), NextToken(SOURCE, ends=True), NextToken(SOURCE, level=3)
CAUSAL = pytest.mark.parametrize(
    "task", [EVERY, ENDING, BOUNDARIES], ids=["every token", "and end", "boundaries"]
)
BOS = EVERY.bos_token


def training(task: Any = VISIBLE, **changes: Any) -> Training:
    model = bert(2, 2, 4, vocabulary=4, n_positions=SOURCE.max_length, initial_std=0.5, **changes)
    return Training(task, model, Adam(1e-3), n_steps=1, evaluate_every=1)


def random_network(task: Any = VISIBLE, **changes: Any) -> tuple[Training, dict[str, NDArray[Any]]]:
    spec = training(task, **changes)
    return spec, spec.model.initial(SOURCE.max_length, 4, seed=1)


def sentences(*tokens: list[int]) -> Any:
    """A block of sentences, as a stream gives it."""
    lengths = np.array([len(t) for t in tokens])
    padded = np.zeros((len(tokens), lengths.max()), np.uint8)
    for row, t in zip(padded, tokens, strict=True):
        row[: len(t)] = t
    return SimpleNamespace(tokens=padded, lengths=lengths)


def measured(
    predict: ngrams.Predict, n: tuple[int, ...], task: Any = VISIBLE, n_samples: int = 60
) -> dict[tuple[str, int], NDArray[np.float64]]:
    return distances(NgramDependence(n, n_samples, n_positions=2).inputs(task), predict, n)


def looks_at(*offsets: int) -> ngrams.Predict:
    """A predictor whose distribution depends on the tokens at these offsets from the target, in all ways they can."""

    def predict(block: Sequences) -> NDArray[np.float64]:
        example, i = np.nonzero(block.at)
        code = np.zeros(len(i))
        for offset in offsets:
            j = i + offset
            inside = (j >= 0) & (j < block.tokens.shape[1])
            code = 5 * code + np.where(inside, block.tokens[example, np.clip(j, 0, None) * inside], 4)
        first = (1 + np.sin(7 * code + 1)) / 2
        return np.stack([first, 1 - first], axis=1)

    return predict


# Windows and distances


@pytest.mark.parametrize(
    ("n", "position", "expected"),
    [
        (1, 2, [2]),
        (2, 2, [1, 2]),  # an even n reaches one further to the left
        (3, 2, [1, 2, 3]),
        (4, 2, [0, 1, 2, 3]),
        (5, 2, [0, 1, 2, 3, 4]),
        (3, 0, [0, 1]),  # cut at the ends
        (2, 0, [0]),
        (3, 5, [4, 5]),
        (4, 5, [3, 4, 5]),
        (7, 1, [0, 1, 2, 3, 4]),
        (99, 3, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_an_n_gram_is_what_definition_4_2_says(n: int, position: int, expected: list[int]) -> None:
    (window,) = neighborhood(n, np.array([position]), length=6)
    assert np.flatnonzero(window).tolist() == expected


# What is removed


@pytest.mark.parametrize("selected", ["visible", "hidden"])
def test_removed_tokens_become_masks_and_are_hidden_where_the_task_hides(
    selected: Literal["visible", "hidden"],
) -> None:
    task = MaskedPrediction(SOURCE, selected=selected)
    block = sentences([0, 1, 2, 0, 1, 2], [2, 1, 0])
    short, long = removals(task, block, np.array([[0, 4], [1, 0], [0, 1]]), n=(2, 3))
    m = MASK
    assert short.tokens.tolist() == [[m, 1, 0], [m, 1, 0], [m, m, 0], [m, m, m], [m, 1, m]]
    assert long.tokens.tolist() == [
        [0, 1, 2, 0, m, 2],  # the position
        [0, 1, 2, m, m, 2],  # its 2-gram
        [0, 1, 2, m, m, m],  # its 3-gram
        [m, m, m, 0, m, m],  # all but its 2-gram, and it
        [m, m, m, 0, m, 2],  # all but its 3-gram, and it
        [0, m, 2, 0, 1, 2],
        [m, m, 2, 0, 1, 2],
        [m, m, m, 0, 1, 2],
        [0, m, m, m, m, m],
        [0, m, 2, m, m, m],
    ]
    for found, positions in ((short, [0]), (long, [4, 1])):
        asked = np.repeat(np.eye(found.tokens.shape[1], dtype=bool)[positions], 5, axis=0)
        np.testing.assert_array_equal(found.at, asked)
        seen = np.ones_like(asked) if selected == "visible" else found.tokens != m
        # with nothing left, what is removed is seen, as in training
        np.testing.assert_array_equal(found.visible, seen | ~seen.any(axis=1, keepdims=True))


def test_blocks_hold_each_pair_once_without_padding_however_they_are_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    probe = NgramDependence((3,), 50, n_positions=3)
    whole = list(probe.inputs(VISIBLE))
    assert sum(len(b) for b in whole) == 50 * 3 * 3
    assert all(b.visible.all() for b in whole)
    assert [b.tokens.shape[1] for b in whole] == sorted({b.tokens.shape[1] for b in whole})
    monkeypatch.setattr(ngrams, "PAIRS_AT_ONCE", 4)
    parts = list(probe.inputs(VISIBLE))
    assert len(parts) > len(whole)
    assert max(len(b) for b in parts) == 4 * 3
    for field in ("tokens", "at", "visible"):
        rows = [[row.tolist() for b in blocks for row in getattr(b, field)] for blocks in (whole, parts)]
        assert rows[0] == rows[1]


def test_positions_are_distinct_uniform_and_a_function_of_the_sentence_alone() -> None:
    lengths = np.array([5, 3] * 3000)
    pairs = drawn_positions("00ff", lengths, n_positions=4)
    assert len({tuple(pair) for pair in pairs.tolist()}) == len(pairs)
    assert np.bincount(pairs[:, 0]).tolist() == [4, 3] * 3000  # a short sentence gives what it has
    np.testing.assert_array_equal(drawn_positions("00ff", lengths[:10], 4), pairs[pairs[:, 0] < 10])
    assert drawn_positions("00fe", lengths[:10], 4).tolist() != pairs[pairs[:, 0] < 10].tolist()
    one = drawn_positions("00ff", lengths, n_positions=1)
    for size, start in ((5, 0), (3, 1)):
        share = np.bincount(one[one[:, 0] % 2 == start, 1], minlength=size) / 3000
        np.testing.assert_allclose(share, 1 / size, atol=0.03)  # three standard errors
    four = pairs[pairs[:, 0] % 2 == 0, 1]
    np.testing.assert_allclose(np.bincount(four) / 3000, 4 / 5, atol=0.03)


# Predictors with a known answer


def test_a_hand_computed_total_variation() -> None:
    """Class 0 has the share of masks as probability: 1 of 6 tokens, then 3, then 2 (3-gram) or 5, then 4."""

    def share(block: Sequences) -> NDArray[np.float64]:
        p = (block.tokens == MASK).mean(axis=1)
        return np.stack([p, 1 - p], axis=1)

    pairs = np.array([[0, 2], [0, 0]])
    found = distances(removals(VISIBLE, sentences([0] * 6), pairs, (3, 4)), share, (3, 4))
    assert list(found) == [("robust", 3), ("robust", 4), ("close", 3), ("close", 4)]
    expected = {("robust", 3): [2, 1], ("robust", 4): [3, 1], ("close", 3): [3, 4], ("close", 4): [2, 4]}
    for key, sixths in expected.items():
        np.testing.assert_allclose(found[key], np.array(sixths) / 6, rtol=0, atol=1e-15)


def test_a_predictor_of_the_neighbours_needs_nothing_else_and_breaks_without_them() -> None:
    found = measured(looks_at(-1, 1), (2, 3, 5))
    assert found["close", 3].tolist() == found["close", 5].tolist() == [0] * 120
    assert np.median(found["robust", 3]) > 0.1
    assert np.median(found["close", 2]) > 0.1  # the right one is missing
    far = measured(looks_at(-3, -2, 2, 3), (1, 3, 5))  # the control
    assert np.median(far["close", 3]) > 0.1
    assert far["close", 5].any()
    assert not far["robust", 3].any()
    assert not far["robust", 1].any()
    assert far["close", 1].all()
    assert not measured(looks_at(-1), (2,))["close", 2].any()  # a 2-gram is the left neighbour
    assert not measured(looks_at(1), (2,))["robust", 2].any()


@pytest.mark.parametrize("task", [VISIBLE, HIDDEN, EVERY], ids=["visible", "hidden", "causal"])
def test_a_network_that_ignores_its_context_depends_on_nothing(task: Any) -> None:
    spec, parameters = causal() if task is EVERY else random_network(task)
    assert all(row["p95"] > 1e-3 for row in NgramDependence((3,), 40).rows(spec, parameters))  # the control
    for layer in range(spec.model.n_layers):  # type: ignore[attr-defined]  # nothing comes back from attention
        parameters[f"layers.{layer}.joined.weight"] *= 0
    for row in NgramDependence((3, 5), 40).rows(spec, parameters):
        assert row["p95"] == pytest.approx(0, abs=1e-6)


# Networks


@pytest.mark.parametrize("task", [VISIBLE, HIDDEN], ids=["visible", "hidden"])
def test_rows_are_those_of_a_plain_loop(task: MaskedPrediction) -> None:
    spec, parameters = random_network(task)
    module, stream = spec.model.module(parameters), task.stream(0, "probe")
    block = stream.originals(0, 15)

    def at(tokens: list[int], i: int, removed: set[int]) -> NDArray[np.float64]:
        shown = [MASK if j in removed else t for j, t in enumerate(tokens)]
        everything = task is VISIBLE or len(removed) == len(tokens)
        seen = [everything or j not in removed for j in range(len(tokens))]
        with torch.no_grad():
            logits = module(torch.tensor([shown]), mask=torch.tensor([seen]))[0, i]
        return softmax(logits.numpy())

    values: dict[tuple[str, int], list[float]] = defaultdict(list)
    key = hashlib.sha256(f"{stream.identity} positions".encode()).hexdigest()[:32]
    for s, i in drawn_positions(key, block.lengths, 2).tolist():
        tokens = block.tokens[s, : block.lengths[s]].tolist()
        for n in (2, 5):
            near = {j for j in range(len(tokens)) if i - n // 2 <= j <= i + (n - 1) // 2}
            for measure, removed in (("robust", near), ("close", {*range(len(tokens))} - near | {i})):
                tv = 0.5 * np.abs(at(tokens, i, {i}) - at(tokens, i, removed)).sum()
                values[measure, n].append(tv)
    rows = NgramDependence((2, 5), 15, 2).rows(spec, {k: v.astype(np.float64) for k, v in parameters.items()})
    assert [list(row) for row in rows] == [COLUMNS] * 4
    for row in rows:
        expected = values[row["measure"], row["n"]]
        quantiles = np.quantile(expected, (0.5, 0.25, 0.75, 0.05, 0.95)).tolist()
        got = [row[name] for name in ("median", "low", "high", "p5", "p95")]
        assert got == pytest.approx(quantiles, abs=1e-12)
        assert row["mean"] == pytest.approx(np.mean(expected), abs=1e-12)
        assert row["n_pairs"] == len(expected) == 30


# Next-token prediction: what is removed


def causal(task: NextToken = EVERY, **changes: Any) -> tuple[Training, dict[str, NDArray[Any]]]:
    """A random network of next-token prediction."""
    choices = {"n_positions": task.n_inputs, "vocabulary": task.vocabulary, "tied": True, "initial_std": 0.5}
    model = Transformer(3, 2, 4, **(choices | changes))
    spec = Training(task, model, Adam(1e-3), n_steps=1, evaluate_every=1, precision="float64")
    return spec, model.initial(task.n_inputs, task.n_classes, seed=1)


@pytest.mark.parametrize(
    ("n", "i", "robust", "close"),
    [
        # input position j + 1 holds token j, 0 holds [bos], and i, the last one, the token before i
        (3, 5, [4], [0, 1, 2, 3]),  # the n-gram are the tokens 3 and 4, of which 4 is kept
        (4, 5, [3, 4], [0, 1, 2]),
        (5, 5, [2, 3, 4], [0, 1]),
        (6, 5, [1, 2, 3, 4], [0]),  # all the tokens there are: [bos] is none of them
        (99, 5, [1, 2, 3, 4], [0]),
        (2, 5, [], [0, 1, 2, 3, 4]),  # nothing but the token before
        (1, 5, [], [0, 1, 2, 3, 4]),
        (3, 1, [], [0]),
        (3, 0, [], []),  # [bos] is what comes before the first token
        (1, 0, [], []),
    ],
)
def test_a_causal_n_gram_is_what_appendix_e_says(n: int, i: int, robust: list[int], close: list[int]) -> None:
    (found,) = removals(EVERY, sentences([j % 3 for j in range(7)]), np.array([[0, i]]), (n,))
    assert (
        found.tokens.tolist() == [[BOS, *(j % 3 for j in range(i))]] * 3
    )  # nothing shifts, and i is not shown
    np.testing.assert_array_equal(found.at, [[False] * i + [True]] * 3)
    assert found.visible[0].all()
    assert [np.flatnonzero(~row).tolist() for row in found.visible[1:]] == [robust, close]
    (window,) = preceding(n, np.array([i]), length=7)
    assert np.flatnonzero(window).tolist() == [j for j in range(7) if i - n < j < i]


@CAUSAL
def test_positions_are_drawn_among_those_that_the_task_asks_for(
    task: NextToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[NDArray[np.intp]] = []
    monkeypatch.setattr(ngrams, "removals", lambda task, sentences, pairs, n: drawn.append(pairs))
    for n_positions in (2, SOURCE.max_length):
        NgramDependence((3,), 200, n_positions).inputs(task)
    some, everything = ({(s, i) for s, i in pairs.tolist()} for pairs in drawn)
    block = task.stream(0, "probe").originals(0, 200)
    asked = {(s, i) for s, i in np.argwhere(task.asked(block)).tolist() if i < block.lengths[s]}
    assert everything == asked  # never [end], which comes after the last token
    assert some < asked
    counts = np.bincount([s for s, _ in asked])
    assert np.bincount(drawn[0][:, 0]).tolist() == np.minimum(counts, 2).tolist()
    if task is not BOUNDARIES:
        assert counts.tolist() == block.lengths.tolist()


# Next-token prediction: predictors with a known answer


def test_the_exact_dependence_of_mirrored_tokens() -> None:
    """The last token of a triple by counting sentences: certain with the first one, and else one of two."""
    tokens = np.array([[a, 2, a, b, 2, b] for a in (0, 1) for b in (0, 1)])  # equally likely

    def exact(block: Sequences) -> NDArray[np.float64]:
        i = block.tokens.shape[1] - 1
        same = (block.tokens[:, None, 1:] == tokens[:, :i]) | ~block.visible[:, None, 1:]
        left = same.all(axis=2)[:, :, None] * np.eye(4)[tokens[:, i]]
        return np.asarray(left.sum(axis=1) / left.sum(axis=(1, 2))[:, None])

    task = NextToken(MIRRORED, level=2)
    found = measured(exact, (1, 2, 3, 4), task)
    for n in (1, 2, 3, 4):
        np.testing.assert_array_equal(found["robust", n], np.full(120, 0.5 * (n >= 3)))
        np.testing.assert_array_equal(found["close", n], np.full(120, 0.5 * (n <= 2)))


# Next-token prediction: networks


def test_a_causal_network_sees_what_is_left_where_it_stood() -> None:
    """Twin without any hiding: a shorter input of what is left, with the position embeddings of where it stood."""
    spec, parameters = causal(ENDING)
    block = ENDING.stream(0, "probe").originals(0, 8)
    pairs = np.array([[s, int(i)] for s in range(8) for i in (0, 1, 4, block.lengths[s] - 1)])
    sizes = (2, 3, 5)
    values: dict[tuple[str, int], dict[tuple[int, ...], list[float]]] = {}

    def at(s: int, i: int, kept: list[int], places: list[int]) -> NDArray[np.float64]:
        whole = [ENDING.bos_token, *block.tokens[s, :i].tolist()]
        position = {"position.weight": parameters["position.weight"][places]}
        module = replace(spec.model, n_positions=len(kept)).module(parameters | position)  # type: ignore[call-arg]
        with torch.no_grad():
            return softmax(module(torch.tensor([[whole[j] for j in kept]]))[0, -1].numpy())

    for s, i in pairs.tolist():
        everything = list(range(i + 1))  # inputs
        base = at(s, i, everything, everything)
        for n in sizes:
            gram = {j + 1 for j in range(max(0, i - n + 1), i)}
            left = {"robust": sorted({*everything} - gram | {i}), "close": sorted(gram | {i})}
            for measure, kept in left.items():
                p = [at(s, i, kept, places) for places in (kept, everything[: len(kept)])]
                values.setdefault((measure, n), {})[s, i] = [float(total_variation(base, q)) for q in p]
    found = distances(removals(ENDING, block, pairs, sizes), ngrams.network(spec, parameters), sizes)
    order = [tuple(pair) for i in np.unique(pairs[:, 1]) for pair in pairs[pairs[:, 1] == i].tolist()]
    for key, by_pair in values.items():
        expected, shifted = np.array([by_pair[pair] for pair in order]).T
        np.testing.assert_allclose(found[key], expected, rtol=0, atol=1e-12)
        if key != ("robust", 2):
            assert np.abs(shifted - expected).max() > 1e-2  # the control: positions that shift


# One sentence


def test_predictions_are_those_at_the_one_masked_position() -> None:
    spec, parameters = random_network()
    rows = Predictions(sentence=3, position=5).rows(spec, parameters)
    block = VISIBLE.stream(0, "probe").originals(3, 4)
    tokens = block.tokens[0].astype(np.int64)
    tokens[5] = MASK
    with torch.no_grad():
        expected = softmax(spec.model.module(parameters)(torch.tensor(tokens[None]))[0, 5].double().numpy())
    assert [(row["position"], row["token"]) for row in rows] == [(5, token) for token in range(4)]
    np.testing.assert_allclose([row["probability"] for row in rows], expected, atol=1e-6)
    assert Predictions(4, 5).rows(spec, parameters) != rows


# Refused


def pair(sentence: int, position: int) -> Sequences:
    return next(removals(VISIBLE, sentences([0, 1, 2]), np.array([[sentence, position]]), (3,)))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: pair(0, 3), r"position 3 of sentence 0: expected from 0 to 2, its last one"),
        (lambda: pair(0, -1), r"position -1 of sentence 0"),
        (lambda: pair(1, 0), r"sentences \[1\]: expected numbers from 0 to 0"),
        (lambda: pair(-1, 0), r"sentences \[-1\]: expected numbers from 0 to 0"),
        (lambda: measured(lambda block: np.ones((1, 2)), (3,)), r"predictions of shape \(1, 2\): expected"),
    ],
)
def test_what_cannot_be_measured_is_refused(make: Any, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        make()

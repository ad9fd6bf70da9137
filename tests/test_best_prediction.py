"""The best possible predictor: its closed forms by enumeration, its order among predictors, its n-gram dependence."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from itertools import product
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from pdlib import SparseParity, Store, execute
from pdlib.probes.ngrams import NgramDependence, neighborhood, total_variation
from pdlib.specs import EVALUATION_SEED, Sequences, SpecError
from pdlib.tasks.grammar import Grammar, grammar, load_grammar
from pdlib.tasks.masked import MaskedPrediction
from pdlib.theory.best_prediction import BestDependence, BestPrediction, best_prediction, token_frequencies
from pdlib.theory.inside_outside import posterior

LOW = grammar("cfg3b", roots=(10, 11))  # 6 to 9 tokens
UNEVEN = load_grammar(
    {
        "rules": {"9": [[7, 8], [8]], "6": [[7, 7, 7]], "7": [[1]], "8": [[1, 2]]},
        "layers": [[9, 6], [7, 8], [1, 2]],
        "probabilities": {"9": [0.25, 0.75], "6": [1], "7": [1], "8": [1]},
    }
)


def sentences(g: Grammar) -> dict[tuple[int, ...], float]:
    """Every sentence, as places in the terminals, and its probability, by writing out the trees."""

    def below(symbol: int) -> dict[tuple[int, ...], float]:
        if symbol in g.terminals:
            return {(g.terminals.index(symbol),): 1.0}
        found: dict[tuple[int, ...], float] = defaultdict(float)
        for rule in g.rules_of(symbol):
            for parts in product(*(below(s).items() for s in rule.right)):
                tokens = tuple(t for part, _ in parts for t in part)
                found[tokens] += rule.probability * float(np.prod([p for _, p in parts]))
        return found

    total: dict[tuple[int, ...], float] = defaultdict(float)
    for root in g.roots:
        for tokens, p in below(root).items():
            total[tokens] += p / len(g.roots)
    return total


# Frequencies


def test_the_frequencies_of_a_grammar_by_hand() -> None:
    # from 9: 1 1 2 with 1/4 and 1 2 with 3/4; from 6: 1 1 1; so 1.25 and 3 times token 1, once and never token 2
    np.testing.assert_allclose(token_frequencies(UNEVEN), [4.25 / 5.25, 1 / 5.25], rtol=1e-14)


@pytest.mark.parametrize("g", [LOW, UNEVEN, grammar("cfg3h", roots=(10,))], ids=["cfg3b", "uneven", "cfg3h"])
def test_the_frequencies_are_those_of_all_sentences(g: Grammar) -> None:
    counts = np.zeros(g.n_terminals)
    for tokens, p in sentences(g).items():
        counts += p * np.bincount(tokens, minlength=g.n_terminals)
    np.testing.assert_allclose(token_frequencies(g), counts / counts.sum(), rtol=1e-12)


def test_the_frequencies_are_those_of_drawn_sentences() -> None:
    g = grammar("cfg3b")
    drawn = g.sentence_stream("frequencies").sentences(0, 500)
    counted = np.bincount(drawn.tokens[drawn.visible], minlength=3)
    share = counted / counted.sum()
    np.testing.assert_allclose(token_frequencies(g), share, atol=4e-3)
    assert np.abs(token_frequencies(UNEVEN)[0] - share[0]) > 0.1  # the control


# Predictors in their order


@pytest.mark.parametrize("selected", ["visible", "hidden"])
@pytest.mark.parametrize("g", [LOW, grammar("cfg3i", roots=(10,))], ids=["cfg3b", "cfg3i"])
def test_who_knows_more_predicts_better(g: Grammar, selected: Literal["visible", "hidden"]) -> None:
    rows = BestPrediction(MaskedPrediction(g, selected=selected), 2000).rows()
    table = pd.DataFrame(rows).set_index("predictor")
    assert table.index.tolist() == ["posterior", "copy", "unigram"]
    assert table.accuracy["posterior"] > table.accuracy["copy"] > table.accuracy["unigram"]
    assert table.loss_nats["posterior"] < table.loss_nats["copy"] < table.loss_nats["unigram"]


@pytest.mark.parametrize("selected", ["visible", "hidden"])
def test_the_posterior_means_what_it_says(selected: Literal["visible", "hidden"]) -> None:
    """Its loss is its own entropy, and it is right as often as it says; a shyer predictor is not."""
    task = MaskedPrediction(LOW, selected=selected)
    inputs, classes = task.stream(3, "evaluation").examples(0, 4000)
    exact = best_prediction(task, inputs)[:, :3]

    def excess(p: NDArray[np.float64]) -> tuple[float, float]:
        with np.errstate(divide="ignore", invalid="ignore"):
            entropy = -np.nansum(p * np.log(p), axis=1)
        x = -np.log(p[np.arange(len(p)), classes]) - entropy
        return float(x.mean()), float(x.std() / np.sqrt(len(x)))

    mean, error = excess(exact)
    assert abs(mean) < 4 * error
    hits = (exact.argmax(axis=1) == classes) - exact.max(axis=1)
    assert abs(hits.mean()) < 4 * hits.std() / np.sqrt(len(hits))
    mean, error = excess(0.9 * exact + 0.1 / 3)
    assert abs(mean) > 4 * error


@pytest.mark.parametrize("g", [LOW, UNEVEN], ids=["cfg3b", "uneven"])
def test_copying_is_the_posterior_given_what_the_position_itself_shows(g: Grammar) -> None:
    task, n = MaskedPrediction(g), 300
    joint = np.zeros((g.n_terminals, g.n_terminals + 1))  # (original, shown), of a selected position
    for tokens, p in sentences(g).items():
        for t in tokens:
            joint[t, -1] += 0.8 * p
            joint[t, t] += 0.1 * p
            for s in range(g.n_terminals):
                joint[t, s] += 0.1 / g.n_terminals * p
    given = joint / joint.sum(axis=0)
    inputs, classes = task.stream(EVALUATION_SEED, "evaluation").examples(0, n)
    p = given[:, inputs.tokens[inputs.at]].T
    losses = iter(-np.log(p[np.arange(len(p)), classes]))
    of_sentences = [np.mean([next(losses) for _ in range(k)]) for k in inputs.n_targets if k]
    copy, unigram = (r for r in BestPrediction(task, n).rows() if r["predictor"] != "posterior")
    assert copy["accuracy"] == np.mean(p.argmax(axis=1) == classes)
    assert copy["loss_nats"] == pytest.approx(np.mean(of_sentences), rel=1e-12)
    assert unigram["accuracy"] == np.mean(classes == np.argmax(token_frequencies(g)))
    assert unigram["loss_nats"] != pytest.approx(copy["loss_nats"], rel=1e-3)


def test_the_mask_is_never_what_stood_there() -> None:
    task = MaskedPrediction(LOW)
    inputs, _ = task.stream(0, "evaluation").examples(0, 20)
    found = best_prediction(task, inputs)
    assert found.shape == (inputs.n_targets.sum(), task.n_classes)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-12)
    assert (found[:, task.mask_token] == 0).all()


# Dependence on n-grams


def one(
    task: MaskedPrediction, tokens: NDArray[Any], removed: NDArray[np.bool_], i: int
) -> NDArray[np.float64]:
    """The posterior at one position of one sentence, asked of the algorithm itself."""
    hidden = task.selected == "hidden"
    at = removed if hidden else np.arange(len(tokens)) == i
    shown = np.where(removed, task.mask_token, tokens.astype(int))
    rows = posterior(
        LOW,
        shown[None],
        np.array([len(tokens)]),
        at[None],
        mask_rate=task.mask_rate,
        hidden=hidden,
    )
    return np.asarray(rows[int(at[:i].sum())])


@pytest.mark.parametrize("selected", ["visible", "hidden"])
def test_the_dependence_is_that_of_one_sentence_after_the_other(
    selected: Literal["visible", "hidden"],
) -> None:
    task, n_sentences, sizes = MaskedPrediction(LOW, selected=selected), 6, (2, 3)
    probe = NgramDependence(sizes, n_sentences, n_positions=task.n_inputs)  # each position of each sentence
    clean = task.stream(0, "probe").originals(0, n_sentences)
    expected: dict[tuple[str, int], list[float]] = {}
    for tokens, length in zip(clean.tokens, clean.lengths, strict=True):
        for i in range(length):
            alone = np.arange(length) == i
            base = one(task, tokens[:length], alone, i)
            for n in sizes:
                window = neighborhood(n, np.array([i]), length)[0]
                for measure, removed in (("robust", window), ("close", ~window | alone)):
                    distance = total_variation(base, one(task, tokens[:length], removed, i))
                    expected.setdefault((measure, n), []).append(float(distance))
    rows = {(r["measure"], r["n"]): r for r in BestDependence(task, probe).rows()}
    assert rows.keys() == expected.keys()
    for key, values in expected.items():
        assert rows[key]["n_pairs"] == len(values) == clean.lengths.sum()
        assert rows[key]["median"] == pytest.approx(np.median(values), abs=1e-12)
        assert rows[key]["mean"] == pytest.approx(np.mean(values), abs=1e-12)
    assert rows["robust", 3]["mean"] != pytest.approx(rows["close", 3]["mean"], abs=1e-3)


def test_hidden_masks_are_part_of_the_sentence() -> None:
    """Of a sentence all but the first token removed, the length is what tells most."""
    task = MaskedPrediction(LOW, selected="hidden")
    removed = np.arange(8) > 0
    shown = np.where(removed, task.mask_token, 0)[None]
    at = np.arange(8)[None] == 1
    found = best_prediction(task, Sequences(shown, at, ~removed[None]))[0, :3]
    expected = np.zeros(3)
    for tokens, p in sentences(LOW).items():
        if len(tokens) == 8 and tokens[0] == 0:
            expected[tokens[1]] += p
    np.testing.assert_allclose(found, expected / expected.sum(), rtol=1e-12)
    at_its_end = Sequences(shown[:, :6], at[:, :6], ~removed[None, :6])  # of six tokens there is none
    with pytest.raises(SpecError, match="sentence 0 of 6 tokens"):
        best_prediction(task, at_its_end)


# As calculations


def test_they_are_runs_like_any_other(store: Store) -> None:
    task = MaskedPrediction(LOW)
    specs = [BestPrediction(task, 50), BestDependence(task, NgramDependence((3,), 20))]
    first = execute(specs, store, progress=False)
    again = execute(specs, store, progress=False)
    for spec, record, kept in zip(specs, first, again, strict=True):
        pd.testing.assert_frame_equal(record.table, pd.DataFrame(spec.rows()))
        pd.testing.assert_frame_equal(record.table, kept.table)
        assert spec.work > 0
    assert replace(specs[0], n_evaluation=51).fingerprint != specs[0].fingerprint


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BestPrediction(SparseParity(8, 2)), "expected MaskedPrediction"),  # type: ignore[arg-type]
        (lambda: BestPrediction(MaskedPrediction(LOW), 0), "n_evaluation = 0"),
        (lambda: BestDependence(MaskedPrediction(LOW), 3), "probe = 3: expected an NgramDependence"),  # type: ignore[arg-type]
    ],
)
def test_what_has_no_posterior_is_refused(make: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        make()

"""The best possible predictor: its closed forms by enumeration, its order among predictors, its n-gram dependence."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from trees import Tokens, sentences, trees

from pdlib import SparseParity
from pdlib.probes.ngrams import NgramDependence, neighborhood, total_variation
from pdlib.sequences import Sequences
from pdlib.specs import EVALUATION_SEED, Source, SpecError
from pdlib.tasks.grammar import Grammar, grammar, load_grammar
from pdlib.tasks.masked import MaskedPrediction
from pdlib.tasks.next_token import NextToken
from pdlib.tasks.posteriors import posterior
from pdlib.theory.best_prediction import (
    BestDependence,
    BestPrediction,
    best_prediction,
    token_frequencies,
)

LOW = grammar("cfg3b", roots=(10, 11))  # 6 to 9 tokens
UNEVEN = load_grammar(
    {
        "rules": {"9": [[7, 8], [8]], "6": [[7, 7, 7]], "7": [[1]], "8": [[1, 2]]},
        "layers": [[9, 6], [7, 8], [1, 2]],
        "probabilities": {"9": [0.25, 0.75], "6": [1], "7": [1], "8": [1]},
    }
)


# Frequencies


@pytest.mark.parametrize("g", [LOW, UNEVEN, grammar("cfg3h", roots=(10,))], ids=["cfg3b", "uneven", "cfg3h"])
def test_the_frequencies_are_those_of_all_sentences(g: Grammar) -> None:
    counts = np.zeros(g.n_terminals)
    for tokens, p in sentences(g).items():
        counts += p * np.bincount(tokens, minlength=g.n_terminals)
    np.testing.assert_allclose(token_frequencies(g), counts / counts.sum(), rtol=1e-12)


# Predictors in their order


@pytest.mark.parametrize("selected", ["visible", "hidden"])
def test_the_posterior_means_what_it_says(selected: Literal["visible", "hidden"]) -> None:
    """Its loss is its own entropy, and it is right as often as it says; a shyer predictor is not."""
    task = MaskedPrediction(LOW, selected=selected)
    inputs, classes = task.stream(3, "evaluation").examples(0, 4000)
    exact = best_prediction(task, inputs)
    assert exact.shape == (inputs.n_targets.sum(), task.n_classes)
    assert (exact[:, task.mask_token] == 0).all()
    exact = exact[:, :3]
    np.testing.assert_allclose(exact.sum(axis=1), 1, rtol=1e-12)

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
    n_targets = inputs.n_targets[inputs.n_targets > 0]
    copied = given[:, inputs.tokens[inputs.at]].T
    best, copy, unigram = BestPrediction(task, n).rows()
    assert [row["predictor"] for row in (best, copy, unigram)] == ["posterior", "copy", "unigram"]
    for row, p in ((best, best_prediction(task, inputs)), (copy, copied)):
        losses = np.split(-np.log(p[np.arange(len(p)), classes]), np.cumsum(n_targets)[:-1])
        assert row["accuracy"] == np.mean(p.argmax(axis=1) == classes)
        assert row["loss_nats"] == pytest.approx(np.mean([part.mean() for part in losses]), rel=1e-12)
    assert unigram["accuracy"] == np.mean(classes == np.argmax(token_frequencies(g)))
    assert unigram["loss_nats"] != pytest.approx(copy["loss_nats"], rel=1e-3)


# The next token

# Two trees for one row of tokens, with other boundaries: 1 1 1 is 7 8 as well as 8 7
AMBIGUOUS = load_grammar(
    {
        "rules": {"9": [[7, 8], [8, 7], [7, 7, 8]], "7": [[1], [1, 1]], "8": [[1, 1], [1, 2]]},
        "probabilities": {"9": [0.5, 0.3, 0.2], "7": [0.6, 0.4], "8": [0.3, 0.7]},
    }
)
GRAMMARS = pytest.mark.parametrize(
    "g",
    [LOW, UNEVEN, AMBIGUOUS, grammar("cfg3f", roots=13).below((10, 11))],
    ids=["cfg3b", "uneven", "ambiguous", "cfg3f"],
)


def asked(task: NextToken) -> Iterator[tuple[float, Tokens, list[tuple[Tokens, int]]]]:
    """Each tree's probability and tokens, and what is asked for: the tokens before, and the class."""
    for p, tokens, ends in trees(task.source):
        targets = [(tokens[:i], tokens[i]) for i in ends[task.level_from_root]]
        yield p, tokens, targets + ([(tokens, task.end_token)] if task.ends else [])


def counted(
    task: NextToken, n_before: int | None = None, everywhere: bool = False
) -> dict[Tokens, NDArray[Any]]:
    """The distribution of the class, given the last so many tokens before, or all; `everywhere`: at any token."""
    found: dict[Tokens, NDArray[Any]] = defaultdict(lambda: np.zeros(task.n_classes))
    for p, tokens, targets in asked(task):
        if everywhere:
            targets = [(tokens[:i], t) for i, t in enumerate(tokens)]
        for before, t in targets:
            begun = (task.bos_token, *before)
            found[begun if n_before is None else begun[len(begun) - n_before :]][t] += p
    return {context: counts / counts.sum() for context, counts in found.items()}


def tasks_of(g: Grammar) -> list[NextToken]:
    return [NextToken(g, ends=True), *(NextToken(g, level) for level in range(1, g.depth + 2))]


def begun(
    task: NextToken, n: int, stream: str = "evaluation"
) -> tuple[Sequences, NDArray[np.uint8], list[Tokens]]:
    """Examples, and what stands before each target."""
    inputs, classes = task.stream(EVALUATION_SEED, stream).examples(0, n)  # type: ignore[arg-type]
    return inputs, classes, [tuple(inputs.tokens[s, : i + 1].tolist()) for s, i in np.argwhere(inputs.at)]


@GRAMMARS
def test_the_next_token_is_as_likely_as_in_all_trees_written_out(g: Grammar) -> None:
    assert sum(p for p, _, _ in trees(g)) == pytest.approx(1, abs=1e-12)
    for task in tasks_of(g):
        by_hand = counted(task)
        inputs, _, before = begun(task, 150)
        found = best_prediction(task, inputs)
        assert found.shape == (inputs.n_targets.sum(), task.n_classes)
        np.testing.assert_allclose(found, [by_hand[context] for context in before], rtol=0, atol=1e-10)
        assert (found[:, task.bos_token] == 0).all()
    other = counted(
        tasks_of(g)[-1], everywhere=True
    )  # the control: the condition that a span of the level ends
    assert np.abs(found - [other[context] for context in before]).max() > 1e-2


@GRAMMARS
def test_rows_of_the_next_token_are_those_of_distributions_written_out(g: Grammar) -> None:
    n = 120
    for task in tasks_of(g):
        inputs, classes, before = begun(task, n)
        exact, one, none = counted(task), counted(task, 1), counted(task, 0)
        everywhere = counted(task, everywhere=True)
        by_hand = {
            "posterior": [exact[c] for c in before],
            "bigram": [one[c[-1:]] for c in before],
            "unigram": [none[()]] * len(before),
        }
        if task.level > 1:
            by_hand["prefix"] = [everywhere[c] for c in before]
        rows = {row["predictor"]: row for row in BestPrediction(task, n).rows()}
        assert rows.keys() == by_hand.keys()
        for name, p in by_hand.items():
            chosen = np.array(p)[np.arange(len(p)), classes]
            losses = [-np.log(part).mean() for part in np.split(chosen, np.cumsum(inputs.n_targets)[:-1])]
            assert rows[name]["loss_nats"] == pytest.approx(np.mean(losses), abs=1e-10), (name, task)
            if name in ("bigram", "unigram"):  # the others may say that two tokens are equally likely
                assert rows[name]["accuracy"] == np.mean(np.argmax(p, axis=1) == classes)


# Dependence on n-grams


def one(
    task: MaskedPrediction, tokens: NDArray[Any], removed: NDArray[np.bool_], i: int
) -> NDArray[np.float64]:
    """The posterior at one position of one sentence, asked of the algorithm itself."""
    hidden = task.selected == "hidden"
    at = removed if hidden else np.arange(len(tokens)) == i
    shown = np.where(removed, task.mask_token, tokens.astype(int))
    rows = posterior(
        LOW, shown[None], np.array([len(tokens)]), at[None], mask_rate=task.mask_rate, hidden=hidden
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


class Words(Source):
    """Tokens without a grammar."""

    n_tokens, max_length = 3, 4


def shown(*tokens: int, at: int = -1, hidden: int | None = None) -> Sequences:
    """One input of next-token prediction in LOW, asked at one position."""
    x = np.array([[3, *tokens]])
    asked, visible = np.zeros(x.shape, bool), np.ones(x.shape, bool)
    asked[0, at] = True
    if hidden is not None:
        visible[0, hidden] = False
    return Sequences(x, asked, visible)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BestPrediction(SparseParity(8, 2)), "expected a MaskedPrediction or a NextToken"),
        (lambda: BestPrediction(NextToken(Words())), r"source Words.*: expected a Grammar"),
        (
            lambda: BestDependence(NextToken(LOW), NgramDependence()),  # type: ignore[arg-type]
            r"task = NextToken.*: expected a MaskedPrediction",
        ),
        (
            lambda: best_prediction(NextToken(LOW), shown(0, 1, hidden=1)),
            "input 1 of sentence 0, which is hidden: expected all",
        ),
        (
            lambda: best_prediction(NextToken(LOW, 2), shown(0, 0, 0, 0)),
            "expected the beginning of a sentence of the grammar",
        ),
        (
            lambda: best_prediction(NextToken(LOW, 2), shown(at=0)),
            "a target at input 0 of sentence 0: expected one where a span of the level can end",
        ),
        (lambda: BestPrediction(MaskedPrediction(LOW), 0), "n_evaluation = 0"),
        (lambda: BestDependence(MaskedPrediction(LOW), 3), "probe = 3: expected an NgramDependence"),  # type: ignore[arg-type]
    ],
)
def test_what_has_no_posterior_is_refused(make: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        make()

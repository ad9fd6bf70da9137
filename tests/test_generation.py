"""Texts of networks are judged by the grammar: its own sentences are right, those of chance as rarely as counted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tiny
from numpy.typing import NDArray
from trees import sentences

from pdlib.models.transformer import Transformer, gpt2
from pdlib.optimizers import SGD
from pdlib.probes.generation import Generation, judged
from pdlib.specs import Parameters, Source, SpecError, Training
from pdlib.tasks.grammar import Grammar, SentenceStream, grammar, load_grammar
from pdlib.tasks.next_token import NextToken

SMALL = load_grammar(
    {"rules": {"9": [[7, 8], [8], [8, 7]], "7": [[6], [5, 6]], "8": [[5], [6, 6]], "6": [[1]], "5": [[2]]}}
)
Texts = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]


def training(source: Source = SMALL, **changes: Any) -> Training:
    task = NextToken(source, ends=True)
    model = gpt2(1, 1, vocabulary=task.vocabulary, n_positions=task.n_inputs)
    base = Training(task, model, SGD(0.1), n_steps=1, evaluate_every=1)
    return replace(base, **changes)


def parameters_of(spec: Training) -> Parameters:
    return spec.model.initial(spec.task.n_inputs, spec.task.n_classes, seed=0)


def replayed(g: Grammar, n: int, max_length: int, key: str = "replayed") -> Texts:
    block = SentenceStream(g, key).sentences(0, n)
    tokens = np.zeros((n, max_length), np.int64)
    tokens[:, : block.tokens.shape[1]] = block.tokens
    return tokens, block.lengths, np.ones(n, bool)


# Texts with known answers


@pytest.mark.parametrize("source", [SMALL, grammar("cfg3f", roots=(16,))])
def test_a_network_that_writes_sentences_of_the_grammar_is_always_right(
    source: Grammar, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens, lengths, ended = replayed(source, 60, source.max_length)
    asked: dict[str, Any] = {}

    def generate(self: Transformer, parameters: Parameters, n: int, **keywords: Any) -> Texts:
        asked.update(keywords, n=n)
        return tokens, lengths, ended

    monkeypatch.setattr(Transformer, "generate", generate)
    (row,) = Generation(60, seed=5).rows(training(source), {})
    assert row == judged(source, tokens, lengths, ended)
    assert (row["accepted"], row["prefix_share"], row["ended"]) == (1, 1, 1)
    v, longest = source.n_terminals, source.max_length
    assert asked == {"n": 60, "beginning": v, "end": v + 1, "max_length": longest, "seed": 5}


def test_rows_are_counted_by_hand() -> None:
    low = grammar("cfg3b", roots=7)  # 2 0 | 0 1 2
    bos = 3
    texts = [
        ([2, 0], True),
        ([0, 1, 2], True),
        ([0, 1, 2], True),
        ([0, 1, 2], False),
        ([0, 1, 0], True),
        ([2, bos, 0], True),
        ([], True),
        ([1, 2, 0], False),
    ]
    lengths = np.array([len(x) for x, _ in texts])
    tokens = np.full((8, 4), 77)  # nobody looks beyond the end
    for s, (x, _) in enumerate(texts):
        tokens[s, : len(x)] = x
    assert judged(low, tokens, lengths, np.array([e for _, e in texts])) == pytest.approx(
        {
            "accepted": 3 / 8,
            "distinct": 2 / 8,
            "longest_prefix": (2 + 3 + 3 + 3 + 2 + 1 + 0 + 0) / 8,
            "prefix_share": (1 + 1 + 1 + 1 + 2 / 3 + 1 / 3 + 0 + 0) / 8,
            "mean_length": 20 / 8,
            "ended": 6 / 8,
            "n_samples": 8,
        }
    )


# Networks


def test_a_network_that_writes_anything_is_right_by_chance_alone() -> None:
    """Zero weights make all tokens equally likely, [bos] and [end] among them."""
    spec = training()
    silent = {name: np.zeros_like(values) for name, values in parameters_of(spec).items()}
    n, w = 20_000, SMALL.n_terminals + 2
    (row,) = Generation(n).rows(spec, silent)
    known = sentences(SMALL)
    assert len(known) > 5
    beginnings = {x[:i] for x in known for i in range(1, len(x) + 1)}
    accepted = sum(w ** -(len(x) + 1.0) for x in known)
    longest_prefix = sum(w ** -float(len(x)) for x in beginnings)
    going_on = (1 - 1 / w) ** np.arange(1, SMALL.max_length + 2)  # i tokens without [end]
    assert abs(row["accepted"] - accepted) < 4 * (accepted / n) ** 0.5
    error = 0.5 / n**0.5  # largest standard error of a mean of numbers in [0, 1]
    assert row["longest_prefix"] == pytest.approx(longest_prefix, abs=4 * error * SMALL.max_length)
    assert row["mean_length"] == pytest.approx(going_on[:-1].sum(), abs=4 * error * SMALL.max_length)
    assert row["ended"] == pytest.approx(1 - going_on[-1], abs=4 * error)
    assert row["accepted"] > 0.01
    assert row["distinct"] == len(known) / n  # each of them was written


def test_a_networks_texts_are_a_function_of_the_seed_and_leave_its_parameters_alone() -> None:
    spec = training()
    parameters = {k: v.astype(np.float32) for k, v in parameters_of(spec).items()}
    before = {k: v.copy() for k, v in parameters.items()}
    first = Generation(200).rows(spec, parameters)
    tiny.assert_same_parameters(parameters, before)
    assert Generation(200).rows(spec, parameters) == first
    assert Generation(200, seed=1).rows(spec, parameters) != first
    texts = spec.model.generate(  # type: ignore[attr-defined]
        parameters, 200, beginning=2, end=3, max_length=SMALL.max_length, seed=0
    )
    assert first == [judged(SMALL, *texts)]


# Refused


def test_nothing_can_be_said_of_no_texts_or_texts_that_may_or_may_not_end() -> None:
    tokens, lengths, ended = replayed(SMALL, 3, SMALL.max_length)
    with pytest.raises(SpecError, match="no texts: expected at least one"):
        judged(SMALL, tokens[:0], lengths[:0], ended[:0])
    for wrong in (ended[:2], ended.astype(int)):
        with pytest.raises(SpecError, match=r"ended of shape .*: expected 3 truth values"):
            judged(SMALL, tokens, lengths, wrong)

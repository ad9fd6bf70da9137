"""Reference predictors of text: by enumeration and by plain loops, and in the order of what they know."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from scipy.sparse import csr_array

from pdlib import Store, execute
from pdlib.specs import EVALUATION_SEED, Spec, SpecError
from pdlib.tasks.grammar import grammar
from pdlib.tasks.masked import MaskedPrediction
from pdlib.text import corpus as corpus_module
from pdlib.text.corpus import Corpus, discounted
from pdlib.text.references import NOTHING, Prior, TextReferences, bigram_of, predicted
from pdlib.text.wordpiece import MARKS

WORDS = [f"{a}{b}" for a in "abc" for b in "aeiou"]  # 15
LENGTH, D = 12, 0.75


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own; and URIs are relative, since they are part of what decides random numbers."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PDLIB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def task(tmp_path: Path) -> MaskedPrediction:
    """Text in which a word says much about the next; two words occur in no document."""
    rng = np.random.default_rng(0)
    table = rng.dirichlet(np.full(13, 0.2), size=13)
    texts = []
    for _ in range(60):
        word, found = int(rng.integers(13)), []
        for _ in range(40):
            found.append(WORDS[word])
            word = int(rng.choice(13, p=table[word]))
        texts.append(" ".join(found))
    (tmp_path / "text.txt").write_text("\n\n".join(texts) + "\n")
    (tmp_path / "vocab.txt").write_text("\n".join([*MARKS, *WORDS]) + "\n")
    corpus = Corpus.prepare("text:text.txt", "file:vocab.txt", LENGTH, 4)
    return MaskedPrediction(corpus, mask_rate=0.3)


def text_of(task: MaskedPrediction) -> Corpus:
    assert isinstance(task.source, Corpus)
    return task.source


def frequencies(task: MaskedPrediction) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Discounted frequencies by plain loops: of tokens, and of tokens by their left neighbor, (left, token)."""
    corpus = text_of(task)
    n = corpus.n_tokens
    single, pairs = np.zeros(n), np.zeros((n, n))
    for row in corpus.sequences("train").tolist():
        for left, token in pairwise(row):
            single[token] += 1
            pairs[left, token] += 1
    ordinary = np.array([t for t in range(n) if t not in corpus.special_tokens])
    q = np.maximum(single - D, 0) / single.sum()
    q[ordinary] += D * (single > 0).sum() / single.sum() / len(ordinary)
    by_left = np.tile(q, (n, 1))
    for left in range(n):
        if pairs[left].sum():
            freed = D * (pairs[left] > 0).sum() / pairs[left].sum()
            by_left[left] = np.maximum(pairs[left] - D, 0) / pairs[left].sum() + freed * q
    return q, by_left


def by_hand(task: MaskedPrediction, n: int) -> dict[str, tuple[float, float]]:
    """Accuracy and loss, target by target, with whole distributions."""
    q, by_left = frequencies(task)
    inputs, classes = task.stream(EVALUATION_SEED, "evaluation").examples(0, n)
    n_ordinary = len(task.ordinary_tokens)
    found: dict[str, tuple[float, float]] = {}
    for name in ("unigram", "copy", "bigram"):
        done, hits, losses = 0, [], []
        for i in range(n):
            of_sequence = []
            for j in np.flatnonzero(inputs.at[i]):
                left, shown = inputs.tokens[i, j - 1], inputs.tokens[i, j]
                gone = left == task.mask_token or (task.selected == "hidden" and inputs.at[i, j - 1])
                p = q if name != "bigram" or gone else by_left[left]
                if name != "unigram" and shown != task.mask_token:
                    evidence = np.full(len(q), 0.1 / n_ordinary)
                    evidence[shown] += 0.1
                    p = p * evidence
                p = p / p.sum()
                hits.append(p.argmax() == classes[done])
                of_sequence.append(-np.log(p[classes[done]]))
                done += 1
            if of_sequence:
                losses.append(np.mean(of_sequence))
        found[name] = (float(np.mean(hits)), float(np.mean(losses)))
    return found


@pytest.mark.parametrize("selected", ["visible", "hidden"])
def test_the_predictors_are_those_of_plain_loops(
    task: MaskedPrediction, selected: Literal["visible", "hidden"]
) -> None:
    task = replace(task, selected=selected)
    rows = {row["predictor"]: row for row in TextReferences(task, 40).rows()}
    expected = by_hand(task, 40)
    assert list(rows) == list(expected)
    for name, (accuracy, loss) in expected.items():
        assert rows[name]["accuracy"] == accuracy
        assert rows[name]["loss_nats"] == pytest.approx(loss, rel=1e-12)
        assert rows[name]["n_targets"] == task.stream(0, "evaluation").examples(0, 40)[0].at.sum()
    assert rows["bigram"]["loss_nats"] < rows["copy"]["loss_nats"] < rows["unigram"]["loss_nats"]
    assert rows["bigram"]["accuracy"] > rows["copy"]["accuracy"] > rows["unigram"]["accuracy"]
    other = by_hand(replace(task, mask_rate=0.5), 40)  # the comparison can tell
    assert other["copy"][1] != pytest.approx(expected["copy"][1], rel=1e-6)


def test_priors_are_distributions_over_ordinary_tokens(task: MaskedPrediction) -> None:
    bigram, corpus = bigram_of(text_of(task)), text_of(task)
    q, by_left = frequencies(task)
    np.testing.assert_allclose(bigram.frequency, q, rtol=1e-12)
    tokens = np.arange(corpus.n_tokens)
    for left in [*tokens, NOTHING]:
        p = bigram.probability(np.full(len(tokens), left), tokens)
        np.testing.assert_allclose(p, q if left == NOTHING else by_left[left], rtol=1e-12)
        assert p.sum() == pytest.approx(1.0)
        assert (p[list(corpus.special_tokens)] == 0).all()
        assert (p[task.ordinary_tokens] > 0).all()  # words that never occurred, too
        assert bigram.best(np.array([left])) == p.argmax()


def test_pairs_counted_some_at_a_time_are_the_same(
    task: MaskedPrediction, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = TextReferences(task, 40).rows()
    monkeypatch.setattr(corpus_module, "TOKENS_AT_ONCE", 3 * LENGTH)
    assert TextReferences(task, 40).rows() == whole


@given(
    arrays.arrays(np.int64, (6, 6), elements=st.integers(0, 3)),
    arrays.arrays(np.int64, 6, elements=st.integers(0, 5)),
)
def test_posterior_and_best_token_are_those_of_whole_distributions(
    pairs: NDArray[np.int64], counts: NDArray[np.int64]
) -> None:
    if not counts.any():
        return
    prior = Prior(discounted(counts, np.arange(6)), csr_array(pairs))
    left, shown = np.repeat(np.arange(6), 6), np.tile(np.arange(6), 6)
    p = prior.probability(left, shown).reshape(6, 6)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-12)
    whole = (p[:, None, :] * (0.1 * np.eye(6) + 0.1 / 6)).reshape(36, 6)  # (left and shown, token)
    whole /= whole.sum(axis=1, keepdims=True)
    for token in range(6):
        found, top = predicted(prior, left, shown, np.full(36, token), 99, 6)
        np.testing.assert_allclose(found, whole[:, token], rtol=1e-12)
        np.testing.assert_allclose(whole[np.arange(36), top], whole.max(axis=1), rtol=1e-12)


# What is known of the neighbor


def test_copying_is_the_posterior_given_what_the_position_itself_shows() -> None:
    """By enumeration of what may have been drawn, and shown."""
    prior = Prior(discounted(np.array([5, 3, 0, 2]), np.array([0, 1, 3])))  # token 2 is [mask]
    joint = np.zeros((4, 4))  # (original, shown)
    for t, p in enumerate(prior.frequency):
        joint[t, 2] += 0.8 * p
        joint[t, t] += 0.1 * p
        for s in (0, 1, 3):
            joint[t, s] += 0.1 / 3 * p
    given_shown = joint / joint.sum(axis=0)
    shown, classes = np.repeat(np.arange(4), 3), np.tile([0, 1, 3], 4)
    found, best = predicted(prior, np.full(12, NOTHING), shown, classes, 2, 3)
    np.testing.assert_allclose(found, given_shown[classes, shown], rtol=1e-12)
    assert best.tolist() == given_shown[:, shown].argmax(axis=0).tolist()


# As a calculation


def test_it_is_a_run_like_any_other(task: MaskedPrediction, store: Store) -> None:
    spec = TextReferences(task, 30)
    (first,) = execute([spec], store, progress=False)
    (again,) = execute([spec], store, progress=False)
    pd.testing.assert_frame_equal(first.table, pd.DataFrame(spec.rows()))
    pd.testing.assert_frame_equal(first.table, again.table)
    assert again.source == "local"
    assert spec.work > 0
    assert Spec.from_canonical(json.loads(json.dumps(spec.canonical()))) == spec


def test_what_has_no_text_is_refused(task: MaskedPrediction) -> None:
    other: Any = MaskedPrediction(grammar("cfg3b", roots=(10,)))
    with pytest.raises(SpecError, match="expected a Corpus, whose tokens are counted"):
        TextReferences(other)
    with pytest.raises(SpecError, match="n_evaluation = 0"):
        TextReferences(task, 0)
    with pytest.raises(SpecError, match="held-out sequences: expected at most"):
        TextReferences(task, 10_000).rows()

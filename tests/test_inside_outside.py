"""Exact posteriors are those of the enumerated grammar, of the enumerated corruption, and of plain sums in logs."""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache
from itertools import pairwise, product

import numpy as np
import pytest
import tiny
import torch
from numpy.typing import NDArray
from trees import sentences, trees

from pdlib.specs import SpecError
from pdlib.tasks import posteriors
from pdlib.tasks.grammar import Grammar, Rule, SentenceStream, grammar
from pdlib.tasks.posteriors import boundary_posterior, grammatical, posterior, prefix_posterior

EXACT = {"rtol": 0, "atol": 1e-10}
SEEDS = range(6)


# Small grammars, and all their trees


@lru_cache
def small(seed: int) -> Grammar:
    """Right sides of one to three symbols, some of them shared by symbols of a layer; uneven probabilities."""
    rng = np.random.default_rng([2005, seed])
    while True:
        n_terminals = 2 + seed % 2
        layers = [(30, 31)[: 1 + seed % 2], (20, 21), (10, 11), tuple(range(1, n_terminals + 1))]
        if seed % 3 == 0:
            del layers[2]
        rules = []
        for above, below in pairwise(layers):
            shared = tuple(int(s) for s in rng.choice(below, 2))
            for symbol in above:
                sides = {shared} | {
                    tuple(int(s) for s in rng.choice(below, size)) for size in rng.permutation([1, 2, 3])[:2]
                }
                weights = rng.dirichlet(np.full(len(sides), 2.0))
                rules += [
                    Rule(symbol, side, float(p)) for side, p in zip(sorted(sides), weights, strict=True)
                ]
        try:
            found = Grammar(tuple(layers), tuple(rules))
        except SpecError:  # a symbol that nothing leads to
            continue
        if 20 <= found.n_derivations() <= 20_000:
            return found


def padded(rows: list[tuple[int, ...]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    lengths = np.array([len(row) for row in rows])
    tokens = np.full((len(rows), max(lengths)), 99)  # nobody looks beyond the end
    for i, row in enumerate(rows):
        tokens[i, : len(row)] = row
    return tokens, lengths


def corrupted(
    tokens: NDArray[np.integer], lengths: NDArray[np.integer], rate: float, n: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    at = (rng.random(tokens.shape) < rate) & (np.arange(tokens.shape[1]) < lengths[:, None])
    u = rng.random(tokens.shape)
    noise = rng.integers(n, size=tokens.shape)
    return np.where(at & (u < 0.8), n, np.where(at & (u < 0.9), noise, tokens.astype(np.int64))), at


def by_enumeration(g: Grammar, z: list[int], at: list[int], rate: float, hidden: bool) -> NDArray[np.float64]:
    """The posterior by its definition: a sum over trees of this length."""
    n = g.n_terminals
    rows = np.zeros((len(at), n))
    for tokens, p in sentences(g).items():
        if len(tokens) != len(z):
            continue
        for row, i in enumerate(at):
            weight = p
            for j, (s, t) in enumerate(zip(z, tokens, strict=True)):
                if s == n or (hidden and j in at and j != i):
                    continue
                selected = 1.0 if j == i else 0.0 if hidden else rate
                weight *= (1 - selected) * (s == t) + selected * (0.1 * (s == t) + 0.1 / n)
            rows[row, tokens[i]] += weight
    return rows / rows.sum(axis=1, keepdims=True)


# Posteriors of masked sentences


def some_inputs(seed: int, count: int = 12) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    g, rng = small(seed), np.random.default_rng(seed)
    probability = sentences(small(seed))
    rows = list(probability)
    chosen = rng.choice(len(rows), count, p=np.array(list(probability.values())))
    tokens, lengths = padded([rows[i] for i in chosen])
    z, at = corrupted(tokens, lengths, 0.4, g.n_terminals, rng)
    return z, lengths, at


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_posterior_is_that_of_all_trees(seed: int, hidden: bool) -> None:
    g = small(seed)
    z, lengths, at = some_inputs(seed)
    got = posterior(g, z, lengths, at, mask_rate=0.25, hidden=hidden)
    expected = [
        by_enumeration(g, z[s, : lengths[s]].tolist(), np.flatnonzero(at[s]).tolist(), 0.25, hidden)
        for s in np.flatnonzero(at.any(axis=1))
    ]
    np.testing.assert_allclose(got, np.concatenate(expected), **EXACT)
    np.testing.assert_allclose(got.sum(axis=1), 1, **EXACT)
    assert len(got) == at.sum()


@pytest.mark.parametrize("rate", [0.0, 1e-100, 1.0])
def test_any_mask_rate_is_allowed(rate: float) -> None:
    g = small(1)
    z, lengths, at = some_inputs(1)
    for s in np.flatnonzero(at.any(axis=1)):
        with np.errstate(invalid="ignore"):
            expected = by_enumeration(
                g, z[s, : lengths[s]].tolist(), np.flatnonzero(at[s]).tolist(), rate, False
            )
        one = slice(s, s + 1)
        if np.isfinite(expected).all():
            got = posterior(g, z[one], lengths[one], at[one], mask_rate=rate)
            np.testing.assert_allclose(got, expected, **EXACT)
        else:  # at 0 a replaced token elsewhere may leave nothing that the sentence can have been
            with pytest.raises(SpecError, match="expected what the grammar can produce with mask_rate = 0"):
                posterior(g, z[one], lengths[one], at[one], mask_rate=rate)


@pytest.mark.parametrize("hidden", [False, True])
def test_the_posterior_is_that_of_the_enumerated_corruption(hidden: bool) -> None:
    """Every selection and everything each selected position may come to show, drawn out; then conditioned."""
    g, rate = small(0), 0.3
    n = g.n_terminals
    short = {x: p for x, p in sentences(small(0)).items() if len(x) == 3}
    assert len(short) > 2
    joint: dict[tuple[object, int], NDArray[np.float64]] = defaultdict(lambda: np.zeros(n))
    ways = [(False, None, 1 - rate), (True, n, rate * 0.8), (True, None, rate * 0.1)]
    ways += [(True, t, rate * 0.1 / n) for t in range(n)]
    for x, p in short.items():
        for outcome in product(ways, repeat=3):
            weight = p * np.prod([w for _, _, w in outcome])
            selected = tuple(sel for sel, _, _ in outcome)
            z = tuple(t if new is None else new for t, (_, new, _) in zip(x, outcome, strict=True))
            for i in np.flatnonzero(selected).tolist():
                seen: object = z
                if hidden:  # one's own token, and those that were not selected
                    seen = (selected, tuple(-1 if sel and j != i else z[j] for j, sel in enumerate(selected)))
                joint[seen, i][x[i]] += weight
    shown, places, expected = [], [], []
    for (seen, i), weights in joint.items():
        z = seen[1] if hidden else seen
        selected = seen[0] if hidden else tuple(j == i for j in range(3))
        shown.append([n if s == -1 else s for s in z])
        places.append((i, selected))
        expected.append(weights / weights.sum())
    at = np.array([selected for _, selected in places])
    got = posterior(g, np.array(shown), np.full(len(at), 3), at, mask_rate=rate, hidden=hidden)
    of_i = [i for i, _ in places]
    row = np.cumsum(at).reshape(at.shape)[np.arange(len(at)), of_i] - 1
    np.testing.assert_allclose(got[row], expected, **EXACT)


def test_a_block_says_what_its_sentences_say_alone() -> None:
    g = grammar("cfg3b", roots=(14, 15))
    block = SentenceStream(g, "alone or not").sentences(0, posteriors.SENTENCES_AT_ONCE + 20)
    z, at = corrupted(block.tokens, block.lengths, 0.3, 3, np.random.default_rng(0))
    whole = posterior(g, z, block.lengths, at, mask_rate=0.3)
    starts = np.concatenate(([0], np.cumsum(at.sum(axis=1))))
    for s in (0, 255, 256, 275):
        n = block.lengths[s]
        alone = posterior(g, z[s : s + 1, :n], block.lengths[s : s + 1], at[s : s + 1, :n], mask_rate=0.3)
        np.testing.assert_array_equal(whole[starts[s] : starts[s + 1]], alone)
    nobody = np.zeros_like(at)
    assert posterior(g, z, block.lengths, nobody, mask_rate=0.3).shape == (0, 3)


# Another route for sentences too long to enumerate: sums in logs over dense tables, and their derivative


def token_posteriors(g: Grammar, evidence: NDArray[np.float64]) -> NDArray[np.float64]:
    """Posteriors of all tokens: the derivative of the log of the whole sentence's weight by the log evidence."""
    logs = torch.tensor(np.log(evidence), requires_grad=True)  # (position, terminal)
    n = len(logs)
    table = {}  # symbol -> (start, end)
    for t, symbol in enumerate(g.terminals):
        table[symbol] = torch.diag_embed(logs[:, t], offset=1) + torch.full((n + 1, n + 1), -1e9).double() * (
            1 - torch.diag_embed(torch.ones(n).double(), offset=1)
        )
    for layer in reversed(g.layers[:-1]):
        for symbol in layer:
            terms = []
            for rule in g.rules_of(symbol):
                found = table[rule.right[0]]
                for part in rule.right[1:]:
                    found = torch.logsumexp(found[:, :, None] + table[part][None], dim=1)
                terms.append(found + np.log(rule.probability))
            table[symbol] = torch.logsumexp(torch.stack(terms), dim=0)
    torch.logsumexp(torch.stack([table[root][0, n] for root in g.roots]), dim=0).backward()
    assert logs.grad is not None
    return logs.grad.numpy()


@pytest.mark.parametrize(
    ("name", "rate", "own"),
    [
        ("cfg3b", 0.3, True),
        ("cfg3f", 0.3, True),
        ("cfg3b", 0.05, False),
        ("cfg3b", 1e-60, False),
        ("cfg3b", 1e-150, False),
    ],
)
def test_scaled_sums_equal_sums_in_logs(name: str, rate: float, own: bool) -> None:
    """Also for noise that is no sentence of the grammar: at the last rates its weight is below any float64."""
    g = grammar(name, roots=16)
    block = SentenceStream(g, "in logs").sentences(0, 1)
    n, rng = int(block.lengths[0]), np.random.default_rng(7)
    tokens = block.tokens if own else rng.integers(3, size=block.tokens.shape)
    z, at = corrupted(tokens, block.lengths, 0.3, 3, rng)
    same = z[0, :, None] == np.arange(3)
    noisy = 0.1 * same + 0.1 / 3
    evidence = np.where(z[0, :, None] == 3, 1.0, (1 - rate) * same + rate * noisy)
    expected = token_posteriors(g, evidence) * np.where(z[0, :, None] == 3, 1.0, noisy) / evidence
    expected = (expected / expected.sum(axis=1, keepdims=True))[at[0]]
    got = posterior(g, z, np.array([n]), at, mask_rate=rate)
    np.testing.assert_allclose(got, expected, **EXACT)


def test_tokens_of_small_probability_stay_in_range() -> None:
    """729 tokens of a vocabulary of 100: the probability is far below any float64, and known."""
    terminals = tuple(range(100))
    layers = (*((1000 + level,) for level in range(6)), terminals)
    threes = [Rule(1000 + level, (1001 + level,) * 3, 1.0) for level in range(5)]
    last = [Rule(1005, (a, b, c), 1 / 100) for a in terminals for b, c in [((a + 1) % 100, (a + 2) % 100)]]
    g = Grammar(layers, (*threes, *last))
    block = SentenceStream(g, "many").sentences(0, 1)
    assert block.lengths.tolist() == [729]
    np.testing.assert_allclose(
        tiny.likelihood(g, block.tokens, block.lengths), -243 * np.log(100), rtol=1e-12
    )
    follow = prefix_posterior(g, block.tokens, block.lengths)
    np.testing.assert_allclose(follow.sum(axis=2), 1, **EXACT)
    np.testing.assert_allclose(follow[0, 0:729:3, :100], 0.01, **EXACT)
    z = np.full((1, 729), 100)
    z[0, ::3] = block.tokens[0, ::3]
    got = posterior(g, z, block.lengths, z == 100, mask_rate=0.3, hidden=True)
    np.testing.assert_allclose(got[np.arange(486), block.tokens[z == 100]], 1, **EXACT)


# Clean sentences


@pytest.mark.parametrize("seed", SEEDS)
def test_the_likelihood_sums_over_all_trees(seed: int) -> None:
    g, known = small(seed), sentences(small(seed))
    n_trees = [sum(tokens == x for _, tokens, _ in trees(g)) for x in list(known)[:20]]
    assert max(n_trees) > 1, "an ambiguous sentence among them"
    every = [x for n in range(1, 6) for x in product(range(g.n_terminals), repeat=n)]
    tokens, lengths = padded(every)
    got = np.exp(tiny.likelihood(g, tokens, lengths))
    np.testing.assert_allclose(got, [known.get(x, 0.0) for x in every], **EXACT)
    np.testing.assert_array_equal(grammatical(g, tokens, lengths)[1], [x in known for x in every])
    assert {x in known for x in every} == {True, False}


@pytest.mark.parametrize("seed", SEEDS)
def test_what_follows_a_prefix_and_what_ends_a_span_is_what_does_so_in_all_trees(seed: int) -> None:
    g = small(seed)
    n, known = g.n_terminals, sorted(sentences(g))
    chosen = known[:: max(1, len(known) // 12)]
    chosen += [x[:2] for x in chosen if len(x) > 2]  # only the beginning of a sentence
    tokens, lengths = padded(chosen)
    for level in range(-1, g.depth + 1):  # -1: any token, and the end
        weights: dict[tuple[int, ...], NDArray[np.float64]] = defaultdict(lambda: np.zeros(n + 1))
        for p, x, ends in trees(g):
            for i in range(len(x) + 1) if level < 0 else ends[level]:
                weights[x[:i]][x[i] if i < len(x) else n] += p
        more = level < 0
        found = (
            prefix_posterior(g, tokens, lengths) if more else boundary_posterior(g, tokens, lengths, level)
        )
        assert found.shape == (len(chosen), tokens.shape[1] + more, n + more)
        for s, x in enumerate(chosen):
            for i in range(len(x) + more):
                w = weights[x[:i]][: n + more]
                expected = w / w.sum() if w.any() else np.full(len(w), np.nan)  # where no span can end
                np.testing.assert_allclose(found[s, i], expected, **EXACT)
            assert np.isnan(found[s, len(x) + more :]).all()


@pytest.mark.parametrize("name", ["cfg3b", "cfg3f"])
def test_the_likelihood_is_the_product_of_the_next_token_posteriors(name: str) -> None:
    g = grammar(name)
    block = SentenceStream(g, "products").sentences(0, 3)
    follow = prefix_posterior(g, block.tokens, block.lengths)
    for s, n in enumerate(block.lengths.tolist()):
        rows = follow[s, : n + 1]
        np.testing.assert_allclose(rows.sum(axis=1), 1, **EXACT)
        taken = rows[np.arange(n + 1), [*block.tokens[s, :n].tolist(), 3]]
        total = np.log(taken).sum()
        np.testing.assert_allclose(
            total, tiny.likelihood(g, block.tokens[s : s + 1], block.lengths[s : s + 1])[0], rtol=1e-11
        )
        without_end = np.log(taken[:-1]).sum()
        assert name == "cfg3b" or without_end > total + 1e-3  # the end counts


# What is grammatical, and how far


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_grammatical_is_the_longest_beginning_of_any_sentence(seed: int) -> None:
    """Of all short texts, those with numbers that are no tokens among them, and of long ones drawn at random."""
    g, rng = small(seed), np.random.default_rng(seed)
    known = sentences(small(seed))
    beginnings = {x[:i] for x in known for i in range(len(x) + 1)}
    texts = [x for n in range(5) for x in product(range(-1, g.n_terminals + 1), repeat=n)]
    for x in list(known)[::7]:  # sentences with more behind them, also more than any sentence has
        texts += [x, (*x, *rng.integers(g.n_terminals, size=g.max_length + 1).tolist())]
    got, whole = grammatical(g, *padded(texts))
    assert got.dtype == np.int64
    expected = [max(i for i in range(len(x) + 1) if x[:i] in beginnings) for x in texts]
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(whole, [x in known for x in texts])
    assert len(set(expected)) > 4
    assert expected[0] == 0 == len(texts[0])


def test_what_goes_on_behind_the_longest_sentence_is_not_grammatical() -> None:
    g = grammar("cfg3f")

    def longest(symbol: int) -> tuple[int, ...]:
        if symbol in g.terminals:
            return (g.terminals.index(symbol),)
        rule = max(g.rules_of(symbol), key=lambda rule: len(rule.right))
        return tuple(t for s in rule.right for t in longest(s))

    n, x = g.max_length, longest(g.roots[0])
    assert len(x) == n == 729
    got, whole = grammatical(g, np.array([(*x, 0, 0)] * 4), np.arange(n - 1, n + 3))
    assert got.tolist() == [n - 1, n, n, n]
    assert whole.tolist() == [False, True, False, False]


@pytest.mark.parametrize(
    ("name", "at_least", "count"), [("cfg3f", 250, 6), ("cfg3f", 420, 2), ("cfg3b", 250, 3)]
)
def test_broken_sentences_are_grammatical_up_to_where_the_exact_next_token_is_impossible(
    name: str, at_least: int, count: int
) -> None:
    """Far beyond the range of float64: such a sentence has a probability of about exp(-200)."""
    g, rng = grammar(name), np.random.default_rng(1)
    block = SentenceStream(g, "broken").sentences(0, 300)
    chosen = np.flatnonzero(block.lengths >= at_least)[:count]
    tokens, lengths = block.tokens[chosen].astype(np.int64), block.lengths[chosen]
    where = np.arange(len(tokens)), rng.integers(lengths)
    tokens[where] = (tokens[where] + rng.integers(1, 3, len(tokens))) % 3
    got, whole = grammatical(g, tokens, lengths)
    assert (got >= where[1]).all()
    assert (got < lengths).any()
    for s, n in enumerate(got.tolist()):
        row = tokens[s : s + 1]
        follow = prefix_posterior(g, row, np.array([n]))[0, : n + 1]
        assert (follow[np.arange(n), row[0, :n]] > 0).all()
        if n < lengths[s]:
            assert follow[n, row[0, n]] == 0
            with pytest.raises(SpecError, match=rf"No sentence begins with its first {n + 1} tokens"):
                prefix_posterior(g, row, np.array([n + 1]))
    np.testing.assert_array_equal(whole, np.isfinite(tiny.likelihood(g, tokens, lengths)))


@pytest.mark.parametrize("name", ["cfg3b", "cfg3i", "cfg3h", "cfg3g", "cfg3f"])
def test_sentences_and_their_beginnings_are_grammatical_as_a_whole(name: str) -> None:
    g = grammar(name)
    block = SentenceStream(g, "whole").sentences(0, 6)
    got, whole = grammatical(g, block.tokens, block.lengths)
    np.testing.assert_array_equal(got, block.lengths)
    assert whole.all()
    cut = block.lengths // 2
    got, whole = grammatical(g, block.tokens, cut)
    np.testing.assert_array_equal(got, cut)
    assert not whole.any()
    noise = np.random.default_rng(0).integers(3, size=block.tokens.shape)
    assert (grammatical(g, noise, block.lengths)[0] < 100).all()


@pytest.mark.parametrize("foreign", [3, 4, 99, -1, 255, np.iinfo(np.int64).min, np.iinfo(np.int64).max])
def test_a_number_that_is_no_token_ends_what_is_grammatical(foreign: int) -> None:
    g = grammar("cfg3b", roots=7)  # 2 0 and 0 1 2
    texts = np.array([[foreign, 0, 0], [2, foreign, 0], [0, 1, foreign], [2, 0, foreign]])
    got, whole = grammatical(g, texts, np.array([1, 2, 3, 2]))
    assert got.tolist() == [0, 1, 2, 2]
    assert whole.tolist() == [False, False, False, True]


def test_a_text_is_judged_alone_and_no_texts_are_none() -> None:
    g = grammar("cfg3f", roots=(13, 14))
    tokens = np.random.default_rng(2).integers(3, size=(40, 70))
    own = SentenceStream(g, "alone").sentences(0, 40)
    lengths = np.where(np.arange(40) % 2, own.lengths, 70)
    tokens[1::2, : own.tokens.shape[1]] = own.tokens[1::2]
    together = np.array(grammatical(g, tokens, lengths))
    alone = [grammatical(g, tokens[s : s + 1, :n], lengths[s : s + 1]) for s, n in enumerate(lengths)]
    assert together.T.tolist() == [[n[0], whole[0]] for n, whole in alone]
    assert [x.shape for x in grammatical(g, tokens[:0], lengths[:0])] == [(0,), (0,)]
    assert grammatical(g, tokens[:, :0], 0 * lengths)[0].tolist() == [0] * 40


# What cannot be


def test_a_sentence_that_the_grammar_cannot_produce_is_named() -> None:
    g = grammar("cfg3b", roots=7)  # 3 1 and 1 2 3: the tokens 2 0 and 0 1 2
    shown, lengths = np.array([[2, 0, 0], [1, 3, 0]]), np.array([2, 2])
    at = np.array([[True, False, False], [False, True, False]])
    # the second one shows a token 1 where 2 belongs, and nobody can have put it there
    for arguments in ({"mask_rate": 0.3, "hidden": True}, {"mask_rate": 0.0}):
        with pytest.raises(SpecError, match=r"sentence 1 of 2 tokens, 1 \[mask\]: expected what the grammar"):
            posterior(g, shown, lengths, at, **arguments)
        assert posterior(g, shown[:1], lengths[:1], at[:1], **arguments).tolist() == [[0, 0, 1]]
    assert posterior(g, shown, lengths, at, mask_rate=0.3)[1].tolist() == [1, 0, 0]  # noise can have
    with pytest.raises(SpecError, match="sentence 0 of 1 tokens"):  # no sentence has this length
        posterior(g, np.array([[3]]), np.array([1]), np.array([[True]]), mask_rate=0.3)
    with pytest.raises(
        SpecError, match=r"sentence 1, 0 2: expected the beginning of a sentence.* first 2 tokens"
    ):
        prefix_posterior(g, np.array([[2, 0], [0, 2]]), np.array([2, 2]))
    with pytest.raises(SpecError, match="sentence 0, 2 0 1: expected the beginning"):
        boundary_posterior(g, np.array([[2, 0, 1]]), np.array([3]), 1)
    assert tiny.likelihood(g, np.array([[0, 2]]), np.array([2])).tolist() == [-np.inf]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"inputs": np.array([[4, 0]])},
            r"tokens\[0, 0\] = 4: expected a token from 0 to 2, or 3 for \[mask\]",
        ),
        ({"inputs": np.array([[-1, 0]])}, r"tokens\[0, 0\] = -1"),
        ({"inputs": np.array([[2.0, 0.0]])}, "expected whole numbers"),
        ({"lengths": np.array([3])}, r"lengths\[0\] = 3: expected a number from 0 to 2"),
        ({"lengths": np.array([2, 2])}, "lengths of shape"),
        ({"lengths": np.array([1]), "at": np.array([[False, True]])}, r"at\[0, 1\]: expected False beyond"),
        ({"at": np.array([[1, 0]])}, "expected truth values"),
        ({"mask_rate": 1.5}, "mask_rate = 1.5: expected a number in"),
        ({"mask_rate": float("nan")}, "mask_rate = nan"),
        ({"inputs": np.array([[3, 3]]), "hidden": True}, r"at\[0, 1\] of a \[mask\]: expected True"),
    ],
)
def test_what_makes_no_sense_is_an_error(change: dict[str, object], message: str) -> None:
    right = {
        "inputs": np.array([[2, 0]]),
        "lengths": np.array([2]),
        "at": np.array([[True, False]]),
        "mask_rate": 0.3,
        "hidden": False,
    }
    g = grammar("cfg3b", roots=7)
    assert posterior(g, **right).shape == (1, 3)
    with pytest.raises(SpecError, match=message):
        posterior(g, **(right | change))


def test_levels_tokens_and_lengths_are_those_of_the_grammar() -> None:
    g = grammar("cfg3b", roots=7)
    for level in (-1, 2, 1.0):
        with pytest.raises(SpecError, match="expected a whole number from 0, the root, to 1, the tokens"):
            boundary_posterior(g, np.array([[2, 0]]), np.array([2]), level)
    with pytest.raises(SpecError, match="expected whole numbers"):
        grammatical(g, np.array([[2.0, 0.0]]), np.array([2]))
    with pytest.raises(SpecError, match=r"lengths\[0\] = 3: expected a number from 0 to 2"):
        grammatical(g, np.array([[2, 0]]), np.array([3]))
    with pytest.raises(SpecError, match=r"tokens\[0, 1\] = 3: expected a token from 0 to 2"):
        prefix_posterior(g, np.array([[2, 3]]), np.array([2]))

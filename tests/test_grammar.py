"""Grammars and their sentences: what is refused, exact lengths, drawn rules and trees, blocks made again."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from trees import sentences, trees

from pdlib.specs import SpecError
from pdlib.tasks.grammar import Grammar, Rule, Sentences, SentenceStream, grammar, load_grammar

NAMES = ["cfg3b", "cfg3i", "cfg3h", "cfg3g", "cfg3f"]
N = 6_000  # sentences whose rules are counted
TOLERANCE = 4  # standard errors

# Two roots, rules of one to three symbols, unequal probabilities; symbol 6 and token 2 are rare.
SMALL = Grammar(
    layers=((9, 8), (7, 6, 5), (4, 3), (1, 2, 0)),
    rules=(
        Rule(9, (7, 6), 0.125),
        Rule(9, (5,), 0.875),
        Rule(8, (7, 7, 7), 1.0),
        Rule(7, (4, 3), 1 / 3),
        Rule(7, (3,), 2 / 3),
        Rule(6, (3, 3), 1.0),
        Rule(5, (4, 4), 0.25),
        Rule(5, (4, 4, 3), 0.75),
        Rule(4, (1, 2), 0.5),
        Rule(4, (2,), 0.5),
        Rule(3, (0, 1, 2), 0.1),
        Rule(3, (1,), 0.9),
    ),
)
PLAIN: dict[str, Any] = {"rules": {"9": [[7, 8], [8]], "7": [[1]], "8": [[1, 2]]}}


def stream(g: Grammar, text: str = "a test") -> SentenceStream:
    return SentenceStream(g, text)


def rule_counts(block: Sentences) -> Counter[tuple[int, tuple[int, ...]]]:
    """How often each symbol became which symbols, read from `ancestors` and `ends` alone."""
    g, counts = block.grammar, Counter[tuple[int, tuple[int, ...]]]()
    base = len(g.symbols) + 1
    visible = np.arange(block.tokens.shape[1]) < block.lengths[:, None]
    for level in range(g.depth):
        parent_ends = block.ends[level][visible]
        child_ends = block.ends[level + 1][visible]
        assert not (parent_ends & ~child_ends).any()
        children = block.ancestors[level + 1][visible][child_ends].astype(np.int64)
        last = np.flatnonzero(parent_ends[child_ends])
        arity = np.diff(last, prepend=-1)
        place = np.arange(len(children)) - np.repeat(last + 1 - arity, arity)
        code = np.add.reduceat((children + 1) * base**place, last + 1 - arity)
        parents = block.ancestors[level][visible][parent_ends].astype(np.int64)
        assert arity.max() <= 3, "four digits are enough: the parent and its children"
        found = np.bincount(code * base + parents, minlength=base**4)
        for value in np.flatnonzero(found).tolist():
            parent, rest, right = value % base, value // base, []
            while rest:
                right.append(g.symbols[rest % base - 1])
                rest //= base
            counts[g.symbols[parent], tuple(right)] += int(found[value])
    return counts


def all_counts(g: Grammar, n: int = N, text: str = "a test") -> Counter[tuple[int, tuple[int, ...]]]:
    counts = Counter[tuple[int, tuple[int, ...]]]()
    for start in range(0, n, 2000):
        counts.update(rule_counts(stream(g, text).sentences(start, start + 2000)))
    return counts


def deviations(g: Grammar, counts: Counter[tuple[int, tuple[int, ...]]]) -> dict[str, float]:
    """By how many standard errors each rule's share among those of its symbol is off."""
    found = {}
    for rule in g.rules:
        n = sum(counts[rule.left, r.right] for r in g.rules_of(rule.left))
        error = np.sqrt(rule.probability * (1 - rule.probability) / n)
        gap = abs(counts[rule.left, rule.right] / n - rule.probability)
        found[str(rule)] = float(gap / error) if gap else 0.0  # a symbol with one rule has no error
    return found


def quantiles(
    distribution: NDArray[np.float64], at: tuple[float, ...] = (0.25, 0.5, 0.75, 0.95)
) -> list[int]:
    return np.searchsorted(distribution.cumsum(), at).tolist()


def lengths(g: Grammar, n: int, text: str = "lengths") -> NDArray[np.float64]:
    """Shares of the lengths of drawn sentences."""
    found = [stream(g, text).sentences(start, start + 1000).lengths for start in range(0, n, 1000)]
    return np.bincount(np.concatenate(found), minlength=g.max_length + 1) / n


def gap(drawn: NDArray[np.float64], exact: NDArray[np.float64], n: int) -> float:
    """The largest gap of the cumulated shares, over what chance gives once in 10,000 times (Kolmogorov)."""
    return float(np.abs(np.cumsum(drawn - exact)).max() / (2.23 / np.sqrt(n)))


# Refused

GOOD = (Rule(3, (2, 2), 1.0), Rule(2, (1, 0), 1.0))
LAYERS: Any = ((3,), (2,), (1, 0))


@pytest.mark.parametrize(
    ("layers", "rules", "named"),
    [
        (((3,), (1, 0)), GOOD, "symbol 2 of the rule 3 -> 2 2"),
        (((3,), (2,), (1,)), GOOD, "symbol 0 of the rule 2 -> 1 0"),
        (LAYERS, (*GOOD, Rule(5, (2,), 1.0)), "symbol 5 of the rule 5 -> 2"),
        (((3,), (2,), (2, 1, 0)), GOOD, "symbol 2 in the layers [1, 2]"),
        (((3,), (2,), (1, 0, 1)), GOOD, "symbol 1 in the layers [2, 2]"),
        (LAYERS, (Rule(3, (2, 1), 1.0), GOOD[1]), "the rule 3 -> 2 1: from layer 0 to 1 in layer 2"),
        (LAYERS, (GOOD[0], Rule(2, (1, 3, 0), 1.0)), "the rule 2 -> 1 3 0: from layer 1 to 3 in layer 0"),
        (LAYERS, (GOOD[0], Rule(2, (2, 0), 1.0)), "the rule 2 -> 2 0: from layer 1 to 2 in layer 1"),
        (LAYERS, (*GOOD, Rule(1, (0,), 1.0)), "the rule 1 -> 0: from layer 2 to 0 in layer 2"),
        (LAYERS, GOOD[:1], "probabilities [] of the rules of 2, which sum to 0.0"),
        (LAYERS, (GOOD[0], Rule(2, (1,), 1.0)), "symbols [0]"),
        (((3,), (2, 4), (1, 0)), (*GOOD, Rule(4, (1,), 1.0)), "symbols [4]"),
        (LAYERS, (GOOD[0], Rule(2, (1, 0), 0.5), Rule(2, (1, 0), 0.5)), "the rule 2 -> 1 0 twice"),
        (LAYERS, (GOOD[0], Rule(2, (1, 0), 0.5)), "probabilities [0.5] of the rules of 2"),
        (LAYERS, (GOOD[0], Rule(2, (1, 0), 0.5), Rule(2, (1,), 0.5 + 1e-8)), "which sum to 1.00000001"),
        (((3,),), (), "layers = ((3,),)"),
        (((3,), (2,), (1, 0), ()), GOOD, "layers = ((3,), (2,), (1, 0), ())"),
        ([[3], [2], [1, 0]], GOOD, "layers = [[3], [2], [1, 0]]"),
        (((3.0,), (2,), (1, 0)), GOOD, "layers[0][0] = 3.0"),
        (LAYERS, [*GOOD], "rules = ["),
        (LAYERS, (*GOOD, "2 -> 1"), "'2 -> 1'"),
        (((999,), tuple(range(256))), (Rule(999, tuple(range(256)), 1.0),), "257 symbols"),
    ],
)
def test_layers_and_rules_that_make_no_grammar_are_refused(layers: Any, rules: Any, named: str) -> None:
    assert Grammar(LAYERS, GOOD).max_length == 4
    with pytest.raises(SpecError, match=r": expected ") as caught:
        Grammar(layers, rules)
    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Rule(2, (), 1.0), "right = ()"),
        (lambda: Rule(2, [1, 0], 1.0), "right = [1, 0]"),  # type: ignore[arg-type]
        (lambda: Rule(2, (1, "0"), 1.0), "right[1] = '0'"),  # type: ignore[arg-type]
        (lambda: Rule(True, (1,), 1.0), "left = True"),
        (lambda: Rule(2, (1, 0), 0.0), "Rule(left=2, right=(1, 0), probability=0.0): probability = 0.0"),
        (lambda: Rule(2, (1, 0), 1.5), "probability = 1.5"),
        (lambda: Rule(2, (1, 0), float("nan")), "probability = nan"),
        (lambda: Rule(2, (1, 0), "1"), "probability = '1'"),  # type: ignore[arg-type]
        (lambda: SMALL.below(()), "roots = ()"),
        (lambda: SMALL.below(1.5), "roots[0] = 1.5"),  # type: ignore[arg-type]
        (lambda: load_grammar(None), "source = None"),  # type: ignore[arg-type]
        (lambda: SMALL.below(77), "roots [77]"),
        (lambda: SMALL.below((7, 7)), "roots [7, 7]"),
        (lambda: SMALL.below(1), "roots [1]"),
        (lambda: SMALL.below((7, 4)), "roots [7, 4]"),
        (lambda: SMALL.level(4, "from_root"), "level = 4 from root"),
        (lambda: SMALL.level(0, "from_leaves"), "level = 0 from leaves"),
        (lambda: SMALL.level(1.0, "from_root"), "level = 1.0"),  # type: ignore[arg-type]
        (lambda: SMALL.level(1, "bottom_up"), "counted = 'bottom_up'"),  # type: ignore[arg-type]
        (lambda: grammar("cfg3"), "grammar 'cfg3'"),
        (lambda: grammar("cfg3f", released=True), "released = True for cfg3f"),
        (lambda: stream(SMALL).sentences(3, 2), "sentences 3 ... 2"),
        (lambda: stream(SMALL).sentences(-1, 2), "sentences -1 ... 2"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_value_and_what_was_expected(
    make: Callable[[], object], named: str
) -> None:
    with pytest.raises(SpecError, match=r": expected ") as caught:
        make()
    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"rules": {**PLAIN["rules"], "1": [[9]]}}, "layers = ()"),  # 9 -> 7 -> 1 -> 9
        (
            {"rules": {**PLAIN["rules"], "5": [[4]], "4": [[5]]}},
            "symbol 5 of the rule 5 -> 4",
        ),  # apart, a cycle
        ({"rules": {**PLAIN["rules"], "1": [[7]]}}, "symbol 7 in the layers [1, 3"),
        ({"rules": {**PLAIN["rules"], "9": [[7, 8], [1]]}}, "symbol 1 in the layers [1, 2]"),
        ({"rules": {"9": [[7, 8]], "7": [[1]]}}, "probabilities [] of the rules of 8"),
        ({"rules": {**PLAIN["rules"], "7": []}}, "probabilities [] of the rules of 7"),
        ({"rules": {**PLAIN["rules"], "7": [[]]}}, "right = ()"),
        ({"rules": {**PLAIN["rules"], "7": [1]}}, "a right side of 7 = 1"),
        ({"rules": {**PLAIN["rules"], "7": "1"}}, "rules of 7 = '1'"),
        ({"rules": {**PLAIN["rules"], "07": [[1]]}}, "symbol '07'"),
        ({"rules": {"S": [["a"]]}}, "symbol 'S'"),
        ({"rules": {"9": [[1.0]]}}, "symbol 1.0"),
        ({"rules": {"9": [[True]]}}, "symbol True"),
        ({"rules": {}}, "layers = ()"),
        ({"rules": [[9, 7, 8]]}, "rules = [[9, 7, 8]]"),
        ({"layers": [[9], [7, 8], [1]]}, "symbol 2 of the rule 8 -> 1 2"),
        ({"layers": [9, 7, 1]}, "a layer = 9"),
        ({"probabilities": {"9": [0.5, 0.5]}}, "numbers of probabilities {9: 2}"),
        ({"probabilities": {"9": [1.0], "7": [1], "8": [1]}}, "numbers of probabilities {9: 1, 7: 1, 8: 1}"),
        ({"probabilities": {"9": [0.5, 0.4], "7": [1], "8": [1]}}, "probabilities [0.5, 0.4]"),
        ({"probabilities": {"9": 1, "7": [1], "8": [1]}}, "probabilities of 9 = 1"),
        ({"probabilities": [0.5, 0.5]}, "probabilities = [0.5, 0.5]"),
        ({"root": 9}, "'root': 9"),
    ],
)
def test_data_that_hold_no_grammar_are_refused(change: dict[str, Any], named: str) -> None:
    with pytest.raises(SpecError, match=r": expected ") as caught:
        load_grammar(PLAIN | change)
    assert named in str(caught.value)


def test_a_file_that_holds_no_grammar_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    with pytest.raises(SpecError, match=r"mine\.json': expected a file"):
        load_grammar(path)
    for text, named in (
        ("{", "mine.json': expected JSON"),
        ("[]", "grammar []: expected an object"),
        ('{"layers": [[1]]}', "grammar {'layers': [[1]]}"),
        ('{"rules": {"9": [[1]], "9": [[2]]}}', "keys ['9', '9']"),
    ):
        path.write_text(text)
        with pytest.raises(SpecError, match=r": expected ") as caught:
            load_grammar(path)
        assert named in str(caught.value)


# Grammars


def test_the_five_grammars_have_the_shape_that_the_paper_describes() -> None:
    known = zip(NAMES, (32, 32, 39, 48, 54), ({2}, {2}, {2, 3}, {3}, {3, 4}), strict=True)
    for name, n_rules, sides in known:
        g = grammar(name)
        middle = ((19, 20, 21), (16, 17, 18), (13, 14, 15), (10, 11, 12), (7, 8, 9))
        assert g.layers == ((22,), *middle, (1, 2, 3))
        assert (g.depth, g.n_terminals, len(g.rules)) == (6, 3, n_rules)
        assert {len(g.rules_of(s)) for s in g.symbols[:-3]} == sides
        assert {len(rule.right) for rule in g.rules} == {2, 3}
        rules = {str(s): [list(r.right) for r in g.rules_of(s)] for s in g.symbols[:-3]}
        assert load_grammar({"rules": rules}) == g  # the layers can be derived
    equal = [any(a == b for a, b in zip(r.right, r.right[1:], strict=False)) for r in grammar("cfg3b").rules]
    assert not any(equal), "in cfg3b no rule repeats a symbol"


@pytest.mark.parametrize(
    ("name", "stated", "ends"),
    [
        ("cfg3b", [251, 277, 307, 341], (138, 432)),
        ("cfg3i", [274, 307, 341, 386], (114, 564)),
        ("cfg3h", [201, 237, 270, 301], (97, 459)),
        ("cfg3g", [212, 255, 291, 338], (80, 729)),
        ("cfg3f", [191, 248, 303, 365], (64, 729)),
    ],
)
def test_exact_and_drawn_lengths_have_the_stated_percentiles(
    name: str, stated: list[int], ends: tuple[int, int]
) -> None:
    g = grammar(name)
    exact = g.length_distribution()
    assert exact.sum() == pytest.approx(1, abs=1e-12)
    assert quantiles(exact) == stated
    assert (g.min_length, g.max_length) == ends == (np.flatnonzero(exact)[0], len(exact) - 1)
    assert gap(lengths(g, 20_000), exact, 20_000) < 1


def test_the_check_of_lengths_can_fail() -> None:
    """The control: the released cfg3b lacks one rule, and its sentences are longer."""
    released = grammar("cfg3b", released=True)
    assert [str(r) for r in released.rules_of(9)] == ["9 -> 3 2 1"]
    assert set(grammar("cfg3b").rules) - set(released.rules) == {Rule(9, s, 0.5) for s in ((3, 2, 1), (2, 1))}
    exact = released.length_distribution()
    assert quantiles(exact) == [269, 296, 329, 363]
    drawn = np.pad(lengths(grammar("cfg3b"), 2000), (0, len(exact)))[: len(exact)]
    assert gap(drawn, exact, 2000) > 1


def test_lengths_and_numbers_of_trees_are_those_of_listing_every_tree() -> None:
    exact = np.zeros(SMALL.max_length + 1)
    for tokens, p in sentences(SMALL).items():
        exact[len(tokens)] += p
    np.testing.assert_allclose(SMALL.length_distribution(), exact, atol=1e-15)
    assert SMALL.n_derivations() == len(trees(SMALL))
    found = [len(tokens) for tokens in sentences(SMALL)]
    assert (SMALL.min_length, SMALL.max_length) == (min(found), max(found))


def test_rules_are_kept_in_one_order_whatever_order_they_come_in() -> None:
    # stable: rules of one symbol stay as given
    other = replace(SMALL, rules=tuple(sorted(SMALL.rules, key=lambda rule: rule.left)))
    assert other == SMALL
    assert other.fingerprint == SMALL.fingerprint
    assert [rule.left for rule in SMALL.rules] == [9, 9, 8, 7, 7, 6, 5, 5, 4, 4, 3, 3]
    swapped = replace(SMALL, rules=(SMALL.rules[1], SMALL.rules[0], *SMALL.rules[2:]))
    assert swapped.fingerprint != SMALL.fingerprint


def test_below_some_symbols_lies_a_grammar_of_its_own() -> None:
    g = grammar("cfg3b")
    part = g.below((15, 14))
    assert part == grammar("cfg3b", [14, 15]) == g.below((14, 15))
    assert part.layers == ((14, 15), (10, 11, 12), (7, 8, 9), (1, 2, 3))
    assert part.rules == tuple(r for r in g.rules if r.left in (*range(7, 13), 14, 15))
    assert (g.below(22), g.below([22])) == (g, g)
    halves = [g.below(s).length_distribution() for s in (14, 15)]
    np.testing.assert_allclose(part.length_distribution(), sum(halves) / 2, atol=1e-15)
    lost = SMALL.below(6)  # symbols that it does not lead to are gone
    assert lost.layers == ((6,), (3,), (1, 2, 0))
    assert lost.n_derivations() == 4


def test_a_grammar_is_read_from_a_file_with_or_without_layers_and_probabilities(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(PLAIN))
    g = load_grammar(path)
    assert g == load_grammar(str(path)) == load_grammar(PLAIN)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())  # a byte order mark, as some editors write it
    assert g == load_grammar(path)
    assert g.layers == ((9,), (7, 8), (1, 2))
    assert [rule.probability for rule in g.rules] == [0.5, 0.5, 1.0, 1.0]
    full = {
        "layers": [[9], [8, 7], ["2", 1]],
        "rules": {"8": [[1, 2]], "7": [["1"]], "9": [["7", 8], [8]]},
        "probabilities": {"7": [1], "8": [1], "9": [0.25, 0.75]},
    }
    path.write_text(json.dumps(full))
    g = load_grammar(path)
    assert g.layers == ((9,), (8, 7), (2, 1))
    assert [(str(r), r.probability) for r in g.rules] == [
        ("9 -> 7 8", 0.25),
        ("9 -> 8", 0.75),
        ("8 -> 1 2", 1.0),
        ("7 -> 1", 1.0),
    ]


# Sentences


@pytest.mark.parametrize("g", [SMALL, *map(grammar, NAMES)], ids=["small", *NAMES])
def test_rules_and_roots_are_drawn_with_their_probabilities_and_every_node_follows_a_rule(g: Grammar) -> None:
    counts = all_counts(g)
    assert set(counts) == {(rule.left, rule.right) for rule in g.rules}
    off = deviations(g, counts)
    assert max(off.values()) < TOLERANCE, off
    share = sum(counts[r.left, r.right] for r in g.rules_of(g.roots[0])) / N
    p = 1 / len(g.roots)
    assert abs(share - p) <= TOLERANCE * np.sqrt(p * (1 - p) / N)


@pytest.mark.parametrize("rule", ["22 -> 21 20", "9 -> 2 1"])
def test_the_check_of_probabilities_can_fail(rule: str) -> None:
    """The control: one symbol of a sampler prefers a rule, at the top, at the bottom."""
    g = grammar("cfg3b")
    (wrong,) = (r.left for r in g.rules if str(r) == rule)
    shifted = replace(
        g,
        rules=tuple(
            replace(r, probability=0.55 if str(r) == rule else 0.45) if r.left == wrong else r
            for r in g.rules
        ),
    )
    counts = all_counts(shifted)
    off = deviations(g, counts)
    assert off[rule] > TOLERANCE
    assert max(x for name, x in off.items() if not name.startswith(f"{wrong} ->")) < TOLERANCE
    assert max(deviations(shifted, counts).values()) < TOLERANCE, "it is what the sampler was asked for"


def test_whole_sentences_of_a_small_grammar_have_their_probabilities() -> None:
    exact, block = sentences(SMALL), stream(SMALL).sentences(0, N)
    drawn = Counter(tuple(row[:n].tolist()) for row, n in zip(block.tokens, block.lengths, strict=True))
    assert set(drawn) <= set(exact)
    common = {s: p for s, p in exact.items() if p * N >= 20}
    assert sum(common.values()) > 0.9
    for s, p in common.items():
        assert abs(drawn[s] / N - p) < 5 * np.sqrt(p * (1 - p) / N), s


def test_neighboring_sentences_and_symbols_are_independent() -> None:
    """Root rules of neighbors in the stream, and the rules of the first two symbols of a sentence."""
    g = grammar("cfg3b", roots=19)  # 19 -> 16 17 18, 19 -> 17 18 16
    block = stream(g).sentences(0, N)
    first = np.where(block.ancestors[1, :, 0] == g.symbols.index(16), 1, -1)
    assert abs((first[1:] * first[:-1]).mean()) < TOLERANCE / np.sqrt(N)
    below = np.where(block.ancestors[-1, :, 0] == g.symbols.index(3), 1.0, -1.0)
    last = np.where(block.ancestors[-1, np.arange(N), block.lengths - 1] == g.symbols.index(3), 1.0, -1.0)
    for root_rule in (1, -1):  # given the root's rule, the ends of a sentence know nothing of each other
        both = first == root_rule
        assert abs(np.corrcoef(below[both], last[both])[0, 1]) < TOLERANCE / np.sqrt(both.sum())


@pytest.mark.parametrize("g", [SMALL, grammar("cfg3f"), grammar("cfg3b", [14, 15])], ids=["small", "f", "b"])
def test_spans_ancestors_ends_and_tokens_tell_one_story(g: Grammar) -> None:
    block = stream(g).sentences(7, 27)
    assert block.tokens.shape == (20, block.lengths.max())
    assert block.ancestors.shape == block.ends.shape == (g.depth + 1, *block.tokens.shape)
    visible = np.arange(block.tokens.shape[1]) < block.lengths[:, None]
    for array in (block.tokens, *block.ancestors, *block.ends):
        assert not array[~visible].any(), "nothing beyond the end"
    for i, n in enumerate(block.lengths.tolist()):
        spans = [block.spans(i, level) for level in range(g.depth + 1)]
        assert len(spans[0]) == 1
        assert spans[-1] == [(g.terminals[t], j, j + 1) for j, t in enumerate(block.tokens[i, :n].tolist())]
        for level, row in enumerate(spans):
            assert {s for s, _, _ in row} <= set(g.layers[level])
            assert [start for _, start, _ in row] == [0, *(stop for _, _, stop in row[:-1])]
            assert row[-1][2] == n
            for s, start, stop in row:
                assert {g.symbols[a] for a in block.ancestors[level, i, start:stop]} == {s}
                assert block.ends[level, i, start:stop].tolist() == [False] * (stop - start - 1) + [True]
                if level < g.depth:
                    below = tuple(c for c, first, last in spans[level + 1] if start <= first < last <= stop)
                    assert below in [rule.right for rule in g.rules_of(s)]


@pytest.fixture(scope="module")
def whole() -> dict[str, Sentences]:
    return {"small": stream(SMALL).sentences(0, 3000), "cfg3f": stream(grammar("cfg3f")).sentences(0, 3000)}


@given(name=st.sampled_from(["small", "cfg3f"]), start=st.integers(0, 2900), length=st.integers(0, 100))
def test_any_block_is_the_same_made_alone_or_as_part_of_a_larger_one(
    whole: dict[str, Sentences], name: str, start: int, length: int
) -> None:
    large = whole[name]
    rows = slice(start, start + length)
    block = stream(large.grammar).sentences(start, start + length)
    np.testing.assert_array_equal(block.lengths, large.lengths[rows])
    width = block.tokens.shape[1]
    assert width == (block.lengths.max() if length else 0)
    np.testing.assert_array_equal(block.tokens, large.tokens[rows, :width])
    np.testing.assert_array_equal(block.ancestors, large.ancestors[:, rows, :width])
    np.testing.assert_array_equal(block.ends, large.ends[:, rows, :width])


def test_a_block_far_along_the_stream_costs_no_walk_there() -> None:
    far = 10**12
    block = stream(SMALL).sentences(far, far + 8)
    tail = stream(SMALL).sentences(far + 3, far + 8)
    np.testing.assert_array_equal(tail.tokens, block.tokens[3:, : tail.tokens.shape[1]])


def test_streams_of_other_identities_differ() -> None:
    g = grammar("cfg3b", roots=15)
    one, other = (stream(g, text).sentences(0, 200) for text in ("one", "other"))
    assert (one.lengths == other.lengths).mean() < 0.5
    assert stream(g, "one").identity == hashlib.sha256(b"one").hexdigest()[:32]


def test_sentences_are_those_of_the_code_that_results_were_made_with() -> None:
    """Golden: if this changes, so do all results on grammars, and the version of `Grammar` has to rise."""
    digest = hashlib.sha256()
    for g in (SMALL, *(grammar(name) for name in NAMES), grammar("cfg3b", (14, 15))):
        block = stream(g, "golden").sentences(11, 43)
        for array in (block.tokens, block.ancestors, block.ends, block.lengths.astype("<i8")):
            digest.update(np.ascontiguousarray(array).tobytes())
    assert digest.hexdigest()[:32] == "b243316821c71ffc2fd25d6f5e8bc89d"

"""Probabilistic context-free grammars in layers (paper, section 4.1 and appendix D.1), their sentences and trees.

Every rule leads exactly one layer down, so all leaves of a tree have the same distance from its root. `Grammar` says
what is drawn, `SentenceStream` draws it: sentence i of a stream is a function of (key, i) alone, as in
`pdlib.tasks.bits`, whatever block is asked for.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.polynomial.polynomial import polyadd, polymul
from numpy.typing import NDArray

from pdlib.compiled import njit
from pdlib.specs import Purpose, Several, Source, Spec, SpecError, checked, require
from pdlib.tasks.bits import random_words, stream_key

MAX_SYMBOLS = 256  # numbers of symbols are bytes
TOLERANCE = 1e-9  # of a sum of probabilities
CHUNK_WORDS = 2**19  # random words held at a time, 4 MiB
DATA = Path(__file__).with_name("grammars.json")


@dataclass(frozen=True)
class Rule(Spec):
    r"""One rule :math:`A \to B_1 \dots B_m` and its probability among the rules of A.

    >>> print(Rule(22, (21, 20), 0.5))
    22 -> 21 20
    """

    version: ClassVar[int] = 1
    left: int  # A
    right: Several[int]  # what A becomes, from left to right
    probability: Annotated[float, "(0, 1]"]

    def __post_init__(self) -> None:
        try:
            super().__post_init__()
        except SpecError as error:
            raise SpecError(f"{self!r}: {error}") from None

    def __str__(self) -> str:
        return f"{self.left} -> {' '.join(map(str, self.right))}"


@dataclass(frozen=True)
class Grammar(Source):
    r"""A layered probabilistic context-free grammar; every rule goes exactly one layer down.

    A root is drawn uniformly; then each symbol becomes the right side of one of its rules, drawn with the rule's
    probability, until only terminals are left:

    .. math:: P(T) = \frac{1}{|S_0|} \prod_{A \to B_1 \dots B_m \,\in\, T} p(A \to B_1 \dots B_m)

    where :math:`S_0` are the roots and T is a tree. The sentence is the row of T's leaves.

    Each symbol stands in one layer, once. Symbols above the last layer have rules, whose probabilities sum to 1 within 1e-9
    and which lead one layer down; and the roots lead to all symbols. (Paper, section 4.1 and appendix D.1.)

    >>> rules = (Rule(9, (7, 8), 0.5), Rule(9, (8,), 0.5), Rule(7, (1,), 1.0), Rule(8, (1, 2), 1.0))
    >>> small = Grammar(layers=((9,), (7, 8), (1, 2)), rules=rules)
    >>> small.depth, small.n_terminals, small.length_distribution().tolist()
    (2, 2, [0.0, 0.0, 0.5, 0.5])
    """

    version: ClassVar[int] = 1
    layers: tuple[
        tuple[int, ...], ...
    ]  # symbols by distance from the roots: roots, ..., terminals; at most 256
    rules: tuple[Rule, ...]  # in any order; kept by layer, then by symbol as in `layers`, then as given

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            len(self.layers) >= 2 and all(self.layers),
            f"layers = {self.layers!r}",
            "at least two layers, none empty: the roots, ..., the terminals",
        )
        for s in self.symbols:
            found = [level for level, layer in enumerate(self.layers) for other in layer if other == s]
            require(len(found) == 1, f"symbol {s} in the layers {found}", "one layer for each symbol, once")
        require(len(self.symbols) <= MAX_SYMBOLS, f"{len(self.symbols)} symbols", f"at most {MAX_SYMBOLS}")
        self._check_rules()
        number = {s: i for i, s in enumerate(self.symbols)}
        # sorted is stable, so rules of one symbol stay as given
        object.__setattr__(self, "rules", tuple(sorted(self.rules, key=lambda rule: number[rule.left])))
        lost = sorted(set(self.symbols) - self._reachable(self.roots))
        require(not lost, f"symbols {lost}", f"symbols that the roots {list(self.roots)} lead to")

    def _check_rules(self) -> None:
        layer_of = self._layer_of
        seen: set[tuple[int, tuple[int, ...]]] = set()
        for rule in self.rules:
            for s in (rule.left, *rule.right):
                require(s in layer_of, f"symbol {s} of the rule {rule}", "a symbol that stands in a layer")
            above = layer_of[rule.left]
            for s in rule.right:
                require(
                    layer_of[s] == above + 1,
                    f"the rule {rule}: from layer {above} to {s} in layer {layer_of[s]}",
                    "one step down",
                    "A symbol that stays for a layer takes a rule with one symbol on the right.",
                )
            require((rule.left, rule.right) not in seen, f"the rule {rule} twice", "each rule once")
            seen.add((rule.left, rule.right))
        for s in self.symbols[: -self.n_terminals]:
            probabilities = [rule.probability for rule in self.rules_of(s)]
            total = math.fsum(probabilities)
            require(
                abs(total - 1) <= TOLERANCE,
                f"probabilities {probabilities} of the rules of {s}, which sum to {total!r}",
                f"a sum of 1 within {TOLERANCE}",
                "Every symbol above the last layer has rules.",
            )

    def _reachable(self, roots: Sequence[int]) -> set[int]:
        """The symbols that these roots lead to, themselves included."""
        found, waiting = set(roots), list(roots)
        while waiting:
            below = {s for rule in self.rules_of(waiting.pop()) for s in rule.right} - found
            found |= below
            waiting += below
        return found

    @property
    def depth(self) -> int:
        """Rule steps from a root to a leaf: one less than there are layers."""
        return len(self.layers) - 1

    @property
    def roots(self) -> tuple[int, ...]:
        """The first layer."""
        return self.layers[0]

    @property
    def terminals(self) -> tuple[int, ...]:
        """The last layer; token t stands for `terminals[t]`."""
        return self.layers[-1]

    @property
    def n_terminals(self) -> int:
        """V."""
        return len(self.terminals)

    @property
    def symbols(self) -> tuple[int, ...]:
        """All symbols, layer by layer; a symbol's place here is its number, in `Sentences.ancestors` for example."""
        return tuple(s for layer in self.layers for s in layer)

    @property
    def _layer_of(self) -> dict[int, int]:
        return {s: level for level, layer in enumerate(self.layers) for s in layer}

    @property
    def n_tokens(self) -> int:
        """V: the tokens are the terminals."""
        return self.n_terminals

    def sentence_stream(self, identity: str, purpose: Purpose = "train") -> SentenceStream:
        """Return the endless stream of sentences that this text names, of any purpose: all are drawn afresh."""
        return SentenceStream(self, identity)

    def rules_of(self, symbol: int) -> list[Rule]:
        """Return the rules with this symbol on the left; none for a terminal.

        >>> [str(rule) for rule in grammar("cfg3b").rules_of(9)]
        ['9 -> 3 2 1', '9 -> 2 1']
        """
        return [rule for rule in self.rules if rule.left == symbol]

    def below(self, roots: int | Sequence[int]) -> Grammar:
        """Return the grammar whose sentences are the spans of one symbol, or of several of one layer above the last.

        Symbols that they do not lead to are dropped. Roots that are none, repeated or of several layers are an error.

        >>> grammar("cfg3b").below([14, 15]).layers
        ((14, 15), (10, 11, 12), (7, 8, 9), (1, 2, 3))
        """
        given = checked("roots", tuple(roots) if isinstance(roots, Sequence) else (roots,), Several[int])
        levels = {self._layer_of.get(s, self.depth) for s in given}
        require(
            len(set(given)) == len(given) and len(levels) == 1 and levels < set(range(self.depth)),
            f"roots {list(given)}",
            f"symbols of one of the layers {self.layers[:-1]}, each once",
        )
        reached = self._reachable(given)
        rest = self.layers[levels.pop() :]
        return replace(
            self,
            layers=tuple(tuple(s for s in layer if s in reached) for layer in rest),
            rules=tuple(rule for rule in self.rules if rule.left in reached),
        )

    def level(self, level: int, counted: Literal["from_root", "from_leaves"]) -> int:
        """Return the row of `Sentences.ancestors` that is meant by a level, or raise if there is none.

        From the root, 0 is the root, `depth` the terminals, as in the paper's Definition 4.3. From the leaves, 1 is the
        terminals, 2 the lowest symbols above them, `depth` + 1 the root, as in the paper's appendix E.

        >>> cfg3f = grammar("cfg3f")
        >>> cfg3f.level(5, "from_root"), cfg3f.level(2, "from_leaves"), cfg3f.level(1, "from_leaves")
        (5, 5, 6)
        """
        require(
            counted in ("from_root", "from_leaves"), f"counted = {counted!r}", "'from_root' or 'from_leaves'"
        )
        first = 0 if counted == "from_root" else 1
        require(
            type(level) is int and first <= level <= self.depth + first,
            f"level = {level!r} {counted.replace('_', ' ')}",
            f"a whole number from {first} to {self.depth + first}",
        )
        return level if counted == "from_root" else self.depth + 1 - level

    @cached_property
    def _largest(self) -> tuple[int, int, int]:
        """The least and the greatest length of a sentence, and the most inner nodes of a tree."""
        size = dict.fromkeys(self.terminals, (1, 1, 0))
        for rule in reversed(self.rules):
            low, high, inner = (sum(size[s][k] for s in rule.right) for k in range(3))
            old = size.get(rule.left, (low, high, 0))
            size[rule.left] = (min(low, old[0]), max(high, old[1]), max(1 + inner, old[2]))
        ends = [size[root] for root in self.roots]
        return min(e[0] for e in ends), max(e[1] for e in ends), max(e[2] for e in ends)

    @property
    def min_length(self) -> int:
        """The length of the shortest sentence."""
        return self._largest[0]

    @property
    def max_length(self) -> int:
        """The length of the longest sentence."""
        return self._largest[1]

    def length_distribution(self) -> NDArray[np.float64]:
        r"""Return the exact distribution of a sentence's length, shape (max_length + 1,); the index is the length.

        From the terminals up, with * for convolution, and the mean over the roots at the end:

        .. math:: P_A = \sum_{A \to B_1 \dots B_m} p(A \to B_1 \dots B_m)\; P_{B_1} * \dots * P_{B_m}

        >>> lengths = grammar("cfg3b").length_distribution()
        >>> int(np.searchsorted(lengths.cumsum(), 0.5))      # the median
        277
        """
        lengths = {s: np.array([0.0, 1.0]) for s in self.terminals}
        for s in self.symbols[-self.n_terminals - 1 :: -1]:
            lengths[s] = np.zeros(1)
            for rule in self.rules_of(s):
                one = np.array([rule.probability])
                for part in rule.right:
                    one = polymul(one, lengths[part])
                lengths[s] = np.asarray(polyadd(lengths[s], one))
        total = np.zeros(1)
        for root in self.roots:
            total = np.asarray(polyadd(total, lengths[root] / len(self.roots)))
        return total

    def n_derivations(self) -> int:
        """Return the number of trees; no less than the number of sentences, as a sentence may have several trees.

        >>> grammar("cfg3b").below(7).n_derivations()
        2
        """
        count = dict.fromkeys(self.terminals, 1)
        for rule in reversed(self.rules):
            count[rule.left] = count.get(rule.left, 0) + math.prod(count[s] for s in rule.right)
        return sum(count[root] for root in self.roots)

    @cached_property
    def _tables(self) -> tuple[Any, ...]:
        """The grammar as flat arrays of symbol numbers, for the compiled sampler."""
        number = {s: i for i, s in enumerate(self.symbols)}
        right = np.zeros((len(self.rules), max(len(rule.right) for rule in self.rules)), np.uint8)
        for i, rule in enumerate(self.rules):
            right[i, : len(rule.right)] = [number[s] for s in rule.right]
        of_symbols = [_thresholds([rule.probability for rule in self.rules_of(s)]) for s in self.symbols]
        n_roots = len(self.roots)
        return (
            np.array(_thresholds([Fraction(1, n_roots)] * n_roots), np.uint64),
            # (rule,), a word below it takes this rule or an earlier one of the symbol
            np.array([end for ends in of_symbols for end in ends], np.uint64),
            # (symbol + 1,), a symbol's rules are first[s] ... first[s + 1] - 1
            np.cumsum([0, *map(len, of_symbols)]),
            np.array([number[rule.left] for rule in self.rules], np.uint8),
            right,  # (rule, place), 0 beyond the end
            np.array([len(rule.right) for rule in self.rules], np.int64),
        )


def _thresholds(probabilities: Sequence[float] | Sequence[Fraction]) -> list[int]:
    """Return for each outcome where its share of the 64-bit words ends; the last takes what rounding leaves."""
    total, ends = Fraction(0), []
    for p in probabilities:
        total += Fraction(p)
        ends.append(min(int(total * 2**64), 2**64 - 1))
    return ends


# Grammars from files


def _symbol(value: Any) -> int:
    """A symbol as JSON writes it: a whole number, or one in quotes, since keys of JSON are text."""
    if type(value) is int:
        return value
    require(
        isinstance(value, str) and re.fullmatch(r"0|-?[1-9][0-9]*", value) is not None,
        f"symbol {value!r}",
        "a whole number, or one in quotes",
        "Number the symbols.",
    )
    return int(value)


def _lists(value: Any, what: str) -> list[Any]:
    require(isinstance(value, (list, tuple)), f"{what} = {value!r}", "a list")
    return list(value)


def _by_symbol(value: Any, what: str) -> dict[int, list[Any]]:
    require(isinstance(value, Mapping), f"{what} = {value!r}", "an object: symbol to a list")
    return {_symbol(key): _lists(given, f"{what} of {key}") for key, given in value.items()}


def _derived_layers(rules: Mapping[int, Sequence[tuple[int, ...]]]) -> list[list[int]]:
    """Layers by distance from the symbols that no rule leads to; a symbol on a cycle comes again, or never."""
    layers = [sorted(set(rules) - {s for sides in rules.values() for right in sides for s in right})]
    while layers[-1] and len(layers) < len(rules) + 2:
        layers.append(sorted({s for left in layers[-1] for right in rules.get(left, ()) for s in right}))
    return layers if layers[-1] else layers[:-1]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, whose keys are there once: the last one would win without a word."""
    keys = [key for key, _ in pairs]
    require(len(set(keys)) == len(keys), f"keys {keys}", "each key of an object once")
    return dict(pairs)


def load_grammar(source: str | Path | Mapping[str, Any]) -> Grammar:
    """Return a grammar from a JSON file, or from what such a file holds.

    ::

        {"layers": [[9], [7, 8], [1, 2]],
         "rules": {"9": [[7, 8], [8]], "7": [[1]], "8": [[1, 2]]},
         "probabilities": {"9": [0.25, 0.75], "7": [1], "8": [1]}}

    Symbols are whole numbers, in quotes where JSON needs text. Without `"probabilities"` the rules of a symbol are equally
    likely. Without `"layers"` the roots are the symbols that no rule leads to, and each layer is sorted.

    >>> load_grammar({"rules": {"9": [[7, 8], [8]], "7": [[1]], "8": [[1, 2]]}}).layers
    ((9,), (7, 8), (1, 2))
    """
    checked("source", source, str | Path | Mapping)
    if not isinstance(source, Mapping):
        path = Path(source)
        require(path.is_file(), f"grammar file {str(path)!r}", "a file")
        try:
            source = json.loads(path.read_bytes(), object_pairs_hook=_unique)
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise SpecError(f"grammar file {str(path)!r}: expected JSON. {error}") from None
    if not isinstance(source, Mapping) or not {"rules"} <= set(source) <= {
        "layers",
        "rules",
        "probabilities",
    }:
        raise SpecError(
            f"grammar {source!r}: expected an object with 'rules', and if need be 'layers' and 'probabilities'."
        )
    sides = {
        left: [tuple(map(_symbol, _lists(right, f"a right side of {left}"))) for right in given]
        for left, given in _by_symbol(source["rules"], "rules").items()
    }
    probabilities = {left: [1 / len(given) for _ in given] for left, given in sides.items()}
    if source.get("probabilities") is not None:
        probabilities = _by_symbol(source["probabilities"], "probabilities")
    found, expected = ({s: len(x) for s, x in what.items()} for what in (probabilities, sides))
    require(found == expected, f"numbers of probabilities {found}", f"one for each rule, {expected}")
    layers = source.get("layers")
    layers = _derived_layers(sides) if layers is None else _lists(layers, "layers")
    return Grammar(
        tuple(tuple(map(_symbol, _lists(layer, "a layer"))) for layer in layers),
        tuple(
            Rule(left, right, p)
            for left, given in sides.items()
            for right, p in zip(given, probabilities[left], strict=True)
        ),
    )


def grammar(name: str, roots: int | Sequence[int] | None = None, released: bool = False) -> Grammar:
    """Return one of the paper's five grammars, whose rules are equally likely, or the part below some symbols.

    They are `"cfg3b"`, `"cfg3i"`, `"cfg3h"`, `"cfg3g"` and `"cfg3f"`, from the easiest to the hardest (paper, appendix D.4;
    Allen-Zhu and Li, "Physics of language models: Part 1, context-free grammar", arXiv:2305.13673). `roots` as of
    `Grammar.below`. `released` is cfg3b as in the paper's official code, which lacks the rule 9 -> 2 1; the paper's lengths
    of sentences are those of the grammar with it.

    >>> cfg3b = grammar("cfg3b")
    >>> cfg3b.depth, cfg3b.roots, cfg3b.terminals, len(cfg3b.rules), cfg3b.min_length, cfg3b.max_length
    (6, (22,), (1, 2, 3), 32, 138, 432)
    >>> len(grammar("cfg3b", released=True).rules), grammar("cfg3b", roots=7).max_length
    (31, 3)
    """
    known = json.loads(DATA.read_text("utf-8"))
    require(name in known, f"grammar {name!r}", f"one of {', '.join(known)}", "Others: load_grammar.")
    require(not released or name == "cfg3b", f"released = {released!r} for {name}", "False, but for cfg3b")
    if released:
        known[name]["rules"]["9"].remove([2, 1])
    found = load_grammar(known[name])
    return found if roots is None else found.below(roots)


# Sentences


@njit()
def _derive(
    words: NDArray[np.uint64],
    tables: tuple[Any, ...],
    depth: int,
    max_length: int,
    rules: NDArray[np.int32],
    lengths: NDArray[np.int64],
) -> None:
    """Write each sentence's rules, layer by layer from left to right, and its length. Word 0 draws the root."""
    root_below, below, first, _, right, arity = tables
    level = np.empty(max_length, np.uint8)
    next_level = np.empty(max_length, np.uint8)
    for i in range(words.shape[0]):
        root = 0
        while root < len(root_below) - 1 and words[i, 0] >= root_below[root]:
            root += 1
        level[0] = root  # the roots are numbered first
        n, done = 1, 0
        for _ in range(depth):
            m = 0
            for j in range(n):
                rule, last = first[level[j]], first[level[j] + 1] - 1
                while rule < last and words[i, 1 + done] >= below[rule]:
                    rule += 1
                rules[i, done] = rule
                done += 1
                for place in range(arity[rule]):
                    next_level[m] = right[rule, place]
                    m += 1
            level, next_level = next_level, level
            n = m
        lengths[i] = n


@njit()
def _lay_out(
    rules: NDArray[np.int32],
    tables: tuple[Any, ...],
    max_length: int,
    ancestors: NDArray[np.uint8],
    ends: NDArray[np.bool_],
) -> None:
    """Write for each position and level which symbol it lies below, and whether that symbol's span ends there."""
    _, _, _, left, right, arity = tables
    depth = ancestors.shape[0] - 1
    nodes = np.empty(rules.shape[1] + max_length, np.uint8)  # layer by layer, from left to right
    widths = np.empty(rules.shape[1] + max_length, np.int64)
    offsets = np.empty(depth + 2, np.int64)
    for i in range(rules.shape[0]):
        nodes[0] = left[rules[i, 0]]
        offsets[0], offsets[1] = 0, 1
        stop = 1
        for level in range(depth):
            for j in range(offsets[level], offsets[level + 1]):
                rule = rules[i, j]
                for place in range(arity[rule]):
                    nodes[stop] = right[rule, place]
                    stop += 1
            offsets[level + 2] = stop
        for j in range(offsets[depth], stop):
            widths[j] = 1
        child = stop
        for j in range(offsets[depth] - 1, -1, -1):  # children of later nodes stand later
            width = 0
            for _ in range(arity[rules[i, j]]):
                child -= 1
                width += widths[child]
            widths[j] = width
        for level in range(depth + 1):
            position = 0
            for j in range(offsets[level], offsets[level + 1]):
                for _ in range(widths[j]):
                    ancestors[level, i, position] = nodes[j]
                    position += 1
                ends[level, i, position - 1] = True


@dataclass(frozen=True, eq=False)
class Sentences:
    """A block of sentences with their trees, 0 and False beyond the end of each.

    Levels are distances from the root: 0 is the root, `grammar.depth` the leaves themselves. The ends of a level are ends of
    all levels below it; they are the right boundaries of the paper's Definition 4.3.

    >>> small = load_grammar({"rules": {"9": [[7, 8]], "7": [[1]], "8": [[1, 2]]}})
    >>> block = SentenceStream(small, "an example").sentences(0, 2)
    >>> block.tokens[0].tolist(), block.ends[1, 0].tolist(), block.spans(0, level=1)
    ([0, 0, 1], [True, False, True], [(7, 0, 1), (8, 1, 3)])
    """

    grammar: Grammar
    tokens: NDArray[np.uint8]  # (sentence, position), places in `grammar.terminals`
    lengths: NDArray[np.int64]  # (sentence,)
    ancestors: NDArray[
        np.uint8
    ]  # (level, sentence, position), the symbol above it, as its place in `grammar.symbols`
    ends: NDArray[np.bool_]  # (level, sentence, position), whether it is the last of that symbol's span

    def spans(self, i: int, level: int) -> list[tuple[int, int, int]]:
        """Return (symbol, start, stop) for the symbols of sentence i at a level from the root, from left to right."""
        stops = [int(p) + 1 for p in np.flatnonzero(self.ends[level, i])]
        symbols = self.grammar.symbols
        return [
            (symbols[self.ancestors[level, i, start]], start, stop)
            for start, stop in zip([0, *stops], stops, strict=False)
        ]


class SentenceStream:
    """Endless independent sentences of a grammar, numbered from 0; any block can be made again anywhere.

    `identity` is the key that the text names; two grammars under one text share their random words.

    >>> stream = SentenceStream(grammar("cfg3b", roots=7), "an example")
    >>> block = stream.sentences(0, 100)
    >>> bool((stream.sentences(40, 60).tokens == block.tokens[40:60]).all())      # any block, made again
    True
    """

    def __init__(self, grammar: Grammar, identity_text: str) -> None:
        self.grammar = grammar
        self.identity = stream_key(identity_text)

    def sentences(self, start: int, stop: int) -> Sentences:
        """Return the sentences start ... stop - 1 and their trees, padded to the longest of them."""
        require(0 <= start <= stop, f"sentences {start} ... {stop}", "0 <= start <= stop")
        grammar, tables = self.grammar, self.grammar._tables
        _, max_length, n_inner = grammar._largest
        rules = np.empty((stop - start, n_inner), np.int32)
        lengths = np.empty(stop - start, np.int64)
        step = max(1, CHUNK_WORDS // (1 + n_inner))
        for low in range(start, stop, step):
            words = random_words(self.identity, low, min(low + step, stop), 1 + n_inner)
            rows = slice(low - start, low - start + len(words))
            _derive(words, tables, grammar.depth, max_length, rules[rows], lengths[rows])
        shape = (grammar.depth + 1, stop - start, int(lengths.max(initial=0)))
        ancestors, ends = np.zeros(shape, np.uint8), np.zeros(shape, np.bool_)
        _lay_out(rules, tables, max_length, ancestors, ends)
        first_terminal = len(grammar.symbols) - grammar.n_terminals
        tokens = np.where(ends[-1], ancestors[-1] - np.uint8(first_terminal), np.uint8(0))
        return Sentences(grammar, tokens, lengths, ancestors, ends)

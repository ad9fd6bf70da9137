"""Probabilistic context-free grammars in layers (paper, section 4.1 and appendix D.1), their sentences and trees.

Every rule leads exactly one layer down, so all leaves of a tree have the same distance from its root. `Grammar` says
what is drawn, `SentenceStream` draws it: sentence i of a stream is a function of (key, i) alone, as in
`pdlib.tasks.bits`, whatever block is asked for.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pdlib.specs import Purpose, Source, Spec, SpecError, require
from pdlib.tasks.bits import random_words

__all__ = [
    "Grammar",
    "Rule",
    "SentenceStream",
    "Sentences",
    "grammar",
    "load_grammar",
    "random_words",
]

MAX_SYMBOLS = 256  # numbers of symbols are bytes
TOLERANCE = 1e-9  # of a sum of probabilities
CHUNK_WORDS = 2**19  # random words held at a time, 4 MiB
DATA = Path(__file__).with_name("grammars.json")


@dataclass(frozen=True)
class Rule(Spec):
    r"""One rule :math:`A \to B_1 \dots B_m` and its probability among the rules of A.

    Parameters
    ----------
    left
        A, a whole number.
    right
        The symbols that A becomes, from left to right, at least one.
    probability
        In (0, 1].

    Examples
    --------
    >>> print(Rule(22, (21, 20), 0.5))
    22 -> 21 20
    """

    version: ClassVar[int] = 1
    left: int
    right: tuple[int, ...]
    probability: float

    def __post_init__(self) -> None:
        require(type(self.left) is int, f"left side {self.left!r}", "a symbol, which is a whole number")
        require(
            type(self.right) is tuple and len(self.right) > 0 and all(type(s) is int for s in self.right),
            f"right side {self.right!r} of a rule of {self.left}",
            "a tuple of at least one symbol, which are whole numbers",
        )
        require(
            isinstance(self.probability, (int, float))
            and type(self.probability) is not bool
            and 0 < self.probability <= 1,
            f"probability = {self.probability!r} of the rule {self}",
            "a number above 0 and at most 1",
            "Leave out a rule that is never used.",
        )
        object.__setattr__(self, "probability", float(self.probability))

    def __str__(self) -> str:
        return f"{self.left} -> {' '.join(map(str, self.right))}"


class _Tables(NamedTuple):
    """A grammar as flat arrays of symbol numbers, for the compiled sampler."""

    left: NDArray[np.uint8]  # (rule,)
    right: NDArray[np.uint8]  # (rule, place), 0 beyond the end
    arity: NDArray[np.int64]  # (rule,), symbols on the right
    first: NDArray[np.int64]  # (symbol + 1,), a symbol's rules are first[s] ... first[s + 1] - 1
    below: NDArray[np.uint64]  # (rule,), a word below it takes this rule or an earlier one of the symbol
    root_below: NDArray[np.uint64]  # (root,), the same for the roots
    n_inner: int  # most inner nodes of a tree
    max_length: int


def _thresholds(probabilities: Sequence[float] | Sequence[Fraction]) -> list[int]:
    """Return for each outcome where its share of the 64-bit words ends; the last takes what rounding leaves."""
    total, ends = Fraction(0), []
    for p in probabilities:
        total += Fraction(p)
        ends.append(min(int(total * 2**64), 2**64 - 1))
    return ends


@dataclass(frozen=True)
class Grammar(Source):
    r"""A layered probabilistic context-free grammar; every rule goes exactly one layer down.

    A root is drawn uniformly; then each symbol becomes the right side of one of its rules, drawn with the rule's
    probability, until only terminals are left:

    .. math:: P(T) = \frac{1}{|S_0|} \prod_{A \to B_1 \dots B_m \,\in\, T} p(A \to B_1 \dots B_m)

    where :math:`S_0` are the roots and T is a tree. The sentence is the row of T's leaves.

    Parameters
    ----------
    layers
        Symbols by distance from the roots, each a whole number that occurs once: the first layer are the roots, the
        last one the terminals. At most 256 symbols.
    rules
        In any order; kept by layer, then by symbol as listed in `layers`, then as given.

    Attributes
    ----------
    depth : int
        Rule steps from a root to a leaf.
    symbols : tuple of int
        All symbols, layer by layer; a symbol's place here is its number.
    terminals : tuple of int
        The last layer. Token t of a sentence stands for `terminals[t]`.

    Raises
    ------
    SpecError
        If a symbol has no layer or two, a rule skips a layer or goes up, a symbol above the last layer has no rule,
        a rule is there twice, the probabilities of a symbol do not sum to 1 within 1e-9, or no root leads to a symbol.

    References
    ----------
    Paper, section 4.1 and appendix D.1.

    Examples
    --------
    >>> rules = (Rule(9, (7, 8), 0.5), Rule(9, (8,), 0.5), Rule(7, (1,), 1.0), Rule(8, (1, 2), 1.0))
    >>> small = Grammar(layers=((9,), (7, 8), (1, 2)), rules=rules)
    >>> small.depth, small.n_terminals, small.length_distribution().tolist()
    (2, 2, [0.0, 0.0, 0.5, 0.5])
    """

    version: ClassVar[int] = 1
    layers: tuple[tuple[int, ...], ...]
    rules: tuple[Rule, ...]

    def __post_init__(self) -> None:
        require(
            type(self.layers) is tuple and all(type(layer) is tuple for layer in self.layers),
            f"layers = {self.layers!r}",
            "a tuple of tuples of symbols",
        )
        require(
            len(self.layers) >= 2 and all(self.layers),
            f"layers = {self.layers!r}",
            "at least two layers, none empty: the roots, ..., the terminals",
            "A grammar without terminals has no sentences.",
        )
        for s in self.symbols:
            require(type(s) is int, f"symbol {s!r}", "a whole number")
        for s in self.symbols:
            found = [level for level, layer in enumerate(self.layers) for other in layer if other == s]
            require(len(found) == 1, f"symbol {s} in the layers {found}", "one layer for each symbol, once")
        require(len(self.symbols) <= MAX_SYMBOLS, f"{len(self.symbols)} symbols", f"at most {MAX_SYMBOLS}")
        require(
            type(self.rules) is tuple and all(isinstance(rule, Rule) for rule in self.rules),
            f"rules = {self.rules!r}",
            "a tuple of Rule",
        )
        self._check_rules()
        number = {s: i for i, s in enumerate(self.symbols)}
        # sorted is stable, so rules of one symbol stay as given
        object.__setattr__(self, "rules", tuple(sorted(self.rules, key=lambda rule: number[rule.left])))
        reached = self._reachable(self.roots)
        lost = [s for s in self.symbols if s not in reached]
        require(
            not lost,
            f"symbols {lost}",
            f"symbols that the roots {list(self.roots)} lead to",
            "Leave them out.",
        )

    def _check_rules(self) -> None:
        layer_of = self._layer_of
        seen: set[tuple[int, tuple[int, ...]]] = set()
        for rule in self.rules:
            for s in (rule.left, *rule.right):
                require(s in layer_of, f"symbol {s} of the rule {rule}", "a symbol that stands in a layer")
            above = layer_of[rule.left]
            require(
                above < self.depth,
                f"the rule {rule} of a terminal",
                "rules of symbols above the last layer only",
            )
            for s in rule.right:
                require(
                    layer_of[s] == above + 1,
                    f"the rule {rule}: from layer {above} to {s} in layer {layer_of[s]}",
                    f"symbols of layer {above + 1}, one step down",
                    "A symbol that stays for a layer takes a rule with one symbol on the right.",
                )
            require(
                (rule.left, rule.right) not in seen,
                f"the rule {rule} twice",
                "each rule once",
                "Add up their probabilities.",
            )
            seen.add((rule.left, rule.right))
        for s in self.symbols:
            if layer_of[s] == self.depth:
                continue
            probabilities = [rule.probability for rule in self.rules if rule.left == s]
            require(
                bool(probabilities),
                f"symbol {s} of layer {layer_of[s]} without a rule",
                "rules for every symbol above the last layer",
                f"A terminal belongs to layer {self.depth}.",
            )
            total = math.fsum(probabilities)
            require(
                abs(total - 1) <= TOLERANCE,
                f"probabilities {probabilities} of the rules of {s}, which sum to {total!r}",
                f"a sum of 1 within {TOLERANCE}",
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
        """Return the grammar whose sentences are the spans of these symbols.

        Parameters
        ----------
        roots
            One symbol or several of one layer above the last, in any order. Symbols that they do not lead to are
            dropped.

        Raises
        ------
        SpecError
            If they are none, unknown, repeated, terminals or of more than one layer.

        Examples
        --------
        >>> grammar("cfg3b").below([14, 15]).layers
        ((14, 15), (10, 11, 12), (7, 8, 9), (1, 2, 3))
        """
        given = [roots] if isinstance(roots, int) else list(roots)
        inner = [s for layer in self.layers[:-1] for s in layer]
        require(
            len(given) > 0 and len(set(given)) == len(given) and all(s in inner for s in given),
            f"roots {given}",
            f"at least one of the symbols {inner}, each once",
        )
        found = {self._layer_of[s] for s in given}
        require(len(found) == 1, f"roots {given} of the layers {sorted(found)}", "roots of one layer")
        reached = self._reachable(given)
        rest = self.layers[found.pop() :]
        return replace(
            self,
            layers=tuple(tuple(s for s in layer if s in reached) for layer in rest),
            rules=tuple(rule for rule in self.rules if rule.left in reached),
        )

    def level(self, level: int, counted: Literal["from_root", "from_leaves"]) -> int:
        """Return the row of `Sentences.ancestors` that is meant by a level.

        Parameters
        ----------
        level
            From the root: 0 is the root, `depth` the terminals, as in the paper's Definition 4.3. From the leaves: 1 is
            the terminals, 2 the lowest symbols above them, `depth` + 1 the root, as in the paper's appendix E.
        counted
            `"from_root"` or `"from_leaves"`.

        Raises
        ------
        SpecError
            If there is no such level.

        Examples
        --------
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

    def _largest(self) -> tuple[int, int, int]:
        """The least and the greatest length of a sentence, and the most inner nodes of a tree."""
        size = dict.fromkeys(self.terminals, (1, 1, 0))
        for rule in reversed(self.rules):
            parts = [size[s] for s in rule.right]
            low, high = sum(p[0] for p in parts), sum(p[1] for p in parts)
            inner = 1 + sum(p[2] for p in parts)
            old = size.get(rule.left, (low, high, inner))
            size[rule.left] = (min(low, old[0]), max(high, old[1]), max(inner, old[2]))
        ends = [size[root] for root in self.roots]
        return min(e[0] for e in ends), max(e[1] for e in ends), max(e[2] for e in ends)

    @property
    def min_length(self) -> int:
        """The length of the shortest sentence."""
        return self._largest()[0]

    @property
    def max_length(self) -> int:
        """The length of the longest sentence."""
        return self._largest()[1]

    def length_distribution(self) -> NDArray[np.float64]:
        r"""Return the exact distribution of a sentence's length; the index is the length.

        From the terminals up, with * for convolution,

        .. math:: P_A = \sum_{A \to B_1 \dots B_m} p(A \to B_1 \dots B_m)\; P_{B_1} * \dots * P_{B_m}

        and the mean over the roots at the end.

        Returns
        -------
        numpy.ndarray
            Shape (max_length + 1,), sums to 1.

        Examples
        --------
        >>> lengths = grammar("cfg3b").length_distribution()
        >>> int(np.searchsorted(lengths.cumsum(), 0.5))      # the median
        277
        """
        lengths = {s: np.array([0.0, 1.0]) for s in self.terminals}
        for layer in self.layers[-2::-1]:
            for s in layer:
                found = np.zeros(1)
                for rule in self.rules_of(s):
                    one = np.array([rule.probability])
                    for part in rule.right:
                        one = np.convolve(one, lengths[part])
                    found = _added(found, one)
                lengths[s] = found
        total = np.zeros(1)
        for root in self.roots:
            total = _added(total, lengths[root] / len(self.roots))
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
    def _tables(self) -> _Tables:
        number = {s: i for i, s in enumerate(self.symbols)}
        right = np.zeros((len(self.rules), max(len(rule.right) for rule in self.rules)), np.uint8)
        below: list[int] = []
        first = [0]
        for s in self.symbols:
            rules = self.rules_of(s)
            below += _thresholds([rule.probability for rule in rules])
            first.append(len(below))
        for i, rule in enumerate(self.rules):
            right[i, : len(rule.right)] = [number[s] for s in rule.right]
        _, max_length, n_inner = self._largest()
        n_roots = len(self.roots)
        return _Tables(
            left=np.array([number[rule.left] for rule in self.rules], np.uint8),
            right=right,
            arity=np.array([len(rule.right) for rule in self.rules], np.int64),
            first=np.array(first, np.int64),
            below=np.array(below, np.uint64),
            root_below=np.array(_thresholds([Fraction(1, n_roots)] * n_roots), np.uint64),
            n_inner=n_inner,
            max_length=max_length,
        )


def _added(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sum of two sequences of any lengths."""
    total = np.zeros(max(len(one), len(other)))
    total[: len(one)] += one
    total[: len(other)] += other
    return total


# Grammars from files


def _symbol(value: Any) -> int:
    """A symbol as JSON writes it: a whole number, or one in quotes, since keys of JSON are text."""
    if type(value) is int:
        return value
    require(
        isinstance(value, str) and re.fullmatch(r"-?[0-9]+", value) is not None,
        f"symbol {value!r}",
        "a whole number, or one in quotes",
        "Number the symbols.",
    )
    return int(value)


def _derived_layers(rules: Mapping[int, Sequence[tuple[int, ...]]]) -> tuple[tuple[int, ...], ...]:
    """Layers by distance from the symbols that no rule leads to; within a layer, symbols rise."""
    led_to = {s for sides in rules.values() for right in sides for s in right}
    layer = sorted(set(rules) - led_to)
    require(
        bool(layer),
        f"rules for {sorted(rules)}",
        "a root, a symbol that no rule leads to",
        "There is a cycle.",
    )
    layer_of: dict[int, int] = {}
    layers: list[tuple[int, ...]] = []
    while layer:
        for s in layer:
            require(
                s not in layer_of,
                f"symbol {s} at the distances {layer_of.get(s)} and {len(layers)} from the roots",
                "one distance for each symbol",
                "Rules lead one layer down, never further and never in a cycle.",
            )
            layer_of[s] = len(layers)
        layers.append(tuple(layer))
        layer = sorted({s for left in layer for right in rules.get(left, ()) for s in right})
    lost = sorted(set(rules) - set(layer_of))
    require(
        not lost, f"symbols {lost}", f"symbols that the roots {list(layers[0])} lead to", "There is a cycle."
    )
    return tuple(layers)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, whose keys are there once: the last one would win without a word."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        require(key not in found, f"key {key!r} twice", "each key of an object once")
        found[key] = value
    return found


def _lists(value: Any, what: str) -> list[Any]:
    require(isinstance(value, (list, tuple)), f"{what} = {value!r}", "a list")
    return list(value)


def load_grammar(source: str | Path | Mapping[str, Any]) -> Grammar:
    """Return a grammar from a JSON file, or from what such a file holds.

    ::

        {"layers": [[9], [7, 8], [1, 2]],
         "rules": {"9": [[7, 8], [8]], "7": [[1]], "8": [[1, 2]]},
         "probabilities": {"9": [0.25, 0.75], "7": [1], "8": [1]}}

    Parameters
    ----------
    source
        A path, or a dictionary of this form. Symbols are whole numbers, in quotes where JSON needs text. Without
        `"probabilities"` the rules of a symbol are equally likely. Without `"layers"` the roots are the symbols that
        no rule leads to, and each layer is sorted.

    Raises
    ------
    SpecError
        If the file cannot be read, or does not hold a grammar as `Grammar` describes it.

    Examples
    --------
    >>> load_grammar({"rules": {"9": [[7, 8], [8]], "7": [[1]], "8": [[1, 2]]}}).layers
    ((9,), (7, 8), (1, 2))
    """
    if not isinstance(source, Mapping):
        path = Path(source)
        require(path.is_file(), f"grammar file {str(path)!r}", "a file")
        try:
            source = json.loads(path.read_text("utf-8"), object_pairs_hook=_unique)
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise SpecError(f"grammar file {str(path)!r}: expected JSON. {error}") from None
    require(isinstance(source, Mapping), f"grammar {source!r}", "an object with 'rules'")
    assert isinstance(source, Mapping)
    require(
        {"rules"} <= set(source) <= {"layers", "rules", "probabilities"},
        f"a grammar with the keys {sorted(map(str, source))}",
        "'rules', and if need be 'layers' and 'probabilities'",
    )
    require(
        isinstance(source["rules"], Mapping),
        f"rules = {source['rules']!r}",
        "an object: symbol to right sides",
    )
    sides: dict[int, list[tuple[int, ...]]] = {}
    for key, given in source["rules"].items():
        left = _symbol(key)
        require(left not in sides, f"rules of symbol {left} twice", "one list of right sides a symbol")
        sides[left] = [
            tuple(_symbol(s) for s in _lists(right, f"a right side of {left}"))
            for right in _lists(given, f"right sides of {left}")
        ]
    probabilities = {left: [1 / len(given) for _ in given] for left, given in sides.items()}
    if source.get("probabilities") is not None:
        stated = source["probabilities"]
        require(
            isinstance(stated, Mapping), f"probabilities = {stated!r}", "an object: symbol to probabilities"
        )
        probabilities = {_symbol(key): _lists(p, f"probabilities of {key}") for key, p in stated.items()}
        require(
            set(probabilities) == set(sides),
            f"probabilities for the symbols {sorted(probabilities)}",
            f"those with rules, {sorted(sides)}",
        )
        for left, given in sides.items():
            require(
                len(probabilities[left]) == len(given),
                f"{len(probabilities[left])} probabilities for the {len(given)} rules of {left}",
                "one a rule",
            )
    if source.get("layers") is not None:
        layers = tuple(
            tuple(_symbol(s) for s in _lists(layer, "a layer"))
            for layer in _lists(source["layers"], "layers")
        )
    else:
        layers = _derived_layers(sides)
    rules = tuple(
        Rule(left, right, p)
        for left, given in sides.items()
        for right, p in zip(given, probabilities[left], strict=True)
    )
    return Grammar(layers, rules)


def grammar(name: str, roots: int | Sequence[int] | None = None, released: bool = False) -> Grammar:
    """Return one of the paper's five grammars, whose rules are equally likely, or the part below some symbols.

    Parameters
    ----------
    name
        `"cfg3b"`, `"cfg3i"`, `"cfg3h"`, `"cfg3g"` or `"cfg3f"`, from the easiest to the hardest.
    roots
        If given, only what lies below these symbols; see `Grammar.below`.
    released
        cfg3b as in the paper's official code, which lacks the rule 9 -> 2 1; the paper's lengths of sentences are
        those of the grammar with it.

    Raises
    ------
    SpecError
        If there is no such grammar, or no released variant of it.

    References
    ----------
    Allen-Zhu and Li, "Physics of language models: Part 1, context-free grammar", arXiv:2305.13673. Paper, appendix D.4.

    Examples
    --------
    >>> cfg3b = grammar("cfg3b")
    >>> cfg3b.depth, cfg3b.roots, cfg3b.terminals, len(cfg3b.rules), cfg3b.min_length, cfg3b.max_length
    (6, (22,), (1, 2, 3), 32, 138, 432)
    >>> len(grammar("cfg3b", released=True).rules), grammar("cfg3b", roots=7).max_length
    (31, 3)
    """
    known = json.loads(DATA.read_text("utf-8"))
    require(name in known, f"grammar {name!r}", f"one of {', '.join(known)}", "Others: load_grammar.")
    require(
        not released or name == "cfg3b",
        f"released = {released!r} for {name}",
        "False",
        "Only cfg3b differs there.",
    )
    data = known[name]
    if released:
        data["rules"]["9"].remove([2, 1])
    found = load_grammar(data)
    return found if roots is None else found.below(roots)


# Sentences


@njit(cache=True)
def _derive(
    words: NDArray[np.uint64],
    root_below: NDArray[np.uint64],
    below: NDArray[np.uint64],
    first: NDArray[np.int64],
    right: NDArray[np.uint8],
    arity: NDArray[np.int64],
    depth: int,
    max_length: int,
    rules: NDArray[np.int32],
    lengths: NDArray[np.int64],
) -> None:
    """Write each sentence's rules, layer by layer from left to right, and its length. Word 0 draws the root."""
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


@njit(cache=True)
def _lay_out(
    rules: NDArray[np.int32],
    left: NDArray[np.uint8],
    right: NDArray[np.uint8],
    arity: NDArray[np.int64],
    max_length: int,
    ancestors: NDArray[np.uint8],
    ends: NDArray[np.bool_],
) -> None:
    """Write for each position and level which symbol it lies below, and whether that symbol's span ends there."""
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


Tree = int | tuple[int, tuple[Any, ...]]  # a leaf's symbol, or a symbol and its children


@dataclass(frozen=True, eq=False)
class Sentences:
    """A block of sentences with their trees.

    Parameters
    ----------
    grammar
        Theirs.
    tokens : shape (sentence, position)
        Places in `grammar.terminals`; 0 beyond the end. As long as the block's longest sentence.
    lengths : shape (sentence,)
        Numbers of tokens.
    ancestors : shape (level, sentence, position)
        The symbol at this distance from the root (0 is the root, `grammar.depth` the leaf itself) that the position
        lies below, as its place in `grammar.symbols`; 0 beyond the end.
    ends : shape (level, sentence, position)
        Whether the position is the last of that symbol's span, its right boundary in the paper's Definition 4.3; False
        beyond the end. The ends of a level are ends of all levels below it.

    Examples
    --------
    >>> small = load_grammar({"rules": {"9": [[7, 8]], "7": [[1]], "8": [[1, 2]]}})
    >>> block = SentenceStream(small, "an example").sentences(0, 2)
    >>> block.tokens[0].tolist(), block.ends[1, 0].tolist()
    ([0, 0, 1], [True, False, True])
    >>> block.tree(0)
    (9, ((7, (1,)), (8, (1, 2))))
    >>> block.spans(0, level=1)
    [(7, 0, 1), (8, 1, 3)]
    """

    grammar: Grammar
    tokens: NDArray[np.uint8]
    lengths: NDArray[np.int64]
    ancestors: NDArray[np.uint8]
    ends: NDArray[np.bool_]

    @property
    def visible(self) -> NDArray[np.bool_]:
        """Whether there is a token, shape (sentence, position)."""
        return np.arange(self.tokens.shape[1]) < self.lengths[:, None]

    def spans(self, i: int, level: int) -> list[tuple[int, int, int]]:
        """Return (symbol, start, stop) for the symbols of sentence i at a level from the root, from left to right."""
        stops = [int(p) + 1 for p in np.flatnonzero(self.ends[level, i])]
        symbols = self.grammar.symbols
        return [
            (symbols[self.ancestors[level, i, start]], start, stop)
            for start, stop in zip([0, *stops], stops, strict=False)
        ]

    def tree(self, i: int) -> Tree:
        """Return the tree of sentence i: (symbol, its children), where a leaf is its symbol alone."""
        below: list[tuple[Tree, int]] = [(s, stop) for s, _, stop in self.spans(i, self.grammar.depth)]
        for level in range(self.grammar.depth - 1, -1, -1):
            above: list[tuple[Tree, int]] = []
            for symbol, start, stop in self.spans(i, level):
                children = tuple(node for node, end in below if start < end <= stop)
                above.append(((symbol, children), stop))
            below = above
        return below[0][0]


class SentenceStream:
    """Endless independent sentences of a grammar, numbered from 0; any block can be made again anywhere.

    Parameters
    ----------
    grammar
        What is drawn.
    identity_text
        What the stream is; its hash is the generator's key. Streams of other identities are independent for all
        practical purposes. It should name the grammar: two grammars under one text share their random words.

    Attributes
    ----------
    identity : str
        The key, 32 hexadecimal digits.

    Examples
    --------
    >>> stream = SentenceStream(grammar("cfg3b", roots=7), "an example")
    >>> block = stream.sentences(0, 100)
    >>> bool((stream.sentences(40, 60).tokens == block.tokens[40:60]).all())      # any block, made again
    True
    """

    def __init__(self, grammar: Grammar, identity_text: str) -> None:
        self.grammar = grammar
        self.identity = hashlib.sha256(identity_text.encode()).hexdigest()[:32]

    def _derivations(self, start: int, stop: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        require(0 <= start <= stop, f"sentences {start} ... {stop}", "0 <= start <= stop")
        tables = self.grammar._tables
        rules = np.empty((stop - start, tables.n_inner), np.int32)
        lengths = np.empty(stop - start, np.int64)
        step = max(1, CHUNK_WORDS // (1 + tables.n_inner))
        for low in range(start, stop, step):
            high = min(low + step, stop)
            _derive(
                random_words(self.identity, low, high, 1 + tables.n_inner),
                tables.root_below,
                tables.below,
                tables.first,
                tables.right,
                tables.arity,
                self.grammar.depth,
                tables.max_length,
                rules[low - start : high - start],
                lengths[low - start : high - start],
            )
        return rules, lengths

    def lengths(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the lengths of the sentences start ... stop - 1 alone, shape (sentence,)."""
        return self._derivations(start, stop)[1]

    def sentences(self, start: int, stop: int) -> Sentences:
        """Return the sentences start ... stop - 1 and their trees, padded to the longest of them."""
        tables = self.grammar._tables
        rules, lengths = self._derivations(start, stop)
        shape = (self.grammar.depth + 1, stop - start, int(lengths.max(initial=0)))
        ancestors, ends = np.zeros(shape, np.uint8), np.zeros(shape, np.bool_)
        _lay_out(rules, tables.left, tables.right, tables.arity, tables.max_length, ancestors, ends)
        first_terminal = len(self.grammar.symbols) - self.grammar.n_terminals
        tokens = np.where(ends[-1], ancestors[-1] - np.uint8(first_terminal), np.uint8(0))
        return Sentences(self.grammar, tokens, lengths, ancestors, ends)

r"""Sums over the trees of a grammar, of which `pdlib.tasks.posteriors` are made.

Three passes over tables of spans. With :math:`e_j(t)` the evidence that position j gives for the terminal t, the
*inside* value of a symbol is the weight of all its derivations of a span,

.. math:: I_A(i, j) = \sum_{A \to B_1 \dots B_m} p(A \to B_1 \dots B_m)
                      \sum_{i = k_0 < \dots < k_m = j} \prod_r I_{B_r}(k_{r-1}, k_r), \qquad I_t(j, j + 1) = e_j(t);

the *outside* value is the derivative, by it, of the log of the whole sentence's inside value, so that their product is the
probability that the symbol has this span. The *left* value :math:`F_A(i)` is the probability of the first i tokens and
of a span of A that begins behind them. It is a finite sum over the symbols above, since every rule leads one layer down.

Right sides are multiplied from left to right, and rules that begin alike share the work. Each layer has its own scale: a
span's inside value is divided by :math:`\exp(\phi_{j} - \phi_{i})`, where :math:`\phi` is the log weight of the best
sequence of that layer's spans up to a position. No derivation is changed by it, but the values stay near 1 for sentences
of any length; and spans that no such sequence reaches drop out. Where the grammar forbids the best sequences, as in long
sentences that are none of its own, values may still leave the range of float64. Such sentences are done again in logs.

Whether a text is grammatical, and how far, needs no values: inside and left with *true* and *false* for numbers go from
token to token, and know no range.

References
----------
Baker, "Trainable grammars for speech recognition" (1979); Lari and Young (1990). Jelinek and Lafferty, "Computation of
the probability of initial substring generation by stochastic context-free grammars" (1991), for the left values.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pdlib import compiled

if TYPE_CHECKING:
    from pdlib.tasks.grammar import Grammar

Values = NDArray[np.float64]

FLOOR = 1e-280  # smaller values, beside 1 for the best of their layer, count as 0: their outside values would overflow
RANGE = 460.0  # nats: a pass is trusted if no value below FLOOR can matter by more than 1e-80 of the result


class _Nodes(NamedTuple):
    """A grammar as flat arrays. A node is a symbol, or the beginning (two symbols or more) of right sides."""

    depth: int
    first: NDArray[np.int64]  # (layer + 1,), a layer's symbols are first[l] ... first[l + 1] - 1
    shortest: NDArray[np.int64]  # (node,)
    longest: NDArray[np.int64]  # (node,)
    layer: NDArray[np.int64]  # (node,), of the symbol, or of the rules that begin so
    products: NDArray[np.int64]  # (product, 3): node, the node without its last symbol, that symbol
    first_product: NDArray[np.int64]  # (layer + 1,)
    rules: NDArray[np.int64]  # (rule, 2): left side, node of the whole right side
    weights: Values  # (rule,)
    first_rule: NDArray[np.int64]  # (layer + 1,)
    links: NDArray[np.int64]  # (link, 3): left side, node before the next symbol (-1: none), next symbol
    link_weights: Values  # (link, 2): of the rules that begin so, and that end there
    first_link: NDArray[np.int64]  # (layer + 1,)


@lru_cache(maxsize=32)
def nodes(grammar: Grammar) -> _Nodes:
    number = {symbol: i for i, symbol in enumerate(grammar.symbols)}
    layer_of = [level for level, layer in enumerate(grammar.layers) for _ in layer]
    first = np.cumsum([0, *map(len, grammar.layers)])
    node_of: dict[tuple[int, ...], int] = {(i,): i for i in range(len(number))}
    products: list[tuple[int, int, int]] = []
    rules: list[tuple[int, int]] = []
    links: dict[tuple[int, int, int], list[float]] = {}
    starts = [(0, 0, 0)]
    for level, layer in enumerate(grammar.layers[:-1]):
        for rule in (rule for rule in grammar.rules if rule.left in layer):
            left, right = number[rule.left], tuple(number[symbol] for symbol in rule.right)
            for size in range(1, len(right) + 1):
                before = node_of[right[: size - 1]] if size > 1 else -1
                if right[:size] not in node_of:
                    node_of[right[:size]] = len(node_of)
                    products.append((node_of[right[:size]], before, right[size - 1]))
                    layer_of.append(level)
                found = links.setdefault((left, before, right[size - 1]), [0.0, 0.0])
                found[0] += rule.probability
                found[1] += rule.probability if size == len(right) else 0.0
            rules.append((left, node_of[right]))
        starts.append((len(products), len(rules), len(links)))
    shortest = np.ones(len(node_of), np.int64)  # of terminals
    longest = np.ones(len(node_of), np.int64)
    for level in range(grammar.depth - 1, -1, -1):
        for node, before, last in products[starts[level][0] : starts[level + 1][0]]:
            shortest[node] = shortest[before] + shortest[last]
            longest[node] = longest[before] + longest[last]
        for symbol in range(first[level], first[level + 1]):
            sides = [node for left, node in rules if left == symbol]
            shortest[symbol], longest[symbol] = shortest[sides].min(), longest[sides].max()
    first_product, first_rule, first_link = np.array(starts, np.int64).T.copy()
    return _Nodes(
        depth=grammar.depth,
        first=first.astype(np.int64),
        shortest=shortest,
        longest=longest,
        layer=np.array(layer_of, np.int64),
        products=np.array(products, np.int64).reshape(-1, 3),
        first_product=first_product,
        rules=np.array(rules, np.int64),
        weights=np.array([rule.probability for rule in grammar.rules]),
        first_rule=first_rule,
        links=np.array(list(links), np.int64),
        link_weights=np.array(list(links.values())),
        first_link=first_link,
    )


class _Sentence(NamedTuple):
    """A grammar, and where the tables of a sentence of n tokens lie in a row of values.

    A node's table has a row for each start (for the top layer: the start 0 alone) and a column for each length from its
    shortest on: entry (i, length) of node k is at offsets[k] + i * widths[k] + length - shortest[k].
    """

    g: _Nodes
    n: int
    widths: NDArray[np.int64]  # (node,)
    offsets: NDArray[np.int64]  # (node + 1,), the last one is the size of all


# The passes. Only the outermost kernels are kept on disk, and they take a plain tuple: an entry that named a class of
# this module could not be read once the class has another name.


@njit()
def _sentence(g: _Nodes, n: int) -> _Sentence:
    n_nodes = len(g.shortest)
    widths = np.empty(n_nodes, np.int64)
    offsets = np.empty(n_nodes + 1, np.int64)
    offsets[0] = 0
    for k in range(n_nodes):
        widths[k] = max(0, min(n, g.longest[k]) - g.shortest[k] + 1)
        offsets[k + 1] = offsets[k] + widths[k] * (1 if g.layer[k] == 0 else n)
    return _Sentence(g, n, widths, offsets)


@njit()
def _best_sequence(s: _Sentence, layer: int, inside: Values, best: Values) -> float:
    """Write to `best` (boundary,) the log weight of the best sequence of a layer's spans up to each boundary.

    Return the largest drop of it over a span's length: the factor by which scaling may enlarge what was lost.
    """
    g, n, widths, offsets = s
    best[:] = -np.inf
    best[0] = 0.0
    low, high = n, 0
    for k in range(g.first[layer], g.first[layer + 1]):
        low = min(low, g.shortest[k])
        high = max(high, g.shortest[k] + widths[k] - 1)
    for i in range(n):
        if best[i] == -np.inf:
            continue
        for length in range(low, min(high, n - i) + 1):
            value = 0.0
            for k in range(g.first[layer], g.first[layer + 1]):
                column = length - g.shortest[k]
                if 0 <= column < widths[k]:
                    value = max(value, inside[offsets[k] + i * widths[k] + column])
            if value > FLOOR:
                best[i + length] = max(best[i + length], best[i] + np.log(value))
    drop = 0.0
    for i in range(n):
        for length in range(low, min(high, n - i) + 1):
            if best[i] > -np.inf and best[i + length] > -np.inf:
                drop = max(drop, best[i] - best[i + length])
    return drop


@njit()
def _scale(s: _Sentence, layer: int, best: Values, inside: Values, values: Values) -> None:
    """Divide a layer's `values` by the best sequence's share; where the inside value counts as 0, they become 0."""
    g, n, widths, offsets = s
    for k in range(g.first[layer], g.first[layer + 1]):
        for i in range(n):
            row = offsets[k] + i * widths[k]
            for column in range(widths[k]):
                j = i + g.shortest[k] + column
                # best[j] may be -inf only where the value is too small
                if j > n or best[i] == -np.inf or inside[row + column] <= FLOOR:
                    values[row + column] = 0.0
                else:
                    values[row + column] *= np.exp(best[i] - best[j])


@njit()
def _log_sum(a: float, b: float) -> float:
    low, high = min(a, b), max(a, b)
    return high + np.log1p(np.exp(low - high)) if low > -np.inf else high


@njit()
def _sum(a: float, b: float) -> float:
    return a + b


@njit()
def _difference(a: float, b: float) -> float:
    return a - b


@njit()
def _product(a: float, b: float) -> float:
    return a * b


@njit()
def _quotient(a: float, b: float) -> float:
    return a / b


@njit()
def _itself(a: Any) -> Any:
    return a


@njit()
def _log(a: Any) -> Any:
    return np.log(a)


def _route(scaled: bool) -> tuple[Any, Any, Any]:
    """Return the passes with values, scaled layer by layer, or with their logs: for any range, and slower by far.

    `of` makes a value of a number; one that is no larger than `nothing` counts as none.
    """
    add, times, over, of = (
        (_sum, _product, _quotient, _itself) if scaled else (_log_sum, _sum, _difference, _log)
    )
    nothing, one, floor = (0.0, 1.0, FLOOR) if scaled else (-np.inf, 0.0, -np.inf)

    @njit()
    def whole(s: _Sentence, n: int, inside: Values) -> float:
        """The mean over the roots of the inside value of the first n tokens."""
        g, _, widths, offsets = s
        total = nothing
        for k in range(g.first[1]):
            if 0 <= n - g.shortest[k] < widths[k]:
                total = add(total, inside[offsets[k] + n - g.shortest[k]])
        return float(over(total, of(float(g.first[1]))))

    @njit()
    def up(s: _Sentence, layer: int, weights: Values, inside: Values) -> None:
        """Fill a layer's tables from those of the layer below."""
        g, n, widths, offsets = s
        n_rows = 1 if layer == 0 else n
        for p in range(g.first_product[layer], g.first_product[layer + 1]):
            node, before, last = g.products[p]
            gap = g.shortest[before] + g.shortest[last] - g.shortest[node]
            for i in range(n_rows):
                for a in range(widths[before]):
                    middle = i + g.shortest[before] + a
                    factor = inside[offsets[before] + i * widths[before] + a]
                    if not factor > nothing:
                        continue
                    source = offsets[last] + middle * widths[last]
                    target = offsets[node] + i * widths[node] + gap + a
                    for b in range(min(widths[last], n - middle - g.shortest[last] + 1)):
                        inside[target + b] = add(inside[target + b], times(factor, inside[source + b]))
        for r in range(g.first_rule[layer], g.first_rule[layer + 1]):
            left, node = g.rules[r]
            gap = g.shortest[node] - g.shortest[left]
            for i in range(n_rows):
                source = offsets[node] + i * widths[node]
                target = offsets[left] + i * widths[left] + gap
                for b in range(widths[node]):
                    inside[target + b] = add(inside[target + b], times(weights[r], inside[source + b]))

    @njit()
    def fill_inside(s: _Sentence, evidence: Values, inside: Values, scales: Values) -> float:
        """Fill all tables for a sentence's evidence (position, terminal), and `scales` (layer, boundary).

        A row of scales is a layer's best sequence, on top of the layers below. Returns the sum of what `_best_sequence`
        returns.
        """
        g, n, _, offsets = s
        inside[: offsets[-1]] = nothing
        best = np.zeros(n + 1)
        for i in range(n):
            top = evidence[i].max() if scaled else 1.0
            best[i + 1] = best[i] + (np.log(top) if top > 0 else 0.0)
            for t in range(evidence.shape[1]):
                if top > 0:
                    inside[offsets[g.first[g.depth] + t] + i] = of(evidence[i, t] / top)
        scales[g.depth, : n + 1] = best
        weights = of(g.weights)
        drops = 0.0
        for layer in range(g.depth - 1, -1, -1):
            up(s, layer, weights, inside)
            scales[layer, : n + 1] = scales[layer + 1, : n + 1]
            if scaled and layer > 0:
                drops += _best_sequence(s, layer, inside, best)
                scales[layer, : n + 1] += best
                _scale(s, layer, best, inside, inside)
        return drops

    # sums of a row in any order, so that they use the processor's vectors
    @njit(fastmath={"reassoc", "contract"})
    def through_product(
        inside: Values, outside: Values, place: int, last: int, node: int, n_lengths: int
    ) -> None:
        """Hand a row of a product's outside values down to what stands before, at `place`, and to its last symbol."""
        total, factor = outside[place], inside[place]
        for b in range(n_lengths):
            total = add(total, times(outside[node + b], inside[last + b]))
            outside[last + b] = add(outside[last + b], times(factor, outside[node + b]))
        outside[place] = total

    @njit()
    def down(s: _Sentence, layer: int, weights: Values, inside: Values, outside: Values) -> None:
        """Add to the outside values of the layer below what a layer hands down."""
        g, n, widths, offsets = s
        n_rows = 1 if layer == 0 else n
        for r in range(g.first_rule[layer], g.first_rule[layer + 1]):
            left, node = g.rules[r]
            gap = g.shortest[node] - g.shortest[left]
            for i in range(n_rows):
                source = offsets[left] + i * widths[left] + gap
                target = offsets[node] + i * widths[node]
                for b in range(widths[node]):
                    outside[target + b] = add(outside[target + b], times(weights[r], outside[source + b]))
        for p in range(g.first_product[layer + 1] - 1, g.first_product[layer] - 1, -1):
            node, before, last = g.products[p]
            gap = g.shortest[before] + g.shortest[last] - g.shortest[node]
            for i in range(n_rows):
                row = offsets[node] + i * widths[node]
                some = False
                for b in range(widths[node]):
                    if inside[row + b] <= floor:
                        outside[row + b] = nothing
                    elif outside[row + b] > nothing:
                        some = True
                if not some:
                    continue
                for a in range(widths[before]):
                    middle = i + g.shortest[before] + a
                    n_lengths = min(widths[last], n - middle - g.shortest[last] + 1)
                    if n_lengths <= 0:
                        break
                    place = offsets[before] + i * widths[before] + a
                    if inside[place] > floor:
                        source = offsets[last] + middle * widths[last]
                        through_product(inside, outside, place, source, row + gap + a, n_lengths)

    @njit()
    def fill_outside(s: _Sentence, inside: Values, scales: Values, outside: Values) -> None:
        """Fill the tables of outside values: inside value times outside value is the probability of a span."""
        g, n, widths, offsets = s
        outside[: offsets[-1]] = nothing
        total = times(of(float(g.first[1])), whole(s, n, inside))
        for k in range(g.first[1]):
            if 0 <= n - g.shortest[k] < widths[k]:
                outside[offsets[k] + n - g.shortest[k]] = over(one, total)
        weights = of(g.weights)
        for layer in range(g.depth):
            if scaled and layer > 0:
                _scale(s, layer, scales[layer, : n + 1] - scales[layer + 1, : n + 1], inside, outside)
            down(s, layer, weights, inside, outside)

    return whole, fill_inside, fill_outside


_whole, _inside, _outside = _route(scaled=True)
_whole_in_logs, _inside_in_logs, _outside_in_logs = _route(scaled=False)


# All sentences of a block


@njit()
def _size(g: _Nodes, lengths: NDArray[np.int64]) -> int:
    """Entries that the tables of the longest sentence take."""
    return int(_sentence(g, lengths.max()).offsets[-1]) if len(lengths) > 0 else 0


@compiled.njit()
def marginals(
    tables: tuple[Any, ...], evidence: Values, lengths: NDArray[np.int64], log_evidence: Values, out: Values
) -> None:
    """Write each sentence's log evidence, and to `out` (sentence, position, terminal) the posteriors of all tokens."""
    g = _Nodes(*tables)
    size = _size(g, lengths)
    inside = np.empty(size)
    outside = np.empty(size)
    scales = np.empty((g.depth + 1, evidence.shape[1] + 1))
    for x in range(len(lengths)):
        n = lengths[x]
        if n == 0:
            log_evidence[x] = -np.inf
            continue
        s = _sentence(g, n)
        drops = _inside(s, evidence[x, :n], inside, scales)
        total = _whole(s, n, inside)
        scaled = total > FLOOR and drops - np.log(total) < RANGE
        if scaled:
            log_evidence[x] = np.log(total) + scales[0, n]
        else:
            _inside_in_logs(s, evidence[x, :n], inside, scales)
            log_evidence[x] = _whole_in_logs(s, n, inside)
        if log_evidence[x] == -np.inf:
            continue
        if scaled:
            _outside(s, inside, scales, outside)
        else:
            _outside_in_logs(s, inside, scales, outside)
        for t in range(evidence.shape[2]):
            place = s.offsets[g.first[g.depth] + t]
            for i in range(n):
                if evidence[x, i, t] == 0.0:
                    continue  # impossible, and its outside value may be anything
                if scaled:
                    out[x, i, t] = inside[place + i] * outside[place + i]
                else:
                    out[x, i, t] = np.exp(inside[place + i] + outside[place + i])


@njit()
def _reached(
    s: _Sentence,
    layer: int,
    m: int,
    ends: int,
    inside: Values,
    scale: Values,
    log_prefix: Values,
    left: Values,
) -> None:
    """Add to column m of `left` (symbol, boundary) what the symbols of `layer` hand to those below.

    Both over the prefix's probability. `ends` 1: only to the last symbol of a right side.
    """
    g, _, widths, offsets = s
    for x in range(g.first_link[layer], g.first_link[layer + 1]):
        above, before, symbol = g.links[x]
        weight = g.link_weights[x, ends]
        if weight == 0.0:
            continue
        if before < 0:
            left[symbol, m] += weight * left[above, m]
            continue
        for column in range(widths[before]):
            i = m - g.shortest[before] - column
            if i < 0:
                break
            if left[above, i] == 0.0 or (layer == 0 and i > 0):
                continue
            value = inside[offsets[before] + i * widths[before] + column]
            if value > -np.inf:
                # one exponential: its factors may be out of range, the product is a probability over `weight`
                left[symbol, m] += weight * np.exp(
                    np.log(left[above, i]) + value + (scale[m] - scale[i]) + (log_prefix[i] - log_prefix[m])
                )


@compiled.njit()
def prefixes(
    tables: tuple[Any, ...],
    tokens: NDArray[np.int64],
    lengths: NDArray[np.int64],
    level: int,
    reached: NDArray[np.int64],
    out: Values,
) -> None:
    """Write to `out` (sentence, boundary, V + 1) what follows each prefix, and to `reached` the longest possible one.

    With a `level` >= 0 to `out` (sentence, position, V) the same, given that a span of that level ends there.
    """
    g = _Nodes(*tables)
    inside = np.empty(_size(g, lengths))
    scales = np.empty((g.depth + 1, tokens.shape[1] + 1))
    n_symbols = g.first[-1]
    terminal = g.first[g.depth]
    n_terminals = n_symbols - terminal
    for x in range(len(lengths)):
        n = lengths[x]
        evidence = np.zeros((n, n_terminals))
        for i in range(n):
            evidence[i, tokens[x, i]] = 1.0
        s = _sentence(g, n)
        if _inside(s, evidence, inside, scales) < RANGE:
            for entry in range(s.offsets[-1]):
                inside[entry] = np.log(inside[entry]) if inside[entry] > FLOOR else -np.inf
        else:
            _inside_in_logs(s, evidence, inside, scales)
        left = np.zeros((n_symbols, n + 1))  # F over the prefix's probability
        ending = np.zeros((n_symbols, n + 1))  # the same, for the last symbol of a span of the level
        log_prefix = np.zeros(n + 1)
        reached[x] = n
        left[: g.first[1], 0] = 1.0 / g.first[1]
        for m in range(n + 1):
            for layer in range(g.depth):
                _reached(s, layer, m, 0, inside, scales[layer + 1], log_prefix, left)
            if level < 0:
                out[x, m, :n_terminals] = left[terminal:, m]
                whole = _whole_in_logs(s, m, inside)
                out[x, m, n_terminals] = np.exp(whole + scales[0, m] - log_prefix[m])
            elif m < n:
                for k in range(g.first[level], g.first[level + 1]):
                    ending[k, m] = left[k, m]
                for layer in range(level, g.depth):
                    _reached(s, layer, m, 1, inside, scales[layer + 1], log_prefix, ending)
                total = ending[terminal:, m].sum()
                if total > 0.0:
                    out[x, m] = ending[terminal:, m] / total
            if m < n:
                following = left[terminal + tokens[x, m], m]
                if following <= 0.0:
                    reached[x] = m
                    break
                log_prefix[m + 1] = log_prefix[m] + np.log(following)


# What is possible at all: sets of boundaries, a bit each, the first one the lowest of the first word


@njit()
def _holds(words: NDArray[np.uint64], i: int) -> bool:
    """Whether a set holds boundary i."""
    return bool((words[i // 64] >> np.uint64(i % 64)) & np.uint64(1))


@njit()
def _add(words: NDArray[np.uint64], i: int) -> None:
    """Put boundary i into a set."""
    words[i // 64] |= np.uint64(1) << np.uint64(i % 64)


@compiled.njit()
def recognize(
    tables: tuple[Any, ...],
    tokens: NDArray[np.int64],
    lengths: NDArray[np.int64],
    reached: NDArray[np.int64],
    whole: NDArray[np.bool_],
) -> None:
    """Write to `reached` the length of each sentence's longest possible beginning, to `whole` whether it is a sentence."""
    g = _Nodes(*tables)
    n_nodes = len(g.shortest)
    terminal = g.first[g.depth]
    n_words = tokens.shape[1] // 64 + 1
    # where the node's spans begin that end at a boundary: inside values
    spans = np.zeros((tokens.shape[1] + 1, n_nodes, n_words), np.uint64)
    # where a symbol's span may begin, behind the tokens before it: left values
    places = np.empty((g.first[-1], n_words), np.uint64)
    for s in range(len(lengths)):
        n = lengths[s]
        reached[s] = n
        whole[s] = False
        places[:] = 0
        for k in range(g.first[1]):
            _add(places[k], 0)
        for m in range(n + 1):
            here = spans[m]
            if m > 0:
                here[:] = 0
                _add(here[terminal + tokens[s, m - 1]], m - 1)
                for layer in range(g.depth - 1, -1, -1):
                    for p in range(g.first_product[layer], g.first_product[layer + 1]):
                        node, before, last = g.products[p]
                        for i in range(max(0, m - g.longest[last]), m - g.shortest[last] + 1):
                            if _holds(here[last], i):
                                here[node] |= spans[i, before]
                    for r in range(g.first_rule[layer], g.first_rule[layer + 1]):
                        left, node = g.rules[r]
                        here[left] |= here[node]
            if m == n:
                for k in range(g.first[1]):
                    whole[s] |= _holds(here[k], 0)
                break
            for x in range(len(g.links)):
                above, before, symbol = g.links[x]
                if before < 0:
                    if _holds(places[above], m):
                        _add(places[symbol], m)
                elif (places[above] & here[before]).any():
                    _add(places[symbol], m)
            token = tokens[s, m]  # compared before anything is added to it: a sum could overflow
            if not (0 <= token < g.first[-1] - terminal and _holds(places[terminal + token], m)):
                reached[s] = m
                break

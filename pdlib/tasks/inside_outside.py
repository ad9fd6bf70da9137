r"""What an optimal predictor of a grammar's tokens says: exact posteriors, masked and next-token.

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

Whether a sentence is grammatical, and how far, needs no values: inside and left with *true* and *false* for numbers go from
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

from pdlib.specs import SpecError, require
from pdlib.tasks.masked import SHOWN_ORIGINAL, SHOWN_RANDOM

if TYPE_CHECKING:
    from pdlib.tasks.grammar import Grammar

FLOOR = 1e-280  # smaller values, beside 1 for the best of their layer, count as 0: their outside values would overflow
RANGE = 460.0  # nats: a pass is trusted if no value below FLOOR can matter by more than 1e-80 of the result
SENTENCES_AT_ONCE = 256  # whose evidence is written out
_SHOWN_TOKENS = 60  # in an error


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
    weights: NDArray[np.float64]  # (rule,)
    first_rule: NDArray[np.int64]  # (layer + 1,)
    links: NDArray[np.int64]  # (link, 3): left side, node before the next symbol (-1: none), next symbol
    link_weights: NDArray[np.float64]  # (link, 2): of the rules that begin so, and that end there
    first_link: NDArray[np.int64]  # (layer + 1,)


@lru_cache(maxsize=32)
def _nodes(grammar: Grammar) -> _Nodes:
    number = {symbol: i for i, symbol in enumerate(s for layer in grammar.layers for s in layer)}
    layer_of = [level for level, layer in enumerate(grammar.layers) for _ in layer]
    first = np.concatenate(([0], np.cumsum([len(layer) for layer in grammar.layers])))
    node_of: dict[tuple[int, ...], int] = {(i,): i for i in range(len(number))}
    products: list[tuple[int, int, int]] = []
    rules: list[tuple[int, int]] = []
    weights: list[float] = []
    links: dict[tuple[int, int, int], list[float]] = {}
    starts: list[tuple[int, int, int]] = [(0, 0, 0)]
    for layer in grammar.layers[:-1]:
        for rule in (rule for rule in grammar.rules if rule.left in layer):
            left, right = number[rule.left], tuple(number[symbol] for symbol in rule.right)
            for size in range(1, len(right) + 1):
                if right[:size] not in node_of:
                    node_of[right[:size]] = len(node_of)
                    products.append((node_of[right[:size]], node_of[right[: size - 1]], right[size - 1]))
                    layer_of.append(layer_of[left])
                link = (left, node_of[right[: size - 1]] if size > 1 else -1, right[size - 1])
                found = links.setdefault(link, [0.0, 0.0])
                found[0] += rule.probability
                found[1] += rule.probability if size == len(right) else 0.0
            rules.append((left, node_of[right]))
            weights.append(rule.probability)
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
    counts = np.array(starts, np.int64)
    return _Nodes(
        depth=grammar.depth,
        first=first.astype(np.int64),
        shortest=shortest,
        longest=longest,
        layer=np.array(layer_of, np.int64),
        products=np.array(products, np.int64).reshape(-1, 3),
        first_product=counts[:, 0].copy(),
        rules=np.array(rules, np.int64),
        weights=np.array(weights),
        first_rule=counts[:, 1].copy(),
        links=np.array(list(links), np.int64),
        link_weights=np.array(list(links.values())),
        first_link=counts[:, 2].copy(),
    )


# The passes. A node's table has a row for each start (for the top layer: the start 0 alone) and a column for each
# length from its shortest on: entry (i, length) of node k is at offsets[k] + i * widths[k] + length - shortest[k].
# Only the outermost kernels are kept on disk, and they take a plain tuple: an entry that named a class of this
# module could not be read once the class has another name.


@njit()
def _lay_out(g: _Nodes, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Widths and offsets of the nodes' tables for a sentence of n tokens; the last offset is the size of all."""
    n_nodes = len(g.shortest)
    widths = np.empty(n_nodes, np.int64)
    offsets = np.empty(n_nodes + 1, np.int64)
    offsets[0] = 0
    for k in range(n_nodes):
        widths[k] = max(0, min(n, g.longest[k]) - g.shortest[k] + 1)
        offsets[k + 1] = offsets[k] + widths[k] * (1 if g.layer[k] == 0 else n)
    return widths, offsets


@njit()
def _best_sequence(
    g: _Nodes,
    layer: int,
    n: int,
    widths: NDArray[np.int64],
    offsets: NDArray[np.int64],
    inside: NDArray[np.float64],
    best: NDArray[np.float64],
) -> float:
    """Write to `best` (boundary,) the log weight of the best sequence of a layer's spans up to each boundary.

    Return the largest drop of it over a span's length: the factor by which scaling may enlarge what was lost.
    """
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
def _scale(
    g: _Nodes,
    layer: int,
    n: int,
    widths: NDArray[np.int64],
    offsets: NDArray[np.int64],
    best: NDArray[np.float64],
    inside: NDArray[np.float64],
    values: NDArray[np.float64],
) -> None:
    """Divide a layer's `values` by the best sequence's share; where the inside value counts as 0, they become 0."""
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
def _inside(
    g: _Nodes,
    n: int,
    widths: NDArray[np.int64],
    offsets: NDArray[np.int64],
    evidence: NDArray[np.float64],
    inside: NDArray[np.float64],
    scales: NDArray[np.float64],
) -> float:
    """Fill all tables for a sentence's evidence (position, terminal), and `scales` (layer, boundary).

    A row of scales is a layer's best sequence, on top of the layers below. Returns the sum of what `_best_sequence`
    returns.
    """
    inside[: offsets[-1]] = 0.0
    best = np.zeros(n + 1)
    for i in range(n):
        top = evidence[i].max()
        best[i + 1] = best[i] + (np.log(top) if top > 0 else 0.0)
        for t in range(evidence.shape[1]):
            k = g.first[g.depth] + t
            if top > 0:
                inside[offsets[k] + i] = evidence[i, t] / top
    scales[g.depth, : n + 1] = best
    drops = 0.0
    for layer in range(g.depth - 1, -1, -1):
        n_rows = 1 if layer == 0 else n
        for p in range(g.first_product[layer], g.first_product[layer + 1]):
            node, before, last = g.products[p]
            gap = g.shortest[before] + g.shortest[last] - g.shortest[node]
            for i in range(n_rows):
                for a in range(widths[before]):
                    middle = i + g.shortest[before] + a
                    n_lengths = min(widths[last], n - middle - g.shortest[last] + 1)
                    if n_lengths <= 0:
                        break
                    factor = inside[offsets[before] + i * widths[before] + a]
                    if factor == 0.0:
                        continue
                    source = offsets[last] + middle * widths[last]
                    target = offsets[node] + i * widths[node] + gap + a
                    for b in range(n_lengths):
                        inside[target + b] += factor * inside[source + b]
        for r in range(g.first_rule[layer], g.first_rule[layer + 1]):
            left, node = g.rules[r]
            gap = g.shortest[node] - g.shortest[left]
            for i in range(n_rows):
                source = offsets[node] + i * widths[node]
                target = offsets[left] + i * widths[left] + gap
                for b in range(widths[node]):
                    inside[target + b] += g.weights[r] * inside[source + b]
        scales[layer, : n + 1] = scales[layer + 1, : n + 1]
        if layer > 0:
            drops += _best_sequence(g, layer, n, widths, offsets, inside, best)
            scales[layer, : n + 1] += best
            _scale(g, layer, n, widths, offsets, best, inside, inside)
    return drops


@njit()
def _whole(
    g: _Nodes, n: int, widths: NDArray[np.int64], offsets: NDArray[np.int64], inside: NDArray[np.float64]
) -> float:
    """The mean over the roots of the inside value of the first n tokens, scaled."""
    total = 0.0
    for k in range(g.first[1]):
        if 0 <= n - g.shortest[k] < widths[k]:
            total += inside[offsets[k] + n - g.shortest[k]]
    return float(total / g.first[1])


# sums of a row in any order, so that they use the processor's vectors
@njit(fastmath={"reassoc", "contract"})
def _through_product(
    inside: NDArray[np.float64],
    outside: NDArray[np.float64],
    factor: float,
    last: int,
    node: int,
    n_lengths: int,
) -> float:
    """Hand a row of a product's outside values down to its last symbol, and return the sum for what stands before."""
    total = 0.0
    for b in range(n_lengths):
        total += outside[node + b] * inside[last + b]
        outside[last + b] += factor * outside[node + b]
    return total


@njit()
def _outside(
    g: _Nodes,
    n: int,
    widths: NDArray[np.int64],
    offsets: NDArray[np.int64],
    inside: NDArray[np.float64],
    scales: NDArray[np.float64],
    outside: NDArray[np.float64],
) -> None:
    """Fill the tables of outside values: inside value times outside value is the probability of a span."""
    outside[: offsets[-1]] = 0.0
    total = _whole(g, n, widths, offsets, inside)
    for k in range(g.first[1]):
        if 0 <= n - g.shortest[k] < widths[k]:
            outside[offsets[k] + n - g.shortest[k]] = 1.0 / (g.first[1] * total)
    for layer in range(g.depth):
        n_rows = 1 if layer == 0 else n
        if layer > 0:
            best = scales[layer, : n + 1] - scales[layer + 1, : n + 1]
            _scale(g, layer, n, widths, offsets, best, inside, outside)
        for r in range(g.first_rule[layer], g.first_rule[layer + 1]):
            left, node = g.rules[r]
            gap = g.shortest[node] - g.shortest[left]
            for i in range(n_rows):
                source = offsets[left] + i * widths[left] + gap
                target = offsets[node] + i * widths[node]
                for b in range(widths[node]):
                    outside[target + b] += g.weights[r] * outside[source + b]
        for p in range(g.first_product[layer + 1] - 1, g.first_product[layer] - 1, -1):
            node, before, last = g.products[p]
            gap = g.shortest[before] + g.shortest[last] - g.shortest[node]
            for i in range(n_rows):
                row = offsets[node] + i * widths[node]
                some = False
                for b in range(widths[node]):
                    if inside[row + b] <= FLOOR:
                        outside[row + b] = 0.0
                    elif outside[row + b] > 0.0:
                        some = True
                if not some:
                    continue
                for a in range(widths[before]):
                    middle = i + g.shortest[before] + a
                    n_lengths = min(widths[last], n - middle - g.shortest[last] + 1)
                    if n_lengths <= 0:
                        break
                    place = offsets[before] + i * widths[before] + a
                    if inside[place] > FLOOR:
                        outside[place] += _through_product(
                            inside,
                            outside,
                            inside[place],
                            offsets[last] + middle * widths[last],
                            row + gap + a,
                            n_lengths,
                        )


# The same in logs, for any range of values: slower by far, and unscaled


@njit()
def _log_sum(a: float, b: float) -> float:
    low, high = min(a, b), max(a, b)
    return high + np.log1p(np.exp(low - high)) if low > -np.inf else high


@njit()
def _inside_in_logs(
    g: _Nodes,
    n: int,
    widths: NDArray[np.int64],
    offsets: NDArray[np.int64],
    evidence: NDArray[np.float64],
    inside: NDArray[np.float64],
) -> float:
    """Fill all tables with logs of inside values, and return that of the whole sentence, the mean over the roots."""
    inside[: offsets[-1]] = -np.inf
    for t in range(evidence.shape[1]):
        for i in range(n):
            if evidence[i, t] > 0:
                inside[offsets[g.first[g.depth] + t] + i] = np.log(evidence[i, t])
    for layer in range(g.depth - 1, -1, -1):
        n_rows = 1 if layer == 0 else n
        for p in range(g.first_product[layer], g.first_product[layer + 1]):
            node, before, last = g.products[p]
            gap = g.shortest[before] + g.shortest[last] - g.shortest[node]
            for i in range(n_rows):
                for a in range(widths[before]):
                    factor = inside[offsets[before] + i * widths[before] + a]
                    if factor == -np.inf:
                        continue
                    middle = i + g.shortest[before] + a
                    source = offsets[last] + middle * widths[last]
                    target = offsets[node] + i * widths[node] + gap + a
                    for b in range(min(widths[last], n - middle - g.shortest[last] + 1)):
                        inside[target + b] = _log_sum(inside[target + b], factor + inside[source + b])
        for r in range(g.first_rule[layer], g.first_rule[layer + 1]):
            left, node = g.rules[r]
            gap = g.shortest[node] - g.shortest[left]
            weight = np.log(g.weights[r])
            for i in range(n_rows):
                source = offsets[node] + i * widths[node]
                target = offsets[left] + i * widths[left] + gap
                for b in range(widths[node]):
                    inside[target + b] = _log_sum(inside[target + b], weight + inside[source + b])
    return _whole_in_logs(g, n, widths, offsets, inside)


@njit()
def _whole_in_logs(
    g: _Nodes, n: int, widths: NDArray[np.int64], offsets: NDArray[np.int64], inside: NDArray[np.float64]
) -> float:
    """The log of what `_whole` returns."""
    total = -np.inf
    for k in range(g.first[1]):
        if 0 <= n - g.shortest[k] < widths[k]:
            total = _log_sum(total, inside[offsets[k] + n - g.shortest[k]])
    return float(total - np.log(g.first[1]))


@njit()
def _outside_in_logs(
    g: _Nodes,
    n: int,
    widths: NDArray[np.int64],
    offsets: NDArray[np.int64],
    inside: NDArray[np.float64],
    outside: NDArray[np.float64],
) -> None:
    """Fill all tables with logs of outside values."""
    outside[: offsets[-1]] = -np.inf
    total = _whole_in_logs(g, n, widths, offsets, inside)
    for k in range(g.first[1]):
        if 0 <= n - g.shortest[k] < widths[k]:
            outside[offsets[k] + n - g.shortest[k]] = -np.log(g.first[1]) - total
    for layer in range(g.depth):
        n_rows = 1 if layer == 0 else n
        for r in range(g.first_rule[layer], g.first_rule[layer + 1]):
            left, node = g.rules[r]
            gap = g.shortest[node] - g.shortest[left]
            weight = np.log(g.weights[r])
            for i in range(n_rows):
                source = offsets[left] + i * widths[left] + gap
                target = offsets[node] + i * widths[node]
                for b in range(widths[node]):
                    outside[target + b] = _log_sum(outside[target + b], weight + outside[source + b])
        for p in range(g.first_product[layer + 1] - 1, g.first_product[layer] - 1, -1):
            node, before, last = g.products[p]
            gap = g.shortest[before] + g.shortest[last] - g.shortest[node]
            for i in range(n_rows):
                for a in range(widths[before]):
                    place = offsets[before] + i * widths[before] + a
                    middle = i + g.shortest[before] + a
                    source = offsets[node] + i * widths[node] + gap + a
                    target = offsets[last] + middle * widths[last]
                    if inside[place] == -np.inf:
                        continue
                    for b in range(min(widths[last], n - middle - g.shortest[last] + 1)):
                        above = outside[source + b]
                        outside[place] = _log_sum(outside[place], above + inside[target + b])
                        outside[target + b] = _log_sum(outside[target + b], above + inside[place])


# All sentences of a block


@njit()
def _size(g: _Nodes, lengths: NDArray[np.int64]) -> int:
    """Entries that the tables of the longest sentence take."""
    return int(_lay_out(g, lengths.max())[1][-1]) if len(lengths) > 0 else 0


@njit(cache=True)
def _marginals(
    tables: tuple[Any, ...],
    evidence: NDArray[np.float64],
    lengths: NDArray[np.int64],
    log_evidence: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Write each sentence's log evidence, and to `out` (sentence, position, terminal) the posteriors of all tokens.

    An `out` without positions asks for the log evidence alone.
    """
    g = _Nodes(*tables)
    size = _size(g, lengths)
    inside = np.empty(size)
    outside = np.empty(size if out.shape[1] > 0 else 0)
    scales = np.empty((g.depth + 1, evidence.shape[1] + 1))
    for s in range(len(lengths)):
        n = lengths[s]
        if n == 0:
            log_evidence[s] = -np.inf
            continue
        widths, offsets = _lay_out(g, n)
        drops = _inside(g, n, widths, offsets, evidence[s, :n], inside, scales)
        total = _whole(g, n, widths, offsets, inside)
        scaled = total > FLOOR and drops - np.log(total) < RANGE
        if scaled:
            log_evidence[s] = np.log(total) + scales[0, n]
        else:
            log_evidence[s] = _inside_in_logs(g, n, widths, offsets, evidence[s, :n], inside)
        if out.shape[1] == 0 or log_evidence[s] == -np.inf:
            continue
        if scaled:
            _outside(g, n, widths, offsets, inside, scales, outside)
        else:
            _outside_in_logs(g, n, widths, offsets, inside, outside)
        for t in range(evidence.shape[2]):
            place = offsets[g.first[g.depth] + t]
            for i in range(n):
                if evidence[s, i, t] == 0.0:
                    continue  # impossible, and its outside value may be anything
                if scaled:
                    out[s, i, t] = inside[place + i] * outside[place + i]
                else:
                    out[s, i, t] = np.exp(inside[place + i] + outside[place + i])


@njit()
def _reached(
    g: _Nodes,
    layer: int,
    m: int,
    ends: int,
    widths: NDArray[np.int64],
    offsets: NDArray[np.int64],
    inside: NDArray[np.float64],
    scale: NDArray[np.float64],
    log_prefix: NDArray[np.float64],
    left: NDArray[np.float64],
) -> None:
    """Add to column m of `left` (symbol, boundary) what the symbols of `layer` hand to those below.

    Both over the prefix's probability. `ends` 1: only to the last symbol of a right side.
    """
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


@njit(cache=True)
def _prefixes(
    tables: tuple[Any, ...],
    tokens: NDArray[np.int64],
    lengths: NDArray[np.int64],
    level: int,
    reached: NDArray[np.int64],
    out: NDArray[np.float64],
) -> None:
    """Write to `out` (sentence, boundary, V + 1) what follows each prefix, and to `reached` the longest possible one.

    With a `level` >= 0 to `out` (sentence, position, V) the same, given that a span of that level ends there.
    """
    g = _Nodes(*tables)
    size = _size(g, lengths)
    inside = np.empty(size)
    scales = np.empty((g.depth + 1, tokens.shape[1] + 1))
    n_symbols = g.first[-1]
    terminal = g.first[g.depth]
    n_terminals = n_symbols - terminal
    for s in range(len(lengths)):
        n = lengths[s]
        evidence = np.zeros((n, n_terminals))
        for i in range(n):
            evidence[i, tokens[s, i]] = 1.0
        widths, offsets = _lay_out(g, n)
        if _inside(g, n, widths, offsets, evidence, inside, scales) < RANGE:
            for x in range(offsets[-1]):
                inside[x] = np.log(inside[x]) if inside[x] > FLOOR else -np.inf
        else:
            _inside_in_logs(g, n, widths, offsets, evidence, inside)
            scales[:] = 0.0
        left = np.zeros((n_symbols, n + 1))  # F over the prefix's probability
        ending = np.zeros((n_symbols, n + 1))  # the same, for the last symbol of a span of the level
        log_prefix = np.zeros(n + 1)
        reached[s] = n
        left[: g.first[1], 0] = 1.0 / g.first[1]
        for m in range(n + 1):
            for layer in range(g.depth):
                scale = scales[layer + 1]
                _reached(g, layer, m, 0, widths, offsets, inside, scale, log_prefix, left)
            if level < 0:
                out[s, m, :n_terminals] = left[terminal:, m]
                whole = _whole_in_logs(g, m, widths, offsets, inside)
                out[s, m, n_terminals] = np.exp(whole + scales[0, m] - log_prefix[m])
            elif m < n:
                for k in range(g.first[level], g.first[level + 1]):
                    ending[k, m] = left[k, m]
                for layer in range(level, g.depth):
                    scale = scales[layer + 1]
                    _reached(g, layer, m, 1, widths, offsets, inside, scale, log_prefix, ending)
                total = ending[terminal:, m].sum()
                if total > 0.0:
                    out[s, m] = ending[terminal:, m] / total
            if m < n:
                following = left[terminal + tokens[s, m], m]
                if following <= 0.0:
                    reached[s] = m
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


@njit(cache=True)
def _recognize(
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
            t = terminal + tokens[s, m]
            if not (terminal <= t < g.first[-1] and _holds(places[t], m)):
                reached[s] = m
                break


# What is asked for


def _named(tokens: NDArray[np.int64], mask: int | None = None) -> str:
    shown = ["[mask]" if token == mask else str(token) for token in tokens[:_SHOWN_TOKENS].tolist()]
    return " ".join(shown) + (f" ... ({len(tokens)} tokens)" if len(tokens) > _SHOWN_TOKENS else "")


def _sized(tokens: NDArray[Any], lengths: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return tokens (sentence, position), 0 beyond the end, and lengths (sentence,) as whole numbers, or raise."""
    array, sizes = np.asarray(tokens), np.asarray(lengths)
    require(
        array.ndim == 2 and array.dtype.kind in "iu",
        f"tokens of shape {array.shape} and type {array.dtype}",
        "whole numbers (sentence, position)",
    )
    require(
        sizes.shape == array.shape[:1] and sizes.dtype.kind in "iu",
        f"lengths of shape {sizes.shape} and type {sizes.dtype}",
        f"{len(array)} whole numbers",
    )
    wrong = np.flatnonzero((sizes < 0) | (sizes > array.shape[1]))
    if wrong.size:
        raise SpecError(
            f"lengths[{wrong[0]}] = {sizes[wrong[0]]}: expected a number from 0 to {array.shape[1]}, the positions."
        )
    sizes = sizes.astype(np.int64)
    within = np.arange(array.shape[1]) < sizes[:, None]
    return np.where(within, array.astype(np.int64), 0), sizes


def _checked(
    tokens: NDArray[Any], lengths: NDArray[Any], n_tokens: int, meaning: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return what `_sized` returns, or raise if it is no token."""
    array, sizes = _sized(tokens, lengths)
    places = np.argwhere((array < 0) | (array >= n_tokens))
    if places.size:
        s, i = places[0].tolist()
        raise SpecError(f"tokens[{s}, {i}] = {array[s, i]}: expected {meaning}.")
    return array, sizes


def _clean(
    grammar: Grammar, tokens: NDArray[Any], lengths: NDArray[Any]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    n = grammar.n_terminals
    return _checked(tokens, lengths, n, f"a token from 0 to {n - 1}")


def evidence_of(same: NDArray[np.bool_], masked: NDArray[np.bool_], selected: float) -> NDArray[np.float64]:
    """Return the weight that what a position shows gives to each terminal, if it is selected so probably."""
    shown = SHOWN_ORIGINAL * same + SHOWN_RANDOM / same.shape[-1]
    return np.where(masked[..., None], 1.0, (1.0 - selected) * same + selected * shown)


def posterior(
    grammar: Grammar,
    inputs: NDArray[Any],
    lengths: NDArray[Any],
    at: NDArray[np.bool_],
    *,
    mask_rate: float,
    hidden: bool = False,
) -> NDArray[np.float64]:
    r"""Return the exact posterior of the original tokens at selected positions of corrupted sentences.

    .. math:: P(x_i = t \mid z, n, i \text{ selected}) \propto o_i(t) \, \frac{I_t(i, i + 1)}{e_i(t)} \, O_t(i, i + 1)

    where z is what the sentence shows, n its length, and I and O are the inside and the outside values. What another
    position j shows, a token s, is evidence :math:`e_j(t) = (1 - p) 1[s = t] + p \, (0.1 \cdot 1[s = t] + 0.1 / V)`,
    since nobody knows whether it was selected; the position itself was, so that
    :math:`o_i(t) = 0.1 \cdot 1[s = t] + 0.1 / V`. [mask] is no evidence, except of selection: e and o are 1.

    Parameters
    ----------
    grammar
        What the sentences are drawn from.
    inputs : shape (sentence, position)
        z: tokens 0 ... V - 1, and V for [mask]; anything beyond the end.
    lengths : shape (sentence,)
        n.
    at : shape (sentence, position)
        The positions asked for. With `hidden` they have to be all that are selected.
    mask_rate
        p, in [0, 1]: how probably each position was selected, independently. At 0 the other positions' tokens are
        certain, and each position asked for takes a pass of its own.
    hidden
        Selected positions are seen by themselves alone. The others are known not to be selected, and so to show their
        original; then `mask_rate` plays no part.

    Returns
    -------
    numpy.ndarray
        Shape (target, V); targets in reading order of `at`, rows sum to 1.

    Raises
    ------
    SpecError
        If no sentence of the grammar, of that length, can have become a sentence of `inputs`; if an input is neither
        token nor [mask]; if `at` asks beyond a sentence's end, or with `hidden` leaves out a [mask].

    References
    ----------
    Paper, Definition 4.1 for the corruption; Zhao et al., "Do transformers parse while predicting the masked word?"
    (2023), for the inside-outside algorithm as the optimal predictor.

    Examples
    --------
    A grammar with the sentences 0 0 1 and 0 1 1, equally likely; the middle is masked:

    >>> from pdlib.tasks.grammar import load_grammar
    >>> small = load_grammar({"rules": {"9": [[7, 8], [8, 7]], "8": [[6, 6]], "7": [[5]]} |
    ...                                {"6": [[1]], "5": [[2]]}})
    >>> small.terminals, small.max_length
    ((1, 2), 3)
    >>> inputs, at = np.array([[0, 2, 2]]), np.array([[False, True, True]])
    >>> posterior(small, inputs, np.array([3]), at, mask_rate=0.3, hidden=True).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    n = grammar.n_terminals
    require(
        isinstance(mask_rate, (int, float, np.floating)) and 0 <= mask_rate <= 1,
        f"mask_rate = {mask_rate!r}",
        "a number in [0, 1]",
    )
    shown, sizes = _checked(inputs, lengths, n + 1, f"a token from 0 to {n - 1}, or {n} for [mask]")
    asked = np.asarray(at)
    require(
        asked.shape == shown.shape and asked.dtype == np.bool_,
        f"at of shape {asked.shape} and type {asked.dtype}",
        f"truth values of shape {shown.shape}",
    )
    beyond = np.argwhere(asked & (np.arange(shown.shape[1]) >= sizes[:, None]))
    if beyond.size:
        s, i = beyond[0].tolist()
        raise SpecError(f"at[{s}, {i}]: expected False beyond the sentence's {sizes[s]} tokens.")
    left_out = np.argwhere((shown == n) & ~asked) if hidden else np.empty((0, 2), np.int64)
    if left_out.size:
        s, i = left_out[0].tolist()
        raise SpecError(
            f"at[{s}, {i}] of a [mask]: expected True, as hidden sentences tell which positions are selected."
        )
    one_by_one = mask_rate == 0 and not hidden
    rows, places = np.nonzero(asked)
    sentence = rows if one_by_one else np.flatnonzero(asked.any(axis=1))  # of each pass
    parts = [np.empty((0, n))]
    for start in range(0, len(sentence), SENTENCES_AT_ONCE):
        block = slice(start, start + SENTENCES_AT_ONCE)
        chosen = sentence[block]
        width = int(sizes[chosen].max())
        z, targets = shown[chosen, :width], asked[chosen, :width]
        if one_by_one:
            targets = np.arange(width) == places[block, None]
        same = z[..., None] == np.arange(n)  # (pass, position, terminal)
        own = evidence_of(same, z == n, 1.0)
        if hidden:
            evidence = np.where(targets[..., None], 1.0, same)
        elif one_by_one:
            evidence = np.where(targets[..., None], own, evidence_of(same, z == n, 0.0))
        else:
            evidence = evidence_of(same, z == n, float(mask_rate))
        found, log_evidence = np.zeros(evidence.shape), np.empty(len(chosen))
        _marginals(tuple(_nodes(grammar)), evidence, sizes[chosen], log_evidence, found)
        for s in chosen[log_evidence == -np.inf][:1].tolist():
            raise SpecError(
                f"sentence {s} of {sizes[s]} tokens, {_named(shown[s, : sizes[s]], n)}: expected what the grammar can "
                f"produce with mask_rate = {mask_rate}, hidden = {hidden}."
            )
        weighted = found[targets] * (own[targets] / evidence[targets])
        parts.append(weighted / weighted.sum(axis=1, keepdims=True))
    return np.concatenate(parts)


def likelihood(grammar: Grammar, tokens: NDArray[Any], lengths: NDArray[Any]) -> NDArray[np.float64]:
    r"""Return the log probability of sentences, :math:`\log P(x)`, summed over all their trees.

    Parameters
    ----------
    grammar
        The grammar, its roots equally likely.
    tokens : shape (sentence, position)
        x: tokens 0 ... V - 1; anything beyond the end.
    lengths : shape (sentence,)
        Numbers of tokens.

    Returns
    -------
    numpy.ndarray
        Shape (sentence,), in nats; -inf outside the grammar.

    Raises
    ------
    SpecError
        If a token is not one of the grammar's.

    Examples
    --------
    >>> from pdlib.tasks.grammar import grammar
    >>> low = grammar("cfg3b", roots=(7, 8))              # 7 -> 3 1 | 1 2 3, 8 -> 3 2 | 3 1 2
    >>> np.exp(likelihood(low, np.array([[2, 0, 0], [0, 1, 2], [1, 1, 2]]), np.array([2, 3, 3]))).tolist()
    [0.25, 0.25, 0.0]
    """
    x, sizes = _clean(grammar, tokens, lengths)
    n = grammar.n_terminals
    log_probability = np.empty(len(x))
    for start in range(0, len(x), SENTENCES_AT_ONCE):
        block = slice(start, start + SENTENCES_AT_ONCE)
        evidence = (x[block, :, None] == np.arange(n)).astype(np.float64)
        nothing = np.empty((0, 0, 0))
        _marginals(tuple(_nodes(grammar)), evidence, sizes[block], log_probability[block], nothing)
    return log_probability


def _recognized(
    grammar: Grammar, tokens: NDArray[Any], lengths: NDArray[Any]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    x, sizes = _sized(tokens, lengths)
    reached, whole = np.empty(len(x), np.int64), np.empty(len(x), np.bool_)
    _recognize(tuple(_nodes(grammar)), x, sizes, reached, whole)
    return reached, whole


def accepts(grammar: Grammar, tokens: NDArray[Any], lengths: NDArray[Any]) -> NDArray[np.bool_]:
    r"""Return whether texts are sentences of a grammar, :math:`P(x) > 0`.

    A text may be anything, such as what a network writes. Nothing at all is no sentence, nor is a text that is longer than
    every sentence, or that holds a number which is no token of the grammar.

    Parameters
    ----------
    grammar
        The grammar.
    tokens : shape (text, position)
        x: whole numbers; tokens are 0 ... V - 1. Anything beyond the end.
    lengths : shape (text,)
        Numbers of tokens.

    Returns
    -------
    numpy.ndarray
        Boolean, shape (text,).

    Raises
    ------
    SpecError
        If tokens or lengths are no whole numbers, or of other shapes.

    Examples
    --------
    >>> from pdlib.tasks.grammar import grammar
    >>> low = grammar("cfg3b", roots=7)                   # 7 -> 3 1 | 1 2 3
    >>> accepts(low, np.array([[2, 0, 0], [0, 1, 0], [2, 3, 0]]), np.array([2, 2, 2])).tolist()
    [True, False, False]
    """
    return _recognized(grammar, tokens, lengths)[1]


def grammatical_prefix(grammar: Grammar, tokens: NDArray[Any], lengths: NDArray[Any]) -> NDArray[np.int64]:
    r"""Return how many tokens of each text some sentence of the grammar begins with.

    .. math:: \max \{ m \le n : P(x_0 \dots x_{m-1} \dots) > 0 \}

    where :math:`P(x_0 \dots x_{m-1} \dots)` is the probability of all sentences that begin so. It is the length n of a text
    that is a sentence or the beginning of one, and at most that of the longest sentence. A number that is no token of
    the grammar ends the beginning, as a token does that cannot stand there: a network may write anything.

    Parameters
    ----------
    grammar, tokens, lengths
        As in `accepts`.

    Returns
    -------
    numpy.ndarray
        Whole numbers, shape (text,); 0 for a text without tokens.

    Raises
    ------
    SpecError
        If tokens or lengths are no whole numbers, or of other shapes.

    Examples
    --------
    >>> from pdlib.tasks.grammar import grammar
    >>> low = grammar("cfg3b", roots=7)                   # 7 -> 3 1 | 1 2 3
    >>> texts = np.array([[0, 1, 2], [0, 1, 0], [0, 3, 2], [2, 0, 1], [1, 2, 0]])
    >>> grammatical_prefix(low, texts, np.array([3, 2, 3, 3, 3])).tolist()
    [3, 2, 1, 2, 0]
    """
    return _recognized(grammar, tokens, lengths)[0]


def _follow(
    grammar: Grammar,
    tokens: NDArray[Any],
    lengths: NDArray[Any],
    level: int,
    shape: tuple[int, int],
) -> NDArray[np.float64]:
    """Return what `_prefixes` finds, nan beyond the end; `shape` is what it has more than (sentence, position, V)."""
    x, sizes = _clean(grammar, tokens, lengths)
    out = np.full((len(x), x.shape[1] + shape[0], grammar.n_terminals + shape[1]), np.nan)
    reached = np.empty(len(x), np.int64)
    _prefixes(tuple(_nodes(grammar)), x, sizes, level, reached, out)
    for s in np.flatnonzero(reached < sizes)[:1].tolist():
        raise SpecError(
            f"sentence {s}, {_named(x[s, : sizes[s]])}: expected the beginning of a sentence of the grammar. "
            f"No sentence begins with its first {reached[s] + 1} tokens."
        )
    return out


def prefix_posterior(grammar: Grammar, tokens: NDArray[Any], lengths: NDArray[Any]) -> NDArray[np.float64]:
    r"""Return the exact distribution of the next token behind every prefix.

    .. math:: P(x_i = t \mid x_0, \dots, x_{i-1}) = \frac{F_t(i)}{\sum_{t'} F_{t'}(i) + P(x_0, \dots, x_{i-1})}

    where :math:`F_t(i)` is the probability of all sentences that begin with :math:`x_0, \dots, x_{i-1}, t`, from

    .. math:: F_B(i) = \sum_{h \le i} \sum_{A \to \pi B \rho} p(A \to \pi B \rho) \, F_A(h) \, I_\pi(h, i)

    with :math:`\pi, \rho` any sequences of symbols, also empty ones (then h = i), and :math:`F_A(0)` for a root A its
    probability.

    Parameters
    ----------
    grammar
        The grammar, its roots equally likely.
    tokens : shape (sentence, position)
        Sentences, or beginnings of sentences: tokens 0 ... V - 1; anything beyond the end.
    lengths : shape (sentence,)
        Numbers of tokens.

    Returns
    -------
    numpy.ndarray
        Shape (sentence, position + 1, V + 1): entry i is what follows the first i tokens, for i = 0, ..., the length; the
        last column is the probability that the sentence ends there. Rows sum to 1; nan beyond the length.

    Raises
    ------
    SpecError
        If no sentence of the grammar begins so.

    Examples
    --------
    >>> from pdlib.tasks.grammar import grammar
    >>> low = grammar("cfg3b", roots=(7, 8))              # 7 -> 3 1 | 1 2 3, 8 -> 3 2 | 3 1 2
    >>> prefix_posterior(low, np.array([[2, 0]]), np.array([2])).round(6).tolist()
    [[[0.25, 0.0, 0.75, 0.0], [0.666667, 0.333333, 0.0, 0.0], [0.0, 0.5, 0.0, 0.5]]]
    """
    return _follow(grammar, tokens, lengths, -1, (1, 1))


def boundary_posterior(
    grammar: Grammar, tokens: NDArray[Any], lengths: NDArray[Any], level: int
) -> NDArray[np.float64]:
    r"""Return the exact distribution of the next token, given that a span of a level ends with it.

    .. math:: P(x_i = t \mid x_0, \dots, x_{i-1}, \text{ a span of level } l \text{ ends at } i)

    In `prefix_posterior`'s sum, below level l only the last symbol of a right side goes on.

    Parameters
    ----------
    grammar, tokens, lengths
        As in `prefix_posterior`.
    level
        l, counted from the root: 0 is the root (the sentence ends with the token), `grammar.depth` the tokens themselves
        (no condition but that the sentence does not end before).

    Returns
    -------
    numpy.ndarray
        Shape (sentence, position, V): entry i is the distribution of token i, given those before it. nan where no span
        of the level can end, and beyond the length.

    Raises
    ------
    SpecError
        If no sentence of the grammar begins so, or the level is not one of the grammar's.

    References
    ----------
    Paper, appendix E (boundary tokens); Definition 4.3.

    Examples
    --------
    >>> from pdlib.tasks.grammar import grammar
    >>> low = grammar("cfg3b", roots=(7, 8))              # 7 -> 3 1 | 1 2 3, 8 -> 3 2 | 3 1 2
    >>> boundary_posterior(low, np.array([[2, 0, 1]]), np.array([3]), level=0).tolist()
    [[[nan, nan, nan], [0.5, 0.5, 0.0], [0.0, 1.0, 0.0]]]
    """
    require(
        type(level) is int and 0 <= level <= grammar.depth,
        f"level = {level!r}",
        f"a whole number from 0, the root, to {grammar.depth}, the tokens",
    )
    return _follow(grammar, tokens, lengths, level, (0, 0))

"""Every tree of a small grammar written out by the plain definition, for tests of what sums over them."""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from itertools import product

from pdlib.tasks.grammar import Grammar

Tokens = tuple[int, ...]


@cache
def trees(g: Grammar) -> list[tuple[float, Tokens, list[list[int]]]]:
    """Each tree's probability, tokens and, by level from the root, the last positions of spans."""

    def below(symbol: int, layer: int) -> list[tuple[float, Tokens, list[list[int]]]]:
        if layer == g.depth:
            return [(1.0, (g.terminals.index(symbol),), [[0]])]
        found = []
        for rule in g.rules_of(symbol):
            for parts in product(*(below(s, layer + 1) for s in rule.right)):
                probability, tokens = rule.probability, ()
                ends: list[list[int]] = [[] for _ in range(g.depth - layer)]
                for p, t, e in parts:
                    probability *= p
                    for mine, theirs in zip(ends, e, strict=True):
                        mine += [len(tokens) + i for i in theirs]
                    tokens += t
                found.append((probability, tokens, [[len(tokens) - 1], *ends]))
        return found

    return [(p / len(g.roots), t, e) for root in g.roots for p, t, e in below(root, 0)]


@cache
def sentences(g: Grammar) -> dict[Tokens, float]:
    """Every sentence, as places in the terminals, and its probability, that of all its trees together."""
    total: dict[Tokens, float] = defaultdict(float)
    for p, tokens, _ in trees(g):
        total[tokens] += p
    return dict(total)

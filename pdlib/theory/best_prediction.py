"""The best possible predictor of masked or next-token prediction on a grammar: what no network can exceed.

Its accuracy and loss are those of the exact posterior (`pdlib.tasks.posteriors`) on the held-out sentences
that networks are evaluated on, and its dependence on n-grams is measured by the networks' own probe.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pdlib.probes.ngrams import NgramDependence, dependence
from pdlib.sequences import Sequences
from pdlib.specs import EVALUATION_SEED, Calculation, Count, SpecError, Task, require
from pdlib.tasks.grammar import Grammar
from pdlib.tasks.masked import MaskedPrediction
from pdlib.tasks.next_token import NextToken
from pdlib.tasks.posteriors import boundary_posterior, evidence_of, posterior, prefix_posterior


def best_prediction(task: MaskedPrediction | NextToken, inputs: Sequences) -> NDArray[np.float64]:
    r"""Return the exact posterior of what is asked for, shape (target, class); [mask] and [bos] have probability 0.

    Of masked prediction it is that of each target's original token, given the whole input. Of next-token prediction

    .. math:: P(x_i = t \mid x_0, \dots, x_{i-1}, \text{ a span of the task's level ends at } i)

    At level 1 that tells only that the sentence goes on or, where [end] is asked for, nothing.

    The task is on a `Grammar`; `inputs` are as it shows them to a network, with no [mask] beyond the end of a sentence,
    and of next-token prediction nothing hidden. What no sentence of the grammar looks like is an error.

    >>> from pdlib.tasks.grammar import grammar
    >>> task = MaskedPrediction(grammar("cfg3b", roots=(10,)))
    >>> inputs, _ = task.stream(0, "evaluation").examples(0, 5)
    >>> bool(np.allclose(best_prediction(task, inputs).sum(axis=1), 1))
    True
    """
    if isinstance(task, NextToken):
        return _next(task, inputs)
    grammar, hidden = _grammar(task), task.selected == "hidden"
    at = inputs.at
    if hidden:  # a [mask] that nobody attends to is part of the sentence, and selected, asked for or not
        at = at | (inputs.tokens == task.mask_token)
    lengths = replace(inputs, at=at).lengths
    found = posterior(grammar, inputs.tokens, lengths, at, mask_rate=task.mask_rate, hidden=hidden)
    found = found[inputs.at[at]]
    return np.hstack([found, np.zeros((len(found), 1))])


def _next(task: NextToken, inputs: Sequences, told: bool = True) -> NDArray[np.float64]:
    """Return the posterior of what follows; unless it is `told`, all it knows of the level is that a token follows."""
    grammar, lengths = _grammar(task), inputs.lengths
    hidden = np.argwhere((np.arange(inputs.visible.shape[1]) < lengths[:, None]) & ~inputs.visible)
    if len(hidden):
        s, i = hidden[0]
        raise SpecError(
            f"input {i} of sentence {s}, which is hidden: expected all that comes before a target."
        )
    before = inputs.tokens[:, 1:]  # without [bos]
    n_before = np.maximum(lengths - 1, 0)
    found = prefix_posterior(grammar, before, n_before)  # (sentence, position, V + 1)
    if not task.every_token and told:
        # the last target's entry too: behind any token that may follow, since only what comes before it matters
        last = np.arange(len(before)), n_before
        whole = np.column_stack([before, np.zeros(len(before), before.dtype)])
        whole[last] = found[last][:, :-1].argmax(axis=1)
        found = boundary_posterior(grammar, whole, lengths, task.level_from_root)[inputs.at]
        wrong = np.argwhere(inputs.at)[np.isnan(found).any(axis=1)]
        if len(wrong):
            said, expected = "a target at input {1} of sentence {0}", "one where a span of the level can end"
            raise SpecError(f"{said.format(*wrong[0])}: expected {expected}.")
    else:
        found = found[inputs.at]
        if not task.ends:
            found = found[:, :-1] / found[:, :-1].sum(axis=1, keepdims=True)
    return np.insert(found, task.bos_token, 0.0, axis=1)


def _grammar(task: Task) -> Grammar:
    is_one = isinstance(task, MaskedPrediction | NextToken)
    require(is_one, f"task {task}", "MaskedPrediction or NextToken")
    source = task.source  # type: ignore[attr-defined]
    require(isinstance(source, Grammar), f"source {source}", "a Grammar, whose posterior is known")
    return source  # type: ignore[no-any-return]


@dataclass(frozen=True)
class BestPrediction(Calculation):
    r"""Accuracy and loss of reference predictors on the task's held-out sentences.

    Table rows, by `predictor`: `posterior`, the exact one given the whole input, which nothing exceeds but by chance;
    `unigram`, the frequencies of what is asked for; of masked prediction `copy`, the posterior given the token that the
    selected position itself shows; of next-token prediction `bigram`, given the token right before alone, and at levels
    above 1 `prefix`, given all tokens before, but not that a span of the level ends. `accuracy` is over targets,
    `loss_nats` over sentences.

    The posterior has the greatest expected accuracy, and the least expected loss where sentences have equally many
    targets; else the loss gives targets of sentences with few of them more weight than their probability.

    >>> from pdlib.tasks.grammar import grammar
    >>> rows = BestPrediction(NextToken(grammar("cfg3b", roots=10), level=2), n_evaluation=200).rows()
    >>> [(row["predictor"], round(row["accuracy"], 1)) for row in rows]
    [('posterior', 1.0), ('prefix', 0.8), ('bigram', 0.7), ('unigram', 0.5)]
    """

    version: ClassVar[int] = 1
    task: MaskedPrediction | NextToken  # on a grammar
    n_evaluation: Count = 4096  # held-out sentences, the first of those that networks are evaluated on

    def __post_init__(self) -> None:
        super().__post_init__()
        _grammar(self.task)

    @property
    def work(self) -> float:
        # spans of all lengths, for all symbols
        return 20.0 * self.n_evaluation * self.task.n_inputs**2 * len(_grammar(self.task).symbols)

    def rows(self) -> list[dict[str, Any]]:
        task = self.task
        inputs, classes = task.stream(EVALUATION_SEED, "evaluation").examples(0, self.n_evaluation)
        predictions = self._next(task, inputs) if isinstance(task, NextToken) else self._masked(task, inputs)
        weights = inputs.weights()
        return [
            {
                "predictor": name,
                "accuracy": float((p.argmax(axis=1) == classes).mean()),
                "loss_nats": float(-(weights * np.log(p[np.arange(len(p)), classes])).sum()),
            }
            for name, p in predictions.items()
        ]

    def _masked(self, task: MaskedPrediction, inputs: Sequences) -> dict[str, NDArray[np.float64]]:
        n_tokens = task.source.n_tokens
        frequency = token_frequencies(_grammar(task))
        shown = inputs.tokens[inputs.at]
        same = shown[:, None] == np.arange(n_tokens)
        copied = evidence_of(same, shown == task.mask_token, selected=1.0) * frequency
        return {
            "posterior": best_prediction(task, inputs)[:, :n_tokens],
            "copy": copied / copied.sum(axis=1, keepdims=True),
            "unigram": np.broadcast_to(frequency, copied.shape),
        }

    def _next(self, task: NextToken, inputs: Sequences) -> dict[str, NDArray[np.float64]]:
        pairs = bigram_frequencies(task)
        given = pairs[inputs.tokens[inputs.at]]
        predictions = {"posterior": best_prediction(task, inputs)}
        if not task.every_token:
            predictions["prefix"] = _next(task, inputs, told=False)
        return predictions | {
            "bigram": given / given.sum(axis=1, keepdims=True),
            "unigram": np.broadcast_to(pairs.sum(axis=0), given.shape),
        }


def token_frequencies(grammar: Grammar) -> NDArray[np.float64]:
    """Return the expected share of each terminal among all tokens of many sentences, shape (token,).

    >>> from pdlib.tasks.grammar import load_grammar
    >>> token_frequencies(load_grammar({"rules": {"9": [[1, 1, 2], [2]]}})).round(3).tolist()
    [0.5, 0.5]
    """
    expected = _expected(grammar)
    counts = np.array([expected[t] for t in grammar.terminals])
    return np.asarray(counts / counts.sum())


def _expected(grammar: Grammar) -> dict[int, float]:
    """Return how often each symbol occurs in a tree, from the roots down."""
    expected = dict.fromkeys(grammar.symbols, 0.0)
    for root in grammar.roots:
        expected[root] = 1 / len(grammar.roots)
    for symbol in grammar.symbols:  # layer by layer, so that what is above is complete
        for rule in grammar.rules_of(symbol):
            for child in rule.right:
                expected[child] += expected[symbol] * rule.probability
    return expected


def bigram_frequencies(task: NextToken) -> NDArray[np.float64]:
    r"""Return the expected share of each pair of neighbours among what is asked for, shape (token before, class).

    With :math:`E_A` how often a symbol occurs in a tree, :math:`E_A(s)` how often behind token s, and
    :math:`P_A` the probability of how its span ends, the number of pairs (s, t) is

    .. math:: \sum_A E_A \, P_A(\dots s \, t) + E_A(s) \, P_A(\text{the span is } t)

    over the symbols A of the task's level. [bos] is before the first token.

    >>> from pdlib.tasks.grammar import load_grammar
    >>> task = NextToken(load_grammar({"rules": {"9": [[1, 1, 2], [2]]}}))
    >>> (4 * bigram_frequencies(task)).round(3).tolist()     # half of the sentences are [bos] 0 0 1, half [bos] 1
    [[1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [1.0, 1.0, 0.0]]
    """
    grammar = _grammar(task)
    n, v, bos = task.n_classes, grammar.n_terminals, task.bos_token
    # P of a span: that it is one token, that it ends with a token, and with two
    single: dict[int, NDArray[np.float64]] = {t: np.eye(n)[i] for i, t in enumerate(grammar.terminals)}
    last, two = dict(single), {t: np.zeros((n, n)) for t in grammar.terminals}
    for symbol in grammar.symbols[-v - 1 :: -1]:  # from below
        single[symbol], last[symbol], two[symbol] = np.zeros(n), np.zeros(n), np.zeros((n, n))
        for rule in grammar.rules_of(symbol):
            *others, end = rule.right
            last[symbol] += rule.probability * last[end]
            two[symbol] += rule.probability * two[end]
            if others:
                two[symbol] += rule.probability * np.outer(last[others[-1]], single[end])
            else:
                single[symbol] += rule.probability * single[end]
    expected = _expected(grammar)
    behind = {symbol: np.zeros(n) for symbol in grammar.symbols}
    for root in grammar.roots:
        behind[root][bos] = expected[root]
    for symbol in grammar.symbols:
        for rule in grammar.rules_of(symbol):
            behind[rule.right[0]] += rule.probability * behind[symbol]
            for before, after in pairwise(rule.right):
                behind[after] += rule.probability * expected[symbol] * last[before]
    pairs = np.zeros((n, n))
    for symbol in grammar.layers[task.level_from_root]:
        pairs += expected[symbol] * two[symbol] + np.outer(behind[symbol], single[symbol])
    if task.ends:
        pairs[:, task.end_token] = sum(expected[root] * last[root] for root in grammar.roots)
    return np.asarray(pairs / pairs.sum())


@dataclass(frozen=True)
class BestDependence(Calculation):
    """The n-gram dependence of the exact posterior: the reference for that of a network.

    Table rows as of `NgramDependence`, on the same sentences and positions.

    >>> from pdlib import MaskedPrediction, NgramDependence, grammar
    >>> task = MaskedPrediction(grammar("cfg3b", roots=(14, 15)))
    >>> [(row["measure"], row["n"]) for row in BestDependence(task, NgramDependence((3,), n_samples=8)).rows()]
    [('robust', 3), ('close', 3)]
    """

    version: ClassVar[int] = 1
    task: MaskedPrediction  # on a grammar
    probe: NgramDependence  # the networks' probe

    def __post_init__(self) -> None:
        super().__post_init__()
        _grammar(self.task)

    @property
    def work(self) -> float:
        # as many posteriors as the probe shows inputs
        return 100.0 * self.probe.n_samples * self.task.n_inputs**2 * len(_grammar(self.task).symbols)

    def rows(self) -> list[dict[str, Any]]:
        inputs = self.probe.inputs(self.task)
        return dependence(inputs, lambda block: best_prediction(self.task, block), self.probe.n)

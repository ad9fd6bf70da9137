"""The best possible predictor of masked prediction on a grammar: what no network can exceed.

Its accuracy and loss are those of the exact posterior (`pdlib.theory.inside_outside`) on the held-out sentences
that networks are evaluated on, and its dependence on n-grams is measured by the networks' own probe.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pdlib.probes.ngrams import NgramDependence, dependence
from pdlib.specs import EVALUATION_SEED, Calculation, Sequences, require, whole
from pdlib.tasks.grammar import Grammar
from pdlib.tasks.masked import MaskedPrediction
from pdlib.theory.inside_outside import evidence_of, posterior


def best_prediction(task: MaskedPrediction, inputs: Sequences) -> NDArray[np.float64]:
    """Return the exact posterior of each target's original token, shape (target, token); [mask] has probability 0.

    Parameters
    ----------
    task
        On a `Grammar`.
    inputs
        As the task shows them to a network; no [mask] beyond the end of a sentence.

    Examples
    --------
    >>> from pdlib.tasks.grammar import grammar
    >>> task = MaskedPrediction(grammar("cfg3b", roots=(10,)))
    >>> inputs, _ = task.stream(0, "evaluation").examples(0, 5)
    >>> bool(np.allclose(best_prediction(task, inputs).sum(axis=1), 1))
    True
    """
    grammar, hidden = _grammar(task), task.selected == "hidden"
    at = inputs.at
    if hidden:  # a [mask] that nobody attends to is part of the sentence, and selected, asked for or not
        at = at | (inputs.tokens == task.mask_token)
    lengths = replace(inputs, at=at).lengths
    found = posterior(grammar, inputs.tokens, lengths, at, mask_rate=task.mask_rate, hidden=hidden)
    found = found[inputs.at[at]]
    return np.hstack([found, np.zeros((len(found), 1))])


def _grammar(task: MaskedPrediction) -> Grammar:
    require(isinstance(task, MaskedPrediction), f"task {task}", "MaskedPrediction")
    require(isinstance(task.source, Grammar), f"source {task.source}", "a Grammar, whose posterior is known")
    assert isinstance(task.source, Grammar)
    return task.source


@dataclass(frozen=True)
class BestPrediction(Calculation):
    r"""Accuracy and loss of reference predictors on the task's held-out sentences.

    Table rows, by `predictor`: `posterior`, the exact posterior given the whole input, which nothing exceeds but by
    chance; `unigram`, the frequencies of tokens in the grammar's sentences; `copy`, the exact posterior given the token
    that the selected position itself shows. Columns as of an evaluation: `accuracy`, over selected positions;
    `loss_nats`, over sentences.

    Parameters
    ----------
    task
        Masked prediction on a grammar.
    n_evaluation
        Held-out sentences, the first of those that networks are evaluated on.
    """

    version: ClassVar[int] = 1
    task: MaskedPrediction
    n_evaluation: int = 4096

    def __post_init__(self) -> None:
        _grammar(self.task)
        whole(n_evaluation=self.n_evaluation)

    @property
    def work(self) -> float:
        """Spans of all lengths, for all symbols."""
        return 20.0 * self.n_evaluation * self.task.n_inputs**2 * len(_grammar(self.task).symbols)

    def rows(self) -> list[dict[str, Any]]:
        """Return a row a predictor."""
        inputs, classes = self.task.stream(EVALUATION_SEED, "evaluation").examples(0, self.n_evaluation)
        n_tokens = self.task.source.n_tokens
        frequency = token_frequencies(_grammar(self.task))
        shown = inputs.tokens[inputs.at]
        same = shown[:, None] == np.arange(n_tokens)
        copied = evidence_of(same, shown == self.task.mask_token, selected=1.0) * frequency
        predictions = {
            "posterior": best_prediction(self.task, inputs)[:, :n_tokens],
            "copy": copied / copied.sum(axis=1, keepdims=True),
            "unigram": np.broadcast_to(frequency, copied.shape),
        }
        weights = inputs.weights()
        return [
            {
                "predictor": name,
                "accuracy": float((p.argmax(axis=1) == classes).mean()),
                "loss_nats": float(-(weights * np.log(p[np.arange(len(p)), classes])).sum()),
            }
            for name, p in predictions.items()
        ]


def token_frequencies(grammar: Grammar) -> NDArray[np.float64]:
    r"""Return the expected share of each terminal among all tokens of many sentences, shape (token,).

    From the roots down, the expected number of occurrences of each symbol in a tree.

    >>> from pdlib.tasks.grammar import load_grammar
    >>> token_frequencies(load_grammar({"rules": {"9": [[1, 1, 2], [2]]}})).round(3).tolist()
    [0.5, 0.5]
    """
    expected = dict.fromkeys(grammar.symbols, 0.0)
    for root in grammar.roots:
        expected[root] = 1 / len(grammar.roots)
    for symbol in grammar.symbols:  # layer by layer, so that what is above is complete
        for rule in grammar.rules_of(symbol):
            for child in rule.right:
                expected[child] += expected[symbol] * rule.probability
    counts = np.array([expected[t] for t in grammar.terminals])
    return np.asarray(counts / counts.sum())


@dataclass(frozen=True)
class BestDependence(Calculation):
    """The n-gram dependence of the exact posterior: the reference for that of a network.

    Table rows as of `NgramDependence`, on the same sentences and positions.

    Parameters
    ----------
    task
        Masked prediction on a grammar.
    probe
        The networks' probe.
    """

    version: ClassVar[int] = 1
    task: MaskedPrediction
    probe: NgramDependence

    def __post_init__(self) -> None:
        _grammar(self.task)
        require(isinstance(self.probe, NgramDependence), f"probe = {self.probe!r}", "an NgramDependence")

    @property
    def work(self) -> float:
        """As many posteriors as the probe shows inputs."""
        return 100.0 * self.probe.n_samples * self.task.n_inputs**2 * len(_grammar(self.task).symbols)

    def rows(self) -> list[dict[str, Any]]:
        """Return one row a measure and n."""
        inputs = self.probe.inputs(self.task)
        return dependence(inputs, lambda block: best_prediction(self.task, block), self.probe.n)

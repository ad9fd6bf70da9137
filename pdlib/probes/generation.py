"""Whether a network writes sentences of its grammar: texts drawn token by token, given to the parser.

`judged` scores any texts, `Generation` those of a network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from pdlib.models.transformer import Transformer
from pdlib.specs import Count, Index, Parameters, Probe, SpecError, Training, require
from pdlib.tasks.grammar import Grammar
from pdlib.tasks.next_token import NextToken
from pdlib.tasks.posteriors import grammatical


def judged(
    grammar: Grammar, tokens: NDArray[Any], lengths: NDArray[Any], ended: NDArray[np.bool_]
) -> dict[str, Any]:
    r"""Return the row of `Generation` for any texts.

    .. math:: \text{accepted} = \tfrac{1}{n} \sum_s 1[x_s \text{ has ended}] \, 1[P(x_s) > 0], \qquad
              \text{prefix share} = \tfrac{1}{n} \sum_s m_s / h_s

    where the text :math:`x_s` has :math:`h_s` tokens, of which the first :math:`m_s` are the longest that some sentence
    begins with. `tokens` (text, position) and `lengths` (text,) are as of `grammatical`; `ended` (text,) says whether a text
    ends there: one that was cut is no sentence.

    >>> from pdlib.tasks.grammar import grammar
    >>> low = grammar("cfg3b", roots=7)                   # 7 -> 3 1 | 1 2 3, tokens 2 0 | 0 1 2
    >>> texts = np.array([[2, 0, 0], [2, 0, 0], [0, 1, 0], [0, 0, 2]])
    >>> row = judged(low, texts, np.array([2, 2, 2, 3]), np.array([True, True, False, True]))
    >>> row["accepted"], row["distinct"], row["longest_prefix"], row["mean_length"], row["ended"]
    (0.5, 0.25, 1.75, 2.25, 0.75)
    """
    reached, whole_sentence = grammatical(grammar, tokens, lengths)
    n = len(reached)
    require(n > 0, "no texts", "at least one")
    require(
        ended.shape == (n,) and ended.dtype == np.bool_,
        f"ended of shape {ended.shape} and type {ended.dtype}",
        f"{n} truth values",
    )
    right = whole_sentence & ended
    sentences = {tuple(tokens[s, : lengths[s]].tolist()) for s in np.flatnonzero(right)}
    return {
        "accepted": float(right.mean()),
        "distinct": len(sentences) / n,
        "longest_prefix": float(reached.mean()),
        "prefix_share": float((reached / np.maximum(lengths, 1)).mean()),
        "mean_length": float(lengths.mean()),
        "ended": float(ended.mean()),
        "n_samples": n,
    }


@dataclass(frozen=True)
class Generation(Probe):
    """Share of a network's texts that the grammar accepts, and how far the others are grammatical.

    A text begins with [bos]; each next token is drawn from the network's prediction, until it is [end]. One that has as
    many tokens as the longest sentence and does not end there is cut.

    Table row:

    - `accepted`: share of the texts that end and are sentences of the grammar;
    - `distinct`: the number of different sentences among these, over that of all texts; it is `accepted` if the network
      wrote no sentence twice;
    - `longest_prefix`: mean number of tokens of a text, from its first one, that some sentence begins with;
    - `prefix_share`: mean share that these are of the text's tokens, 0 for a text without tokens;
    - `mean_length`: mean number of tokens of a text, [end] not among them;
    - `ended`: share of the texts that end;
    - `n_samples`.

    The paper does not measure this; see Allen-Zhu and Li, "Physics of language models: Part 1, context-free grammar",
    arXiv:2305.13673, for the accuracy of generation. A text that was cut, or that ends too early, can have a prefix share of
    1, since it may be the beginning of a sentence.

    >>> from pdlib import SGD, NextToken, Training, Transformer, grammar
    >>> task = NextToken(grammar("cfg3b", roots=(14, 15)), ends=True)
    >>> model = Transformer(1, 2, 4, n_positions=task.n_inputs, vocabulary=task.n_classes, attends="causal")
    >>> spec = Training(task, model, SGD(0.1), n_steps=1, evaluate_every=1)
    >>> (row,) = Generation(8).rows(spec, spec.model.initial(task.n_inputs, task.n_classes, seed=0))
    >>> row["n_samples"], 0 <= row["accepted"] <= row["ended"] <= 1
    (8, True)
    """

    version: ClassVar[int] = 1
    n_samples: Count = 1024  # texts drawn
    seed: Index = 0  # of the draws: networks measured with one seed share their random numbers

    def check(self, training: Training) -> None:
        """See `Probe.check`."""
        model, task = training.model, training.task
        if not (isinstance(task, NextToken) and isinstance(task.source, Grammar) and task.ends):
            raise SpecError(
                f"task {task}: expected a NextToken on a Grammar with ends=True. The grammar says what a sentence is, and "
                "a network that was never asked for [end] writes no ends."
            )
        if not isinstance(model, Transformer):
            raise SpecError(f"texts of {model}: expected a Transformer, from which they can be drawn.")

    def rows(self, training: Training, parameters: Parameters, device: str = "cpu") -> list[dict[str, Any]]:
        """Return one row."""
        model, task = cast(Transformer, training.model), cast(NextToken, training.task)
        grammar = cast(Grammar, task.source)
        tokens, lengths, ended = model.generate(
            parameters,
            self.n_samples,
            beginning=task.bos_token,
            end=task.end_token,
            max_length=grammar.max_length,  # and [end]: one token more is drawn
            seed=self.seed,
        )
        return [judged(grammar, tokens, lengths, ended)]

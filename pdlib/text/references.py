r"""What simple predictors of masked text reach: the levels beside which a network's loss and accuracy are read.

All are a prior over the ordinary tokens (all but [PAD], [CLS], [SEP] and [MASK]) times what the selected position itself
shows. With the prior q, V ordinary tokens and the token s that is shown, Bayes' rule for 80/10/10 gives

.. math:: P(t \mid s) = \frac{(0.1 \cdot 1[s = t] + 0.1 / V) \, q(t)}{0.1 \, q(s) + 0.1 / V}

and q itself where [MASK] is shown. Priors are counted on the training sequences, with a discount d = 0.75 off each count
and what it frees given to a simpler prior: single tokens to the uniform one, pairs to that of single tokens,

.. math:: q(t) = \frac{\max(c(t) - d, 0)}{N} + \frac{d \, U}{N} \frac{1}{V}, \qquad
          q(t \mid l) = \frac{\max(c(l, t) - d, 0)}{N(l)} + \frac{d \, U(l)}{N(l)} q(t)

where c counts, N sums and U says how many different tokens were counted.

References
----------
Ney, Essen and Kneser, "On structuring probabilistic dependences in stochastic language modelling" (1994): absolute
discounting.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

from pdlib.sequences import Sequences
from pdlib.specs import EVALUATION_SEED, Calculation, Count, require
from pdlib.tasks.masked import SHOWN_ORIGINAL, SHOWN_RANDOM, MaskedPrediction
from pdlib.text.corpus import DISCOUNT, Corpus

NOTHING = -1  # a left neighbor that is not known


class Prior:
    """What is known of a token before the position itself is looked at, given what stands to its left, if known.

    Parameters
    ----------
    frequency : shape (token,)
        q, such as `Corpus.frequencies`; what is known where the left neighbor is not, or never stood there.
    pairs : shape (left, token)
        c(l, t). Without any, the left neighbor plays no part.

    Examples
    --------
    >>> prior = Prior(np.array([0, 0.71875, 0.21875, 0.0625]), csr_array([[0] * 4, [0, 1, 3, 0], [0] * 4, [0] * 4]))
    >>> left = np.array([1, 1, 1, NOTHING])
    >>> prior.probability(left, np.array([1, 2, 3, 1])).round(5).tolist()
    [0.33203, 0.64453, 0.02344, 0.71875]
    >>> prior.best(left).tolist()
    [2, 2, 2, 1]
    """

    def __init__(self, frequency: NDArray[np.float64], pairs: csr_array | None = None) -> None:
        self.frequency, self._pairs = frequency, pairs

    def distribution(self, left: int) -> NDArray[np.float64]:
        """Return the probability of every token, shape (token,)."""
        if self._pairs is None or left == NOTHING:
            return self.frequency
        row = slice(self._pairs.indptr[left], self._pairs.indptr[left + 1])
        counts = self._pairs.data[row]
        if not len(counts):
            return self.frequency
        total = counts.sum()
        found = DISCOUNT * len(counts) / total * self.frequency
        found[self._pairs.indices[row]] += (counts - DISCOUNT) / total
        return np.asarray(found)

    def probability(self, left: NDArray[np.int64], token: NDArray[Any]) -> NDArray[np.float64]:
        """Return the probability of each token, shape (target,)."""
        found = np.empty(len(token))
        for one in np.unique(left):
            at = np.flatnonzero(left == one)
            found[at] = self.distribution(one)[token[at]]
        return found

    def best(self, left: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the most probable token, the lowest of several, shape (target,)."""
        kinds, place = np.unique(left, return_inverse=True)
        return np.array([self.distribution(one).argmax() for one in kinds])[place]


def bigram_of(corpus: Corpus) -> Prior:
    """Return the frequencies of tokens by their left neighbor in the training sequences; [CLS] is a neighbor too."""
    n = corpus.n_tokens
    pairs = csr_array((n, n), dtype=np.int64)
    for block in corpus.blocks():
        left, token = block[:, :-1].ravel().astype(np.int64), block[:, 1:].ravel().astype(np.int64)
        pairs += coo_array((np.ones(len(left), np.int64), (left, token)), (n, n)).tocsr()
    return Prior(corpus.frequencies(), pairs)


def left_neighbors(task: MaskedPrediction, inputs: Sequences) -> NDArray[np.int64]:
    """Return what stands to the left of each target, shape (target,); `NOTHING` where that is not to be seen.

    It is not where it is masked, nor, if the task hides selected positions, where it is selected. A token that is shown is
    taken at its word: one in some hundred is a random one, as nobody can tell.

    >>> from pdlib.tasks.grammar import grammar
    >>> task = MaskedPrediction(grammar("cfg3b", roots=(10,)))      # [mask] is 3
    >>> at = np.array([[True, True, False, True, True]])
    >>> left_neighbors(task, Sequences(np.array([[1, 3, 0, 3, 2]]), at, np.ones((1, 5), bool))).tolist()
    [-1, 1, 0, -1]
    """
    shown = np.full(inputs.tokens.shape, NOTHING, np.int64)
    known = inputs.visible[:, :-1] & (inputs.tokens[:, :-1] != task.mask_token)
    shown[:, 1:] = np.where(known, inputs.tokens[:, :-1], NOTHING)
    return np.asarray(shown[inputs.at])


def predicted(
    prior: Prior,
    left: NDArray[np.int64],
    shown: NDArray[Any],
    classes: NDArray[Any],
    mask_token: int,
    n_ordinary: int,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the posterior of each target's class, and the most probable token, by Bayes' rule as above.

    What stands to the `left`, what the position itself has `shown`, and the `classes` that are asked about have the shape
    (target,). `mask_token` shows nothing; `n_ordinary` is V.

    Examples
    --------
    >>> prior = Prior(np.array([0.6, 0.4]))
    >>> p, best = predicted(prior, np.full(2, NOTHING), np.array([1, 2]), np.array([1, 1]), 2, n_ordinary=2)
    >>> p.round(4).tolist(), best.tolist()        # 1.5 * 0.4 : 0.5 * 0.6, and 0.4 : 0.6
    ([0.6667, 0.4], [1, 0])
    """
    masked = shown == mask_token
    kept, random = SHOWN_ORIGINAL, SHOWN_RANDOM / n_ordinary
    own = prior.probability(left, np.where(masked, classes, shown))
    of_class = prior.probability(left, classes)
    posterior = (kept * (classes == shown) + random) * of_class / (kept * own + random)
    best = prior.best(left)
    copied, other = (kept + random) * own, random * prior.probability(left, best)
    copies = ~masked & ((copied > other) | ((copied == other) & (shown < best)))
    return np.where(masked, of_class, posterior), np.where(copies, shown, best)


@dataclass(frozen=True)
class TextReferences(Calculation):
    """Accuracy and loss of reference predictors on the held-out sequences and masks that networks are evaluated on.

    Table rows, by `predictor`: `unigram`, tokens by their frequency; `copy`, the exact posterior if nothing is known but
    these frequencies and what the selected position itself shows; `bigram`, the same with tokens by their left neighbor
    as prior: where that is masked it says what `copy` says. Columns as of an evaluation, `accuracy` over selected
    positions, `loss_nats` over sequences; and `n_targets`.

    Parameters
    ----------
    task
        Masked prediction on a `Corpus`.
    n_evaluation
        Held-out sequences, the first of those that networks are evaluated on.

    >>> import tempfile
    >>> from unittest.mock import patch
    >>> from pdlib import Corpus
    >>> with patch.dict("os.environ", PDLIB_CACHE=tempfile.mkdtemp()):      # a cache of its own
    ...     corpus = Corpus.prepare("sample:english:60", "trained:300", length=16, held_out=20)
    ...     rows = TextReferences(MaskedPrediction(corpus), n_evaluation=20).rows()
    >>> [row["predictor"] for row in rows]
    ['unigram', 'copy', 'bigram']
    """

    version: ClassVar[int] = 1
    task: MaskedPrediction
    n_evaluation: Count = 4096

    def __post_init__(self) -> None:
        super().__post_init__()
        _corpus(self.task)

    @property
    def work(self) -> float:
        """All training pairs are sorted."""
        return 50.0 * _corpus(self.task).sequences("train").size

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each predictor."""
        corpus = _corpus(self.task)
        inputs, classes = self.task.stream(EVALUATION_SEED, "evaluation").examples(0, self.n_evaluation)
        mask, n_ordinary = self.task.mask_token, len(self.task.ordinary_tokens)
        left, shown = left_neighbors(self.task, inputs), inputs.tokens[inputs.at]
        bigram = bigram_of(corpus)
        unigram = Prior(bigram.frequency)
        rows = []
        for name, prior, seen in (
            ("unigram", unigram, np.full(len(classes), mask)),
            ("copy", unigram, shown),
            ("bigram", bigram, shown),
        ):
            p, best = predicted(prior, left, seen, classes, mask, n_ordinary)
            rows.append(
                {
                    "predictor": name,
                    "accuracy": float((best == classes).mean()),
                    "loss_nats": float(-(inputs.weights() * np.log(p)).sum()),
                    "n_targets": len(classes),
                }
            )
        return rows


def _corpus(task: MaskedPrediction) -> Corpus:
    require(isinstance(task, MaskedPrediction), f"task {task}", "MaskedPrediction")
    require(isinstance(task.source, Corpus), f"source {task.source}", "a Corpus, whose tokens are counted")
    assert isinstance(task.source, Corpus)
    return task.source

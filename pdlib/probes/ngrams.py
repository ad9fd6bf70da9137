"""How much a prediction depends on the tokens around it, and on those further away (paper, section 4.1.1, appendix E).

`removals` takes tokens away around positions of sentences, `dependence` compares what any predictor makes of the rest. So
a network and the exact posterior of a grammar go through the same code. In masked prediction the n-gram lies around the
position; in next-token prediction it ends right before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from pdlib.models.mlp import softmax
from pdlib.sequences import Sentences, Sequences
from pdlib.specs import Count, Index, Parameters, Probe, Several, SpecError, Training, require
from pdlib.tasks.bits import random_words, stream_key, uniforms
from pdlib.tasks.masked import MaskedPrediction
from pdlib.tasks.next_token import NextToken

MEASURES = ("robust", "close")
PAIRS_AT_ONCE = 1024  # a sentence and a position of it each; fewer, if the predictions would be more than
PREDICTED_AT_ONCE = 2**23  # numbers, 64 MiB

Predict = Callable[[Sequences], NDArray[Any]]  # probabilities (target, class)


def neighborhood(n: int, positions: NDArray[np.intp], length: int) -> NDArray[np.bool_]:
    r"""Return which positions lie in the n-gram around each of several, the position itself included.

    .. math:: n\text{-gram}(i) = \left\{ j : i - \left\lceil \tfrac{n-1}{2} \right\rceil \le j \le
              i + \left\lfloor \tfrac{n-1}{2} \right\rfloor \right\}

    where j runs over the sentence, so that the n-gram is cut at its ends (paper, Definition 4.2). `positions` are i,
    (pair,); the result has shape (pair, position).

    >>> neighborhood(4, np.array([0, 3]), length=5).astype(int).tolist()
    [[1, 1, 0, 0, 0], [0, 1, 1, 1, 1]]
    """
    i, j = positions[:, None], np.arange(length)
    return np.asarray((i - n // 2 <= j) & (j <= i + (n - 1) // 2))


def preceding(n: int, positions: NDArray[np.intp], length: int) -> NDArray[np.bool_]:
    r"""Return which positions lie in the n-gram before each of several: with it they are n tokens.

    .. math:: n\text{-gram}(i) = \{ j : i - n < j < i \}

    where j runs over the sentence, so that the n-gram is cut at its beginning (paper, appendix E). Parameters and result as
    of `neighborhood`.

    >>> preceding(3, np.array([0, 1, 4]), length=5).astype(int).tolist()
    [[0, 0, 0, 0, 0], [1, 0, 0, 0, 0], [0, 0, 1, 1, 0]]
    """
    i, j = positions[:, None], np.arange(length)
    return np.asarray((i - n < j) & (j < i))


def total_variation(p: NDArray[Any], q: NDArray[Any]) -> NDArray[np.float64]:
    r"""Return half the sum of absolute differences along the last axis, in [0, 1] for distributions.

    .. math:: \mathrm{TV}(p, q) = \tfrac{1}{2} \sum_c | p_c - q_c |

    >>> total_variation(np.array([0.5, 0.5, 0.0]), np.array([0.25, 0.5, 0.25])).tolist()
    0.25
    """
    return np.asarray(0.5 * np.abs(p.astype(np.float64) - q.astype(np.float64)).sum(axis=-1))


def drawn_positions(identity: str, lengths: NDArray[np.int64], n_positions: int) -> NDArray[np.intp]:
    """Return random (sentence, position) pairs, shape (pair, 2): in each sentence distinct positions, uniform.

    A sentence of fewer than `n_positions` tokens gives each of them. The random words, of the hexadecimal key `identity`,
    of sentence i are a function of the key and i alone.

    >>> drawn_positions("00ff", np.array([1, 2]), n_positions=3)[:, 0].tolist()
    [0, 1, 1]
    """
    words = random_words(identity, 0, len(lengths), n_positions)
    uniform = uniforms(words)
    everyone = np.arange(len(lengths))
    order = np.tile(np.arange(max(n_positions, int(lengths.max(initial=0)))), (len(lengths), 1))
    for place in range(n_positions):  # the first places of a Fisher-Yates shuffle
        left = np.maximum(lengths - place, 1)
        other = place + (uniform[:, place] * left).astype(np.intp)
        order[everyone, place], order[everyone, other] = order[everyone, other], order[everyone, place]
    kept = np.arange(n_positions) < lengths[:, None]
    return np.stack([np.nonzero(kept)[0], order[:, :n_positions][kept]], axis=1)


def removals(
    task: MaskedPrediction | NextToken, sentences: Sentences, pairs: NDArray[np.intp], n: tuple[int, ...]
) -> Iterator[Sequences]:
    """Yield the inputs of all measures: what is left of sentences after tokens are removed.

    In masked prediction a removed token becomes [mask], and nobody attends to it if the task hides selected positions.
    (If nothing else is left, all are attended to, as in the task.) Special tokens of the source, such as [CLS], are never
    removed, as they are never selected.

    In next-token prediction there is no such token: a removed one stays where it is, so that no position shifts, and
    nobody attends to it, in no layer. The last input, which is the token before the one asked for, or [bos] before the
    first, is never removed: a prediction is read there.

    `pairs` (pair, 2) are a sentence and a position of it, whose token is asked for and never shown; `n` are N sizes of
    n-grams. Of each pair there are 1 + 2 N examples of one target, without padding. Of masked prediction sentences of one
    length, from which are removed the position alone; its n-gram, a size after the other; and all but its n-gram, and it.
    Of next-token prediction beginnings of one length, up to the token asked for: the whole; its n-gram removed; and all
    but its n-gram removed, [bos] too.

    >>> from pdlib.tasks.grammar import grammar
    >>> task = MaskedPrediction(grammar("cfg3b", roots=(14, 15)))
    >>> (block,) = removals(task, task.stream(0, "probe").originals(0, 1), np.array([[0, 4]]), n=(3,))
    >>> (block.tokens[:, :8] == task.mask_token).astype(int).tolist()
    [[0, 0, 0, 0, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1, 0, 0], [1, 1, 1, 0, 1, 0, 1, 1]]
    >>> task = NextToken(grammar("cfg3b", roots=(14, 15)))
    >>> (block,) = removals(task, task.stream(0, "probe").originals(0, 1), np.array([[0, 4]]), n=(3,))
    >>> block.visible.astype(int).tolist()                  # of [bos] and four tokens
    [[1, 1, 1, 1, 1], [1, 1, 1, 0, 1], [0, 0, 0, 1, 1]]
    """
    masked = isinstance(task, MaskedPrediction)
    lengths = sentences.lengths
    sentence, position = pairs.T
    require(
        bool(((sentence >= 0) & (sentence < len(lengths))).all()),
        f"sentences {np.unique(sentence).tolist()}",
        f"numbers from 0 to {len(lengths) - 1}",
    )
    for s, i in pairs[(position < 0) | (position >= lengths[sentence])][:1]:
        raise SpecError(f"position {i} of sentence {s}: expected from 0 to {lengths[s] - 1}, its last one.")
    for s, i in pairs[np.isin(sentences.tokens[sentence, position], task.source.special_tokens)][:1]:
        raise SpecError(
            f"position {i} of sentence {s}, a special token: expected one of the text's, never a mark."
        )
    shown = lengths[sentence] if masked else position  # tokens
    at_once = min(PAIRS_AT_ONCE, max(1, PREDICTED_AT_ONCE // ((1 + 2 * len(n)) * task.n_classes)))
    for length in np.unique(shown):
        group = pairs[shown == length]
        for start in range(0, len(group), at_once):
            some = group[start : start + at_once]
            tokens = sentences.tokens[some[:, 0], :length]
            if isinstance(task, MaskedPrediction):
                yield _removed(task, tokens, some[:, 1], n)
            else:
                yield _hidden(task, tokens, n)


def _removed(
    task: MaskedPrediction, tokens: NDArray[Any], positions: NDArray[np.intp], n: tuple[int, ...]
) -> Sequences:
    length = tokens.shape[1]
    asked = neighborhood(1, positions, length)
    near = [neighborhood(size, positions, length) for size in n]
    removed = np.stack([asked, *near, *(~window | asked for window in near)], axis=1)
    removed &= ~np.isin(tokens, task.source.special_tokens)[:, None]
    n_variants = removed.shape[1]
    removed = removed.reshape(-1, length)
    shown = np.where(removed, task.mask_token, np.repeat(tokens.astype(np.int64), n_variants, axis=0))
    seen = task.shown(shown, np.full(len(shown), length), removed)
    return Sequences(shown, np.repeat(asked, n_variants, axis=0), seen.visible)


def _hidden(task: NextToken, before: NDArray[Any], n: tuple[int, ...]) -> Sequences:
    """Return what is left of [bos] and `before`, the tokens before the one asked for, (pair, position)."""
    n_pairs, length = before.shape
    near = [preceding(size, np.array([length]), length)[0] for size in n]
    tokens = np.stack([np.zeros(length, bool), *near, *(~window for window in near)])
    bos = np.arange(len(tokens)) > len(n)  # hidden where the n-gram is alone
    hidden = np.column_stack([bos, tokens])
    hidden[:, -1] = False
    at = np.zeros((n_pairs * len(hidden), length + 1), bool)
    at[:, -1] = True
    shown = np.column_stack([np.full(n_pairs, task.bos_token), before.astype(np.int64)])
    return Sequences(np.repeat(shown, len(hidden), axis=0), at, np.tile(~hidden, (n_pairs, 1)))


def distances(
    inputs: Iterable[Sequences], predict: Predict, n: tuple[int, ...]
) -> dict[tuple[str, int], NDArray[np.float64]]:
    r"""Return the total variation of each pair, by measure and n.

    .. math:: M_{\mathrm{robust}} = \mathrm{TV}\left( p^{(i)}(x_{\setminus \{i\}}),
              p^{(i)}(x_{\setminus n\text{-gram}(i)}) \right), \qquad
              M_{\mathrm{close}} = \mathrm{TV}\left( p^{(i)}(x_{\setminus \{i\}}),
              p^{(i)}(x_{n\text{-gram}(i) \setminus \{i\}}) \right)

    In next-token prediction x ends before i, and the token before i is never removed. (Paper, Equations 5 and 6; 11 and
    12.) `inputs` are as `removals` yields them for these `n`; `predict` maps a block to the distributions at its targets,
    (target, class). Returned is, for ("robust" or "close", n), an array of shape (pair,), in [0, 1].
    """
    parts = []
    for block in inputs:
        p = predict(block)
        require(
            p.ndim == 2 and len(p) == len(block),
            f"predictions of shape {p.shape}",
            f"({len(block)}, classes), a distribution a target",
        )
        p = p.reshape(-1, 1 + 2 * len(n), p.shape[1])  # (pair, what is removed, class)
        parts.append(total_variation(p[:, :1], p[:, 1:]))
    columns = np.concatenate(parts).T  # (measure x n, pair)
    return dict(zip(((measure, size) for measure in MEASURES for size in n), columns, strict=True))


def dependence(inputs: Iterable[Sequences], predict: Predict, n: tuple[int, ...]) -> list[dict[str, Any]]:
    """Return the rows of `NgramDependence` for any predictor; parameters as of `distances`."""
    rows = []
    for (measure, size), values in distances(inputs, predict, n).items():
        p5, low, median, high, p95 = np.quantile(values, (0.05, 0.25, 0.5, 0.75, 0.95)).tolist()
        rows.append(
            {
                "measure": measure,
                "n": size,
                "median": median,
                "mean": float(values.mean()),
                "low": low,
                "high": high,
                "p5": p5,
                "p95": p95,
                "n_pairs": len(values),
            }
        )
    return rows


def network(training: Training, parameters: Parameters, device: str = "cpu") -> Predict:
    """Return the predictor that a network with these parameters is, at temperature 1."""
    return lambda block: softmax(training.model.logits(parameters, block, device).astype(np.float64))


@dataclass(frozen=True)
class NgramDependence(Probe):
    r"""Total variation of the prediction at a position without its n-gram, and with its n-gram alone.

    :math:`M_{\mathrm{robust}}` is large for a network that relies on the n-gram around the position,
    :math:`M_{\mathrm{close}}` for one that uses what lies outside it. Tokens are removed as in the network's training:
    each becomes [mask], which is hidden from attention if the task hides selected positions.

    A network of next-token prediction knows no [mask], and needs the token right before the one it predicts. There the
    n-gram of :math:`x_i` are the n - 1 tokens before it; removed tokens are hidden from attention in all layers; and
    :math:`x_{i-1}` is never removed, so that :math:`M_{\mathrm{robust}}` is that of a "skip n-gram":

    .. math:: M_{\mathrm{robust}} = \mathrm{TV}\left( p(x_0 \dots x_{i-1}), p(x_0 \dots x_{i-n}, x_{i-1}) \right), \qquad
              M_{\mathrm{close}} = \mathrm{TV}\left( p(x_0 \dots x_{i-1}), p(x_{i-n+1} \dots x_{i-1}) \right)

    Without an n-gram [bos] still stands before the sentence; the n-gram alone is without it. Positions are drawn among
    the tokens that the task asks for, [end] not among them.

    Table rows, one a measure and n: `measure` (`robust`, `close`), `n`; over pairs of a sentence and a position the
    `median`, the `mean`, the quartiles `low` and `high`, the percentiles `p5` and `p95`; `n_pairs`.

    (Paper, Definition 4.2, Equations 5 and 6, Figure 4; appendix E, Equations 11 and 12, Figure 29. Equation 12 has i for
    the last token that is shown, Equation 11 for the one asked for. The official code reports the sum of absolute
    differences, which is twice the total variation.)

    >>> from pdlib import SGD, MaskedPrediction, Training, Transformer, grammar
    >>> task = MaskedPrediction(grammar("cfg3b", roots=(14, 15)))
    >>> spec = Training(task, Transformer(1, 2, 4, n_positions=task.n_inputs, vocabulary=task.n_classes), SGD(0.1), 1, 1)
    >>> rows = NgramDependence((3,), n_samples=8).rows(spec, spec.model.initial(task.n_inputs, task.n_classes, seed=0))
    >>> [(row["measure"], row["n"], row["n_pairs"]) for row in rows]
    [('robust', 3, 8), ('close', 3, 8)]
    """

    version: ClassVar[int] = 1
    n: Several[Count] = (3, 5, 7)  # around a position, even ones reach one further to the left
    n_samples: Count = 1024  # sentences drawn
    n_positions: Count = (
        1  # distinct ones in each sentence, none of a special token; all of one that has fewer
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require(len(set(self.n)) == len(self.n), f"n = {self.n}", "each size once")

    def check(self, training: Training) -> None:
        """See `Probe.check`."""
        task = training.task
        if not isinstance(task, MaskedPrediction | NextToken):
            raise SpecError(
                f"task {task}: expected a MaskedPrediction or a NextToken, whose tokens can be removed."
            )
        longest = task.source.max_length
        require(
            self.n_positions <= longest,
            f"n_positions = {self.n_positions}",
            f"at most {longest}, the tokens of the longest sentence",
        )

    def inputs(self, task: MaskedPrediction | NextToken) -> Iterator[Sequences]:
        """Return what the measures show to a predictor of the task: see `removals`."""
        stream = task.stream(0, "probe")
        sentences = stream.originals(0, self.n_samples)
        key = stream_key(f"{stream.identity} positions")
        asked = np.arange(sentences.tokens.shape[1]) < sentences.lengths[:, None]
        asked &= ~np.isin(sentences.tokens, task.source.special_tokens)
        if isinstance(task, NextToken):
            asked &= task.asked(sentences)[:, : asked.shape[1]]
        pairs = drawn_positions(key, asked.sum(axis=1), self.n_positions)
        places = np.argsort(~asked, axis=1, kind="stable")  # first those asked for, from left to right
        pairs[:, 1] = places[pairs[:, 0], pairs[:, 1]]
        return removals(task, sentences, pairs, self.n)

    def rows(self, training: Training, parameters: Parameters, device: str = "cpu") -> list[dict[str, Any]]:
        """Return one row a measure and n."""
        task = cast(MaskedPrediction | NextToken, training.task)
        return dependence(self.inputs(task), network(training, parameters, device), self.n)


@dataclass(frozen=True)
class Predictions(Probe):
    """What a network predicts at one position of one sentence of the probe stream, that token alone removed.

    Table rows, one a class: `position`, `token`, which is the class, and its `probability`.

    >>> from pdlib import SGD, MaskedPrediction, Training, Transformer, grammar
    >>> task = MaskedPrediction(grammar("cfg3b", roots=(14, 15)))
    >>> spec = Training(task, Transformer(1, 2, 4, n_positions=task.n_inputs, vocabulary=task.n_classes), SGD(0.1), 1, 1)
    >>> rows = Predictions().rows(spec, spec.model.initial(task.n_inputs, task.n_classes, seed=0))
    >>> len(rows) == task.n_classes, round(sum(row["probability"] for row in rows), 6)
    (True, 1.0)
    """

    version: ClassVar[int] = 1
    sentence: Index = 0  # its number in the stream, `task.stream(0, "probe").originals`
    position: Index = 0

    def check(self, training: Training) -> None:
        """See `Probe.check`."""
        task = training.task
        if not isinstance(task, MaskedPrediction):
            raise SpecError(f"task {task}: expected a MaskedPrediction, whose tokens can be removed.")
        length = int(self._read(task).lengths[0])
        require(
            self.position < length,
            f"position = {self.position} in sentence {self.sentence}",
            f"below {length}, its length",
        )

    def _read(self, task: MaskedPrediction) -> Sentences:
        return task.stream(0, "probe").originals(self.sentence, self.sentence + 1)

    def rows(self, training: Training, parameters: Parameters, device: str = "cpu") -> list[dict[str, Any]]:
        """Return one row a class."""
        task = cast(MaskedPrediction, training.task)
        (block,) = removals(task, self._read(task), np.array([[0, self.position]]), ())
        return [
            {"position": self.position, "token": token, "probability": float(p)}
            for token, p in enumerate(network(training, parameters, device)(block)[0])
        ]

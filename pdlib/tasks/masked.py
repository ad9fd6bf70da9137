"""Masked prediction (paper, Definition 4.1), on the sequences of any source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from pdlib.sequences import Sentences, Sequences
from pdlib.specs import Purpose, Share, Source, Task
from pdlib.tasks.bits import random_words, stream_identity, stream_key, uniforms

# What a selected position shows: [mask], a random token, its own
SHOWN_MASK, SHOWN_RANDOM, SHOWN_ORIGINAL = 0.8, 0.1, 0.1


@dataclass(frozen=True)
class MaskedPrediction(Task):
    r"""Each position is selected with probability p; its token is to be told from the rest.

    A selected position shows the token [mask] (80 %), a token drawn uniformly, which may be the original (10 %), or
    its own (10 %). Masks are drawn afresh for each sentence of the endless stream. A sentence without a selected
    position has no weight in the loss. Special tokens of the source, such as [CLS], are never selected or drawn.

    Tokens are those of the source, then [mask] if it is not among them. It is a class too: the output may be tied.

    Hidden, selected positions are attended to by nobody, whatever they show; each still sees itself, past the attention.
    (In a sentence of selected positions only, they are visible.) The official code hides them; the paper (Definition 4.1,
    appendix D.5.2) does not say so.

    >>> from pdlib.tasks.grammar import grammar
    >>> task = MaskedPrediction(grammar("cfg3b", roots=(14, 15)), mask_rate=0.3)
    >>> inputs, classes = task.stream(seed=0, purpose="train").examples(0, 4)
    >>> bool(len(classes) == inputs.n_targets.sum())
    True
    >>> task.vocabulary                  # three terminals and [mask]
    4
    """

    version: ClassVar[int] = 1
    source: Source  # of the sequences
    mask_rate: Share = 0.3  # p
    selected: Literal["visible", "hidden"] = "visible"

    @property
    def vocabulary(self) -> int:
        """Tokens of the source, and [mask]."""
        return self.source.n_tokens + (0 if self.source.has_mask else 1)

    @property
    def mask_token(self) -> int:
        """The number of [mask]."""
        return self.source.mask_token

    @property
    def ordinary_tokens(self) -> NDArray[np.int64]:
        """The tokens that text is made of: all of the source but its special ones and [mask], rising."""
        rest = [*self.source.special_tokens, self.mask_token]
        return np.setdiff1d(np.arange(self.source.n_tokens), rest)

    @property
    def n_classes(self) -> int:
        """As many as tokens; nothing ever asks for [mask]."""
        return self.vocabulary

    @property
    def n_inputs(self) -> int:
        """Length of the longest sequence."""
        return self.source.max_length

    def stream(self, seed: int, purpose: Purpose) -> MaskedStream:
        """Return the stream of this task, seed and purpose."""
        return MaskedStream(self, stream_identity(self.canonical(), seed, purpose), purpose)

    def frequencies(self) -> NDArray[np.float64]:
        """Return how frequent each token is as the source says; [mask] is never asked for."""
        found = np.zeros(self.n_classes)
        found[: self.source.n_tokens] = self.source.frequencies()
        return found

    def shown(self, tokens: NDArray[Any], lengths: NDArray[np.int64], at: NDArray[np.bool_]) -> Sequences:
        """Return what the network sees of corrupted sentences of which the positions `at` are selected."""
        visible = np.arange(tokens.shape[1]) < lengths[:, None]
        if self.selected == "hidden":
            others = visible & ~at
            visible = np.where(others.any(axis=1, keepdims=True), others, visible)
        return Sequences(tokens, at, visible)


class MaskedStream:
    """The stream of a `MaskedPrediction`, as endless as that of its source."""

    def __init__(self, task: MaskedPrediction, text: str, purpose: Purpose) -> None:
        self.task = task
        self.identity = stream_key(text)
        self.source = task.source.sentence_stream(text + " sentences", purpose)
        self._ordinary = task.ordinary_tokens
        self._masks = stream_key(text + " masks")

    def originals(self, start: int, stop: int) -> Sentences:
        """Return the sentences start ... stop - 1 before anything is masked."""
        return self.source.sentences(start, stop)

    def examples(
        self, start: int, stop: int, out: NDArray[Any] | None = None
    ) -> tuple[Sequences, NDArray[Any]]:
        """Return corrupted sentences and the original tokens at the selected positions, in reading order."""
        task, clean = self.task, self.source.sentences(start, stop)
        tokens = clean.tokens.astype(np.int64)
        words = random_words(self._masks, start, stop, task.n_inputs)[:, : tokens.shape[1]]
        u = uniforms(words) / task.mask_rate  # one uniform number a position
        at = (u < 1) & (np.arange(tokens.shape[1]) < clean.lengths[:, None])
        at &= ~np.isin(tokens, task.source.special_tokens)
        random = at & (u >= SHOWN_MASK) & (u < SHOWN_MASK + SHOWN_RANDOM)
        drawn = ((u[random] - SHOWN_MASK) / SHOWN_RANDOM * len(self._ordinary)).astype(np.intp)
        tokens[random] = self._ordinary[np.minimum(len(self._ordinary) - 1, drawn)]
        tokens[at & (u < SHOWN_MASK)] = task.mask_token
        classes = clean.tokens[at]
        return task.shown(tokens, clean.lengths, at), classes

"""Next-token prediction (paper, appendix E), on the sequences of any source, of all tokens or of boundary tokens alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from pdlib.sequences import Sequences
from pdlib.specs import Purpose, Source, SpecError, Task, require
from pdlib.tasks.bits import stream_identity, stream_key
from pdlib.tasks.grammar import Grammar

MAX_VOCABULARY = 256  # classes are bytes


@dataclass(frozen=True)
class NextToken(Task):
    r"""Each boundary token of a level is to be told from the tokens before it; at level 1 these are all tokens.

    .. math:: \ell^{(l)}(x) = \frac{1}{|\mathcal{C}^{(l)}(x)|}
              \sum_{i \in \mathcal{C}^{(l)}(x)} -\log p(x_i \mid x_0, \dots, x_{i-1})

    where :math:`\mathcal{C}^{(l)}(x)` are the positions at which a span of level l ends. A sentence
    :math:`x_0 \dots x_{h-1}` is shown as [bos], :math:`x_0, \dots, x_{h-2}`, so that input position i, at which
    :math:`x_i` is asked for, holds the token before it. With `ends` the last token is shown as well, and behind it the
    token [end] is asked for.

    Tokens are those of the source, then [bos], then [end] if it is asked for. All are classes: the output may be tied.

    (Paper, appendix E, Equation 9.) Of a source that is no `Grammar` only all tokens can be asked for.

    >>> from pdlib.tasks.grammar import grammar
    >>> task = NextToken(grammar("cfg3b", roots=7), ends=True)      # 7 -> 3 1 | 1 2 3, tokens 2 0 | 0 1 2
    >>> inputs, classes = task.stream(seed=0, purpose="train").examples(0, 1)
    >>> inputs.tokens.tolist(), classes.tolist()                    # 3 is [bos], 4 is [end]
    ([[3, 0, 1, 2]], [0, 1, 2, 4])
    >>> NextToken(grammar("cfg3b"), level=7).stream(seed=0, purpose="train").examples(0, 5)[0].n_targets.tolist()
    [1, 1, 1, 1, 1]
    """

    version: ClassVar[int] = 1
    source: Source  # of the sequences
    level: int = (
        1  # l, as `Grammar.level` counts it: from the leaves 2 are ends of spans right above the tokens
    )
    counted: Literal["from_leaves", "from_root"] = "from_leaves"
    ends: bool = False  # whether [end] is asked for after the last token, at level 1 only

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.source, Grammar):
            self.source.level(self.level, self.counted)
        else:
            require(
                (self.level, self.counted) == (1, "from_leaves"),
                f"level = {self.level!r} counted = {self.counted!r} of {type(self.source).__name__}",
                "level 1 from the leaves, every token, since its sequences have no trees",
                "Take a Grammar for other levels.",
            )
        require(
            not self.ends or self.every_token,
            f"ends = True at level {self.level} {self.counted.replace('_', ' ')}",
            "level 1 from the leaves, at which every token is asked for",
        )
        require(
            self.vocabulary <= MAX_VOCABULARY,
            f"{self.vocabulary} tokens, those that the task adds included",
            f"at most {MAX_VOCABULARY}",
        )

    @property
    def level_from_root(self) -> int:
        """The level as rows of `Sentences.ancestors` count it, from the root; 0 for a source without trees."""
        return self.source.level(self.level, self.counted) if isinstance(self.source, Grammar) else 0

    @property
    def every_token(self) -> bool:
        """Whether all tokens are asked for: the ordinary loss of language models."""
        return not isinstance(self.source, Grammar) or self.level_from_root == self.source.depth

    @property
    def vocabulary(self) -> int:
        """Tokens of the source, [bos] and, if it is asked for, [end]."""
        return self.source.n_tokens + 1 + self.ends

    @property
    def causal(self) -> bool:
        """True: the next input is the token asked for."""
        return True

    @property
    def bos_token(self) -> int:
        """The number of [bos], which stands before every sentence and is never asked for."""
        return self.source.n_tokens

    @property
    def end_token(self) -> int:
        """The number of [end], which stands behind every sentence, if the task asks for it."""
        require(self.ends, "[end] of a task that never asks for it", "a task with ends=True")
        return self.source.n_tokens + 1

    @property
    def n_classes(self) -> int:
        """As many as tokens; nothing ever asks for [bos]."""
        return self.vocabulary

    @property
    def n_inputs(self) -> int:
        """Length of the longest input: that of the longest sequence, one more if [end] is asked for."""
        return self.source.max_length + self.ends

    def stream(self, seed: int, purpose: Purpose) -> NextTokenStream:
        """Return the stream of this task, seed and purpose."""
        return NextTokenStream(self, stream_identity(self.canonical(), seed, purpose), purpose)

    def asked(self, sentences: Any) -> NDArray[np.bool_]:
        """Return at which input positions of sentences something is asked for, shape (sentence, input position).

        Entry i stands for token i, and entry h of a sentence of h tokens for [end], for which there is one position more.
        Sentences need trees at levels other than 1; one in which nothing is asked for is an error.

        >>> from pdlib.tasks.grammar import grammar
        >>> task = NextToken(grammar("cfg3b", roots=10), level=2)       # 10 -> 8 7 9 | 9 8 7
        >>> sentence = task.stream(seed=0, purpose="train").originals(0, 1)
        >>> sentence.spans(0, level=1)[0][2], np.flatnonzero(task.asked(sentence)[0]).tolist()
        (3, [2, 5, 8])
        """
        if self.every_token:
            positions = np.arange(sentences.tokens.shape[1] + self.ends)
            at = positions < sentences.lengths[:, None] + self.ends
        else:
            at = sentences.ends[self.level_from_root]
        empty = np.flatnonzero(~at.any(axis=1))
        if len(empty):
            raise SpecError(
                f"sentence {empty[0]} of {sentences.lengths[empty[0]]} tokens, in which nothing is asked for: "
                f"expected one in which a span of level {self.level} {self.counted.replace('_', ' ')} ends."
            )
        return np.asarray(at)

    def shown(self, tokens: NDArray[Any], lengths: NDArray[np.int64], at: NDArray[np.bool_]) -> Sequences:
        """Return what the network sees of sentences of which the input positions `at`, as of `asked`, are asked for.

        `tokens` (sentence, position) are without [bos] and [end], and anything beyond the `lengths` (sentence,).
        """
        before = np.concatenate([np.full((len(tokens), 1), self.bos_token), tokens], axis=1)[:, : at.shape[1]]
        visible = np.arange(at.shape[1]) < lengths[:, None] + self.ends
        return Sequences(np.where(visible, before, 0), at, visible)

    def classes(
        self, tokens: NDArray[Any], lengths: NDArray[np.int64], at: NDArray[np.bool_]
    ) -> NDArray[np.uint8]:
        """Return the tokens that are asked for, in reading order, shape (target,); parameters as of `shown`."""
        following = tokens.astype(np.uint8)
        if self.ends:
            following = np.concatenate([following, np.zeros((len(tokens), 1), np.uint8)], axis=1)
            following[np.arange(len(tokens)), lengths] = self.end_token
        return np.asarray(following[at])


class NextTokenStream:
    """The endless stream of a `NextToken`."""

    def __init__(self, task: NextToken, text: str, purpose: Purpose) -> None:
        self.task = task
        self.identity = stream_key(text)
        self.source = task.source.sentence_stream(text + " sentences", purpose)

    def originals(self, start: int, stop: int) -> Any:
        """Return the sentences start ... stop - 1 as their source draws them; those of a grammar have trees."""
        return self.source.sentences(start, stop)

    def examples(
        self, start: int, stop: int, out: NDArray[Any] | None = None
    ) -> tuple[Sequences, NDArray[np.uint8]]:
        """Return what is shown of sentences, and the tokens asked for, in reading order."""
        drawn = self.source.sentences(start, stop)
        at = self.task.asked(drawn)
        return (
            self.task.shown(drawn.tokens.astype(np.int64), drawn.lengths, at),
            self.task.classes(drawn.tokens, drawn.lengths, at),
        )

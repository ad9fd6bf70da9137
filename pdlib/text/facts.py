"""What a corpus holds, and what a network is shown of it, as tables: a page that draws published results needs no text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, cast

from pdlib.sequences import PartedStream
from pdlib.specs import Calculation, Index, require
from pdlib.tasks.masked import MaskedPrediction
from pdlib.text.corpus import Corpus


@dataclass(frozen=True)
class CorpusFacts(Calculation):
    """What a corpus holds, a row for each part.

    Columns: `part`, from 0; `text`, its URI; `documents`, `tokens` and `sequences` for training, and `held_out_documents`,
    `held_out_tokens`, `held_out_sequences`; `unknown`, how many of all these tokens are [UNK]. Tokens are those of the
    text, without [CLS]; fewer than a sequence's are left over at the end. Then `name`, `licence` and `attribution`.

    Parameters
    ----------
    corpus
        With a digest.

    >>> import tempfile
    >>> from unittest.mock import patch
    >>> with patch.dict("os.environ", PDLIB_CACHE=tempfile.mkdtemp()):      # a cache of its own
    ...     corpus = Corpus.prepare("sample:english:60", "trained:300", length=16, held_out=20)
    ...     (part,) = CorpusFacts(corpus).rows()
    >>> part["documents"] + part["held_out_documents"]
    60
    """

    version: ClassVar[int] = 1
    corpus: Corpus

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each part."""
        return self.corpus.facts()


@dataclass(frozen=True)
class MaskedExample(Calculation):
    """One held-out sequence and what masked prediction shows of it, a row for each position.

    Columns: `position`, `original`, `shown`: word pieces as text, [MASK] as "[mask]"; `selected`; `text`, the part.

    Parameters
    ----------
    task
        Masked prediction on a `Corpus`.
    sequence
        Its number in the stream of the probes.

    >>> import tempfile
    >>> from unittest.mock import patch
    >>> with patch.dict("os.environ", PDLIB_CACHE=tempfile.mkdtemp()):      # a cache of its own
    ...     corpus = Corpus.prepare("sample:english:60", "trained:300", length=16, held_out=20)
    ...     rows = MaskedExample(MaskedPrediction(corpus)).rows()
    >>> rows[0]["shown"], len(rows)
    ('[CLS]', 16)
    """

    version: ClassVar[int] = 1
    task: MaskedPrediction
    sequence: Index = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(isinstance(self.task.source, Corpus), f"source {self.task.source}", "a Corpus")

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each position."""
        corpus, i = cast(Corpus, self.task.source), self.sequence
        stream = self.task.stream(0, "probe")
        original = stream.originals(i, i + 1).tokens[0].tolist()
        shown, _ = stream.examples(i, i + 1)
        (part,) = cast(PartedStream, stream.source).parts(i, i + 1)
        names = corpus.wordpiece().pieces
        return [
            {
                "position": position,
                "original": names[before],
                "shown": "[mask]" if after == self.task.mask_token else names[after],
                "selected": selected,
                "text": corpus.texts[part],
            }
            for position, (before, after, selected) in enumerate(
                zip(original, shown.tokens[0].tolist(), shown.at[0].tolist(), strict=True)
            )
        ]

"""What a corpus holds, and what a network is shown of it, as tables: a page that draws published results needs no text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, cast

from pdlib.sequences import PartedStream
from pdlib.specs import Calculation, require
from pdlib.tasks.masked import MaskedPrediction
from pdlib.text.corpus import Corpus
from pdlib.text.loading import describe


@dataclass(frozen=True)
class CorpusFacts(Calculation):
    """What a corpus holds, a row a part.

    Columns as of `Corpus.facts`, and `name`, `licence` and `attribution` as `pdlib.text.loading.describe` has them.

    Parameters
    ----------
    corpus
        With a digest.
    """

    version: ClassVar[int] = 1
    corpus: Corpus

    def __post_init__(self) -> None:
        require(isinstance(self.corpus, Corpus), f"corpus = {self.corpus!r}", "a Corpus")

    def rows(self) -> list[dict[str, Any]]:
        """Return a row a part."""
        found = []
        for row in self.corpus.facts():
            part = describe(row["text"])
            found.append(row | {"name": part.name, "licence": part.licence, "attribution": part.attribution})
        return found


@dataclass(frozen=True)
class MaskedExample(Calculation):
    """One held-out sequence and what masked prediction shows of it, a row a position.

    Columns: `position`, `original`, `shown`: word pieces as text, [MASK] as "[mask]"; `selected`; `text`, the part.

    Parameters
    ----------
    task
        Masked prediction on a `Corpus`.
    sequence
        Its number in the stream of the probes.
    """

    version: ClassVar[int] = 1
    task: MaskedPrediction
    sequence: int = 0

    def __post_init__(self) -> None:
        require(isinstance(self.task, MaskedPrediction), f"task = {self.task!r}", "MaskedPrediction")
        require(isinstance(self.task.source, Corpus), f"source {self.task.source}", "a Corpus")
        require(
            type(self.sequence) is int and self.sequence >= 0,
            f"sequence = {self.sequence!r}",
            "a whole number of at least 0",
        )

    def rows(self) -> list[dict[str, Any]]:
        """Return a row a position."""
        corpus = self.task.source
        assert isinstance(corpus, Corpus)  # looked at above
        stream, i = self.task.stream(0, "probe"), self.sequence
        original = stream.originals(i, i + 1).tokens[0]
        shown, _ = stream.examples(i, i + 1)
        (part,) = cast(PartedStream, stream.source).parts(i, i + 1)
        text, names = corpus.texts[part], corpus.wordpiece().pieces
        return [
            {
                "position": position,
                "original": names[before],
                "shown": "[mask]" if after == self.task.mask_token else names[after],
                "selected": bool(selected),
                "text": text,
            }
            for position, (before, after, selected) in enumerate(
                zip(original.tolist(), shown.tokens[0].tolist(), shown.at[0].tolist(), strict=True)
            )
        ]

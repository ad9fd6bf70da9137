"""Whether a network's embeddings carry the symbols above its tokens (paper, Definition 4.3 and appendix D.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, cast

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  everybody's name for it
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.adam import adam

from pdlib.models.transformer import SCORES_AT_ONCE, Transformer, tokens_of
from pdlib.optimizers import Adam
from pdlib.specs import Count, Index, Parameters, Positive, Probe, SpecError, Training, require
from pdlib.tasks.grammar import Grammar, Sentences
from pdlib.tasks.masked import MaskedPrediction

NOWHERE = -1  # the class where no span of the level ends
NEAR = (0.1, 1.0)  # scale of the first and of the last head's initial positions
WARMUP = 0.06  # share of the steps, as in the official code

Embed = Callable[[Sentences, NDArray[np.intp]], Tensor]


class Group(NamedTuple):
    """Sentences of one length."""

    embeddings: Tensor  # (position, sentence, width), float32
    classes: Tensor  # (level, position, sentence), NOWHERE but where a span of the level ends


def told_levels(grammar: Grammar) -> list[int]:
    """Return the levels from the root, above the terminals, of more than one symbol: only there is anything to tell.

    >>> from pdlib.tasks.grammar import grammar
    >>> told_levels(grammar("cfg3b")), told_levels(grammar("cfg3b", roots=(14, 15)))
    ([1, 2, 3, 4, 5], [0, 1, 2])
    """
    return [level for level, layer in enumerate(grammar.layers[:-1]) if len(layer) > 1]


def groups(sentences: Sentences, embed: Embed) -> list[Group]:
    """Return embeddings and classes of sentences, those of one length together, so that there is no padding.

    `embed` maps sentences, and the numbers of some of one length, to the embeddings of these, (sentence, position, width).
    """
    grammar = sentences.grammar
    levels = told_levels(grammar)
    first = np.cumsum([0, *map(len, grammar.layers)])[levels]  # number of a layer's first symbol
    ancestors, ends = sentences.ancestors[levels], sentences.ends[levels]
    found = []
    for length in np.unique(sentences.lengths):
        rows = np.flatnonzero(sentences.lengths == length)
        symbols = ancestors[:, rows, :length].astype(np.int64) - first[:, None, None]
        classes = np.where(ends[:, rows, :length], symbols, NOWHERE).transpose(0, 2, 1)
        embeddings = embed(sentences, rows).float().transpose(0, 1)
        found.append(Group(embeddings.contiguous(), torch.from_numpy(classes.copy())))
    return found


def embedding(model: Transformer, parameters: Parameters) -> Embed:
    """Return what embeds sentences: a network's last layer, all tokens shown and seen."""
    module = model.module(parameters).eval()

    def embed(sentences: Sentences, rows: NDArray[np.intp]) -> Tensor:
        length = int(sentences.lengths[rows[0]])
        n = max(1, SCORES_AT_ONCE["cpu"] // (model.n_heads * length**2))
        with torch.no_grad():  # no inference mode: what it makes cannot be trained on
            parts = [
                module.embeddings(tokens_of(sentences.tokens[rows[i : i + n], :length], model.vocabulary))
                for i in range(0, len(rows), n)
            ]
        return torch.cat(parts)

    return embed


class Reader:
    r"""Linear functions of embeddings, mixed by an attention that depends on positions alone.

    .. math:: G_i(x) = \sum_{r, k} w_{r, i \to k} f_r(e_k), \qquad
              w_{r, i \to k} = \frac{\exp \langle P_{i,r}, P_{k,r} \rangle}
              {\sum_{k'} \exp \langle P_{i,r}, P_{k',r} \rangle}

    (paper, appendix D.3), where r runs over heads and k over the sentence's positions. The weights of a head sum to 1, so
    the biases of all :math:`f_r` are one vector.

    `sizes` are the symbols of each level: G has a part for each, a softmax for each level. P are `position_size` numbers for
    each of `n_heads` r and `n_positions`, drawn by `generator`, larger ones for later heads; f, of `width`, starts at 0.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        width: int,
        n_positions: int,
        n_heads: int,
        position_size: int,
        generator: torch.Generator,
    ) -> None:
        self.sizes = list(sizes)
        n = sum(sizes)
        place = torch.randn(n_heads, n_positions, position_size, generator=generator)
        # the first heads start by attending to all positions alike, the last ones to their own
        scale = torch.linspace(*NEAR, n_heads) / position_size**0.25
        self.position = (place * scale[:, None, None]).requires_grad_()
        self.weight = torch.zeros(n_heads, width, n).requires_grad_()
        self.bias = torch.zeros(n).requires_grad_()

    @property
    def parameters(self) -> list[Tensor]:
        """All that is trained."""
        return [self.position, self.weight, self.bias]

    def outputs(self, embeddings: Tensor) -> list[Tensor]:
        """Return G by level, (position, sentence, symbol), from embeddings (position, sentence, width)."""
        length, n, width = embeddings.shape
        place = self.position[:, :length]
        attention = torch.bmm(place, place.transpose(1, 2)).softmax(dim=2)  # (head, position, source)
        # (head, source x sentence, symbol)
        values = torch.matmul(embeddings.reshape(length * n, width), self.weight)
        joined = attention.transpose(0, 1).reshape(length, -1) @ values.view(-1, n * len(self.bias))
        return list(torch.split(joined.view(length, n, -1) + self.bias, self.sizes, dim=2))

    def loss(self, batch: Sequence[Group]) -> Tensor:
        """Return the mean cross-entropy over the ends of a level's spans, added up over levels."""
        total, count = torch.zeros(len(self.sizes)), torch.zeros(len(self.sizes))
        for group in batch:
            parts = []
            for values, classes in zip(self.outputs(group.embeddings), group.classes, strict=True):
                parts.append(
                    F.cross_entropy(
                        values.flatten(0, 1), classes.flatten(), ignore_index=NOWHERE, reduction="sum"
                    )
                )
            total = total + torch.stack(parts)
            count = count + (group.classes != NOWHERE).sum(dim=(1, 2))
        return (total / count).sum()

    def train(
        self,
        data: Sequence[Group],
        n_epochs: int,
        batch_size: int,
        learning_rate: float,
        generator: torch.Generator,
    ) -> None:
        """Fit by Adam, whose rate rises over the first steps and then falls as a cosine.

        Sentences of a batch are of about the same length; each epoch draws other batches.
        """
        n_steps = n_epochs * -(-sum(group.embeddings.shape[1] for group in data) // batch_size)
        rates = iter(Adam(learning_rate, "cosine", WARMUP).rates(0, n_steps, n_steps))
        means, squares = ([torch.zeros_like(p) for p in self.parameters] for _ in range(2))
        counts = [torch.zeros(()) for _ in self.parameters]
        for _ in range(n_epochs):
            for batch in _batches(data, batch_size, generator):
                gradients = torch.autograd.grad(self.loss(batch), self.parameters)
                with torch.no_grad():  # functional: making an optimizer takes seconds, of imports
                    adam(
                        self.parameters,
                        list(gradients),
                        means,
                        squares,
                        [],
                        counts,
                        fused=True,
                        amsgrad=False,
                        beta1=0.9,
                        beta2=0.999,
                        lr=float(next(rates)),
                        weight_decay=0.0,
                        eps=1e-8,
                        maximize=False,
                    )

    def hits(self, data: Sequence[Group]) -> NDArray[np.int64]:
        """Return how many ends of spans are given the right symbol, shape (level,)."""
        found = np.zeros(len(self.sizes), np.int64)
        with torch.no_grad():
            for group in data:
                for level, values in enumerate(self.outputs(group.embeddings)):
                    found[level] += int((values.argmax(dim=2) == group.classes[level]).sum())
        return found


def _batches(data: Sequence[Group], size: int, generator: torch.Generator) -> Iterator[list[Group]]:
    """Yield batches in random order, each cut from the sentences in the order of their lengths, ties drawn."""
    orders = [torch.randperm(group.embeddings.shape[1], generator=generator) for group in data]
    starts = np.cumsum([0, *map(len, orders)])
    for batch in torch.randperm(-(-int(starts[-1]) // size), generator=generator).tolist():
        cut = []
        for group, order, start in zip(data, orders, starts, strict=False):
            rows = order[max(0, batch * size - start) : max(0, (batch + 1) * size - start)]
            if len(rows):
                cut.append(Group(group.embeddings[:, rows], group.classes[:, :, rows]))
        yield cut


@dataclass(frozen=True)
class NonterminalPrediction(Probe):
    """How well the symbols above the tokens can be read from a frozen network's embeddings, where their spans end.

    A `Reader` is trained on what the last layer hands to the output, of clean sentences, and scored on others. The
    embeddings are computed once and kept: 4 bytes a token and width.

    Table rows, one a level above the terminals that has more than one symbol: `level`, from the root, which is 0;
    `level_from_leaves`, where the terminals are 1; `accuracy` at the last tokens of the spans of that level; `majority`,
    the accuracy of always naming the most frequent symbol; `n_boundaries`, the number of these tokens. The untrained network
    is the control: what is read from it is not the network's doing.

    The paper (Definition 4.3, appendix D.3; Figure 5, right) leaves open the number of epochs; the official code takes 4. It
    differs from the paper in that weights of attention sum to 1 over targets rather than sources, and that all positions are
    asked for, and padding too.

    >>> from pdlib import SGD, MaskedPrediction, Training, Transformer, grammar
    >>> task = MaskedPrediction(grammar("cfg3b", roots=(14, 15)))
    >>> spec = Training(task, Transformer(1, 2, 4, n_positions=task.n_inputs, vocabulary=task.n_classes), SGD(0.1), 1, 1)
    >>> rows = NonterminalPrediction(32, 8).rows(spec, spec.model.initial(task.n_inputs, task.n_classes, seed=0))
    >>> [row["level"] for row in rows]
    [0, 1, 2]
    """

    version: ClassVar[int] = 1
    n_train: Count = 51_200  # sentences, the first ones of the probe stream
    n_validation: Count = 1_024  # the next ones
    n_heads: Count = 16  # of the reader
    position_size: Count = 64
    n_epochs: Count = 4
    batch_size: Count = 64
    learning_rate: Positive = 1e-2
    seed: Index = 0  # of the reader's initial positions and batches

    def check(self, training: Training) -> None:
        """See `Probe.check`."""
        model, task = training.model, training.task
        if not isinstance(task, MaskedPrediction) or not isinstance(task.source, Grammar):
            raise SpecError(f"task {task}: expected one on a Grammar, whose sentences have trees.")
        require(
            len(told_levels(task.source)) > 0,
            f"a grammar of the layers {task.source.layers}",
            "one with several symbols in a layer above the last",
            "Otherwise there is nothing to tell.",
        )
        require(isinstance(model, Transformer), f"embeddings of {model}", "a Transformer")

    def rows(self, training: Training, parameters: Parameters, device: str = "cpu") -> list[dict[str, Any]]:
        """Return one row a level."""
        model, task = cast(Transformer, training.model), cast(MaskedPrediction, training.task)
        stream = task.stream(0, "probe")
        train = stream.originals(0, self.n_train)
        validation = stream.originals(self.n_train, self.n_train + self.n_validation)
        assert isinstance(train, Sentences)
        assert isinstance(validation, Sentences)
        return self.read(train, validation, embedding(model, parameters))

    def read(self, train: Sentences, validation: Sentences, embed: Embed) -> list[dict[str, Any]]:
        """Return the rows for any embeddings; `embed` as of `groups`."""
        grammar = train.grammar
        levels = told_levels(grammar)
        generator = torch.Generator().manual_seed(self.seed)
        data = groups(train, embed)
        reader = Reader(
            [len(grammar.layers[level]) for level in levels],
            data[0].embeddings.shape[2],
            grammar.max_length,
            self.n_heads,
            self.position_size,
            generator,
        )
        reader.train(data, self.n_epochs, self.batch_size, self.learning_rate, generator)
        tested = groups(validation, embed)
        rows = []
        for i, (level, n_hits) in enumerate(zip(levels, reader.hits(tested), strict=True)):
            classes = torch.cat([group.classes[i].flatten() for group in tested])
            counts = torch.bincount(classes[classes != NOWHERE])
            n = int(counts.sum())
            rows.append(
                {
                    "level": level,
                    "level_from_leaves": grammar.depth + 1 - level,
                    "accuracy": int(n_hits) / n,
                    "majority": int(counts.max()) / n,
                    "n_boundaries": n,
                }
            )
        return rows

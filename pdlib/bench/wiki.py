"""Speed of preparing text, and of BERT's training on vocabularies of thousands of word pieces.

The peer of preparation is the tokenizer's own `encode_batch` alone, on the same text and in calls of the same size: all
else, reading, cleaning, packing and writing, comes on top of it. The peer of training is the loop of `pdlib.bench.pcfg`, on
sequences whose tokens are as unequally frequent as words are (Zipf's law).
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pdlib.bench import at_most, faster
from pdlib.bench.pcfg import masked_loss, network
from pdlib.bench.sequences import against_eager, spec_of
from pdlib.models.transformer import bert
from pdlib.specs import Purpose, Source
from pdlib.tasks.bits import random_words
from pdlib.tasks.masked import MaskedPrediction
from pdlib.text.corpus import CHARACTERS_AT_ONCE
from pdlib.text.loading import documents
from pdlib.text.sample import english
from pdlib.text.wordpiece import load, train
from pdlib.training.online_sgd import set_threads

MASK_RATE, THREADS, REACH = 0.15, 2, 1.8
# who, layers, heads, their size, vocabulary, length, batch, steps a measurement
SIZES = (
    ("laptop's teacher", 2, 8, 16, 2048, 16, 128, 4),
    ("laptop's student", 2, 2, 16, 2048, 16, 128, 16),
    ("vocabulary of bert-base-uncased", 2, 4, 64, 30522, 64, 32, 1),
)
BYTES = 100_000_000  # of the text that is prepared
DIFFERENT = 2_000  # documents of it; then they come again
PIECES, LENGTH, REPEATS = 2048, 128, 3
MEMORY_MB = 1000.0


def rows() -> Iterator[dict[str, Any]]:
    """Yield the page's cases."""
    yield from _preparation()
    set_threads(THREADS)
    for size in SIZES:
        yield from _training(*size)


# ----------------------------------------------------------------- preparation


def _preparation() -> Iterator[dict[str, Any]]:
    """Yield the cases of a text's preparation: its speed, and the memory of a process that does nothing else."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text, vocabulary = folder / "text.txt", folder / "vocab.txt"
        some = list(english(DIFFERENT))
        vocabulary.write_text(train(some, PIECES).text, encoding="utf-8")
        write_text(text, some, BYTES)
        found, alone = [], []
        for i in range(REPEATS):  # in turn, so that a busy spell hits both
            found.append(_prepared(text, vocabulary, folder / f"cache {i}"))
            alone.append(_encoded(text, vocabulary))
    what = f"{BYTES / 1e6:g} MB of text"
    ours, peer = (sorted(times)[REPEATS // 2] for times in ([f["seconds"] for f in found], alone))
    yield faster(
        f"{what} read, cleaned, tokenised and packed, against encode_batch alone", ours, peer, "s", 0.8
    )
    yield at_most(
        f"{what} prepared, memory at most", max(f["megabytes"] for f in found), None, "MB", MEMORY_MB
    )


def write_text(path: Path, some: list[str], n_bytes: int) -> None:
    """Write documents, over and over, to a file of about so many bytes, a blank line between them."""
    block = "".join(f"{document}\n\n" for document in some).encode()
    with path.open("wb") as file:
        while file.tell() < n_bytes:
            file.write(block[: n_bytes - file.tell()])


PREPARE = """
import json, resource, sys, time
from pdlib.text.corpus import Corpus

started = time.perf_counter()
Corpus.prepare(sys.argv[1], sys.argv[2], length=int(sys.argv[3]))
seconds = time.perf_counter() - started
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
print(json.dumps({"seconds": seconds, "megabytes": peak}))
"""


def _prepared(text: Path, vocabulary: Path, cache: Path) -> dict[str, float]:
    """Return seconds and megabytes of a process that prepares the text into an empty cache."""
    command = [sys.executable, "-c", PREPARE, f"text:{text}", f"file:{vocabulary}", str(LENGTH)]
    done = subprocess.run(
        command, env=os.environ | {"PDLIB_CACHE": str(cache)}, check=True, capture_output=True, text=True
    )
    return {str(k): float(v) for k, v in json.loads(done.stdout.splitlines()[-1]).items()}


def _encoded(text: Path, vocabulary: Path) -> float:
    """Return the seconds that the tokenizer takes for the text's documents, which are in memory already."""
    tokenizer = load(f"file:{vocabulary}").tokenizer
    calls: list[list[str]] = [[]]
    size = 0
    for document in documents(f"text:{text}"):
        calls[-1].append(document)
        size += len(document)
        if size >= CHARACTERS_AT_ONCE:
            calls.append([])
            size = 0
    started = time.perf_counter()
    for call in calls:
        tokenizer.encode_batch(call, add_special_tokens=False)
    return time.perf_counter() - started


# -------------------------------------------------------------------- training


@dataclass(frozen=True)
class ZipfTokens(Source):
    """Sequences of independent tokens, the i-th as frequent as 1 / (i + 1)."""

    version: ClassVar[int] = 1
    vocabulary: int
    length: int

    @property
    def n_tokens(self) -> int:
        """Number of tokens, the last of which is [MASK]."""
        return self.vocabulary

    @property
    def max_length(self) -> int:
        """The length of every sequence."""
        return self.length

    @property
    def has_mask(self) -> bool:
        """The last token is [MASK]."""
        return True

    @property
    def mask_token(self) -> int:
        """The number of [MASK]."""
        return self.vocabulary - 1

    @property
    def special_tokens(self) -> tuple[int, ...]:
        """[MASK] alone."""
        return (self.mask_token,)

    def sentence_stream(self, identity: str, purpose: Purpose = "train") -> ZipfStream:
        """Return the endless stream that this text names."""
        return ZipfStream(self, identity)


@dataclass(frozen=True)
class _Block:
    tokens: NDArray[np.int64]
    lengths: NDArray[np.int64]


class ZipfStream:
    """The stream of a `ZipfTokens`."""

    def __init__(self, source: ZipfTokens, identity_text: str) -> None:
        self.identity = hashlib.sha256(identity_text.encode()).hexdigest()[:32]
        self._length = source.length
        share = 1 / np.arange(1, source.vocabulary)
        self._below = np.cumsum(share / share.sum())

    def sentences(self, start: int, stop: int) -> _Block:
        """Return the sequences start ... stop - 1."""
        uniform = (random_words(self.identity, start, stop, self._length) >> np.uint64(11)) * 2.0**-53
        tokens = np.minimum(np.searchsorted(self._below, uniform, side="right"), len(self._below) - 1)
        return _Block(tokens.astype(np.int64), np.full(stop - start, self._length, np.int64))


def _training(
    who: str, layers: int, heads: int, head_size: int, vocabulary: int, length: int, batch: int, steps: int
) -> Iterator[dict[str, Any]]:
    task = MaskedPrediction(ZipfTokens(vocabulary, length), MASK_RATE)
    model = bert(layers, heads, head_size, vocabulary=vocabulary, n_positions=length)
    trained = spec_of(task, model, batch)
    case = (
        f"{who}: {layers} layers, {heads} heads of {head_size}, {vocabulary} tokens, batch {batch} of {length}, "
        f"{THREADS} threads, against eager BERT"
    )
    yield from against_eager(case, trained, (partial(network, trained[0]), masked_loss), steps, REACH)

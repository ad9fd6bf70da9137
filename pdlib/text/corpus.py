r"""Text as token sequences of one length, prepared once, and streams of them.

A corpus has parts, one for each text; a part's documents are packed one after another, so that a sequence may hold the end
of one and the beginning of the next, but never text of two parts, nor both training and held-out text::

    [CLS] the cat sat . [CLS] it slept . a    (length 5, [CLS] included; what is left over at the end is dropped)

Prepared sequences lie in files that are mapped into memory, not read; a digest of them and of the vocabulary is part of
the spec. Preparation goes through the text piece by piece: memory does not grow with its length.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from pdlib.files import cache, lock, write_bytes, writing
from pdlib.sequences import integer_type
from pdlib.specs import Purpose, Several, Source, SpecError, require
from pdlib.tasks.bits import epochs
from pdlib.text import hub, loading
from pdlib.text.packages import package
from pdlib.text.wordpiece import CLS, MASK, UNK, WordPiece, load, train

VERSION = 1  # of what is made of a text; part of every digest
Split = Literal["train", "held_out"]
SPLITS: tuple[Split, Split] = ("train", "held_out")
# Of a corpus; the last one is of a tokenizer that is not BERT's
FILES = ("facts.json", "vocab.txt", "train.bin", "held_out.bin", "tokenizer.json")
TOKENIZER = r"file:.+|trained:[1-9][0-9]*|hub:[^@]+@.+|folder:.+"
CHARACTERS_AT_ONCE = 2_000_000  # that are encoded: enough for every core, and some tens of megabytes
TOKENS_AT_ONCE = 2**22  # that are counted
DISCOUNT = 0.75  # d


@dataclass(frozen=True)
class Corpus(Source):
    """Sequences of word pieces from texts, to be made by `Corpus.prepare`.

    Parameters
    ----------
    texts
        Where documents come from, URIs that `pdlib.text.loading.documents` reads. Each is a part.
    tokenizer
        `"trained:SIZE"` on the training documents, `"file:PATH"` of a vocabulary, or `"hub:REPO@REVISION"` or
        `"folder:PATH"` of a published network.
    length
        Tokens of a sequence, [CLS] at its beginning included.
    held_out
        Every so-many-th document of each part is held out, its 50th, 100th ... for 50.
    digest
        Of the prepared sequences and the vocabulary. A corpus without one names a text, but no data.
    vocabulary
        Number of tokens.

    Examples
    --------
    >>> import tempfile
    >>> from unittest.mock import patch
    >>> with patch.dict("os.environ", PDLIB_CACHE=tempfile.mkdtemp()):      # a cache of its own
    ...     corpus = Corpus.prepare("sample:english:60", "trained:300", length=16, held_out=20)
    ...     tokens = corpus.sentence_stream("an example").sentences(0, 4).tokens
    ...     beginning = corpus.wordpiece().pieces[tokens[0, 0]]
    >>> corpus.n_tokens, tokens.shape, beginning
    (300, (4, 16), '[CLS]')
    """

    version: ClassVar[int] = 1
    texts: Several[str]
    tokenizer: str
    length: Annotated[int, "[2, inf)"] = 128
    held_out: Annotated[int, "[2, inf)"] = 50
    digest: str = ""
    vocabulary: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        what = f"texts = {self.texts!r}"
        require(len(set(self.texts)) == len(self.texts), what, "each text once")
        require(
            re.fullmatch(TOKENIZER, self.tokenizer) is not None,
            f"tokenizer = {self.tokenizer!r}",
            "'trained:SIZE', 'file:PATH', 'hub:REPO@REVISION' or 'folder:PATH'",
        )
        require(
            re.fullmatch(r"([0-9a-f]{32})?", self.digest) is not None
            and (self.vocabulary > 0) == bool(self.digest),
            f"digest = {self.digest!r} with vocabulary = {self.vocabulary!r}",
            "both as Corpus.prepare gives them, or neither",
        )

    @classmethod
    def prepare(
        cls, texts: str | Sequence[str], tokenizer: str, length: int = 128, held_out: int = 50
    ) -> Corpus:
        """Return the corpus of some texts, its sequences prepared now or found prepared; parameters as of `Corpus`.

        They are kept in `$PDLIB_CACHE`, or the system's cache folder. Files that have changed since are prepared
        again, and make another corpus; what is behind `hf:` or `hub:` is taken to be what it was.

        Raises
        ------
        SpecError
            If a text or the vocabulary cannot be read, or there is too little text: no held-out document in a part, or
            not one whole sequence. Nothing is kept then.
        StoreError
            If the sequences cannot be written.
        """
        wanted = cls((texts,) if isinstance(texts, str) else tuple(texts), tokenizer, length, held_out)
        folder, request = cache("corpora"), _request(wanted)
        known = folder / "requests" / request
        with lock(folder / "locks" / f"{request}.lock"):
            said = known.read_bytes().decode("latin-1") if known.is_file() else ""
            whole = re.fullmatch(rf"[0-9a-f]{{32}} [0-9]+( {request})?", said)  # older ones do not name it
            digest = said[:32] if whole else ""
            if not digest or not (folder / digest).is_dir():
                digest, vocabulary = _prepare(wanted, folder / f".preparing-{request}")
                write_bytes(known, f"{digest} {vocabulary} {request}".encode())
        found = replace(wanted, digest=digest, vocabulary=1)
        return replace(found, vocabulary=len(found._checked().wordpiece))  # what is damaged is said here

    @property
    def n_tokens(self) -> int:
        """Number of tokens, [MASK] and the other marks included."""
        require(
            bool(self.digest),
            f"{self}, of which no sequences were prepared",
            "one with a digest",
            "Corpus.prepare(texts, tokenizer, length, held_out) returns it.",
        )
        return self.vocabulary

    @property
    def max_length(self) -> int:
        """The length of every sequence."""
        return self.length

    @property
    def has_mask(self) -> bool:
        """[MASK] is a piece of the vocabulary."""
        return True

    @property
    def mask_token(self) -> int:
        """The number of [MASK]."""
        return self.wordpiece().number(MASK)

    @property
    def special_tokens(self) -> tuple[int, ...]:
        """The numbers of [PAD], [CLS], [SEP] and [MASK]."""
        return self.wordpiece().special_tokens

    @property
    def parts(self) -> tuple[str, ...]:
        """The texts."""
        return self.texts

    def sentence_stream(self, identity: str, purpose: Purpose = "train") -> CorpusStream:
        """Return the stream of sequences that this text names, prepared again if they are not there.

        For `"train"`: all training sequences in a random order, then in another, and so on without an end. For
        `"evaluation"` and `"probe"`: the held-out sequences in a random order, once.

        Raises
        ------
        SpecError
            If they are damaged, or what is prepared from these texts now is something else.
        """
        return CorpusStream(self, identity, "train" if purpose == "train" else "held_out")

    def frequencies(self) -> NDArray[np.float64]:
        """Return the `discounted` frequencies of tokens in the training sequences, [CLS] and the like not counted."""
        counts = np.zeros(self.n_tokens, np.int64)
        for block in self.blocks():
            counts += np.bincount(block[:, 1:].ravel(), minlength=len(counts))
        return discounted(counts, np.setdiff1d(np.arange(self.n_tokens), self.special_tokens))

    def blocks(self) -> Iterator[NDArray[Any]]:
        """Yield all training sequences, some at a time: (sequence, position)."""
        sequences, n = self.sequences("train"), max(1, TOKENS_AT_ONCE // self.length)
        for start in range(0, len(sequences), n):
            yield sequences[start : start + n]

    def wordpiece(self) -> WordPiece:
        """Return the vocabulary."""
        return self.prepared().wordpiece

    def facts(self) -> list[dict[str, Any]]:
        """Return what each text holds, as `pdlib.text.facts.CorpusFacts` says it."""
        rows = []
        for i, (text, part) in enumerate(zip(self.texts, self.prepared().parts, strict=True)):
            row: dict[str, Any] = {"part": i, "text": text}
            for split, name in zip(SPLITS, ("", "held_out_"), strict=True):
                row |= {f"{name}{what}": part[split][what] for what in ("documents", "tokens", "sequences")}
            row["unknown"] = sum(part[split]["unknown"] for split in SPLITS)
            rows.append(row | loading.describe(text))
        return rows

    def sequences(self, split: Split = "train") -> NDArray[Any]:
        """Return all training or held-out sequences in the order of the text, mapped: (sequence, position)."""
        return self.prepared().arrays[split]

    def prepared(self) -> Prepared:
        """Return what was prepared, made again if it is not there, and checked once in a process."""
        expected = len(self.texts), self.n_tokens, self.length
        folder = cache("corpora") / self.digest
        if not folder.is_dir():
            made = Corpus.prepare(self.texts, self.tokenizer, self.length, self.held_out)
            if made.digest != self.digest:
                raise SpecError(
                    f"{', '.join(self.texts)}: the sequences prepared from it now have the digest {made.digest}: "
                    f"expected {self.digest}, those that were used. A text or the vocabulary has changed. Use what it "
                    "was, or Corpus.prepare for a corpus of what it is."
                )
        found = self._checked()
        got = len(found.parts), len(found.wordpiece), found.arrays["train"].shape[1]
        what = f"{self} with a digest of {got[0]} parts, {got[1]} tokens and length {got[2]}"
        require(got == expected, what, "the digest that Corpus.prepare gives for it")
        return found

    def _checked(self) -> Prepared:
        folder = cache("corpora") / self.digest
        try:
            return _opened(folder)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SpecError(
                f"{folder}: its files were altered or are incomplete ({type(error).__name__}: {error}). Expected what was "
                f"prepared. Delete this folder; it is made anew from {', '.join(self.texts)}."
            ) from None


def discounted(counts: NDArray[np.int64], ordinary: NDArray[np.int64]) -> NDArray[np.float64]:
    r"""Return frequencies with something left for what was never counted.

    .. math:: q(t) = \frac{\max(c(t) - d, 0)}{N} + \frac{d \, U}{N} \frac{1}{V}

    where :math:`c` counts, :math:`N` is their sum, :math:`U` how many are above 0, :math:`V` the number of `ordinary`
    tokens, which text is made of, and :math:`d = 0.75` (Ney, Essen and Kneser 1994). Other tokens have the frequency 0.

    >>> discounted(np.array([0, 6, 2, 0]), ordinary=np.array([1, 2, 3])).round(5).tolist()   # of 1.5 / 8 each a third
    [0.0, 0.71875, 0.21875, 0.0625]
    """
    known = counts[ordinary]
    total = known.sum()
    freed = DISCOUNT * np.count_nonzero(known) / total
    found = np.zeros(len(counts))
    found[ordinary] = np.maximum(known - DISCOUNT, 0) / total + freed / len(ordinary)
    return found


# -------------------------------------------------------------------- the stream


@dataclass(frozen=True)
class Block:
    """Sequences of a corpus: tokens (sequence, position) and lengths, which are all the same."""

    tokens: NDArray[Any]
    lengths: NDArray[np.int64]


class CorpusStream:
    """Sequences of a corpus in a random order, numbered from 0; any block can be made again anywhere."""

    def __init__(self, corpus: Corpus, identity_text: str, split: Split) -> None:
        self.identity = hashlib.sha256(identity_text.encode()).hexdigest()[:32]
        self._split, self._texts = split, corpus.texts
        prepared = corpus.prepared()
        self._array = prepared.arrays[split]
        self._stops = np.cumsum([part[split]["sequences"] for part in prepared.parts])

    def rows(self, start: int, stop: int) -> NDArray[np.int32]:
        """Return which of the corpus's sequences these are, by place in `Corpus.sequences`."""
        n = len(self._array)
        require(
            self._split == "train" or stop <= n,
            f"{stop} held-out sequences",
            f"at most {n}, which {', '.join(self._texts)} holds out",
            "Ask for fewer (n_evaluation, n_samples), lower held_out, or take more text.",
        )
        return epochs(self.identity, start, stop, n)

    def sentences(self, start: int, stop: int) -> Block:
        """Return the sequences start ... stop - 1."""
        rows = self.rows(start, stop)
        return Block(self._array[rows], np.full(len(rows), self._array.shape[1], np.int64))

    def parts(self, start: int, stop: int) -> NDArray[np.intp]:
        """Return the part, from 0, of each of the sequences start ... stop - 1."""
        return np.searchsorted(self._stops, self.rows(start, stop), side="right")


# --------------------------------------------------------------- prepared files


@dataclass(frozen=True)
class Prepared:
    """What `Corpus.prepare` made: the vocabulary, the sequences of each split, and counts of each part and split."""

    wordpiece: WordPiece
    arrays: dict[Split, NDArray[Any]]
    parts: list[dict[str, Any]]  # split -> counts of documents, tokens, unknown ones and sequences


@lru_cache(maxsize=8)
def _opened(folder: Path) -> Prepared:
    digest = _digest(folder)
    if digest != folder.name:
        raise ValueError(f"their digest is {digest}")
    meta = json.loads((folder / "facts.json").read_bytes())
    wordpiece = load(f"file:{folder / 'vocab.txt'}")
    if (folder / "tokenizer.json").exists():
        wordpiece = replace(wordpiece, settings=(folder / "tokenizer.json").read_text("utf-8"))
    kind = integer_type(len(wordpiece)).newbyteorder("<")
    arrays: dict[Split, NDArray[Any]] = {}
    for split in SPLITS:
        n = sum(part[split]["sequences"] for part in meta["parts"])
        arrays[split] = np.memmap(folder / f"{split}.bin", kind, mode="r", shape=(n, meta["length"]))
    return Prepared(wordpiece, arrays, meta["parts"])


def _digest(folder: Path) -> str:
    """The digest of everything that a folder holds."""
    found = hashlib.sha256(f"corpus, version {VERSION}".encode())
    for path in (folder / name for name in FILES if (folder / name).exists()):
        found.update(f"\n{path.name} {path.stat().st_size}\n".encode())
        with path.open("rb") as file:
            while block := file.read(2**22):
                found.update(block)
    return found.hexdigest()[:32]


# ------------------------------------------------------------------- preparation


def _request(corpus: Corpus) -> str:
    """A name for what is asked for, in which files and packages count by their content."""
    for uri in corpus.texts:
        loading.parts(uri)  # all of them, before the first is read: one that means nothing is an error
    texts, tokenizer = [[uri, _content(uri)] for uri in corpus.texts], corpus.tokenizer
    vocabulary = [tokenizer, _content(tokenizer)]
    stated = [VERSION, loading.VERSION, texts, vocabulary, corpus.length, corpus.held_out]
    return hashlib.sha256(json.dumps(stated).encode()).hexdigest()[:32]


def _content(uri: str) -> str:
    """The hash of the file, package or folder that a URI names; nothing for one that names none of them."""
    kind, _, rest = uri.partition(":")
    if kind == "pkg":
        return package(rest).sha256
    if kind == "folder":
        return hub.fetched(uri)[1]
    path = Path(rest.rpartition("#")[0] if kind == "jsonl" else rest)
    if kind not in ("text", "jsonl", "file") or not path.is_file():
        return ""  # whoever reads it says what is wrong
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _prepare(corpus: Corpus, half: Path) -> tuple[str, str]:
    """Write the sequences of a corpus, move them where they belong, and return digest and size of the vocabulary."""
    kind, _, size = corpus.tokenizer.partition(":")
    wordpiece = train(partial(_training, corpus), int(size)) if kind == "trained" else load(corpus.tokenizer)
    shutil.rmtree(half, ignore_errors=True)  # of one that was killed
    try:
        with writing(half):
            half.mkdir(parents=True)
            (half / "vocab.txt").write_bytes(wordpiece.text.encode())
            if wordpiece.settings:
                (half / "tokenizer.json").write_bytes(wordpiece.settings.encode())
            parts = [_packed(corpus, uri, wordpiece, half) for uri in corpus.texts]
            facts = {"length": corpus.length, "held_out": corpus.held_out, "parts": parts}
            (half / "facts.json").write_bytes((json.dumps(facts, indent=1) + "\n").encode())
            digest = _digest(half)
            folder = half.with_name(digest)
            if not folder.is_dir():  # else another text has the same content
                half.replace(folder)
    finally:
        shutil.rmtree(half, ignore_errors=True)
    return digest, str(len(wordpiece))


def _documents(uri: str, held_out: int) -> Iterator[tuple[bool, str]]:
    """Whether each document of a text is held out, as every `held_out`-th is, and the document."""
    for number, document in enumerate(loading.documents(uri), 1):
        yield number % held_out == 0, document


def _training(corpus: Corpus) -> Iterator[str]:
    """The training documents of all parts."""
    for uri in corpus.texts:
        yield from (document for held, document in _documents(uri, corpus.held_out) if not held)


def _packed(corpus: Corpus, uri: str, wordpiece: WordPiece, folder: Path) -> dict[str, dict[str, int]]:
    """Write the sequences of a part, behind those of the parts before it, and return its counts."""
    packers = [_Packer(wordpiece, corpus.length, folder / f"{split}.bin") for split in SPLITS]
    for held, document in _documents(uri, corpus.held_out):
        packers[held].add(document)
    for packer, kind in zip(packers, ("training", "held-out"), strict=True):
        packer.write()
        require(
            packer.counts["sequences"] > 0,
            f"{uri}: {packer.counts['tokens']} tokens in {packer.counts['documents']} {kind} documents",
            f"at least {corpus.length - 1}, one sequence of length = {corpus.length}",
            f"Lower length or held_out = {corpus.held_out}, or take more text.",
        )
    return {str(split): packer.counts for split, packer in zip(SPLITS, packers, strict=True)}


class _Packer:
    """Writes documents, some at a time, as sequences: [CLS], then what comes next."""

    def __init__(self, wordpiece: WordPiece, length: int, path: Path) -> None:
        self.counts = {"documents": 0, "tokens": 0, "unknown": 0, "sequences": 0}
        self._wordpiece, self._length, self._path = wordpiece, length, path
        self._rest = np.empty(0, integer_type(len(wordpiece)).newbyteorder("<"))
        self._waiting: list[str] = []
        self._size = 0

    def add(self, document: str) -> None:
        self._waiting.append(document)
        self._size += len(document)
        if self._size >= CHARACTERS_AT_ONCE:
            self.write()

    def write(self) -> None:
        joined = np.concatenate([self._rest, *self._wordpiece.encode(self._waiting)])
        tokens = joined[len(self._rest) :]
        n = len(joined) // (self._length - 1)
        self._rest = joined[n * (self._length - 1) :]
        block = np.full((n, self._length), self._wordpiece.number(CLS), self._rest.dtype)
        block[:, 1:] = joined[: n * (self._length - 1)].reshape(n, self._length - 1)
        with self._path.open("ab") as file:
            file.write(block.data)
        self.counts["documents"] += len(self._waiting)
        self.counts["tokens"] += len(tokens)
        self.counts["unknown"] += int(np.count_nonzero(tokens == self._wordpiece.number(UNK)))
        self.counts["sequences"] += n
        self._waiting, self._size = [], 0

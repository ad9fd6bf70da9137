r"""Text as token sequences of one length, prepared once, and streams of them.

A corpus has parts, one a text; each part's documents are packed one after another, so that a sequence may hold the end of
one and the beginning of the next, but never text of two parts, nor both training and held-out text::

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
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, ClassVar, Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pdlib.files import cache, lock, write_bytes, writing
from pdlib.sequences import integer_type
from pdlib.specs import Purpose, Source, SpecError, require
from pdlib.tasks.bits import random_words
from pdlib.text import hub, loading
from pdlib.text.packages import package
from pdlib.text.wordpiece import CLS, MASK, PUBLISHED, UNK, WordPiece, cut, load, train

VERSION = 1  # of what is made of a text; part of every digest
Split = Literal["train", "held_out"]
SPLITS: tuple[Split, Split] = ("train", "held_out")
FILES = ("facts.json", "vocab.txt", "train.bin", "held_out.bin")
OWN_SETTINGS = "tokenizer.json"  # beside them, of a tokenizer that is not BERT's
# Characters encoded at a time, and in a piece of a long document: enough for every core, and some tens of megabytes
CHARACTERS_AT_ONCE, PIECE = 2_000_000, 20_000
TOKENS_AT_ONCE = 2**21  # that are counted
WORDS_AT_ONCE = 2**19  # random ones, 4 MiB
DISCOUNT = 0.75  # d


class CorpusError(SpecError):
    """Prepared text that is not what its spec says."""


# ---------------------------------------------------------------------- the spec


@dataclass(frozen=True)
class Corpus(Source):
    """Sequences of word pieces from texts, to be made by `Corpus.prepare`.

    Parameters
    ----------
    texts
        Where documents come from, a URI each as `pdlib.text.loading.documents` reads it. Each is a part.
    tokenizer
        `"bert-base-uncased"`, `"file:PATH"` of a vocabulary, `"hub:REPO@REVISION"` or `"folder:PATH"` of a published
        network, or `"trained:SIZE"` on the training documents.
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
    ...     beginning = corpus.wordpiece().decode(tokens[0, :1])
    ...     (part,) = corpus.facts()
    >>> corpus.n_tokens, tokens.shape, beginning, part["held_out_documents"]
    (300, (4, 16), '[CLS]', 3)
    """

    version: ClassVar[int] = 1
    texts: tuple[str, ...]
    tokenizer: str
    length: int = 128
    held_out: int = 50
    digest: str = ""
    vocabulary: int = 0

    def __post_init__(self) -> None:
        require(
            type(self.texts) is tuple and len(self.texts) > 0 and all(type(t) is str for t in self.texts),
            f"texts = {self.texts!r}",
            "a tuple of at least one URI, such as ('text:PATH',)",
        )
        require(len(set(self.texts)) == len(self.texts), f"texts = {self.texts!r}", "each text once")
        _tokenizer_kind(self.tokenizer)
        for name, value, low in (("length", self.length, 2), ("held_out", self.held_out, 2)):
            require(
                type(value) is int and value >= low,
                f"{name} = {value!r}",
                f"a whole number of at least {low}",
            )
        require(
            re.fullmatch(r"([0-9a-f]{32})?", self.digest) is not None
            and type(self.vocabulary) is int
            and (self.vocabulary > 0 if self.digest else self.vocabulary == 0),
            f"digest = {self.digest!r} with vocabulary = {self.vocabulary!r}",
            "both as Corpus.prepare gives them, or neither",
        )

    @classmethod
    def prepare(
        cls, texts: str | Sequence[str], tokenizer: str, length: int = 128, held_out: int = 50
    ) -> Corpus:
        """Return the corpus of some texts, its sequences prepared now or found prepared.

        They are kept in `$PDLIB_CACHE`, or the system's cache folder. Files that have changed since are prepared
        again, and make another corpus; what is behind `hf:` or `hub:` is taken to be what it was.

        Parameters
        ----------
        texts, tokenizer, length, held_out
            As of `Corpus`.

        Raises
        ------
        SpecError
            If a text or the vocabulary cannot be read, or there is too little text: no held-out document in a part, or
            not one whole sequence. Nothing is kept then.
        StoreError
            If the sequences cannot be written.
        """
        wanted = cls((texts,) if isinstance(texts, str) else tuple(texts), tokenizer, length, held_out)
        request = _request(wanted)
        path = cache("corpora") / "requests" / f"{request}.json"
        found = _known(path)
        if found is None:
            with lock(cache("corpora") / "locks" / f"{request}.lock"):
                found = _known(path)  # another process may have prepared it
                if found is None:
                    found = _prepare(wanted, request)
                    write_bytes(path, (json.dumps(found) + "\n").encode())
        return replace(wanted, **found)

    # ------------------------------------------------------------ as a source

    @property
    def n_tokens(self) -> int:
        """Number of tokens, [MASK] and the other marks included."""
        return self._named().vocabulary

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

        Parameters
        ----------
        identity
            Decides the order.
        purpose
            `"train"`: all training sequences in a random order, then in another, and so on without an end.
            `"evaluation"` and `"probe"`: the held-out sequences in a random order, once.

        Raises
        ------
        CorpusError
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

    # ------------------------------------------------------------------ facts

    def wordpiece(self) -> WordPiece:
        """Return the vocabulary."""
        return self._prepared().wordpiece

    def facts(self) -> list[dict[str, Any]]:
        """Return what the corpus holds, a row a part.

        Columns: `part`, from 0; `text`, its URI; `documents`, `tokens` and `sequences` for training, and
        `held_out_documents`, `held_out_tokens`, `held_out_sequences`; `unknown`, how many of all these tokens are
        [UNK]. Tokens are those of the text, without [CLS]; fewer than a sequence's are left over at the end.
        """
        rows = []
        for i, (text, part) in enumerate(zip(self.texts, self._prepared().parts, strict=True)):
            row: dict[str, Any] = {"part": i, "text": text}
            for split, name in zip(SPLITS, ("", "held_out_"), strict=True):
                row |= {f"{name}{what}": part[split][what] for what in ("documents", "tokens", "sequences")}
            rows.append(row | {"unknown": sum(part[split]["unknown"] for split in SPLITS)})
        return rows

    def sequences(self, split: Split = "train") -> NDArray[Any]:
        """Return all training or held-out sequences in the order of the text, mapped: (sequence, position)."""
        require(split in SPLITS, f"split = {split!r}", "'train' or 'held_out'")
        return self._prepared().arrays[split]

    def _named(self) -> Corpus:
        require(
            bool(self.digest),
            f"{self}, of which no sequences were prepared",
            "one with a digest",
            "Corpus.prepare(texts, tokenizer, length, held_out) returns it.",
        )
        return self

    def _prepared(self) -> _Prepared:
        folder = cache("corpora") / self._named().digest
        if not folder.is_dir():
            made = Corpus.prepare(self.texts, self.tokenizer, self.length, self.held_out)
            if made.digest != self.digest:
                raise CorpusError(
                    f"{', '.join(self.texts)}: the sequences prepared from it now have the digest {made.digest}: "
                    f"expected {self.digest}, those that were used. A text or the vocabulary has changed. Use what it "
                    "was, or Corpus.prepare for a corpus of what it is."
                )
        return _opened(folder, self)


def discounted(counts: NDArray[np.int64], ordinary: NDArray[np.int64]) -> NDArray[np.float64]:
    r"""Return frequencies with something left for what was never counted.

    .. math:: q(t) = \frac{\max(c(t) - d, 0)}{N} + \frac{d \, U}{N} \frac{1}{V}

    where :math:`c` counts, :math:`N` is their sum, :math:`U` how many are above 0, :math:`V` the number of ordinary tokens
    and :math:`d = 0.75`.

    Parameters
    ----------
    counts : shape (token,)
        Of all tokens.
    ordinary : shape (V,)
        The tokens that text is made of; others have the frequency 0.

    References
    ----------
    Ney, Essen and Kneser, "On structuring probabilistic dependences in stochastic language modelling" (1994).

    Examples
    --------
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
    """Sequences of a corpus in a random order, numbered from 0; any block can be made again anywhere.

    Attributes
    ----------
    identity : str
        The key of the random numbers, 32 hexadecimal digits.
    """

    def __init__(self, corpus: Corpus, identity_text: str, split: Split) -> None:
        self.identity = hashlib.sha256(identity_text.encode()).hexdigest()[:32]
        self._split: Split = split
        prepared = corpus._prepared()
        self._array = prepared.arrays[split]
        self._stops = np.cumsum([part[split]["sequences"] for part in prepared.parts])
        self._texts = corpus.texts

    def rows(self, start: int, stop: int) -> NDArray[np.int32]:
        """Return which of the corpus's sequences these are, by place in `Corpus.sequences`.

        Raises
        ------
        SpecError
            If more held-out sequences are asked for than there are.
        """
        n = len(self._array)
        require(0 <= start <= stop, f"sequences {start} ... {stop}", "0 <= start <= stop")
        require(
            self._split == "train" or stop <= n,
            f"{stop} held-out sequences",
            f"at most {n}, which {', '.join(self._texts)} holds out",
            "Ask for fewer (n_evaluation, n_samples), lower held_out, or take more text.",
        )
        found = [
            _order(self.identity, epoch, n)[max(start - epoch * n, 0) : stop - epoch * n]
            for epoch in range(start // n, -(-stop // n))
        ]
        return np.concatenate(found) if found else np.empty(0, np.int32)

    def sentences(self, start: int, stop: int) -> Block:
        """Return the sequences start ... stop - 1."""
        rows = self.rows(start, stop)
        return Block(self._array[rows], np.full(len(rows), self._array.shape[1], np.int64))

    def parts(self, start: int, stop: int) -> NDArray[np.intp]:
        """Return the part, from 0, of each of the sequences start ... stop - 1."""
        return np.searchsorted(self._stops, self.rows(start, stop), side="right")


@njit(cache=True)
def _shuffle(order: NDArray[np.int32], first: int, words: NDArray[np.uint64]) -> None:
    """Exchange the places first, first + 1, ... with places from there on, by one random word each (Fisher-Yates)."""
    for i in range(len(words)):
        place = first + i
        other = place + int((words[i] >> np.uint64(11)) * 2.0**-53 * (len(order) - place))
        order[place], order[other] = order[other], order[place]


@lru_cache(maxsize=4)
def _order(identity: str, epoch: int, n: int) -> NDArray[np.int32]:
    """The numbers 0 ... n - 1 in the random order of an epoch."""
    key = hashlib.sha256(f"{identity} epoch {epoch}".encode()).hexdigest()[:32]
    order = np.arange(n, dtype=np.int32)
    for start in range(0, n, WORDS_AT_ONCE):
        stop = min(start + WORDS_AT_ONCE, n)
        _shuffle(order, start, random_words(key, start, stop, 1)[:, 0])
    order.flags.writeable = False
    return order


# --------------------------------------------------------------- prepared files


@dataclass(frozen=True)
class _Prepared:
    wordpiece: WordPiece
    arrays: dict[Split, NDArray[Any]]
    parts: list[dict[str, Any]]  # for each split, counts of documents, tokens, unknown ones and sequences


def _opened(folder: Path, corpus: Corpus) -> _Prepared:
    """Return prepared files, checked once a process against their digest."""
    try:
        found = _checked(folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorpusError(
            f"{folder}: its files were altered or are incomplete ({type(error).__name__}: {error}). Expected what was "
            f"prepared. Delete this folder; it is made anew from {', '.join(corpus.texts)}."
        ) from None
    got = (len(found.parts), len(found.wordpiece), found.arrays["train"].shape[1])
    require(
        got == (len(corpus.texts), corpus.vocabulary, corpus.length),
        f"{corpus} with a digest of {got[0]} parts, {got[1]} tokens and length {got[2]}",
        "the digest that Corpus.prepare gives for it",
    )
    return found


@lru_cache(maxsize=8)
def _checked(folder: Path) -> _Prepared:
    digest = _digest(folder)
    if digest != folder.name:
        raise ValueError(f"their digest is {digest}")
    meta = json.loads((folder / "facts.json").read_bytes())
    wordpiece = load(f"file:{folder / 'vocab.txt'}")
    if (folder / OWN_SETTINGS).exists():
        wordpiece = replace(wordpiece, settings=(folder / OWN_SETTINGS).read_text("utf-8"))
    kind = integer_type(len(wordpiece)).newbyteorder("<")
    arrays: dict[Split, NDArray[Any]] = {}
    for split in SPLITS:
        n = sum(part[split]["sequences"] for part in meta["parts"])
        arrays[split] = np.memmap(folder / f"{split}.bin", kind, mode="r", shape=(n, meta["length"]))
    return _Prepared(wordpiece, arrays, meta["parts"])


def _digest(folder: Path) -> str:
    """The digest of everything that a folder holds."""
    found = hashlib.sha256(f"corpus, version {VERSION}".encode())
    own = [OWN_SETTINGS] if (folder / OWN_SETTINGS).exists() else []
    for name in (*FILES, *own):
        found.update(f"\n{name} {(folder / name).stat().st_size}\n".encode())
        with (folder / name).open("rb") as file:
            while block := file.read(2**22):
                found.update(block)
    return found.hexdigest()[:32]


# ------------------------------------------------------------------- preparation


def _tokenizer_kind(name: str) -> tuple[str, int]:
    """What a tokenizer's name says: its kind, and of a trained one the size."""
    size = re.fullmatch(r"trained:([1-9][0-9]*)", name) if isinstance(name, str) else None
    if size:
        return "trained", int(size[1])
    kind = name.partition(":")[0] if isinstance(name, str) else ""
    if kind in ("hub", "folder"):
        hub.parts(name)
    else:
        known = name == PUBLISHED or (kind == "file" and name != "file:")
        others = "'trained:SIZE', 'file:PATH', 'hub:REPO@REVISION' or 'folder:PATH'"
        require(known, f"tokenizer = {name!r}", f"{PUBLISHED!r}, {others}")
    return kind, 0


def _request(corpus: Corpus) -> str:
    """A name for what is asked for, in which files and packages count by their content."""
    for uri in corpus.texts:
        loading.parts(uri)  # all of them, before the first is read: one that means nothing is an error
    stated = [
        VERSION,
        loading.VERSION,
        [[uri, _content(uri)] for uri in corpus.texts],
        [corpus.tokenizer, _content(corpus.tokenizer)],
        corpus.length,
        corpus.held_out,
    ]
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


def _known(path: Path) -> dict[str, Any] | None:
    """What an earlier preparation left for a request; None if it is not there or not whole."""
    try:
        found = json.loads(path.read_bytes())
        digest, size = str(found["digest"]), int(found["vocabulary"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return {"digest": digest, "vocabulary": size} if (cache("corpora") / digest).is_dir() else None


def _prepare(corpus: Corpus, request: str) -> dict[str, Any]:
    """Write the sequences of a corpus to its folder, and return digest and number of tokens; the lock is held."""
    kind, size = _tokenizer_kind(corpus.tokenizer)
    wordpiece = train(_TrainingText(corpus), size) if kind == "trained" else load(corpus.tokenizer)
    half = cache("corpora") / f".preparing-{request}"
    shutil.rmtree(half, ignore_errors=True)  # of one that was killed
    try:
        with writing(half):
            half.mkdir(parents=True)
            (half / "vocab.txt").write_bytes(wordpiece.text.encode())
            if wordpiece.settings:
                (half / OWN_SETTINGS).write_bytes(wordpiece.settings.encode())
            parts = _packed(corpus, wordpiece, half)
            facts = {"length": corpus.length, "held_out": corpus.held_out, "parts": parts}
            (half / "facts.json").write_bytes((json.dumps(facts, indent=1) + "\n").encode())
            digest = _digest(half)
            folder = cache("corpora") / digest
            try:
                half.replace(folder)
            except OSError:
                if not folder.is_dir():  # else another text has the same content
                    raise
    finally:
        shutil.rmtree(half, ignore_errors=True)
    return {"digest": digest, "vocabulary": len(wordpiece)}


def _documents(uri: str) -> Iterator[str]:
    """The documents of a text, without half characters, which JSON can hold and no encoding."""
    return (re.sub("[\ud800-\udfff]", "", text) for text in loading.documents(uri))


def is_held_out(number: int, held_out: int) -> bool:
    """Whether a document, numbered from 0 in its part, is held out: every `held_out`-th is."""
    return number % held_out == held_out - 1


class _TrainingText:
    """The training documents of all parts, as often as one goes through them."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus

    def __iter__(self) -> Iterator[str]:
        for uri in self._corpus.texts:
            for number, document in enumerate(_documents(uri)):
                if not is_held_out(number, self._corpus.held_out):
                    yield document


def _packed(corpus: Corpus, wordpiece: WordPiece, folder: Path) -> list[dict[str, Any]]:
    """Write all sequences, part after part, and return the counts of each."""
    parts = []
    with ExitStack() as stack:
        files = {split: stack.enter_context((folder / f"{split}.bin").open("wb")) for split in SPLITS}
        for uri in corpus.texts:
            packers = {split: _Packer(wordpiece, corpus.length, files[split]) for split in SPLITS}
            _pack(uri, corpus.held_out, wordpiece, packers)
            part = {str(split): packer.counts for split, packer in packers.items()}
            _check_part(uri, corpus, part)
            parts.append(part)
    return parts


def _check_part(uri: str, corpus: Corpus, part: dict[str, dict[str, int]]) -> None:
    n = part["train"]["documents"] + part["held_out"]["documents"]
    require(
        part["held_out"]["documents"] > 0,
        f"{uri}: {n} documents",
        f"at least held_out = {corpus.held_out}, the first of which is held out",
        "Lower held_out, or take more text.",
    )
    for split in SPLITS:
        tokens = part[split]["tokens"]
        require(
            part[split]["sequences"] > 0,
            f"{uri}: {tokens} tokens in its {'training' if split == 'train' else 'held-out'} documents",
            f"at least {corpus.length - 1}, one sequence of length = {corpus.length}",
            "Lower length, or take more text.",
        )


class _Packer:
    """Writes tokens as sequences: [CLS], then what comes next."""

    def __init__(self, wordpiece: WordPiece, length: int, file: IO[bytes]) -> None:
        self.counts = {"documents": 0, "tokens": 0, "unknown": 0, "sequences": 0}
        self._kind = integer_type(len(wordpiece)).newbyteorder("<")
        self._first, self._unknown = wordpiece.number(CLS), wordpiece.number(UNK)
        self._length, self._file = length, file
        self._rest = np.empty(0, self._kind)

    def add(self, tokens: NDArray[Any]) -> None:
        joined = np.concatenate([self._rest, tokens])
        n = len(joined) // (self._length - 1)
        block = np.full((n, self._length), self._first, self._kind)
        block[:, 1:] = joined[: n * (self._length - 1)].reshape(n, self._length - 1)
        self._file.write(block.data)
        self.counts["tokens"] += len(tokens)
        self.counts["unknown"] += int(np.count_nonzero(tokens == self._unknown))
        self.counts["sequences"] += n
        self._rest = joined[n * (self._length - 1) :]


def _pack(uri: str, held_out: int, wordpiece: WordPiece, packers: dict[Split, _Packer]) -> None:
    """Tokenize the documents of a part, some at a time, and hand them to their packer."""
    waiting: list[str] = []
    apart: list[bool] = []  # whether they are held out
    size = 0

    def hand_on() -> None:
        tokens, counts = wordpiece.encode(waiting)
        held = np.repeat(np.array(apart, bool), counts)
        packers["train"].add(tokens[~held])
        packers["held_out"].add(tokens[held])

    for number, document in enumerate(_documents(uri)):
        held = is_held_out(number, held_out)
        packers["held_out" if held else "train"].counts["documents"] += 1
        for piece in cut(document, PIECE):
            waiting.append(piece)
            apart.append(held)
            size += len(piece)
            if size >= CHARACTERS_AT_ONCE:
                hand_on()
                waiting, apart, size = [], [], 0
    hand_on()

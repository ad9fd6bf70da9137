"""WordPieces, the tokens that BERT reads: a published vocabulary, one in a file, or one trained on text.

Text is normalized as BERT does it (control characters removed, accents stripped, lower case unless the vocabulary has
capitals, a space around each Chinese character) and cut at spaces and punctuation; then each word becomes the longest
pieces that fit, from left to right. The work is that of the library `tokenizers`, by all of the machine's cores.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pdlib.specs import SpecError, integer_type, require
from pdlib.text.hub import Files, opened

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PAD, UNK, CLS, SEP, MASK = MARKS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
NEEDED = (PAD, UNK, CLS, MASK)
LONGEST_WORD = 100  # characters; a longer one becomes [UNK], as in BERT
VOCABULARIES = ("vocab.txt", "tokenizer.json")  # of a published network
PUBLISHED = "bert-base-uncased"
PUBLISHED_SHA256 = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"  # of its vocab.txt
WORD_START = "\u2581"  # in the package, before pieces that begin a word; the others have lost their "##"
# Of a trained vocabulary: its characters are the most frequent ones, a sixteenth of its size, but within these.
FEWEST_CHARACTERS, MOST_CHARACTERS = 100, 1000
CHARACTERS_AT_ONCE = 1_000_000
_SPACE = re.compile(r"[ \n]")


@dataclass(frozen=True)
class WordPiece:
    r"""A vocabulary of pieces and the way from text to their numbers.

    Parameters
    ----------
    pieces
        A piece's place is its number. `"##"` marks pieces that go on with a word; [PAD], [UNK], [CLS] and [MASK] have
        to be there. In a text these marks are words like any other.

    Raises
    ------
    SpecError
        If a piece is empty or there twice, or a mark is missing.

    Examples
    --------
    >>> small = WordPiece(("[PAD]", "[UNK]", "[CLS]", "[MASK]", "play", "##ing", "."))
    >>> tokens, counts = small.encode(["Playing.", "A play"])
    >>> tokens.tolist(), counts.tolist()
    ([4, 5, 6, 1, 4], [3, 2])
    >>> small.decode(tokens[:3]), small.number("[MASK]"), small.special_tokens
    ('playing .', 3, (0, 2, 3))
    """

    pieces: tuple[str, ...]

    def __post_init__(self) -> None:
        missing = [mark for mark in NEEDED if mark not in self._numbers]
        require(
            not missing,
            f"a vocabulary of {len(self.pieces)} pieces without {', '.join(missing)}",
            f"the pieces {', '.join(NEEDED)} among them",
            "They are written like this, in capitals, a line each.",
        )

    @cached_property
    def _numbers(self) -> dict[str, int]:
        numbers: dict[str, int] = {}
        for i, piece in enumerate(self.pieces):
            require(bool(piece), f"piece {i}, line {i + 1} of the vocabulary, empty", "some text")
            require(
                piece not in numbers,
                f"piece {piece!r} twice, in the lines {numbers.get(piece, 0) + 1} and {i + 1} of the vocabulary",
                "each once",
            )
            numbers[piece] = i
        return numbers

    def __len__(self) -> int:
        return len(self.pieces)

    def number(self, piece: str) -> int:
        """Return the number of a piece; an unknown one is a `SpecError`."""
        require(piece in self._numbers, f"piece {piece!r}", f"one of the {len(self)} of the vocabulary")
        return self._numbers[piece]

    @property
    def special_tokens(self) -> tuple[int, ...]:
        """Numbers of the marks that never stand for text, rising; [UNK] does, for a word that has no pieces."""
        return tuple(sorted(self._numbers[m] for m in MARKS if m != UNK and m in self._numbers))

    @property
    def text(self) -> str:
        """The vocabulary as a file holds it, a piece a line."""
        return "".join(f"{piece}\n" for piece in self.pieces)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The library's tokenizer of this vocabulary."""
        _check_library()
        from tokenizers import Tokenizer, models

        # not isupper(): some capitals, such as ℝ, have no small letter
        cased = any(piece != piece.lower() for piece in self.pieces if not piece.startswith("["))
        # No mark is made known to it, so that "[MASK]" in a text is three words and never the mark.
        model = models.WordPiece(
            self._numbers,
            unk_token=UNK,
            max_input_chars_per_word=LONGEST_WORD,
            continuing_subword_prefix="##",
        )
        tokenizer = Tokenizer(model)
        _as_bert(tokenizer, lowercase=not cased)
        return tokenizer

    def encode(self, texts: Sequence[str]) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Return the tokens of texts, one after the other, without any mark, and how many each has.

        Parameters
        ----------
        texts
            Of any length. They are divided among the cores, so that many short ones take less time than a long one;
            a text cut at white space gives the same tokens.

        Returns
        -------
        tokens : shape (token,)
            In the smallest type that holds the vocabulary.
        counts : shape (text,)
        """
        encoded = self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        numbers = [e.ids for e in encoded]
        counts = np.fromiter(map(len, numbers), np.int64, len(numbers))
        kind = integer_type(len(self))
        return np.fromiter(chain.from_iterable(numbers), kind, int(counts.sum())), counts

    def decode(self, tokens: Iterable[int]) -> str:
        """Return pieces as a text to look at: words apart, `"##"` joined to what stands before."""
        found = ""
        for token in tokens:
            piece = self.pieces[token]
            found += piece.removeprefix("##") if piece.startswith("##") and found else f" {piece}"
        return found.strip()


def _check_library() -> None:
    """Say what is missing, if it is: prepared sequences are read without it."""
    require(
        importlib.util.find_spec("tokenizers") is not None,
        "text without the package `tokenizers`",
        "it to be installed",
        "Run `pip install 'pdlib[text]'`.",
    )


def _as_bert(tokenizer: Tokenizer, lowercase: bool = True) -> None:
    from tokenizers import normalizers, pre_tokenizers

    # the library's stubs say the types of neither
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()


def load(name: str) -> WordPiece:
    """Return a vocabulary by its name.

    Parameters
    ----------
    name
        `"bert-base-uncased"`: the published one of 30,522 pieces, out of a package, checked by its hash.
        `"file:PATH"`: a text file, a piece a line.
        `"hub:REPO@REVISION"` or `"folder:PATH"`: that of a published network; see `pdlib.text.hub`.

    Raises
    ------
    SpecError
        If there is no such vocabulary, or the file does not hold one; also if the published one is not what it was.
    HubError
        If files of a published network cannot be had.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "vocab.txt")
    >>> _ = path.write_text("[PAD]\\n[UNK]\\n[CLS]\\n[SEP]\\n[MASK]\\nyes\\n")
    >>> len(load(f"file:{path}"))
    6
    """
    if name == PUBLISHED:
        return _published()
    kind, _, path = name.partition(":")
    if kind in ("hub", "folder"):
        with opened(name) as files:
            return of_files(files)
    require(
        kind == "file" and bool(path),
        f"vocabulary {name!r}",
        f"{PUBLISHED!r}, 'file:PATH' of a text file with a piece a line, 'hub:REPO@REVISION' or 'folder:PATH'",
        "One of its own for a corpus, 'trained:SIZE', is made by Corpus.prepare."
        if kind == "trained"
        else "",
    )
    return _read(Path(path))


def _read(path: Path) -> WordPiece:
    require(path.is_file(), f"vocabulary file {str(path)!r}", "a file, with a piece a line")
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise SpecError(
            f"vocabulary file {str(path)!r}: expected UTF-8. {error.reason} at byte {error.start}."
        ) from None
    # not splitlines(): some pieces are characters that it takes for ends of lines
    pieces = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    try:
        return WordPiece(tuple(pieces))
    except SpecError as error:
        raise SpecError(f"vocabulary file {str(path)!r}: {error}") from None


def of_files(files: Files) -> WordPiece:
    """Return the vocabulary of a published network, out of the first of `VOCABULARIES` that is there."""
    path = files.fetch(files.first(VOCABULARIES))
    try:
        return _read(path) if path.suffix == ".txt" else _of_json(path)
    except SpecError as error:
        raise SpecError(f"{files.uri}: {error}") from None


def _of_json(path: Path) -> WordPiece:
    """Return the pieces of a `tokenizer.json` in the order of their numbers."""
    try:
        found = json.loads(path.read_bytes())
        model = found["model"]
        kind = model.get("type")
        numbers = dict(model["vocab"]) if kind == "WordPiece" else {}
        numbers |= {token["content"]: token["id"] for token in found.get("added_tokens") or ()}
        pieces = sorted(numbers, key=numbers.__getitem__)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SpecError(
            f"{path.name}: expected a tokenizer's description. {type(error).__name__}: {error}"
        ) from None
    require(
        kind == "WordPiece", f"{path.name} with a tokenizer of type {kind!r}", "'WordPiece', as BERT has it"
    )
    require(
        sorted(numbers.values()) == list(range(len(pieces))),
        f"{path.name} with {len(pieces)} pieces that have other numbers than 0 ... {len(pieces) - 1}",
        "each number once",
    )
    return WordPiece(tuple(pieces))


def _published() -> WordPiece:
    from pdlib.text.packages import fetch

    path = fetch(PUBLISHED)
    try:
        wordpiece = WordPiece(tuple(restored(json.loads(path.read_text("utf-8")))))
    except (ValueError, TypeError, AttributeError) as error:
        raise SpecError(f"{path}: expected a JSON list of pieces. {error}") from None
    found = hashlib.sha256(wordpiece.text.encode()).hexdigest()
    require(
        found == PUBLISHED_SHA256,
        f"{path}: a vocabulary whose vocab.txt has the SHA-256 {found}",
        f"that of {PUBLISHED}, {PUBLISHED_SHA256}",
        "Delete the file; it is fetched again.",
    )
    return wordpiece


def restored(pieces: Iterable[str]) -> Iterator[str]:
    """Yield pieces as BERT's own file has them from a list that marks beginnings of words instead.

    >>> list(restored(["[PAD]", "\u2581", "[unused1]", "\u2581the", "ing", "\u2581["]))
    ['[PAD]', '[unused0]', '[unused1]', 'the', '##ing', '[']
    """
    for piece in pieces:
        if piece == WORD_START:
            yield "[unused0]"  # a name that the package has lost
        elif piece.startswith(WORD_START):
            yield piece.removeprefix(WORD_START)
        elif piece.startswith("[") and piece.endswith("]"):
            yield piece
        else:
            yield f"##{piece}"


def train(documents: Iterable[str], size: int) -> WordPiece:
    """Return a vocabulary trained on documents: the same pieces and numbers each time.

    It holds the five marks, the most frequent characters (at the beginning of a word and, if they can be there, inside
    one), and then pieces joined from two others, the most frequent pair first.

    Parameters
    ----------
    documents
        Gone through twice, so no iterator, but a list or an object that starts anew each time.
    size
        Of the vocabulary; smaller if no pair is left that occurs twice.

    Raises
    ------
    SpecError
        If there is no text, or the size leaves no room beside marks and characters.

    Examples
    --------
    >>> found = train(["low lower lowest", "new newer newest"] * 5, size=40)
    >>> found.decode(found.encode(["Newest"])[0]), len(found)      # no pair is left
    ('newest', 33)
    """
    _check_library()
    from tokenizers import Tokenizer, models, trainers

    require(type(size) is int and size >= 1, f"size = {size!r}", "a whole number of at least 1")
    require(
        iter(documents) is not documents,
        f"documents of type {type(documents).__name__}, which are gone once read",
        "a list, or an object that starts anew each time",
    )
    tokenizer = Tokenizer(models.WordPiece(unk_token=UNK))
    _as_bert(tokenizer)
    limit = min(max(FEWEST_CHARACTERS, size // 16), MOST_CHARACTERS)
    characters = _most_frequent(_character_counts(documents, tokenizer), limit)
    require(bool(characters), "documents without any text", "some to train a vocabulary on")
    inside = [f"##{c}" for c in characters if _goes_on(c, tokenizer)]
    first = [*MARKS, *characters, *inside]
    require(
        len(first) < size,
        f"size = {size}",
        f"more than {len(first)}: {len(MARKS)} marks, {len(characters)} characters, {len(inside)} of them in words",
    )
    # The trainer numbers what it meets in an order of chance, and ties between pairs go by number: so it gets to know
    # all characters beforehand, in our order.
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        min_frequency=2,
        special_tokens=first,
        initial_alphabet=characters,
        limit_alphabet=len(characters),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_pieces_of(documents), trainer)
    numbers = tokenizer.get_vocab()
    return WordPiece(tuple(sorted(numbers, key=numbers.__getitem__)))


def _pieces_of(documents: Iterable[str], size: int = CHARACTERS_AT_ONCE // 20) -> Iterator[str]:
    """Yield documents, long ones cut, so that the cores share them."""
    for document in documents:
        yield from cut(document, size)


def cut(text: str, size: int) -> Iterator[str]:
    """Yield a text in pieces of at least this many characters, cut behind white space: the same words.

    >>> list(cut("one two\\nthree four", size=5))
    ['one two\\n', 'three ', 'four']
    """
    start = 0
    while start < len(text):
        end = _SPACE.search(text, start + size)
        stop = len(text) if end is None else end.end()
        yield text[start:stop]
        start = stop


def _character_counts(documents: Iterable[str], tokenizer: Any) -> NDArray[np.int64]:
    """How often each character occurs after normalization; the index is its code point.

    A character is normalized in the same way wherever it stands, so each is normalized once.
    """
    raw = np.zeros(0x110000, np.int64)
    waiting: list[str] = []
    n = 0
    for document in chain(documents, (None,)):
        if document is not None:
            waiting.append(document)
            n += len(document)
        if document is None or n >= CHARACTERS_AT_ONCE:
            codes = np.frombuffer("".join(waiting).encode("utf-32-le"), np.uint32)
            raw += np.bincount(codes, minlength=len(raw))
            waiting, n = [], 0
    counts = np.zeros(0x110000, np.int64)
    for code in np.flatnonzero(raw).tolist():
        for character in tokenizer.normalizer.normalize_str(chr(code)):
            counts[ord(character)] += raw[code]
    return counts


def _most_frequent(counts: NDArray[np.int64], limit: int) -> list[str]:
    """The most frequent characters that are no white space, the more frequent first, then by code point."""
    order = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    characters = (chr(code) for code in order.tolist())
    return [c for c in characters if not c.isspace()][:limit]


def _goes_on(character: str, tokenizer: Any) -> bool:
    """Whether a character can stand inside a word: punctuation and Chinese characters are words of their own."""
    normalized = tokenizer.normalizer.normalize_str("a" + character)
    return len(tokenizer.pre_tokenizer.pre_tokenize_str(normalized)) == 1

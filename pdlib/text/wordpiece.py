"""WordPieces, the tokens that BERT reads: a published vocabulary, one in a file, or one trained on text.

Text is normalized (as BERT does it: control characters removed, accents stripped, lower case unless the vocabulary has
capitals, a space around each Chinese character) and cut at spaces and punctuation; then each word becomes the longest
pieces that fit, from left to right. The work is that of the library `tokenizers`, by all of the machine's cores; what the
files of a published tokenizer set, it does.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pdlib.files import MissingError
from pdlib.install import optional
from pdlib.sequences import integer_type
from pdlib.specs import SpecError, require
from pdlib.text.hub import fetched
from pdlib.text.packages import contents

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PAD, UNK, CLS, SEP, MASK = MARKS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
NEEDED = (PAD, UNK, CLS, MASK)
PUBLISHED = "bert-base-uncased"
PUBLISHED_SHA256 = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"  # of its vocab.txt
WORD_START = "\u2581"  # in the package, before pieces that begin a word; the others have lost their "##"
# Files of a published tokenizer: the first of the first two, and the settings of a vocab.txt
TOKENIZERS = ("tokenizer.json", "vocab.txt", "tokenizer_config.json")
# Settings of a vocab.txt: their names there, in `tokenizers`, and what they are where nothing is said
BERT_SETTINGS = {
    "do_lower_case": ("lowercase", True),
    "strip_accents": ("strip_accents", None),
    "tokenize_chinese_chars": ("handle_chinese_chars", True),
}
# What works word by word, so that a text cut at white space has the same tokens
WORD_BY_WORD = {"Sequence", "BertNormalizer", "Lowercase", "StripAccents", "NFC", "NFD", "NFKC", "NFKD"}
WORD_BY_WORD |= {"BertPreTokenizer", "Whitespace", "WhitespaceSplit", "Punctuation", "Digits"}
# Of a trained vocabulary: its characters are the most frequent ones, a sixteenth of its size, but within these.
FEWEST_CHARACTERS, MOST_CHARACTERS = 100, 1000
AT_ONCE = 50_000  # characters of a long document, so that the cores share it
_SPACE = re.compile(r"[ \n]")


@dataclass(frozen=True)
class WordPiece:
    r"""A vocabulary of pieces and the way from text to their numbers.

    Parameters
    ----------
    pieces
        A piece's place is its number. `"##"` marks pieces that go on with a word; [PAD], [UNK], [CLS] and [MASK] have
        to be there. In a text these marks are words like any other.
    settings
        How text is normalized, cut and found in the vocabulary, as a `tokenizer.json` of the library says it; `""` for
        BERT's way, in lower case unless a piece has a capital letter.

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
    settings: str = ""

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
        tokenizers = optional("tokenizers", "text")
        if self.settings:
            found: Tokenizer = tokenizers.Tokenizer.from_str(self.settings)
            return found
        # not isupper(): some capitals, such as ℝ, have no small letter
        cased = any(piece != piece.lower() for piece in self.pieces if not piece.startswith("["))
        # No mark is made known to it, so that "[MASK]" in a text is three words and never the mark.
        return _as_bert(self._numbers, lowercase=not cased)

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


def _as_bert(numbers: dict[str, int], **settings: bool | None) -> Tokenizer:
    """The library's tokenizer as BERT has it; settings are those of its `BertNormalizer`."""
    tokenizers = optional("tokenizers", "text")
    found: Tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece(numbers, unk_token=UNK))
    found.normalizer = tokenizers.normalizers.BertNormalizer(**settings)
    found.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    return found


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
        (data,) = contents(PUBLISHED)
        text = "".join(f"{piece}\n" for piece in restored(json.loads(data)))
        found = hashlib.sha256(text.encode()).hexdigest()
        require(
            found == PUBLISHED_SHA256, f"the vocabulary {name} with the SHA-256 {found}", PUBLISHED_SHA256
        )
        return WordPiece(_pieces(text.encode()))
    kind, _, path = name.partition(":")
    if kind in ("hub", "folder"):
        folder, _ = fetched(name)
        with _about(name):
            return of_folder(folder)
    remedy = (
        "One of its own for a corpus, 'trained:SIZE', is made by Corpus.prepare." if kind == "trained" else ""
    )
    ways = f"{PUBLISHED!r}, 'file:PATH' of a text file with a piece on each line, 'hub:REPO@REVISION' or 'folder:PATH'"
    require(kind == "file" and bool(path), f"vocabulary {name!r}", ways, remedy)
    require(Path(path).is_file(), f"vocabulary file {path!r}", "a file, with a piece on each line")
    with _about(f"vocabulary file {path!r}"):
        return WordPiece(_pieces(Path(path).read_bytes()))


@contextmanager
def _about(what: str) -> Iterator[None]:
    """Say in an error what was read."""
    try:
        yield
    except SpecError as error:
        raise SpecError(f"{what}: {error}") from None


def _pieces(data: bytes) -> tuple[str, ...]:
    """The lines of a vocabulary; `splitlines` takes some pieces for ends of lines."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecError(f"expected UTF-8. {error.reason} at byte {error.start}.") from None
    return tuple(text.replace("\r\n", "\n").removesuffix("\n").split("\n"))


def of_folder(folder: Path) -> WordPiece:
    """Return the tokenizer of a published network: its `tokenizer.json`, or its `vocab.txt` with the settings beside.

    Raises
    ------
    MissingError
        If there is neither.
    SpecError
        If it is no tokenizer of word pieces, or has a setting that is not known here; names it.
    """
    path = next((folder / name for name in TOKENIZERS[:2] if (folder / name).is_file()), None)
    if path is None:
        raise MissingError(f"{folder} has no vocab.txt and no tokenizer.json. Expected one of them.")
    with _about(path.name):
        said = _object(folder / TOKENIZERS[2]) if (folder / TOKENIZERS[2]).is_file() else {}
        basic = said.get("do_basic_tokenize", True)
        require(basic is True, f"do_basic_tokenize = {basic!r}", "true, text that is cut at punctuation")
        known = {there: said[name] for name, (there, _) in BERT_SETTINGS.items() if name in said}
        if path.suffix == ".json":
            return _of_description(path.read_bytes(), known)
        found = WordPiece(_pieces(path.read_bytes()))
        if not known:
            return found
        settings = dict(BERT_SETTINGS.values()) | known
        return WordPiece(found.pieces, _as_bert(found._numbers, **settings).to_str())


def _object(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_bytes()))
    except (ValueError, TypeError) as error:
        raise SpecError(f"{path.name}: expected a JSON object. {error}.") from None


def _of_description(data: bytes, known: dict[str, Any]) -> WordPiece:
    """Return the tokenizer of a `tokenizer.json`, of which settings beside it must say the same.

    The marks are no longer looked for in a text, and nothing is put around one or cut off.
    """
    tokenizers = optional("tokenizers", "text")
    try:
        theirs = tokenizers.Tokenizer.from_buffer(data)
    except Exception as error:  # the library has no narrower kind
        raise SpecError(f"expected a tokenizer's description. {error}.") from None
    model, kind = theirs.model, type(theirs.model).__name__
    require(kind == "WordPiece", f"a tokenizer of type {kind!r}", "'WordPiece', as BERT has it")
    for name, value in known.items():
        own = getattr(theirs.normalizer, name, value)
        require(
            own == value, f"{name} = {own!r}", f"{value!r}, as {TOKENIZERS[2]} says", "Correct one of them."
        )
    numbers = theirs.get_vocab()
    pieces = tuple(sorted(numbers, key=numbers.__getitem__))
    in_order = sorted(numbers.values()) == list(range(len(pieces)))
    require(
        in_order, f"{len(pieces)} pieces with other numbers than 0 ... {len(pieces) - 1}", "each number once"
    )
    names = ("unk_token", "max_input_chars_per_word", "continuing_subword_prefix")
    settings = {name: getattr(model, name) for name in names}
    ours = tokenizers.Tokenizer(tokenizers.models.WordPiece(numbers, **settings))
    ours.normalizer, ours.pre_tokenizer = theirs.normalizer, theirs.pre_tokenizer
    added = theirs.get_added_tokens_decoder().values()
    ours.add_tokens([token for token in added if token.content not in MARKS])
    steps = json.loads(ours.to_str())
    asked = re.findall(r'"type": "(\w+)"', json.dumps([steps["normalizer"], steps["pre_tokenizer"]]))
    unknown = sorted(set(asked) - WORD_BY_WORD)
    require(not unknown, f"the steps {unknown}", f"steps that go word by word, of {sorted(WORD_BY_WORD)}")
    return WordPiece(pieces, ours.to_str())


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
    require(type(size) is int and size >= 1, f"size = {size!r}", "a whole number of at least 1")
    require(
        iter(documents) is not documents,
        f"documents of type {type(documents).__name__}, which are gone once read",
        "a list, or an object that starts anew each time",
    )
    tokenizer = _as_bert({})
    limit = min(max(FEWEST_CHARACTERS, size // 16), MOST_CHARACTERS)
    characters = _characters(documents, tokenizer)[:limit]
    require(bool(characters), "documents without any text", "some to train a vocabulary on")
    # punctuation and Chinese characters are words of their own
    words = {c: tokenizer.normalizer.normalize_str("a" + c) for c in characters}
    inside = [
        f"##{c}" for c, word in words.items() if len(tokenizer.pre_tokenizer.pre_tokenize_str(word)) == 1
    ]
    first = [*MARKS, *characters, *inside]
    require(
        len(first) < size,
        f"size = {size}",
        f"more than {len(first)}: {len(MARKS)} marks, {len(characters)} characters, {len(inside)} of them in words",
    )
    # The trainer numbers what it meets in an order of chance, and ties between pairs go by number: so it gets to know
    # all characters beforehand, in our order.
    trainer = optional("tokenizers", "text").trainers.WordPieceTrainer(
        vocab_size=size,
        min_frequency=2,
        special_tokens=first,
        initial_alphabet=characters,
        limit_alphabet=len(characters),
        show_progress=False,
    )
    pieces = (piece for document in documents for piece in cut(document, AT_ONCE))
    tokenizer.train_from_iterator(pieces, trainer)
    numbers = tokenizer.get_vocab()
    return WordPiece(tuple(sorted(numbers, key=numbers.__getitem__)))


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


def _characters(documents: Iterable[str], tokenizer: Tokenizer) -> list[str]:
    """The characters of documents after normalization, the most frequent first, then by code point; no white space."""
    raw = Counter[str]()
    for document in documents:
        raw.update(document)
    counts = Counter[str]()
    for character, n in raw.items():  # each once: it is normalized in the same way wherever it stands
        for normalized in tokenizer.normalizer.normalize_str(character):
            counts[normalized] += n
    return sorted((c for c in counts if not c.isspace()), key=lambda c: (-counts[c], c))

"""WordPieces, the tokens that BERT reads: a published vocabulary, one in a file, or one trained on text.

Text is normalized (as BERT does it: control characters removed, accents stripped, lower case unless the vocabulary has
capitals, a space around each Chinese character) and cut at spaces and punctuation; then each word becomes the longest
pieces that fit, from left to right. The work is that of the library `tokenizers`, by all of the machine's cores; what the
files of a published tokenizer set, it does.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
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
from pdlib.text.hub import about, fetched

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PAD, UNK, CLS, SEP, MASK = MARKS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
NEEDED = (PAD, UNK, CLS, MASK)
# Settings beside a vocab.txt: their names there and in `tokenizers`, whose values hold where nothing is said
BERT_SETTINGS = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}
# Of a trained vocabulary: its characters are the most frequent ones, a sixteenth of its size, but within these.
FEWEST_CHARACTERS, MOST_CHARACTERS = 100, 1000


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
    >>> small.encode(["Playing.", "A play"]).tolist()
    [4, 5, 6, 1, 4]
    >>> small.number("[MASK]"), small.special_tokens
    (3, (0, 2, 3))
    """

    pieces: tuple[str, ...]
    settings: str = ""

    def __post_init__(self) -> None:
        missing = [mark for mark in NEEDED if mark not in self._numbers]
        require(
            not missing,
            f"a vocabulary of {len(self.pieces)} pieces without {', '.join(missing)}",
            f"the pieces {', '.join(NEEDED)} among them",
            "They are written like this, in capitals, on a line each.",
        )

    @cached_property
    def _numbers(self) -> dict[str, int]:
        numbers: dict[str, int] = {}
        for i, piece in enumerate(self.pieces):
            require(bool(piece), f"piece {i}, line {i + 1} of the vocabulary, empty", "some text")
            first = numbers.setdefault(piece, i)
            what = f"piece {piece!r} twice, in the lines {first + 1} and {i + 1} of the vocabulary"
            require(first == i, what, "each once")
        return numbers

    def __len__(self) -> int:
        return len(self.pieces)

    def number(self, piece: str) -> int:
        """Return the number of a piece."""
        return self._numbers[piece]

    @property
    def special_tokens(self) -> tuple[int, ...]:
        """Numbers of the marks that never stand for text, rising; [UNK] does, for a word that has no pieces."""
        return tuple(sorted(self._numbers[m] for m in MARKS if m != UNK and m in self._numbers))

    @property
    def text(self) -> str:
        """The vocabulary as a file holds it, a piece on each line."""
        return "".join(f"{piece}\n" for piece in self.pieces)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The library's tokenizer of this vocabulary."""
        if self.settings:
            found: Tokenizer = optional("tokenizers", "text").Tokenizer.from_str(self.settings)
            return found
        # not isupper(): some capitals, such as ℝ, have no small letter
        cased = any(piece != piece.lower() for piece in self.pieces if not piece.startswith("["))
        # No mark is made known to it, so that "[MASK]" in a text is three words and never the mark.
        return _as_bert(self._numbers, lowercase=not cased)

    def encode(self, texts: Sequence[str]) -> NDArray[Any]:
        """Return the tokens of texts, one after the other, without any mark, in the smallest type that holds them all."""
        encoded = self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        numbers = chain.from_iterable(text.ids for text in encoded)
        return np.fromiter(numbers, integer_type(len(self)), sum(map(len, encoded)))


def _as_bert(numbers: dict[str, int], **settings: bool | None) -> Tokenizer:
    """The library's tokenizer as BERT has it; settings are those of its `BertNormalizer`."""
    tokenizers = optional("tokenizers", "text")
    found: Tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece(numbers, unk_token=UNK))
    found.normalizer = tokenizers.normalizers.BertNormalizer(**settings)
    found.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    return found


def load(name: str) -> WordPiece:
    """Return a vocabulary by its name.

    `"file:PATH"` is a text file with a piece on each line, `"hub:REPO@REVISION"` or `"folder:PATH"` that of a published
    network; see `pdlib.text.hub`, also for a `HubError`.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "vocab.txt")
    >>> _ = path.write_text("[PAD]\\n[UNK]\\n[CLS]\\n[SEP]\\n[MASK]\\nyes\\n")
    >>> len(load(f"file:{path}"))
    6
    """
    kind, _, path = name.partition(":")
    if kind in ("hub", "folder"):
        folder, _ = fetched(name)
        with about(name):
            return of_folder(folder)
    ways = "'file:PATH' of a text file, 'hub:REPO@REVISION' or 'folder:PATH'"
    require(kind == "file", f"vocabulary {name!r}", ways)
    require(Path(path).is_file(), f"vocabulary file {path!r}", "a file, with a piece on each line")
    with about(f"vocabulary file {path!r}"):
        return WordPiece(_pieces(Path(path)))


def _pieces(path: Path) -> tuple[str, ...]:
    """The lines of a vocabulary; `splitlines` takes some pieces for ends of lines."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecError(f"expected UTF-8. {error.reason} at byte {error.start}.") from None
    return tuple(text.replace("\r\n", "\n").removesuffix("\n").split("\n"))


def of_folder(folder: Path) -> WordPiece:
    """Return the tokenizer of a published network: its `tokenizer.json`, or its `vocab.txt` with the settings beside.

    The marks are not looked for in a text, and nothing is put around one or cut off. A folder without them is a
    `MissingError`; no tokenizer of word pieces, or settings that contradict one another, a `SpecError` that names them.
    """
    described, vocabulary, beside = (
        folder / name for name in ("tokenizer.json", "vocab.txt", "tokenizer_config.json")
    )
    with about(beside.name):
        try:
            said = dict(json.loads(beside.read_bytes())) if beside.is_file() else {}
        except (ValueError, TypeError) as error:
            raise SpecError(f"expected a JSON object. {error}.") from None
        basic = said.get("do_basic_tokenize", True)
        require(basic is True, f"do_basic_tokenize = {basic!r}", "true, text that is cut at punctuation")
    known = {there: said[name] for name, there in BERT_SETTINGS.items() if name in said}
    if described.is_file():
        with about(described.name):
            return _of_description(described, known)
    if not vocabulary.is_file():
        raise MissingError(f"{folder} has no vocab.txt and no tokenizer.json. Expected one of them.")
    with about(vocabulary.name):
        found = WordPiece(_pieces(vocabulary))
    return WordPiece(found.pieces, _as_bert(found._numbers, **known).to_str()) if known else found


def _of_description(path: Path, known: dict[str, Any]) -> WordPiece:
    """Return the tokenizer of a `tokenizer.json`, of which settings beside it must say the same."""
    tokenizers = optional("tokenizers", "text")
    try:
        theirs = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library has no narrower kind
        raise SpecError(f"expected a tokenizer's description. {error}.") from None
    kind = type(theirs.model).__name__
    require(kind == "WordPiece", f"a tokenizer of type {kind!r}", "'WordPiece', as BERT has it")
    for name, value in known.items():
        own = getattr(theirs.normalizer, name, value)
        expected = f"{value!r}, as tokenizer_config.json says"
        require(own == value, f"{name} = {own!r}", expected, "Correct one of them.")
    numbers = theirs.get_vocab()
    pieces = tuple(sorted(numbers, key=numbers.__getitem__))
    in_order = sorted(numbers.values()) == list(range(len(pieces)))
    what = f"{len(pieces)} pieces with other numbers than 0 ... {len(pieces) - 1}"
    require(in_order, what, "each number once")
    ours = json.loads(theirs.to_str()) | dict.fromkeys(("truncation", "padding", "post_processor", "decoder"))
    ours["added_tokens"] = [token for token in ours["added_tokens"] if token["content"] not in MARKS]
    return WordPiece(pieces, tokenizers.Tokenizer.from_str(json.dumps(ours)).to_str())


def train(documents: Callable[[], Iterator[str]], size: int) -> WordPiece:
    """Return a vocabulary trained on documents: the same pieces and numbers each time.

    It holds the five marks, the most frequent characters (at the beginning of a word and, if they can be there, inside
    one), and then pieces joined from two others, the most frequent pair first.

    Parameters
    ----------
    documents
        Returns them, from the beginning; called twice.
    size
        Of the vocabulary; smaller if no pair is left that occurs twice. Too small for marks and characters is an error.

    Examples
    --------
    >>> len(train(lambda: iter(["low lower lowest", "new newer newest"] * 5), size=40))      # no pair is left
    33
    """
    tokenizer = _as_bert({})
    limit = min(max(FEWEST_CHARACTERS, size // 16), MOST_CHARACTERS)
    characters = _characters(documents(), tokenizer)[:limit]
    require(bool(characters), "documents without any text", "some to train a vocabulary on")
    # punctuation and Chinese characters are words of their own
    words = {c: tokenizer.normalizer.normalize_str("a" + c) for c in characters}
    cut = tokenizer.pre_tokenizer.pre_tokenize_str
    inside = [f"##{c}" for c, word in words.items() if len(cut(word)) == 1]
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
    tokenizer.train_from_iterator(documents(), trainer)
    numbers = tokenizer.get_vocab()
    return WordPiece(tuple(sorted(numbers, key=numbers.__getitem__)))


def _characters(documents: Iterator[str], tokenizer: Tokenizer) -> list[str]:
    """The characters of documents after normalization, the most frequent first, then by code point; no white space."""
    raw = Counter(chain.from_iterable(documents))
    counts = Counter[str]()
    for character, n in raw.items():  # each once: it is normalized in the same way wherever it stands
        for normalized in tokenizer.normalizer.normalize_str(character):
            counts[normalized] += n
    return sorted((c for c in counts if not c.isspace()), key=lambda c: (-counts[c], c))

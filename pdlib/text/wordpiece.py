"""WordPieces, the tokens that BERT reads: a published vocabulary, one in a file, or one trained on text.

Text is normalized (as BERT does it: control characters removed, accents stripped, lower case unless capital letters are
pieces, a space around each Chinese character) and cut at spaces and punctuation; then each word becomes the longest
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
# Settings beside a vocabulary: their names there and in `tokenizers`, whose values hold where nothing is said;
NORMALIZER = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
    "clean_text": "clean_text",
}
# those that only a description can set otherwise; and the marks.
ONLY: dict[str, Any] = {
    "tokenizer_class": ("BertTokenizer", "BertTokenizerFast"),
    "do_basic_tokenize": (True,),
    "never_split": ([],),
    "wordpieces_prefix": ("##",),
    "max_input_chars_per_word": (100,),
}
ROLES = {f"{mark[1:-1].lower()}_token": mark for mark in MARKS}
SAVED = "save_pretrained of its tokenizer in transformers writes a tokenizer.json that holds all of it."
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
        BERT's way, in lower case unless `cased`.

    Raises
    ------
    SpecError
        If a piece is empty or there twice, or a mark is missing.

    Examples
    --------
    >>> small = WordPiece(("[PAD]", "[UNK]", "[CLS]", "[MASK]", "play", "##ing", "."))
    >>> [tokens.tolist() for tokens in small.encode(["Playing.", "A play"])]
    [[4, 5, 6], [1, 4]]
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
            "They are written like this, in capitals, on a line each, or named in tokenizer_config.json beside.",
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
    def cased(self) -> bool:
        """A capital letter is a piece; a word or mark in capitals does not make a vocabulary a cased one."""
        # not isupper(): some capitals, such as ℝ, have no small letter
        return any(len(piece) == 1 and piece != piece.lower() for piece in self.pieces)

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
        # No mark is made known to it, so that "[MASK]" in a text is three words and never the mark.
        return _as_bert(self._numbers, lowercase=not self.cased)

    def encode(self, texts: Sequence[str]) -> list[NDArray[Any]]:
        """Return the tokens of each text, without any mark, in the smallest type that holds them all."""
        encoded = self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array(text.ids, integer_type(len(self))) for text in encoded]


def _as_bert(numbers: dict[str, int], unknown: str = UNK, **normal: Any) -> Tokenizer:
    """The library's tokenizer as BERT has it; settings are those of its `BertNormalizer`."""
    tokenizers = optional("tokenizers", "text")
    found: Tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece(numbers, unk_token=unknown))
    found.normalizer = tokenizers.normalizers.BertNormalizer(**normal)
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
    return tuple(text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n"))


def of_folder(folder: Path) -> WordPiece:
    """Return the tokenizer of a published network: its `tokenizer.json`, or its `vocab.txt`, with the settings beside.

    The marks become ours, whatever their names. They are not looked for in a text, and nothing is put around one or cut
    off. A folder without either file is a `MissingError`; a tokenizer of another kind, and a setting that would be lost or
    contradicts another, a `SpecError` that names it.
    """
    for name in ("tokenizer.json", "vocab.txt"):
        if (folder / name).is_file():
            with about(name):
                try:
                    return _published(folder / name)
                except (SpecError, ImportError):
                    raise
                except Exception as error:  # the library has no narrower kind
                    said = "expected a tokenizer's description, and settings beside as save_pretrained writes them"
                    raise SpecError(f"{said}. {error}.") from error
    raise MissingError(f"{folder} has no vocab.txt and no tokenizer.json. Expected one of them.")


def _published(path: Path) -> WordPiece:
    """What a description or a vocabulary says, together with the settings beside it."""

    def read(name: str) -> dict[str, Any]:
        beside = path.with_name(name)
        return dict(json.loads(beside.read_bytes())) if beside.is_file() else {}

    said = read("special_tokens_map.json") | read("tokenizer_config.json")
    said = {name: value for name, value in said.items() if value is not None}
    said |= {role: said[role]["content"] for role in ROLES if isinstance(said.get(role), dict)}
    normal = {there: said[name] for name, there in NORMALIZER.items() if name in said}
    names = {said.get(role, mark): mark for role, mark in ROLES.items()}
    tokenizers = optional("tokenizers", "text")
    if path.suffix == ".json":
        theirs = tokenizers.Tokenizer.from_file(str(path))
        kind = type(theirs.model).__name__
        require(kind == "WordPiece", f"a tokenizer of type {kind!r}", "'WordPiece', as BERT has it")
        for name, value in normal.items():
            own = getattr(theirs.normalizer, name, value)
            require(
                own == value,
                f"{name} = {own!r}",
                f"{value!r}, as the settings beside say",
                "Correct one of them.",
            )
        names[theirs.model.unk_token] = UNK
    else:
        for name, only in ONLY.items():
            got = said.get(name, only[0])
            require(got in only, f"{name} = {got!r} beside a vocabulary", repr(only[0]), SAVED)
        pieces, unknown = _pieces(path), said.get("unk_token", UNK)
        plain = WordPiece(tuple(names.get(piece, piece) for piece in pieces))
        decided = "lowercase" in normal or not plain.cased
        require(
            decided,
            "a vocabulary with capital letters",
            "do_lower_case, true or false, in tokenizer_config.json",
        )
        theirs = _as_bert({piece: i for i, piece in enumerate(pieces)}, unknown, **normal)
    numbers = theirs.get_vocab()
    inside = {token.content for token in theirs.get_added_tokens_decoder().values()} | set(names)
    added = {token["content"]: int(i) for i, token in said.get("added_tokens_decoder", {}).items()}
    added |= read("added_tokens.json")
    more = (said.get(name, ()) for name in ("additional_special_tokens", "extra_special_tokens"))
    for token in chain(added, filter(None, map(said.get, ROLES)), *more):
        there = token in inside and numbers.get(token, -1) == added.get(token, numbers.get(token))
        require(there, f"without the added token {token!r}", "it, with the number that is said beside", SAVED)
    if path.suffix == ".txt" and not normal and unknown == UNK:
        return plain
    ours = json.loads(theirs.to_str()) | dict.fromkeys(("truncation", "padding", "post_processor", "decoder"))
    ours["added_tokens"] = [token for token in ours["added_tokens"] if token["content"] not in names]
    ours["model"]["vocab"] |= {name: numbers[name] for name in names if name in numbers}
    kept = tokenizers.Tokenizer.from_str(json.dumps(ours))
    found = sorted(numbers, key=numbers.__getitem__)
    in_order = kept.get_vocab() == numbers == {piece: i for i, piece in enumerate(found)}
    require(
        in_order, f"{len(found)} pieces with other numbers than 0 ... {len(found) - 1}", "each number once"
    )
    return WordPiece(tuple(names.get(piece, piece) for piece in found), kept.to_str())


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

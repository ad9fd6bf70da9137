"""Word pieces: the longest that fit, as the reference has them, and a vocabulary trained the same each time."""

from __future__ import annotations

import json
import random
import string
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from pdlib.specs import SpecError
from pdlib.text import wordpiece
from pdlib.text.corpus import Corpus
from pdlib.text.wordpiece import MARKS, WordPiece, load

LETTERS = "abcd"
PIECES = (*MARKS, *LETTERS, *(f"##{c}" for c in "abc"), *("ab", "abc", "##bc", "##cab", "dd", *".[]"))
SMALL = WordPiece(PIECES)


def tokens(found: WordPiece, text: str) -> list[str]:
    return [found.pieces[t] for t in found.encode([text])[0]]


def train(documents: list[str], size: int) -> WordPiece:
    return wordpiece.train(lambda: iter(documents), size)


def greedy(word: str, pieces: tuple[str, ...]) -> list[str]:
    """The longest piece that fits, from left to right; a word that has none becomes [UNK]."""
    found: list[str] = []
    start = 0
    while start < len(word):
        mark = "##" if start else ""
        fits = [n for n in range(len(word), start, -1) if mark + word[start:n] in pieces]
        if not fits:
            return ["[UNK]"]
        found.append(mark + word[start : fits[0]])
        start = fits[0]
    return found


# From text to tokens


@given(st.lists(st.text(LETTERS, min_size=1, max_size=8), max_size=8))
def test_a_word_becomes_the_longest_pieces_that_fit(words: list[str]) -> None:
    expected = [PIECES.index(p) for word in words for p in greedy(word, PIECES)]
    found = SMALL.encode([" ".join(words), "", "\n".join(words)])
    assert [text.tolist() for text in found] == [expected, [], expected]


@pytest.mark.parametrize(("more", "dtype"), [(9, np.uint8), (300, np.uint16), (2**16, np.int32)])
def test_tokens_take_as_few_bytes_as_the_vocabulary_needs(more: int, dtype: Any) -> None:
    (found,) = WordPiece((*PIECES, *(f"w{i}" for i in range(more)))).encode([f"ab w{more - 1}"])
    assert found.dtype == dtype
    assert found.tolist() == [PIECES.index("ab"), len(PIECES) + more - 1]


def test_a_mark_in_a_text_is_words_like_any_other() -> None:
    assert tokens(SMALL, "[MASK] ab [CLS]") == ["[", "[UNK]", "]", "ab", "[", "[UNK]", "]"]


def test_capitals_are_kept_only_by_a_vocabulary_whose_characters_have_some() -> None:
    assert tokens(SMALL, "ABC") == ["abc"]
    assert tokens(WordPiece((*PIECES, "ℝ", "<S>", "ABC")), "ABC ℝ") == ["abc", "ℝ"]
    assert tokens(WordPiece((*PIECES, "A", "ABC")), "ABC abc") == ["ABC", "abc"]


def test_tokens_are_those_of_the_reference(tmp_path: Path) -> None:
    """Accents, control and half-width characters, Chinese, long words: as Hugging Face's BERT has them."""
    from transformers import BertTokenizer

    words = ["the", "##r", "cafe", "naive", "##s", "字", "ﬁ", "don", "'", "t", "x", "##x", "!", "¿", "ss"]
    path = tmp_path / "vocab.txt"
    path.write_text(
        "\n".join([*MARKS, *words, *string.ascii_lowercase.replace("x", "").replace("t", "")]) + "\n"
    )
    theirs = BertTokenizer(vocab=str(path), do_lower_case=True)
    texts = [
        "The Café, naïves; don't!",
        "the字字the ¿x\u200dx\x00\ufffdx\u00a0x\tx",
        "x" * 100 + " " + "x" * 101 + " Straße ﬁ",
        "",
        "A\u0301b\u0327 ΑΒΓ",
    ]
    ours = load(f"file:{path}")
    expected = theirs(texts, add_special_tokens=False)["input_ids"]
    assert [found.tolist() for found in ours.encode(texts)] == expected
    assert len({tuple(e) for e in expected}) == len(texts)
    assert ours.encode([texts[0].replace("don't", "dont")])[0].tolist() != expected[0]  # it can tell


# Names and files


def test_a_vocabulary_comes_back_from_its_file(tmp_path: Path) -> None:
    odd = WordPiece((*PIECES, "\u2028", "\x85", "é", "##ж"))  # characters that end a line for some
    for ending, beginning in (("\n", ""), ("\r\n", ""), ("\r", ""), ("\n", "\ufeff"), ("\r", "\ufeff")):
        path = tmp_path / "vocab.txt"
        path.write_bytes((beginning + odd.text.replace("\n", ending)).encode())
        assert load(f"file:{path}") == odd
    path.write_bytes(odd.text.encode()[:-1])  # without the end of the last line
    assert load(f"file:{path}").pieces == odd.pieces


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[PAD]\n[UNK]\n[CLS]\nab\n", r"4 pieces without \[MASK\]: expected the pieces \[PAD\], .*\[MASK\]"),
        ("ab\n", r"without \[PAD\], \[UNK\], \[CLS\], \[MASK\]"),
        ("[PAD]\n[UNK]\n\n[CLS]\n[MASK]\n", "piece 2, line 3 of the vocabulary, empty"),
        ("[PAD]\n[UNK]\n[CLS]\n[MASK]\nab\n[CLS]\n", r"piece '\[CLS\]' twice, in the lines 3 and 6"),
        ("", "piece 0, line 1 of the vocabulary, empty"),
    ],
)
def test_a_file_that_holds_no_vocabulary_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "vocab.txt"
    path.write_text(text)
    with pytest.raises(SpecError, match=message) as error:
        load(f"file:{path}")
    assert str(path) in str(error.value)


def test_what_is_no_vocabulary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"vocabulary file '.*absent': expected a file"):
        load(f"file:{tmp_path / 'absent'}")
    (tmp_path / "latin").write_bytes(SMALL.text.encode() + b"\xe9\n")
    with pytest.raises(SpecError, match=f"expected UTF-8. .* at byte {len(SMALL.text)}"):
        load(f"file:{tmp_path / 'latin'}")
    for name in ("bert-base-cased", "trained:300"):
        with pytest.raises(
            SpecError, match=f"vocabulary '{name}': expected 'file:PATH' of a text file, 'hub:"
        ):
            load(name)


# Published tokenizers: every setting of their files is honored, or refused by name

THEIRS = (*MARKS, "schön", "schon", "mochte", "möchte", "Schon", "##s", ".", "字", "字字")
SETTINGS = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}
TEXTS = ["Möchte schön.", "SCHON schons 字字", "[MASK] möchte"]


def published(folder: Path, tokenizer: Tokenizer | None = None, **settings: object) -> WordPiece:
    """Load a tokenizer of this description, or of a `vocab.txt`, with settings beside it."""
    folder.mkdir(exist_ok=True)
    if tokenizer is None:
        (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in THEIRS), "utf-8")
    else:
        tokenizer.save(str(folder / "tokenizer.json"))
    if settings:
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return load(f"folder:{folder}")


def library(normalizer: Any, **settings: Any) -> Tokenizer:
    """A tokenizer of the library, with marks, what is put around a text, and a limit of its length."""
    model = models.WordPiece({p: i for i, p in enumerate(THEIRS)}, unk_token="[UNK]", **settings)
    found = Tokenizer(model)
    found.normalizer, found.pre_tokenizer = normalizer, pre_tokenizers.BertPreTokenizer()
    found.add_special_tokens(list(MARKS))
    found.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    found.enable_truncation(3)
    return found


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("strip", [True, False, None])
@pytest.mark.parametrize("chinese", [True, False])
def test_the_settings_of_a_published_vocabulary_decide_its_tokens(
    tmp_path: Path, lower: bool, strip: bool | None, chinese: bool
) -> None:
    """Accents, case and Chinese characters, as vocab.txt, as tokenizer.json, and as transformers reads both."""
    from transformers import BertTokenizer

    settings: dict[str, Any] = {
        "do_lower_case": lower,
        "strip_accents": strip,
        "tokenize_chinese_chars": chinese,
    }
    normalizer = normalizers.BertNormalizer(
        lowercase=lower, strip_accents=strip, handle_chinese_chars=chinese
    )
    found = published(tmp_path / "a", **settings), published(tmp_path / "b", library(normalizer), **settings)
    theirs = BertTokenizer(vocab={p: i for i, p in enumerate(THEIRS)}, **settings)
    for text in TEXTS[:2]:
        expected = theirs.tokenize(text)
        assert [tokens(one, text) for one in found] == [expected] * 2
    assert found[0].pieces == found[1].pieces == THEIRS


def test_one_piece_in_capitals_makes_no_published_vocabulary_a_cased_one(tmp_path: Path) -> None:
    assert tokens(published(tmp_path), "SCHON Möchte") == ["schon", "mochte"]
    assert tokens(published(tmp_path, do_lower_case=True), "SCHON Möchte") == ["schon", "mochte"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("test_text_wordpiece.THEIRS", (*THEIRS, "S"))
        for lower, expected in ((True, "schon"), (False, "Schon")):
            assert tokens(published(tmp_path, do_lower_case=lower), "Schon") == [expected]
        said = "a vocabulary with capital letters: expected do_lower_case, true or false, in tokenizer_config"
        with pytest.raises(SpecError, match=rf"^folder:.*vocab\.txt: {said}"):
            published(tmp_path, model_max_length=8)


@pytest.mark.parametrize("seed", range(40))
def test_settings_at_random_give_the_tokens_of_the_library(tmp_path: Path, seed: int) -> None:
    """As a vocabulary, which transformers reads, or as a description with other settings, which tokenizers reads."""
    from transformers import BertTokenizer

    rng = random.Random(seed)
    marks = [mark if rng.random() < 0.5 else f"<{mark[1:-1].lower()}>" for mark in MARKS]
    roles = [f"{mark[1:-1].lower()}_token" for mark in MARKS]
    letters = "abäAÄ字x"
    words = {"".join(rng.choices(letters, k=rng.randint(1, 4))) for _ in range(60)}
    prefix, longest = rng.choice([("##", 100), ("@@", 100), ("", 5), ("##", 3)])
    inside = {prefix + word for word in rng.sample(sorted(words), 25)}
    pieces = [*marks, *sorted({*words, *inside, *letters, ".", "x", "\u0308"}, key=lambda _: rng.random())]
    numbers = {piece: i for i, piece in enumerate(pieces)}
    settings: dict[str, Any] = {name: rng.choice([True, False]) for name in SETTINGS}
    settings["strip_accents"] = rng.choice([True, False, None])
    named = {
        role: mark if rng.random() < 0.5 else {"content": mark}
        for role, mark in zip(roles, marks, strict=True)
    }
    texts = [
        "".join(rng.choices([*letters, "\u0308", "\u200b", "\t", " ", ".", "ß"], k=30)) for _ in range(20)
    ]
    if seed % 2:
        normalizer = normalizers.BertNormalizer(
            **{SETTINGS[name]: value for name, value in settings.items()}, clean_text=rng.random() < 0.5
        )
        theirs = Tokenizer(
            models.WordPiece(
                numbers,
                unk_token=marks[1],
                continuing_subword_prefix=prefix,
                max_input_chars_per_word=longest,
            )
        )
        theirs.normalizer = rng.choice([normalizer, normalizers.Sequence([normalizers.NFD(), normalizer])])
        theirs.pre_tokenizer = rng.choice([pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Whitespace()])
        theirs.save(str(tmp_path / "tokenizer.json"))
    else:
        plain = dict(zip(roles, marks, strict=True))
        theirs = BertTokenizer(vocab=numbers, **settings, **plain).backend_tokenizer
        (tmp_path / "vocab.txt").write_text("".join(f"{piece}\n" for piece in pieces), "utf-8")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(named))
    ours = load(f"folder:{tmp_path}")
    expected = [theirs.encode(text, add_special_tokens=False).ids for text in texts]
    assert [found.tolist() for found in ours.encode(texts)] == expected
    assert [ours.number(mark) for mark in MARKS] == list(range(5))
    assert len({t for e in expected for t in e}) > 3


def test_added_tokens_keep_their_numbers_or_are_refused(tmp_path: Path) -> None:
    with_name = library(normalizers.BertNormalizer())
    with_name.add_special_tokens(["<late mark>"])
    with_name.add_tokens(["<name>"])
    settings = {
        "mask_token": "<late mark>",
        "added_tokens_decoder": {str(len(THEIRS) + 1): {"content": "<name>"}},
        "do_lower_case": True,
    }
    found = published(
        tmp_path / "description",
        Tokenizer.from_str(with_name.to_str().replace("[MASK]", "[OLD]")),
        **settings,
    )
    assert tokens(found, "schon<name>.") == ["schon", "<name>", "."]
    assert found.number("[MASK]") == len(THEIRS)
    lost = r"without the added token '<name>': expected it, .* save_pretrained of its tokenizer"
    for beside in (settings | {"mask_token": "[MASK]"}, {"additional_special_tokens": ["<name>"]}):
        with pytest.raises(SpecError, match=lost):
            published(tmp_path / "vocabulary", **beside)
    (tmp_path / "description" / "added_tokens.json").write_text('{"<name>": 3}')
    with pytest.raises(SpecError, match=r"tokenizer\.json: without the added token '<name>'"):
        load(f"folder:{tmp_path / 'description'}")


def test_prefix_and_longest_word_of_a_description_are_kept_and_marks_are_words(tmp_path: Path) -> None:
    found = published(tmp_path / "a", library(normalizers.Lowercase(), max_input_chars_per_word=5))
    assert tokens(found, "schön möchte . schön .") == ["schön", "[UNK]", ".", "schön", "."]
    assert "[MASK]" not in tokens(found, "[MASK] schön")
    vocabulary = {p.replace("##", "@@"): i for i, p in enumerate(THEIRS)}
    other = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", continuing_subword_prefix="@@"))
    other.pre_tokenizer = pre_tokenizers.Whitespace()
    assert tokens(published(tmp_path / "b", other), "schons") == ["schon", "@@s"]
    across = published(tmp_path / "c", library(normalizers.Prepend("schon ")))  # sees a text, not words
    assert tokens(across, "möchte . möchte") == ["schon", "möchte", ".", "möchte"]


def test_what_cannot_be_honored_is_refused_by_name(tmp_path: Path) -> None:
    lower = normalizers.BertNormalizer(lowercase=True)
    with pytest.raises(
        SpecError, match=r"folder:.*lowercase = True: expected False, as the settings beside say"
    ):
        published(tmp_path / "a", library(lower), do_lower_case=False)
    refused: list[tuple[dict[str, Any], str]] = [
        ({"do_basic_tokenize": False}, "do_basic_tokenize = False beside a vocabulary: expected True"),
        ({"never_split": ["don't"]}, r"never_split = \[\"don't\"\] beside .*: expected \[\]"),
        ({"wordpieces_prefix": "@@"}, "wordpieces_prefix = '@@' beside a vocabulary: expected '##'"),
        ({"max_input_chars_per_word": 5}, "max_input_chars_per_word = 5 beside"),
        ({"tokenizer_class": "BertJapaneseTokenizer"}, "tokenizer_class = 'BertJapaneseTokenizer' beside"),
        ({"do_lower_case": "yes"}, "expected a tokenizer's description, and settings .* 'str' object"),
        ({"mask_token": "<mask>"}, "without the added token '<mask>': expected it, with the number"),
        ({"unk_token": "[PAD]"}, r"piece '\[UNK\]' twice"),
    ]
    for settings, said in refused:
        with pytest.raises(SpecError, match=f"^folder:.*{said}"):
            published(tmp_path / "b", **settings)
    with pytest.raises(SpecError, match=r"without the added token '<unk>'"):
        published(tmp_path / "c", library(lower), unk_token="<unk>")


def test_a_corpus_keeps_the_settings_of_its_tokenizer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PDLIB_CACHE", str(tmp_path / "cache"))
    Path("t.txt").write_text("\n\n".join(["Möchte schön."] * 40), "utf-8")
    folders = [Path("keeps"), Path("strips")]
    for folder, strip in zip(folders, (False, True), strict=True):
        published(folder, do_lower_case=True, strip_accents=strip)
    keeps, strips = (Corpus.prepare("text:t.txt", f"folder:{folder}", 4, 10) for folder in folders)
    assert keeps.digest != strips.digest
    for corpus, expected in ((keeps, ["möchte", "schön", "."]), (strips, ["mochte", "schon", "."])):
        assert [corpus.wordpiece().pieces[t] for t in corpus.sequences()[0, 1:]] == expected
        assert tokens(corpus.wordpiece(), "Möchte schön.") == expected  # read from the cache


# Training


def text_of(seed: int, n: int) -> list[str]:
    """Documents of made-up words, frequent and rare ones."""
    rng = random.Random(seed)
    words = ["".join(rng.choice("abcdefgh") for _ in range(rng.randint(1, 7))) for _ in range(150)]
    weights = [1 / (i + 1) for i in range(len(words))]
    return [" ".join(rng.choices(words, weights, k=40)) + "." for _ in range(n)]


def plain_training(documents: list[str], size: int, characters: list[str]) -> list[str]:
    """Join the most frequent pair of pieces, of several the one numbered first, until there are enough."""
    pieces = [*MARKS, *characters, *(f"##{c}" for c in characters if c.isalpha())]
    numbers = {p: i for i, p in enumerate(pieces)}
    words = Counter(w for d in documents for w in d.replace(".", " . ").split())
    split = {w: [w[0], *(f"##{c}" for c in w[1:])] for w in words}
    while len(pieces) < size:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, n in words.items():
            for pair in zip(split[word], split[word][1:], strict=False):
                pairs[pair] += n
        best = min(pairs, key=lambda p: (-pairs[p], numbers[p[0]], numbers[p[1]]))
        if pairs[best] < 2:
            break
        joined = best[0] + best[1].removeprefix("##")
        if joined not in numbers:
            numbers[joined] = len(pieces)
            pieces.append(joined)
        for word, parts in split.items():
            new: list[str] = []
            for part in parts:
                if new and (new[-1], part) == best:
                    new[-1] = joined
                else:
                    new.append(part)
            split[word] = new
    return pieces


def test_a_trained_vocabulary_is_that_of_the_plain_loop() -> None:
    documents = text_of(0, 60)
    counts = Counter(c for d in documents for c in d if c != " ")
    characters = sorted(counts, key=lambda c: (-counts[c], c))
    found = train(documents, 120)
    assert list(found.pieces) == plain_training(documents, 120, characters)
    assert list(train(text_of(1, 60), 120).pieces) != list(found.pieces)


def test_a_vocabulary_is_trained_to_the_same_numbers_each_time() -> None:
    documents = text_of(2, 100)
    first = train(documents, 200)
    assert all(train(documents, 200) == first for _ in range(4))
    assert train(["\n".join(documents)], 200) == first


def test_rare_characters_are_left_out_and_their_words_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wordpiece, "FEWEST_CHARACTERS", 4)
    found = train(["aa ab ba bb cc cd dc"] * 5 + ["ж é 字"], 32)
    assert {"a", "b", "c", "d"} <= set(found.pieces)
    assert not {"ж", "e", "字"} & set(found.pieces)
    assert tokens(found, "ж ab") == ["[UNK]", *tokens(found, "ab")]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), max_size=5))
def test_characters_are_counted_as_they_are_after_normalization(texts: list[str]) -> None:
    normalize = SMALL.tokenizer.normalizer.normalize_str
    counts = Counter(c for text in texts for c in normalize(text) if not c.isspace())
    assert wordpiece._characters(iter(texts), SMALL.tokenizer) == sorted(
        counts, key=lambda c: (-counts[c], c)
    )


def test_only_characters_that_can_go_on_with_a_word_do() -> None:
    found = train(["ab字,ab'5ж"] * 3, 40)
    assert {"##a", "##b", "##5", "##ж"} <= set(found.pieces)
    assert not {"##字", "##,", "##'"} & set(found.pieces)


def test_what_cannot_be_trained_on_is_refused() -> None:
    with pytest.raises(SpecError, match="documents without any text"):
        train(["", " \n"], 100)
    with pytest.raises(
        SpecError, match="size = 9: expected more than 9: 5 marks, 2 characters, 2 of them in words"
    ):
        train(["ab ba"], 9)

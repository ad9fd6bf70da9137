"""Documents from files, data sets and the sample: two routes to one text, and what is wrong said where it is."""

from __future__ import annotations

import json
import lzma
import tracemalloc
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdlib.specs import SpecError
from pdlib.text import loading
from pdlib.text.loading import Part, describe, documents
from pdlib.text.sample import english

SAMPLE = list(english(40))


def write(path: Path, data: str | bytes) -> str:
    """Write a file, compressed if its name says so, and return its path as text."""
    data = data.encode() if isinstance(data, str) else data
    path.write_bytes(lzma.compress(data) if path.suffix == ".xz" else data)
    return str(path)


def text_uri(path: Path, data: str | bytes) -> str:
    return f"text:{write(path, data)}"


def json_uri(path: Path, data: str | bytes) -> str:
    return f"jsonl:{write(path, data)}#text"


def as_text(texts: list[str]) -> str:
    return "\n\n".join(texts) + "\n"


def as_json_lines(texts: list[str], field: str = "text") -> str:
    return "".join(json.dumps({"id": i, field: text}) + "\n" for i, text in enumerate(texts))


# The same text by every way


def test_every_way_gives_the_same_documents(tmp_path: Path) -> None:
    for suffix in ("", ".xz"):
        plain = write(tmp_path / f"sample.txt{suffix}", as_text(SAMPLE))
        lines = write(tmp_path / f"sample.jsonl{suffix}", as_json_lines(SAMPLE))
        assert list(documents(f"text:{plain}")) == SAMPLE
        assert list(documents(f"jsonl:{lines}#text")) == SAMPLE
    assert list(documents("sample:english:40")) == SAMPLE
    assert sum(1 for _ in documents("sample:english")) == 400


PARAGRAPH = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff"), max_size=12)


@given(st.lists(st.lists(PARAGRAPH, max_size=4), max_size=5))
def test_a_plain_file_gives_what_a_plain_loop_over_its_text_gives(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[list[str]]
) -> None:
    text = "\n\n".join("\n".join(lines) for lines in drawn)
    expected: list[list[str]] = [[]]
    for line in text.split("\n"):
        if line.strip():
            expected[-1].append(line.strip())
        else:
            expected.append([])
    whole = ["\n".join(lines) for lines in expected if lines]
    uri = text_uri(tmp_path_factory.mktemp("drawn") / "a.txt", text)
    assert (list(documents(uri)) if whole else []) == whole


@pytest.mark.parametrize(
    "data",
    [
        "one\ntwo\n\nthree\n",
        "one\ntwo\n\nthree",
        "\n\n one \ntwo\t\n \n\t\n\n  three\n\n\n",
        "one\r\ntwo\r\n\r\nthree\r\n",
        "\ufeffone\ntwo\n\nthree\n",
        "one\rtwo\r\rthree\r",
        "one\ntwo\n\u00a0\nthree\n",
    ],
)
def test_ends_of_lines_blank_lines_and_a_byte_order_mark_make_no_difference(
    tmp_path: Path, data: str
) -> None:
    assert list(documents(text_uri(tmp_path / "a.txt", data))) == ["one\ntwo", "three"]


def test_only_newlines_end_a_paragraph(tmp_path: Path) -> None:
    text = "one\u2028two\x0cthree\x85four"
    assert list(documents(text_uri(tmp_path / "a.txt", text))) == [text]
    assert list(documents(json_uri(tmp_path / "a.jsonl", as_json_lines([text])))) == [text]


def test_a_record_without_text_is_passed_over_and_blank_lines_within_one_go(tmp_path: Path) -> None:
    data = as_json_lines(["", "  \n ", "one\n\n\n two \r\nthree\n"]) + "\n" + as_json_lines(["four"])
    assert list(documents(json_uri(tmp_path / "a.jsonl", data))) == ["one\ntwo\nthree", "four"]


def test_a_users_text_is_taken_as_it_is(tmp_path: Path) -> None:
    text = 'Yes.\n&amp; <b>so</b>  on, ""x""'
    assert list(documents(text_uri(tmp_path / "a.txt", text))) == [text]


def test_a_path_may_hold_any_sign_of_a_uri(tmp_path: Path) -> None:
    path = write(tmp_path / "a#b:c d?.txt", "one")
    assert list(documents(f"text:{path}")) == ["one"]
    path = write(tmp_path / "a#b:c.jsonl", as_json_lines(["one"], "my text"))
    assert list(documents(f"jsonl:{path}#my text")) == ["one"]


@pytest.mark.parametrize("kind", ["text", "jsonl", "xz"])
def test_memory_does_not_grow_with_the_text(tmp_path: Path, kind: str) -> None:
    def peak(n: int) -> int:
        texts = (SAMPLE[i % len(SAMPLE)] for i in range(n))
        if kind == "jsonl":
            path = tmp_path / f"{n}.jsonl"
            with path.open("w") as file:
                file.writelines(json.dumps({"text": text}) + "\n" for text in texts)
            uri = f"jsonl:{path}#text"
        else:
            path = tmp_path / (f"{n}.txt.xz" if kind == "xz" else f"{n}.txt")
            with lzma.open(path, "wt", preset=0) if kind == "xz" else path.open("w") as file:
                file.writelines(text + "\n\n" for text in texts)
            uri = f"text:{path}"
        tracemalloc.start()
        assert sum(1 for _ in documents(uri)) == n
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(100)  # what is made once
    assert peak(8000) < peak(1000) + 100_000


# What is wrong with a text


def said(uri: str) -> str:
    with pytest.raises(SpecError) as caught:
        list(documents(uri))
    return str(caught.value)


@pytest.mark.parametrize("data", ["", "\n \n\n", "\ufeff"])
def test_an_empty_text_is_refused(tmp_path: Path, data: str) -> None:
    for name in ("a.txt", "a.txt.xz"):
        assert said(text_uri(tmp_path / name, data)).endswith("empty: expected at least one document.")
    if data != "\ufeff":
        assert "empty: expected at least one document" in said(json_uri(tmp_path / "a.jsonl", data))


@pytest.mark.parametrize("suffix", ["", ".xz"])
def test_a_byte_that_is_not_utf8_is_named_with_its_place(tmp_path: Path, suffix: str) -> None:
    good = "Straße\n\nzwei\n".encode()
    path = write(tmp_path / f"a.txt{suffix}", good + b"Stra\xdfe\n")
    texts = documents(f"text:{path}")
    assert next(texts) == "Straße"
    message = said(f"text:{path}")
    assert f"Byte 0xdf in line 4, at byte {len(good) + 4} of the file: invalid continuation byte" in message
    assert "expected UTF-8." in message
    assert "iconv -f WINDOWS-1252 -t UTF-8" in message


def test_a_binary_file_and_another_encoding_are_refused(tmp_path: Path) -> None:
    message = said(text_uri(tmp_path / "a.txt", b"one" + bytes(3)))
    assert "a NUL byte in line 1, at byte 3 of the file: expected text in UTF-8. It is binary, or" in message
    for encoding in ("utf-16", "utf-16-le", "utf-32"):
        assert "a NUL byte in line 1" in said(text_uri(tmp_path / "b.txt", "eins\nzwei".encode(encoding)))
    at = 2000
    message = said(json_uri(tmp_path / "c.jsonl", as_json_lines(SAMPLE).encode()[:at] + bytes(1)))
    assert f"at byte {at} of the file" in message


@pytest.mark.parametrize("beginning", loading.OTHER_FILES)
def test_a_file_of_another_kind_is_named(tmp_path: Path, beginning: bytes) -> None:
    for rest in (b"\0\0", b"text\n"):
        message = said(text_uri(tmp_path / "a.txt", beginning + rest))
        assert loading.OTHER_FILES[beginning] in message
        assert message.endswith("expected text in UTF-8, plain or in a file .xz.")


def test_what_compressors_and_tables_really_write_is_known(tmp_path: Path) -> None:
    import bz2
    import gzip
    import zipfile

    import pandas as pd

    zipfile.ZipFile(tmp_path / "zip", "w").writestr("a.txt", "one")
    pd.DataFrame({"text": SAMPLE}).to_parquet(tmp_path / "Parquet")
    data = as_text(SAMPLE).encode()
    for name, compress in (("xz", lzma.compress), ("gzip", gzip.compress), ("bzip2", bz2.compress)):
        (tmp_path / name).write_bytes(compress(data))
    for path in sorted(tmp_path.iterdir()):
        assert path.name in said(f"text:{path}").partition(": ")[2].partition("expected")[0]


def test_a_truncated_xz_file_is_never_taken_for_a_whole_one(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.xz"
    whole = lzma.compress(as_text(SAMPLE).encode())
    for size in (1, 11, 12, 100, len(whole) // 2, len(whole) - 12, len(whole) - 1):
        path.write_bytes(whole[:size])
        message = said(f"text:{path}")
        assert "expected whole data compressed by xz." in message
        assert "Download or compress it again." in message
    path.write_bytes(b"plain text")
    assert "expected whole data compressed by xz" in said(f"text:{path}")


def test_a_flipped_bit_of_an_xz_file_never_gives_another_text(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.xz"
    whole = lzma.compress(as_text(SAMPLE[:3]).encode())
    refused = 0
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        try:
            assert list(documents(f"text:{path}")) == SAMPLE[:3]
        except SpecError:
            refused += 1
    assert refused > len(whole) // 8


def test_a_line_or_document_without_end_is_refused_instead_of_filling_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "LONGEST", 1000)
    uri = text_uri(tmp_path / "a.txt", "a" * 999 + "\n" + "b" * 1001)
    assert "line 2 has more than 1000 bytes: expected a paragraph or an object on each line" in said(uri)
    message = said(text_uri(tmp_path / "b.txt", ("a" * 99 + "\n") * 12))
    assert "a document of more than 1000 characters: expected a blank line between documents" in message


def test_broken_json_is_named_with_its_line(tmp_path: Path) -> None:
    def message(line: str) -> str:
        return said(json_uri(tmp_path / "a.jsonl", as_json_lines(["one"]) + line))

    assert "line 2 is not JSON: expected an object. Expecting" in message('{"text": ')
    assert "line 2 is not JSON" in message("[" * 100_000)
    assert "line 2 is a list: expected an object with fields." in message('["text"]')
    assert "line 2: field 'text' is of the type NoneType: expected a text." in message('{"text": null}')


def test_a_missing_field_is_an_error_that_lists_those_there_are(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", json.dumps({"id": 1, "content": "x", "title": "y"}))
    message = said(f"jsonl:{path}#contents")
    assert message.endswith(
        "line 1 has no field 'contents': expected it among id, content, title. Did you mean content?"
    )
    path = write(tmp_path / "b.jsonl", json.dumps({f"f{i}": i for i in range(1000)}))
    assert len(said(f"jsonl:{path}#text").replace(path, "")) < 600
    assert "no fields at all" in said(json_uri(tmp_path / "c.jsonl", "{}"))


# What is wrong with a URI


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("txt:a", "text 'txt:a': expected one of text:PATH, .* Did you mean text:a?"),
        ("TEXT:a", "Did you mean text:a?"),
        (
            "package:a",
            "expected one of text:PATH, jsonl:PATH#FIELD, hf:NAME.*CONFIG.*#FIELD, pkg:NAME, sample:english",
        ),
        ("text", "text 'text': expected text:PATH"),
        ("", "expected one of text:PATH"),
        ("a text itself " * 1000, "a text i.*: expected one of text:PATH"),
        (None, "text None: expected one of text:PATH"),
        ("text:", "text 'text:': expected text:PATH"),
        (
            "jsonl:a.jsonl",
            "without a field: expected jsonl:PATH#FIELD. Say which .* such as jsonl:a.jsonl#text.",
        ),
        ("jsonl:a.jsonl#", "without a field"),
        ("jsonl:#text", "without a field"),
        (
            "hf:a/b",
            "without a field: expected hf:NAME.*#FIELD. Say which field holds the text, such as hf:a/b#text.",
        ),
        ("hf::b#text", "expected hf:NAME"),
        ("sample:englsh", "expected sample:english.* Did you mean sample:english?"),
        ("sample:english:", "where N is a whole number of at least 1"),
        ("sample:english:0", "where N is a whole number of at least 1"),
        ("sample:english:-3", "where N is a whole number of at least 1"),
        ("sample:english:ten", "where N is a whole number of at least 1"),
        ("sample:english:10000000", "expected a whole number from 1 to 1000000"),
        (
            "pkg:wikipedia",
            "package 'wikipedia': expected one of wikipedia-leads, .* Did you mean wikipedia-leads?",
        ),
        ("pkg:bert-base-uncased", "expected a text. It is the vocabulary"),
    ],
)
def test_a_uri_that_names_no_text_is_refused_at_once(uri: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message.replace("?", r"\?")):
        documents(uri)


def test_a_file_that_is_not_there_is_named_with_what_comes_close(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "novel.txt", "one")
    with pytest.raises(
        SpecError, match=r"no such file: expected the path of a file\. Did you mean novel\.txt\?"
    ):
        documents(f"text:{tmp_path / 'novell.txt'}")
    with pytest.raises(SpecError, match=r"no such file: expected the path of a file\.$"):
        documents("text:no/such/folder/a.txt")
    with pytest.raises(SpecError, match=r"a folder: expected the path of a file"):
        documents(f"text:{tmp_path}")
    with pytest.raises(SpecError, match=r"Write the home folder out"):
        documents("text:~/novel.txt")
    with pytest.raises(SpecError, match=r"no such file"):
        documents(f"jsonl:{tmp_path / 'a.jsonl'}#text")
    with pytest.raises(SpecError, match=r"no such file: expected the path of a file") as caught:
        documents(f"text:{'word ' * 100_000}")
    assert len(str(caught.value)) < 300
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError, match=r"Write text:novel\.txt for a file"):
        documents("novel.txt")


# Data sets: the library reads a folder of Parquet files as it reads those of the hub


@pytest.fixture
def data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The sample in two files of Parquet, as a data set on the hub has it, and a configuration of its own."""
    import pandas as pd

    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    folder = tmp_path / "wikipedia"
    for name, texts in (("20231101.en", SAMPLE), ("20231101.de", SAMPLE[5:35])):
        (folder / name).mkdir(parents=True)
        for i, part in enumerate((texts[:25], texts[25:])):
            table = pd.DataFrame(
                {"id": range(len(part)), "text": [text.replace("\n", "\n\n") for text in part]}
            )
            table.to_parquet(folder / name / f"train-0000{i}-of-00002.parquet")
    configurations = "".join(
        f"- config_name: {name}\n  data_files:\n  - split: train\n    path: {name}/train-*\n"
        for name in ("20231101.en", "20231101.de")
    )
    (folder / "README.md").write_text(f"---\nconfigs:\n{configurations}---\n")
    return str(folder)


def test_a_data_set_is_streamed_from_the_training_split_of_its_configuration(data_set: str) -> None:
    assert list(documents(f"hf:{data_set}:20231101.en#text")) == SAMPLE
    assert list(documents(f"hf:{data_set}:20231101.de#text")) == SAMPLE[5:35]


def test_what_a_data_set_lacks_is_said(data_set: str) -> None:
    message = said(f"hf:{data_set}:20231101.en#body")
    assert "record 1 has no field 'body': expected it among id, text." in message
    assert "expected a data set that can be read. ValueError: " in said(f"hf:{data_set}:20231101.fr#text")
    assert "expected a data set that can be read. " in said(f"hf:{data_set}/absent#text")


# What a text is


def test_every_kind_is_described_without_being_read() -> None:
    uris = (
        "text:no/such/novel.txt.xz",
        "jsonl:no/such/a.jsonl#text",
        "hf:a/b:c#text",
        "pkg:wikipedia-leads",
        "pkg:gutenberg-books",
        "sample:english:60",
    )
    parts = [describe(uri) for uri in uris]
    assert [part.uri for part in parts] == list(uris)
    names = [
        "novel.txt.xz",
        "a.jsonl",
        "a/b (c)",
        "wikipedia-leads",
        "gutenberg-books",
        "60 sample documents",
    ]
    assert [part.name for part in parts] == names
    assert {uri.partition(":")[0] for uri in uris} == set(loading.KINDS)
    assert all(part.attribution for part in parts)
    assert [part.uri for part in parts if not part.licence] == list(uris[:2])
    assert parts[2] == Part(
        "hf:a/b:c#text", "a/b (c)", "as the data set's card states", "the Hugging Face data set a/b (c)"
    )


def test_what_cannot_be_read_cannot_be_described() -> None:
    for uri in ("txt:a", "text:", "jsonl:a.jsonl", "hf:a/b", "pkg:wikipedia", "sample:english:0"):
        for function in (describe, documents):
            with pytest.raises(SpecError):
                function(uri)


def test_the_sample_comes_one_document_at_a_time() -> None:
    for one, other, _ in zip_longest(documents("sample:english:1000000"), english(3), range(3)):
        assert one == other
        if other == SAMPLE[2]:
            break

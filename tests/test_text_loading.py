"""Documents from files, data sets and the sample: two routes to one text, and what is wrong said where it is."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import lzma
import re
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdlib.specs import SpecError
from pdlib.text import loading
from pdlib.text.loading import describe, documents

WHOLE = list(documents("sample:english"))
SAMPLE = WHOLE[:40]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("datasets")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))


def text_uri(name: str, data: str | bytes) -> str:
    """Write a file, compressed if its name says so, and return its URI."""
    data = data.encode() if isinstance(data, str) else data
    Path(name).write_bytes(lzma.compress(data) if name.endswith(".xz") else data)
    return f"text:{name}"


def as_text(texts: list[str]) -> str:
    return "\n\n".join(texts) + "\n"


def json_uri(name: str, *records: dict[str, Any]) -> str:
    text_uri(name, "".join(json.dumps(record) + "\n" for record in records))
    return f"jsonl:{name}#text"


# The same text by every way


@pytest.mark.parametrize("suffix", ["", ".xz"])
def test_every_way_gives_the_same_documents(suffix: str) -> None:
    assert list(documents(text_uri(f"a.txt{suffix}", as_text(SAMPLE)))) == SAMPLE
    assert list(documents(json_uri(f"a.jsonl{suffix}", *({"id": 1, "text": t} for t in SAMPLE)))) == SAMPLE
    assert list(documents("sample:english:40")) == SAMPLE


def test_the_sample_is_what_it_always_was() -> None:
    digest = hashlib.sha256("\n\n".join(WHOLE).encode()).hexdigest()
    assert (len(WHOLE), digest[:16]) == (400, "ddc47366614f6ef6")


PARAGRAPH = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff"), max_size=12)


@given(st.lists(st.lists(PARAGRAPH, max_size=4), max_size=5))
def test_a_plain_file_gives_what_a_plain_loop_over_its_text_gives(drawn: list[list[str]]) -> None:
    text = "\n\n".join("\n".join(lines) for lines in drawn)
    expected: list[list[str]] = [[]]
    for line in text.split("\n"):
        if line.strip():
            expected[-1].append(line.strip())
        else:
            expected.append([])
    whole = ["\n".join(lines) for lines in expected if lines]
    uri = text_uri("a.txt", text)
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
def test_ends_of_lines_blank_lines_and_a_byte_order_mark_make_no_difference(data: str) -> None:
    assert list(documents(text_uri("a.txt", data))) == ["one\ntwo", "three"]


@pytest.mark.parametrize("text", ["one\u2028two\x0cthree\x85four", 'Yes.\n&amp; <b>so</b>  on, ""x""'])
def test_a_users_text_is_taken_as_it_is(text: str) -> None:
    assert list(documents(text_uri("a#b:c d?.txt", text))) == [text]
    assert list(documents(json_uri("a#b:c.jsonl", {"text": text}))) == [text]


def test_a_record_without_text_is_passed_over_and_blank_lines_within_one_go() -> None:
    texts = ["", "  \n ", "one\n\n\n two \r\nthree\n", "four"]
    found = list(documents(json_uri("a.jsonl", *({"text": text} for text in texts))))
    assert found == ["one\ntwo\nthree", "four"]


@pytest.mark.parametrize("suffix", ["", ".xz"])
def test_memory_does_not_grow_with_the_text(suffix: str) -> None:
    def peak(n: int) -> int:
        name = f"{n}.txt{suffix}"
        with lzma.open(name, "wt", preset=0) if suffix else Path(name).open("w") as file:
            file.writelines(SAMPLE[i % len(SAMPLE)] + "\n\n" for i in range(n))
        tracemalloc.start()
        assert sum(1 for _ in documents(f"text:{name}")) == n
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(100)  # what is made once
    assert peak(4000) < peak(1000) + 100_000


# What is wrong with a text


def said(uri: str) -> str:
    with pytest.raises(SpecError) as caught:
        list(documents(uri))
    return str(caught.value)


@pytest.mark.parametrize("data", ["", "\n \n\n", "\ufeff"])
@pytest.mark.parametrize("name", ["a.txt", "a.txt.xz"])
def test_an_empty_text_is_refused(name: str, data: str) -> None:
    assert said(text_uri(name, data)).endswith("empty: expected at least one document.")


@pytest.mark.parametrize("suffix", ["", ".xz"])
def test_a_byte_that_is_not_utf8_is_named_with_its_place(suffix: str) -> None:
    good = "Straße\n\nzwei\n".encode()
    uri = text_uri(f"a.txt{suffix}", good + b"Stra\xdfe\n")
    assert next(documents(uri)) == "Straße"
    message = said(uri)
    assert f"byte 0xdf in line 4, at byte {len(good) + 4} of the text. Expected text in UTF-8" in message
    assert "iconv -f WINDOWS-1252 -t UTF-8" in message


def test_a_binary_file_another_encoding_and_another_compression_are_refused() -> None:
    assert "byte 0x00 in line 1, at byte 3 of the text" in said(text_uri("a.txt", b"one" + bytes(3)))
    for encoding, known in (("utf-16", "UTF-16"), ("utf-16-le", "no text"), ("utf-32", "UTF-32")):
        message = said(text_uri("b.txt", "eins\nzwei".encode(encoding)))
        assert known in message
        assert "in line 1, at byte" in message
    text = as_text(SAMPLE).encode()
    pd.DataFrame({"text": SAMPLE}).to_parquet("table.parquet")
    with zipfile.ZipFile("archive.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", text)
    for name, data, known in (
        ("a.gz", gzip.compress(text), "compressed by gzip: .* Unpack"),
        ("a.bz2", bz2.compress(text), "compressed by bzip2: "),
        ("a.zst", b"\x28\xb5\x2f\xfd\x24\x03\x19\x00\x00one", "compressed by zstd: "),
        ("a.txt", lzma.compress(text), r"no text in UTF-8: .* in a file \.xz"),
        ("archive.zip", Path("archive.zip").read_bytes(), "a zip archive: "),
        (
            "table.parquet",
            Path("table.parquet").read_bytes(),
            "a table in Parquet, which hf:FOLDER#FIELD reads",
        ),
    ):
        Path(name).write_bytes(data)
        assert re.search(f"{name} is {known}", said(f"text:{name}"))
        assert "Expected text in UTF-8, plain or in a file .xz" in said(f"text:{name}")
    Path("folder").mkdir()
    Path("table.parquet").rename("folder/table.parquet")
    assert list(documents("hf:folder#text")) == SAMPLE  # the remedy works


@pytest.mark.parametrize("beginning", ["PAR1 of a novel", "BZh", "%PDF is a word", "\ufeff\ufeffone"])
def test_a_text_that_begins_as_another_format_does_is_a_text(beginning: str) -> None:
    assert list(documents(text_uri("a.txt", beginning))) == [beginning.removeprefix("\ufeff")]


def test_a_damaged_xz_file_is_never_taken_for_a_whole_one() -> None:
    whole = lzma.compress(as_text(SAMPLE[:3]).encode())
    for size in (1, 11, 12, 100, len(whole) // 2, len(whole) - 12, len(whole) - 1):
        Path("a.txt.xz").write_bytes(whole[:size])
        message = said("text:a.txt.xz")
        assert "expected whole data compressed by xz." in message
        assert "Download or compress it again." in message
    refused = 0
    for place in range(0, len(whole), 7):
        Path("a.txt.xz").write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        try:
            assert list(documents("text:a.txt.xz")) == SAMPLE[:3]
        except SpecError:
            refused += 1
    assert refused > len(whole) // 8


# What is wrong with a URI


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("txt:a", "text 'txt:a': expected one of text:PATH, .* Did you mean text:a?"),
        ("package:a", "expected one of text:PATH, jsonl:PATH#FIELD, hf:NAME.*CONFIG.*#FIELD, pkg:NAME, sample:english"),
        ("text", "text 'text': expected text:PATH"),
        ("a text itself " * 1000, "text 'a text i.{,200}: expected one of text:PATH"),
        (f"text:{'word ' * 10_000}", "no such file: expected the path of a file"),
        (None, "text None: expected one of text:PATH"),
        ("text:", "text 'text:': expected text:PATH"),
        ("text:absent", "text 'text:absent': no such file"),
        ("jsonl:absent#text", "no such file"),
        ("jsonl:a.jsonl", "without a field: expected jsonl:PATH#FIELD. Say which .* such as jsonl:a.jsonl#text."),
        ("hf:a/b", "without a field: expected hf:NAME.*#FIELD. Say which .*, such as hf:a/b#text."),
        ("hf:#text", "without a field"),
        ("sample:englsh", "expected sample:english"),
        *((f"sample:english:{n}", "where N is a whole number from 1 to 400") for n in ("0", "-3", "ten", "401")),
        ("pkg:wikipedia", "package 'wikipedia': expected one of wikipedia-leads, .* Did you mean wikipedia-leads?"),
        ("novel", "Write text:novel for a file"),
    ],
)  # fmt: skip
def test_a_uri_that_names_no_text_is_refused_at_once(uri: Any, message: str) -> None:
    Path("novel").write_text("one")
    with pytest.raises(SpecError, match=message.replace("?", r"\?")) as caught:
        documents(uri)
    assert len(str(caught.value)) < 600


# Data sets: the library reads a folder of Parquet files as it reads those of the hub


@pytest.fixture
def data_set() -> str:
    """The sample in two files of Parquet, as a data set on the hub has it, and a configuration of its own."""
    configurations = ""
    for name, texts in (("20231101.en", SAMPLE), ("20231101.de", SAMPLE[5:35])):
        Path("wikipedia", name).mkdir(parents=True)
        for i, part in enumerate((texts[:25], texts[25:])):
            table = pd.DataFrame({"id": range(len(part)), "text": [t.replace("\n", "\n\n") for t in part]})
            table.to_parquet(f"wikipedia/{name}/train-0000{i}-of-00002.parquet")
        configurations += (
            f"- config_name: {name}\n  data_files:\n  - split: train\n    path: {name}/train-*\n"
        )
    Path("wikipedia/README.md").write_text(f"---\nconfigs:\n{configurations}---\n")
    return "wikipedia"


def test_a_data_set_is_streamed_from_the_training_split_of_its_configuration(data_set: str) -> None:
    assert list(documents(f"hf:{data_set}:20231101.en#text")) == SAMPLE
    assert list(documents(f"hf:{data_set}:20231101.de#text")) == SAMPLE[5:35]
    message = said(f"hf:{data_set}:20231101.en#texts")
    assert "record 1 has no field 'texts': expected it among id, text. Did you mean text?" in message
    assert "expected a data set that can be read. ValueError: " in said(f"hf:{data_set}:20231101.fr#text")
    assert "expected a data set that can be read. " in said(f"hf:{data_set}/absent#text")


def test_json_lines_that_are_none_or_lack_a_text_are_refused() -> None:
    assert "field 'text' is of the type NoneType: expected a text." in said(
        json_uri("a.jsonl", {"text": None})
    )
    for line in ('{"text": ', "text", '{"text": "x \\ud800"}'):
        text_uri("b.jsonl", f"{line}\n")
        assert "expected a data set that can be read" in said("jsonl:b.jsonl#text"), line


def test_every_kind_is_described_without_being_read() -> None:
    names = {
        "text:no/such/novel.txt.xz": "novel.txt.xz",
        "jsonl:no/such/a.jsonl#text": "a.jsonl",
        "hf:a/b:c#text": "a/b (c)",
        "pkg:wikipedia-leads": "wikipedia-leads",
        "sample:english:60": "60 sample documents",
    }
    found = {uri: describe(uri) for uri in names}
    assert {uri: part["name"] for uri, part in found.items()} == names
    assert {uri.partition(":")[0] for uri in names} == set(loading.KINDS)
    assert all(part["attribution"] for part in found.values())
    assert [uri for uri, part in found.items() if not part["licence"]] == list(names)[:2]
    assert found["hf:a/b:c#text"]["attribution"] == "the Hugging Face data set a/b (c)"
    with pytest.raises(SpecError, match="package 'wikipedia'"):
        describe("pkg:wikipedia")

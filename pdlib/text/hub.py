"""Files of networks that others published: on the Hugging Face hub, or in a folder.

=====================  ==============================================================================================
URI                    what
=====================  ==============================================================================================
``hub:REPO@REVISION``  a revision of a repository: a branch, a tag or a commit. Needs the package ``huggingface_hub``
``folder:PATH``        what ``save_pretrained`` wrote
=====================  ==============================================================================================

Nothing of the hub stays on the disk: files lie in a folder in `$PDLIB_CACHE`, or the system's cache folder, while they are
read, one revision at a time whatever runs on the machine, and each is checked against the hash that the hub lists for it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import platformdirs
from filelock import FileLock

from pdlib.specs import SpecError, require

AT_ONCE = 2**22  # bytes of a file that is hashed


class HubError(SpecError):
    """Published files that cannot be had, or are not what they were: says which, why, and what to do."""


def parts(uri: str) -> tuple[str, str, str]:
    """Return the kind of a URI, the repository or folder, and the revision.

    >>> parts("hub:someone/bert@step-1000"), parts("folder:out/step-1000")
    (('hub', 'someone/bert', 'step-1000'), ('folder', 'out/step-1000', ''))
    """
    kind, _, rest = uri.partition(":") if isinstance(uri, str) else ("", "", "")
    require(kind in ("hub", "folder") and bool(rest), f"URI {uri!r}", "'hub:REPO@REVISION' or 'folder:PATH'")
    if kind == "folder":
        return kind, rest, ""
    repository, _, revision = rest.partition("@")
    require(
        bool(repository) and bool(revision),
        f"URI {uri!r} without a revision",
        "'hub:REPO@REVISION', a branch, a tag or a commit",
        f"The usual branch is 'hub:{repository}@main'; a commit never moves.",
    )
    return kind, repository, revision


class Files:
    """The files of a URI while `opened` is held.

    Attributes
    ----------
    folder : Path
        Where those lie that have been fetched.
    names : frozenset of str
        Of all files, fetched or not.
    commit : str
        The revision's, 40 hexadecimal digits; nothing for a folder.
    """

    commit = ""

    def __init__(self, uri: str, folder: Path, names: Iterable[str]) -> None:
        self.uri, self.folder, self.names = uri, folder, frozenset(names)

    def fetch(self, name: str) -> Path:
        """Return the path of a file, brought into the folder if it is not there.

        Raises
        ------
        HubError
            If there is no such file, or it does not come whole.
        """
        if name not in self.names:
            raise HubError(
                f"{self.uri}: it has no file {name!r}, only {', '.join(sorted(self.names)) or 'nothing'}. Expected what "
                "save_pretrained writes. Choose another revision or folder."
            )
        return self.folder / name

    def first(self, names: Iterable[str]) -> str:
        """Return the first of these files that is there.

        Raises
        ------
        HubError
            If none is.
        """
        wanted = list(names)
        for name in wanted:
            if name in self.names:
                return name
        raise HubError(
            f"{self.uri}: it has none of {', '.join(wanted)}. Expected one of them. Choose another revision or folder."
        )

    def digest(self, names: Iterable[str]) -> str:
        """Return a digest of files, 32 hexadecimal digits: of their names, their sizes and what they hold."""
        found = hashlib.sha256()
        for name in sorted(names):
            path = self.fetch(name)
            found.update(f"{name} {path.stat().st_size} {_hash(path)}\n".encode())
        return found.hexdigest()[:32]


class _HubFiles(Files):
    def __init__(self, uri: str, folder: Path) -> None:
        _, self._repository, revision = parts(uri)
        self._api = _client()
        with _asking(uri):
            info = self._api.repo_info(self._repository, revision=revision, files_metadata=True)
        self.commit = str(info.sha)
        self._listed = {sibling.rfilename: sibling for sibling in info.siblings or ()}
        super().__init__(uri, folder, self._listed)

    def fetch(self, name: str) -> Path:
        path = super().fetch(name)
        if not path.exists():
            with _asking(self.uri, name):
                self._api.hf_hub_download(self._repository, name, revision=self.commit, local_dir=self.folder)
            self._check(name, path)
        return path

    def _check(self, name: str, path: Path) -> None:
        """Compare a file with what the hub lists: the SHA-256 of a large one, git's SHA-1 of any other."""
        listed = self._listed[name]
        if listed.lfs:
            expected, found = listed.lfs.sha256, _hash(path)
        else:
            expected, found = listed.blob_id, _hash(path, f"blob {path.stat().st_size}\0")
        if found != expected:
            raise HubError(
                f"{self.uri}: the file {name!r} came with the hash {found}. Expected {expected}, which the hub lists. "
                "It was damaged on its way, and is deleted. Run again; it is fetched anew."
            )


@contextmanager
def opened(uri: str) -> Iterator[Files]:
    """Hold the files of a URI; those of the hub are deleted at the end, also after an error.

    Another process that wants files of the hub meanwhile waits, so that one revision at a time takes up the disk.

    Raises
    ------
    HubError
        If there is no such folder, repository or revision, or the hub cannot be reached.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "config.json").write_text("{}")
    >>> with opened(f"folder:{folder}") as files:
    ...     files.names, files.fetch("config.json").read_text()
    (frozenset({'config.json'}), '{}')
    """
    kind, name, _ = parts(uri)
    if kind == "folder":
        folder = Path(name)
        if not folder.is_dir():
            raise HubError(
                f"{uri}: there is no such folder. Expected what save_pretrained wrote. Check the path."
            )
        yield Files(uri, folder, (path.name for path in folder.iterdir() if path.is_file()))
        return
    place = cache()
    with _writing(place):
        place.mkdir(parents=True, exist_ok=True)
    with FileLock(place / "one-at-a-time.lock"):
        folder = place / "files"
        shutil.rmtree(folder, ignore_errors=True)  # of one that was killed
        try:
            with _writing(folder):
                folder.mkdir()
            yield _HubFiles(uri, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def cache() -> Path:
    """Return the folder of files on their way, in `$PDLIB_CACHE` or the system's cache folder."""
    return Path(os.environ.get("PDLIB_CACHE") or platformdirs.user_cache_path("pdlib")) / "hub"


def _client() -> Any:
    try:
        from huggingface_hub import HfApi
    except ModuleNotFoundError as error:
        raise HubError(
            "hub: without the package `huggingface_hub`. Expected it to be installed. Run `pip install 'pdlib[text]'`."
        ) from error
    return HfApi()


@contextmanager
def _asking(uri: str, name: str = "") -> Iterator[None]:
    """Say what the hub's answer means, or that there was none."""
    from huggingface_hub import errors

    _, repository, revision = parts(uri)
    what = f"the file {name!r}" if name else "the list of its files"
    try:
        yield
    except errors.RevisionNotFoundError as error:
        raise HubError(
            f"{uri}: the repository {repository!r} has no revision {revision!r}. Expected a branch, a tag or a commit "
            "of it; its page on the hub lists them."
        ) from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        raise HubError(
            f"{uri}: the hub shows no repository {repository!r}. Expected a public one, or one that you may read. Check "
            "its name; for one that is private or gated, log in with `hf auth login` first."
        ) from error
    except errors.RemoteEntryNotFoundError as error:
        raise HubError(
            f"{uri}: the hub lists {what}, and does not have it. Expected it. Choose another revision."
        ) from error
    except errors.OfflineModeIsEnabled as error:
        raise HubError(
            f"{uri}: {what} is not asked for, since HF_HUB_OFFLINE forbids the network. Expected a way to the hub. Unset "
            "it, or fetch the files on a machine that may and use folder:PATH."
        ) from error
    except errors.HfHubHTTPError as error:
        raise HubError(
            f"{uri}: the hub refused {what} ({error}). Expected it. Try again later; nothing half-fetched is left."
        ) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EACCES, errno.EROFS):
            raise _cannot_write(cache(), error) from error
        raise _unreachable(uri, what, error) from error
    except Exception as error:  # of whichever library carries the client's requests
        raise _unreachable(uri, what, error) from error


def _unreachable(uri: str, what: str, error: Exception) -> HubError:
    return HubError(
        f"{uri}: the hub did not give {what} ({type(error).__name__}: {error}). Expected a network that reaches it. Check "
        "the connection and run again, or fetch the files elsewhere and use folder:PATH; nothing half-fetched is left."
    )


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _cannot_write(path, error) from error


def _cannot_write(path: Path, error: OSError) -> HubError:
    return HubError(
        f"cannot write {path}: {error.strerror or error}. Expected room for one checkpoint. Free some space, or set "
        "PDLIB_CACHE to another folder, and run again; nothing half-fetched is left."
    )


def _hash(path: Path, beginning: str = "") -> str:
    """The SHA-256 of a file, or git's SHA-1 of it after its beginning."""
    found = hashlib.sha1(beginning.encode(), usedforsecurity=False) if beginning else hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(AT_ONCE):
            found.update(block)
    return found.hexdigest()

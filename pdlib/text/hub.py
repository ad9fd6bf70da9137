"""Files of networks that others published: on the Hugging Face hub, or in a folder.

=====================  ==============================================================================================
URI                    what
=====================  ==============================================================================================
``hub:REPO@REVISION``  a revision of a repository: a branch, a tag or a commit. Needs the package ``huggingface_hub``
``folder:PATH``        what ``save_pretrained`` wrote
=====================  ==============================================================================================

What comes from the hub stays in `$PDLIB_CACHE`, or the system's cache folder, in the layout of the hub's own client: `hf
cache ls --cache-dir FOLDER` shows it. It is compared with the hashes that the hub lists.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

from pdlib.files import StoreError, cache
from pdlib.install import optional
from pdlib.specs import SpecError, require

SETTINGS = (
    *("config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt"),
    *("added_tokens.json", "special_tokens_map.json"),
)
# Files of weights: of these groups the first whose first file is there. An index comes with several.
WEIGHTS = (
    ("model.safetensors",),
    ("model.safetensors.index.json", "model-*.safetensors"),
    ("pytorch_model.bin",),
    ("pytorch_model.bin.index.json", "pytorch_model-*.bin"),
)


class HubError(SpecError):
    """Published files that cannot be had, or are not what they were: says which, why, and what to do."""


@contextmanager
def about(what: str) -> Iterator[None]:
    """Say in an error what was read, unless it says so itself."""
    try:
        yield
    except (SpecError, StoreError) as error:
        raise error if str(error).startswith(what) else type(error)(f"{what}: {error}") from error


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
        bool(repository and revision),
        f"URI {uri!r} without a revision",
        "'hub:REPO@REVISION', a branch, a tag or a commit",
        f"The usual branch is 'hub:{repository}@main'; a commit never moves.",
    )
    return kind, repository, revision


def fetched(uri: str, weights: bool = False) -> tuple[Path, str]:
    """Return the folder with the files of a URI, not to be written to, and what they are now.

    That is the commit of a revision, 40 hexadecimal digits; of a folder 32, a digest of its settings, vocabulary and
    weights. The weights of a repository are fetched only where they are asked for.

    Raises
    ------
    HubError
        If there is no such folder, repository or revision, the hub cannot be reached, or what came is damaged.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "config.json").write_text("{}")
    >>> found, content = fetched(f"folder:{folder}")
    >>> found == folder, content
    (True, '4bd38f4cbc964e0c64efd712fc2d6e34')
    """
    kind, name, revision = parts(uri)
    if kind == "folder":
        folder = Path(name)
        if not folder.is_dir():
            expected = "Expected what save_pretrained wrote. Check the path."
            raise HubError(f"{uri}: there is no such folder. {expected}")
        return folder, _digest(folder)
    api = optional("huggingface_hub", "text").HfApi()
    where = {"repo_id": name, "cache_dir": cache("hub")}
    try:
        info = api.repo_info(name, revision=revision)
        wanted = _read_of([file.rfilename for file in info.siblings], weights)
        folder = Path(api.snapshot_download(revision=info.sha, allow_patterns=wanted, **where))
        wrong = api.verify_repo_checksums(revision=info.sha, **where).mismatches
    except Exception as error:  # the client has many, of its own and of what carries its requests
        raise HubError(
            f"{uri}: the hub did not give it. {type(error).__name__}: {' '.join(str(error).split())} Expected a repository "
            "and a revision that its page lists, a network that reaches it, and room on the disk. For one that is private "
            "or gated, log in with `hf auth login`; for a full disk, set PDLIB_CACHE to another folder; or fetch the files "
            "elsewhere and use folder:PATH."
        ) from error
    for file in wrong:
        (folder / file["path"]).resolve().unlink()
        raise HubError(
            f"{uri}: the file {file['path']!r} came with the hash {file['actual']}. Expected {file['expected']}, which the "
            "hub lists. It was damaged on its way, and is deleted. Run again; it is fetched anew."
        )
    return folder, str(info.sha)


def _read_of(there: Collection[str], weights: bool) -> list[str]:
    """Which files are read of those that are there."""
    group = next((group for group in WEIGHTS if group[0] in there), ()) if weights else ()
    return sorted(name for name in there if any(fnmatch(name, known) for known in (*SETTINGS, *group)))


def _digest(folder: Path) -> str:
    """A digest of the files of a folder that are read: of their names, their sizes and what they hold."""
    found = hashlib.sha256()
    for name in _read_of([path.name for path in folder.iterdir() if path.is_file()], weights=True):
        with (folder / name).open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        found.update(f"{name} {(folder / name).stat().st_size} {content}\n".encode())
    return found.hexdigest()[:32]

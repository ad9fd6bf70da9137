"""Files that are whole or not there: written to a temporary file and moved into place, with a hash that readers check.

A damaged file is an error that names it and the way out; a full disk loses nothing that was there before. No models here,
no specs: bytes, JSON, tensors, and tables in Parquet, which keeps their types.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import platformdirs
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save

try:
    import fcntl
except ImportError:  # Windows: what a killed writer leaves stays there
    fcntl = None  # type: ignore[assignment]

TEMPORARY = ".writing-"  # begins the name of a file that is being written

if TYPE_CHECKING:  # it takes a second to load, and the command line checks its words before
    import pandas as pd


class StoreError(RuntimeError):
    """A file of the store that cannot be read or written: names it, what was expected, what to do."""


class DamagedError(StoreError):
    """A stored file whose bytes are not the ones that were written."""


class MissingError(StoreError):
    """A checkpoint or result that was asked for and is not there; never skipped."""


def cannot_write(path: Path, size: int, error: OSError) -> StoreError:
    """Return the error of a disk that is full, or a folder that cannot be written."""
    return StoreError(
        f"cannot write {path} ({size} bytes): {error.strerror or error}. Nothing that was stored is lost. Free some "
        "space or set PDLIB_STORE to another folder (PDLIB_CACHE for texts), then run again: finished work is kept."
    )


def user_folder(variable: str) -> Path:
    """Return the folder that an environment variable names, as a whole path, or the system's cache folder."""
    named = os.environ.get(variable)
    try:
        folder = Path(named).expanduser() if named else platformdirs.user_cache_path("pdlib")
    except RuntimeError as error:
        raise StoreError(
            f"{variable} = {named!r}, and no home: {error}. Expected a folder. Set {variable} to one."
        ) from None
    return folder.absolute()


def cache(name: str) -> Path:
    """Return a folder of what can be fetched or made again, in `$PDLIB_CACHE` or the system's cache folder."""
    return user_folder("PDLIB_CACHE") / name


def megabytes(folder: Path) -> float:
    """Return how much all files of a folder take; nothing if there is none.

    >>> megabytes(Path("no such folder"))
    0.0
    """
    return sum((path.stat().st_size for path in folder.rglob("*") if path.is_file()), 0) / 1e6


def published_use() -> str:
    """Return what `$PDLIB_PUBLISHED` says of published results: `use`, `labels` or `ignore`; see `pdlib.store.Store`."""
    use = os.environ.get("PDLIB_PUBLISHED") or "use"
    if use not in ("use", "labels", "ignore"):
        raise StoreError(f"PDLIB_PUBLISHED = {use!r}: expected 'use', 'labels' or 'ignore'.")
    return use


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say what to do if a folder, in which this is written, cannot be."""
    try:
        yield
    except OSError as error:
        raise cannot_write(path, 0, error) from error


@contextmanager
def using(what: str, path: Path | str) -> Iterator[None]:
    """Say what to do if the system refuses to read or lock a file."""
    try:
        yield
    except Timeout:
        raise
    except (OSError, NotImplementedError) as error:
        raise StoreError(
            f"cannot {what} {path}: {getattr(error, 'strerror', None) or error}. Expected a folder that is yours, on a disk "
            "with file locks. Set PDLIB_STORE to such a folder (PDLIB_CACHE for texts), or change this one's permissions."
        ) from error


class _Lock(FileLock):
    def acquire(self, *args: Any, **named: Any) -> Any:
        with using("lock", self.lock_file):
            return super().acquire(*args, **named)


def lock(path: Path) -> FileLock:
    """Return a lock, a file whose folder is made: one process holds it at a time, and a dead one's is free."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    return _Lock(path)


def there(path: Path) -> bool:
    """Whether a file exists, or a StoreError if its folder may not be looked into."""
    with using("read", path):
        return path.exists()


def read_bytes(path: Path) -> bytes:
    """Return what a file holds, or raise a StoreError that says what to do."""
    with using("read", path):
        return path.read_bytes()


def damaged(path: Path, what: str) -> DamagedError:
    """Return the error of a file that is not the one written, in a user's store."""
    remedy = path.parent if path.stem in ("table", "result") else path
    return DamagedError(
        f"{path}: {what}. Expected the bytes that were written. Delete {remedy} and run again; it will be made anew."
    )


def sha256(data: bytes) -> str:
    """Return the hash of bytes, in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file or nothing: to a temporary file, to the disk, into place.

    Raises
    ------
    StoreError
        If the disk is full or the folder cannot be written; the file that was there stays.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
        with _temporary(path.parent) as (handle, temporary):
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(0o644)
            temporary.replace(path)
    except OSError as error:
        raise cannot_write(path, len(data), error) from error


@contextmanager
def _temporary(folder: Path) -> Iterator[tuple[int, Path]]:
    """Give a file to write to, locked while its writer lives; what is not moved away is removed."""
    while True:
        handle, name = tempfile.mkstemp(dir=folder, prefix=TEMPORARY)
        if fcntl is None:
            break
        with suppress(OSError):  # a disk without locks, where nothing is swept
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            break
        os.close(handle)  # swept before it was locked
    kept = None if fcntl is None else os.dup(handle)  # the lock outlives the closing of the file
    try:
        yield handle, Path(name)
    finally:
        Path(name).unlink(missing_ok=True)
        if kept is not None:
            os.close(kept)


def sweep(folder: Path) -> None:
    """Remove the temporary files of killed writers, whose locks the system has freed; never those of living ones."""
    for left in folder.glob(f"{TEMPORARY}*") if fcntl is not None else ():
        with suppress(OSError), left.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left.unlink()


# ------------------------------------------------------------------------ JSON


def json_bytes(value: Any) -> bytes:
    """Return a value as JSON, the same for equal values."""
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object with its own hash."""
    write_bytes(path, json_bytes({**value, "sha256": sha256(json_bytes(value))}))


def read_json(path: Path, *, hashed: bool = True) -> dict[str, Any]:
    """Return what `write_json` wrote, its hash checked and taken off; or, not `hashed`, what has none.

    Raises
    ------
    DamagedError
        If the file is not whole, or altered.
    """
    try:
        value = json.loads(read_bytes(path))
    except ValueError as error:
        raise damaged(path, f"not JSON ({error})") from error
    if not isinstance(value, dict):
        raise damaged(path, "not a JSON object")
    stated = value.pop("sha256", None)
    if stated != sha256(json_bytes(value)) and (hashed or stated is not None):
        raise damaged(path, "its content does not match its hash")
    return value


# --------------------------------------------------------------------- tensors


def write_tensors(path: Path, tensors: Mapping[str, NDArray[Any]], meta: Mapping[str, str]) -> None:
    """Write arrays and what they belong to, with the hash of both."""
    whole = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    write_bytes(path, tensor_bytes(whole, {**meta, "sha256": content_hash(whole, meta)}))


def tensor_bytes(tensors: dict[str, NDArray[Any]], meta: dict[str, str]) -> bytes:
    """Return arrays as a safetensors file, the same for equal content: the library leaves the order of `meta` to chance."""
    data = save(tensors, metadata=meta)
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header["__metadata__"] = dict(sorted(meta.items()))
    ordered = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(size)
    return b"".join((data[:8], ordered, memoryview(data)[8 + size :]))


def read_tensors(path: Path, expected: Mapping[str, str]) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Return the arrays of `write_tensors`, and what they belong to.

    Raises
    ------
    DamagedError
        If the file is not whole, was altered, or belongs to anything else than `expected`.
    """
    data = read_bytes(path)
    try:
        tensors = load_tensors(data)
        meta = metadata(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise damaged(path, f"not a whole safetensors file ({error})") from error
    stored = meta.pop("sha256", None)
    if stored != content_hash(tensors, meta):
        raise damaged(path, "its content does not match its hash")
    for name, value in expected.items():
        if meta.get(name) != value:
            raise damaged(path, f"its {name} is {meta.get(name)!r}, not {value!r}")
    return tensors, meta


def content_hash(tensors: Mapping[str, NDArray[Any]], meta: Mapping[str, str]) -> str:
    """Return the hash of arrays and of what they belong to."""
    digest = hashlib.sha256(json.dumps(dict(meta), sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tensors[name].shape}".encode())
        digest.update(np.ascontiguousarray(tensors[name]).data)
    return digest.hexdigest()


def metadata(data: bytes) -> dict[str, str]:
    """Return what a safetensors file says that it belongs to."""
    size = int.from_bytes(data[:8], "little")
    meta: dict[str, str] = json.loads(data[8 : 8 + size]).get("__metadata__", {})
    return meta


# ---------------------------------------------------------------------- tables


def table_bytes(table: pd.DataFrame, **options: Any) -> bytes:
    """Return a table as Parquet: every type comes back as it was, numbers to the last bit.

    `options` are pandas', such as the compression.

    Raises
    ------
    StoreError
        If a column holds values of several types.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"word": ["null", "007", ""], "share": [0.1, float("inf"), float("nan")]})
    >>> parse_table(table_bytes(table)).equals(table)
    True
    """
    try:
        return bytes(table.to_parquet(index=False, **options))
    except (TypeError, ValueError, NotImplementedError) as error:  # Arrow's own are of these kinds
        kinds = {
            name: sorted({type(value).__name__ for value in column.dropna()})
            for name, column in table.items()
            if column.dtype == object
        }
        mixed = "; ".join(f"{name!r} holds {', '.join(of)}" for name, of in kinds.items() if len(of) > 1)
        raise StoreError(
            f"a table that cannot be stored: {f'column {mixed}' if mixed else error}. Expected columns with names of their "
            "own, each of one type: numbers, text, or true and false."
        ) from error


def parse_table(data: bytes) -> pd.DataFrame:
    """Return the table of `table_bytes`."""
    import pandas as pd

    return pd.read_parquet(io.BytesIO(data))

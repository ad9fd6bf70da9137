"""Fingerprint -> result: tables, checkpoints, label bits, in two layers.

The published layer ships with the project and is read-only: tables and label bits. Under it lies the
user's local store, which also holds checkpoints and unfinished runs. A result exists when its
`result.json` does; that file is written last, names the SHA-256 of every other file, and is what readers
check against. Everything is written to a temporary file and moved into place, so nothing half-written is
ever read, and a full disk loses nothing that was there before. A result's table is in Parquet, which keeps its
types; results of before have CSV instead, and are read as they are.

The store knows specs and bytes, no models.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import platformdirs
from filelock import FileLock
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as tensor_bytes

from pdlib.specs import Run, Spec, SpecError, Training

Source = Literal["published", "local", "trained now"]
_FINGERPRINT = re.compile(r"[0-9a-f]{32}")
ROWS = "table/rows"  # in a file of progress, beside the parameters: the table so far


class StoreError(RuntimeError):
    """A file of the store that cannot be read or written: names it, what was expected, what to do."""


class DamagedError(StoreError):
    """A stored file whose bytes are not the ones that were written."""


class MissingError(StoreError):
    """A checkpoint or result that was asked for and is not there; never skipped."""


@dataclass(frozen=True)
class Record:
    """A result: its spec, its tidy table, where it came from and at what cost."""

    spec: Run
    table: pd.DataFrame
    provenance: dict[str, Any]
    source: Source

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the spec."""
        return self.spec.fingerprint


def published_folder() -> Path:
    """Return the folder of published results: in the checkout, or inside the installed package."""
    package = Path(__file__).resolve().parent
    checkout = package.parent / "book" / "results"
    return checkout if checkout.is_dir() else package / "published"


class Store:
    """Results by fingerprint.

    Parameters
    ----------
    root
        The user's folder; by default `$PDLIB_STORE`, else the system's cache folder.
    published
        Folder of the published layer. By default the one of the project, as far as `$PDLIB_PUBLISHED` says:
        `use` (tables and labels), `labels` (labels, and what cannot be computed from them without their teacher, count
        as data; all else is computed), `ignore`. `None` leaves the layer out.

    Examples
    --------
    >>> import tempfile
    >>> store = Store(tempfile.mkdtemp(), published=None)
    >>> store.find("0" * 32) is None
    True
    """

    def __init__(
        self, root: str | Path | None = None, published: str | Path | Literal["default"] | None = "default"
    ):
        self.root = Path(root or os.environ.get("PDLIB_STORE") or platformdirs.user_cache_path("pdlib"))
        self.published_tables = True
        if published == "default":
            use = os.environ.get("PDLIB_PUBLISHED", "use")
            if use not in ("use", "labels", "ignore"):
                raise StoreError(f"PDLIB_PUBLISHED = {use!r}: expected 'use', 'labels' or 'ignore'.")
            published = None if use == "ignore" else published_folder()
            self.published_tables = use == "use"
        self.published = Path(published) if published is not None else None

    # ------------------------------------------------------------------ results

    def find(self, fingerprint: str, *, computed_here: bool = False, as_data: bool = False) -> Record | None:
        """Return the stored result, the published one first, or None.

        With `computed_here` only the local one counts; with `as_data` a published one also where tables are computed.

        Raises
        ------
        DamagedError
            If a file is truncated or altered, or belongs to another fingerprint.
        """
        tables = self.published if (self.published_tables or as_data) and not computed_here else None
        for layer, source in ((tables, "published"), (self.root, "local")):
            if (
                layer is not None
                and (folder := layer / "runs" / fingerprint).joinpath("result.json").exists()
            ):
                return _read_record(folder, fingerprint, source)  # type: ignore[arg-type]
        return None

    def save(self, spec: Run, table: pd.DataFrame, provenance: dict[str, Any]) -> None:
        """Write a finished result; from then on `find` returns it.

        Raises
        ------
        StoreError
            If a column of the table holds values of several types, or nothing can be written.
        """
        folder = self.run_folder(spec)
        data = table_bytes(table)
        write_bytes(folder / "table.parquet", data)
        files = {"table.parquet": _sha256(data)}
        for path in sorted(folder.glob("checkpoints/*.safetensors")):
            files[f"checkpoints/{path.name}"] = _sha256(path.read_bytes())
        record = {
            "fingerprint": spec.fingerprint,
            "spec": spec.canonical(),
            "files": files,
            "provenance": provenance,
        }
        write_bytes(folder / "result.json", _json_bytes(record | {"sha256": _sha256(_json_bytes(record))}))
        for unused in ("progress.safetensors", "table.csv"):
            (folder / unused).unlink(missing_ok=True)

    def run_folder(self, spec: Run) -> Path:
        """Return the local folder of a spec's result."""
        return self.root / "runs" / spec.fingerprint

    @contextmanager
    def lock(self, spec: Run) -> Iterator[None]:
        """Hold the right to compute `spec`; the system frees it when its holder dies."""
        with _lock(self.root / "locks" / f"{spec.fingerprint}.lock"):
            yield

    def records(self, layer: Literal["published", "local"]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the fingerprint and the content of `result.json` of every result of a layer."""
        folder = self.published if layer == "published" else self.root
        if folder is not None:
            for path in sorted(folder.glob("runs/*/result.json")):
                yield path.parent.name, _read_result(path)

    def outdated(self, layer: Literal["published", "local"]) -> list[str]:
        """Return the fingerprints of results that another version of the code wrote."""
        return [
            fingerprint for fingerprint, record in self.records(layer) if not _is_current(fingerprint, record)
        ]

    # -------------------------------------------------------------------- pages

    def remember_runs(self, page: str, profile: str, fingerprints: Iterable[str]) -> None:
        """Add to the runs that a page has asked for so far, finished or not; none is ever taken off.

        Examples
        --------
        >>> import tempfile
        >>> store = Store(tempfile.mkdtemp(), published=None)
        >>> store.remember_runs("pcfg", "desk", ["0" * 32]), store.remember_runs("pcfg", "desk", ["1" * 32, "0" * 32])
        (None, None)
        >>> [name[:2] for name in store.remembered_runs("pcfg", "desk")]
        ['00', '11']
        """
        path = self._remembered(page, profile)
        with _lock(self.root / "locks" / f"{path.stem}.lock"):
            before = self.remembered_runs(page, profile)
            runs = list(dict.fromkeys([*before, *fingerprints]))
            if runs != before:
                write_bytes(path, _json_bytes({"page": page, "profile": profile, "runs": runs}))

    def remembered_runs(self, page: str, profile: str) -> list[str]:
        """Return the fingerprints of the runs that a page has asked for, in that order; none if it never ran here.

        Raises
        ------
        DamagedError
            If the file that holds them is not whole.
        """
        path = self._remembered(page, profile)
        try:
            return list(json.loads(path.read_bytes())["runs"]) if path.exists() else []
        except (ValueError, KeyError, TypeError) as error:
            raise _damaged(path, f"no list of runs ({error})") from error

    def _remembered(self, page: str, profile: str) -> Path:
        return self.root / "pages" / f"{page}-{profile}.runs.json"

    # -------------------------------------------------------------- checkpoints

    def save_checkpoint(self, spec: Training, step: int, parameters: dict[str, NDArray[Any]]) -> None:
        """Write the parameters at `step`."""
        _write_tensors(self._checkpoint(spec, step), parameters, {"run": spec.fingerprint, "step": str(step)})

    def load_checkpoint(self, spec: Training, step: int) -> dict[str, NDArray[Any]]:
        """Return the parameters at `step`.

        Raises
        ------
        MissingError
            If the checkpoint is not in the local store (published results carry none).
        DamagedError
            If its bytes are not the ones that were written.
        """
        path = self._checkpoint(spec, step)
        if not path.exists():
            raise MissingError(
                f"checkpoint {step} of training {spec.fingerprint} is not in {self.root}: expected one of "
                f"{len(spec.checkpoints)} checkpoints. Train it first: pdlib.execute([training], need_checkpoints=True)."
            )
        return _read_tensors(path, {"run": spec.fingerprint, "step": str(step)})

    def has_checkpoints(self, spec: Training) -> bool:
        """Whether the training has finished here, with its checkpoints."""
        return (self.run_folder(spec) / "result.json").exists() and all(
            self._checkpoint(spec, step).exists() for step in spec.checkpoints
        )

    def _checkpoint(self, spec: Training, step: int) -> Path:
        return self.run_folder(spec) / "checkpoints" / f"{step}.safetensors"

    # ----------------------------------------------------------------- progress

    def save_progress(
        self,
        spec: Training,
        step: int,
        parameters: dict[str, NDArray[Any]],
        table: pd.DataFrame,
        cost: Mapping[str, float] | None = None,
    ) -> None:
        """Write the state of an unfinished training, to be resumed from `step`, and what it has cost so far."""
        meta = {"run": spec.fingerprint, "step": str(step)}
        meta |= {name: repr(float(seconds)) for name, seconds in (cost or {}).items()}
        tensors = parameters | {ROWS: np.frombuffer(table_bytes(table), np.uint8)}
        _write_tensors(self.run_folder(spec) / "progress.safetensors", tensors, meta)

    def load_progress(self, spec: Training) -> tuple[int, dict[str, NDArray[Any]], pd.DataFrame] | None:
        """Return step, parameters and table of an unfinished training, or None.

        A file that is damaged, or belongs to another run, is deleted with a warning: it costs what had been done, not the
        run. Who calls this holds the run's lock.
        """
        found = self._progress(spec)
        return None if found is None else found[:3]

    def progress_cost(self, spec: Training) -> dict[str, float]:
        """Return what an unfinished training had cost when its state was written: `wall_s` and `cpu_s`; else zeros."""
        found = self._progress(spec)
        meta = {} if found is None else found[3]
        return {name: float(meta.get(name, 0.0)) for name in ("wall_s", "cpu_s")}

    def _progress(
        self, spec: Training
    ) -> tuple[int, dict[str, NDArray[Any]], pd.DataFrame, dict[str, str]] | None:
        path = self.run_folder(spec) / "progress.safetensors"
        if not path.exists():
            return None
        try:
            parameters = _read_tensors(path, {"run": spec.fingerprint})
            meta = _metadata(path.read_bytes())
            rows = parameters.pop(ROWS, None)
            table = parse_table(meta["table"].encode()) if rows is None else parse_table_bytes(rows.tobytes())
            return int(meta["step"]), parameters, table, meta
        except (DamagedError, KeyError, ValueError) as error:
            path.unlink()
            what = f"it has no {error}" if isinstance(error, KeyError) else error
            warnings.warn(
                f"{path} could not be used and was deleted: training {spec.fingerprint} starts again from the beginning. "
                f"({what})",
                stacklevel=3,
            )
            return None

    # ------------------------------------------------------------------- labels

    def load_labels(self, key: dict[str, str]) -> NDArray[Any] | None:
        """Return the stored labels of exactly this key, or None.

        Raises
        ------
        DamagedError
            If the file was altered or carries another key: labels of another teacher, checkpoint, stream,
            range or kind are never used.
        """
        for layer in (self.published, self.root):
            if layer is not None and (path := label_file(layer, key)).exists():
                return _read_tensors(path, key)["labels"]
        return None

    def has_labels(self, key: dict[str, str]) -> bool:
        """Whether labels of exactly this key are stored."""
        return any(
            layer is not None and label_file(layer, key).exists() for layer in (self.published, self.root)
        )

    def published_teachers(self) -> frozenset[str]:
        """Return the fingerprints of the teachers whose labels are published."""
        if self.published is None:
            return frozenset()
        return frozenset(folder.name for folder in self.published.glob("labels/*"))

    def save_labels(self, key: dict[str, str], labels: NDArray[Any]) -> None:
        """Write labels under their key."""
        _write_tensors(label_file(self.root, key), {"labels": labels}, key)

    def label_lock(self, key: dict[str, str]) -> FileLock:
        """Hold the right to make these labels."""
        return _lock(self.root / "locks" / f"{key_hash(key)}.lock")


# ---------------------------------------------------------------------- bytes


def key_hash(key: dict[str, str]) -> str:
    """Return the file name of a key: 32 hexadecimal digits of its hash."""
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]


def label_file(layer: Path, key: dict[str, str]) -> Path:
    """Return where labels are kept below a store's or the published folder: a folder for each teacher."""
    return layer / "labels" / key["teacher"] / f"{key_hash(key)}.safetensors"


def label_key(path: Path) -> dict[str, str]:
    """Return the key that a file of labels carries, its content checked.

    Raises
    ------
    DamagedError
        If the file was altered.
    """
    _read_tensors(path, {})
    return _metadata(path.read_bytes())


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _json_bytes(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _lock(path: Path) -> FileLock:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(path, 0, error) from error
    return FileLock(path)


def _cannot_write(path: Path, size: int, error: OSError) -> StoreError:
    return StoreError(
        f"cannot write {path} ({size} bytes): {error.strerror or error}. Nothing that was stored is lost. Free "
        "some space or set PDLIB_STORE to another folder, then run again: finished work is kept."
    )


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file or nothing: to a temporary file, to the disk, into place.

    Raises
    ------
    StoreError
        If the disk is full or the folder cannot be written; the file that was there stays.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise _cannot_write(path, len(data), error) from error


def _write_tensors(path: Path, tensors: dict[str, NDArray[Any]], meta: dict[str, str]) -> None:
    tensors = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    data = tensor_bytes(tensors, metadata=meta | {"sha256": _content_hash(tensors, meta)})
    write_bytes(path, data)


def _content_hash(tensors: dict[str, NDArray[Any]], meta: dict[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(meta, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tensors[name].shape}".encode())
        digest.update(np.ascontiguousarray(tensors[name]).data)
    return digest.hexdigest()


def _metadata(data: bytes) -> dict[str, str]:
    size = int.from_bytes(data[:8], "little")
    meta: dict[str, str] = json.loads(data[8 : 8 + size]).get("__metadata__", {})
    return meta


def _damaged(path: Path, what: str) -> DamagedError:
    remedy = path.parent if path.stem in ("table", "result") else path
    return DamagedError(
        f"{path}: {what}. Expected the bytes that were written. Delete {remedy} and run again; it will be made anew."
    )


def _read_tensors(path: Path, expected: dict[str, str]) -> dict[str, NDArray[Any]]:
    data = path.read_bytes()
    try:
        tensors = load_tensors(data)
        meta = _metadata(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise _damaged(path, f"not a whole safetensors file ({error})") from error
    stored = meta.pop("sha256", None)
    if stored != _content_hash(tensors, meta):
        raise _damaged(path, "its content does not match its hash")
    for name, value in expected.items():
        if meta.get(name) != value:
            raise _damaged(path, f"its {name} is {meta.get(name)!r}, not {value!r}")
    return tensors


def _read_result(path: Path) -> dict[str, Any]:
    """Return the content of a `result.json`, its own hash checked and taken off."""
    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:
        raise _damaged(path, f"not JSON ({error})") from error
    if not isinstance(value, dict):
        raise _damaged(path, "not a JSON object")
    if value.pop("sha256", None) != _sha256(_json_bytes(value)):
        raise _damaged(path, "its content does not match its hash")
    return value


def _read_record(folder: Path, fingerprint: str, source: Source) -> Record:
    path = folder / "result.json"
    record = _read_result(path)
    try:
        spec = Spec.from_canonical(record["spec"])
        name = table_name(record)
        expected = record["files"][name]
        provenance = record["provenance"]
    except KeyError as error:
        raise _damaged(path, f"it has no {error}") from error
    except SpecError as error:
        raise StoreError(f"{path}: {error}") from error
    if spec.fingerprint != fingerprint or record.get("fingerprint") != fingerprint:
        raise _damaged(path, f"its spec has the fingerprint {spec.fingerprint}, not {fingerprint}")
    data = (folder / name).read_bytes() if (folder / name).exists() else b""
    if _sha256(data) != expected:
        raise _damaged(folder / name, "its SHA-256 is not the one in result.json")
    return Record(spec, (parse_table if name == "table.csv" else parse_table_bytes)(data), provenance, source)


def table_name(record: Mapping[str, Any]) -> str:
    """Return which file holds the table of a `result.json`: `table.parquet`, or `table.csv` of a result of before."""
    return "table.csv" if "table.csv" in record["files"] else "table.parquet"


def _is_current(fingerprint: str, record: dict[str, Any]) -> bool:
    try:
        return bool(Spec.from_canonical(record["spec"]).fingerprint == fingerprint)
    except SpecError:
        return False


def table_bytes(table: pd.DataFrame) -> bytes:
    """Return a table as Parquet: every type comes back as it was, numbers to the last bit.

    Raises
    ------
    StoreError
        If a column holds values of several types.

    Examples
    --------
    >>> table = pd.DataFrame({"word": ["null", "007", ""], "share": [0.1, float("inf"), float("nan")]})
    >>> parse_table_bytes(table_bytes(table)).equals(table)
    True
    """
    try:
        return bytes(table.to_parquet(index=False))
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


def parse_table_bytes(data: bytes) -> pd.DataFrame:
    """Return the table of `table_bytes`."""
    return pd.read_parquet(io.BytesIO(data))


def table_text(table: pd.DataFrame) -> bytes:
    """Return a table as CSV, to be read by people; numbers read back to the last bit, words that look like them as such."""
    return table.to_csv(index=False, lineterminator="\n").encode()


def parse_table(text: bytes) -> pd.DataFrame:
    """Return the table of a CSV text.

    >>> parse_table(table_text(pd.DataFrame({"step": [0], "accuracy": [1 / 3]}))).accuracy[0] == 1 / 3
    np.True_
    """
    return pd.read_csv(io.BytesIO(text))

"""Fingerprint -> result: tables, checkpoints, label bits, in two layers.

The published layer ships with the project and is read-only (`pdlib.published`): tables and label bits. Under it lies the
user's local store, a folder for each run, which also holds checkpoints and unfinished runs; what depends on code whose
source cannot be had lies in a temporary folder that ends with the process. A result exists when its
`result.json` does; that file is written last, names the SHA-256 of every other file, and is what readers check against.
Everything is written whole or not at all (`pdlib.files`).

The store knows specs and bytes, no models.
"""

from __future__ import annotations

import atexit
import contextlib
import shutil
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from pdlib.files import (
    DamagedError,
    MissingError,
    StoreError,
    damaged,
    lock,
    megabytes,
    parse_table,
    published_use,
    read_bytes,
    read_json,
    read_tensors,
    sha256,
    sweep,
    table_bytes,
    there,
    user_folder,
    write_bytes,
    write_json,
    write_tensors,
)
from pdlib.published import Published, Record, key_hash, page_tables, table_hash
from pdlib.specs import UNSAVED, Parameters, Run, Spec, SpecError, Training

__all__ = ["DamagedError", "MissingError", "Record", "Store", "StoreError"]

ROWS = "table/rows"  # in a file of progress, beside the parameters: the table so far
Layer = Literal["published", "local"]


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
        self.root = Path(root).expanduser().absolute() if root else user_folder("PDLIB_STORE")
        self.published_tables = True
        if published == "default":
            use = published_use()
            self.published = None if use == "ignore" else Published()
            self.published_tables = use == "use"
        else:
            self.published = Published(published) if published is not None else None

    def lock(self, spec: Run) -> FileLock:
        """Return the right to compute `spec`, to be held; the system frees it when its holder dies."""
        return lock(self._place(spec.fingerprint) / "locks" / f"{spec.fingerprint}.lock")

    def _place(self, fingerprint: str) -> Path:
        return _temporary(self.root) if fingerprint.startswith(UNSAVED) else self.root

    # ------------------------------------------------------------------ results

    def find(self, fingerprint: str, *, computed_here: bool = False, as_data: bool = False) -> Record | None:
        """Return the stored result, the published one first, or None.

        With `computed_here` only the local one counts; with `as_data` a published one also where tables are computed.

        Raises
        ------
        DamagedError
            If a file is truncated or altered, or belongs to another fingerprint.
        """
        if self.published is not None and (self.published_tables or as_data) and not computed_here:
            found = self.published.find(fingerprint)
            if found is not None:
                return found
        folder = self._place(fingerprint) / "runs" / fingerprint
        if not there(folder / "result.json"):
            return None
        with contextlib.suppress(OSError):  # a writer killed at the very end of `save` leaves it
            (folder / "progress.safetensors").unlink()
        return _read_record(folder, fingerprint)

    def save(self, spec: Run, table: pd.DataFrame, provenance: dict[str, Any]) -> None:
        """Write a finished result; from then on `find` returns it.

        Raises
        ------
        StoreError
            If a column of the table holds values of several types, or nothing can be written.
        """
        folder = self.run_folder(spec)
        write_bytes(folder / "table.parquet", table_bytes(table))
        kept = [folder / "table.parquet", *sorted(folder.glob("checkpoints/*.safetensors"))]
        record = {
            "fingerprint": spec.fingerprint,
            "spec": spec.canonical(),
            "files": {path.relative_to(folder).as_posix(): sha256(read_bytes(path)) for path in kept},
            "provenance": provenance,
        }
        write_json(folder / "result.json", record)
        (folder / "progress.safetensors").unlink(missing_ok=True)  # else `find` removes it

    def run_folder(self, spec: Run) -> Path:
        """Return the local folder of a spec's result."""
        return self._place(spec.fingerprint) / "runs" / spec.fingerprint

    def sweep(self, spec: Run) -> None:
        """Remove what killed writers left where a run and its teacher's labels are kept."""
        folder, teacher = self.run_folder(spec), getattr(getattr(spec, "supervision", None), "teacher", None)
        taught = (
            [self._place(teacher.fingerprint) / "labels" / teacher.fingerprint] if teacher is not None else []
        )
        for place in (folder, folder / "checkpoints", *taught):
            sweep(place)

    def records(self, layer: Layer) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the fingerprint of every result of a layer, with its `spec` and `provenance`."""
        if layer == "local":
            for path in sorted(self.root.glob("runs/*/result.json")):
                yield path.parent.name, read_json(path)
        elif self.published is not None:
            yield from self.published.records()

    def outdated(self, layer: Layer) -> dict[str, str]:
        """Return the fingerprints of results that other code wrote, each with the kind of run, and what to do."""
        found = {}
        for fingerprint, record in self.records(layer):
            try:
                now = Spec.from_canonical(record["spec"]).fingerprint
                why = "" if now == fingerprint else f"its record has the fingerprint {now}. Run it again."
            except SpecError as error:
                why = str(error)
            if why:
                found[fingerprint] = f"{_label(record['spec'])}: {why}"
        return found

    def inventory(self) -> pd.DataFrame:
        """Return what is kept locally, one row per run and per teacher's labels.

        Columns: `fingerprint`, `what` (the kinds of a finished run, "begun", or "labels" for those of a teacher),
        `megabytes`, and `date`, the day on which a run was finished.

        >>> import tempfile
        >>> Store(tempfile.mkdtemp(), published=None).inventory().columns.tolist()
        ['fingerprint', 'what', 'megabytes', 'date']
        """
        finished, rows = dict(self.records("local")), []
        for folder in sorted([*self.root.glob("runs/*"), *self.root.glob("labels/*")]):
            record = finished.get(folder.name) if folder.parent.name == "runs" else None
            what = "begun" if folder.parent.name == "runs" else "labels"
            date = "" if record is None else str(record["provenance"].get("date", ""))[:10]
            rows.append(
                (folder.name, what if record is None else _label(record["spec"]), megabytes(folder), date)
            )
        return pd.DataFrame(rows, columns=["fingerprint", "what", "megabytes", "date"])

    def remove(self, fingerprint: str) -> float:
        """Remove a run and what its network labelled, and return how many megabytes that frees.

        Raises
        ------
        StoreError
            If it is being computed.
        """
        try:
            with lock(self.root / "locks" / f"{fingerprint}.lock").acquire(timeout=0):
                folders = [self.root / kind / fingerprint for kind in ("runs", "labels")]
                freed = sum(map(megabytes, folders))
                for folder in folders:
                    shutil.rmtree(folder, ignore_errors=True)
        except Timeout:
            raise StoreError(
                f"{fingerprint} is being computed in {self.root}: expected one that is not. Stop that process first."
            ) from None
        return freed

    # -------------------------------------------------------------------- pages

    def remember_runs(self, page: str, profile: str, fingerprints: Iterable[str]) -> None:
        """Add to the runs that a page has asked for so far, finished or not; none is ever taken off.

        >>> import tempfile
        >>> store = Store(tempfile.mkdtemp(), published=None)
        >>> store.remember_runs("pcfg", "desk", ["0" * 32, "1" * 32, "0" * 32])
        >>> [name[:2] for name in store.remembered_runs("pcfg", "desk")]
        ['00', '11']
        """
        path = self._page(page, profile, ".runs.json")
        with lock(self.root / "locks" / f"{path.stem}.lock"):
            before = self.remembered_runs(page, profile)
            runs = list(dict.fromkeys([*before, *fingerprints]))
            if runs != before:
                write_json(path, {"page": page, "profile": profile, "runs": runs})

    def remembered_runs(self, page: str, profile: str) -> list[str]:
        """Return the fingerprints of the runs that a page has asked for, in that order; none if it never ran here.

        Raises
        ------
        DamagedError
            If the file that holds them is not whole.
        """
        path = self._page(page, profile, ".runs.json")
        if not there(path):
            return []
        found = read_json(path, hashed=False)  # older ones have no hash
        if (found.get("page"), found.get("profile"), *sorted(found)[2:]) != (page, profile, "runs"):
            raise damaged(path, f"not the runs of page {page} at profile {profile}")
        return list(found["runs"])

    def save_page(
        self, page: str, profile: str, result: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]
    ) -> None:
        """Write what a page found: its result, with the hash of each table, and the tables."""
        hashes = {}
        for name, table in tables.items():
            data = table_bytes(table)
            write_bytes(self._page(page, profile, f"/{name}.parquet"), data)
            hashes[name] = table_hash(parse_table(data))
        write_json(self._page(page, profile, ".json"), {**result, "tables": hashes})

    def load_page(self, page: str, profile: str) -> dict[str, Any] | None:
        """Return what a page found when it last ran with this store, or None; errors as of `find`."""
        path = self._page(page, profile, ".json")
        if not there(path):
            return None
        found = read_json(path)
        if (found.get("page"), found.get("profile"), "tables" in found) != (page, profile, True):
            raise damaged(path, f"not what page {page} found at profile {profile}")
        return found

    def page_tables(self, page: str, profile: str) -> dict[str, pd.DataFrame]:
        """Return the tables that go with it, by name."""
        return page_tables(self._page(page, profile, ""), self.load_page(page, profile), damaged)

    def _page(self, page: str, profile: str, rest: str) -> Path:
        return self.root / "pages" / f"{page}-{profile}{rest}"

    # -------------------------------------------------- checkpoints and progress

    def save_checkpoint(self, spec: Training, step: int, parameters: Parameters) -> None:
        """Write the parameters at `step`."""
        write_tensors(self._checkpoint(spec, step), parameters, {"run": spec.fingerprint, "step": str(step)})

    def load_checkpoint(self, spec: Training, step: int) -> Parameters:
        """Return the parameters at `step`.

        Raises
        ------
        MissingError
            If the checkpoint is not in the local store (published results carry none).
        DamagedError
            If its bytes are not the ones that were written.
        """
        path = self._checkpoint(spec, step)
        if not there(path):
            raise MissingError(
                f"checkpoint {step} of training {spec.fingerprint} is not in {self.root}: expected one of "
                f"{len(spec.checkpoints)} checkpoints. Train it first: pdlib.execute([training], need_checkpoints=True)."
            )
        return read_tensors(path, {"run": spec.fingerprint, "step": str(step)})[0]

    def has_checkpoints(self, spec: Training) -> bool:
        """Whether the training has finished here, with its checkpoints."""
        return there(self.run_folder(spec) / "result.json") and all(
            there(self._checkpoint(spec, step)) for step in spec.checkpoints
        )

    def _checkpoint(self, spec: Training, step: int) -> Path:
        return self.run_folder(spec) / "checkpoints" / f"{step}.safetensors"

    def save_progress(
        self,
        spec: Training,
        step: int,
        parameters: Parameters,
        table: pd.DataFrame,
        cost: Mapping[str, float] | None = None,
    ) -> None:
        """Write the state of an unfinished training, to be resumed from `step`, and what it has cost so far."""
        meta = {"run": spec.fingerprint, "step": str(step)}
        meta |= {name: repr(float(seconds)) for name, seconds in (cost or {}).items()}
        tensors = parameters | {ROWS: np.frombuffer(table_bytes(table), np.uint8)}
        write_tensors(self.run_folder(spec) / "progress.safetensors", tensors, meta)

    def load_progress(self, spec: Training) -> tuple[int, Parameters, pd.DataFrame] | None:
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

    def _progress(self, spec: Training) -> tuple[int, Parameters, pd.DataFrame, dict[str, str]] | None:
        path = self.run_folder(spec) / "progress.safetensors"
        if not there(path):
            return None
        try:
            parameters, meta = read_tensors(path, {"run": spec.fingerprint})
            table = parse_table(parameters.pop(ROWS).tobytes())
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
        if self.published is not None and (found := self.published.labels(key)) is not None:
            return found
        path = self.label_file(key)
        return read_tensors(path, key)[0]["labels"] if there(path) else None

    def has_labels(self, key: dict[str, str]) -> bool:
        """Whether labels of exactly this key are stored."""
        published = self.published is not None and self.published.has_labels(key)
        return published or there(self.label_file(key))

    def published_teachers(self) -> frozenset[str]:
        """Return the fingerprints of the teachers whose labels are published."""
        return frozenset() if self.published is None else self.published.teachers()

    def hard_labels(self, teacher: str) -> Iterator[tuple[dict[str, str], NDArray[Any]]]:
        """Yield the blocks of hard labels that a teacher gave here, with their keys; soft ones are many times as large."""
        for path in sorted((self.root / "labels" / teacher).glob("*.safetensors")):
            tensors, key = read_tensors(path, {"teacher": teacher})
            if key["kind"] == "hard":
                yield key, tensors["labels"]

    def label_file(self, key: dict[str, str]) -> Path:
        """Return where labels are kept: a folder for each teacher."""
        return self._place(key["teacher"]) / "labels" / key["teacher"] / f"{key_hash(key)}.safetensors"

    def save_labels(self, key: dict[str, str], labels: NDArray[Any]) -> None:
        """Write labels under their key."""
        write_tensors(self.label_file(key), {"labels": labels}, key)

    def label_lock(self, key: dict[str, str]) -> FileLock:
        """Return the right to make these labels, to be held."""
        return lock(self._place(key["teacher"]) / "locks" / f"{key_hash(key)}.lock")


@cache
def _temporary(root: Path) -> Path:
    """Return the folder, for a store's root, of what means something in this process alone."""
    folder = tempfile.mkdtemp(prefix="pdlib-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _label(record: Mapping[str, Any]) -> str:
    """Return the kinds of which a record is made, the run's first: enough to know it by."""
    training = record.get("training", record)
    parts = [record, record.get("probe"), training.get("model"), training.get("task")]
    return " ".join(str(part["kind"]) for part in parts if part)


def _read_record(folder: Path, fingerprint: str) -> Record:
    path = folder / "result.json"
    record = read_json(path)
    try:
        spec = Spec.from_canonical(record["spec"])
        expected = record["files"]["table.parquet"]
        provenance = record["provenance"]
    except KeyError as error:
        raise damaged(path, f"it has no {error}") from error
    except SpecError as error:
        raise StoreError(f"{path}: {error}") from error
    if spec.fingerprint != fingerprint or record.get("fingerprint") != fingerprint:
        raise damaged(path, f"its spec has the fingerprint {spec.fingerprint}, not {fingerprint}")
    path = folder / "table.parquet"
    data = read_bytes(path) if there(path) else b""
    if sha256(data) != expected:
        raise damaged(path, "its SHA-256 is not the one in result.json")
    return Record(spec, parse_table(data), provenance, "local")

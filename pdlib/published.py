"""The published layer: few files for each page and size, read-only, checked when read.

A folder for each page and size, and a file for the labels of each teacher::

    <page>-<profile>/runs.parquet      a row per run: fingerprint, spec, provenance, which file has its table, hash of all
                     <kind>.parquet    the tables of all runs of a kind, with the column fingerprint
                     verdicts.json     the page's parameters and, for each criterion, its values
                     tables/           the page's tidy tables, at sizes that are shown beside others
    labels/<teacher>.safetensors       the hard labels of a teacher, a block after the other

A folder `<page>-<profile>.partial` holds the finished runs of an unfinished page; nothing is judged on them. Publishing
replaces a folder as a whole: a kill at any moment leaves the old one or the new one.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from pdlib.files import (
    DamagedError,
    StoreError,
    cannot_write,
    content_hash,
    json_bytes,
    parse_table,
    read_bytes,
    read_json,
    sha256,
    table_bytes,
    tensor_bytes,
    there,
    using,
    write_bytes,
    write_json,
)
from pdlib.specs import Run, Spec, SpecError, fingerprint_of

Source = Literal["published", "local", "trained now"]
FORMAT = 1  # of the files below
PARTIAL = ".partial"
_OLD = ".replaced"  # what a folder is called for the moment in which the new one takes its place
T = TypeVar("T")
_COLUMNS = ("fingerprint", "spec", "provenance", "table", "sha256")


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
    return checkout if checkout.is_dir() else package / "results"


class Published:
    """Published results by fingerprint, pages' results by page and profile, labels by key.

    Parameters
    ----------
    root
        By default the project's own.

    Examples
    --------
    >>> import tempfile
    >>> empty = Published(tempfile.mkdtemp())
    >>> empty.find("0" * 32) is None, empty.page("parity", "paper") is None
    (True, True)
    """

    def __init__(self, root: str | Path | None = None) -> None:
        self.root = Path(root) if root is not None else published_folder()

    # ------------------------------------------------------------------ results

    def find(self, fingerprint: str) -> Record | None:
        """Return a result, or None.

        Raises
        ------
        DamagedError
            If a file that holds a part of it is not whole, altered or lacks a column.
        StoreError
            If the result is of another version of the code, or the file of another version of this layout.
        """
        for folder in self._folders():
            index = folder / "runs.parquet"
            if (row := _runs(index).get(fingerprint)) is None:
                continue
            path = folder / f"{row['table']}.parquet"
            tables, empty = _tables(path)
            table = tables.get(fingerprint, empty)
            if row["sha256"] != _hash(row["spec"], row["provenance"], table):
                raise _altered(path, f"run {fingerprint}, of it and of runs.parquet, does not match its hash")
            record = _read(index, fingerprint, row)
            try:
                spec = Spec.from_canonical(record["spec"])
            except SpecError as error:
                raise StoreError(f"{index}, run {fingerprint}: {error}") from error
            return Record(spec, table.copy(), record["provenance"], "published")
        return None

    def records(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the fingerprint of every result, with its `spec` and `provenance`, once each."""
        seen = set()
        for folder in self._folders():
            for fingerprint, row in _runs(folder / "runs.parquet").items():
                if fingerprint not in seen:
                    seen.add(fingerprint)
                    yield fingerprint, _read(folder / "runs.parquet", fingerprint, row)

    def _folders(self) -> list[Path]:
        """Return the folders of runs, unfinished pages' last; one that is just being replaced under its old name."""
        found = [path.parent for path in self.root.glob("[!.]*/runs.parquet")]
        whole = [p for p in found if not (p.suffix == _OLD and p.with_suffix("").exists())]
        return sorted(whole, key=lambda p: (PARTIAL in p.name, p.name))

    # -------------------------------------------------------------------- pages

    def pages(self) -> list[tuple[str, str]]:
        """Return which pages are published as a whole, and at which profiles."""
        names = (folder.name.removesuffix(_OLD) for folder in self._folders() if PARTIAL not in folder.name)
        return [(page, profile) for page, _, profile in (name.rpartition("-") for name in names)]

    def page(self, page: str, profile: str) -> dict[str, Any] | None:
        """Return a page's result, as `pdlib.claims.judge_page` made it, or None if it is not published as a whole."""
        path = self._page(page, profile) / "verdicts.json"
        try:
            found = read_json(path) if there(path) else None
        except DamagedError as error:
            raise _altered(path, "not whole, or its content does not match its hash") from error
        if found is not None and any(found.get(k, v) != v for k, v in (("page", page), ("profile", profile))):
            raise _altered(path, f"not of page {page} at profile {profile}")
        return found

    def tables(self, page: str, profile: str) -> dict[str, pd.DataFrame]:
        """Return the tidy tables that a page was judged on, by name; none if it keeps none at this size.

        So a page shows results of this size beside those of the one it runs at, and trains nothing for them.
        """
        return page_tables(self._page(page, profile) / "tables", self.page(page, profile))

    def unfinished(self, page: str, profile: str) -> list[str]:
        """Return the fingerprints of the runs that are published of an unfinished page."""
        path = self.root / f"{page}-{profile}{PARTIAL}" / "runs.parquet"
        return list(_runs(path)) if path.exists() else []

    def _page(self, page: str, profile: str) -> Path:
        path = self.root / f"{page}-{profile}"
        return path if path.exists() else path.with_name(path.name + _OLD)

    def write_page(
        self,
        page: str,
        profile: str,
        records: Iterable[Record],
        result: Mapping[str, Any] | None = None,
        tables: Mapping[str, pd.DataFrame] | None = None,
    ) -> Path:
        """Replace a page's folder by these runs and this result; without a result, the one of its unfinished run.

        Raises
        ------
        StoreError
            If the disk is full or the folder cannot be written; what was published stays.
        """
        target = self.root / f"{page}-{profile}{'' if result is not None else PARTIAL}"
        old = target.with_name(target.name + _OLD)
        self.root.mkdir(parents=True, exist_ok=True)
        if old.exists() and not target.exists():
            old.rename(target)  # a writer was killed in between
        shutil.rmtree(old, ignore_errors=True)
        for left in self.root.glob(f".{target.name}-*"):
            shutil.rmtree(left)
        new = Path(tempfile.mkdtemp(dir=self.root, prefix=f".{target.name}-"))
        new.chmod(0o755)
        try:
            _write_runs(new, list(records))
            for name, table in (tables or {}).items():
                write_bytes(new / "tables" / f"{name}.parquet", table_bytes(table, compression="zstd"))
            if result is not None:
                write_json(new / "verdicts.json", result)
            if target.exists():
                target.rename(old)
            new.rename(target)
        except OSError as error:
            raise cannot_write(target, 0, error) from error
        finally:
            shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
        if result is not None:
            shutil.rmtree(target.with_name(target.name + PARTIAL), ignore_errors=True)  # the page is finished
        return target

    # ------------------------------------------------------------------- labels

    def teachers(self) -> frozenset[str]:
        """Return the fingerprints of the teachers whose labels are published."""
        return frozenset(path.stem for path in self.root.glob("labels/*.safetensors"))

    def has_labels(self, key: Mapping[str, str]) -> bool:
        """Whether labels of exactly this key are published."""
        path = self._labels(key["teacher"])
        return path.exists() and key_hash(key) in _keys(path)

    def labels(self, key: Mapping[str, str]) -> NDArray[Any] | None:
        """Return the labels of exactly this key, or None.

        Raises
        ------
        DamagedError
            If the file is not whole, or the block was altered or carries another key.
        """
        path = self._labels(key["teacher"])
        if not self.has_labels(key):
            return None
        stored = dict(_keys(path)[key_hash(key)])
        digest = stored.pop("sha256", None)
        if stored != dict(key):
            raise _altered(path, f"a block of it belongs to {stored}, not to {dict(key)}")
        with _opened(path) as file:
            labels: NDArray[Any] = file.get_tensor(key_hash(key))
        if digest != content_hash({"labels": labels}, stored):
            raise _altered(path, f"the block of {stored} does not match its hash")
        return labels

    def write_labels(self, teacher: str, blocks: Sequence[tuple[Mapping[str, str], NDArray[Any]]]) -> int:
        """Add blocks of a teacher's labels to those published; return how many there are then."""
        path, tensors, meta = self._labels(teacher), {}, {}
        known = _keys(path).values() if path.exists() else ()
        old = [{k: v for k, v in key.items() if k != "sha256"} for key in known]
        for key, labels in [*((key, self.labels(key)) for key in old), *blocks]:
            name, tensor = key_hash(key), np.ascontiguousarray(labels)
            tensors[name] = tensor
            meta[name] = json.dumps(dict(key) | {"sha256": content_hash({"labels": tensor}, key)})
        write_bytes(path, tensor_bytes(tensors, meta))
        return len(tensors)

    def _labels(self, teacher: str) -> Path:
        return self.root / "labels" / f"{teacher}.safetensors"


def key_hash(key: Mapping[str, str]) -> str:
    """Return the name of a block of labels: 32 hexadecimal digits of its key's hash."""
    return sha256(json.dumps(dict(key), sort_keys=True).encode())[:32]


def page_tables(
    folder: Path, result: Mapping[str, Any] | None, wrong: Callable[[Path, str], DamagedError] | None = None
) -> dict[str, pd.DataFrame]:
    """Return the tables that a page's result names, out of a folder; `wrong` makes the error of one that is altered.

    Raises
    ------
    DamagedError
        If a table is not the one that was judged.
    """
    found = {}
    for name, expected in (result or {}).get("tables", {}).items():
        path = folder / f"{name}.parquet"
        found[name] = _parquet(path, wrong or _altered)
        if table_hash(found[name]) != expected:
            raise (wrong or _altered)(path, "not the table that the page was judged on")
    return found


def table_hash(table: pd.DataFrame) -> str:
    """Return the hash of a table's content: its columns and values, the same whatever file holds them."""
    return sha256(table.to_csv(index=False, lineterminator="\n").encode())


def _hash(spec: str, provenance: str, table: pd.DataFrame) -> str:
    return sha256(f"{spec}\n{provenance}\n{table_hash(table)}".encode())


def _write_runs(folder: Path, records: Sequence[Record]) -> None:
    """Write the runs of a page: tables of one kind and form in one file."""
    files: dict[tuple[Any, ...], str] = {}
    tables: dict[str, list[pd.DataFrame]] = {}
    rows = []
    for record in records:
        kind = type(record.spec).__name__
        form = (kind, *record.table.columns, *map(str, record.table.dtypes))
        others = sum(known[0] == kind for known in files)
        name = files.setdefault(form, f"{kind}-{others + 1}" if others else kind)
        marked = record.table.copy()
        marked.insert(0, "fingerprint", record.fingerprint)
        tables.setdefault(name, []).append(marked)
        spec, provenance = (
            json_bytes(value).decode() for value in (record.spec.canonical(), record.provenance)
        )
        rows.append((record.fingerprint, spec, provenance, name, _hash(spec, provenance, record.table)))
    smallest = {"compression": "zstd", "compression_level": 19}
    for name, parts in tables.items():
        write_bytes(folder / f"{name}.parquet", table_bytes(pd.concat(parts, ignore_index=True), **smallest))
    runs = pd.DataFrame(rows, columns=list(_COLUMNS), dtype=str)
    runs.attrs["format"] = FORMAT
    write_bytes(folder / "runs.parquet", table_bytes(runs, **smallest))


def _altered(path: Path, what: str) -> DamagedError:
    return DamagedError(
        f"{path}: {what}. Expected the file that was published: take it from the repository again "
        f"(git checkout -- {path.name}), or install the package anew."
    )


def _parquet(path: Path, wrong: Callable[[Path, str], DamagedError] = _altered) -> pd.DataFrame:
    """Return the table of a file."""
    if not there(path):
        raise wrong(path, "not there")
    data = read_bytes(path)
    try:
        return parse_table(data)
    except Exception as error:  # Arrow's own, and those of pandas on what Arrow took for whole
        raise wrong(path, f"not a whole Parquet file ({error})") from error


def _read(path: Path, fingerprint: str, row: Mapping[str, str]) -> dict[str, Any]:
    """Return spec and provenance of a row of runs, the spec checked."""
    try:
        record = {name: json.loads(row[name]) for name in ("spec", "provenance")}
    except ValueError as error:
        raise _altered(path, f"run {fingerprint}: not JSON ({error})") from error
    if (found := fingerprint_of(record["spec"])) != fingerprint:
        raise _altered(path, f"run {fingerprint} has the spec of {found}")
    return record


def _once(read: Callable[[Path], T]) -> Callable[[Path], T]:
    """Read a file once, and again when it has changed."""

    @lru_cache(maxsize=256)
    def kept(path: Path, _stamp: tuple[int, int]) -> T:
        return read(path)

    def found(path: Path) -> T:
        if not there(path):
            raise _altered(path, "not there")
        stamp = path.stat()
        return kept(path, (stamp.st_mtime_ns, stamp.st_size))

    found.forget = kept.cache_clear  # type: ignore[attr-defined]
    return found


@_once
def _runs(path: Path) -> dict[str, dict[str, str]]:
    """Return the runs of a folder, by fingerprint."""
    runs = _parquet(path)
    if (found := runs.attrs.get("format")) != FORMAT:
        raise StoreError(f"{path}: of format {found!r}, expected {FORMAT}: install the pdlib that wrote it.")
    if missing := set(_COLUMNS) - set(runs):
        raise _altered(path, f"no column {min(missing)!r}")
    rows = runs[list(_COLUMNS)].to_numpy().tolist()
    return {values[0]: dict(zip(_COLUMNS, values, strict=True)) for values in rows}


@_once
def _tables(path: Path) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """Return the tables of a file by fingerprint, and an empty one."""
    whole = _parquet(path)
    if "fingerprint" not in whole:
        raise _altered(path, "no column 'fingerprint'")
    parts = whole.groupby("fingerprint", sort=False)
    found = {str(f): part.drop(columns="fingerprint").reset_index(drop=True) for f, part in parts}
    return found, whole.iloc[:0].drop(columns="fingerprint")


@_once
def _keys(path: Path) -> dict[str, dict[str, str]]:
    """Return the keys of a file of labels, by the name of their block."""
    with _opened(path) as file:
        found = {name: json.loads(text) for name, text in (file.metadata() or {}).items()}
        if set(found) != set(file.keys()):
            raise _altered(path, "not a key for each block")
    for name, key in found.items():
        if name != key_hash({k: v for k, v in key.items() if k != "sha256"}):
            raise _altered(path, f"the key of the block {name} is another's")
    return found


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a file of labels, or say that it is none."""
    try:
        with using("read", path), safe_open(path, "numpy") as file:
            yield file
    except (SafetensorError, ValueError) as error:
        raise _altered(path, f"not a whole safetensors file ({error})") from error

"""Arrays and files of a user's own as parts of a spec: the hash of what they hold enters the fingerprint.

A class that reads a file by itself has a field for it, `data: FileContent`, and reads it by `self.data.read()`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from pdlib.specs import Spec, SpecError

_ARRAYS: WeakValueDictionary[str, NDArray[Any]] = WeakValueDictionary()  # of this process, by hash


@dataclass(frozen=True)
class ArrayContent(Spec):
    """An array by its hash, to be made by `ArrayContent.of`.

    A record that comes out of the store has the array only where this process has made it too.

    >>> content = ArrayContent.of([[1, 2], [3, 4]], np.float32)
    >>> content.shape, content.array.tolist(), content == ArrayContent.of([[1, 2], [4, 3]], np.float32)
    ((2, 2), [[1.0, 2.0], [3.0, 4.0]], False)
    """

    shape: tuple[int, ...]
    dtype: str
    sha256: str

    @classmethod
    def of(cls, values: ArrayLike, dtype: DTypeLike | None = None) -> ArrayContent:
        """Return the content of a copy of some values."""
        array = np.array(values, dtype, order="C")
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        array.flags.writeable = False
        content = cls(array.shape, array.dtype.str, hashlib.sha256(array.tobytes()).hexdigest())
        object.__setattr__(content, "_array", _ARRAYS.setdefault(content.fingerprint, array))
        return content

    @property
    def array(self) -> NDArray[Any]:
        """The array, read-only.

        Raises
        ------
        SpecError
            If this process has not made it.
        """
        found: NDArray[Any] | None = vars(self).get("_array", _ARRAYS.get(self.fingerprint))
        if found is None:
            raise SpecError(
                f"an array of shape {self.shape}, known by its hash alone: expected its values. Make it again, as the "
                "script does that asked for the result."
            )
        return found


@dataclass(frozen=True)
class FileContent(Spec):
    """A file by its path and the SHA-256 of what it holds, which is read off it unless it is given.

    Raises
    ------
    SpecError
        If there is no such file.

    Examples
    --------
    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "labels.txt")
    >>> _ = open(path, "w").write("0 1 1")
    >>> content = FileContent(path)
    >>> content.read(), content == FileContent(path)
    (b'0 1 1', True)
    """

    path: str
    sha256: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.path, Path):
            object.__setattr__(self, "path", str(self.path))
        super().__post_init__()
        if not self.sha256:
            object.__setattr__(self, "sha256", hashlib.sha256(self._bytes()).hexdigest())

    def read(self) -> bytes:
        """Return what the file holds, or raise `SpecError` if that has changed."""
        data = self._bytes()
        if (now := hashlib.sha256(data).hexdigest()) != self.sha256:
            raise SpecError(
                f"{self.path}: SHA-256 {now[:12]}..., expected {self.sha256[:12]}..., as when it was named. Restore the "
                "file, or make the spec again from what it holds now."
            )
        return data

    def _bytes(self) -> bytes:
        try:
            return Path(self.path).read_bytes()
        except OSError as error:
            raise SpecError(
                f"{self.path}: {error.strerror}: expected a file. Name one that can be read."
            ) from error

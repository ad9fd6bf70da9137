"""What is missing is an error at once: a package, with the command that installs it, or a scheduler that does not answer."""

from __future__ import annotations

import re
import socket
from importlib import import_module, metadata
from typing import Any
from urllib.parse import urlsplit


class InstallError(ImportError, RuntimeError):
    """A package that is not installed: names it and the command that mends it."""


def optional(name: str, extra: str) -> Any:
    """Return a module of a package that one of the extras of `pdlib` installs.

    >>> optional("json", "text").loads("[1]")
    [1]
    >>> optional("no_such_package", "text")
    Traceback (most recent call last):
    ...
    pdlib.install.InstallError: the package `no_such_package` is not installed. Run `pip install 'pdlib[text]'`.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        missing = f"{error.name or name}".partition(".")[0]
        raise InstallError(
            f"the package `{missing}` is not installed. Run `pip install 'pdlib[{extra}]'`."
        ) from error


def check(distribution: str) -> None:
    """Raise `InstallError` unless all that a distribution needs, extras apart, is installed.

    One that is not installed itself, such as a folder on the path, says nothing about its needs.
    """
    try:
        needs = metadata.requires(distribution) or []
    except metadata.PackageNotFoundError:
        return
    for need in needs:
        name = re.split(r"[^\w.-]", need, maxsplit=1)[0]
        try:
            if ";" not in need:
                metadata.distribution(name)
        except metadata.PackageNotFoundError as error:
            raise InstallError(
                f"the package `{name}` is not installed. Run `pip install '{need}'`."
            ) from error


def answering(address: str) -> str:
    """Return the address of a Dask scheduler, or raise within two seconds if nobody answers there.

    Raises
    ------
    RuntimeError
        If the address names no port, or nothing listens at it.
    """
    parts = urlsplit(address if "://" in address else f"tcp://{address}")
    try:
        if parts.scheme in ("tcp", "tls"):
            socket.create_connection((parts.hostname or "", parts.port or 0), timeout=2).close()
    except (OSError, ValueError) as error:
        raise RuntimeError(
            f"scheduler {address!r}: {error}. Expected the address of one that runs, such as tcp://HOST:8786. "
            "Start one with `dask scheduler`."
        ) from None
    return address

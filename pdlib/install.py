"""A package that is missing is an error at once, which names it and the command that installs it."""

from __future__ import annotations

import re
from importlib import import_module, metadata
from typing import Any


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

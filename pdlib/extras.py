"""Packages that only some of the work needs: an error says which extra brings one that is missing."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from pdlib.specs import SpecError


def optional(name: str, extra: str) -> Any:
    """Return a module of an optional package.

    Parameters
    ----------
    name
        Of the module.
    extra
        The extra of `pdlib` that installs it.

    Raises
    ------
    SpecError
        If it is not there; names the command that installs it.

    Examples
    --------
    >>> optional("json", "text").loads("[1]")
    [1]
    >>> optional("no_such_package", "text")
    Traceback (most recent call last):
    ...
    pdlib.specs.SpecError: the package `no_such_package` is not installed. Run `pip install 'pdlib[text]'`.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise SpecError(
            f"the package `{name}` is not installed. Run `pip install 'pdlib[{extra}]'`."
        ) from error

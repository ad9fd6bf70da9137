"""A user's own code as a hash: a class or function, and all that it uses outside this package and installed ones.

Functions count by their syntax trees, so that comments, docstrings, layout and the version of Python do not matter. What
they name counts too: other functions and classes in the same way, anything else by its value. A name that functions of the
same file change, such as a cache, counts by the statements that assign it.

Where source cannot be had (standard input, `python -c`, an interactive prompt, `exec`, a file that was edited after it was
loaded), the compiled code counts, and the hash ends with `PROCESS`: no other process can have the same.
"""

from __future__ import annotations

import ast
import dataclasses
import dis
import hashlib
import importlib
import importlib.util
import linecache
import os
import re
import secrets
import sys
import time
import tokenize
from collections.abc import Iterator, Mapping
from enum import Enum
from functools import cache, cached_property, lru_cache, partial
from pathlib import Path
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any
from weakref import WeakValueDictionary

SOURCE = "source code"  # in the record of a user's own kind or function: its hash; no field has such a name
FUNCTION = "function"  # the kind of a field's function, or of a class that is called as one
PROCESS = f"in process {secrets.token_hex(8)} alone"
unread: dict[str, str] = {}  # what has no source, and where it came from

_functions: WeakValueDictionary[tuple[str, str], Any] = WeakValueDictionary()  # that fields have held
_STARTED = time.time()
_STANDARD = Path(os.__file__).parent
_INSTALLED = {"site-packages", "dist-packages"}
_LITERALS = (bool, int, float, complex, str, bytes, type(None), type(...))
_WRAPPED = ("fget", "fset", "fdel", "__wrapped__", "py_func", "func", "args", "keywords")
_CHANGING = {
    "add",
    "append",
    "appendleft",
    "clear",
    "discard",
    "extend",
    "insert",
    "pop",
    "popitem",
    "remove",
    "reverse",
}
_CHANGING |= {"setdefault", "sort", "update"}
_FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def own_code(thing: type | FunctionType) -> str:
    """Return the hash of a class or function with all that it uses, or "" for one of this package.

    >>> own_code(own_code)
    ''
    """
    home = _top(thing.__module__)
    if home == "pdlib":
        return ""
    reader = _Reader(home)
    reader.inside(thing)
    digest = hashlib.sha256("\n".join(reader.parts).encode()).hexdigest()[:32]
    if not reader.unread:
        return digest
    unread[thing.__qualname__] = reader.unread[0]
    return f"{digest} {PROCESS}"


@cache
def homes() -> dict[str, str]:
    """Return the module that defines each kind of the package, read off the sources: nothing is imported for it.

    >>> homes()["SparseParity"]
    'pdlib.tasks.parity'
    """
    package = Path(__file__).parent
    classes = [
        (name, base, ".".join(path.relative_to(package.parent).with_suffix("").parts))
        for path in sorted(package.rglob("*.py"))
        for name, base in re.findall(r"^class (\w+)\((?:\w+\.)*(\w+)", path.read_text("utf-8"), re.MULTILINE)
    ]
    found = {"Spec": "pdlib.specs"}
    while new := {name: home for name, base, home in classes if base in found and name not in found}:
        found |= new
    return found


def of_function(thing: FunctionType | type) -> dict[str, str]:
    """Return the record of a function that a field holds: its name, and its code or, of an installed one, its module."""
    name, code = thing.__qualname__, own_code(thing) or thing.__module__
    _functions[name, code] = thing
    return {"kind": FUNCTION, "name": name, SOURCE: code}


def function_of(record: Mapping[str, str]) -> Any:
    """Return the function of a record, if a field of this process has held it and it is as it was; else None."""
    thing = _functions.get((record["name"], record[SOURCE]))
    return thing if thing is None or of_function(thing) == record else None


def dumped(node: ast.AST) -> str:
    """Return a syntax tree as text, the same under every Python: 3.12 adds type parameters, 3.13 leaves empty lists out."""
    shown: dict[str, bool] = {"show_empty": True} if sys.version_info >= (3, 13) else {}
    return ast.dump(node, **shown).replace(", type_params=[]", "")


def parsed(text: str) -> ast.Module:
    """Return the syntax tree of a file, docstrings left out."""
    module = ast.parse(text)
    for node in ast.walk(module):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and ast.get_docstring(
            node
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return module


class _Reader:
    """Reads a value: a list of texts that is another one if anything differs that decides what it does."""

    def __init__(self, home: str) -> None:
        self._home, self._seen = home, dict[int, tuple[int, Any]]()
        self.parts: list[str] = []
        self.unread: list[str] = []  # files of code whose source could not be had

    def read(self, value: Any) -> None:
        if type(value) in _LITERALS:
            self.parts.append(f"{type(value).__name__} {value!r}")
        elif id(value) in self._seen:
            self.parts.append(f"#{self._seen[id(value)][0]}")
        elif isinstance(value, (FunctionType, type, ModuleType)) and not self._is_own(value):
            names = [getattr(value, name, "") for name in ("__module__", "__qualname__", "__name__")]
            self.parts.append(".".join(map(str, names)))
        else:
            self.inside(value)

    def inside(self, value: Any) -> None:
        self._seen[id(value)] = len(self._seen), value  # kept, so that its number stays its own
        if isinstance(value, FunctionType):
            self._function(value)
        elif isinstance(value, type):
            self._class(value)
        elif isinstance(value, ModuleType):
            for name in sorted(name for name in vars(value) if not name.startswith("__")):
                self._named(vars(value), name)
        else:
            self.read(type(value))
            for part in _parts(value):
                self.read(part)

    def _is_own(self, thing: Any) -> bool:
        """Whether a function, class or module lies outside this package, Python's own, and installed ones."""
        name = str(thing.__name__ if isinstance(thing, ModuleType) else thing.__module__)
        top, code = _top(name), getattr(thing, "__code__", None)
        if top == "pdlib" or top in sys.stdlib_module_names:
            return False
        file = code.co_filename if code is not None else "<"
        if file.startswith("<"):
            file = getattr(sys.modules.get(name) or sys.modules.get(top), "__file__", None)
        if file is None:
            return True
        if _INSTALLED & set(Path(file).parts):
            return top == self._home
        return _STANDARD not in Path(file).parents

    def _function(self, function: FunctionType) -> None:
        code, names = function.__code__, function.__globals__
        found = _found(code)
        nodes, file = ([], None) if found is None else found
        if file is None:
            self.unread.append(code.co_filename)
            self.parts.append(repr(_plain(code)))
        self.parts += map(dumped, nodes)
        for cell in function.__closure__ or ():
            empty = cell == CellType()  # of a name that is bound later
            self.read(None if empty else cell.cell_contents)
        self.read(function.__defaults__)
        self.read(function.__kwdefaults__)
        for name in _global_names(code):
            if name in names:
                self._named(names, name, file, nodes)
        for inner in (n for node in nodes for n in ast.walk(node)):
            if isinstance(inner, (ast.Import, ast.ImportFrom)):
                self._imported(inner, str(names.get("__package__") or ""), nodes)

    def _class(self, cls: type) -> None:
        self.parts.append(cls.__name__)
        for base in cls.__bases__:
            self.read(base)
        if issubclass(cls, Enum):
            self.read({member.name: member.value for member in cls})
        for field in vars(cls).get("__dataclass_fields__", {}).values():
            if field.default_factory is not dataclasses.MISSING:
                self.read(field.default_factory)
        functions = [v for v in vars(cls).values() if isinstance(v, FunctionType)]
        files = [found[1] for f in functions if (found := _found(f.__code__)) is not None]
        for name, value in sorted(vars(cls).items()):
            if name.startswith("_") and name.endswith("_"):  # Python's own, unless it is a function in a file
                if not isinstance(value, FunctionType) or value.__code__.co_filename == "<string>":
                    continue
                if not self._is_own(value):
                    continue
            self._named(vars(cls), name, files[0] if files else None)

    def _named(self, names: Mapping[str, Any], name: str, file: _File | None = None, nodes: Any = ()) -> None:
        """Read what a name means among these, as far as the nodes use it if it is a module."""
        value, file = names[name], file or _file(str(names.get("__file__") or "<"))
        self.parts.append(name)
        if isinstance(value, ModuleType) and nodes:
            for path in sorted(path for node in nodes for path in _paths(node, name)):
                self._of_module(value, path)
        elif file is not None and name in file.changed and not isinstance(value, (FunctionType, type)):
            self.parts += file.assigned.get(name, [])
        else:
            self.read(value)

    def _of_module(self, module: ModuleType, path: tuple[str, ...]) -> None:
        if not self._is_own(module):
            self.read(module)
        elif path and isinstance(inner := getattr(module, path[0], None), ModuleType):
            self._of_module(inner, path[1:])
        elif path and path[0] in vars(module):
            self._named(vars(module), path[0])
        else:
            self.read(module)

    def _imported(self, node: ast.Import | ast.ImportFrom, package: str, nodes: Any) -> None:
        """Read what a function imports when it is called."""
        if isinstance(node, ast.ImportFrom):
            name = "." * node.level + (node.module or "")
            name = importlib.util.resolve_name(name, package) if node.level else name
            for alias in node.names:
                if (module := self._module(name)) is not None:
                    self._module(f"{name}.{alias.name}")  # it may be a module
                    self._of_module(module, (alias.name,))
            return
        for alias in node.names:
            if (module := self._module(alias.name)) is not None:
                here = alias.asname or _top(alias.name)
                self._named({here: module if alias.asname else sys.modules[here]}, here, None, nodes)

    def _module(self, name: str) -> ModuleType | None:
        """Return a module of the user's own, loaded if need be."""
        top = _top(name)
        if top not in sys.modules:
            spec = None if top in sys.stdlib_module_names else importlib.util.find_spec(top)
            if spec is None or _INSTALLED & set(Path(spec.origin or "").parts):
                return None
        elif not self._is_own(sys.modules[top]):
            return None
        try:
            return importlib.import_module(name)
        except ImportError:
            return None


def _top(module: str) -> str:
    return str(module).partition(".")[0]


def _parts(value: Any) -> list[Any]:
    """Return what a value consists of, besides its type."""
    if isinstance(value, Mapping):
        return [part for item in value.items() for part in item]
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=repr)
    if isinstance(value, (list, tuple)):
        return list(value)
    if isinstance(value, Enum):
        return [value.name]
    if hasattr(value, "detach"):  # a tensor
        value = value.detach().cpu().numpy()
    if hasattr(value, "tobytes") and hasattr(value, "dtype"):
        plain = not value.dtype.hasobject
        content = hashlib.sha256(value.tobytes()).hexdigest() if plain else value.tolist()
        return [str(value.dtype), value.shape, content]
    if isinstance(value, (property, partial, cached_property)) or hasattr(value, "__wrapped__"):
        return [getattr(value, name, None) for name in _WRAPPED]
    if hasattr(value, "py_func"):  # compiled by numba
        return [value.py_func]
    if dataclasses.is_dataclass(value):
        return [getattr(value, field.name, None) for field in dataclasses.fields(value)]
    try:
        reduced = value.__reduce_ex__(4)
    except Exception:  # a lock or an open file: nothing that one can look into
        return []
    parts = [reduced] if isinstance(reduced, str) else list(reduced)
    return [list(part) if isinstance(part, Iterator) else part for part in parts]


# -------------------------------------------------------------------- source files


class _File:
    """The functions of a file, which of its names they change, and the statements that assign its names."""

    def __init__(self, text: str, edited: bool) -> None:
        self.functions: dict[tuple[int, str], list[ast.AST]] = {}
        self.changed: set[str] = set()
        self.assigned: dict[str, list[str]] = {}
        self.codes = set(_codes(compile(text, "<own>", "exec", dont_inherit=True))) if edited else None
        for node in ast.walk(parsed(text)):
            if isinstance(node, _FUNCTION):
                lines = [node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))]
                place = min(lines), getattr(node, "name", "<lambda>")
                self.functions.setdefault(place, []).append(node)
                self.changed |= set(_changed(node))
            for statement in node.body if isinstance(node, (ast.Module, ast.ClassDef)) else ():
                if not isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                    for name in _stored(statement):
                        self.assigned.setdefault(name, []).append(dumped(statement))


def _found(code: CodeType) -> tuple[list[ast.AST], _File] | None:
    """Return the syntax trees from which a function may have been made, several for lambdas on a line; None if unknown."""
    file = _file(code.co_filename)
    if file is None or (file.codes is not None and _plain(code) not in file.codes):
        return None
    nodes = file.functions.get((code.co_firstlineno, code.co_name))
    return None if nodes is None else (nodes, file)


def _file(name: str) -> _File | None:
    if name in ("<string>", "<stdin>", "<"):
        return None
    try:
        stat = Path(name).stat()
    except OSError:  # a cell of a notebook, an example in a docstring
        text = "".join(linecache.getlines(name))
        return _read_text(text, edited=False) if text else None
    try:
        return _read_file(name, stat.st_mtime_ns, stat.st_size)
    except (OSError, ValueError, SyntaxError):  # no text, or one that is just being edited
        return None


@lru_cache(maxsize=1024)
def _read_file(name: str, modified: int, size: int) -> _File:
    with tokenize.open(name) as file:
        return _read_text(file.read(), edited=modified > _STARTED * 1e9)


@lru_cache(maxsize=1024)
def _read_text(text: str, edited: bool) -> _File:
    return _File(text, edited)


def _codes(code: CodeType) -> Iterator[Any]:
    for inner in (c for c in code.co_consts if isinstance(c, CodeType)):
        yield _plain(inner)
        yield from _codes(inner)


def _plain(code: CodeType) -> tuple[Any, ...]:
    """Return what a compiled function does, without the places of its lines."""
    constants = (_plain(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts)
    return (code.co_name, code.co_code, code.co_names, code.co_varnames, code.co_freevars, *constants)


@lru_cache(maxsize=4096)
def _global_names(code: CodeType) -> list[str]:
    """Return the names that a function looks up outside itself, sorted; pytest adds names that begin with @."""
    names = {str(i.argval) for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    for inner in (c for c in code.co_consts if isinstance(c, CodeType)):
        names |= set(_global_names(inner))
    return sorted(name for name in names if not name.startswith("@"))


def _paths(node: ast.AST, name: str) -> Iterator[tuple[str, ...]]:
    """Yield the dotted paths behind a name, such as ("path", "join") of `os`; an empty one where it stands alone."""
    path: tuple[str, ...] = ()
    base = node
    while isinstance(base, ast.Attribute):
        path, base = (base.attr, *path), base.value
    if isinstance(base, ast.Name):
        yield from [path] if base.id == name else []
        return
    for child in ast.iter_child_nodes(node):
        yield from _paths(child, name)


def _stored(node: ast.AST) -> set[str]:
    """Return the names that a statement or function binds."""
    bound = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}
    return bound | {n.arg for n in ast.walk(node) if isinstance(n, ast.arg)}


def _changed(function: ast.AST) -> Iterator[str]:
    """Yield the names, and names of attributes, outside a function whose values it changes."""
    declared = {name for n in ast.walk(function) if isinstance(n, ast.Global) for name in n.names}
    yield from declared
    local = _stored(function) - declared
    for n in ast.walk(function):
        if isinstance(n, ast.Subscript) and not isinstance(n.ctx, ast.Load):
            target: ast.AST = n.value
        elif isinstance(n, ast.Attribute) and (n.attr in _CHANGING or not isinstance(n.ctx, ast.Load)):
            target = n.value
        else:
            continue
        while isinstance(target, ast.Subscript):
            target = target.value
        if isinstance(target, ast.Attribute):
            yield target.attr
        elif isinstance(target, ast.Name) and target.id not in local:
            yield target.id

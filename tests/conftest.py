"""What the tests of the core share: an empty store, a small trained teacher, and real processes that can be killed."""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
from hypothesis import settings

from pdlib.engine import execute
from pdlib.specs import Training
from pdlib.store import Store

# Times differ from machine to machine, examples need not: no deadline, and the same ones each time.
settings.register_profile("pdlib", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("pdlib")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store without a published layer."""
    return Store(tmp_path / "store", published=None)


@pytest.fixture(scope="session")
def _trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("trained")
    execute([tiny.TEACHER], Store(root, published=None), n_workers=1, progress=False)
    return root


@pytest.fixture
def taught(tmp_path: Path, _trained: Path) -> Store:
    """A store of its own that holds `tiny.TEACHER`, trained."""
    shutil.copytree(_trained, tmp_path / "taught")
    return Store(tmp_path / "taught", published=None)


@pytest.fixture
def teacher() -> Training:
    """The training that `taught` holds."""
    return tiny.TEACHER


@pytest.fixture(scope="session")
def start() -> Callable[..., Any]:
    """Start a function in a process of its own, which a test may kill; the package is already loaded there."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pdlib.engine", "scipy.stats"])

    def started(function: Callable[..., None], *arguments: Any) -> Any:
        process = context.Process(target=function, args=arguments, daemon=True)
        process.start()
        return process

    return started

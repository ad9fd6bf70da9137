"""What the tests of the core share: an empty store, a small trained teacher, and real processes that can be killed."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:  # torch takes seconds to load, and the tests of the book do without it
    from pdlib.store import Store

# Times differ from machine to machine, examples need not: no deadline, and the same ones each time.
settings.register_profile("pdlib", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("pdlib")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Tests are too small to share among threads, and the machine may be busy."""
    if "torch" in sys.modules:
        from pdlib.training.online_sgd import set_threads

        set_threads(1)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store without a published layer."""
    from pdlib.store import Store

    return Store(tmp_path / "store", published=None)


@pytest.fixture(scope="session")
def _trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import tiny

    from pdlib.engine import execute
    from pdlib.store import Store

    root = tmp_path_factory.mktemp("trained")
    execute([tiny.TEACHER], Store(root, published=None), n_workers=1, progress=False)
    return root


@pytest.fixture
def taught(tmp_path: Path, _trained: Path) -> Store:
    """A store of its own that holds `tiny.TEACHER`, trained."""
    from pdlib.store import Store

    shutil.copytree(_trained, tmp_path / "taught")
    return Store(tmp_path / "taught", published=None)


@pytest.fixture(scope="session")
def start() -> Callable[..., Any]:
    """Start a function in a process of its own, which a test may kill; the package is already loaded there."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tiny", "pdlib.engine", "scipy.stats"])

    def started(function: Callable[..., None], *arguments: Any, **named: Any) -> Any:
        process = context.Process(target=function, args=arguments, kwargs=named, daemon=True)
        process.start()
        return process

    return started


@pytest.fixture(scope="module")  # while it is open, its event loop is in the way of others
def browser() -> Iterator[Any]:
    """A headless Chromium. Without one these tests are skipped on a user's machine and fail in CI."""
    from pdlib import book, pages

    try:
        path = book.find_browser()
    except pages.PageError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()

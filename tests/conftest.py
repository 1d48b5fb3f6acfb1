"""What all tests share: how properties are searched for, and a browser.

The browser is Debian's Chromium; where there is none, the tests of pages are skipped.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

# A busy machine is no counterexample.
settings.register_profile("streamproc", deadline=None)
settings.load_profile("streamproc")

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Instead of pytest-playwright's, which lives as long as the session: while a synchronous playwright is open, its
    event loop runs in this thread, and no test that is a coroutine can.
    """
    executable = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if executable is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium, or set CHROMIUM to its path")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable)
        yield browser
        browser.close()

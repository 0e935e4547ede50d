"""What the tests of pages to play with share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from browser import MISSING, Page, browser_path, chromium


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    if browser_path() is None:
        pytest.skip(MISSING)
    with chromium(tmp_path_factory.mktemp("profile")) as browser:
        page = browser.page()
        page.offline()
        yield page

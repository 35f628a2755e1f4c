import importlib
import os
import shutil
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """Chromium without a window; where it is not installed, tests are passed over, but not in CI."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None and "CI" not in os.environ:
        pytest.skip("Chromium is not installed")
    load = importlib.import_module if "CI" in os.environ else pytest.importorskip
    with load("playwright.sync_api").sync_playwright() as playwright:
        # A container's root has no sandbox; the only page is ours.
        running = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield running
        running.close()

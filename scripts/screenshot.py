"""Takes the picture of the report that README.md shows.

    python scripts/screenshot.py report docs/report.png

Needs Debian's chromium. The page is opened from its file, without a network.
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

WIDTH, HEIGHT = 1280, 860


def main() -> None:
    """Reads the report's folder and the picture's path."""
    folder, picture = Path(sys.argv[1]), Path(sys.argv[2])
    arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto((folder / "index.html").resolve().as_uri())
        page.wait_for_timeout(3000)  # the charts are drawn one after the other
        page.screenshot(path=picture)
        browser.close()


if __name__ == "__main__":
    main()

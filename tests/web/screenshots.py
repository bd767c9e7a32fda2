"""`python -m tests.web.screenshots [STORE]`, or `make screenshots`: takes the pictures of the page for the docs."""

import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

from slimseq.models_store.places import embedded_store
from tests.docs.tutorial import PAGE, blocks_of, terminal
from tests.service.conftest import free_port, running_service
from tests.web.conftest import ARGUMENTS, CHROMIUM

IMAGES = Path(__file__).parents[2] / "docs" / "images"
TEXT = "The train is late. We are waiting at the station and drinking a cup of coffee."
PLAYGROUND = "?task=translation&variant=original&variant=compact&variant=pruned&text=" + quote(TEXT)
VARIANTS = "variants?task=translation&x=size"


def main(store: Path) -> None:
    """Writes `playground.png`, `variants.png` and `tutorial.png`."""
    take_pictures_of_embedded(store)
    take_picture_of_tutorial()


def take_picture_of_tutorial() -> None:
    """Enters the commands of the tutorial, opens its chart, and writes `tutorial.png`."""
    from playwright.sync_api import sync_playwright

    port = free_port()
    with (
        tempfile.TemporaryDirectory() as folder,
        terminal(Path(folder), port) as shell,
        sync_playwright() as playwright,
    ):
        for commands, _ in blocks_of(PAGE.read_text(encoding="utf-8")):
            # The last block stops the service.
            if "kill" not in commands:
                shell.enter(commands)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1280, "height": 1000}, reduced_motion="reduce")
        page.goto(f"http://127.0.0.1:{port}/#/{VARIANTS}")
        page.locator(".plot a.point").first.wait_for()
        page.screenshot(path=IMAGES / "tutorial.png")
        browser.close()


def take_pictures_of_embedded(store: Path) -> None:
    """Writes `playground.png` and `variants.png`, with the variants of a store."""
    from playwright.sync_api import sync_playwright

    with (
        tempfile.TemporaryDirectory() as folder,
        running_service(Path(folder) / "log", store=store) as service,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1280, "height": 1340}, reduced_motion="reduce")
        page.goto(f"http://127.0.0.1:{service.port}/#/{PLAYGROUND}")
        # The picture is of the second run. The first one loads the variants, so its times are long.
        for _ in range(2):
            page.get_by_role("button", name="Run", exact=True).click()
            page.get_by_role("button", name="Stop").wait_for(state="hidden")
            page.locator(".output ins").nth(1).wait_for()
        page.mouse.move(0, 0)
        page.screenshot(path=IMAGES / "playground.png")
        page.goto(f"http://127.0.0.1:{service.port}/#/{VARIANTS}")
        page.locator("table").first.wait_for()
        page.screenshot(path=IMAGES / "variants.png")
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else embedded_store())

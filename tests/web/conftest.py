"""Tests of the page in a real Chromium, served by a real service.

Every visit fails if the browser's console shows an error, or if the page contacts another host than the service.
"""

import importlib.util
import json
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import pytest

from slimseq.models_store.store import Store
from tests.service.client import Service
from tests.service.conftest import running_service

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# Options of Chromium: tests may run as root and without a graphics card, and Chromium itself should contact nobody.
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
TIMEOUT_MS = 90_000
# The playground with two variants, and a text that they translate differently.
TWO = "?task=translation&variant=original&variant=compact&text="
DIFFERING = "The train was late again. We waited at the station and drank a cup of coffee."


class Visitor:
    """A person at the page, with a browser tab. `complaints` holds what went wrong, `hosts` whom the page contacted."""

    def __init__(self, page: "Page", port: int) -> None:
        self.page = page
        self.base = f"http://127.0.0.1:{port}/"
        self.complaints: list[str] = []
        self.hosts: set[str] = set()
        page.set_default_timeout(TIMEOUT_MS)
        page.on("console", lambda message: self._on_console(message.type, message.text))
        page.on("pageerror", lambda error: self.complaints.append(f"{error}"))
        # The address of a blob has the page's own address in it.
        page.on("request", lambda request: self.hosts.add(urlsplit(request.url.removeprefix("blob:")).netloc))
        page.on("response", lambda response: self._on_response(response.url, response.status))

    def open(self, view: str = "") -> "Page":
        """Opens a view and waits until it has loaded its data."""
        self.page.goto(f"{self.base}#/{view}")
        self.page.wait_for_selector("main h1, main .problem")
        self.page.wait_for_selector("main .loading", state="detached")
        return self.page

    def answer(self, path: str, body: object, status: int = 200, kind: str = "application/json") -> None:
        """Makes the browser answer requests for a path itself, in the place of the service."""

        def respond(route: "Route") -> None:
            route.fulfill(status=status, content_type=kind, body=body if isinstance(body, str) else json.dumps(body))

        self.page.route(lambda url: urlsplit(url).path == path, respond)

    def serious_violations(self) -> list[str]:
        """Returns the faults of accessibility that axe calls serious or critical."""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self.page).response["violations"]
        return [
            f"{each['id']}: {node['html']}"
            for each in found
            if each["impact"] in ("serious", "critical")
            for node in each["nodes"]
        ]

    def _on_console(self, kind: str, text: str) -> None:
        # Chromium writes a line for each answer with an error status, too. Some tests want such an answer.
        if kind in ("error", "warning") and not text.startswith("Failed to load resource"):
            self.complaints.append(text)

    def _on_response(self, url: str, status: int) -> None:
        if "/assets/" in url and status >= 400:
            self.complaints.append(f"{status} for {url}")


class Visit(Protocol):
    """Opens a tab with options of a browser context."""

    def __call__(self, **options: Any) -> AbstractContextManager[Visitor]: ...


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of Chromium. Skips the test where there is none."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("Playwright is not installed: pip install 'slimseq[dev]'")
    return CHROMIUM


# The scope is a module and no session, because Playwright's event loop runs as long as the browser, and tests of other
# files start loops of their own.
@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator["Browser"]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture(scope="session")
def service(chromium: str, embedded: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service that the browser visits. The reference answers all requests again, for live agreement."""
    log = tmp_path_factory.mktemp("web") / "log"
    with running_service(log, store=embedded.root, shadow_share=1) as running:
        yield running


@pytest.fixture
def visit(browser: "Browser", service: Service) -> Visit:
    """Opens a tab with options, such as a size. After the block it checks the console and the hosts."""

    @contextmanager
    def visiting(**options: Any) -> Iterator[Visitor]:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        visitor = Visitor(context.new_page(), service.port)
        yield visitor
        context.close()
        assert visitor.complaints == []
        assert visitor.hosts == {f"127.0.0.1:{service.port}"}

    return visiting


@pytest.fixture
def visitor(visit: Visit) -> Iterator[Visitor]:
    """A visitor with the usual options."""
    with visit() as visiting:
        yield visiting

"""The page at `/` as HTTP: what its headers promise. `tests/web` drives it in a browser."""

import re

import pytest

from tests.service.client import Service


def assets_of(service: Service, path: str) -> list[str]:
    return [f"/{each}" for each in re.findall(r'(?:href|src)="(assets/[^"]+)"', service.get(path).text)]


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_the_pages_allow_no_inline_code_and_no_other_site(service: Service, path: str) -> None:
    page = service.get(path)

    policy = page.headers["content-security-policy"]
    assert page.status == 200 and page.headers["content-type"] == "text/html; charset=utf-8"
    assert policy.startswith("default-src 'self';") and "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert "://" not in page.text


def test_the_page_makes_the_browser_refuse_html_from_strings(service: Service) -> None:
    assert "require-trusted-types-for 'script'" in service.get("/").headers["content-security-policy"]


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_page_is_sent_again_only_when_it_has_changed(service: Service, path: str) -> None:
    first = service.get(path)

    again = service.get(path, {"If-None-Match": first.headers["etag"]})

    assert first.headers["cache-control"] == "no-cache"
    assert again.status == 304 and again.body == b""


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_assets_have_their_types_and_are_asked_for_each_time(service: Service, path: str) -> None:
    answers = [service.get(asset) for asset in assets_of(service, path)]

    assert answers and all(answer.status == 200 for answer in answers)
    assert {answer.headers["cache-control"] for answer in answers} == {"no-cache"}
    assert {answer.headers["content-type"].split(";")[0] for answer in answers} <= {
        "text/javascript", "text/css", "image/svg+xml",
    }  # fmt: skip


def test_an_asset_that_is_still_there_is_not_sent_again(service: Service) -> None:
    (script, *_) = [asset for asset in assets_of(service, "/") if asset.endswith("app.js")]

    again = service.get(script, {"If-None-Match": service.get(script).headers["etag"]})

    assert again.status == 304


@pytest.mark.parametrize("asset", ["nope.js", "../routes.py", "%2e%2e/routes.py", "views/", ""])
def test_only_assets_are_served(service: Service, asset: str) -> None:
    answer = service.get(f"/assets/{asset}")

    assert answer.problem.status == 404


def test_the_pages_are_not_part_of_the_api(service: Service) -> None:
    assert not {"/", "/docs", "/assets/{path}"} & set(service.get("/openapi.json").json["paths"])

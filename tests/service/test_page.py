"""The pages `/` and `/docs` over HTTP: their headers and assets. `tests/web` drives them in a browser."""

import re

import pytest

from tests.service.client import Service


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_page_allows_no_inline_code_and_no_other_site_and_is_sent_again_only_when_it_has_changed(
    service: Service, path: str
) -> None:
    page = service.get(path)
    again = service.get(path, {"If-None-Match": page.headers["etag"]})

    policy = page.headers["content-security-policy"]
    assert page.status == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert policy.startswith("default-src 'self';")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert path == "/docs" or "require-trusted-types-for 'script'" in policy
    assert "://" not in page.text
    assert page.headers["cache-control"] == "no-cache"
    assert again.status == 304
    assert again.body == b""


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_assets_have_their_types_and_are_asked_for_each_time(service: Service, path: str) -> None:
    assets = re.findall(r'(?:href|src)="(assets/[^"]+)"', service.get(path).text)
    answers = [service.get(f"/{asset}") for asset in assets]
    again = service.get(f"/{assets[0]}", {"If-None-Match": answers[0].headers["etag"]})

    assert answers
    assert all(answer.status == 200 for answer in answers)
    assert {answer.headers["cache-control"] for answer in answers} == {"no-cache"}
    assert {answer.headers["content-type"].split(";")[0] for answer in answers} <= {
        "text/javascript", "text/css", "image/svg+xml",
    }  # fmt: skip
    assert again.status == 304


@pytest.mark.parametrize("asset", ["nope.js", "../routes.py", "%2e%2e/routes.py", "views/", ""])
def test_only_assets_are_served(service: Service, asset: str) -> None:
    answer = service.get(f"/assets/{asset}")

    assert answer.problem.status == 404


def test_the_pages_are_not_part_of_the_api(service: Service) -> None:
    assert not {"/", "/docs", "/assets/{path}"} & set(service.get("/openapi.json").json["paths"])

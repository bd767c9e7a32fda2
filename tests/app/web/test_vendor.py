from slimseq.app.web.vendor import VENDORED, locked, sha256_of


def test_vendored_files_are_those_of_the_pinned_packages() -> None:
    wanted = {
        f"{name}/{file}": sha256 for name, package in locked().items() for file, sha256 in package["files"].items()
    }

    found = {path.relative_to(VENDORED).as_posix(): sha256_of(path) for path in VENDORED.rglob("*") if path.is_file()}

    assert found == wanted


def test_every_package_is_vendored_with_its_licence() -> None:
    for package in locked().values():
        assert package["license"] in ("MIT", "BSD-3-Clause", "Apache-2.0", "ISC")
        assert "LICENSE" in package["files"]
        assert package["integrity"].startswith("sha512-")

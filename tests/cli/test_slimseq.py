"""`slimseq` as a newcomer meets it: the overview, a verb's help, typing errors, versions, and `serve`."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from importlib.metadata import version
from pathlib import Path

import pytest

from slimseq.cli.main import VERBS as ALL_VERBS
from slimseq.models_store.places import embedded_store
from tests.command_line import compression, invoked

HEAVY = ("torch", "transformers", "onnx", "datasets", "optimum")
VERBS = tuple(verb for verb in ALL_VERBS if verb not in ("serve", "deploy", "keys"))
PAGES = ("", *VERBS, "deploy", "keys", "serve")


# Prints each page's text and the heavy modules that were imported for it.
SHOWING = """
import io, json, sys
from contextlib import redirect_stdout
from slimseq.cli.main import run
verbs, heavy = json.loads(sys.argv[1])
for verb in verbs:
    with redirect_stdout(io.StringIO()) as out:
        run([*([verb] if verb else []), "--help"])
    print(json.dumps([verb, out.getvalue(), [name for name in heavy if name in sys.modules]]))
"""


def test_help_fits_80_columns_and_imports_nothing_heavy() -> None:
    command = [sys.executable, "-c", SHOWING, json.dumps([PAGES, HEAVY])]
    done = subprocess.run(command, env=os.environ | {"COLUMNS": "80"}, capture_output=True, text=True, check=True)

    for verb, shown, imported in map(json.loads, done.stdout.splitlines()):
        assert f"Usage: slimseq {verb}".strip() in shown
        assert max(map(len, shown.splitlines())) <= 80, verb
        assert imported == [], verb
    assert len(done.stdout.splitlines()) == len(PAGES)


def test_the_overview_has_every_verb_with_a_line_on_it() -> None:
    lines = compression("--help", COLUMNS="80").out.splitlines()

    for verb in PAGES[1:]:
        assert any(re.match(rf"│ {verb} +\w+ \w+", line) for line in lines), verb


def test_common_options_stand_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")

    shown = invoked("prune", "--help").out

    groups = re.findall(r"^╭─ (.+?) ─+╮$", shown, re.MULTILINE)
    assert groups[:3] == ["Arguments", "Common options", "What to keep"]
    assert groups[-1] == "Store and output"


def test_every_option_of_every_verb_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")

    for verb in VERBS:
        shown = invoked(verb, "--help").out
        rows = [line for line in shown.splitlines() if re.match(r"│ [ *]*(--|[A-Z]{3})", line)]
        assert rows, verb
        # Defaults are shown as they are typed.
        assert not re.search(r"\[default:\s*[(\[{<']", shown), verb
        for row in rows:
            assert re.search(r"  \S+ \S+", re.sub(r"^│ [ *]*", "", row)), (verb, row)


def test_the_version_is_that_of_the_package() -> None:
    assert compression("--version").out == f"slimseq {version('slimseq')}\n"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["prnue"], 'Unknown command "prnue". Did you mean "prune"?'),
        (["srve"], 'Unknown command "srve". Did you mean "serve"?'),
        (["prune", "translation", "original", "--data", "x", "--feedforward", "1"], "Did you mean --feed-forward?"),
        (["evaluate", "translating"], 'Choose from: "summarization", "translation".'),
        (["train", "translation"], "--data is missing; `slimseq train --help` explains it"),
        (["train", "translation", "--data", "x", "--weights", "news"], "--weights: give NAME=NUMBER"),
        (["verify", "translation/nope"], "translation has no variant 'nope'; it has"),
        (["serve", "--prot", "1"], "Did you mean --port?"),
        (["serve", "--runtime", "onnx"], "error: runtime: there is no runtime 'onnx'; there are auto, onnxruntime"),
        (["list", "translation", "a", "b"], "error: unexpected arguments: a b"),
        (["serve", "--host", "0.0.0.0"], "error: host 0.0.0.0 lets other machines in"),
        (["serve", "--port", "70000"], "port: Input should be less than or equal to 65535"),
    ],
)
def test_a_typing_error_is_one_line_that_names_what_was_meant(arguments: list[str], complaint: str) -> None:
    done = compression(*arguments)

    assert done.code == 1
    assert done.error.startswith("error: ")
    assert done.error.count("\n") == 1
    assert complaint in done.error


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_verbs_and_options(shell: str, tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path), "SHELL": f"/bin/{shell}"}

    done = compression("--install-completion", "--shell", shell, **home)

    assert done.code == 0, done.error
    written = "".join(path.read_text(encoding="utf-8") for path in tmp_path.rglob("*") if path.is_file())
    assert "quantize" in written
    assert "feed-forward" in written


def test_serve_takes_options_before_the_environment() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "slimseq", "serve", "--port", str(port), "--max-texts", "3"]
    environment = os.environ | {"SLIMSEQ_PORT": "1", "SLIMSEQ_DEFAULT_TRANSLATION": "original"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(240):
            try:
                answer = urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5)
                break
            except OSError:
                assert process.poll() is None
                time.sleep(0.25)
        assert answer.status == 200
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/variants", timeout=30) as response:
            assert json.load(response)
    finally:
        process.terminate()
        assert process.wait(30) == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "translation", "--data", "x.jsonl"),
        ("prune", "translation", "original", "--data", "x.jsonl"),
        ("distill", "translation", "original", "--data", "x.jsonl"),
        ("average", "translation", "original"),
        ("import", "google-t5/t5-small", "--task", "translation"),
        ("build", "wmt14-bart"),
        ("sign", "translation", "original", "--key", "key.pem"),
    ],
)
def test_a_verb_of_the_offline_side_says_how_to_install_it_and_writes_nothing(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    script = (
        "import sys\nfrom slimseq.cli.main import main\n"
        "sys.modules |= dict.fromkeys(('torch', 'transformers', 'yaml', 'model_signing'))\n"
        f"sys.argv = ['slimseq', *{arguments}]\nmain()"
    )
    variables = {name: value for name, value in os.environ.items() if name != "SLIMSEQ_STORE"}

    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=variables, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert re.fullmatch(
        r"error: this needs \w+; install the offline side: \S+ -m pip install -e '\S+\[compress\]'\n", done.stderr
    )
    assert list(tmp_path.iterdir()) == []


def test_help_names_no_folder_of_this_machine() -> None:
    helped = compression("serve", "--help", COLUMNS="300")

    assert helped.code == 0
    assert "--store" in helped.out
    assert str(embedded_store()) not in helped.out

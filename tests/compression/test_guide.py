"""The commands of the guide work one after the other, as they are written but for the training time."""

import re
import shlex
import subprocess
from pathlib import Path

import torch
from transformers import T5Config, T5ForConditionalGeneration

from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.command_line import compression_in
from tests.families import Family
from tests.hub import running_hub
from tests.hub_content import write_hub_model

ROOT = Path(__file__).parents[2]


def blocks() -> list[str]:
    """The shell blocks that write data and that use it."""
    text = (ROOT / "docs" / "guides" / "compress.md").read_text(encoding="utf-8")
    return re.findall(r"```bash\n(.*?)```", text, re.DOTALL)[1:]


def tiny_t5_small(tmp_path: Path) -> Path:
    """A hub's `google-t5/t5-small`, but tiny."""
    torch.manual_seed(0)
    config = T5Config(  # type: ignore[call-arg]
        d_model=32, d_kv=8, d_ff=64, num_layers=1, num_heads=4, vocab_size=512, decoder_start_token_id=0
    )
    model = T5ForConditionalGeneration(config)
    return write_hub_model(model, Family.T5, tmp_path / "hub" / "model", tmp_path / "hub" / "tokenizer")


def test_the_commands_of_the_guide_work_one_after_the_other(own_store: Store, tmp_path: Path) -> None:
    data, lines = blocks()
    work = tmp_path / "clone"
    work.mkdir()
    (work / "evaluation").symlink_to(ROOT / "evaluation")
    subprocess.run(["bash", "-e", "-c", data], cwd=work, check=True)
    printed, said = "", ""
    with running_hub({"google-t5/t5-small": tiny_t5_small(tmp_path)}) as endpoint:
        hub = {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "home")}
        for line in lines.splitlines():
            program, verb, *options = shlex.split(line.replace("--max-seconds 60", "--max-steps 4"))
            assert program == ".venv/bin/slimseq"
            if verb != "serve":
                variables = {"SLIMSEQ_STORE": str(own_store.root)} | (hub if verb == "import" else {})
                done = compression_in(work, verb, *options, **variables)
                assert done.code == 0, done.error
                printed, said = printed + done.out, said + done.error

    assert {"slim", "student", "further", "averaged", "averaged-int8"} <= set(own_store.variants(Task.TRANSLATION))
    assert {"slim", "t5-small", "t5-small-int8"} <= set(own_store.variants(Task.SUMMARIZATION))
    assert "50% of the weights of further, 50% of those of student." in printed
    assert "\r" not in said
    assert "\x1b" not in said

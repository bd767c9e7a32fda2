"""Attacks a running service with 2 GiB of memory, and prints a line for each attack: held, or not.

`python -m tests.chaos [attack …]`; `--company SECONDS` has eight clients ask for good things meanwhile, each attack
going on for so long, and compares their answers byte for byte with those of a quiet service.
"""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

import psutil

from slimseq.models_store.places import embedded_store
from tests.chaos.attacks import ATTACKS, Attack
from tests.chaos.company import alone, in_company
from tests.chaos.limits import memory_limit
from tests.chaos.target import Target
from tests.service.conftest import running_service

MEMORY_BYTES = 2 * 1024**3
ADMIN = "chaos"


def main() -> int:
    """Makes the attacks; returns 1 where one did not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("attacks", nargs="*", choices=[[], *(each.__name__ for each in ATTACKS)], metavar="attack")
    parser.add_argument("--company", type=float, default=0, metavar="SECONDS")
    arguments = parser.parse_args()
    chosen = [each for each in ATTACKS if not arguments.attacks or each.__name__ in arguments.attacks]
    with tempfile.TemporaryDirectory() as folder, memory_limit(MEMORY_BYTES) as limit:
        store, log = Path(folder) / "artifacts", Path(folder) / "log"
        shutil.copytree(embedded_store(), store)
        _say(f"2 GiB of memory, by {limit.kind}")
        started = running_service(log, prefix=limit.prefix, store=store, admin_token=ADMIN, request_timeout_seconds=30)
        with started as service:
            service.wait_until_ready()
            target = Target(service, store, log, psutil.Process(service.pid), {"Authorization": f"Bearer {ADMIN}"})
            held = [_is_held(target, attack, arguments.company) for attack in chosen]
    _say(f"{sum(held)} of {len(held)} held")
    return 0 if all(held) else 1


def _is_held(target: Target, attack: Attack, company_seconds: float) -> bool:
    started = time.monotonic()
    try:
        complaints = _in_company(target, attack, company_seconds) if company_seconds else list(attack(target))
        if target.service.post("/translate", {"text": "Good morning."}).status != 200:
            complaints.append("the service does not answer as before")
    except OSError as error:
        complaints = [f"{type(error).__name__}: {error}"]
    words = "held" if not complaints else f"NOT held: {'; '.join(complaints[:3])}"
    _say(f"{attack.__name__.replace('_', ' ')}: {words} ({time.monotonic() - started:.0f} s)")
    return not complaints


def _in_company(target: Target, attack: Attack, seconds: float) -> list[str]:
    """Repeats an attack for so long, and says which good answers were others meanwhile."""
    expected = alone(target.service)
    until = time.monotonic() + seconds
    with in_company(target.service, expected) as company:
        while time.monotonic() < until:
            for _ in attack(target):
                pass
    if company.differences:
        return [f"{len(company.differences)} of {company.answers} answers differ: {company.differences[0]}"]
    _say(f"  {company.answers} good answers, all the same; the longest took {max(company.seconds):.1f} s")
    return []


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

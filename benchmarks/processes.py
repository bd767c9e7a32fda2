"""`python -m benchmarks.processes`: how many cores one process of the service can use, and what fronts several.

A process has one interpreter lock. The kernels of a model run without it, and everything else of a request mostly with
it. This command measures both, by CPU time, and then simulates machines with many cores: the real service under load,
with kernels that sleep as long as they would compute (`benchmarks.systems.sleeping_kernels`). It shows at how many
workers one process stops to grow. A worker stands for a core.

Two cores are enough: one for the service, and one for the clients. `--slower 24` lets kernels take 24 times as long:
in a step the decoder of distilbart-cnn-12-6 reads about 24 times the weights of the embedded models.

With `--processes 4`, so many services are compared behind one port: behind nginx, and with a port that they share
(`SO_REUSEPORT`). For this comparison kernels have to be so slow that Python is no limit.
"""

import argparse
import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import psutil

from benchmarks.command import MILLISECONDS, BenchmarkFailed, Record, make_parser, measured_on, record, run, say, table
from benchmarks.loads.load import HOST, Client, Figures, Request, closed_loop, figures, make_requests
from benchmarks.systems.servers import ROUTES, Server, free_port, running
from benchmarks.systems.sleeping_kernels import KernelTimes, measure_kernels, server_arguments
from slimseq.inference.generator import open_generator
from slimseq.models_store.manifest import Manifest, Task
from slimseq.models_store.store import Store

WORKERS = (1, 2, 4, 8, 16, 32, 64)
# Only our own engine can sleep.
RUNTIME = "onnxruntime"
# Different texts of a load: the sleeping encoder really runs once for each shape of its input.
TEXTS = 8
# One process uses its cores well while it has this share of the answers that its first worker's rate promises.
GOOD_SHARE = 0.8
PROXY = Path(__file__).parents[1] / "deploy" / "proxy" / "nginx.conf"
# nginx allows so many connections of an address (`limit_conn`).
MAX_PROXY_CLIENTS = 64
STOP_SECONDS = 10.0


def measure(given: argparse.Namespace, scratch: Path) -> Record:
    clients_of_proxy = given.processes * given.front_workers * given.rows
    if clients_of_proxy > MAX_PROXY_CLIENTS:
        raise BenchmarkFailed(
            f"--processes {given.processes} has {clients_of_proxy} clients, and nginx allows {MAX_PROXY_CLIENTS} of an "
            "address: use fewer --processes, --front-workers or --rows"
        )
    if given.processes and shutil.which("nginx") is None:
        raise BenchmarkFailed("--processes needs nginx, which is not installed")
    store = Store(given.store)
    manifest = store.manifest(given.task, given.variant)
    requests = make_requests(manifest, given.tokens, given.beams)[:TEXTS]
    with open_generator(store, given.task, given.variant, RUNTIME, 1, 1) as generator:
        input_tokens = fmean(len(generator.encode(each.text).ids) for each in requests)
        measured = measure_kernels(generator, [each.text for each in requests], requests[0].options)
    kernels = measured.times(given.slower)
    steps = fmean(each.options.max_new_tokens for each in requests)
    kernel_seconds = kernels.request(input_tokens, steps, given.rows * requests[0].options.num_beams, inputs=given.rows)
    say(f"kernels of a request: {kernel_seconds * MILLISECONDS:.1f} ms on one core")
    found = record(task=given.task.value, variant=given.variant, rows=given.rows, slower=given.slower)
    found |= {"seconds": given.seconds, "input_tokens": input_tokens, "steps": steps, "kernels": vars(kernels)}
    found |= {"num_beams": requests[0].options.num_beams, "kernel_seconds": kernel_seconds, "fronts": None}
    found["workers"] = [
        _measure_workers(store, manifest, requests, kernels, workers, given, scratch) for workers in given.workers
    ]
    if given.processes:
        found["fronts"] = _compare_fronts(store, manifest, requests, kernels, given, scratch)
    return found


def _measure_workers(
    store: Store,
    manifest: Manifest,
    requests: Sequence[Request],
    kernels: KernelTimes,
    workers: int,
    given: argparse.Namespace,
    scratch: Path,
) -> Record:
    """Measures one process with so many workers, each of which always has `--rows` requests."""
    server = _service(store, manifest, kernels, workers, f"workers-{workers}")
    with running(server, scratch, requests) as client:
        measured, cpu_seconds = _closed(client, workers * given.rows, given.seconds)
    say(f"{workers} workers: {measured.requests_per_second:.1f} requests/s")
    return {"workers": workers, "cpu_seconds": cpu_seconds, "figures": measured}


def _closed(client: Client, clients: int, seconds: float) -> tuple[Figures, float]:
    """Returns the figures of clients that wait for their answers, and the CPU seconds of the server for an answer."""
    process = psutil.Process(client.process_id)
    before = process.cpu_times()
    outcomes = client.run(lambda send: closed_loop(send, client.requests, clients, seconds))
    after = process.cpu_times()
    cpu_seconds = after.user + after.system - before.user - before.system
    return figures(outcomes, seconds), cpu_seconds / len(outcomes)


def _service(
    store: Store,
    manifest: Manifest,
    kernels: KernelTimes,
    workers: int,
    name: str,
    reuse_port: bool = False,
) -> Server:
    variant = f"{manifest.task}/{manifest.variant}"
    settings = {
        "store": store.root,
        "preload": variant,
        "runtime": RUNTIME,
        "workers": workers,
        "threads": 1,
        "log_level": "warning",
    }
    environment = {f"SLIMSEQ_{key.upper()}": str(value) for key, value in settings.items()}
    # Without a limit that many workers would reach.
    environment |= {"OMP_NUM_THREADS": "1", "SLIMSEQ_MAX_CONNECTIONS": "4096"}
    path = f"{ROUTES[manifest.task]}?variant={manifest.variant}"
    return Server(name, "", server_arguments(kernels, reuse_port), path, "/readyz", environment)


def _compare_fronts(
    store: Store,
    manifest: Manifest,
    requests: Sequence[Request],
    kernels: KernelTimes,
    given: argparse.Namespace,
    scratch: Path,
) -> Record:
    """Measures one process alone, and several behind each front with as many clients for each process."""
    workers, processes = given.front_workers, given.processes
    clients = workers * given.rows
    with running(_service(store, manifest, kernels, workers, "alone"), scratch, requests) as client:
        loads = [{"front": "one process", **_load(client, clients, given.seconds)}]
    for front, start in (("nginx", _behind_nginx), ("shared port", _on_one_port)):
        with ExitStack() as stack:
            services = [
                _service(store, manifest, kernels, workers, f"{front} {number}", front == "shared port")
                for number in range(processes)
            ]
            client = start(services, requests, scratch, stack)
            loads.append({"front": front, **_load(client, processes * clients, given.seconds)})
        say(f"{processes} processes, {front}: {loads[-1]['figures'].requests_per_second:.1f} requests/s")
    return {"processes": processes, "workers": workers, "clients": clients, "loads": loads}


def _load(client: Client, clients: int, seconds: float) -> Record:
    return {"figures": client.closed(clients, seconds)}


def _behind_nginx(services: Sequence[Server], requests: Sequence[Request], scratch: Path, stack: ExitStack) -> Client:
    """Starts the services on ports of their own, and nginx with `deploy/proxy/nginx.conf` in front of them."""
    clients = [stack.enter_context(running(service, scratch, requests)) for service in services]
    return stack.enter_context(_nginx(clients, scratch))


@contextmanager
def _nginx(clients: Sequence[Client], scratch: Path) -> Iterator[Client]:
    port = free_port()
    servers = "\n".join(f"    server {HOST}:{client.port};" for client in clients)
    lines = PROXY.read_text(encoding="utf-8").splitlines()
    lines = [servers if line.strip().startswith("server service:8000") else line for line in lines]
    text = "\n".join(lines).replace("listen 8080", f"listen {HOST}:{port}").replace("/tmp/", f"{scratch}/")
    configuration = scratch / "nginx.conf"
    configuration.write_text(text, encoding="utf-8")
    process = subprocess.Popen(["nginx", "-e", "stderr", "-c", str(configuration), "-g", "daemon off;"])
    try:
        client = replace(clients[0], port=port, process_id=None)
        _wait_until_answering(client, process)
        yield client
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)


def _wait_until_answering(client: Client, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + STOP_SECONDS
    while True:
        with contextlib.suppress(BenchmarkFailed):
            client.call("GET", "/healthz")
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise BenchmarkFailed("nginx does not start")
        time.sleep(0.1)


def _on_one_port(services: Sequence[Server], requests: Sequence[Request], scratch: Path, stack: ExitStack) -> Client:
    """Starts the services on one port. Only the first one is asked whether it is ready, so all are waited for."""
    port = free_port()
    clients = [stack.enter_context(running(service, scratch, requests, port)) for service in services]
    return replace(clients[0], process_id=None)


def lines(found: Record) -> Iterator[str]:
    slower = f" Kernels take {found['slower']:g} times as long as measured." if found["slower"] != 1 else ""
    yield from (f"## Cores that one process can use: {found['task']}/{found['variant']}", "")
    yield (
        f"`python -m benchmarks.processes`, {found['seconds']:g} s a load, {found['rows']} requests in each worker, "
        f"{found['input_tokens']:.0f} tokens in and {found['steps']:.0f} out, {found['num_beams']} beams. The kernels "
        f"of a request take {found['kernel_seconds'] * MILLISECONDS:.1f} ms of one core; here they sleep.{slower}"
    )
    yield from ("", measured_on(found), "")
    head = ("workers", "requests/s", "times one worker", "of what one promises", "p95 ms", "CPU ms", "share", "errors")
    first = found["workers"][0]
    first_rate = first["figures"]["requests_per_second"] / first["workers"]
    yield from table(head, [_row(each, first_rate, found["kernel_seconds"]) for each in found["workers"]])
    yield ""
    yield (
        "`CPU ms` is the process's CPU time for an answer, without kernels: nearly all of it with the interpreter lock "
        "held. `share` is that time, of the sum of it and the kernels."
    )
    good = [each for each in found["workers"] if _promised(each, first_rate) >= GOOD_SHARE]
    yield from (
        "",
        f"One process has at least {GOOD_SHARE:.0%} of what its first worker promises up to "
        f"{max(each['workers'] for each in good)} workers.",
    )
    if found["fronts"]:
        yield from ("", *_front_lines(found["fronts"]))


def _row(each: Record, first_rate: float, kernel_seconds: float) -> list[str]:
    measured = each["figures"]
    return [
        str(each["workers"]),
        f"{measured['requests_per_second']:.1f}",
        f"{measured['requests_per_second'] / first_rate:.2f}" if first_rate else "-",
        f"{_promised(each, first_rate):.0%}",
        "-" if measured["p95_ms"] is None else f"{measured['p95_ms']:.0f}",
        f"{each['cpu_seconds'] * MILLISECONDS:.2f}",
        f"{each['cpu_seconds'] / (each['cpu_seconds'] + kernel_seconds):.0%}",
        str(measured["errors"]),
    ]


def _promised(each: Record, first_rate: float) -> float:
    rate: float = each["figures"]["requests_per_second"]
    return rate / (first_rate * each["workers"]) if first_rate else 0.0


def _front_lines(fronts: Record) -> Iterator[str]:
    yield (
        f"{fronts['processes']} processes with {fronts['workers']} workers behind one port, and "
        f"{fronts['clients']} clients for each process:"
    )
    yield ""
    alone = fronts["loads"][0]["figures"]["requests_per_second"]
    rows = []
    for load in fronts["loads"]:
        measured = load["figures"]
        rate = measured["requests_per_second"]
        p95 = "-" if measured["p95_ms"] is None else f"{measured['p95_ms']:.0f}"
        rows.append(
            [load["front"], f"{rate:.1f}", f"{rate / alone:.2f}" if alone else "-", p95, str(measured["errors"])]
        )
    yield from table(("front", "requests/s", "times one process", "p95 ms", "errors"), rows)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = make_parser("processes", __doc__)
    parser.add_argument("--task", type=Task, choices=list(Task), default=Task.TRANSLATION)
    parser.add_argument("--variant", default="quantized", help="that ONNX Runtime serves")
    parser.add_argument("--workers", nargs="+", type=int, default=WORKERS, help="of the one process, a core each")
    parser.add_argument("--rows", type=int, default=4, help="clients for each worker: requests that share its steps")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each load")
    parser.add_argument("--tokens", nargs=2, type=int, default=(16, 64), help="of short and long outputs")
    parser.add_argument("--beams", type=int, help="the variant's own by default")
    parser.add_argument("--slower", type=float, default=1.0, help="times that kernels take as long as measured")
    parser.add_argument("--processes", type=int, default=0, help="that are compared behind one port; 0: none")
    parser.add_argument("--front-workers", type=int, default=2, help="of each of these processes")
    run(parser, arguments, measure, lines)


if __name__ == "__main__":
    main()

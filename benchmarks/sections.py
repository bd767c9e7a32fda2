"""Records of benchmarks in Markdown: what a command prints, and what a page under `docs/` consists of.

Every figure is one of a record's, and every ratio is of two figures of one run, whose systems took turns.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from benchmarks.command import Record
from benchmarks.turns import Ratio
from benchmarks.workload import beams_in_words
from slimseq.compression.report.ablation import Ablation, AblationRow

OURS = "slimseq-"
COMPARED = ("optimum-int8", "ctranslate2-int8", "transformers-fp32")
# Operators that a profile shows; the others are added up.
SHOWN_OPERATORS = 16


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yields a table's lines; the first column is of words, the others of figures."""
    yield f"| {' | '.join(head)} |"
    yield f"| --- |{' ---: |' * (len(head) - 1)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)


def table_of(rows: Sequence[Record], columns: Mapping[str, str]) -> Iterator[str]:
    """Yields a table with a row a record; a column is a heading, and a format of the record's fields."""
    yield from table(list(columns), [[form.format_map(row) for form in columns.values()] for row in rows])


def number(value: float | None, digits: int) -> str:
    """Returns a figure in words, `-` where there is none."""
    return "-" if value is None else f"{value:,.{digits}f}"


def taken_on(found: Record) -> str:
    """Returns on what, with what and when figures were measured, of their own record."""
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    return f"{found['host']} ({' '.join(found['cpu_flags'])}), {found['measured_at'][:10]}; {versions}."


def peers_section(found: Record) -> Iterator[str]:
    """Yields the section of `benchmarks.peers`."""
    settings = found["settings"]
    yield (
        f"`python -m benchmarks.peers`, {settings['threads']} threads, {settings['new_tokens']} tokens out; random "
        f"models read {settings['input_tokens']} tokens. The faster layout of each system; output tokens a second, by "
        "medians."
    )
    yield from ("", taken_on(found), "")
    for model, beams in dict.fromkeys((row["model"], row["beams"]) for row in found["rows"]):
        rows = [row for row in found["rows"] if (row["model"], row["beams"]) == (model, beams)]
        systems = list(dict.fromkeys(row["system"] for row in rows))
        batches = sorted({row["batch"] for row in rows})
        heads = [f"batch {batch}" for batch in batches]
        yield from (f"### {model}, {beams_in_words(beams)}", "")
        cells = [_system(name, rows, batches) for name in systems]
        yield from table(("system", *heads, "first token, ms", "peak MB"), cells)
        yield ""
        ratios = [_times_as_fast(name, rows, batches) for name in COMPARED if name in systems]
        yield from table(("Slimseq, times as fast as", *heads), ratios)
        yield ""
    yield from (f"{name} is left out: {reason}" for name, reason in found["left_out"].items())


def _system(name: str, rows: Sequence[Record], batches: Sequence[int]) -> list[str]:
    by_batch = {row["batch"]: row for row in rows if row["system"] == name}
    speeds = [f"{by_batch[batch]['tokens_per_second']:,.0f}" if batch in by_batch else "-" for batch in batches]
    first, last = by_batch[min(by_batch)], by_batch[max(by_batch)]
    return [name, *speeds, f"{first['first_token_ms']:.1f}", f"{last['peak_bytes'] / 1e6:,.0f}"]


def _times_as_fast(other: str, rows: Sequence[Record], batches: Sequence[int]) -> list[str]:
    """Returns how many times as fast our own engine and our fastest runtime of the same type are."""
    kind = other.rpartition("-")[2]
    cells = []
    for batch in batches:
        speeds = {row["system"]: row["tokens_per_second"] for row in rows if row["batch"] == batch}
        ours = {name: speed for name, speed in speeds.items() if name.startswith(OURS) and name.endswith(kind)}
        engine = ours.get(f"{OURS}onnxruntime-{kind}")
        if other not in speeds or engine is None:
            cells.append("-")
        else:
            cells.append(f"{engine / speeds[other]:.2f} (auto {max(ours.values()) / speeds[other]:.2f})")
    return [other, *cells]


def profile_section(found: Record) -> Iterator[str]:
    """Yields the section of `benchmarks.step_profile`."""
    yield (
        f"`python -m benchmarks.step_profile {found['task']} {found['variant']}`: inputs of the bundled sample that "
        f"begin together, {beams_in_words(found['beams'])}, {found['new_tokens']} tokens out, one thread; "
        "microseconds. Operators are timed by ONNX Runtime's profiler, which takes a part of each."
    )
    yield from ("", taken_on(found), "")
    profiles = found["profiles"]
    shares = Counter[str]()
    for each in profiles:
        whole = sum(each["operators_us"].values())
        shares.update({name: spent / whole for name, spent in each["operators_us"].items()})
    shown = [name for name, _ in shares.most_common(SHOWN_OPERATORS)]
    figures = [
        ("all encoders, once", [each["encoder_us"] for each in profiles]),
        ("a step", [each["step_us"] for each in profiles]),
        ("its search and caches", [each["step_us"] - each["decoder_us"] for each in profiles]),
        ("its graph", [each["decoder_us"] for each in profiles]),
        ("nodes of the graph", [each["nodes"] for each in profiles]),
        *((name, [each["operators_us"].get(name, 0.0) for each in profiles]) for name in shown),
        (
            "other operators",
            [sum(us for name, us in each["operators_us"].items() if name not in shown) for each in profiles],
        ),
    ]
    heads = [f"{each['inputs']} input{'s' if each['inputs'] > 1 else ''}" for each in profiles]
    yield from table(("", *heads), [[name, *(f"{value:,.0f}" for value in values)] for name, values in figures])


def serving_section(found: Record) -> Iterator[str]:
    """Yields the section of `benchmarks.serving`."""
    settings = found["settings"]
    options = settings["options"]
    search = beams_in_words(options["num_beams"], ends_early=options["early_stopping"])
    title = "Short answers beside long ones" if found["mix"] else "The service under load"
    title = "The service under load for long" if found["soak"] else title
    yield from (f"## {title}: {found['task']}/{found['variant']}, {search}", "")
    yield (
        f"`python -m benchmarks.serving`, {settings['seconds']:g} s a load, {settings['threads']} "
        f"cores for load and server; {_ends(*settings['tokens'])}."
    )
    yield from ("", taken_on(found), "")
    if found["servers"]:
        heads = ("server", "load", "requests/s", "tokens/s", "p50 ms", "p95 ms", "errors")
        yield from table(heads, [_load(each["name"], load) for each in found["servers"] for load in each["loads"]])
        yield ""
    yield from (f"- {line}" for line in _conclusions(found))
    yield from (f"- {name} is left out: {reason}" for name, reason in found["left_out"].items())


def _ends(short: int, long: int) -> str:
    if short and long:
        return f"answers of {short} and {long} tokens, the same for all servers"
    if short or long:
        return f"half of the answers end themselves, the others have {short or long} tokens"
    return "answers end themselves"


def _load(name: str, load: Record) -> list[str]:
    figures, amount = load["figures"], load["amount"]
    clients = f"{amount:.0f} client{'s' if amount != 1 else ''}"
    return [
        name,
        clients if load["kind"] == "closed" else f"{amount:.1f} arrive a second",
        f"{figures['requests_per_second']:.1f}",
        f"{figures['tokens_per_second']:,.0f}",
        number(figures["p50_ms"], 0),
        number(figures["p95_ms"], 0),
        str(figures["errors"]),
    ]


def _conclusions(found: Record) -> Iterator[str]:
    others = {server["name"]: server for server in found["servers"]}
    service = others.pop("slimseq", None)
    if found["in_process"] and found["beside"]:
        yield _in_process(found["in_process"], found["beside"])
    for name, other in others.items() if service else ():
        yield f"{name}: {other['description']}.{_lengths(found, service, other)}"
        yield from _in_turns(found.get("contest"), name)
    for mixed in found["mix"]:
        yield (
            f"{mixed['name']}: p95 of short answers is {number(mixed['alone']['p95_ms'], 0)} ms alone and "
            f"{number(mixed['beside']['p95_ms'], 0)} ms beside long ones."
        )
    if soak := found["soak"]:
        yield (
            f"Soak, {soak['rate']:.1f} requests a second for {len(soak['p95_ms'])} minutes: the last minute's p95 is "
            f"{number(soak['p95_ratio'], 2)} of the second's, its resident bytes {number(soak['resident_ratio'], 2)} "
            f"(medians), {soak['errors']} errors."
        )


def _in_process(inside: Record, beside: Record) -> str:
    """Returns how the service compares to its runtime without it."""
    share = beside.get("continuous_share")
    of_engines = f", {number(share, 2)} of what its engines make alone with as many in flight" if share else ""
    return (
        f"{inside['runtime']} in process makes {inside['tokens_per_second']:,.0f} tokens/s in batches of "
        f"{inside['batch']}, {inside['layout']['workers']} parts of them at a time. By the median of "
        f"{len(beside['turns'])} turns, the service makes {number(beside['share'], 2)} of that for "
        f"{beside['clients']} clients{of_engines}, and adds {number(beside['overhead_ms'], 2)} ms to a single request "
        f"of {beside['single_p50_ms']:.1f} ms in a layout like its own (threads {beside['layout']['threads']}; the "
        f"fastest, threads {inside['single_layout']['threads']}, takes {inside['single_p50_ms']:.1f} ms)."
    )


def _lengths(found: Record, service: Record, other: Record) -> str:
    """Returns how long answers are that end themselves: servers that end a search otherwise do other work."""
    ours, theirs = _answer_tokens(service), _answer_tokens(other)
    if any(found["settings"]["tokens"]) or not ours or not theirs:
        return ""
    return f" Its answers have {theirs:.0f} tokens, the service's {ours:.0f}."


def _answer_tokens(server: Record) -> float:
    """Returns a server's tokens an answer to clients who wait; 0 where there was no such load."""
    figures = [load["figures"] for load in server["loads"] if load["kind"] == "closed"]
    answered = sum(each["requests_per_second"] for each in figures)
    return sum(each["tokens_per_second"] for each in figures) / answered if answered else 0.0


def _in_turns(contest: Record | None, name: str) -> Iterator[str]:
    """Yields how the service compares to another server, of which both took turns."""
    if not contest or name not in contest["ratios"]:
        return
    ratios, rounds = contest["ratios"][name], len(contest["rounds"])
    if throughput := ratios["throughput"]:
        yield (
            f"For {contest['clients']} clients the service gives {Ratio(**throughput)} times the answers a second of "
            f"{name} (median, least and most of {rounds} turns)."
        )
    if p95 := ratios["p95"]:
        yield f"Where {contest['rate']:.1f} requests arrive a second, its p95 is {Ratio(**p95)} of that of {name}."


def residency_section(found: Record) -> Iterator[str]:
    """Yields the section of `benchmarks.residency`."""
    yield from ("## Memory as variants come and go", "")
    yield "`python -m benchmarks.residency`: resident bytes of the service's process after each."
    yield from ("", taken_on(found), "")
    states = [{**state, "mebibytes": state["resident_bytes"] / 2**20} for state in found["states"]]
    columns = {"what was done": "{done}", "seconds": "{seconds:.2f}", "resident MiB": "{mebibytes:.0f}"}
    yield from table_of(states, columns)


def ablation_section(found: Ablation) -> Iterator[str]:
    """Yields the section of `benchmarks.ablation`, of one data set."""
    yield from (f"## One choice at a time, all else equal: {found.task}", "")
    yield (
        "`python -m benchmarks.ablation` with the recipe [benchmarks/ablation-translation.yaml]"
        "(../benchmarks/ablation-translation.yaml), which has every option: the same original, seed and number of "
        f"training steps. {found.metric} on {found.dataset} ({found.split}, {found.samples} samples), with 95 % "
        "intervals; seconds are those of making the variant on one core that other work shared."
    )
    for group, rows in found.groups():
        yield from ("", f"### {group}", "")
        yield from table((group, found.metric, "95 %", "retention", "seconds"), [_option(row) for row in rows])


def _option(row: AblationRow) -> list[str]:
    kept = number(row.retention, 3)
    if row.retention_interval:
        kept += " [{:.3f}, {:.3f}]".format(*row.retention_interval)
    interval = "-" if row.interval is None else "{:.2f} to {:.2f}".format(*row.interval)
    return [row.name, f"{row.value:.2f}", interval, kept, number(row.seconds, 0)]


def shapes_section(found: Record) -> Iterator[str]:
    """Yields the section of `benchmarks.hub_shapes`."""
    yield from ("## Models of the hub's shapes", "")
    yield (
        "`python -m benchmarks.hub_shapes`: random weights of exactly these configurations. int8 quantization is asked "
        "to take less than 60 s, pruning in one shot (half of the feed-forward channels, a quarter of the heads, no "
        "recovery) less than 120 s, both less than 3 times the fp32 model's bytes above what imports take."
    )
    yield from ("", taken_on(found), "")
    rows = [
        {
            **row,
            **{size: row[f"{size}_bytes"] / 1e6 for size in ("fp32", "peak", "imported")},
            "within": "yes" if row["is_within_limits"] else "no",
        }
        for row in found["rows"]
    ]
    columns = {
        "model": "{model}",
        "operation": "{operation}",
        "seconds": "{seconds:.1f}",
        "fp32 MB": "{fp32:,.0f}",
        "peak MB": "{peak:,.0f}",
        "imports MB": "{imported:,.0f}",
        "above imports, times fp32": "{memory_ratio:.2f}",
        "within": "{within}",
    }
    yield from table_of(rows, columns)

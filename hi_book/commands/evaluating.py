"""Your own log on your own device and network: whether HI pays, and the batch size."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from hi_book.commands.line import complain, one_line_errors, path_argument, path_option
from hi_book.commands.outputs import checked_output
from hi_book.commands.reading import log_options, tell
from hi_lib import checks, files, traces
from hi_lib.logs import reading
from hi_lib.logs.columns import Columns
from hi_lib.paper import setting_of

app = typer.Typer()

_NETWORK = "The network, and when an answer is late"


@app.command()
@one_line_errors
@log_options
def evaluate(
    log: Annotated[Path, path_argument("Your log: CSV, JSON, Parquet, .npz; - is standard input. Or a trace's name.")],
    beta: Annotated[float, typer.Option(help="Cost of an offload; a wrong answer costs 1.")] = 0.5,
    alpha: Annotated[float | None, typer.Option(help="Weight of the system time; by default 0.5.")] = None,
    tau_ed: Annotated[float | None, typer.Option(help="S-ML time a sample, ms; by default the paper's.")] = None,
    tau_es: Annotated[float | None, typer.Option(help="L-ML time a sample, ms; by default the paper's.")] = None,
    tau_tx: Annotated[float | None, typer.Option(help="Sending time a sample, ms; by default the paper's.")] = None,
    tau_nw: Annotated[float | None, typer.Option(help="Network time, ms; by default the paper's.")] = None,
    device_times: Annotated[Path | None, path_option("CSV of batch_size, milliseconds: replaces tau_ed.")] = None,
    server_times: Annotated[
        Path | None, typer.Option(help="CSV of batch_size, milliseconds: replaces tau_es, adds to tau_nw.")
    ] = None,
    network_times: Annotated[
        str | None,
        typer.Option(
            help="Round trips, ms: FILE[:COLUMN], or what ping printed; not tau_nw.", rich_help_panel=_NETWORK
        ),
    ] = None,
    image_bytes: Annotated[
        str | None, typer.Option(help="Sizes of what is sent: FILE[:COLUMN]; not tau_tx.", rich_help_panel=_NETWORK)
    ] = None,
    network_unit: Annotated[
        str | None, typer.Option(help="Unit of --network-times: ns, us, ms or s.", rich_help_panel=_NETWORK)
    ] = None,
    rate: Annotated[
        float | None, typer.Option(help="Uplink for --image-bytes, bit/s: 50e6.", rich_help_panel=_NETWORK)
    ] = None,
    deadline: Annotated[
        float | None, typer.Option(help="Answers after so many ms are late.", rich_help_panel=_NETWORK)
    ] = None,
    miss: Annotated[
        float | None, typer.Option(help="Share of answers that may be late: 0.05.", rich_help_panel=_NETWORK)
    ] = None,
    window: Annotated[
        float | None, typer.Option(help="Transmissions that may be out, or inf.", rich_help_panel=_NETWORK)
    ] = None,
    max_wait: Annotated[
        float | None, typer.Option(help="A batch closes so many ms after it began.", rich_help_panel=_NETWORK)
    ] = None,
    by: Annotated[
        str | None, typer.Option(help="A column that parts the log: a row for each device, hour or class.")
    ] = None,
    shuffle: Annotated[int | None, typer.Option(help="Shuffle the trace with this seed first.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
    as_html: Annotated[Path | None, path_option("Write a page with figures to this file, too.", "--html")] = None,
    *,
    columns: Columns,
) -> None:
    """Your log on your device: does HI pay, the learned threshold, cost, regret, and the best batch size."""
    from hi_lib.advise import evaluation, planning
    from hi_lib.logs import network

    _refuse_both({"tau-ed": (tau_ed, device_times), "tau-es": (tau_es, server_times)})
    _refuse_both({"tau-nw": (tau_nw, network_times), "tau-tx": (tau_tx, image_bytes)})
    _refuse_alone({"rate": (rate, "image-bytes", image_bytes), "miss": (miss, "deadline", deadline)})
    _refuse_alone({"network-unit": (network_unit, "network-times", network_times)})
    others = [Path(network.file_of(place)) for place in (network_times, image_bytes) if place]
    if as_html:
        checked_output("--html", as_html, inputs=[*filter(None, (log, device_times, server_times)), *others])
    kept = None if log.exists() else traces.trace_files().get(str(log))  # a trace may be called by its name, too
    setting = setting_of(traces.name_of_file(kept or log))
    taus = {"tau_ed": tau_ed, "tau_es": tau_es, "tau_tx": tau_tx, "tau_nw": tau_nw}
    given = setting.timing.with_taus({name: tau for name, tau in taus.items() if tau is not None})
    timing = evaluation.device_timing(given, device_times, server_times)
    own = reading.read(kept or log, replace(columns, by=by))
    trips = None if network_times is None else network.network_times(network_times, network_unit)
    sizes = None if image_bytes is None else network.image_bytes(image_bytes)
    uplink = setting.rate if rate is None else rate
    sending = None if sizes is None else planning.sending_times(sizes.values, uplink, len(own.trace))
    if shuffle is not None:
        own = own.shuffled(checks.whole("--shuffle", shuffle, low=0))
    conditions = planning.Conditions(
        # A server's fixed time is paid with every transmission, as the network's is.
        network_times=None if trips is None else trips.values + (timing.tau_nw - given.tau_nw),
        sending_times=sending if sending is None or own.rows is None else sending[own.rows],
        arrivals=own.arrivals,
        deadline=deadline,
        miss=0.05 if miss is None else miss,
        window=window,
        max_wait=math.inf if max_wait is None else max_wait,
    )
    found = evaluation.evaluate(own, beta, alpha, timing, conditions)
    known = taus | ({"rate": rate} if sizes else {})
    measured = {"tau_ed": device_times, "tau_es": server_times, "tau_tx": sizes, "tau_nw": trips}
    if assumed := tuple(name for name, value in known.items() if value is None and not measured.get(name)):
        found = replace(found, paper_times=evaluation.PaperTimes(setting.name, assumed))
    tell([*own.notes, *(note for each in (trips, sizes) if each for note in each.notes)])
    if as_html:
        from hi_book.press import own_page  # brings matplotlib

        files.write_atomically(as_html, own_page.as_html(found))
        complain(f"written: {as_html}")
    print(json.dumps(found.as_dict(), indent=2) if as_json else checks.printable(found.as_text()))


def _refuse_both(pairs: dict[str, tuple[float | None, object]]) -> None:
    """A time that is given twice."""
    for flag, (value, measured) in pairs.items():
        if value is not None and measured:
            raise ValueError(f"--{flag} must be left out where {measured} gives the measured times")


def _refuse_alone(options: dict[str, tuple[object, str, object]]) -> None:
    """An option that says more about another one, which is not given."""
    for flag, (value, needed, other) in options.items():
        if value is not None and other is None:
            raise ValueError(f"--{flag} must be left out where there is no --{needed}")

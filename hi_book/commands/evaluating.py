"""Your own log on your own device and network: one recommendation, and the tables that it comes from."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from hi_book.commands.line import complain, one_line_errors, path_argument, path_option
from hi_book.commands.outputs import checked_output
from hi_book.commands.reading import log_options, tell
from hi_lib import checks, files, traces
from hi_lib.budgets import budget_of_energy
from hi_lib.logs import reading
from hi_lib.logs.columns import Columns
from hi_lib.paper import setting_of
from hi_lib.typing import Floats

app = typer.Typer()

_NETWORK = "The network, and when an answer is late"
_BUDGET = "A budget on offloads, as a share or in joules"


@app.command()
@one_line_errors
@log_options
def evaluate(
    log: Annotated[Path, path_argument("Your log: CSV, JSON, Parquet, .npz; - is standard input. Or a trace's name.")],
    beta: Annotated[float | None, typer.Option(help="Cost of an offload; a wrong answer costs 1: 0.5.")] = None,
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
        float | None, typer.Option(help="Transmissions that the link lets be out, or inf.", rich_help_panel=_NETWORK)
    ] = None,
    max_wait: Annotated[
        float | None, typer.Option(help="Nothing waits longer than so many ms to be sent.", rich_help_panel=_NETWORK)
    ] = None,
    every: Annotated[
        float | None,
        typer.Option(help="A sample comes every so many ms, if the log does not say.", rich_help_panel=_NETWORK),
    ] = None,
    connection: Annotated[
        str, typer.Option(help="Keeps its window (warm), or loses it (cold): auto.", rich_help_panel=_NETWORK)
    ] = "auto",
    unit: Annotated[
        str, typer.Option(help="Send after so many offloads, or samples: the paper's.", rich_help_panel=_NETWORK)
    ] = "offloads",
    price: Annotated[float, typer.Option(help="Cost of a transmission, in wrong answers.")] = 0.0,
    devices: Annotated[int, typer.Option(help="How many such devices share the server.")] = 1,
    budget: Annotated[
        float | None, typer.Option(help="At most this share of the samples is offloaded.", rich_help_panel=_BUDGET)
    ] = None,
    energy_budget: Annotated[
        float | None, typer.Option(help="J a sample, instead of --budget.", rich_help_panel=_BUDGET)
    ] = None,
    offload_joules: Annotated[
        float | None, typer.Option(help="J of an offload, for --energy-budget.", rich_help_panel=_BUDGET)
    ] = None,
    local_joules: Annotated[
        float | None, typer.Option(help="J of a local inference, for --energy-budget.", rich_help_panel=_BUDGET)
    ] = None,
    offload_cost: Annotated[float | None, typer.Option(help="An offload in money; with --error-cost it is β.")] = None,
    error_cost: Annotated[float | None, typer.Option(help="A wrong answer in money.")] = None,
    by: Annotated[
        str | None, typer.Option(help="A column that parts the log: a row for each device, hour or class.")
    ] = None,
    paper: Annotated[bool, typer.Option("--paper", help="The paper's learner, M† and M*, too.")] = False,
    shuffle: Annotated[int | None, typer.Option(help="Shuffle the trace with this seed first.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
    as_html: Annotated[Path | None, path_option("Write a page with figures to this file, too.", "--html")] = None,
    *,
    columns: Columns,
) -> None:
    """Your log on your device: one recommendation, and the tables that it comes from."""
    from hi_lib.advise import evaluation, ways
    from hi_lib.logs import network

    beta = _beta(beta, offload_cost, error_cost)
    most = _budget(budget, energy_budget, offload_joules, local_joules)
    _refuse_both({"tau-ed": (tau_ed, device_times), "tau-es": (tau_es, server_times)})
    _refuse_both({"tau-nw": (tau_nw, network_times), "tau-tx": (tau_tx, image_bytes)})
    _refuse_alone({"miss": (miss, "deadline", deadline)})
    _refuse_alone({"network-unit": (network_unit, "network-times", network_times)})
    _refuse_alone({"rate": (rate, "image-bytes or --tau-tx", tau_tx if image_bytes is None else image_bytes)})
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
    sending = None if sizes is None else ways.sending_times(sizes.values, uplink, len(own.trace))
    if shuffle is not None:
        own = own.shuffled(checks.whole("--shuffle", shuffle, low=0))
    conditions = ways.Conditions(
        # A server's fixed time is paid with every transmission, as the network's is.
        network_times=None if trips is None else trips.values + (timing.tau_nw - given.tau_nw),
        sending_times=sending if sending is None or own.rows is None else sending[own.rows],
        arrivals=_arrivals(own, every),
        deadline=deadline,
        miss=0.05 if miss is None else miss,
        window=window,
        max_wait=math.inf if max_wait is None else max_wait,
        price=price,
        unit=unit,
        # Of a link whose own sending time is given the paper's rate says nothing.
        rate=uplink if tau_tx is None else rate,
        connection=connection,
        devices=devices,
        budget=most,
    )
    known = taus | ({"rate": rate} if sizes else {})
    measured = {"tau_ed": device_times, "tau_es": server_times, "tau_tx": sizes, "tau_nw": trips}
    assumed = tuple(name for name, value in known.items() if value is None and not measured.get(name))
    borrowed = evaluation.PaperTimes(setting.name, assumed) if assumed else None
    found = evaluation.evaluate(own, beta, alpha, timing, conditions, borrowed=borrowed, paper=paper)
    tell([*own.notes, *(note for each in (trips, sizes) if each for note in each.notes)])
    if as_html:
        from hi_book.press import own_page  # brings matplotlib

        files.write_atomically(as_html, own_page.as_html(found))
        complain(f"written: {as_html}")
    print(json.dumps(found.as_dict(), indent=2) if as_json else checks.printable(found.as_text()))


def _beta(beta: float | None, offload_cost: float | None, error_cost: float | None) -> float:
    """β as it is, or what an offload costs in money as a share of what a wrong answer does."""
    if offload_cost is None and error_cost is None:
        return 0.5 if beta is None else beta
    if beta is not None or offload_cost is None or error_cost is None:
        raise ValueError("--offload-cost and --error-cost must be given together, and --beta left out then")
    found = checks.nonnegative("--offload-cost", offload_cost) / checks.positive("--error-cost", error_cost)
    if found > 1:
        raise ValueError(f"--offload-cost must be at most --error-cost, got {offload_cost:g} and {error_cost:g}")
    return found


def _budget(
    budget: float | None, energy: float | None, offload_joules: float | None, local_joules: float | None
) -> float | None:
    """The share of samples that may be offloaded: as it is, or what joules leave for offloads."""
    if energy is None or offload_joules is None or local_joules is None:
        if any(given is not None for given in (energy, offload_joules, local_joules)):
            raise ValueError("--energy-budget, --offload-joules and --local-joules must be given together")
        return None if budget is None else checks.real("--budget", budget, 0, 1)
    if budget is not None:
        raise ValueError("--budget must be left out where --energy-budget is given")
    return budget_of_energy(energy, local_joules, offload_joules)


def _arrivals(log: reading.Log, every: float | None) -> Floats | None:
    """When samples come, ms: as the log says, or a camera's frames, one after the other."""
    if every is None:
        return log.arrivals
    if log.arrivals is not None:
        raise ValueError(
            "--every must be left out where the log says when its samples came (--time '' leaves that out)"
        )
    return np.arange(len(log.trace)) * checks.positive("--every", every)


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

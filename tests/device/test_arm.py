"""The C header on emulated Cortex-M cores: the same decisions as here and in Python, and what it takes there."""

import math
import runpy
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from c_peers import Drawn, by_python

import hi_lib as hi
from hi_lib import traces
from hi_lib.files import ROOT

bench = SimpleNamespace(**runpy.run_path(str(ROOT / "tools" / "bench_device.py")))
BETA, ETA = 0.5, float(np.float32(0.1))  # of replay.c
SAVED = pd.read_csv(traces.data_file(bench.DEVICE)).convert_dtypes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    if shutil.which("cc") is None:
        pytest.skip("no C compiler is installed: the programs for microcontrollers were not tried")
    found = tmp_path_factory.mktemp("arm")
    bench.write_samples(found)
    return found


@pytest.fixture(scope="module")
def here(folder):
    return {(run.learner, run.samples): run.decided for run in bench.replay(None, folder)}


def xorshift(count):
    """Marsaglia's generator, as replay.c has it: numbers in [0, 1) in steps of 2^-24."""
    state, found = 2463534242, np.empty(count, np.float32)
    for i in range(count):
        state ^= state << 13 & 0xFFFFFFFF
        state ^= state >> 17
        state ^= state << 5 & 0xFFFFFFFF
        found[i] = (state >> 8) / 2**24
    return found


def samples_of(kind):
    trace = hi.load_trace(bench.TRACE).shuffled(seed=0)
    if kind == "trace":
        return Drawn(trace.confidence.astype(np.float32), xorshift(len(trace)), trace.correct.astype(np.bool_))
    confidence, uniform, right = xorshift(3 * len(trace)).reshape(-1, 3).T
    return Drawn(confidence, uniform, right < confidence)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["trace", "drawn"])
@pytest.mark.parametrize(("name", "rate"), [("one rate", ETA), ("adaptive", "adaptive")])
def test_the_programs_decide_as_python_does(name, rate, kind, here):
    expected = by_python(samples_of(kind), BETA, rate).offload
    text = here[name, kind]
    found = np.array([int(bit) for digit in text for bit in f"{int(digit, 16):04b}"], np.bool_)
    assert (found == expected).all()


@pytest.mark.slow
@pytest.mark.parametrize("core", bench.CORES, ids=lambda core: core.name)
def test_a_microcontroller_decides_alike_and_takes_no_more_than_is_said(core, here, folder):
    if absent := bench.missing():
        pytest.skip(f"{', '.join(absent)} not installed ({bench.PACKAGES}): hil.h was not tried on a {core.name}")
    table = bench.measure(folder, [core])
    assert {(run.learner, run.samples): run.decided for run in bench.replay(core, folder)} == here
    saved = SAVED[SAVED["core"] == core.name]
    kept = ["core", "learner", "samples", "ram"]
    assert table[kept].fillna("").values.tolist() == saved[kept].fillna("").values.tolist()
    # Another compiler makes other programs of the same header.
    same = (table["compiler"].iloc[0], table["emulator"].iloc[0]) == (
        saved["compiler"].iloc[0],
        saved["emulator"].iloc[0],
    )
    for name in ("flash", "stack", "decide", "decide_most", "learn", "learn_most"):
        found, expected = table[name].dropna().astype(float), saved[name].dropna().astype(float)
        assert found.to_numpy() == pytest.approx(expected.to_numpy(), rel=0.002 if same else 0.5, abs=1)


def test_what_is_said_of_microcontrollers_is_complete():
    assert SAVED[["core", "learner"]].drop_duplicates().shape[0] == len(bench.CORES) * len(bench.PARTS)
    assert SAVED.groupby("core").size().tolist() == [5, 5]
    one = SAVED[SAVED["learner"] == bench.FIXED]
    assert (one["ram"] == 2048).all()
    assert (SAVED["decide"].dropna() <= SAVED["decide_most"].dropna()).all()
    # Every decision weighs up to 256 cells: no fewer than two, no more than 500 instructions each.
    assert SAVED["decide"].dropna().between(2 * 256, 500 * 256).all()


def test_instructions_follow_from_the_ticks_of_each_clock():
    core = bench.Core("a core", (), "a machine", 25)  # 40 ns a tick: 1.6 ticks an instruction
    run = bench._read(
        "empty 2\nnops 161\nrun fixed trace\ndecided ff\noffloads 8\n"
        "decide 1616\ndecide_most 322\nlearn 144\nlearn_most 18\nstack 9\n"
    )
    assert [each.learner for each in run] == [bench.FIXED]
    assert bench.instructions(core, run[0]) == {"decide": 125, "decide_most": 200, "learn": 10, "learn_most": 10}
    assert math.isclose(bench.NANOSECONDS, 2**6)

"""What the learner's C header takes on a microcontroller: bytes, and instructions a sample; run by `make bench-device`.

Programs for a Cortex-M0+ and an M4 (arm-none-eabi-gcc, -Os) run on QEMU's micro:bit (Cortex-M0, the same instructions)
and MPS2 AN386 (Cortex-M4 with its FPU). With -icount every instruction takes 64 ns of the emulated time, and the core's
own SysTick counts that time: so instructions are counted, whatever machine emulates, but not a core's cycles.

Flash is what a program that uses the header has more than one that does not, with what it draws from libgcc and libm.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

import hi_lib as hi
from hi_book.makers.registering import write_data

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS, HEADER = ROOT / "tools" / "device", ROOT / "hi_lib" / "device" / "c"
DEVICE = "benchmarks/device.csv"  # below data/
TRACE = "cifar10-resnet8"
COMPILER, SIZE, EMULATOR = "arm-none-eabi-gcc", "arm-none-eabi-size", "qemu-system-arm"
PACKAGES = "gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm"  # Debian's and Ubuntu's
STRICT = ("-std=gnu99", "-Wall", "-Wextra", "-Wconversion", "-Werror")
SMALL = ("-Os", "-mthumb", "-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections", "-nostartfiles")
NANOSECONDS = 64  # of an instruction: -icount shift=6
FIXED, ADAPTIVE, WITH_BATCHES = "one rate", "adaptive", "adaptive, batches, saving"
PARTS = {FIXED: 1, ADAPTIVE: 2, WITH_BATCHES: 3}
RUNS = {"fixed": FIXED, "adaptive": ADAPTIVE}  # as replay.c names them
COUNTED = ("stack", "decide", "decide_most", "learn", "learn_most")
LIMIT = 300  # s for a program, which takes a few


class Core(NamedTuple):
    """A core, and the machine that QEMU has of it."""

    name: str
    options: tuple[str, ...]
    machine: str
    megahertz: float
    """Of the machine's clock, which SysTick counts."""


CORES = (
    Core("Cortex-M0+", ("-mcpu=cortex-m0plus",), "microbit", 16),
    Core("Cortex-M4F", ("-mcpu=cortex-m4", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"), "mps2-an386", 25),
)


class Run(NamedTuple):
    """What replay.c did with one learner and one kind of samples."""

    learner: str
    samples: str
    decided: str
    """One bit a sample, hexadecimal."""
    numbers: dict[str, int]


def missing() -> list[str]:
    """Programs that are needed, and not installed."""
    return [name for name in (COMPILER, SIZE, EMULATOR) if shutil.which(name) is None]


def write_samples(folder: Path) -> Path:
    """Write the samples of the trace, in a fixed order, as C."""
    trace = hi.load_trace(TRACE).shuffled(seed=0)
    confidence = ", ".join(f"{float(p).hex()}f" for p in trace.confidence.astype(np.float32))
    correct = ", ".join(str(int(each)) for each in trace.correct)
    path = folder / "samples.h"
    path.write_text(
        f"#define SAMPLES {len(trace)}\nstatic const float confidence[] = {{{confidence}}};\n"
        f"static const unsigned char correct[] = {{{correct}}};\n"
    )
    return path


def build(core: Core | None, source: Path, target: Path, *options: str) -> Path:
    """Compile a program for a core, or for this machine; samples.h, where it is asked for, lies beside the target."""
    include = (f"-I{PROGRAMS}", f"-I{HEADER}", f"-I{target.parent}")
    if core is None:
        command = ["cc", *STRICT, "-O2", *include, *options, str(source)]
    else:
        script = ("-specs=nano.specs", "-T", str(PROGRAMS / "cortex.ld"), str(PROGRAMS / "start.c"))
        command = [COMPILER, *STRICT, *SMALL, *core.options, *include, *options, *script, str(source)]
    _called([*command, "-lm", "-o", str(target)])
    return target


def flash(core: Core, part: int, folder: Path) -> int:
    """Bytes of flash that a part of the header takes."""
    sizes = []
    for each in (0, part):
        program = build(core, PROGRAMS / "size.c", folder / f"size{each}.elf", f"-DPART={each}")
        text, data = _called([SIZE, str(program)]).splitlines()[1].split()[:2]
        sizes.append(int(text) + int(data))
    return sizes[1] - sizes[0]


def memory(core: Core, kind: str, folder: Path) -> int:
    """Bytes of a structure of the header, by the compiler that lays it out."""
    source = folder / "sizes.c"
    source.write_text(f'#include "hil.h"\nconst uint8_t found[sizeof({kind})];\n')
    made = folder / "sizes.o"
    _called([COMPILER, *core.options, "-mthumb", f"-I{HEADER}", "-c", str(source), "-o", str(made)])
    lines = _called([SIZE, "-A", str(made)]).splitlines()
    return max(int(line.split()[1]) for line in lines if line.startswith((".rodata", ".bss")))


def replay(core: Core | None, folder: Path) -> list[Run]:
    """Run replay.c, which takes both learners over the trace and over drawn samples; None: on this machine."""
    program = build(core, PROGRAMS / "replay.c", folder / f"replay-{core.machine if core else 'here'}.elf")
    emulator = [] if core is None else [EMULATOR, "-M", core.machine, "-nographic", "-monitor", "none"]
    emulator += [] if core is None else ["-serial", "none", "-icount", "shift=6"]
    emulator += [] if core is None else ["-semihosting-config", "enable=on,target=native", "-kernel"]
    # QEMU prints what the program says to its standard error.
    done = subprocess.run(
        [*emulator, str(program)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT,
        check=True,
    )
    return _read(done.stdout)


def _read(said: str) -> list[Run]:
    clock, *parts = said.split("run ")
    found = []
    for part in parts:
        (learner, samples), (_, decided), *numbers = (line.split() for line in part.splitlines())
        counted = {name: int(value) for name, value in (*numbers, *map(str.split, clock.splitlines()))}
        found.append(Run(RUNS[learner], samples, decided, counted))
    return found


def instructions(core: Core, run: Run) -> dict[str, int]:
    """Mean and largest number of instructions of a decision, and of learning from a sample."""
    tick, n = 1000 / core.megahertz / NANOSECONDS, 4 * len(run.decided)
    empty = run.numbers["empty"]  # ticks of reading the clock
    found = {}
    for what in ("decide", "learn"):
        found[what] = round((run.numbers[what] / n - empty) * tick)
        found[f"{what}_most"] = round((run.numbers[f"{what}_most"] - empty) * tick)
    return found


def measure(folder: Path, cores: Sequence[Core] = CORES) -> pd.DataFrame:
    """All numbers, a row for each core, learner and kind of samples; bytes only for what is not replayed."""
    write_samples(folder)
    versions = {"compiler": _version(COMPILER), "emulator": _version(EMULATOR)}
    rows = []
    for core in cores:
        fixed, adaptive, batch = (memory(core, f"hil_{kind}", folder) for kind in ("learner", "adaptive", "batch"))
        ram = {FIXED: fixed, ADAPTIVE: adaptive, WITH_BATCHES: adaptive + batch}
        size = {name: {"flash": flash(core, part, folder), "ram": ram[name]} for name, part in PARTS.items()}
        for run in replay(core, folder):
            own = {"core": core.name, "learner": run.learner, "samples": run.samples}
            rows.append(own | size[run.learner] | {"stack": run.numbers["stack"]} | instructions(core, run) | versions)
        rows.append({"core": core.name, "learner": WITH_BATCHES} | size[WITH_BATCHES] | versions)
    return pd.DataFrame(rows).astype(dict.fromkeys(COUNTED, "Int64"))


def _version(program: str) -> str:
    first = _called([program, "--version"]).splitlines()[0]
    return re.findall(r" (\d+\.\d+\.\d+)", first)[0]


def _called(command: list[str]) -> str:
    # Nothing that a user has set for other compilers.
    own = {name: value for name, value in os.environ.items() if name not in ("CPATH", "C_INCLUDE_PATH", "LIBRARY_PATH")}
    done = subprocess.run(command, capture_output=True, text=True, env=own, timeout=LIMIT)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{done.stderr}")
    return done.stdout


def main() -> None:
    """Measure, and write what came out."""
    if absent := missing():
        sys.exit(f"error: {', '.join(absent)} not installed: apt-get install {PACKAGES}")
    with tempfile.TemporaryDirectory() as folder:
        table = measure(Path(folder))
    write_data(DEVICE, table.to_csv(index=False), "make bench-device")
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()

"""The header for microcontrollers: it decides as HILF does, keeps its bytes, and bears whatever it is given."""

import ctypes
import math
import os
import re
import shutil
import struct
import subprocess
import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from c_peers import Drawn, Played, Uniforms, drawn, expected_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hi_lib as hi
from hi_lib.device.offloads import HOLD, KEEP, SEND
from hi_lib.files import ROOT

HEADER = ROOT / "hi_lib" / "device" / "c"
SOURCES = Path(__file__).parent / "c"
STRICT = ("-std=c99", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-pedantic")
SANITIZERS = ("-g", "-O1", "-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all")
LOADED, DAMAGED, OTHER_VERSION, OTHER_LEVELS, OTHER_LEARNER = range(5)
SAYS = (KEEP, HOLD, SEND)
WAIT = 3
SAME_RATE = 1.6e-7  # as the header says
ETAS = (0.001, 0.01, 0.1, 0.5, 3.0)


def compiled(compiler, source, target, *options):
    """Compile with all warnings as errors; skip where there is no such compiler."""
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed: hil.h was not tried with it")
    command = [compiler, *STRICT, f"-I{HEADER}", *options, source, "-lm", "-o", target]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target


class Library:
    """The header's functions, for Python."""

    def __init__(self, path):
        self._functions = ctypes.CDLL(str(path))
        for name in ("size_of_learner", "size_of_adaptive", "size_of_batch", "size_saved"):
            getattr(self._functions, name).restype = ctypes.c_size_t
        for name in ("begin", "begin_adaptive", "begin_batch", "decide", "offloads", "keep"):
            getattr(self._functions, name).restype = ctypes.c_bool
        for name in ("beta_of", "rate_of", "probability"):
            getattr(self._functions, name).restype = ctypes.c_float
        for name in ("gap_of", "distance", "adaptive_distance"):
            getattr(self._functions, name).restype = ctypes.c_double
        self.saved = self.call("size_saved")

    def call(self, name, *arguments):
        """Call a function: floats are C's, whole numbers unsigned, arrays pointers to what they hold."""
        return getattr(self._functions, name)(*map(_as_c, arguments))

    def fixed(self, beta, eta):
        made = ctypes.create_string_buffer(self.call("size_of_learner"))
        assert self.call("begin", made, beta, eta)
        return made

    def adaptive(self, beta):
        made = ctypes.create_string_buffer(self.call("size_of_adaptive"))
        assert self.call("begin_adaptive", made, beta)
        return made

    def batch(self, offloads, samples):
        made = ctypes.create_string_buffer(self.call("size_of_batch"))
        assert self.call("begin_batch", made, offloads, samples)
        return made

    def save(self, learner, kind=""):
        found = np.zeros(self.saved, np.uint8)
        self.call(f"save{kind}", learner, found)
        return found

    def load(self, learner, found, kind=""):
        found = np.ascontiguousarray(found, np.uint8)
        return self.call(f"load{kind}", learner, found, ctypes.c_size_t(found.size))


def _as_c(value):
    if isinstance(value, np.ndarray):
        return ctypes.c_void_p(value.ctypes.data)
    if isinstance(value, float):
        return ctypes.c_float(value)
    return ctypes.c_uint(value) if type(value) is int else value


@pytest.fixture(scope="module", params=["gcc", pytest.param("clang", marks=pytest.mark.slow)])
def library(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("c")
    return Library(compiled(request.param, SOURCES / "shared.c", folder / "shared.so", "-shared", "-fPIC"))


@pytest.fixture(scope="module")
def of_levels(tmp_path_factory):
    """The header for fewer levels."""
    folder = tmp_path_factory.mktemp("levels")

    def made(levels):
        options = ("-shared", "-fPIC", f"-DHIL_LEVELS={levels}")
        return Library(compiled("cc", SOURCES / "shared.c", folder / f"{levels}.so", *options))

    return made


def by_c(library, samples, learner, adaptive=False):
    n = samples.confidence.size
    offload, q, rates = np.zeros(n, np.bool_), np.zeros(n), np.zeros(n, np.float32)
    both = (None, learner) if adaptive else (learner, None)
    library.call("play", *both, ctypes.c_size_t(n), *samples, offload, q, rates)
    return Played(offload, q, rates.astype(float))


def compare(library, n, beta, eta, seed=0, levels=256):
    """Hold C to Python on drawn samples; return how many decisions fell within the distance, and how many differ."""
    samples = drawn(n, seed)
    learner = library.fixed(beta, eta) if eta else library.adaptive(beta)
    found = by_c(library, samples, learner, adaptive=eta is None)
    rate = float(np.float32(eta)) if eta else "adaptive"
    expected = expected_of(n, seed, library.call("beta_of", learner), rate, levels)
    distance = library.call("distance" if eta else "adaptive_distance")
    assert np.abs(found.q - expected.q).max() < distance
    near = np.abs(samples.uniform - (1 - expected.q)) < distance
    differ = found.offload != expected.offload
    assert not (differ & ~near).any()
    assert 0 < expected.offload.sum() < n
    assert np.abs(found.rate / expected.rate - 1).max() < (SAME_RATE if eta is None else 1e-15)
    return int(near.sum()), int(differ.sum())


@pytest.mark.uncounted
@pytest.mark.parametrize(("beta", "eta"), [(0.7, 0.1), (0.3, 0.01), (0.5, 0.001), (0.1, 3.0)])
def test_it_decides_as_python_does(beta, eta, library):
    compare(library, 12_500, beta, eta)


@pytest.mark.uncounted
@pytest.mark.parametrize("beta", [0.7, 0.3, 0.01])
def test_with_the_adaptive_rate_too(beta, library):
    compare(library, 10_000, beta, None)


@pytest.mark.slow
@pytest.mark.parametrize("eta", [0.1, 0.01, None])
def test_a_million_decisions_are_as_python_takes_them(eta, tmp_path):
    library = Library(compiled("cc", SOURCES / "shared.c", tmp_path / "shared.so", "-shared", "-fPIC"))
    near, differ = compare(library, 1_000_000, 0.3, eta, seed=1)
    print(f"rate {eta}: {near} decisions within the distance, {differ} differ")


@pytest.mark.uncounted
@pytest.mark.parametrize("levels", [2, 10, 100, 128])
@pytest.mark.parametrize("eta", [0.3, None])
def test_fewer_levels(levels, eta, of_levels):
    compare(of_levels(levels), 3000, 0.4, eta, levels=levels)


def test_confidences_are_rounded_down_to_levels_as_in_python(of_levels):
    for levels in (10, 49, 255):
        library = of_levels(levels)
        learner, step = library.fixed(0.5, 1.0), np.float32(1) / levels
        edges = np.float32(np.arange(levels + 1) * step)
        near = np.concatenate([edges, np.nextafter(edges, np.float32(0)), np.nextafter(edges, np.float32(1))])
        for level in range(1, levels):  # so that no two cells weigh the same
            library.call("learn", learner, (level + 0.5) / levels, level % 3 == 0)
        samples = Drawn(np.clip(near, 0, 1), np.full(near.size, 0.5, np.float32), np.zeros(near.size, np.bool_))
        there = [library.call("probability", learner, float(p)) for p in samples.confidence]
        exact = [Fraction(float(p)) * levels // 1 for p in samples.confidence]
        middle = [
            library.call("probability", learner, 1.0 if level == levels else float((level + 0.5) / levels))
            if level
            else 1.0
            for level in exact
        ]
        assert there == middle


def plain_share(beta, eta, confidence, correct, p, levels=256):
    """P(θ > p) from exact losses, by the definition; all confidences on the grid."""
    loss, losses = Fraction(0), []
    steps = [Fraction(0)] * levels
    for each, right in zip(confidence, correct, strict=True):
        steps[each] += Fraction(beta) - (0 if right else 1)
    for step in steps:
        loss += step
        losses.append(loss)
    weight = [math.exp(-float(Fraction(eta) * (each - min(losses)))) for each in losses]
    return math.fsum(weight[p:]) / math.fsum(weight)


@pytest.mark.uncounted
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_probabilities_are_those_of_the_definition(library, data):
    width = st.floats(0, 1, width=32)
    beta = round(data.draw(width, "beta") * 2**24) / 2**24
    eta = data.draw(st.floats(2**-29, 2**29, width=32) | st.sampled_from([2.0**-29, 2.0**29, 0.25, 0.125]), "eta")
    places = data.draw(st.lists(st.integers(0, 255), min_size=1, max_size=40), "places")
    correct = data.draw(st.lists(st.booleans(), min_size=len(places), max_size=len(places)), "correct")
    learner, asked = library.fixed(beta, eta), data.draw(st.integers(1, 255), "asked")
    for place, right in zip(places, correct, strict=True):
        library.call("learn", learner, place / 256, right)
    samples = Drawn(np.float32([asked / 256]), np.zeros(1, np.float32), np.zeros(1, np.bool_))
    expected = plain_share(beta, eta, places, correct, asked)
    assert by_c(library, samples, learner).q.item() == pytest.approx(expected, abs=library.call("distance"))


def test_only_a_draw_within_the_distance_may_be_decided_otherwise(library):
    """Draws as close to the edge as floats come, on either side."""
    distance, tried = library.call("distance"), 0
    for eta in ETAS:
        samples = drawn(2000, 7)
        learner = library.fixed(0.3, eta)
        by_c(library, samples, learner)
        python = hi.HILF(library.call("beta_of", learner), float(np.float32(eta)), levels=256)
        python.update(samples.confidence, samples.correct)
        weight = python._forecaster.weights(python.learning_rate)
        for place in range(1, 256):
            edge = math.fsum(weight[:place]) / math.fsum(weight)
            for away in (-1e-6, -1e-7, -2e-8, 2e-8, 1e-7, 1e-6):
                u = np.float32(edge + away)
                if 0 <= u < 1 and abs(float(u) - edge) > distance:
                    tried += 1
                    assert library.call("decide", learner, place / 256, float(u)) == (float(u) > edge)
    assert tried > 1000


def test_powers_of_two_are_wrong_by_no_more_than_is_said(library):
    step = 2**14 + 1
    found = np.zeros(2**32 // step, np.uint64)
    library.call("powers", step, ctypes.c_size_t(found.size), found)
    exact = 2.0 ** -(np.arange(found.size) * (step / 2**32))
    worst = np.abs(found / 2.0**32 / exact - 1).max()
    said = re.search(r"wrong by at most ([\d.e-]+) of it \(measured\)", (HEADER / "hil.h").read_text())
    assert worst < float(said[1]) < 1.1 * worst


def hold_rates(library, learner, python):
    assert library.call("rate_of", learner) == pytest.approx(python.learning_rate, rel=SAME_RATE)
    assert library.call("gap_of", learner) == pytest.approx(python._gap, rel=SAME_RATE)


def test_the_adaptive_rate_is_that_of_python_on_all_kinds_of_logs(library):
    """Batches of any size, S-MLs that are always or never right, few confidences, and all costs of an offload."""
    rng = np.random.default_rng(8)
    for beta in (0.0, 1e-4, 0.25, 0.5, 0.77, 0.999, 1.0):
        for accuracy in (0.0, 0.1, 0.5, 0.97, 1.0):
            for kinds in (3, 300):
                learner, batch = library.adaptive(beta), library.batch(200, 200)
                python = hi.HILF(library.call("beta_of", learner), "adaptive", levels=256)
                met = rng.random(kinds).astype(np.float32)
                for size in rng.choice([1, 1, 1, 2, 7, 50, 200], 8):
                    confidence, correct = rng.choice(met, size), rng.random(size) < accuracy
                    for p in confidence.tolist():
                        library.call("says", batch, learner, p, 0.5)
                    library.call("hear_adaptive", batch, learner, correct)
                    python.update(confidence, correct)
                    hold_rates(library, learner, python)


def test_more_than_255_alike_are_learned_in_two_batches(library):
    def heard(count):
        learner, python = library.adaptive(0.5), hi.HILF(0.5, "adaptive", levels=256)
        assert all(library.call("keep", learner, 0.5, True) for _ in range(count))
        return learner, python

    def batch(count):
        return np.full(count, 0.5), np.ones(count, np.bool_)

    learner, python = heard(255)
    assert not library.call("keep", learner, 0.5, True)
    assert library.call("keep", learner, 0.5, False)
    library.call("update", learner)
    python.update(np.full(256, 0.5), np.arange(256) > 0)
    hold_rates(library, learner, python)

    learner, python = heard(255)
    library.call("learn_adaptive", learner, 0.5, True)
    python.update(*batch(255))
    python.update(*batch(1))
    hold_rates(library, learner, python)

    (learner, python), cycle = heard(200), library.batch(100, 100)
    while library.call("says", cycle, learner, 0.5, 0.0) != WAIT:
        pass
    library.call("hear_adaptive", cycle, learner, np.ones(100, np.bool_))
    python.update(*batch(255))
    python.update(*batch(45))
    hold_rates(library, learner, python)


def test_what_a_cortex_m0_multiplies_in_parts_is_the_same(library, tmp_path):
    options = ("-shared", "-fPIC", "-D__ARM_ARCH_6M__")
    other = Library(compiled("cc", SOURCES / "shared.c", tmp_path / "m0.so", *options))
    samples = drawn(3000, 5)
    for adaptive in (False, True):
        both = [each.adaptive(0.3) if adaptive else each.fixed(0.3, 0.2) for each in (library, other)]
        here, there = by_c(library, samples, both[0], adaptive), by_c(other, samples, both[1], adaptive)
        assert all((a == b).all() for a, b in zip(here, there, strict=True))


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("limits", [(5, 60), (7, 7)])
def test_cycles_of_offloads_are_those_of_python(limits, adaptive, library):
    samples = drawn(4000, 3)
    batch = library.batch(*limits)
    learner = library.adaptive(0.3) if adaptive else library.fixed(0.3, 0.2)
    beta = library.call("beta_of", learner)
    python = hi.HILF(beta, "adaptive" if adaptive else float(np.float32(0.2)), levels=256)
    python._rng = Uniforms(samples.uniform)
    batches, first, cycles = hi.OffloadBatches(python, *limits), 0, 0
    for t, (p, u) in enumerate(zip(samples.confidence.tolist(), samples.uniform.tolist(), strict=True)):
        decision = batches.decide(p)
        assert SAYS[library.call("says", batch, learner, p, u)] == decision.says
        assert library.call("offloads", batch, t - first) == decision.offload
        if decision.cycle is None:
            continue
        assert library.call("says", batch, learner, p, u) == WAIT
        correct = samples.correct[first : t + 1].copy()
        batches.hear(decision.cycle, correct)
        library.call("hear_adaptive" if adaptive else "hear", batch, learner, correct)
        if adaptive:
            hold_rates(library, learner, python)
        first, cycles = t + 1, cycles + 1
    assert cycles > 60


def test_a_forgotten_cycle_teaches_nothing(library):
    learner, batch = library.fixed(0.5, 0.1), library.batch(2, 9)
    before = library.save(learner)
    assert [library.call("says", batch, learner, 0.0, 0.5) for _ in range(3)] == [1, 2, WAIT]
    library.call("forget", batch)
    assert (library.save(learner) == before).all()
    assert library.call("says", batch, learner, 1.0, 0.5) == 0
    assert not library.call("offloads", batch, 0)


@pytest.mark.parametrize("limits", [(0, 5), (1, 0), (6, 5), (1, 201), (300, 300)])
def test_impossible_cycles_are_refused(limits, library):
    made = ctypes.create_string_buffer(library.call("size_of_batch"))
    assert not library.call("begin_batch", made, *limits)


@pytest.mark.parametrize(
    ("beta", "eta"),
    [(-0.1, 1.0), (1.1, 1.0), (math.nan, 1.0), (0.5, 0.0), (0.5, math.nan), (0.5, math.inf), (0.5, -1.0), (0.5, 1e-9)],
)
def test_impossible_settings_are_refused(beta, eta, library):
    made = ctypes.create_string_buffer(library.call("size_of_learner"))
    assert not library.call("begin", made, beta, eta)


def test_what_is_no_confidence_is_offloaded_and_teaches_nothing(library):
    learner, adaptive = library.fixed(0.5, 0.1), library.adaptive(0.5)
    before = library.save(learner), library.save(adaptive, "_adaptive")
    tiny = float(np.finfo(np.float32).smallest_subnormal)
    for p, offloads in {math.nan: 1, -math.inf: 1, -1.0: 1, 0.0: 1, tiny: 1, 1.0: 0, 1.5: 0, math.inf: 0}.items():
        assert library.call("probability", learner, p) == offloads
        for u in (0.0, 0.999, 1.0, -1.0, math.nan):
            assert library.call("decide", learner, p, u) == offloads
        library.call("learn", learner, p, True)
        library.call("learn_adaptive", adaptive, p, False)
    assert (library.save(learner) == before[0]).all()
    assert (library.save(adaptive, "_adaptive") == before[1]).all()
    assert library.call("decide", learner, 0.5, math.nan)
    assert not library.call("decide", learner, 0.5, -math.inf)


@pytest.mark.parametrize("kind", ["", "_adaptive"])
def test_a_saved_learner_goes_on_as_it_would_have(kind, library):
    def fresh():
        return library.adaptive(0.1) if kind else library.fixed(0.1, 7.0)

    learner, other, (first, second) = fresh(), fresh(), (drawn(500, 1), drawn(500, 2))
    by_c(library, first, learner, adaptive=bool(kind))
    found = library.save(learner, kind)
    assert library.load(other, found, kind) == LOADED
    assert (library.save(other, kind) == found).all()
    went_on = by_c(library, second, learner, adaptive=bool(kind))
    assert all((a == b).all() for a, b in zip(went_on, by_c(library, second, other, adaptive=bool(kind)), strict=True))
    assert (library.save(learner, kind) == library.save(other, kind)).all()
    wrong = "" if kind else "_adaptive"
    assert library.load(library.adaptive(0.5) if wrong else library.fixed(0.5, 1.0), found, wrong) == OTHER_LEARNER


def test_rates_at_both_ends_are_saved_and_loaded(library):
    for rate in (2.0**-29, 2.0**29):
        assert library.load(library.fixed(0.5, 1.0), library.save(library.fixed(0.1, rate)), "") == LOADED


def sealed(found):
    """The bytes with a checksum that fits them, by another library."""
    found[-4:] = np.frombuffer(struct.pack("<I", zlib.crc32(found[:-4].tobytes())), np.uint8)
    return found


def test_every_damage_is_refused_and_changes_nothing(library):
    learner = library.adaptive(0.5)
    by_c(library, drawn(300, 1), learner, adaptive=True)
    found = library.save(learner, "_adaptive")
    assert (sealed(found.copy()) == found).all()
    before = learner.raw
    for place in range(found.size):
        for bit in (1, 128):
            damaged = found.copy()
            damaged[place] ^= bit
            assert library.load(learner, damaged, "_adaptive") != LOADED, place
    assert library.load(learner, found[:-1], "_adaptive") == DAMAGED
    assert library.load(learner, np.append(found, 0), "_adaptive") == DAMAGED
    assert library.load(learner, found[:0], "_adaptive") == DAMAGED
    assert learner.raw == before


@pytest.mark.parametrize(
    ("place", "format_", "value", "found"),
    [
        (3, "B", 2, OTHER_VERSION),
        (4, "<H", 0, OTHER_LEARNER),
        (6, "<H", 128, OTHER_LEVELS),
        (8, "<I", 2**24 + 1, DAMAGED),
        (12, "<f", math.nan, DAMAGED),
        (12, "<f", 2.0**30, DAMAGED),
        (16, "<d", 0.0, DAMAGED),
        (16, "<d", math.nan, DAMAGED),
        (24, "<q", 2**55 + 1, DAMAGED),
        (24 + 8 * 254, "<q", -(2**55) - 1, DAMAGED),
        (24 + 8 * 254, "<q", -(2**55), LOADED),
        (24 + 8 * 254, "<q", 2**55, LOADED),
    ],
)
def test_what_no_learner_holds_is_refused_with_any_checksum(place, format_, value, found, library):
    learner = library.adaptive(0.5)
    state, part = library.save(learner, "_adaptive"), struct.pack(format_, value)
    state[place : place + len(part)] = np.frombuffer(part, np.uint8)
    before = learner.raw
    assert library.load(learner, sealed(state), "_adaptive") == found
    assert (learner.raw == before) == (found != LOADED)


def test_a_learner_of_other_levels_is_refused(library, of_levels):
    found = of_levels(128).save(of_levels(128).fixed(0.5, 1.0))
    assert library.load(library.fixed(0.5, 1.0), found) == OTHER_LEVELS


def test_it_is_as_small_as_promised(library):
    assert library.call("size_of_learner") == 2048
    assert library.call("size_of_adaptive") <= 3072
    assert library.call("size_of_batch") == 4 + 200 + 25


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("levels", [256, 2])
def test_sanitizers_find_nothing_whatever_it_is_given(compiler, levels, tmp_path):
    empty = tmp_path / "empty.c"
    empty.write_text("int main(void) { return 0; }\n")
    if (
        shutil.which(compiler)
        and subprocess.run([compiler, *SANITIZERS, empty, "-o", tmp_path / "empty"], capture_output=True).returncode
    ):
        pytest.skip(f"{compiler} has no sanitizers here: hil.h was not run under them")
    options = (*SANITIZERS, f"-DHIL_LEVELS={levels}")
    program = compiled(compiler, SOURCES / "fuzz.c", tmp_path / "fuzz", *options)
    kept = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    done = subprocess.run([program, "30"], capture_output=True, text=True, env=kept)
    assert (done.returncode, done.stdout) == (0, "all held\n"), done.stderr


def test_the_loop_of_the_page_works_and_is_short(tmp_path):
    loop = re.search(r"```c\n(.*?)```", (ROOT / "book" / "rerun.md").read_text(encoding="utf-8"), flags=re.DOTALL)[1]
    assert len(loop.splitlines()) <= 30
    (tmp_path / "page.h").write_text(loop)
    program = compiled("cc", SOURCES / "loop.c", tmp_path / "loop", f"-I{tmp_path}")
    done = subprocess.run([program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    sent, cycles, lost, learned = map(int, done.stdout.split())
    assert 0 < sent <= 4 * cycles
    assert 0 < lost < cycles
    assert learned == 1

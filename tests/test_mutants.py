"""The mutants of `make mutants`: one operator each, the same for the same seed; and the cases of the page's scripts."""

import ast
import runpy
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parent.parent
MUTANTS = SimpleNamespace(**runpy.run_path(str(ROOT / "tools" / "mutants.py")))

PYTHON = '''"""1 + 1."""
η = (1) + 2 - -3  # 4 * 5
very = 1 < η <= 3 != 4
text = "a < b"
power = 2**3 // 4 | 5
both = (
    1  # 6 - 7
    * 8
)
'''
C = """#include <math.h>
/* 1 + 2 */ static int f(int *p) { return *p + 1 - -2; } // 3 * 4
if (a <= b && c >> 1 == "d > e") p->x += 1;
"""


def test_in_python_operators_are_those_of_the_syntax_tree():
    found = MUTANTS.operators("x.py", PYTHON)
    assert [sign for _, sign in found] == ["+", "-", "<", "<=", "!="]
    assert all(PYTHON[start:].startswith(sign) for start, sign in found)


def test_in_c_and_javascript_operators_stand_free_in_code():
    found = MUTANTS.operators("x.h", C)
    assert [sign for _, sign in found] == ["+", "-", "<=", "=="]
    assert all(C[start:].startswith(sign) for start, sign in found)
    page = f"const a = `b + c` < '1 - 2';\n{MUTANTS.OF_PICTURES}\nconst d = 1 + 2;"
    assert MUTANTS.operators("x.js", page) == [(18, "<")]


@pytest.mark.uncounted
def test_every_place_holds_its_operator_and_every_mutant_is_another_program():
    for file in MUTANTS.files():
        text = (ROOT / file).read_text(encoding="utf-8")
        for start, sign in MUTANTS.operators(file, text):
            assert text[start:].startswith(sign)
            if file.endswith(".py") and start % 41 == 0:  # some of them
                for new in MUTANTS.SWAPS[sign]:
                    changed = MUTANTS.Mutant(file, start, sign, new).of(text)
                    nodes = [
                        Counter(type(node).__name__ for node in ast.walk(ast.parse(each))) for each in (text, changed)
                    ]
                    assert sum(((nodes[0] - nodes[1]) + (nodes[1] - nodes[0])).values()) == 2


@pytest.mark.uncounted
def test_a_seed_draws_the_same_mutants_again():
    assert MUTANTS.drawn(12, 3) == MUTANTS.drawn(12, 3) != MUTANTS.drawn(12, 4)
    assert len(set(MUTANTS.drawn(12, 3))) == 12
    assert {each.file for each in MUTANTS.drawn(12, 3, r"optima|payload")} == {"hi_lib/optima.py", "hi_lib/payload.py"}


def test_every_file_has_tests_of_its_own():
    own = [Path(file).stem for file in MUTANTS.files() if Path(file).parent.name == "hi_lib"]
    changed = [name for name in own if MUTANTS.operators(f"{name}.py", (ROOT / f"hi_lib/{name}.py").read_text())]
    with_tests = {test for name in [*MUTANTS.CORE, *changed] for test in MUTANTS.tests_of(name)}
    assert [name for name in with_tests if not (ROOT / name).is_file()] == []


def test_a_mutant_says_where_it_is():
    text = "a = 1\nb = a + 2\n"
    mutant = MUTANTS.Mutant("x.py", 12, "+", "-")
    assert mutant.of(text) == "a = 1\nb = a - 2\n"
    assert not mutant.equal(text)
    assert mutant.says(text) == "x.py:2:7: + → -: b = a + 2"


def test_what_is_said_to_change_nothing_is_still_there():
    for file, line in MUTANTS.EQUAL:
        text = (ROOT / file).read_text(encoding="utf-8")
        places = MUTANTS.operators(file, text)
        mutants = [MUTANTS.Mutant(file, *place, new) for place in places for new in MUTANTS.SWAPS[place[1]]]
        (found,) = [mutant for mutant in mutants if mutant.line(mutant.of(text)) == line]
        assert found.equal(text)


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    if shutil.which("node") is None:
        pytest.skip("node is not installed: the page's scripts were tried in a browser alone")
    path = tmp_path_factory.mktemp("page") / "cases.json"
    runpy.run_path(str(ROOT / "tools" / "in_page.py"))["write"](path)
    return path


def asked(folder, cases):
    command = ["node", ROOT / "tools" / "in_page.js", folder, cases]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.slow
def test_the_pages_scripts_say_what_the_library_says(cases):
    done = asked(ROOT / "book" / "decide", cases)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "line", "changed", "says"),
    [
        (
            "learner.js",
            "for (let t = start; t < stop; t += 1) {",
            "for (let t = start; t <= stop; t += 1) {",
            "case 31",
        ),
        ("advice.js", "const half = timing.tau_nw / 2;", "const half = timing.tau_nw * 2;", "case 7 differs"),
    ],
)
def test_a_changed_script_is_noticed(file, line, changed, says, cases, tmp_path):
    for path in (ROOT / "book" / "decide").glob("*.js"):
        shutil.copy(path, tmp_path)
    text = (tmp_path / file).read_text(encoding="utf-8")
    assert line in text
    (tmp_path / file).write_text(text.replace(line, changed), encoding="utf-8")
    done = asked(tmp_path, cases)
    assert done.returncode == 1
    assert done.stdout.startswith(says), done.stderr

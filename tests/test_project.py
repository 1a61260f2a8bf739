"""What the files beside the code promise: packages, names, commands, prose without hand-written numbers."""

import importlib.metadata
import inspect
import json
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import yaml
from packaging.specifiers import SpecifierSet

import hi_lib as hi
from hi_book.figures import style
from hi_book.press import notebooks

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]


def package_name(requirement):
    return re.match(r"[A-Za-z0-9_.-]+", requirement)[0].lower()


def test_what_stands_in_several_places_is_not_stale():
    facts = runpy.run_path(str(ROOT / "tools" / "facts.py"))
    for path, text in facts["expected"]().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is stale: run make facts"


PIN = re.compile(
    r"^([a-z0-9-]+)==(\S+)(?: ; .*?)? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", flags=re.MULTILINE
)


def test_the_lock_pins_every_package_once_by_hashes_and_names_no_address():
    text = (ROOT / "requirements.lock").read_text()
    pins = [pin[0] for pin in PIN.findall(text)]
    assert len(set(pins)) == len(pins)
    groups = [*PROJECT["optional-dependencies"].values(), *PYPROJECT["dependency-groups"].values()]
    wanted = PROJECT["dependencies"] + [r for group in groups for r in group]
    assert {package_name(r).replace("_", "-") for r in wanted} <= set(pins)
    assert re.sub(r"^#.*\n", "", PIN.sub("", text), flags=re.MULTILINE) == ""
    assert "://" not in text


def test_every_pin_that_is_installed_runs_on_the_oldest_python_that_is_promised():
    floor = re.fullmatch(r">=([\d.]+)", PROJECT["requires-python"])[1] + ".0"
    pins = {pin[0] for pin in PIN.findall((ROOT / "requirements.lock").read_text())}
    refusing, tried = [], 0
    for installed in importlib.metadata.distributions():
        if installed.name.lower().replace("_", "-").replace(".", "-") in pins:
            tried += 1
            wanted = installed.metadata.get("Requires-Python", "")
            if not SpecifierSet(wanted).contains(floor):
                refusing.append(f"{installed.name} {installed.version}: {wanted}")
    assert refusing == []
    assert tried > 100


def test_public_names_are_the_designed_ones():
    expected = {
        hi.list_traces: ["own"],
        hi.load_trace: ["name"],
        hi.replay: [
            "trace",
            "beta",
            "batch_size",
            "learner",
            "learning_rate",
            "exploration",
            "threshold",
            "seed",
            *("delay", "unit", "max_samples", "price", "share", "budget", "multiplier_rate", "strict"),
        ],
        hi.best_threshold: ["trace", "beta", "batch_size", "price", "unit", "budget"],
        hi.lambda_min: ["trace"],
        hi.regret_bound: ["n", "batch_size", "lambda_min", "learning_rate"],
        hi.tuned_learning_rate: ["n", "batch_size", "lambda_min"],
        hi.HILF: [
            *("beta", "learning_rate", "seed", "levels", "lambda_min", "samples", "batch_size", "share"),
            *("budget", "multiplier_rate"),
        ],
        hi.HILN: [
            *("beta", "learning_rate", "exploration", "seed", "levels", "lambda_min", "loss_rate"),
            *("samples", "batch_size"),
        ],
        hi.OffloadBatches: ["learner", "offloads", "max_samples", "max_wait"],
        hi.HILF.decide_later: ["self", "confidence"],
        hi.HILF.defer: ["self", "confidence"],
        hi.HILF.hear: ["self", "ticket", "correct"],
        hi.HILF.forget: ["self", "ticket"],
        hi.HILF.state: ["self"],
        hi.HILF.restore: ["state"],
        hi.HILF.threshold: ["self"],
        hi.HILF.decide: ["self", "confidence"],
        hi.HILF.update: ["self", "confidence", "correct"],
        hi.TimingModel: ["tau_ed", "tau_es", "tau_tx", "tau_nw", "network_time"],
        hi.TimingModel.system_time: ["self", "batch_size", "offload_ratio", "model", "unit"],
        hi.TimingModel.response_time: ["self", "batch_size", "offload_ratio", "model", "unit"],
        hi.TimingModel.objective: ["self", "batch_size", "offload_ratio", "alpha", "model", "unit"],
        hi.TimingModel.optimal_batch_size: [
            *("self", "offload_ratio", "alpha", "model"),
            *("deadline", "miss_probability", "offloaded_only", "network_times", "unit"),
        ],
        hi.Trace.shuffled: ["self", "seed"],
    }
    for function, names in expected.items():
        assert list(inspect.signature(function).parameters) == names, function
    run = hi.replay(hi.synthetic_trace(10, 0), 0.5)
    for name in ("average_cost", "offload_ratio", "regret", "regret_bound", "cost", "offload_probability"):
        assert hasattr(run, name)
    for setting in (hi.IMAGENETTE, hi.CIFAR10):
        for name in ("timing", "beta", "offload_ratio", "samples", "image_bytes", "rate"):
            assert hasattr(setting, name)


def test_every_public_name_is_documented():
    for name in hi.__all__:
        item = getattr(hi, name)
        if inspect.isclass(item) or inspect.isfunction(item):
            assert inspect.getdoc(item), name


def test_importing_the_library_loads_nothing_heavy():
    heavy = ["numba", "pandas", "matplotlib", "torch", "scipy"]
    code = f"import sys, hi_lib; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def tells(cell):
    """Whether a cell holds nothing but prose with numbers of its run."""
    return "".join(cell["source"]).startswith('numbers.tell(r"""\n')


def prose():
    """(where, text) of every page and of every cell of prose and caption of a notebook."""
    for path in sorted((ROOT / "book").glob("*.md")):
        yield path.name, path.read_text()
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for number, cell in enumerate(json.loads(path.read_text())["cells"]):
            if cell["cell_type"] == "markdown" or tells(cell):
                yield f"{path.name}, cell {number}", "".join(cell["source"])
            caption = cell["metadata"].get("mystnb", {}).get("figure", {}).get("caption")
            if caption:
                yield f"{path.name}, caption of cell {number}", caption
    for number, claim in enumerate(yaml.safe_load((ROOT / "book" / "claims.yml").read_text())):
        yield f"claims.yml, reason {number}", claim["reason"]


NOT_PROSE = [
    r":::\{list-table\}.*?:name: tab-constants.*?\n:::",  # the one table of the paper's constants
    r"```.*?```",
    r"\$\$.*?\$\$",
    r"\$[^$]*\$",
    r"\{\{[\w.]+(:[^{}]*)?\}\}",
    r"\{[a-z:]+\}`[^`]*`",
    r"`[^`]*`",
    r"\]\([^)]*\)",
]


def decimals(text):
    for pattern in NOT_PROSE:
        text = re.sub(pattern, " ", text, flags=re.DOTALL)
    for title in style.TRACE_TITLES.values():
        text = text.replace(title.split(", ")[1], " ")
    return re.findall(r"\d+\.\d+", text)


@pytest.mark.parametrize(("where", "text"), list(prose()))
def test_prose_holds_no_hand_written_decimal(where, text):
    assert decimals(text) == [], where


def test_the_prose_rule_finds_decimals():
    assert decimals("it costs 1.05 on MobileNet v1 0.25-128 at $β = 0.7$, {{x:.3f}}, `0.1`") == ["1.05"]


@pytest.mark.parametrize("name", notebooks.notebook_names())
def test_a_notebook_is_a_story(name):
    cells = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text())["cells"]
    told = [cell for cell in cells if cell["cell_type"] == "code" and not tells(cell)]
    code = ["".join(cell["source"]) for cell in told if "parameters" not in cell["metadata"].get("tags", [])]
    assert not re.search(r"^\s*(def|class) ", "\n".join(code), re.MULTILINE)
    shown = [cell for cell in cells if cell["cell_type"] == "code" and not cell["metadata"].get("tags")]
    assert [cell for cell in shown if "mystnb" not in cell["metadata"]], "nothing that a reader would type is shown"
    for cell in cells:
        if cell["cell_type"] == "markdown" or tells(cell):
            text = re.sub(r"```.*?```|^\|.*$", "", "".join(cell["source"]), flags=re.DOTALL | re.MULTILINE)
            assert max(map(len, text.splitlines()), default=0) <= 120


def test_every_notebook_has_parameters_and_no_output():
    for name in notebooks.notebook_names():
        assert notebooks.default_parameters(name)
        for cell in json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text())["cells"]:
            assert not cell.get("outputs")
            assert cell.get("execution_count") is None


def test_every_figure_has_alt_text_and_names_its_model():
    for name in notebooks.notebook_names():
        for cell in json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text())["cells"]:
            entry = cell["metadata"].get("mystnb", {})
            if "figure" in entry:
                assert len(entry["image"]["alt"]) > 40, name
                named = r"MobileNet|ResNet|AlexNet|No S-ML is run"
                assert re.search(named, entry["figure"]["caption"]), (name, entry["figure"]["name"])


def python_blocks():
    for name in ("README.md", "book/rerun.md"):
        for block in re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(), flags=re.DOTALL):
            yield name, block


def test_printed_python_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.csv").write_text("confidence,correct\n0.5,1\n0.9,1\n")
    namespace = {"confidence": [0.2, 0.9], "correct": [0, 1]}

    class Classifier:
        """In place of a trained one of scikit-learn; tests/book/makers/with_models has that, and the torch module."""

        classes_ = np.array(["no", "yes"])

        def predict_proba(self, samples):
            return np.column_stack([samples, 1 - samples])

    namespace |= {"classifier": Classifier(), "X": np.array([0.2, 0.6, 0.7]), "y": np.array(["yes", "no", "yes"])}
    # What needs packages of its own: tests/book/makers/with_models has torch, tests/slow has KServe.
    blocks = [(name, block) for name, block in python_blocks() if not re.search("import torch|from kserve", block)]
    assert len(blocks) >= 3
    for _, block in blocks:
        exec(block, namespace)
    assert capsys.readouterr().out


def test_printed_commands_exist():
    from typer.main import get_command

    from hi_book.commands.main import app

    pages = ("README.md", "CONTRIBUTING.md", "book/rerun.md", "book/appendix.md")
    text = "".join((ROOT / page).read_text() for page in pages)
    code = "\n".join(re.findall(r"```bash\n.*?```|`[^`\n]+`", text, flags=re.DOTALL))
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", code, flags=re.MULTILINE)) - targets == set()
    commands = set(get_command(app).commands)
    assert set(re.findall(r"\bhi ([a-z]+)\b", code)) - commands == set()


def test_the_readme_counts_the_reviewed_verdicts_and_is_short():
    text = (ROOT / "README.md").read_text()
    claims = [each for each in yaml.safe_load((ROOT / "book" / "claims.yml").read_text()) if each["id"][0] == "C"]
    holding = sum(claim["verdict"] == "holds" for claim in claims if claim["id"] != "C1m")
    assert f"Of {len(claims) - 1} claims of the paper, judged as it words them, {holding} hold, " in text
    assert len(text.split()) <= 1200


def test_the_figure_of_costs_shows_every_shipped_trace():
    shown = notebooks.default_parameters("fig3_cost_vs_batch_size")["traces"]
    assert sorted(shown) == hi.list_traces(own=False)


def test_every_figure_is_pointed_to():
    # A reference makes the build fail when a notebook was not executed and its figure is missing.
    text = "".join(text for _, text in prose())
    for name in notebooks.notebook_names():
        for cell in json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text())["cells"]:
            if "figure" in (entry := cell["metadata"].get("mystnb", {})):
                assert f"{{numref}}`{entry['figure']['name']}`" in text


def test_all_rooms_are_installed():
    from setuptools import find_packages

    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]
    found = {
        ".".join((package, *path.parent.relative_to(ROOT / package).parts))
        for package in ("hi_lib", "hi_live", "hi_book")
        for path in (ROOT / package).rglob("__init__.py")
    }
    assert found == set(find_packages(ROOT, include=wanted))


def test_every_folded_table_says_what_it_holds():
    folded = 0
    for name in notebooks.notebook_names():
        for cell in json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text())["cells"]:
            if "hide-cell" in cell["metadata"].get("tags", []):
                entry, folded = cell["metadata"]["mystnb"], folded + 1
                assert entry["code_prompt_show"] == entry["code_prompt_hide"]
                assert re.fullmatch(r"Table: .{15,}", entry["code_prompt_show"])
    assert folded


def test_every_claim_is_tested_by_one_experiment_of_the_appendix():
    page = (ROOT / "book" / "appendix.md").read_text()
    rows = re.findall(r"^\| \**([ECT]\d+[mr]?)\** \| ([^|]*) \| (.*) \|$", page, re.MULTILINE)
    claims = {claim["id"]: claim for claim in yaml.safe_load((ROOT / "book" / "claims.yml").read_text())}
    assert sorted(name for name, _, _ in rows if not name.startswith("E")) == sorted(claims)
    command = ""
    for name, says, text in rows:
        if name.startswith("E"):
            command = re.match(r"`(.venv/bin/hi [\w ]+)`", text)[1]
            assert f"\n{command}\n" in re.search(rf"^#### {name}: [^#]*", page, re.MULTILINE)[0]
        else:
            assert claims[name]["notebook"] in command.split()[2:]
            assert says.removesuffix(", proved") == claims[name]["verdict"]
            assert text.count("; ") >= len(claims[name]["checks"]) - 1


def test_the_workflow_that_runs_other_peoples_code_cannot_write():
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        workflow = yaml.safe_load(path.read_text())
        assert workflow["permissions"] == {}
        for job in workflow["jobs"].values():
            assert all(re.search(r"@[0-9a-f]{40}$", step["uses"]) for step in job["steps"] if "uses" in step)
            if any("run" in step for step in job["steps"]):
                assert set(job["permissions"].values()) == {"read"}

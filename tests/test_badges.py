"""What committees and catalogues read: complete, true to the data, and accepted by the tools of those who define it.

Those tools are installed by `make test-badges`; without them their tests are skipped.
"""

import fnmatch
import importlib.util
import json
import os
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

import hi_lib as hi
from hi_book.press import places
from hi_lib import files, traces

ROOT = Path(__file__).resolve().parent.parent
CROISSANT = json.loads((ROOT / "croissant.json").read_text(encoding="utf-8"))
# What the template of an artifact appendix asks for, in its order.
TEMPLATE = [
    *("Description", "Security/Privacy Issues and Ethical Concerns"),
    *("Basic Requirements", "Hardware Requirements", "Software Requirements", "Estimated Time and Storage Consumption"),
    *("Environment", "Accessibility", "Set up the environment", "Testing the Environment"),
    *("Artifact Evaluation", "Main Results and Claims", "Experiments", "Limitations", "Notes on Reusability"),
]


@pytest.fixture
def badges(tmp_path, monkeypatch):
    """The module, with a copy of what it would change, in which there is no deposit yet."""
    loaded = runpy.run_path(str(ROOT / "tools" / "badges.py"))
    about = tmp_path / "about.toml"
    about.write_text(re.sub('^doi = ".*?"', 'doi = ""', loaded["ABOUT"].read_text(), flags=re.MULTILINE))
    monkeypatch.setitem(loaded["note_doi"].__globals__, "ABOUT", about)
    return SimpleNamespace(**loaded | {"ABOUT": about})


def tool(name, module):
    """A program that `make test-badges` installs."""
    path = Path(sys.prefix) / "bin" / name
    if not path.exists() or (module and not importlib.util.find_spec(module)):
        pytest.skip(f"{name} is not installed (make test-badges)")
    return path


def run(*command):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_croissant_describes_every_trace_and_the_answers_of_the_large_model():
    described = {Path(entry["@id"]).stem: entry for entry in CROISSANT["distribution"]}
    assert set(described) == {*traces.shipped(), "imagenette-efficientnet_lite2"}
    for entry in described.values():
        path = ROOT / entry["contentUrl"]
        assert traces.registry()[entry["@id"]].sha256 == entry["sha256"] == files.sha256(path)
        assert entry["contentSize"] == f"{path.stat().st_size} B"
    for records in CROISSANT["recordSet"]:
        (file,) = {field["source"]["fileObject"]["@id"] for field in records["field"]}
        columns = [field["source"]["extract"]["column"] for field in records["field"]]
        with (traces.DATA / file).open() as content:
            assert columns == content.readline().strip().split(",")


def test_croissant_has_the_fields_that_are_asked_for():
    asked = ["@context", "conformsTo", "name", "description", "version", "license", "creator", "citeAs"]
    responsible = [
        *("dataCollection", "dataCollectionType", "dataPreprocessingProtocol", "dataAnnotationProtocol"),
        *("dataUseCases", "dataLimitations", "dataBiases", "dataSocialImpact", "personalSensitiveInformation"),
        "dataReleaseMaintenancePlan",
    ]
    assert all(CROISSANT[name] for name in [*asked, *(f"rai:{name}" for name in responsible)])


def test_croissant_is_valid():
    done = run(tool("mlcroissant", "mlcroissant"), "validate", "--jsonld", "croissant.json")
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    # There is no date before there is a deposit.
    assert set(re.findall(r"^  -  (.*)", said, flags=re.MULTILINE)) <= {
        '[Metadata(batch-hi-traces)] Property "https://schema.org/datePublished" is recommended, but does not exist.'
    }


@pytest.mark.slow
def test_croissant_leads_to_every_row():
    tool("mlcroissant", "mlcroissant")
    code = (
        "import mlcroissant as mlc\ndata = mlc.Dataset('croissant.json')\n"
        "for each in data.metadata.record_sets:\n    print(each.uuid, sum(1 for _ in data.records(each.uuid)))\n"
    )
    done = run(sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
    counted = dict(line.split() for line in done.stdout.splitlines())
    assert counted.pop("imagenette-efficientnet_lite2") == "3925"
    assert counted == {name: str(len(hi.load_trace(name))) for name in traces.shipped()}


def test_a_doi_goes_everywhere(badges):
    assert "none yet" in badges.deposit()
    badges.note_doi("10.5281/zenodo.1234567")
    first = badges.ABOUT.read_text()
    address = "https://doi.org/10.5281/zenodo.1234567"
    assert badges.deposit() == f"Deposit: [`10.5281/zenodo.1234567`]({address})."
    made = {path.name: text for path, text in badges.expected(badges.deposit()).items()}
    assert yaml.safe_load(made["CITATION.cff"])["doi"] == "10.5281/zenodo.1234567"
    for name in ("codemeta.json", "croissant.json"):
        content = json.loads(made[name])
        assert content["identifier"] == content["url"] == address
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", content["datePublished"])
    assert address in made["ARTIFACT-APPENDIX.md"]
    badges.note_doi("10.5281/zenodo.1234567")
    assert badges.ABOUT.read_text() == first


@pytest.mark.parametrize(
    "text",
    [
        "",
        "zenodo.1",
        "10.5281",
        "10.5281/",
        "https://doi.org/10.5281/x",
        '10.5281/"x',
        "10.5281/a b",
        "10.5281/x\ny = 1",
    ],
)
def test_a_wrong_doi_is_refused_in_one_line(text, badges):
    before = badges.ABOUT.read_text()
    with pytest.raises(SystemExit) as refusal:
        badges.note_doi(text)
    assert str(refusal.value).startswith("error: DOI must look like 10.5281/zenodo.1234567, got ")
    assert "\n" not in str(refusal.value)
    assert badges.ABOUT.read_text() == before


def test_an_archive_refuses_a_wrong_doi_at_once_and_shows_a_right_one():
    steps = run("make", "-n", "archive", "DOI=10.5281/zenodo.1").stdout
    order = [steps.index(step) for step in ("tools/badges.py", "hi book", "tools/facts.py", "tools/archive.py")]
    assert order == sorted(order)
    assert steps.index("hi book", order[2]) < order[3]  # its page of the appendix, once more
    assert "tools/facts.py" not in run("make", "-n", "archive").stdout + run("make", "-n", "book", "DOI=x").stdout


@pytest.fixture
def archive():
    """The module that packs, where what it needs is installed."""
    for module in ("rocrate", "swh"):
        if not importlib.util.find_spec(module):
            pytest.skip(f"{module} is not installed (make test-badges)")
    return SimpleNamespace(**runpy.run_path(str(ROOT / "tools" / "archive.py")))


SMALL = {
    "README.md": b"hello\n",
    "a/b/c.py": b"#!/usr/bin/env python\n",
    "a/b.txt": b"",
    "a.b": b"\x00\xff",
    "a0/ünd.csv": b"1\n",
}


def test_the_software_heritage_identifier_is_that_of_gits_own_tree(archive, tmp_path):
    for name, content in SMALL.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(archive.mode(content))
    for command in (["init", "-q"], ["-c", "core.autocrlf=false", "add", "."]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    tree = subprocess.run(["git", "write-tree"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert archive.swhid(SMALL) == f"swh:1:dir:{tree.strip()}"


def test_programs_are_those_that_git_knows_as_such(archive):
    if not (ROOT / ".git").exists():
        pytest.skip("only git tells which files are programs")
    listed = run("git", "ls-files", "-s").stdout.splitlines()
    for line in listed:
        (kind, *_), path = line.split("\t")[0].split(), line.split("\t")[1]
        if (ROOT / path).is_file():
            assert f"100{archive.mode((ROOT / path).read_bytes()):o}" == kind, path


def test_the_crate_is_read_by_its_own_library_and_leads_to_files(archive, tmp_path):
    from rocrate.rocrate import ROCrate

    files = dict.fromkeys(archive.source_files(), b"") | {"rendered/html/index.html": b""}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    about = tomllib.loads((ROOT / "tools" / "about.toml").read_text()) | {"doi": "", "published": "2026-01-02"}
    identifier = archive.swhid(SMALL)
    text = archive.crate(files, project, about, identifier)
    assert text == archive.crate(files, project, about, identifier)
    for name in (*files, archive.MANIFEST):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / archive.CRATE).write_text(text, encoding="utf-8")
    found = ROCrate(tmp_path)
    # What the specification asks of every crate.
    assert found.name == about["title"]
    assert found.description == project["description"]
    assert found.root_dataset["datePublished"] == "2026-01-02"
    assert [licence if isinstance(licence, str) else licence.id for licence in found.license] == [
        "https://spdx.org/licenses/BSD-3-Clause",
        "https://spdx.org/licenses/CC-BY-4.0",
    ]
    assert found.mainEntity["identifier"] == found.mainEntity.id == identifier
    parts = [part.id for part in found.root_dataset["hasPart"]]
    assert {"croissant.json", "codecheck.yml", "data/", "rendered/html/index.html"} <= set(parts)
    assert "rendered/batch-hi.pdf" not in parts
    assert [part for part in parts if not (tmp_path / part).exists()] == []
    deposited = archive.crate(files, project, about | {"doi": "10.5281/zenodo.1"}, identifier)
    assert '"identifier": "https://doi.org/10.5281/zenodo.1"' in deposited


def test_citations_name_the_paper_and_the_version():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    coded = json.loads((ROOT / "codemeta.json").read_text(encoding="utf-8"))
    assert cited["version"] == coded["version"] == version
    (paper,) = cited["references"]
    assert paper["title"] == coded["referencePublication"]["name"]
    assert len(paper["authors"]) == len(coded["referencePublication"]["author"]) == 5


def test_the_codecheck_manifest_lists_what_the_build_makes_and_nothing_else():
    content = yaml.safe_load((ROOT / "codecheck.yml").read_text(encoding="utf-8"))
    listed = [entry["file"] for entry in content["manifest"]]
    made = [path for suffix in ("csv", "svg") for path in places.RESULTS.glob(f"*/*.{suffix}")]
    assert made, "run make book first"
    assert sorted(listed) == sorted(str(path.relative_to(ROOT)) for path in made if "-narrow" not in path.name)
    # Every figure with a number in the book, by its own count in the notebooks.
    sources = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "notebooks").glob("*.ipynb")}
    figures = {
        f"results/{name}/{one}.svg" for name, text in sources.items() for one in re.findall('"(fig-[^"]*)"', text)
    }
    assert figures == {file for file in listed if "/fig-" in file}
    for entry in content["manifest"]:
        assert entry["command"] == f".venv/bin/hi run {Path(entry['file']).parent.name}"
        assert entry["comment"].endswith((".", "?"))


def test_the_codecheck_manifest_names_the_paper_and_leaves_the_check_to_the_checker():
    content = yaml.safe_load((ROOT / "codecheck.yml").read_text(encoding="utf-8"))
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["references"][0]
    assert content["version"] == "https://codecheck.org.uk/spec/config/1.0/"
    assert content["paper"]["title"] == cited["title"]
    assert content["paper"]["authors"] == [
        {"name": f"{author['given-names']} {author['family-names']}"} for author in cited["authors"]
    ]
    assert cited["title"] in content["paper"]["reference"]
    assert str(cited["year"]) in content["paper"]["reference"]
    assert not {"codechecker", "report", "check_time", "certificate", "summary"} & set(content)


def test_without_a_build_the_codecheck_manifest_stays(badges, monkeypatch, tmp_path):
    before = (ROOT / "codecheck.yml").read_text(encoding="utf-8")
    monkeypatch.setenv("HI_RESULTS", str(tmp_path))
    about, inner = tomllib.loads(badges.ABOUT.read_text()), badges.codecheck.__globals__
    paper = inner["_paper"](about["paper"])
    assert yaml.safe_load(badges.codecheck(about, paper))["manifest"] == yaml.safe_load(before)["manifest"]
    about["doi"] = "10.5281/zenodo.1"
    assert yaml.safe_load(badges.codecheck(about, paper))["repository"] == "https://doi.org/10.5281/zenodo.1"
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "_toc.yml").write_text("file: notebooks/speed")
    monkeypatch.setitem(inner, "ROOT", tmp_path)
    with pytest.raises(SystemExit, match="run make book first"):
        badges.codecheck(about, paper)


@pytest.mark.parametrize(("name", "more"), [("ARTIFACT-APPENDIX.md", []), ("book/appendix.md", ["How fast it is"])])
def test_the_artifact_appendix_has_the_headings_of_the_template(name, more):
    found = re.findall(r"^#{2,3} (.*)", (ROOT / name).read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert found == [*TEMPLATE, *more]


def test_the_artifact_appendix_is_plain_markdown_whose_links_lead_somewhere():
    text = (ROOT / "ARTIFACT-APPENDIX.md").read_text(encoding="utf-8")
    assert not re.search(r"\{[a-z:]+\}`|^: |:::|facts:", text, flags=re.MULTILINE)
    links = re.findall(r"\]\((?!https:)([^)]+)\)", text)
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link).is_file()] == []


def test_a_last_digit_does_not_make_the_artifact_appendix_stale(badges, tmp_path, monkeypatch):
    inner = badges.artifact_appendix.__globals__
    monkeypatch.setitem(inner, "ROOT", tmp_path)
    found = {"share": 0.2457}
    monkeypatch.setattr(inner["results"], "read_values", lambda _: found)
    page = "It is {{one.share:.2f}} of its bound (at most 1).\n"

    def made():
        (tmp_path / "ARTIFACT-APPENDIX.md").write_text(badges.artifact_appendix(page))
        return (tmp_path / "ARTIFACT-APPENDIX.md").read_text().splitlines()[-1]

    assert made() == "It is 0.25 of its bound (at most 1)."
    found["share"] = 0.244
    assert made() == "It is 0.25 of its bound (at most 1)."
    found["share"] = 0.34
    assert made() == "It is 0.34 of its bound (at most 1)."
    found.clear()  # the book has not been built
    assert made() == "It is 0.34 of its bound (at most 1)."
    page = page.replace("bound", "limit")
    with pytest.raises(SystemExit, match="run make book first"):
        made()


def licence(path):
    """What REUSE.toml says of a file: the last match."""
    entries = tomllib.loads((ROOT / "REUSE.toml").read_text())["annotations"]
    paths = [(entry["path"], entry["SPDX-License-Identifier"]) for entry in entries]
    lists = [(given if isinstance(given, list) else [given], name) for given, name in paths]
    return [name for given, name in lists if any(fnmatch.fnmatch(path, one) for one in given)][-1]


@pytest.mark.parametrize(
    ("path", "name"),
    {
        "hi_lib/timing.py": "BSD-3-Clause",
        "hi_lib/device/c/hil.h": "BSD-3-Clause",
        "tools/device/replay.c": "BSD-3-Clause",
        "book/_extensions/readable.py": "BSD-3-Clause",
        "book/decide/advice.js": "BSD-3-Clause",
        "book/appendix.md": "CC-BY-4.0",
        "book/images/framework.svg": "CC-BY-4.0",
        "data/traces/cifar10-resnet8.csv": "CC-BY-4.0",
        "notebooks/regret_bound.ipynb": "BSD-3-Clause AND CC-BY-4.0",
    }.items(),
)
def test_every_file_has_the_licence_that_the_words_of_the_licence_give_it(path, name):
    assert (ROOT / path).is_file()
    assert licence(path) == name
    assert all((ROOT / "LICENSES" / f"{each}.txt").is_file() for each in name.split(" AND "))


@pytest.mark.uncounted
def test_the_licences_are_as_reuse_asks():
    if not (ROOT / ".git").exists():
        pytest.skip("only git tells which files belong to the project")
    done = run(tool("reuse", "reuse"), "lint")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dockerfile_holds_what_the_two_commands_need():
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    steps = [line.split(maxsplit=1) for line in text.splitlines() if re.match("[A-Z]+ ", line)]
    assert re.fullmatch(r"debian:\d+-slim", dict(steps)["FROM"])
    # Everything after the system's packages is done by somebody who may not change the system.
    assert [what for what, _ in steps].index("USER") < [what for what, _ in steps].index("COPY")
    assert [then for what, then in steps if what == "USER"] == ["1000"]
    assert json.loads(dict(steps)["CMD"])[-1] == "make book && make test"
    bare = re.search(r"apt-get install ([\w .-]+)`", (ROOT / "README.md").read_text(encoding="utf-8"))[1]
    installed = re.search(r"--no-install-recommends ([^&]*)", text)[1].split()
    assert {*bare.split(), "chromium", "libatomic1"} <= set(installed)
    assert {".git", ".venv*", "_build", "results"} <= set((ROOT / ".dockerignore").read_text().split())


def test_the_dockerfile_is_as_hadolint_asks():
    done = run(tool("hadolint", None), "Dockerfile")
    assert done.returncode == 0, done.stdout + done.stderr


def test_without_a_container_engine_the_script_says_so():
    environment = os.environ | {"ENGINE": "no-such-engine"}
    done = subprocess.run([ROOT / "tools" / "container"], env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "error: no-such-engine is not installed, or not running\n"

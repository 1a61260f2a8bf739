"""The build on a small project of its own: what runs again when, and what a failure leaves behind."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time

import nbformat
import pytest

from hi_book.press import book, claims, kernels, notebooks, places, uses
from hi_lib import traces

KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with one notebook, `sum`, that publishes total = a + b."""
    for name in ("notebooks", "hi_lib", "data", "book"):
        (tmp_path / name).mkdir()
    (tmp_path / "_config.yml").write_text("title: small")
    (tmp_path / "data" / "numbers.txt").write_text("1")
    (tmp_path / "book" / "claims.yml").write_text("[]")
    (tmp_path / "notebooks" / "parameters.yml").write_text("quick: {sum: {a: 10}}\nfull: {}\n")
    monkeypatch.setattr(places, "ROOT", tmp_path)
    monkeypatch.setattr(notebooks, "DATA", tmp_path / "data")
    monkeypatch.setattr(claims, "CLAIMS", tmp_path / "book" / "claims.yml")
    build = tmp_path / "_build"
    build.mkdir()
    (tmp_path / "requirements.lock").write_text("")
    parts = {"LOCK": "requirements.lock"}
    parts |= {
        "NOTEBOOKS": "notebooks",
        "PARAMETERS": "notebooks/parameters.yml",
        "PAGES": "book",
        "RESULTS": "results",
    }
    parts |= {"BUILD": "_build", "EXECUTED": "_build/executed", "HTML": "_build/html", "REPORT": "_build/build.json"}
    for name, place in parts.items():
        monkeypatch.setattr(places, name, tmp_path / place)
    write_notebook(tmp_path, "results.publish('sum', {'total': a + b})")
    return tmp_path


def write_notebook(project, code, parameters="a = 1\nb = 2"):
    cell = nbformat.v4.new_code_cell
    cells = [cell(parameters, metadata={"tags": ["parameters"]}), cell(f"from hi_book.press import results\n{code}")]
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": KERNEL})
    nbformat.write(notebook, project / "notebooks" / "sum.ipynb")


def run(profile="full"):
    return notebooks.run_notebooks(profile, progress=lambda _: None)


def total(project):
    return json.loads((project / "results" / "sum" / "values.json").read_text())["total"]


@pytest.mark.slow
def test_a_notebook_runs_when_something_it_depends_on_changes(project):
    data, library = project / "data" / "preprocessing.csv", project / "hi_lib"
    figures = project / "hi_book" / "figures"
    shutil.copy(traces.DATA / data.name, data)
    (project / "data" / "other.csv").write_text("1")
    figures.mkdir(parents=True)
    (figures / "sums.py").write_text("def draw():\n    from hi_lib import deeper\n")
    (library / "deeper.py").write_text("x = 1")
    (library / "other.py").write_text("x = 1")
    code = "from hi_lib import traces\nif False:\n    from hi_book.figures import sums\n"
    code += "traces.data_file('preprocessing.csv')\nresults.publish('sum', {'total': a + b})"
    write_notebook(project, code)
    assert run() == ["sum"]
    assert total(project) == 3
    assert run() == []
    assert run("quick") == ["sum"]
    assert total(project) == 12
    assert run() == ["sum"]
    for changed in (data, figures / "sums.py", library / "deeper.py"):
        before = changed.read_bytes()
        changed.write_text("x = 2")
        assert run() == ["sum"], changed
        changed.write_bytes(before)
        run()
    (library / "other.py").write_text("x = 2")
    (project / "data" / "other.csv").write_text("2")
    (project / "data" / "new.csv").write_text("2")
    assert run() == []
    (project / "requirements.lock").write_text("numpy==0")
    assert run() == ["sum"]
    write_notebook(project, "results.publish('sum', {'total': a * b})")
    assert run() == ["sum"]
    assert total(project) == 2
    (project / "results" / "sum" / "values.json").write_text('{"total": 5}')
    assert run() == ["sum"]
    assert total(project) == 2
    assert run() == []


def test_every_notebook_uses_its_figures_and_no_command():
    for path in places.NOTEBOOKS.glob("*.ipynb"):
        used = {
            file.relative_to(places.ROOT).as_posix()
            for file in uses.modules("\n".join(notebooks._code_cells(path)), places.ROOT)
        }
        assert {"hi_lib/__init__.py", "hi_book/press/results.py", "hi_lib/traces.py"} <= used, path
        assert not [file for file in used if "/commands/" in file or "/makers/" in file], path


def test_two_runs_leave_the_same_bytes(project):
    # A default repr holds a memory address.
    write_notebook(project, "results.publish('sum', {'total': a + b})\nobject()")
    run()
    first = (project / "_build" / "executed" / "sum.ipynb").read_bytes()
    shutil.rmtree(project / "_build" / "stamps")
    assert run() == ["sum"]
    assert (project / "_build" / "executed" / "sum.ipynb").read_bytes() == first


def test_what_is_printed_in_one_go_is_one_output(project):
    """A busy kernel sends it in several messages, another time in one: the bytes must be the same."""
    slowly = (
        "import sys, time\nfor word in ('one', 'two', 'three'):\n    print(word, flush=True)\n    time.sleep(0.4)\n"
    )
    write_notebook(project, slowly + "print('beside', file=sys.stderr)\nresults.publish('sum', {'total': a + b})")
    run()
    cells = json.loads((project / "_build" / "executed" / "sum.ipynb").read_text())["cells"]
    streams = [output for output in cells[-1]["outputs"] if output["output_type"] == "stream"]
    assert [(each["name"], "".join(each["text"])) for each in streams] == [
        ("stdout", "one\ntwo\nthree\n"),
        ("stderr", "beside\n"),
    ]


def test_a_mistake_in_a_notebook_comes_with_its_place_and_its_parameters(project):
    write_notebook(project, "list(zip([a], [], strict=True))")
    with pytest.raises(
        notebooks.BuildError, match=r"(?s)^sum failed with a = 10 instead of 1: ValueError: .*zip\(\[a\]"
    ):
        run("quick")


def test_a_failing_notebook_leaves_the_last_good_one(project):
    run()
    good = (project / "_build" / "executed" / "sum.ipynb").read_bytes()
    write_notebook(project, "1 / 0")
    with pytest.raises(notebooks.BuildError, match="ZeroDivisionError"):
        run()
    assert (project / "_build" / "executed" / "sum.ipynb").read_bytes() == good
    assert total(project) == 3
    with pytest.raises(notebooks.BuildError):
        run()


@pytest.mark.parametrize("says", ["Kernel died before replying to kernel_info", "Kernel didn't respond in 60 seconds"])
@pytest.mark.parametrize("times", [1, 2])
def test_a_kernel_that_never_answered_is_started_once_more(times, says, project, monkeypatch):
    import papermill

    execute, died = papermill.execute_notebook, []

    def dies_at_first(*arguments, **options):
        if len(died) < times:
            died.append(True)
            raise RuntimeError(says)
        return execute(*arguments, **options)

    monkeypatch.setattr(papermill, "execute_notebook", dies_at_first)
    if times == 1:
        assert run() == ["sum"]
        assert total(project) == 3
    else:
        with pytest.raises(notebooks.BuildError, match="sum failed: Kernel di"):
            run()


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("from hi_lib import checks\nchecks.share('a', a)", r"a must be in \(0, 1\], got 3.*"),
        ("import hi_lib as hi\nhi.Trace.from_csv('none.csv')", r"none.csv cannot be read: .*"),
    ],
)
def test_what_the_library_refuses_is_one_line(project, code, says):
    write_notebook(project, code, "a = 3")
    with pytest.raises(notebooks.BuildError, match=f"^sum failed: ValueError: {says}$"):
        run()


def test_a_notebook_must_publish(project):
    write_notebook(project, "pass")
    with pytest.raises(notebooks.BuildError, match="published no results"):
        run()


def test_a_removed_notebook_leaves_nothing(project):
    run()
    (project / "notebooks" / "sum.ipynb").unlink()
    (project / "notebooks" / "parameters.yml").write_text("quick: {}\nfull: {}\n")
    assert run() == []
    assert not (project / "results" / "sum").exists()
    assert not (project / "_build" / "executed" / "sum.ipynb").exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "full: {sum: {aa: 1}}",
            "parameters.yml, full: parameter of sum must be one of a, b; got 'aa'; did you mean a",
        ),
        ("full: {sun: {a: 1}}", "did you mean sum"),
        ("full: {sum: 3}", "must be a mapping"),
        ("quick: {}", "must hold a mapping full"),
        ("- full", "must hold a mapping full"),
        ("full: {", "cannot be read"),
    ],
)
def test_bad_parameters_are_refused(project, text, says):
    (project / "notebooks" / "parameters.yml").write_text(text)
    with pytest.raises(ValueError, match=says):
        run()


def test_a_notebook_needs_one_parameters_cell(project):
    path = project / "notebooks" / "sum.ipynb"
    path.write_text(path.read_text().replace('"parameters"', '"other"'))
    with pytest.raises(ValueError, match="exactly one cell tagged parameters, found 0"):
        notebooks.default_parameters("sum")


def test_own_values_do_not_touch_the_books_results(project):
    run()
    output = project / "mine"
    notebooks.run_notebook("sum", {"b": 40}, output)
    assert json.loads((output / "results" / "sum" / "values.json").read_text())["total"] == 41
    assert total(project) == 3
    assert {path.name for path in output.iterdir()} == {"sum.ipynb", "results"}
    with pytest.raises(ValueError, match="parameter of sum"):
        notebooks.run_notebook("sum", {"c": 1}, output)


def test_figures_are_kept_by_their_names(project):
    write_notebook(
        project, "results.publish('sum', {'total': a + b})\nfrom IPython.display import SVG\nSVG('<svg>1</svg>')"
    )
    path = project / "notebooks" / "sum.ipynb"
    notebook = json.loads(path.read_text())
    notebook["cells"][1]["metadata"] = {"mystnb": {"figure": {"name": "fig-sum"}}}
    path.write_text(json.dumps(notebook))
    run()
    assert (project / "results" / "sum" / "fig-sum.svg").read_text() == "<svg>1</svg>"
    (project / "results" / "sum" / "fig-sum.svg").unlink()
    assert run() == ["sum"]


def test_a_book_lost_between_two_renames_comes_back(project):
    (project / "_build" / "previous").mkdir()
    (project / "_build" / "previous" / "index.html").write_text("old")
    book._recover()
    assert (project / "_build" / "html" / "index.html").read_text() == "old"


def test_publishing_replaces_the_whole_book(project):
    old, new = project / "_build" / "html", project / "_build" / "rendering" / "pages"
    for folder, page in ((old, "gone.html"), (new, "index.html")):
        folder.mkdir(parents=True)
        (folder / page).write_text("x")
    book._publish(new)
    assert [path.name for path in old.iterdir()] == ["index.html"]
    assert not (project / "_build" / "previous").exists()
    assert list(project.rglob("html")) == [old]


def test_parts_of_pages_are_found_in_a_folder_of_any_name(tmp_path):
    source = tmp_path / "a [copy] of * & ?"
    for name in (
        "book/intro.md",
        "book/table.md",
        "notebooks/one.ipynb",
        "provenance/one.md",
        "results/one/values.json",
    ):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).touch()
    (source / "book" / "_toc.yml").write_text("root: book/intro\nchapters:\n  - file: notebooks/one\n")
    assert book._parts_of_pages(source) == ["book/table.md", "provenance/one.md"]


def test_a_failed_rendering_leaves_the_old_book(project, monkeypatch):
    old = project / "_build" / "html"
    old.mkdir()
    (old / "index.html").write_text("old")

    def fail():
        raise notebooks.BuildError("no")

    monkeypatch.setattr(book, "_render", fail)
    with pytest.raises(notebooks.BuildError):
        book.build(progress=lambda _: None)
    assert (old / "index.html").read_text() == "old"


def test_a_touched_page_of_the_published_book_is_noticed(project, monkeypatch):
    rendered = []

    def render():
        rendered.append(1)
        folder = project / "_build" / "rendering"
        folder.mkdir()
        (folder / "index.html").write_text("page")
        return folder

    monkeypatch.setattr(book, "_render", render)
    said = []
    book.build(progress=said.append)
    book.build(progress=said.append)
    assert len(rendered) == 1
    assert said[-1] == "the book is up to date"
    (project / "_build" / "html" / "index.html").write_text("changed by hand")
    book.build(progress=said.append)
    assert len(rendered) == 2
    assert (project / "_build" / "html" / "index.html").read_text() == "page"


def test_nothing_passes_from_one_notebook_to_the_next(project):
    """Kernels are forks of one process: what a notebook sets must not reach that process."""
    leave = "import os, numpy as np\nos.environ['LEFT'] = np.left = 'behind'\nnp.random.seed(1)\nos.chdir('/')\n"
    write_notebook(project, leave + "results.publish('sum', {'total': 0})")
    run()
    look = "import os, numpy as np, pathlib, sys\nfound = hasattr(np, 'left') + ('LEFT' in os.environ)\n"
    look += "found += pathlib.Path.cwd().name != 'notebooks'\n"
    write_notebook(
        project, look + "results.publish('sum', {'total': int(found), 'warm': 'hi_lib.rivals' in sys.modules})"
    )
    run()
    values = json.loads((project / "results" / "sum" / "values.json").read_text())
    assert values == {"total": 0, "warm": sys.platform == "linux"}


@pytest.mark.slow
def test_a_script_without_a_main_guard_may_run_a_notebook(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(f"""
from pathlib import Path
from hi_book.press import notebooks
notebooks.run_notebook("fig5_network_time", {{}}, Path({str(tmp_path / "out")!r}))
""")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = os.environ | {"TMPDIR": str(temporary)}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "results" / "fig5_network_time" / "values.json").is_file()
    assert list(temporary.iterdir()) == []


def test_stopping_ends_a_running_kernel_at_once(project):
    # A kernel that is killed before it has answered is started once more, so wait until it runs the cell.
    begun = project / "begun"
    write_notebook(project, f"import pathlib, time\npathlib.Path({str(begun)!r}).touch()\ntime.sleep(300)")
    seen = []

    def stop():
        while not begun.exists():
            time.sleep(0.05)
        seen.extend(kernels._running)
        kernels.stop_all()

    thread = threading.Thread(target=stop, daemon=True)
    thread.start()
    start = time.monotonic()
    with pytest.raises(notebooks.BuildError, match="sum failed: Kernel died"):
        notebooks.run_notebook("sum", {}, project / "mine")
    thread.join(timeout=60)
    assert time.monotonic() - start < 60
    assert all(process.poll() is not None for process in seen)
    assert not (project / "mine" / "sum.ipynb").exists()

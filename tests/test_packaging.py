"""The library without what only the book, the wire or the makers need."""

import subprocess
import sys
import textwrap

import pytest

from hi_lib.files import ROOT

EXTRAS = (
    *("matplotlib", "typer", "rich", "zmq", "msgpack", "torch", "torchvision", "yaml", "sympy", "plotly"),
    *("IPython", "ipykernel", "nbformat", "nbclient", "jupyter_client", "papermill", "sphinx", "myst_nb"),
    *("onnxruntime", "PIL", "dask", "tritonclient", "playwright"),
)
BLOCKING = "import sys; sys.modules.update(dict.fromkeys({absent}))\n"


def run(code, absent=EXTRAS):
    text = BLOCKING.format(absent=list(absent)) + textwrap.dedent(code)
    return subprocess.run([sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_every_module_of_the_library_needs_the_library_alone():
    done = run("""
        import importlib, pkgutil
        import hi_lib
        names = [each.name for each in pkgutil.walk_packages(hi_lib.__path__, "hi_lib.")]
        for name in names:
            importlib.import_module(name)
        assert len(names) > 40
        run = hi_lib.replay(hi_lib.load_trace("cifar10-resnet8"), 0.5, 8)
        assert run.regret < run.regret_bound
        assert hi_lib.evaluate(hi_lib.load_trace("cifar10-resnet8"), beta=0.5).as_text()
    """)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_the_command_says_which_extra_is_missing(missing):
    done = run("from hi_book.commands.start import main; main()", [missing])
    assert done.returncode == 1
    assert (
        done.stderr
        == f"error: the command hi needs {missing}: pip install 'hi-lib[book]', or make book in a checkout\n"
    )


def test_what_is_ours_and_broken_is_no_missing_extra():
    done = run("from hi_book.commands.start import main; main()", ["hi_lib"])
    assert "ModuleNotFoundError: import of hi_lib" in done.stderr


def test_an_option_whose_extra_is_missing_says_so():
    done = run(
        "import sys; sys.argv = ['hi', 'live', 'demo']; from hi_book.commands.start import main; main()", ["zmq"]
    )
    assert (done.returncode, done.stderr) == (2, "error: hi live needs zmq: run make live\n")

"""What makes the environment, without making one: whom it asks, what it passes on, what it refuses."""

import configparser
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hi_lib import files

SCRIPT = files.ROOT / "tools" / "install.py"


@pytest.fixture
def install(tmp_path, monkeypatch):
    """The script as a module, for a folder of its own and a user without any settings."""
    for name in [
        name for name in os.environ if name.startswith(("PIP_", "UV_", "PYTHON", "XDG_", "SSL_", "ALL_PROXY"))
    ]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "xdg"))
    spec = importlib.util.spec_from_file_location("install", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(module, "UV", tmp_path / ".venv" / "bin" / "uv")
    read = configparser.RawConfigParser.read

    def read_those_here(parser, paths, encoding):  # and not what this machine sets for pip
        return read(parser, [path for path in paths if tmp_path in Path(path).parents], encoding)

    monkeypatch.setattr(configparser.RawConfigParser, "read", read_those_here)
    return module


def write(path, text, mode=0o644):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    "uv",
    [
        "#!/bin/sh\necho 'pyenv: uv: command not found' >&2\nexit 127\n",
        "#!/bin/sh\necho 'error: unexpected argument --require-hashes found' >&2\nexit 2\n",
        "#!/bin/sh\nexit 0\n",
        "#!/no/such/interpreter\n",
        "\0",
        None,
    ],
    ids=["fails", "too old", "does nothing", "no interpreter", "no program", "none"],
)
def test_pip_does_it_where_no_uv_works(uv, install, tmp_path, monkeypatch, capfd):
    if uv:
        write(tmp_path / "bin" / "uv", uv, 0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    really_run, done = install.run, []

    def run(command, *arguments):
        if Path(command[0]).name == "uv":
            really_run(command, *arguments)
        else:
            done.append(command[1:5])

    monkeypatch.setattr(install, "run", run)
    with (tmp_path / "lock").open("w") as lock:
        install.make_environment(lock.fileno())
    assert done == [["-m", "venv", install.VENV], ["-m", "pip", "--disable-pip-version-check", "install"]]
    said = capfd.readouterr().err
    assert ("trying without" in said) == (uv not in (None, "#!/bin/sh\nexit 0\n"))


def test_a_uv_that_works_is_enough(install, tmp_path, monkeypatch):
    works = f"#!/bin/sh\n/bin/mkdir -p '{tmp_path}/.venv/bin'\necho > '{tmp_path}/.venv/bin/uv'\n"
    write(tmp_path / "bin" / "uv", works, 0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with (tmp_path / "lock").open("w") as lock:
        install.make_environment(lock.fileno())
    assert install.UV.is_file()


ELSEWHERE = [
    "PIP_USER",
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_ROOT",
    "PIP_REQUIRE_VIRTUALENV",
    "PIP_CONSTRAINT",
    "PIP_NO_BINARY",
]
ELSEWHERE += [
    "PIP_DRY_RUN",
    "UV_SYSTEM_PYTHON",
    "UV_EXCLUDE_NEWER",
    "UV_REQUIRE_HASHES",
    "UV_NO_VERIFY_HASHES",
    "UV_OVERRIDE",
]
ELSEWHERE += [
    "UV_PYTHON",
    "UV_NO_BINARY",
    "UV_VENV_SEED",
    "PYTHONPATH",
    "PYTHONHOME",
    "VIRTUAL_ENV",
    "SETUPTOOLS_USE_DISTUTILS",
]
SOURCES = ["PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_TRUSTED_HOST", "PIP_CERT", "PIP_CLIENT_CERT"]
SOURCES += [
    "PIP_PROXY",
    "PIP_DEFAULT_TIMEOUT",
    "PIP_CACHE_DIR",
    "UV_DEFAULT_INDEX",
    "UV_INDEX",
    "UV_INDEX_MINE_PASSWORD",
]
SOURCES += ["UV_NATIVE_TLS", "UV_CACHE_DIR", "UV_HTTP_TIMEOUT", "UV_OFFLINE", "HTTPS_PROXY", "SSL_CERT_FILE", "PATH"]


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_would_send_packages_elsewhere_stays_outside(name, install, monkeypatch):
    monkeypatch.setenv(name, "1")
    assert name not in install.environment()


@pytest.mark.parametrize("name", SOURCES)
def test_where_packages_come_from_is_the_users_to_say(name, install, monkeypatch):
    monkeypatch.setenv(name, "mine")
    assert install.environment()[name] == "mine"


def test_the_files_of_pip_count_for_where_packages_come_from_alone(install, tmp_path, monkeypatch):
    general = "[global]\nindex-url = https://one.invalid/simple\ntarget = /elsewhere\nproxy = http://proxy.invalid:1\n"
    write(tmp_path / "xdg" / "pip" / "pip.conf", general)
    write(tmp_path / ".config" / "pip" / "pip.conf", "[install]\nindex-url = https://two.invalid/simple\nuser = true\n")
    named = write(
        tmp_path / "named.conf", "[global]\ntrusted-host =\n    a.invalid\n    b.invalid\n[list]\nformat = json\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(named))
    found = install.environment()
    told = {name: value for name, value in found.items() if name.startswith(("PIP_", "UV_", "ALL_"))}
    assert told == {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": "https://two.invalid/simple",
        "UV_DEFAULT_INDEX": "https://two.invalid/simple",
        "PIP_PROXY": "http://proxy.invalid:1",
        "ALL_PROXY": "http://proxy.invalid:1",
        "PIP_TRUSTED_HOST": "a.invalid b.invalid",
        "UV_INSECURE_HOST": "a.invalid b.invalid",
        "UV_HTTP_TIMEOUT": "180",
        "UV_PYTHON_DOWNLOADS": "never",
    }
    monkeypatch.setenv(
        "PIP_INDEX_URL", "https://three.invalid/simple"
    )  # variables come before files, as they do for pip
    assert install.environment()["UV_DEFAULT_INDEX"] == "https://three.invalid/simple"
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    assert "PIP_PROXY" not in install.environment()


def test_pip_asks_where_uv_was_told_to(install, monkeypatch):
    monkeypatch.setenv("UV_DEFAULT_INDEX", "mirror=https://one.invalid/simple")
    assert install.environment()["PIP_INDEX_URL"] == "https://one.invalid/simple"


def test_without_an_index_both_look_in_the_same_folders(install, monkeypatch):
    monkeypatch.setenv("PIP_FIND_LINKS", "/a /b")
    assert "UV_FIND_LINKS" not in install.environment()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert install.environment() | {"UV_NO_INDEX": "1", "UV_FIND_LINKS": "/a,/b"} == install.environment()


def test_settings_that_cannot_be_read_are_one_line(install, tmp_path):
    write(tmp_path / ".config" / "pip" / "pip.conf", "no section\n")
    with pytest.raises(SystemExit, match=r"^pip's settings cannot be read: .*pip\.conf.*$"):
        install.environment()


@pytest.mark.parametrize("name", ["a$x", "a{b", "c:d", "e\nf", os.fsdecode(b"\xff")])
def test_a_folder_that_pythons_tools_do_not_bear_is_refused_at_once(name, tmp_path):
    folder = tmp_path / name / "tools"
    folder.mkdir(parents=True)
    shutil.copy(SCRIPT, folder)
    done = subprocess.run([sys.executable, folder / SCRIPT.name, "book"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "no environment can be made in" in done.stderr
    assert "rename it" in done.stderr
    assert [path.name for path in folder.parent.iterdir()] == ["tools"]


def test_make_lets_no_setting_of_python_through(monkeypatch):
    """But for where compiled files go, and a path to this very checkout, which tells a copy from the original."""
    monkeypatch.setenv("PYTHON", sys.executable)
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", "/nowhere")
    for name in ("PYTHONOPTIMIZE", "PYTHONHASHSEED", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONDONTWRITEBYTECODE"):
        monkeypatch.setenv(name, "1")
    for path, kept in ((str(files.ROOT), True), ("/elsewhere", False), (f"{files.ROOT}:/elsewhere", False)):
        monkeypatch.setenv("PYTHONPATH", path)
        command = ["make", "-s", "--eval=show: ; @env", "show"]
        shown = subprocess.run(command, cwd=files.ROOT, capture_output=True, text=True, check=True).stdout
        found = {line.partition("=")[0] for line in shown.splitlines() if line.startswith("PYTHON")}
        assert found == {"PYTHON", "PYTHONPYCACHEPREFIX", *(["PYTHONPATH"] if kept else [])}

"""Write requirements.lock: what pip resolves now for all extras, as name==version; run by `make lock`."""

import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADER = """\
# Exact versions of everything any extra may install; pip takes them as constraints (-c). Written by `make lock`.
# Jupyter Book stays below 2: that needs a web service for its theme. It holds Sphinx at 7 and myst-parser at 3.
"""


def main() -> None:
    """Resolve, and write the file."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        command += ["--report", report.name, f"{ROOT}[{','.join(extras)}]"]
        subprocess.run(command, check=True)
        found = json.load(report)["install"]
    pins = {item["metadata"]["name"].lower(): item["metadata"]["version"] for item in found}
    pins.pop("hi-lib")
    lines = [f"{name}=={version}" for name, version in sorted(pins.items())]
    (ROOT / "requirements.lock").write_text(HEADER + "\n".join(lines) + "\n", encoding="utf-8")
    print(f"requirements.lock: {len(lines)} packages")


if __name__ == "__main__":
    main()

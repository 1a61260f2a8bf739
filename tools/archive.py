"""Pack the project, the rendered book and its PDF, if there is one, into a zip for a deposit; run by `make archive`.

The same files give the same bytes: names in order, no dates, no owners. MANIFEST.txt lists every file's sha256, so that
`sha256sum -c MANIFEST.txt` tells whether a copy is whole, and so that an unpacked archive can be packed again.
"""

import hashlib
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "_build"
MANIFEST = "MANIFEST.txt"
NEVER = (1980, 1, 1, 0, 0, 0)  # the earliest date that a zip can hold


def main() -> None:
    """Write _build/batch-hi-VERSION.zip."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    name = f"batch-hi-{version}"
    files = {path: (ROOT / path).read_bytes() for path in source_files()}
    rendered = [path for path in sorted((BUILD / "html").rglob("*")) if path.is_file()]
    files |= {f"rendered/{path.relative_to(BUILD)}": path.read_bytes() for path in rendered}
    printed = BUILD / "batch-hi.pdf"
    of_this_book = printed.is_file() and printed.stat().st_mtime > (BUILD / "html" / "index.html").stat().st_mtime
    if of_this_book:
        files["rendered/batch-hi.pdf"] = printed.read_bytes()
    manifest = "".join(f"{hashlib.sha256(files[path]).hexdigest()}  {path}\n" for path in sorted(files))
    target = BUILD / f"{name}.zip"
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path, content in sorted((files | {MANIFEST: manifest.encode()}).items()):
            entry = zipfile.ZipInfo(f"{name}/{path}", NEVER)
            entry.external_attr = (0o755 if content.startswith(b"#!") else 0o644) << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED, 9)
    part.replace(target)
    without = "" if of_this_book else "; without a PDF: make pdf prints one"
    print(f"{target.relative_to(ROOT)}: {len(files)} files, {target.stat().st_size / 1e6:.1f} MB{without}")


def source_files() -> list[str]:
    """What git knows of; in an unpacked archive, what its manifest lists."""
    if (ROOT / ".git").exists():
        done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
        return [path for path in done.stdout.split("\0") if (ROOT / path).is_file()]
    if not (ROOT / MANIFEST).is_file():
        sys.exit(f"error: what belongs to the project is told by git or by {MANIFEST}, and neither is here")
    lines = (ROOT / MANIFEST).read_text(encoding="utf-8").splitlines()
    return [path for line in lines if not (path := line.split("  ", 1)[1]).startswith("rendered/")]


if __name__ == "__main__":
    main()

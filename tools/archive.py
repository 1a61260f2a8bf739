"""Pack the project, the rendered book and its PDF, if there is one, into a zip for a deposit; run by `make archive`.

The same files give the same bytes: names in order, no dates of files, no owners. MANIFEST.txt lists every file's
sha256, so that `sha256sum -c MANIFEST.txt` tells whether a copy is whole, and so that an unpacked archive can be packed
again. ro-crate-metadata.json says to programs what is in it (an RO-Crate), and has the Software Heritage identifier of
the sources: that of git's own tree, by which they are found wherever they were archived.
"""

import datetime
import hashlib
import json
import os
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "_build"
MANIFEST = "MANIFEST.txt"
CRATE = "ro-crate-metadata.json"
SPDX = "https://spdx.org/licenses/"
# What a program may look for first, by name; of the rest, MANIFEST.txt has every file.
PARTS = {
    "README.md": ("How to build, test and use it", "text/markdown"),
    "ARTIFACT-APPENDIX.md": ("The artifact appendix: claims, experiments, what they take", "text/markdown"),
    "CITATION.cff": ("How to cite it", "application/yaml"),
    "codemeta.json": ("What the software is, for catalogues", "application/ld+json"),
    "croissant.json": ("What the traces are, for catalogues", "application/ld+json"),
    "codecheck.yml": ("Every figure and table, and the command that makes each", "application/yaml"),
    "requirements.lock": ("Every package, by version and hash", "text/plain"),
    "rendered/html/index.html": ("The rendered book", "text/html"),
    "rendered/batch-hi.pdf": ("The book on paper", "application/pdf"),
    MANIFEST: ("The sha256 of every file", "text/plain"),
}
FOLDERS = {
    "hi_lib/": "The library: learners, times, advice",
    "hi_live/": "Batch HI over a wire",
    "hi_book/": "Figures, makers, press and commands of the book",
    "notebooks/": "A notebook for each figure",
    "book/": "The pages of prose, and the claims",
    "data/": "Traces, answers of the large models, measured times",
    "tests/": "The tests",
    "tools/": "What only make needs",
}
NEVER = (1980, 1, 1, 0, 0, 0)  # the earliest date that a zip can hold


def main() -> None:
    """Write _build/batch-hi-VERSION.zip."""
    project = _toml("pyproject.toml")["project"]
    name = f"batch-hi-{project['version']}"
    files = {path: (ROOT / path).read_bytes() for path in source_files()}
    identifier = swhid(files)
    rendered = [path for path in sorted((BUILD / "html").rglob("*")) if path.is_file()]
    files |= {f"rendered/{path.relative_to(BUILD)}": path.read_bytes() for path in rendered}
    printed = BUILD / "batch-hi.pdf"
    of_this_book = printed.is_file() and printed.stat().st_mtime > (BUILD / "html" / "index.html").stat().st_mtime
    if of_this_book:
        files["rendered/batch-hi.pdf"] = printed.read_bytes()
    files[CRATE] = crate(files, project, _toml("tools/about.toml"), identifier).encode()
    manifest = "".join(f"{hashlib.sha256(files[path]).hexdigest()}  {path}\n" for path in sorted(files))
    target = BUILD / f"{name}.zip"
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path, content in sorted((files | {MANIFEST: manifest.encode()}).items()):
            entry = zipfile.ZipInfo(f"{name}/{path}", NEVER)
            entry.external_attr = mode(content) << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED, 9)
    part.replace(target)
    without = "" if of_this_book else "; without a PDF: make pdf prints one"
    print(f"{target.relative_to(ROOT)}: {len(files)} files, {target.stat().st_size / 1e6:.1f} MB{without}")
    print(f"its sources: {identifier}")


def mode(content: bytes) -> int:
    """What may be done with a file: programs are those that begin as such."""
    return 0o755 if content.startswith(b"#!") else 0o644


def swhid(files: Mapping[str, bytes]) -> str:
    """The Software Heritage identifier of a folder with these files, by their paths."""
    from swh.model.from_disk import Content, Directory  # which only the extra `archive` installs

    tree = Directory()
    for path, content in sorted(files.items()):
        parts = path.encode().split(b"/")
        for depth in range(1, len(parts)):
            if (folder := b"/".join(parts[:depth])) not in tree:
                tree[folder] = Directory()
        tree[b"/".join(parts)] = Content.from_bytes(mode=0o100000 | mode(content), data=content)
    return str(tree.swhid())


def crate(files: Mapping[str, bytes], project: dict, about: dict, identifier: str) -> str:
    """ro-crate-metadata.json of an archive of these files, whose sources have this identifier."""
    from rocrate.rocrate import ROCrate

    made = ROCrate()
    licences = [{"@id": SPDX + each} for each in project["license"].split(" AND ")]
    made.name, made.description, made.license = about["title"], project["description"], licences
    made.keywords = about["keywords"]
    # An RO-Crate must have a date: that of the deposit or, before there is one, that of the last change.
    made.datePublished = datetime.date.fromisoformat(about["published"] or last_change())
    made.root_dataset["version"] = project["version"]
    if about["doi"]:
        made.root_dataset["identifier"] = f"https://doi.org/{about['doi']}"
    for path, (says, kind) in PARTS.items():
        if path in files or path == MANIFEST:
            made.add_file(dest_path=path, properties={"name": says, "encodingFormat": kind})
    for folder, says in FOLDERS.items():
        made.add_dataset(dest_path=folder, properties={"name": says})
    sources = {"@type": "SoftwareSourceCode", "name": f"{about['title']}: its sources", "version": project["version"]}
    made.mainEntity = made.add_jsonld({"@id": identifier, **sources, "identifier": identifier, "license": licences})
    return json.dumps(made.metadata.generate(), indent=2, ensure_ascii=False) + "\n"


def last_change() -> str:
    """The day of the last commit; in an unpacked archive, what it says itself."""
    if (ROOT / ".git").exists():
        return _git("log", "-1", "--format=%cd", "--date=format:%Y-%m-%d").strip()
    entities = json.loads((ROOT / CRATE).read_text(encoding="utf-8"))["@graph"]
    return next(each["datePublished"] for each in entities if each["@id"] == "./")


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def _toml(path: str) -> dict:
    return tomllib.loads((ROOT / path).read_text(encoding="utf-8"))


def source_files() -> list[str]:
    """What git knows of; in an unpacked archive, what its manifest lists."""
    if (ROOT / ".git").exists():
        return [path for path in _git("ls-files", "-z").split("\0") if (ROOT / path).is_file()]
    if not (ROOT / MANIFEST).is_file():
        sys.exit(f"error: what belongs to the project is told by git or by {MANIFEST}, and neither is here")
    lines = (ROOT / MANIFEST).read_text(encoding="utf-8").splitlines()
    return [path for line in lines if not (path := line.split("  ", 1)[1]).startswith(("rendered/", CRATE))]


if __name__ == "__main__":
    main()

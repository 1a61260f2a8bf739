"""Figures that were drawn a second time, for a phone: beside the others, where each page finds them by their names."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from hi_book.figures import NARROW


def take_out(source: Path) -> None:
    """Move what is for phones out of the notebooks and results below a folder, to where HTML has its images.

    A notebook's figure will have a file named by its hash there, a saved one its own name; the other ends in "-narrow".
    """
    images = source / "extra" / "_images"
    images.mkdir(parents=True)
    for path in sorted((source / "notebooks").glob("*.ipynb")):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        for data in (output.get("data", {}) for cell in notebook["cells"] for output in cell.get("outputs", [])):
            if narrow := data.pop(NARROW, None):
                wide = "".join(data["image/svg+xml"]).strip()
                name = hashlib.sha256(wide.encode()).hexdigest()
                (images / f"{name}-narrow.svg").write_text("".join(narrow), encoding="utf-8")
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for path in sorted((source / "results").rglob("*-narrow.svg")):
        shutil.copy(path, images)

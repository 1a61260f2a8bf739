"""What the page "Decide" loads: its scripts, the traces, and plotly.js."""

from __future__ import annotations

import base64
import importlib.util
import json
import shutil
from collections.abc import Iterable
from pathlib import Path

from hi_book.press import places
from hi_book.press.notebooks import BuildError
from hi_lib.traces import Trace, load_trace, shipped


def copy(target: Path) -> None:
    """The page's scripts and traces, and plotly.js of its package; outside _static, which every page would load."""
    shutil.copytree(places.PAGES / "decide", target)
    traces = [load_trace(name).shuffled(0) for name in shipped()]
    (target / "traces.js").write_text(packed(traces), encoding="utf-8")
    package = importlib.util.find_spec("plotly")
    script = Path(str(package.origin)).parent / "package_data" / "plotly.min.js" if package else None
    if script is None or not script.is_file():
        raise BuildError("plotly.js was not found in the installed package plotly: run make book again")
    shutil.copy(script, target)


def packed(traces: Iterable[Trace]) -> str:
    """Traces as a script: confidences as doubles in base64, a digit for each answer of the S-ML, and of the L-ML."""
    data = {
        trace.name: {
            "confidence": base64.b64encode(trace.confidence.astype("<f8").tobytes()).decode(),
            "correct": "".join(map(str, trace.correct.astype(int))),
            "lml": "" if trace.lml_correct is None else "".join(map(str, trace.lml_correct.astype(int))),
        }
        for trace in traces
    }
    return f"window.hiTraces = {json.dumps(data)};\n"

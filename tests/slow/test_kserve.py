"""The page's own example of a foreign server: KServe, in an environment of its own, answers a device."""

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from grey_pictures import CLASSES, SIDE, level, live

from hi_book.press import places
from hi_live.device import Plan

PACKAGES = ("kserve", "onnxruntime", "onnx")
# The class whose grey is nearest: the largest of 2 v l − l², for a mean v and greys l.
WRITE = f"""
import numpy as np, onnx
from onnx import TensorProto as T, helper as h
levels = np.array({[level(label) / 255 for label in range(CLASSES)]}, np.float32)
nodes = [
    h.make_node("ReduceMean", ["x", "axes"], ["mean"], keepdims=0),
    h.make_node("Unsqueeze", ["mean", "one"], ["column"]),
    h.make_node("MatMul", ["column", "twice"], ["product"]),
    h.make_node("Sub", ["product", "squares"], ["scores"]),
]
graph = h.make_graph(
    nodes,
    "grey",
    [h.make_tensor_value_info("x", T.FLOAT, ["n", 3, {SIDE}, {SIDE}])],
    [h.make_tensor_value_info("scores", T.FLOAT, ["n", {CLASSES}])],
    [
        h.make_tensor("axes", T.INT64, [3], [1, 2, 3]),
        h.make_tensor("one", T.INT64, [1], [1]),
        h.make_tensor("twice", T.FLOAT, [1, {CLASSES}], 2 * levels),
        h.make_tensor("squares", T.FLOAT, [{CLASSES}], levels**2),
    ],
)
onnx.save(h.make_model(graph, opset_imports=[h.make_opsetid("", 18)], ir_version=10), "large.onnx")
"""


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture(scope="module")
def kserve(tmp_path_factory):
    """Python of an environment that holds KServe: HI_KSERVE names one, else it is made here."""
    if given := os.environ.get("HI_KSERVE"):
        return Path(given) / "bin" / "python"
    folder, uv = tmp_path_factory.mktemp("kserve") / "env", Path(sys.executable).with_name("uv")
    for command in (["venv", "-q", folder], ["pip", "install", "-q", "--python", folder, *PACKAGES]):
        done = subprocess.run([uv, *command], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no environment for KServe: {done.stderr[-300:]}")
    return folder / "bin" / "python"


@pytest.fixture
def address(kserve, tmp_path):
    """Of the page's server, with a model of grey pictures."""
    page = (places.ROOT / "book" / "rerun.md").read_text(encoding="utf-8")
    (tmp_path / "serve.py").write_text(re.search(r"```python\n(# serve\.py\n.*?)```", page, flags=re.DOTALL)[1])
    subprocess.run([kserve, "-c", WRITE], cwd=tmp_path, check=True)
    port, other = free_port(), free_port()
    command = [kserve, "serve.py", "large.onnx", "--grpc_port", str(port), "--http_port", str(other)]
    with (tmp_path / "said").open("w") as said:
        server = subprocess.Popen(command, cwd=tmp_path, stdout=said, stderr=said)
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and server.poll() is None:
            with socket.socket() as probe:
                if not probe.connect_ex(("127.0.0.1", port)):
                    break
            time.sleep(0.2)
        assert server.poll() is None, (tmp_path / "said").read_text()[-2000:]
        yield f"grpc://127.0.0.1:{port}/large"
    finally:
        server.terminate()
        server.wait(30)


@pytest.mark.parametrize("window", [None, 3])
def test_kserve_answers_every_batch(address, window):
    log, gateway, _ = live(address, Plan(4, window, timeout=5000.0), samples=200)
    assert gateway.failed == 0, gateway.last_failure
    assert not log.lost.any()
    assert log.offloaded.sum() > 20
    assert (log.lml_right[log.offloaded] == 1).all()

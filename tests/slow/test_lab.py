"""`hi lab` as a reader uses it: open a copy, change one parameter, run all; in a real browser."""

import json
import re
import shutil
import socket
import subprocess
import time

import pytest

from hi_book.press import lab, places

NAME = "fig5_network_time"
IN_SOME_TIME = 120_000  # ms: JupyterLab and a kernel start within it on a busy machine, too
# No cell waits, the last has said something, and the last with a prompt, which a folded cell has not, was run so often.
RUN_AGAIN = """times => {
    const cells = [...document.querySelectorAll('.jp-CodeCell')]
    const prompts = cells.map(cell => cell.querySelector('.jp-InputPrompt')?.textContent)
    const last = prompts.findLastIndex(prompt => prompt)
    return !prompts.includes('[*]:') && cells.at(-1).querySelector('.jp-OutputArea-output')
        && Number(prompts[last].slice(1, -2)) >= (times - 1) * cells.length + last + 1
}"""

ALL_SHOWN = "count => document.querySelectorAll('.jp-CodeCell').length >= count"


@pytest.fixture
def address(tmp_path):
    """JupyterLab on copies of the notebooks that nothing else uses."""
    assert places.HTML.is_dir(), "run make book first"
    folder = lab.prepare(places.BUILD / "lab-tested", progress=lambda _: None)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--no-browser", f"--port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token="]
    said = tmp_path / "lab.log"  # a pipe that nobody empties would stop it
    with said.open("w") as file:
        process = subprocess.Popen([*lab.command(folder), *options], env=lab.environment(folder), stderr=file)
    try:
        while f"127.0.0.1:{port}" not in said.read_text():
            assert process.poll() is None, f"JupyterLab ended: {said.read_text()}"
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/lab/tree/{folder.name}/{NAME}.ipynb?reset"
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


def run_all(page, times):
    """Run all cells, which then have run so many times in this kernel."""
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.wait_for_function(RUN_AGAIN, arg=times, timeout=IN_SOME_TIME)


def code_cells():
    """How many the notebook has."""
    cells = json.loads((places.NOTEBOOKS / f"{NAME}.ipynb").read_text())["cells"]
    return sum(cell["cell_type"] == "code" for cell in cells)


def seen(page):
    """The figure and the text of the notebook."""
    return page.locator(".jp-OutputArea img").first.get_attribute("src"), page.inner_text(".jp-Notebook")


def test_a_changed_parameter_changes_figure_and_answer(address, browser):
    page = browser.new_page(viewport={"width": 1300, "height": 4000})
    page.goto(address)
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=IN_SOME_TIME)
    page.wait_for_function(ALL_SHOWN, arg=code_cells(), timeout=IN_SOME_TIME)  # what is run before does not run
    page.wait_for_selector("text=Kernel status: Idle", state="attached", timeout=IN_SOME_TIME)
    run_all(page, 1)
    figure, text = seen(page)
    assert "At the paper’s default" in text or "At the paper's default" in text
    cell = page.locator(".jp-CodeCell").first
    source = cell.locator(".cm-content").inner_text()
    assert "offload_ratio = 0.421" in source
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(source.replace("offload_ratio = 0.421", "offload_ratio = 0.9"))
    run_all(page, 2)
    other_figure, other_text = seen(page)
    assert other_figure != figure
    sentence = re.compile(r"the best batch is\s+([\d.]+)")
    assert sentence.search(other_text)[1] != sentence.search(text)[1]
    assert page.locator("[data-mime-type='application/vnd.jupyter.error'], [data-mime-type$='stderr']").count() == 0
    assert not re.search(r"\{(glue|eq|doc|numref|ref|prf|cite)", other_text), "a reference that nothing resolved"
    assert page.locator("text=Jupyter news").count() == 0
    page.close()

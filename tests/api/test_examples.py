"""The examples run as they are, with fewer trials and epochs: all in one kernel, which imports
TensorFlow once."""

import json
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))
TRIALS = 2
# Run before all others.
FIRST = f"""
import sys
sys.path.append({str(Path(__file__).parents[1] / "support")!r})
import forked_tries, pytest
forked_tries.try_quickly(pytest.MonkeyPatch())
"""


def shortened(text: str, trials: int, epochs: int) -> str:
    fewer = f"optimize(trials={trials}, workers=1, tracking=False)"
    text, searches = re.subn(r"optimize\(trials=\d+\)", fewer, text)
    assert searches == 1
    return text.replace("epochs=10", f"epochs={epochs}")


def text_of(cell: NotebookNode) -> str:
    """All that a cell has shown as text."""
    outputs = (
        each.get("text") or each.get("data", {}).get("text/plain", "") for each in cell.outputs
    )
    return "\n".join(outputs)


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, NotebookNode]:
    """A folder of copies, and the notebook with its outputs and a last cell for each script."""
    folder = tmp_path_factory.mktemp("examples")
    notebook = nbformat.read(EXAMPLES / "digits.ipynb", as_version=4)
    for cell in notebook.cells:
        if "optimize(" in cell.source:
            cell.source = shortened(cell.source, TRIALS, epochs=2)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(FIRST))
    for script in SCRIPTS:
        (folder / script.name).write_text(shortened(script.read_text(), trials=1, epochs=1))
        notebook.cells.append(nbformat.v4.new_code_cell(f"%run {script.name}"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPYTHONDIR", str(folder / "ipython"))
        patch.setenv("JUPYTER_RUNTIME_DIR", str(folder / "runtime"))
        patch.setenv("TUNER_STORAGE", "")
        client = NotebookClient(
            notebook, timeout=150, kernel_name="python3", resources={"metadata": {"path": folder}}
        )
        client.execute()
    return folder, notebook


@pytest.mark.tensorflow
@pytest.mark.slow
def test_the_notebook_tunes_a_network_and_predicts(executed: tuple[Path, NotebookNode]) -> None:
    folder, notebook = executed
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"][: -len(SCRIPTS)]
    texts = {cell.source: text_of(cell) for cell in cells}
    search = next(text for source, text in texts.items() if "optimize" in source)
    assert f"study digits-notebook, {TRIALS}/{TRIALS} trials, best val_accuracy" in search
    assert re.search(r"Trial\(\d, state='complete'", "".join(texts.values()))
    predicted, labels = re.findall(r"array\(\[([\d, ]+)\]\)", texts[cells[-1].source])
    assert len(predicted.split(",")) == len(labels.split(",")) == 10
    pictures = [
        output for cell in cells for output in cell.outputs if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 1
    assert list((folder / ".tuner" / "data").glob("arrays-*.npz"))


@pytest.mark.tensorflow
@pytest.mark.slow
def test_the_scripts_run(executed: tuple[Path, NotebookNode]) -> None:
    folder, notebook = executed
    texts = dict(
        zip((script.name for script in SCRIPTS), map(text_of, notebook.cells[-2:]), strict=True)
    )
    assert re.search(r"val_auc 0\.\d{3}, val_pr_auc 0\.\d{3}", texts["churn.py"])
    assert "Trial(" in texts["own_network.py"]
    assert (folder / "residual.keras").is_file()


def test_the_notebook_is_stored_without_outputs() -> None:
    content = json.loads((EXAMPLES / "digits.ipynb").read_text())
    assert not any(cell.get("outputs") for cell in content["cells"])


def test_all_examples_are_listed() -> None:
    listed = re.findall(r"^\| `([\w.]+)`", (EXAMPLES / "README.md").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(
        path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".ipynb")
    )

"""What `tuner export` refuses, writes and leaves. The runtimes themselves: test_runtimes."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from command_line import Command, tuner

from tuner.errors import CodeError, DatasetError, ExportError, UsageError
from tuner.models import exporting
from tuner.models.exporting import compare_outputs, plan_export, write_export
from tuner.models.formats.export_format import Format, RuntimeNetwork
from tuner.models.model import Model
from tuner.models.model_opening import OpenedModel
from tuner.models.rows_to_compare import find_rows, make_rows
from tuner.models.runtimes import FORMATS
from tuner.preparation.encoding import Column
from tuner.preparation.network_description import NetworkDescription
from tuner.preparation.preparation import Preparation
from tuner.settings import load_settings
from tuner.storage import open_store
from tuner.storage.studies import load_study

__all__ = ["tuner"]

Outputs = Callable[[Any], Any]


def describe(preparation: Preparation) -> NetworkDescription:
    return NetworkDescription(
        preparation, "binary", ("no", "yes"), "val_auc", "0" * 64, "toys", "0.1.0"
    )


def half(rows: Any) -> Any:
    """A network that gives everybody the same probability."""
    return np.full((len(rows), 1), 0.5, np.float32)


def give(monkeypatch: pytest.MonkeyPatch, network: Any) -> None:
    """Every text names this network."""
    model = Model(describe(Preparation((3,), value_range=(0.0, 1.0))), cast(Any, network))
    monkeypatch.setattr(exporting, "open_model", lambda *_: OpenedModel(model, "toy", ["a remark"]))


def form_of(outputs: Outputs) -> Format:
    """A form whose runtime gives these outputs."""
    return Format(
        "Toy",
        ".toy",
        "toytime",
        lambda network, description, path: path.write_text("exported"),
        lambda path, source: (describe(Preparation((3,))), RuntimeNetwork(outputs, "in", "out")),
    )


def export_toy(form: Format, path: Path) -> exporting.Export:
    return write_export("toy", form, path, load_settings(f"sqlite:///{path.parent}/none.db"))


def test_an_export_is_put_in_place_once_it_was_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, SimpleNamespace(predict_on_batch=half))
    sizes = []

    def outputs(rows: Any) -> Any:
        sizes.append(len(rows))
        return half(rows)

    done = export_toy(form_of(outputs), tmp_path / "net.toy")
    assert (tmp_path / "net.toy").read_text() == "exported"
    assert (done.size, done.comparison.difference) == (8, 0.0)
    assert done.outputs == ["probability_yes"] and done.remarks == ["a remark"]
    assert done.comparison.rows == "256 made-up rows (the study's data are not at hand)"
    assert 1 in sizes and len(set(sizes)) == 3 and sum(sizes) == 256


@pytest.mark.parametrize(
    ("outputs", "told"),
    [
        (lambda rows: half(rows) + 0.01, "toytime and Keras differ by 0.01 on 256 made-up rows"),
        (lambda rows: half(rows) * np.nan, "differ by nan"),
        (lambda rows: half(rows)[:1], "differ by inf"),
        (lambda rows: rows.missing, "toytime cannot run the exported network .AttributeError: "),
    ],
)
def test_an_export_that_is_another_network_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outputs: Outputs, told: str
) -> None:
    give(monkeypatch, SimpleNamespace(predict_on_batch=half))
    (tmp_path / "net.toy").write_text("as before")
    with pytest.raises(ExportError, match=f"net.toy: [^\n]*{told}[^\n]*; nothing was written$"):
        export_toy(form_of(outputs), tmp_path / "net.toy")
    assert (tmp_path / "net.toy").read_text() == "as before"
    assert [file.name for file in tmp_path.iterdir()] == ["net.toy"]


def test_a_full_disk_is_said_in_plain_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, SimpleNamespace(predict_on_batch=half))

    def save(*_: Any) -> None:
        raise RuntimeError("{{SaveV2}} /net/variables; No space left on device [Op:SaveV2]")

    with pytest.raises(ExportError, match=r"net\.toy: cannot be written: No space left on device$"):
        export_toy(replace(form_of(half), save=save), tmp_path / "net.toy")
    assert not list(tmp_path.iterdir())


def test_an_export_of_an_export_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, RuntimeNetwork(half, "in", "out"))
    with pytest.raises(UsageError, match=r"toy: is an export already; export the \.keras file"):
        export_toy(form_of(half), tmp_path / "net.toy")


def test_values_may_differ_by_a_part_of_their_range_and_by_rounding() -> None:
    wide, narrow = np.array([[0.0], [50.0]]), np.array([[1e9], [1e9 + 1]])
    assert compare_outputs(wide, wide + 4e-4, "regression") == pytest.approx((4e-4, 5e-4))
    difference, allowed = compare_outputs(narrow, narrow.astype(np.float32), "regression")
    assert difference > allowed  # float32 holds neither value
    near = np.array([[1010.1], [1018.3]])
    difference, allowed = compare_outputs(near, near.astype(np.float32), "regression")
    assert 0 < difference < allowed
    assert allowed == pytest.approx(1e-5 * 8.2 + 4 * 2**-23 * 1018.3)


@pytest.mark.parametrize(
    ("text", "form", "output", "path"),
    [
        ("best.keras", "onnx", None, "best.onnx"),
        ("flowers", "litert", None, "flowers.tflite"),
        ("models:/flowers@champion", "onnx", None, "flowers-champion.onnx"),
        ("flowers", "savedmodel", None, "flowers.savedmodel"),
        ("flowers", None, "a.onnx", "a.onnx"),
        ("flowers", "savedmodel", "mine", "mine"),
        ("best.keras", "onnx", "old.onnx", "old.onnx"),
        ("best.keras", "savedmodel", "old", "old"),
    ],
)
def test_the_form_and_the_path_follow_from_each_other(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    form: str | None,
    output: str | None,
    path: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("old/assets.extra").mkdir(parents=True)
    for name in ("best.keras", "old.onnx", "old/assets.extra/tuner.json"):
        Path(name).touch()
    planned = plan_export(text, form, Path(output) if output else None, replace=True)
    assert planned[1] == Path(path)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "say in which form: --format with one of keras (.keras), savedmodel (a folder), "),
        (["--output", "mine"], "say in which form: "),
        (["--format", "onnx", "--output", "a.keras"], "a.keras: the file's name must end in .onnx"),
        (["--format", "savedmodel", "--output", "a.onnx"], "a.onnx: a SavedModel is a folder"),
        (["--output", f"{'x' * 300}.onnx"], f"{'x' * 300}.onnx: cannot be written: File name too"),
        (["--output", "no/a.onnx"], "no/a.onnx: the folder no does not exist"),
        (["--format", "keras"], "best.keras: is the network itself; choose another path"),
        (
            ["--format", "savedmodel", "--output", "full", "--force"],
            "full: exists, and is no Saved",
        ),
        (["--output", "folder.onnx", "--force"], "folder.onnx: exists, and is no ONNX of tuner's"),
        (["--output", "old.onnx"], "old.onnx: exists already; --force replaces it"),
    ],
)
def test_what_cannot_be_exported_so_is_one_line(
    tuner: Command, tmp_path: Path, words: list[str], told: str
) -> None:
    for file in ("best.keras", "old.onnx"):
        (tmp_path / file).touch()
    for folder in ("full", "folder.onnx"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "kept.txt").touch()
    done = tuner("export", "best.keras", *words)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"tuner: {told}") and done.err.count("\n") == 1
    assert (tmp_path / "full" / "kept.txt").exists()


def test_a_missing_package_is_said_first(tuner: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuner.models.formats.export_format.find_spec", lambda name: None)
    done = tuner("export", "no-such-study", "--format", "litert")
    assert done.code == 2
    told = "LiteRT needs ai-edge-litert, which is not installed: pip install ai-edge-litert"
    assert done.err == f"tuner: {told}\n"


def test_every_form_is_a_choice_of_the_command(tuner: Command) -> None:
    done = tuner("export", "best", "--format", "pickle")
    assert done.code == 2
    for name in FORMATS:
        assert f"'{name}'" in done.err


def test_rows_of_a_table_are_made_up_as_the_network_scales_them() -> None:
    year, city = Column("year", offset=2000.0), Column("city", categories=("Rome", "Oslo"))
    words = Column("words", kind="text", categories=("red",))
    network = SimpleNamespace(
        layers=[
            SimpleNamespace(name="input_offset", offset=[-2000.0, 0.0, 0.0, 0.0]),
            SimpleNamespace(name="scaling", scale=[0.25, 1.0, 1.0, 1.0], offset=[0.5, 0, 0, 0]),
        ]
    )
    preparation = Preparation((4,), columns=(year, city, words), is_table=True)
    model = Model(describe(preparation), cast(Any, network))
    rows = make_rows(model, 2000).inputs
    scaled = (rows[:, 0] - 2000) * 0.25 + 0.5
    assert abs(scaled.mean()) < 0.1 and abs(scaled.std() - 1) < 0.1
    assert (rows[:, 1:3].sum(axis=1) == 1).all() and 0.4 < rows[:, 1].mean() < 0.6
    assert rows.dtype == np.float32


@pytest.fixture
def study(tuner: Command, tmp_path: Path) -> NetworkDescription:
    """What a network of a study on ages.csv says of itself."""
    rows = "".join(f"{age},{'yes' if age > 40 else 'no'}\n" for age in range(20, 60))
    (tmp_path / "ages.csv").write_text(f"age,label\n{rows}")
    done = tuner("study", "create", "ages", "--data", "ages.csv:label", "--space", "shallow")
    assert done.code == 0
    with closing(open_store(f"sqlite:///{tmp_path}/tuner.db")) as store:
        row = load_study(store, "ages")
    age = Column("age", kind="number")
    preparation = Preparation((1,), columns=(age,), is_table=True, target="label")
    return replace(describe(preparation), study="ages", study_uuid=row.uuid)


def test_the_studys_own_data_are_taken_where_they_are_at_hand(
    study: NetworkDescription, tmp_path: Path
) -> None:
    layers = [SimpleNamespace(name="scaling", scale=1.0, offset=0.0)]
    network = cast(Any, SimpleNamespace(layers=layers))
    settings = load_settings(f"sqlite:///{tmp_path}/tuner.db")
    found = find_rows(Model(study, network), settings, None)
    assert found.origin == "the first 40 rows of ages.csv:label"
    assert found.inputs[:2].tolist() == [[20.0], [21.0]]
    other = Model(replace(study, study_uuid="0" * 32), network)
    assert find_rows(other, settings, None).origin.startswith("256 made-up rows")
    (tmp_path / "ages.csv").unlink()
    assert find_rows(Model(study, network), settings, None).origin.startswith("256 made-up rows")
    with pytest.raises(DatasetError, match=r"ages\.csv: no such file"):
        find_rows(Model(study, network), settings, "ages.csv")
    (tmp_path / "many.csv").write_text("age\n" + "30\n" * 1200)
    found = find_rows(Model(study, network), settings, "many.csv")
    assert (len(found.inputs), found.origin) == (1000, "the first 1000 rows of many.csv")


def test_code_of_the_data_is_not_run_unasked(
    study: NetworkDescription, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise CodeError("not trusted")

    monkeypatch.setattr("tuner.models.rows_to_compare.require_trusted", refuse)
    layers = [SimpleNamespace(name="scaling", scale=1.0, offset=0.0)]
    network = cast(Any, SimpleNamespace(layers=layers))
    settings = load_settings(f"sqlite:///{tmp_path}/tuner.db")
    found = find_rows(Model(study, network), settings, None)
    assert found.origin.startswith("256 made-up rows")


def test_the_remarks_and_the_description_of_the_input_are_printed(
    tuner: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, SimpleNamespace(predict_on_batch=half))
    monkeypatch.setitem(FORMATS, "onnx", form_of(half))
    done = tuner("export", "toy", "--format", "onnx", "--output", "a.toy")
    assert done.code == 0 and "a remark" in done.err
    assert "a.toy (Toy, 8 bytes)" in done.out
    assert "toytime and Keras differ by at most 0 on 256 made-up rows" in done.out
    assert "in: float32 (n, 3), prepared rows" in done.out
    assert "out: probability_yes" in done.out

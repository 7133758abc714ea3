"""Exports in their own runtimes: they score raw rows as the .keras file does."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import pandas as pd
from tensorflow_helpers import make_request

import tuner as package
from tuner.data import Dataset, load_dataset
from tuner.data.preparing import preparation_of
from tuner.errors import ArtifactError, ExportError
from tuner.models.exporting import Export, compare_outputs, predict_in_batches, write_export
from tuner.models.formats.export_format import Format
from tuner.models.runtimes import FORMATS
from tuner.networks import build_network, export_network
from tuner.networks.layers import KerasLayers
from tuner.preparation import served_network
from tuner.preparation.keras_file import write_description
from tuner.preparation.network_description import NetworkDescription
from tuner.preparation.preparation import Preparation
from tuner.search_space.parameters import NETWORKS
from tuner.settings import load_settings
from tuner.study.spec import DataSpec
from tuner.system.redirecting import output_to
from tuner.training.ops.activations import ACTIVATIONS

pytestmark = pytest.mark.tensorflow

EXPORTS = [name for name in FORMATS if name != "keras"]
# What computes otherwise than Keras.
NOT_TENSORFLOW = ["onnx", "litert"]
ENDINGS = {name: form.ending or ".folder" for name, form in FORMATS.items()}


def table(rows: int = 90) -> pd.DataFrame:
    """Gaps, categories, dates, and years, which need an offset."""
    draws = np.random.default_rng(0)
    days = pd.Timestamp("2019-12-01") + pd.to_timedelta(draws.integers(0, 90, rows), "D")
    ages = draws.normal(40, 12, rows).round(1)
    ages[::9] = np.nan
    return pd.DataFrame(
        {
            "age": ages,
            "year": draws.integers(2001, 2021, rows),
            "city": draws.choice(["Rome", "Oslo", "Lima"], rows),
            "day": days.strftime("%Y-%m-%d"),
            "label": draws.choice(["bad", "good", "so-so"], rows),
        }
    )


def write_network(file: Path, dataset: Dataset, **params: Any) -> NetworkDescription:
    """A .keras file as a search saves it, with weights as they start."""
    keras.utils.set_random_seed(1)
    complete = make_request(**params).params
    shape, outputs, task = dataset.input_shape, dataset.outputs, dataset.task
    weights = build_network("mlp", complete, shape, outputs, task, KerasLayers()).get_weights()
    export_network("mlp", complete, dataset, weights).save(file)
    description = NetworkDescription(
        preparation_of(dataset), task, dataset.labels, "val_loss", dataset.fingerprint,
        dataset.name, "0.1.0",
    )  # fmt: skip
    write_description(file, description)
    return description


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """net.keras, and the table that it was made for."""
    folder = tmp_path_factory.mktemp("exports")
    table().to_csv(folder / "d.csv", index=False)
    dataset = load_dataset(DataSpec(source=f"{folder}/d.csv:label"), load_settings({}))
    assert dataset.shift is not None and not dataset.float64_inputs
    write_network(folder / "net.keras", dataset, depth=2, activation="gelu", batch_norm=True)
    return folder


@pytest.fixture(scope="module")
def exports(folder: Path) -> Callable[[str], Export]:
    """exports("onnx") is the network in that form."""

    @cache
    def export(name: str) -> Export:
        form, settings = FORMATS[name], load_settings(f"sqlite:///{folder}/none.db")
        path = folder / f"whole{ENDINGS[name]}"
        return write_export(str(folder / "net.keras"), form, path, settings, str(folder / "d.csv"))

    return export


@pytest.mark.parametrize("name", FORMATS)
def test_an_export_scores_raw_rows_as_the_network_does(
    name: str, folder: Path, exports: Callable[[str], Export]
) -> None:
    """In any order of the columns, with the target or without it."""
    export = exports(name)
    assert export.comparison.rows == f"the first 90 rows of {folder}/d.csv"
    assert export.features[:5] == ("age", "year", "city=Lima", "city=Oslo", "city=Rome")
    assert export.network.input_name == "inputs"
    given = table().sample(frac=1, random_state=1)[["day", "year", "city", "age"]]
    network, model = package.load_model(folder / "net.keras"), package.load_model(export.path)
    expected, predicted = network.predict(given), model.predict(given)
    assert predicted["prediction"].tolist() == expected["prediction"].tolist()
    assert predicted.columns.tolist() == expected.columns.tolist()
    shares = expected.columns[1:]
    np.testing.assert_allclose(predicted[shares], expected[shares], rtol=0, atol=1e-5)
    assert expected[shares].to_numpy().std() > 0.05
    assert model.description == network.description


def test_mlflows_model_scores_raw_rows_as_the_network_does(folder: Path, tmp_path: Path) -> None:
    """The code that MLflow runs for a logged model (pyfunc), from where it is in a logged model."""
    shutil.copyfile(folder / "net.keras", tmp_path / served_network.NETWORK_FILE)
    given = table()[["city", "age", "year", "day"]]
    predicted = served_network._load_pyfunc(str(tmp_path)).predict(given)
    pd.testing.assert_frame_equal(
        predicted, package.load_model(folder / "net.keras").predict(given)
    )


@pytest.mark.parametrize("name", EXPORTS)
@pytest.mark.parametrize("harm", ["changed", "cut short", "from elsewhere", "missing"])
def test_a_damaged_export_is_one_line(
    name: str, harm: str, exports: Callable[[str], Export], tmp_path: Path
) -> None:
    whole, path = exports(name).path, tmp_path / f"net{ENDINGS[name]}"
    (shutil.copytree if whole.is_dir() else shutil.copyfile)(whole, path)
    file = path / "saved_model.pb" if path.is_dir() else path
    content = file.read_bytes()
    middle = len(content) // 2
    if harm == "changed":
        file.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    elif harm == "cut short":
        file.write_bytes(content[:middle])
    elif harm == "missing":
        file.unlink()
    elif name == "savedmodel":
        shutil.rmtree(path / "assets.extra")
    elif name == "onnx":
        file.write_bytes(_without_metadata(content))
    else:
        file.write_bytes(content[: content.rindex(b"PK\x03\x04")])
    with pytest.raises(ArtifactError, match=r"^net: [^\n]+$"):
        FORMATS[name].load(path, "net")


def _without_metadata(content: bytes) -> bytes:
    import onnx

    model = onnx.load_from_string(content)
    del model.metadata_props[:]
    return model.SerializeToString()


@keras.saving.register_keras_serializable()
class Wave(keras.layers.Layer):
    """As a user writes it."""

    def call(self, inputs: Any) -> Any:
        return keras.ops.sin(inputs) * inputs


# What a runtime cannot compute, and refuses (docs/exporting.md).
REFUSED = {"litert": ["rnn, normalised"]}


@pytest.fixture(scope="module")
def catalogue() -> tuple[Any, dict[str, Any]]:
    """The inputs of a network for images (6, 6), and by name two outputs of each activation of the
    catalogue, of the normalisations, of each network, and of a user's layers."""
    keras.utils.set_random_seed(2)
    inputs = keras.Input((6, 6), name="inputs")
    scaled = keras.layers.Rescaling(0.5, 0.1, name="scaling")(inputs)
    outputs, names = [], []
    hidden = keras.layers.Dense(2)(keras.layers.Flatten()(scaled))
    for activation in ACTIVATIONS:
        outputs.append(ACTIVATIONS[activation].exported_form({"leaky_slope": 0.2})(hidden))
        names.append(activation)
    for network in NETWORKS:
        both = {"batch_norm": True, "layer_norm": True, "dropout": 0.2}
        params = make_request(network=network, **both).params
        built = build_network(network, params, (6, 6), 2, "classes", KerasLayers())
        outputs.append(built(scaled))
        names.append(f"{network}, normalised")
    outputs.append(Wave()(hidden))
    names.append("a user's layer")
    own = keras.Sequential(
        [
            keras.layers.Flatten(),
            keras.layers.Normalization(mean=0.3, variance=2.0),
            keras.layers.Dense(2),
        ]
    )
    outputs.append(own(scaled))
    names.append("Normalization")
    return inputs, dict(zip(names, outputs, strict=True))


@pytest.mark.parametrize("name", NOT_TENSORFLOW)
def test_every_operation_of_the_catalogue(
    name: str, catalogue: tuple[Any, dict[str, Any]], tmp_path: Path
) -> None:
    inputs, outputs_of = catalogue
    names = [each for each in outputs_of if each not in REFUSED.get(name, [])]
    network = keras.Model(inputs, keras.layers.Concatenate()([outputs_of[n] for n in names]))
    rows = np.random.default_rng(0).normal(0, 2, (9, 6, 6)).astype(np.float32)
    expected = network.predict_on_batch(rows)
    outputs = exported(FORMATS[name], network, rows, tmp_path)
    differences = np.abs(outputs - expected).max(axis=0).reshape(-1, 2).max(axis=1)
    assert {n: d for n, d in zip(names, differences, strict=True) if not d < 1e-5} == {}


def exported(form: Format, network: keras.Model, rows: Any, folder: Path) -> Any:
    """The outputs of a network's export."""
    preparation = Preparation(rows.shape[1:], str(rows.dtype), value_range=(0.0, 1.0))
    secret = {"net.py": "# a secret"}
    description = NetworkDescription(
        preparation, "regression", (), "val_loss", "0" * 64, "toys", "0.1.0", code=secret
    )
    path = folder / f"net{form.ending}"
    with output_to(None):
        form.save(network, description, path)
        read, loaded = form.load(path, "net")
        outputs = predict_in_batches(loaded, rows)
    assert read == replace(description, code={})  # an export does not show a user's code
    return outputs


def large_numbers(folder: Path, first: float, spread: float) -> Dataset:
    """Values near `first` among the inputs, and as the target."""
    draws, rows = np.random.default_rng(0), 150
    values = first + np.round(draws.normal(0, spread, rows), 1 if first > 1e9 else 0)
    x = np.column_stack([values, draws.normal(size=rows).astype(np.float32)])
    y = x[:, 0] + draws.normal(0, spread, rows)
    np.savez(folder / "d.npz", x_train=x, y_train=y, x_val=x, y_val=y, x_test=x, y_test=y)
    return load_dataset(DataSpec(source=str(folder / "d.npz")), load_settings({}))


@pytest.mark.parametrize("name", NOT_TENSORFLOW)
@pytest.mark.parametrize(("first", "is_wide"), [(1013.0, False), (1.7e9, True)])
def test_large_numbers_that_differ_by_little(
    name: str, first: float, is_wide: bool, tmp_path: Path
) -> None:
    dataset = large_numbers(tmp_path, first, 8.0)
    assert dataset.float64_inputs == is_wide and dataset.target_shift
    file = tmp_path / "net.keras"
    write_network(file, dataset, activation="tanh")
    model = package.load_model(file)
    rows = model.description.preparation.prepare(np.load(tmp_path / "d.npz")["x_val"]).inputs
    expected = model.outputs_of_prepared(rows)
    assert np.ptp(expected) > 1.0
    if name == "litert" and is_wide:
        with pytest.raises(ExportError, match="LiteRT computes in float32"):
            exported(FORMATS[name], model.keras_model, rows, tmp_path)
        return
    outputs = exported(FORMATS[name], model.keras_model, rows, tmp_path)
    difference, allowed = compare_outputs(expected, outputs, "regression")
    assert difference <= allowed < 1e-3


@pytest.mark.parametrize(
    ("name", "operation", "told"),
    [
        ("onnx", keras.ops.erfinv, "ONNX has no operation Erfinv"),
        ("litert", keras.ops.erfinv, "LiteRT cannot compute Erfinv of this network"),
    ],
)
def test_what_a_runtime_cannot_compute_is_named(
    name: str, operation: Any, told: str, tmp_path: Path
) -> None:
    inputs = keras.Input((2,), name="inputs")
    scaled = keras.layers.Rescaling(0.1, name="scaling")(inputs)
    network = keras.Model(inputs, operation(keras.layers.Dense(1)(scaled)))
    with pytest.raises(ExportError, match=told):
        exported(FORMATS[name], network, np.zeros((3, 2), np.float32), tmp_path)

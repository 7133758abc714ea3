"""Data of many kinds, always the same ones: what their fingerprints must stay is written down."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

Y = np.arange(240) % 3
WORDS = np.array(["red", "green", "blue"])[Y]


def _draws() -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.PCG64(5)  # raw words: NumPy keeps them the same over its versions
    images = (draw.random_raw(240 * 20) % 256).astype(np.uint8).reshape(240, 5, 4)
    numbers = (draw.random_raw(240 * 6) / 2.0**64 * 7 - 3).reshape(240, 6)
    return images, numbers


def _gaps(numbers: np.ndarray) -> np.ndarray:
    holed = numbers.copy()
    holed[::7, 1] = np.nan
    holed[3, 4] = np.nan
    return holed


def archives() -> dict[str, dict[str, Any]]:
    images, numbers = _draws()
    signed = images.astype(np.int64) - 100
    parts = {"x_train": images, "y_train": Y, "x_test": images[::-1], "y_test": Y[::-1]}
    return {
        "bytes": {"x": images, "y": Y},
        "whole_numbers": {"x": images.astype(np.int64), "y": Y},
        "signed": {"x": signed, "y": Y},
        "wide": {"x": images.astype(np.int32) * 200, "y": Y},
        "wider": {"x": images.astype(np.int64) * 10_000_000, "y": Y},
        "flags": {"x": images > 127, "y": Y},
        "fractions": {"x": images / 255 - 0.5, "y": Y},
        "halves": {"x": (images / 255).astype(np.float16), "y": Y},
        "big_endian": {"x": images.astype(">f4"), "y": Y.astype(">i2")},
        "big_endian_halves": {"x": (images / 255).astype(">f2"), "y": Y},
        "matrix": {"x": numbers, "y": Y},
        "matrix_of_bytes": {"x": images.reshape(240, 20), "y": Y},
        "matrix_of_ints": {"x": signed.reshape(240, 20), "y": Y},
        "by_columns": {"x": np.asfortranarray(numbers), "y": Y},
        "images_by_columns": {"x": np.asfortranarray(images), "y": Y},
        "one_column": {"x": numbers[:, 0], "y": Y},
        "gaps": {"x": _gaps(numbers), "y": Y},
        "gaps_in_the_test": parts | {"x_train": numbers, "x_test": _gaps(numbers)},
        "gaps_beside_ints": parts | {"x_train": signed[:, 0], "x_test": _gaps(numbers)[:, :4]},
        "values": {"x": numbers, "y": numbers @ np.arange(6.0)},
        "words": {"x": numbers, "y": WORDS},
        "two": {"x": numbers, "y": Y > 0},
        "with_a_test": parts,
        "unlike_parts": parts | {"x_test": images[::-1].astype(np.int64) * 3},
        "with_validation": parts | {"x_val": images[:30], "y_val": Y[:30]},
        "validation_alone": {"x_train": numbers, "y_train": Y, "x_val": numbers, "y_val": Y},
    }


def _idx(array: np.ndarray, code: int) -> bytes:
    header = bytes([0, 0, code, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def _write_idx(folder: Path, images: np.ndarray, code: int, zipped: bool) -> None:
    folder.mkdir()
    for part, n in (("train", 240), ("t10k", 60)):
        for role, content in (
            ("images", _idx(images[:n], code)),
            ("labels", _idx(Y[:n].astype("i4"), 0x0C)),
        ):
            path = folder / f"{part}-{role}-idx{'.gz' * zipped}"
            path.write_bytes(gzip.compress(content) if zipped else content)


def _frame() -> pd.DataFrame:
    images, numbers = _draws()
    frame = pd.DataFrame(_gaps(numbers), columns=pd.Index(list("abcdef")))
    frame["kind"] = np.where(Y == 1, "", np.where(images[:, 0, 0] > 99, "x", "y"))
    frame["whole"] = images[:, 1, 1]
    frame["flag"] = images[:, 2, 2] > 120
    return frame.assign(y=WORDS)


def write_kinds(folder: Path) -> dict[str, str]:
    """Every kind by name: the source to load."""
    sources = {}
    for name, arrays in archives().items():
        sources[name] = str(folder / f"{name}.npz")
        np.savez(sources[name], **arrays)
    zipped = archives()["matrix"]
    sources["compressed"] = str(folder / "compressed.npz")
    np.savez_compressed(sources["compressed"], **zipped)
    images, numbers = _draws()
    forms = {"bytes": (images, 0x08), "shorts": (images.astype(np.int16) * 7 - 300, 0x0B)}
    forms |= {"doubles": (numbers, 0x0E)}
    for name, (array, code) in forms.items():
        for zipped_too in (False, True):
            label = f"idx_{name}{'_gz' * zipped_too}"
            _write_idx(folder / label, array, code, zipped_too)
            sources[label] = str(folder / label)
    frame = _frame()
    frame.to_csv(folder / "t.csv", index=False)
    frame.to_parquet(folder / "t.parquet")
    sources |= {"csv": f"{folder / 't.csv'}:y", "parquet": f"{folder / 't.parquet'}:y"}
    sources["csv_value"] = f"{folder / 't.csv'}:whole"
    return sources | {name: name for name in ("digits", "iris", "diabetes")}

"""Files of predictions: a row for each row of the data, written block by block, whole or not at
all."""

import gzip
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from tuner.errors import TunerError, UsageError
from tuner.system.temporary_folders import folder_beside

if TYPE_CHECKING:
    import pyarrow as pa


_GZIP_LEVEL = 4


class TableWriter(ABC):
    """Writes tables with the same columns into one file, one after the other."""

    def __init__(self, file: Any) -> None:
        self._file = file

    @abstractmethod
    def write(self, table: "pa.Table") -> None:
        """Raises OSError."""

    @abstractmethod
    def close(self) -> None:
        """Write what is left. The file stays open. Raises OSError."""

    def abandon(self) -> None:  # noqa: B027
        """Nothing more is written, and the file is of no use."""


class CsvWriter(TableWriter):
    """CSV in UTF-8 with a header. Texts are quoted where a block needs it; a float32 has the digits
    that tell it from others."""

    _has_header = False

    def write(self, table: "pa.Table") -> None:
        if not self._has_header:
            self._has_header = True
            header = ",".join(map(_quoted_if_needed, table.column_names))
            self._file.write(f"{header}\n".encode())
        self._file.write(_csv_lines(table))

    def close(self) -> None:
        self._file.flush()


def _csv_lines(table: "pa.Table") -> Any:
    import pyarrow as pa
    from pyarrow import csv

    # "needed" quotes every text; "none" refuses those that hold commas, quotes or line ends.
    for style in ("none", "needed"):
        lines = pa.BufferOutputStream()
        try:
            csv.write_csv(table, lines, csv.WriteOptions(include_header=False, quoting_style=style))
            break
        except pa.ArrowInvalid:
            if style == "needed":
                raise
    return lines.getvalue()


def _quoted_if_needed(name: str) -> str:
    if any(mark in name for mark in ',"\r\n'):
        return '"' + name.replace('"', '""') + '"'
    return name


class PackedCsvWriter(CsvWriter):
    """The same, packed by gzip."""

    def __init__(self, file: BinaryIO) -> None:
        # Arrow's own packs as tightly as it can, which takes ten times as long.
        super().__init__(gzip.GzipFile("", "wb", _GZIP_LEVEL, file, mtime=0))

    def close(self) -> None:
        self._file.close()


class ParquetWriter(TableWriter):
    """Parquet. The first table decides the types of the columns."""

    _writer: Any = None

    def write(self, table: "pa.Table") -> None:
        import pyarrow as pa
        from pyarrow import parquet

        if self._writer is None:
            fields = [
                field.with_type(pa.string()) if pa.types.is_null(field.type) else field
                for field in table.schema.remove_metadata()
            ]
            self._writer = parquet.ParquetWriter(self._file, pa.schema(fields))
        try:
            self._writer.write_table(table.cast(self._writer.schema))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise UsageError(
                "cannot hold the index column, which changes its type between the rows; write a "
                ".csv file instead"
            ) from error

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def abandon(self) -> None:
        if self._writer is not None:  # else it would write once more when it is deleted
            self._writer.is_open = False


class NpzWriter(TableWriter):
    """NumPy's .npz with an array (n,) for each column; texts are fixed-width, so it loads without
    pickle. Their width is known at the end: until then the columns lie in a Parquet file beside."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self._columns = Path(file.name).with_suffix(".columns").open("w+b")
        self._writer = ParquetWriter(self._columns)

    def write(self, table: "pa.Table") -> None:
        self._writer.write(table)

    def abandon(self) -> None:
        self._writer.abandon()
        with suppress(OSError):  # of a full disk
            self._columns.close()

    def close(self) -> None:
        from pyarrow import parquet

        self._writer.close()
        with self._columns as file, zipfile.ZipFile(self._file, "w") as archive:
            file.seek(0)
            columns = parquet.ParquetFile(file)
            for name in columns.schema_arrow.names:
                _add_array(archive, name, columns)


def _add_array(archive: zipfile.ZipFile, name: str, columns: Any) -> None:
    """The column as an array of the archive. Both passes over it read a few rows at a time."""
    dtype = np.result_type(*(values.dtype for values in _pieces(columns, name)))
    header = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": (columns.metadata.num_rows,),
    }
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array_header_2_0(member, header)
        for values in _pieces(columns, name):
            member.write(values.astype(dtype).tobytes())


def _pieces(columns: Any, name: str) -> Iterator[npt.NDArray[Any]]:
    for group in range(columns.num_row_groups):
        values = columns.read_row_group(group, columns=[name])[name].to_numpy()
        yield values if values.dtype != object else np.array([_text(each) for each in values])


def _text(value: Any) -> str:
    return "" if value is None else str(value)


# To add a format: its writer and a line here.
FORMATS: dict[str, type[TableWriter]] = {
    ".csv": CsvWriter,
    ".csv.gz": PackedCsvWriter,
    ".parquet": ParquetWriter,
    ".npz": NpzWriter,
}


def check_output(file: Path, inputs: Sequence[Path | None], replace: bool) -> None:
    """Whether predictions of these files can be written to `file`. `replace`: an existing file may
    be replaced. Raises UsageError."""
    if _writer_of(file) is None:
        raise UsageError(f"{file}: must end in {', '.join(FORMATS)}")
    if not file.parent.is_dir():
        raise UsageError(f"{file}: the folder {file.parent} does not exist")
    if not file.exists():
        return
    if not file.is_file():
        raise UsageError(f"{file}: is no file")
    if any(each and each.exists() and each.samefile(file) for each in inputs):
        raise UsageError(f"{file}: is read from; give the predictions a file of their own")
    if not replace:
        raise UsageError(f"{file}: exists already; --force replaces it")


def _writer_of(file: Path) -> type[TableWriter] | None:
    endings = [ending for ending in FORMATS if file.name.lower().endswith(ending)]
    return FORMATS[endings[-1]] if endings else None


@contextmanager
def writing_predictions(file: Path) -> Iterator[Callable[["pa.Table"], None]]:
    """Gives the function that writes a table. Once the block has ended, the file is there, whole;
    when it raises, the file is as it was before. `file` was checked.

    Raises UsageError where nothing can be written there, TunerError where the disk is full.
    """
    target, writer_type = file.resolve(), _writer_of(file)
    assert writer_type is not None
    try:
        folder = folder_beside(target)
    except OSError as error:
        raise UsageError(f"{file}: cannot be written: {error.strerror or error}") from error
    with folder:
        partial = (Path(folder.name) / "predictions").open("wb")
        writer = writer_type(partial)
        try:

            def write(table: "pa.Table") -> None:
                with _write_errors(file):
                    writer.write(table)

            yield write
            with _write_errors(file):
                writer.close()
                partial.close()
                Path(partial.name).replace(target)
        except BaseException:
            writer.abandon()
            raise
        finally:
            with suppress(OSError):  # of a full disk once more
                partial.close()


@contextmanager
def _write_errors(file: Path) -> Iterator[None]:
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{file}: {error}") from error
    except OSError as error:
        raise TunerError(f"{file}: cannot be written: {error.strerror or error}") from error

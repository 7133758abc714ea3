"""The options on data that several commands take, and how a study's data are described by them."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tuner.cli.app import flag
from tuner.system.names import command

if TYPE_CHECKING:
    from tuner.study.data_spec import DataSpec

DATA_HELP = (
    "A name such as digits, a folder of images (photos/cat/1.png) or of IDX files, a file with its "
    "target column such as file.csv:target or file.parquet:target, file.npz, or my_file.py:load. "
    "An unknown name is answered with all formats."
)
_MOST_NOTES = 8

Pairs = list[str] | None
Columns = Annotated[
    Pairs,
    typer.Option(
        "--column",
        help="How to read a column of a table, such as zip=category. KIND is number, category, "
        "text, date, drop or target. May be repeated.",
        metavar="NAME=KIND",
        show_default="by the column's cells",
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        "--weights",
        help="How much each row counts in training: a column of a table, or an array of an .npz "
        "file.",
        metavar="COLUMN",
        show_default="the space file's, else all rows count alike",
    ),
]
Scaling = Annotated[
    str | None,
    typer.Option(
        help="How to scale the inputs: minmax, center, standardize or none.",
        metavar="METHOD",
        show_default="the space file's, else by the data",
    ),
]
# An option for each field of DataSpec that several commands take, in the order of their help.
_OPTIONS: Mapping[str, Any] = {
    "columns": Columns,
    "weights": Weights,
    "kind": Annotated[
        str | None,
        typer.Option(
            "--kind",
            help="What a row of an array is: sequence (steps of channels, each scaled on its own) "
            "or tokens (numbers of words).",
            metavar="KIND",
            show_default="by its shape and values",
        ),
    ],
    "text": Annotated[
        str | None,
        typer.Option(
            "--text",
            help="What texts of a table become: words (which of the most common words they hold), "
            "tf_idf (a weight for each word) or tokens (the words' numbers in order, for rnn).",
            metavar="FORM",
            show_default="tokens for rnn, else words",
        ),
    ],
    "vocabulary": Annotated[
        int | None,
        typer.Option(
            "--vocabulary",
            help="How many of the most common words are known.",
            metavar="N",
            show_default="256 for words, 2000 for tf_idf, 10000 for tokens",
        ),
    ],
    "steps": Annotated[
        int | None,
        typer.Option(
            "--steps",
            help="The length of texts in words, or of sequences: longer ones are cut, shorter ones "
            "padded.",
            metavar="N",
            show_default="of 95 % of the texts; of the longest sequence",
        ),
    ],
    "window": Annotated[
        int | None,
        typer.Option(
            "--window",
            help="Forecast from a table: each row of the data is so many rows of it, one after the "
            "other.",
            metavar="N",
            show_default="no windows",
        ),
    ],
    "horizon": Annotated[
        int | None,
        typer.Option(
            "--horizon",
            help="With --window: how many steps behind the window are forecast.",
            metavar="N",
            show_default="1",
        ),
    ],
    "time": Annotated[
        str | None,
        typer.Option(
            "--time",
            help="With --window: the column by which the table is sorted and split.",
            metavar="COLUMN",
            show_default="the order of the rows",
        ),
    ],
    "series": Annotated[
        str | None,
        typer.Option(
            "--series",
            help="With --window: the column that tells several series of a table apart.",
            metavar="COLUMN",
            show_default="one series",
        ),
    ],
    "task": Annotated[
        str | None,
        typer.Option(
            "--task",
            help="What to learn: classes, binary, regression, multilabel or several.",
            metavar="TASK",
            show_default="the space file's, else by the target",
        ),
    ],
    "image_size": Annotated[
        str | None,
        typer.Option(
            "--image-size",
            help="Resize image files to so many pixels: 64, or 64x48 (height x width).",
            metavar="SIZE",
            show_default="the space file's, else their own size, the same of all",
        ),
    ],
    "grayscale": Annotated[
        bool | None,
        flag("--grayscale", text="Make image files grey, of one channel."),
    ],
    "broken": Annotated[
        Literal["refuse", "skip"] | None,
        typer.Option(
            "--broken",
            help="What to do with image files that cannot be read: refuse the data, or skip the "
            "files.",
            show_default="the space file's, else refuse",
        ),
    ],
    "images": Annotated[
        str | None,
        typer.Option(
            "--images",
            help="The column of a table that holds the paths of image files, relative to the "
            "table.",
            metavar="COLUMN",
            show_default="the space file's, else the table itself holds the features",
        ),
    ],
}


def takes_data_options(after: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options on data, listed after its parameter `after`. It takes them as
    `**data_options`, by DataSpec's fields; those that were not given are None, or no columns."""

    def decorate(run: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(run)
        def run_with_fields(**arguments: Any) -> None:
            from tuner.algorithms.options import parse_columns

            run(**arguments | {"columns": parse_columns(arguments["columns"] or [])})

        run_with_fields.__signature__ = _with_options(  # type: ignore[attr-defined]
            inspect.signature(run), after
        )
        return run_with_fields

    return decorate


def _with_options(signature: inspect.Signature, after: str) -> inspect.Signature:
    """The signature with a parameter for each option in place of its `**data_options`."""
    parameters: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        if parameter.kind is not parameter.VAR_KEYWORD:
            parameters.append(parameter)
        if parameter.name == after:
            parameters += [
                inspect.Parameter(field, parameter.kind, default=None, annotation=option)
                for field, option in _OPTIONS.items()
            ]
    return signature.replace(parameters=parameters)


def say_data(columns: str, notes: Sequence[str], data: "DataSpec") -> None:
    """Print how the columns of new data were read, in brief, and the first notes on them."""
    from tuner.cli.output import say

    if columns:
        say(f"columns: {columns}")
    for note in notes[:_MOST_NOTES]:
        say(f"note: {note}")
    left = len(notes) - _MOST_NOTES
    more = f"{left} more note{'s' * (left > 1)} and all columns" if left > 0 else "all columns"
    if columns or left > 0:
        say(f"{more}: {command('data', 'describe', data.source, *_typed_options(data))}")


def _typed_options(data: "DataSpec") -> list[str]:
    """The options, as typed, that describe the data. Those with their default are left out."""
    words: list[str] = []
    for field, option in _OPTIONS.items():
        value = getattr(data, field)
        if value == type(data).model_fields[field].get_default(call_default_factory=True):
            continue
        name = option.__metadata__[0].default  # where typer keeps the first name
        if isinstance(value, bool):
            words.append(name)
        elif isinstance(value, dict):
            words += [word for key, kind in value.items() for word in (name, f"{key}={kind}")]
        else:
            text = "x".join(map(str, value)) if isinstance(value, tuple) else str(value)
            words += [name, text]
    return words

"""`tuner data`, and the options on data that several commands take."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tuner.cli.app import Json, flag, new_typer, settings_of
from tuner.system.names import command

if TYPE_CHECKING:
    from tuner.study.spec import DataSpec

app = new_typer("Look at data sets.")

DATA_HELP = (
    "A name such as digits, a folder of images (photos/cat/1.png) or of IDX files, a file with its "
    "target column such as file.csv:target or file.parquet:target, file.npz, or my_file.py:load. "
    "An unknown name is answered with all formats."
)
_MOST_NOTES = 8
# The options of `data describe` that are fields of a DataSpec, beside --column and --task.
_DATA_OPTIONS = (
    "weights", "kind", "text", "vocabulary", "steps", "window", "horizon", "time", "series"
)  # fmt: skip

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
Scaling = Annotated[
    str | None,
    typer.Option(
        help="How to scale the inputs: minmax, center, standardize or none.",
        metavar="METHOD",
        show_default="the space file's, else by the data",
    ),
]
Task = Annotated[
    str | None,
    typer.Option(
        help="What to learn: classes, binary, regression, multilabel or several.",
        metavar="TASK",
        show_default="the space file's, else by the target",
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


Kind = Annotated[
    str | None,
    typer.Option(
        "--kind",
        help="What a row of an array is: sequence (steps of channels, each scaled on its own) or "
        "tokens (numbers of words).",
        metavar="KIND",
        show_default="by its shape and values",
    ),
]
Text = Annotated[
    str | None,
    typer.Option(
        "--text",
        help="What texts of a table become: words (which of the most common words they hold), "
        "tf_idf (a weight for each word) or tokens (the words' numbers in order, for rnn).",
        metavar="FORM",
        show_default="tokens for rnn, else words",
    ),
]
Vocabulary = Annotated[
    int | None,
    typer.Option(
        "--vocabulary",
        help="How many of the most common words are known.",
        metavar="N",
        show_default="256 for words, 2000 for tf_idf, 10000 for tokens",
    ),
]
Steps = Annotated[
    int | None,
    typer.Option(
        "--steps",
        help="The length of texts in words, or of sequences: longer ones are cut, shorter ones "
        "padded.",
        metavar="N",
        show_default="of 95 % of the texts; of the longest sequence",
    ),
]
Window = Annotated[
    int | None,
    typer.Option(
        "--window",
        help="Forecast from a table: each row of the data is so many rows of it, one after the "
        "other.",
        metavar="N",
        show_default="no windows",
    ),
]
Horizon = Annotated[
    int | None,
    typer.Option(
        "--horizon",
        help="With --window: how many steps behind the window are forecast.",
        metavar="N",
        show_default="1",
    ),
]
Time = Annotated[
    str | None,
    typer.Option(
        "--time",
        help="With --window: the column by which the table is sorted and split.",
        metavar="COLUMN",
        show_default="the order of the rows",
    ),
]
Series = Annotated[
    str | None,
    typer.Option(
        "--series",
        help="With --window: the column that tells several series of a table apart.",
        metavar="COLUMN",
        show_default="one series",
    ),
]


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
        options = [
            word for name, kind in data.columns.items() for word in ("--column", f"{name}={kind}")
        ]
        for option in _DATA_OPTIONS:
            value = getattr(data, option)
            if value not in (None, type(data).model_fields[option].default):
                options += [f"--{option}", str(value)]
        options += _image_options(data)
        say(f"{more}: {command('data', 'describe', data.source, *options)}")


def _image_options(data: "DataSpec") -> list[str]:
    """The options that say what becomes of image files."""
    size = data.image_size
    return [
        *(["--image-size", f"{size[0]}x{size[1]}"] if size is not None else []),
        *(["--grayscale"] if data.grayscale else []),
        *(["--broken", data.broken] if data.broken != "refuse" else []),
        *(["--images", data.images] if data.images is not None else []),
    ]


ImageSize = Annotated[
    str | None,
    typer.Option(
        "--image-size",
        help="Resize image files to so many pixels: 64, or 64x48 (height x width).",
        metavar="SIZE",
        show_default="the space file's, else their own size, the same of all",
    ),
]
Grayscale = Annotated[
    bool,
    flag("--grayscale", text="Make image files grey, of one channel."),
]
BrokenImages = Annotated[
    Literal["refuse", "skip"] | None,
    typer.Option(
        "--broken",
        help="What to do with image files that cannot be read: refuse the data, or skip the files.",
        show_default="the space file's, else refuse",
    ),
]
Images = Annotated[
    str | None,
    typer.Option(
        "--images",
        help="The column of a table that holds the paths of image files, relative to the table.",
        metavar="COLUMN",
        show_default="the space file's, else the table itself holds the features",
    ),
]


@app.command("describe")
def describe_dataset(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help=DATA_HELP, metavar="SOURCE")],
    task: Task = None,
    column: Columns = None,
    weights: Weights = None,
    image_size: ImageSize = None,
    grayscale: Grayscale = False,
    broken: BrokenImages = None,
    images: Images = None,
    kind: Kind = None,
    text: Text = None,
    vocabulary: Vocabulary = None,
    steps: Steps = None,
    window: Window = None,
    horizon: Horizon = None,
    time: Time = None,
    series: Series = None,
    as_json: Json = False,
) -> None:
    """Print what a data set holds, and how it is split and scaled.

    Example: tuner data describe passengers.csv:survived
    """
    from tuner.algorithms.options import parse_columns
    from tuner.cli.output import say, show_facts, show_rows
    from tuner.data import describe_dataset, load_dataset, tabulate_columns
    from tuner.manage.wanted_study import data_spec
    from tuner.values import join_names

    columns = parse_columns(column or [])
    spec = data_spec(
        source=source,
        task=task,
        columns=columns,
        weights=weights,
        image_size=image_size,
        grayscale=grayscale,
        broken=broken,
        images=images,
        kind=kind,
        text=text,
        vocabulary=vocabulary,
        steps=steps,
        window=window,
        horizon=horizon,
        time=time,
        series=series,
    )
    dataset = load_dataset(spec, settings_of(context))
    facts = describe_dataset(dataset)
    if as_json:
        show_facts(facts, as_json)
        return
    del facts["columns"]
    facts["features"] = join_names(dataset.features) if dataset.features else None
    notes = facts.pop("notes")
    show_facts(facts, as_json)
    width = max(map(len, facts))
    for number, note in enumerate(notes):
        say(f"{'' if number else 'notes':<{width}}  {note}")
    show_rows(tabulate_columns(dataset.reports), as_json)

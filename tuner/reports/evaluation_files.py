"""Evaluations as files."""

import json
from pathlib import Path

from tuner.errors import UsageError
from tuner.models.evaluating import DataEvaluation
from tuner.system.temporary_folders import written_whole


def check_file(file: Path) -> None:
    """Raises UsageError for a file that cannot be written: before hours of work, not after."""
    if file.suffix.lower() != ".json":
        raise UsageError(f"--save {file}: the file's name must end in .json")
    if not file.absolute().parent.is_dir():
        raise UsageError(f"--save {file}: the folder {file.parent} does not exist")
    if file.is_dir():
        raise UsageError(f"--save {file}: is a folder")


def save_evaluation(evaluated: DataEvaluation, file: Path) -> None:
    """Write all figures as JSON; the file is whole, or as it was. Raises UsageError."""
    text = json.dumps(evaluated.to_json(), indent=2, ensure_ascii=False, allow_nan=False)
    try:
        with written_whole(file) as partial:
            partial.write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{file}: cannot be written: {error.strerror or error}") from error

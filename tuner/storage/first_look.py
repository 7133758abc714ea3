"""What a command can know of its study before it imports SQLAlchemy."""

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from tuner.errors import LocationError
from tuner.system.locations import sqlite_file

_KINDS = (
    "SELECT DISTINCT json_extract(spec, '$.function_kind') FROM tuner_studies"
    " WHERE ?1 IS NULL OR name = ?1"
)
_LEFT = (
    "SELECT count(*) FROM tuner_studies AS study WHERE (?1 IS NULL OR name = ?1) AND"
    " (SELECT count(*) FROM tuner_places AS slot"
    " WHERE slot.study_id = study.study_id AND slot.state = 'done') < ?2"
)
# FunctionKind.BUILD and HYPERMODEL; None in studies of versions that had no other.
_OF_NETWORKS = {"build", "hypermodel", None}
# A search that writes just now is not waited for.
_WAIT_S = 0.05


def trains_networks(url: str, study: str | None, trials: int | None = None) -> bool:
    """Whether the study surely needs TensorFlow, unless it has so many finished trials. Without a
    name: all studies of the database do. False too where that cannot be seen at once, as in
    PostgreSQL."""
    try:
        file = sqlite_file(url)
        if file is None or not file.is_file():
            return False
        with closing(_connect(file)) as connection:
            kinds = {row[0] for row in connection.execute(_KINDS, (study,))}
            if trials is not None and not connection.execute(_LEFT, (study, trials)).fetchone()[0]:
                return False
    except (sqlite3.Error, LocationError, OSError):
        return False
    return bool(kinds) and kinds <= _OF_NETWORKS


def _connect(file: Path) -> sqlite3.Connection:
    # Nothing may be left beside a file that the command then refuses to use (read_only.py).
    beside = file.with_name(file.name + "-wal")
    mode = "mode=ro&readonly_shm=1" if beside.exists() else "mode=ro&immutable=1"
    return sqlite3.connect(f"file:{quote(str(file.absolute()))}?{mode}", timeout=_WAIT_S, uri=True)

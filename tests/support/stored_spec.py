"""A study's definition changed in the database, as whoever can write there can do."""

import json
import sqlite3
from collections.abc import Callable
from typing import Any


def change_spec(change: Callable[[dict[str, Any]], object]) -> None:
    """Of the only study in `tuner.db`."""
    database = sqlite3.connect("tuner.db")
    spec = json.loads(database.execute("select spec from tuner_studies").fetchone()[0])
    change(spec)
    database.execute("update tuner_studies set spec=?", (json.dumps(spec),))
    database.commit()
    database.close()

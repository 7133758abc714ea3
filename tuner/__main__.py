"""The command `tuner`, and `python -m tuner`."""

import os
import sys


def main() -> None:
    """Run the command line, the libraries before files of the current folder."""
    if os.name != "posix":
        print(
            f"tuner: this system ({sys.platform}) is not supported: tuner needs Linux or another "
            "POSIX system, on Windows for instance WSL",
            file=sys.stderr,
        )
        sys.exit(1)
    from tuner.system.streams import sound_streams

    sound_streams()
    try:
        _run()
    except KeyboardInterrupt:  # while it was still being imported
        print("tuner: interrupted", file=sys.stderr)
        sys.exit(130)


def _run() -> None:
    # Before any other import: after `python -m`, or with an empty entry in PYTHONPATH, the current
    # folder comes first, and a queue.py in it would be taken for Python's own.
    from tuner.system.import_path import ordered_path

    sys.path[:] = ordered_path(sys.path)
    from tuner.cli import main as run

    run()


if __name__ == "__main__":
    main()

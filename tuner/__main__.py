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
    # Before any other import: after `python -m`, or with an empty entry in PYTHONPATH, the current
    # folder comes first, and a queue.py in it would be imported in place of Python's.
    from tuner.system.start_up import open_streams, ordered_path

    open_streams()
    sys.path[:] = ordered_path(sys.path)
    try:
        from tuner.cli import main as run

        run()
    except KeyboardInterrupt:  # while it was still being imported
        print("tuner: interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()

"""The Python API: what `import tuner` offers, made of the same calls as the commands."""

import contextlib
import importlib
import sys
import warnings

if "IPython" in sys.modules:
    # Optuna imports it. Without ipywidgets, which tuner does not use, it warns in the cell.
    with warnings.catch_warnings(), contextlib.suppress(ImportError):
        warnings.filterwarnings("ignore", message="IProgress not found")
        importlib.import_module("tqdm.auto")

"""A set of texts that every machine with tuner has: the docstrings of installed packages.

python -m benchmarks.docstrings docstrings.csv
python -m benchmarks.docstrings docstrings.csv --baseline

The class of a text is its package. Words that name a package are left out of all texts, since they
would give the class away. `--baseline` trains TF-IDF and a logistic regression (scikit-learn) on
the training and validation rows that tuner draws from the file with its default shares and seed,
and prints the share of the test rows that it gets right.
"""

import argparse
import ast
import csv
import hashlib
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

PACKAGES = (
    "keras", "matplotlib", "mlflow", "numpy", "optuna", "pandas", "plotly", "scipy", "sklearn",
    "sqlalchemy", "tensorflow", "torch",
)  # fmt: skip
MOST_TEXTS = 1500  # of a package
FEWEST_WORDS = 8
MOST_CHARACTERS = 2000
_SHORT_NAMES = ("tf", "np", "pd", "plt", "scikit")
_NAMES = re.compile(rf"\b(?:{'|'.join((*PACKAGES, *_SHORT_NAMES))})\b", re.IGNORECASE)
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def docstrings(package: str) -> list[str]:
    """At most MOST_TEXTS different docstrings of a package, in an order that depends on nothing but
    the texts; none if it is not installed."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return []
    texts = {
        text
        for path in sorted(Path(spec.origin).parent.rglob("*.py"))
        if not {"tests", "test", "testing"} & set(path.parts)
        for text in _texts_of(path)
    }
    ranked = sorted(texts, key=lambda text: hashlib.sha256(text.encode()).digest())
    return ranked[:MOST_TEXTS]


def _texts_of(path: Path) -> Iterator[str]:
    try:
        module = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(module):
        if isinstance(node, _DOCUMENTED) and (text := ast.get_docstring(node)):
            plain = " ".join(_NAMES.sub(" ", text).split())[:MOST_CHARACTERS]
            if len(plain.split()) >= FEWEST_WORDS and plain.isprintable():
                yield plain


def write(path: Path) -> dict[str, int]:
    """Write the columns text and package. Returns how many texts each package has."""
    counts = {}
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "package"])
        for package in PACKAGES:
            texts = docstrings(package)
            if texts:
                counts[package] = len(texts)
                writer.writerows((text, package) for text in texts)
    return counts


def baseline(path: Path) -> float:
    """The share of the test rows that TF-IDF and a logistic regression get right."""
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    from tuner.data.dataset import draw_splits
    from tuner.study.spec import DataSpec

    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    texts = np.array([row["text"] for row in rows], object)
    labels, y = np.unique([row["package"] for row in rows], return_inverse=True)
    spec = DataSpec()
    shares = {"test": spec.test, "validation": spec.validation}
    split = draw_splits(y.astype(np.int32), shares, spec.seed, labels.tolist(), str(path))
    learnt = np.concatenate([split["train"], split["validation"]])
    words = TfidfVectorizer(sublinear_tf=True, min_df=2)
    model = LogisticRegression(C=10.0, max_iter=300)
    model.fit(words.fit_transform(texts[learnt]), y[learnt])
    return float(model.score(words.transform(texts[split["test"]]), y[split["test"]]))


def main() -> None:
    parser = argparse.ArgumentParser(description="Docstrings of installed packages as a CSV file.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--baseline", action="store_true", help="score TF-IDF and a regression")
    arguments = parser.parse_args()
    if arguments.baseline:
        print(f"test accuracy of TF-IDF and logistic regression: {baseline(arguments.file):.4f}")
        return
    counts = write(arguments.file)
    print(f"{sum(counts.values())} texts: {', '.join(f'{k} {v}' for k, v in counts.items())}")


if __name__ == "__main__":
    main()

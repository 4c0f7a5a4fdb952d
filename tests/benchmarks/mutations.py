"""Ten small faults, one a package: does the test file that is to catch each catch it?

python tests/benchmarks/mutations.py [PACKAGE ...]: each fault alone in a copy of the checkout; prints a table, and ends
with 1 where one is missed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("augpipe", "flows", "tests", "configs", "pyproject.toml", "prefect.yaml")


@dataclass(frozen=True)
class Mutation:
    """One fault: in `file` the one place that reads `old` reads `new`; `tests` has to fail."""

    file: str
    old: str
    new: str
    tests: str
    what: str


MUTATIONS = (
    Mutation(
        "augpipe/core/seeds.py",
        r'"\x1f".join(',
        '"".join(',
        "tests/core/test_seeds.py",
        "streams of the names a, b and of ab are one",
    ),
    Mutation(
        "augpipe/nn/penalties.py",
        "(norms - 1).square()",
        "norms.square()",
        "tests/nn/test_penalties.py",
        "the gradient penalty asks for gradients of 0",
    ),
    Mutation(
        "augpipe/data/split.py",
        "max(1, round(",
        "max(0, round(",
        "tests/data/test_split.py",
        "a small class may miss in val or test",
    ),
    Mutation(
        "augpipe/generators/fit.py",
        "metric < self.position.best_metric",
        "metric > self.position.best_metric",
        "tests/generators/test_fit.py",
        "a later, worse state is taken for the best",
    ),
    Mutation(
        "augpipe/classifiers/scores.py",
        "confusion.sum(0) - np.diag(confusion)",
        "confusion.sum(1) - np.diag(confusion)",
        "tests/classifiers/test_scores.py",
        "specificity counts missed images in place of false ones",
    ),
    Mutation(
        "augpipe/synthetic/fidelity/distances.py",
        "/ (n * (n - 1))",
        "/ (n * n)",
        "tests/synthetic/test_distances.py",
        "KID is biased",
    ),
    Mutation(
        "augpipe/comparison/explore.py",
        "and estimate.low > 0",
        "and estimate.high > 0",
        "tests/comparison/test_explore.py",
        "an interval that holds 0 counts as better",
    ),
    Mutation(
        "augpipe/pipeline/pruning.py",
        "over is not None and over <= 0",
        "over is not None and over < 0",
        "tests/pipeline/test_pruning.py",
        "a store at its limit loses one more result",
    ),
    Mutation(
        "augpipe/report/collect.py",
        "counts.sum(1, keepdims=True)",
        "counts.sum(0, keepdims=True)",
        "tests/report/test_report.py",
        "confusions are fractions of what was predicted",
    ),
    Mutation(
        "flows/tracking/names.py",
        'unique = plain if plain == name else f"{plain}_{label}"',
        "unique = plain",
        "tests/flows/tracking/test_names.py",
        "two classes that MLflow spells alike share a name",
    ),
)


def caught(mutation: Mutation, place: Path) -> bool:
    """Apply it to a copy of the checkout in `place` and run its tests; ValueError where the code reads otherwise."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, place / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, place / name)
    file = place / mutation.file
    text = file.read_text()
    if text.count(mutation.old) != 1:
        raise ValueError(f"{mutation.file} has {mutation.old!r} {text.count(mutation.old)} times")
    file.write_text(text.replace(mutation.old, mutation.new))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", mutation.tests],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{mutation.tests}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    if done.returncode == 1 and "\nFAILED " not in done.stdout:
        raise RuntimeError(f"{mutation.tests} did not run: {done.stdout[-2000:]}")
    return done.returncode == 1


def main() -> None:
    """See the module's head."""
    asked, missed = sys.argv[1:], 0
    print("| package | fault | test file | caught | seconds |\n| --- | --- | --- | --- | --- |")
    for mutation in MUTATIONS:
        package = mutation.file.split("/")[0 if mutation.file.startswith("flows") else 1]
        if asked and package not in asked:
            continue
        begun = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="augpipe-mutation-") as place:
            found = caught(mutation, Path(place))
        missed += not found
        print(
            f"| {package} | {mutation.what} | {mutation.tests} | {'yes' if found else '**no**'} | "
            f"{time.monotonic() - begun:.0f} |",
            flush=True,
        )
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()

"""Check the language of the code: words of a private vocabulary per 1,000 lines, as identifiers (see CONTRIBUTING.md).

python tests/vocabulary.py [--list]     exit status 1 if a package uses one of WORDS more often than LIMIT per 1,000
lines
"""

from __future__ import annotations

import re
import sys
import tokenize
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WORDS = (
    "told",
    "tell",
    "said",
    "found",
    "own",
    "asked",
    "made",
    "kept",
    "given",
    "begun",
    "grown",
    "eyes",
    "looking",
    "judging",
    "judge",
    "judged",
    "judges",
)
LIMIT = 1.0  # of each word, per 1,000 lines of augpipe/ and flows/


def identifiers(path: Path) -> Counter[str]:
    """How often each word stands in the names of a file, alone or as a part between underscores."""
    words: Counter[str] = Counter()
    with path.open("rb") as stream:
        for token in tokenize.tokenize(stream.readline):
            if token.type == tokenize.NAME:
                words.update(set(re.split(r"_+", token.string.lower())) & set(WORDS))
    return words


def main() -> int:
    """Print the rates; 1 if one is above the limit."""
    files = sorted((*ROOT.glob("augpipe/**/*.py"), *ROOT.glob("flows/**/*.py")))
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files)
    counts = {path: identifiers(path) for path in files}
    total = sum(counts.values(), Counter[str]())
    if "--list" in sys.argv:
        for path, words in sorted(counts.items(), key=lambda one: -sum(one[1].values())):
            if words:
                print(f"{sum(words.values()):4} {path.relative_to(ROOT)} {dict(words)}")
    rates = {word: 1000 * total[word] / lines for word in WORDS}
    print(", ".join(f"{word} {rate:.2f}" for word, rate in rates.items()), "per 1,000 lines")
    return int(any(rate > LIMIT for rate in rates.values()))


if __name__ == "__main__":
    sys.exit(main())

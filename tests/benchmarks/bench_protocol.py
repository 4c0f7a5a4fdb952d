"""A run's arms as a Markdown table beside published rows.

python tests/benchmarks/bench_protocol.py OUT [--published NAME=VALUE ...] [--metric METRIC ...] >
docs/results/protocols/NAME.md

OUT: folder of a finished run (`augpipe run CONFIG --out OUT`). Nothing is computed that the run did not say: means over
its seeds and its own intervals, in percent. --published: macro recall of other people's rows (of one metric, as
NAME=VALUE; of several, NAME=VALUE/VALUE; what they do not give is left empty). --metric: more columns from scores.csv,
METRIC or METRIC/CLASS, mean over seeds with a 95% t-interval over them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

HEAD = ("arm", "macro recall", "over the baseline", "over the strongest without a generator", "verdict")


def told(found: dict[str, Any] | None, signed: bool) -> str:
    """`98.1 (97.9 to 98.4)`, and Holm's p of a gain."""
    if found is None:
        return "–"
    mean, low, high = (100 * found[key] for key in ("mean", "low", "high"))
    if not signed:
        return f"{mean:.2f} ({low:.2f} to {high:.2f})"
    return f"{mean:+.2f} ({low:+.2f} to {high:+.2f}), p {found['p_holm']:.2g}"


def over_seeds(scores: pd.DataFrame, arm: str, metric: str) -> str:
    """`97.9 ± 0.4`: mean and half of the interval."""
    name, _, label = metric.partition("/")
    own = scores[(scores.arm == arm) & (scores.metric == name) & (scores["class"] == label)]
    if own.empty:
        raise SystemExit(f"no {metric!r} in scores.csv; it has {', '.join(sorted(set(scores.metric)))}")
    half = stats.t.ppf(0.975, len(own) - 1) * stats.sem(own.value) if len(own) > 1 else np.nan
    return f"{100 * own.value.mean():.2f}" + (f" ± {100 * half:.2f}" if len(own) > 1 else "")


def table(out: Path, published: dict[str, str], metrics: list[str]) -> str:
    """Markdown: published rows, then the run's arms, then the verdict and what the run was."""
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    scores = pd.read_csv(out / "scores.csv", keep_default_na=False)
    test = scores[scores.split == "test"]
    lines = [
        "| " + " | ".join([*HEAD, *metrics, "share", "seconds"]) + " |",
        "| --- " * (len(HEAD) + len(metrics) + 2) + "|",
    ]
    for name, value in published.items():
        first, *rest = value.split("/")
        cells = [f"published: {name}", first, "", "", "", *rest]
        cells += [""] * (len(HEAD) + len(metrics) - len(cells))
        lines.append("| " + " | ".join([*cells, "", ""]) + " |")
    for name, arm in summary["arms"].items():
        against = arm["gain_over_strongest"]
        verdict = against["verdict"] if against else "the strongest without a generator"
        cells = [
            name,
            told(arm, False),
            told(arm["gain"], True),
            told(against, True),
            verdict,
            *(over_seeds(test, name, metric) for metric in metrics),
            f"{arm['share']:.2f}",
            f"{arm['seconds']:.0f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    versions = ", ".join(f"{k} {v}" for k, v in summary["versions"].items() if k in ("torch", "numpy"))
    return "\n".join(
        [
            *lines,
            "",
            f"Verdict of the run: {summary['verdict']}",
            "",
            f"{len(summary['seeds'])} seeds; intervals at {100 * summary['level']:.0f}%; p by Holm over arms; seconds "
            f"of an arm with those of its generators, which arms share; the run took {summary['seconds']:.0f} s; "
            f"{versions}.",
        ]
    )


def main() -> None:
    """See the module's head."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--published", nargs="*", default=[])
    parser.add_argument("--metric", nargs="*", default=["minority_recall", "geometric_mean"])
    given = parser.parse_args()
    published = dict(row.split("=", 1) for row in given.published)
    print(table(given.out, published, given.metric))


if __name__ == "__main__":
    main()

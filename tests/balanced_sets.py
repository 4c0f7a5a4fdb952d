"""A balanced set before it is published, from results made by hand: no training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from augpipe.core.images import ImageSet, provenance
from augpipe.core.refs import Ref, SplitRefs
from augpipe.core.store import Store
from augpipe.pipeline import experiment as config
from augpipe.pipeline.records import IntakeRecord, Measured, Prepared, Synthetic, Timed, TrainedGenerator
from augpipe.report.balanced_set import Balanced
from augpipe.synthetic import fidelity
from augpipe.synthetic.gates import Outcome

TIME = Timed(began=0, seconds=1)
HELD = (Outcome("memorisation.p > 0.01", True, "0.4"), Outcome("each fid < 9", True, "in | each"))


@pytest.fixture
def balanced(tmp_path: Path, make_shapes) -> Callable[..., Balanced]:
    """A balanced set before it is published: 4 real images a class, class 0 lacks 3 of 5 synthetic ones."""
    store = Store(tmp_path / "store")

    def images(names: tuple[str, ...], counts: tuple[int, ...], channels: int, **more) -> ImageSet:
        found = make_shapes(counts, channels=channels, **more)
        return ImageSet(found.images, found.labels, names, found.table)

    def make(
        names: tuple[str, ...] = ("cat", "dog", "eel"),
        *,
        channels: int = 1,
        made: tuple[int, ...] = (2, 5),
        gates: tuple[Outcome, ...] = HELD,
        override: str | None = None,
    ) -> Balanced:
        counts = made + (0,) * (len(names) - len(made))
        real = images(names, (4,) * len(names), channels)
        drawn = images(names, counts, channels, seed=1)
        n, ids = len(drawn), [f"my_gan/7/{row}" for row in range(len(drawn))]
        table = provenance(
            ids,
            origin="synthetic",
            groups=["img1", *ids[1:]][:n],
            parents=["img1", *[""] * n][:n],
            sources=["my_gan"] * n,
        )
        drawn = ImageSet(drawn.images, drawn.labels, names, table)
        checks = pd.DataFrame({"id": ids, "blank": np.arange(n) / 4, "realism": np.inf})
        funnel = [
            (name, check, seen, passed)
            for name in names
            for check, seen, passed in (("blank", 10, 8), ("realism", 8, 2))
        ]
        figures = [
            ("", "agreement", 0.5, 12, n, ""),
            ("", "kid", float("nan"), 12, n, "needs <5> | images"),
            (names[0], "agreement", 0.25, 4, 2, ""),
        ]
        refs = {split: store.put_images(real) for split in ("train", "val", "test")}
        experiment = config.build(
            {
                "name": "by_hand",
                "source": {"kind": "bundled"},
                "generators": {"my_gan": {"kind": "acgan"}},
                "arms": [{"name": "real"}, {"name": "filled_up", "generator": "my_gan"}],
                "baseline": "real",
            }
        )
        empty = store.put_table("empty", pd.DataFrame({"x": [1]}))
        prepared = Prepared(
            data=refs["train"],
            splits=SplitRefs(**refs),
            classes=names,
            size=16,
            channels=channels,
            counts={},
            fingerprint="f" * 16,
            quarantine=empty,
            time=TIME,
            intake=IntakeRecord(
                fingerprint="0" * 16,
                images=12,
                quarantined=0,
                removed=0,
                ignored={},
                split="random",
                groups=None,
                notes=(),
            ),
        )
        generator = TrainedGenerator(
            name="my_gan",
            kind="acgan",
            seed=7,
            checkpoint=Ref(path=tmp_path / "g.pt", sha256="c0ffee" * 10),
            history=empty,
            previews=(),
            samples=refs["train"],
            learned=refs["train"],
            best_kimg=1.5,
            best_metric=0.1,
            stopped="the budget is spent",
            time=TIME,
        )
        return Balanced(
            experiment,
            experiment.arms[1],
            prepared,
            generator,
            Synthetic(
                images=store.put_images(drawn),
                checks=store.put_table("checks", checks),
                short={0: 3},
                funnel=store.put_table("funnels", pd.DataFrame(funnel, columns=["class", "check", "seen", "passed"])),
                time=TIME,
            ),
            Measured(
                table=store.put_table("fidelity", pd.DataFrame(figures, columns=list(fidelity.COLUMNS))),
                gallery=refs["val"],
                time=TIME,
            ),
            gates,
            override,
        )

    return make

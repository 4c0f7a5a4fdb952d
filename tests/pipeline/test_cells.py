"""A fill by class and attribute: what is drawn of each cell, from which train images, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import noise

from augpipe.core.errors import UserError
from augpipe.core.store import load_images, load_state, load_table
from augpipe.data import leaks
from augpipe.pipeline.cache import Stage
from augpipe.pipeline.context import Context
from augpipe.pipeline.experiment import Experiment, build
from augpipe.pipeline.graph import call_generator, call_reference, call_synthetic
from augpipe.pipeline.records import TrainingSpec
from augpipe.pipeline.runs import GeneratorRun, Runs
from augpipe.pipeline.stages.measure import measure
from augpipe.pipeline.stages.prepare import prepare
from augpipe.synthetic.embeddings import Embedded
from augpipe.synthetic.fidelity.base import Compared
from augpipe.synthetic.fidelity.from_classifiers import agreement

# Images of train: class, scanner, number. Scanner C has no image of a dog, and one image has no scanner.
TRAIN = [("cat", "A", 12), ("cat", "B", 3), ("cat", "C", 5), ("dog", "A", 2), ("dog", "B", 8), ("dog", "", 1)]
HELD_OUT = [(c, s, 2) for c in ("cat", "dog") for s in ("A", "B", "C")]
FILL = {"by": ["class", "scanner"]}


def save(path: Path, train: list[tuple[str, str, int]] = TRAIN) -> None:
    rows = [(c, s, "train") for c, s, n in train for _ in range(n)]
    rows += [(c, s, split) for split in ("val", "test") for c, s, n in HELD_OUT for _ in range(n)]
    # The brightness of an image is that of its scanner, by which it can be told which one a synthetic image shows.
    images = np.stack([noise(i, 16, 16) // 4 + 60 * "ABC".find(s or "A") for i, (_, s, _) in enumerate(rows)])
    np.savez(
        path,
        images=images.astype(np.uint8),
        labels=np.array([c for c, _, _ in rows]),
        scanner=np.array([s for _, s, _ in rows]),
        split=np.array([split for _, _, split in rows]),
    )


def experiment(path: Path, **arms: Any) -> Experiment:
    values = {
        "name": "x",
        "source": {"kind": "arrays", "path": str(path), "attributes": ["scanner"]},
        "image": {"size": 16, "channels": 1},
        "classifier": {"width": 0.25, "steps": 3, "batch": 8, "evaluations": 1},
        "fidelity": {"images": 4, "gan_train": False},
        "generators": {
            "smote": {"kind": "smote"},
            "cgan": {"kind": "cgan", "kimg": 0.1, "ticks": 1, "batch": 20, "width": 0.06, "latent": 8},
        },
        "arms": [{"name": "real"}, *({"name": name, **arm} for name, arm in arms.items())],
        "baseline": "real",
        "seeds": 1,
    }
    return build(values)


def test_every_cell_is_filled_up_to_the_largest_and_its_images_are_of_its_scanner(tmp_path: Path) -> None:
    save(tmp_path / "a.npz")
    by = experiment(
        tmp_path / "a.npz",
        smote={"generator": "smote", "mix": {"fill": FILL}},
        cgan={"generator": "cgan", "mix": {"fill": FILL, "share": {"dog": 0.5}, "curated": False}},
    )
    context = Context(root=tmp_path / "store", device="cpu", threads=1)
    prepared = prepare(context, by)
    assert any("adds no images of dog + scanner C: train has none" in note for note in prepared.intake.notes)
    runs = Runs({0: prepared})

    def call(stage: Stage, *inputs: Any, title: str, total: float | None = None) -> Any:
        return stage(context, *inputs)

    reference = call_reference(runs, by, 0, call)
    made = {}
    for arm in by.arms[1:]:
        call_generator(runs, by, TrainingSpec(name=str(arm.generator), seed=0), call)
        _, synthetic = call_synthetic(runs, by, arm, 0, call, {})
        made[arm.name] = load_images(synthetic.images)
        assert made[arm.name].classes == ("cat", "dog") and synthetic.short == {}
    # SMOTE derives its images: the parents' scanners are those of the cells.
    assert prepared.attributes is not None
    table = load_table(prepared.attributes).set_index("id")["attribute scanner"]
    smote = made["smote"]
    drawn = list(zip(smote.labels.tolist(), table.loc[smote.table["parent"]], strict=True))
    assert {cell: drawn.count(cell) for cell in drawn} == {(0, "B"): 9, (0, "C"): 7, (1, "A"): 10, (1, "B"): 4}
    brightness = smote.images.mean((1, 2, 3)) // 60
    assert brightness.tolist() == [float("ABC".index(scanner)) for _, scanner in drawn], "both parents are of the cell"
    # A class whose share is 0 gets none.
    assert made["cgan"].counts() == {0: 0, 1: 14}
    _check_cell_generator(runs, runs.generators["cgan", 0])
    measured = measure(
        context,
        prepared.by(("scanner",)),
        reference.reference,
        runs.generators["cgan", 0].trained,
        by.fidelity,
        by.classifier,
    )
    names = set(load_table(measured.table)["class"])
    assert {"cat + scanner A", "dog + scanner B"} <= names and "cat" not in names


def test_agreement_is_about_the_class_of_a_cell() -> None:
    """Of cells 0, 1, 2, 3 of classes 0, 0, 1, 1, whose images are taken for the classes 0, 1, 1, 1."""
    probabilities = np.eye(2, dtype=np.float32)[[0, 1, 1, 1]]
    images = np.zeros((4, 1, 16, 16), np.uint8)
    of = Embedded(np.zeros((4, 3), np.float32), probabilities, np.arange(4), images, class_of=(0, 0, 1, 1))
    assert agreement(Compared(of, of)) == 0.75
    assert agreement(Compared(of, of.join(of).take(np.array([0, 5, 1])))) == pytest.approx(1 / 3)
    assert [agreement(Compared(of, of).of(cell)) for cell in range(4)] == [1, 0, 1, 1]


def _check_cell_generator(runs: Runs, run: GeneratorRun) -> None:
    """It is trained on the cells, of train images alone."""
    checkpoint = load_state(run.trained.checkpoint)
    cells = [*(f"cat + scanner {s}" for s in "ABC"), *(f"dog + scanner {s}" for s in "?AB")]
    assert checkpoint["classes"] == [*cells, "dog + scanner C"]
    assert run.trained.class_of == (0, 0, 0, 1, 1, 1, 1)
    learned = load_images(run.trained.learned)
    assert learned.counts() == {0: 12, 1: 3, 2: 5, 3: 1, 4: 2, 5: 8, 6: 0}
    prepared = runs.prepared[0]
    assert learned.table["id"].tolist() == load_images(prepared.splits.train).table["id"].tolist()
    with pytest.raises(leaks.LeakError):
        run.prepared.refuse_leaks(load_images(run.prepared.splits.test), "a generator of cells")


def test_what_cannot_be_filled_by_attributes(tmp_path: Path) -> None:
    save(tmp_path / "a.npz")
    path = tmp_path / "a.npz"
    with pytest.raises(UserError, match=r"unknown attribute 'sex'; choose from scanner"):
        experiment(path, smote={"generator": "smote", "mix": {"fill": {"by": ["class", "sex"]}}})
    with pytest.raises(UserError, match=r"names class and attributes, such as .*; got \['scanner'\]"):
        experiment(path, smote={"generator": "smote", "mix": {"fill": {"by": ["scanner"]}}})
    with pytest.raises(UserError, match=r"'smote' cannot serve arms 'a' \(class x scanner\) and 'b' \(class\)"):
        experiment(path, a={"generator": "smote", "mix": {"fill": FILL}}, b={"generator": "smote"})
    save(path, [(c, s, 3) for c in ("cat", "dog") for s in ("A", "B")])
    even = experiment(path, smote={"generator": "smote", "mix": {"fill": FILL}})
    with pytest.raises(UserError, match=r"'smote' draws no images: every combination of class and scanner has 3"):
        prepare(Context(root=tmp_path / "store", device="cpu", threads=1), even)

"""A second test set: which images it has, what it leaves unchanged, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pictures import noise

from augpipe.core.errors import UserError
from augpipe.core.store import load_images, load_table
from augpipe.data import sources
from augpipe.pipeline.cache import Stage, content
from augpipe.pipeline.compare import train_and_score
from augpipe.pipeline.context import Context
from augpipe.pipeline.experiment import Experiment, build, dump
from augpipe.pipeline.planning import for_config
from augpipe.pipeline.stages.prepare import prepare
from augpipe.pipeline.stages.score import score
from flows.inspection import inspect_source


def save(path: Path, seeds: range, classes: tuple[str, ...] = ("cat", "dog"), **columns: Any) -> Path:
    """An image of noise for each seed, of the classes in turn."""
    images = np.stack([noise(seed, 16, 16) for seed in seeds])
    labels = np.array([classes[seed % len(classes)] for seed in seeds])
    np.savez(path, images=images, labels=labels, **columns)
    return path


def experiment(path: Path, shift: Path | None = None, **more: Any) -> Experiment:
    source: dict[str, Any] = {"kind": "arrays", "path": str(path)}
    if shift is not None:
        source["shift"] = {"kind": "arrays", "path": str(shift)}
    values = {
        "name": "x",
        "source": source,
        "split": {"val": 0.25, "test": 0.25},
        "image": {"size": 16, "channels": 1},
        "classifier": {"width": 0.25, "steps": 3, "batch": 8, "evaluations": 1},
        "arms": [{"name": "a"}],
        "baseline": "a",
        "seeds": 1,
        "confirm": "off",
    }
    return build({**values, **more})


def test_it_is_scored_beside_test_and_changes_nothing_else(tmp_path: Path) -> None:
    first = save(tmp_path / "a.npz", range(24))
    # Four of its images are also images of the source; its own split and class order do not matter.
    split = np.array(["train", "test"] * 7)
    second = save(tmp_path / "b.npz", range(20, 34), patient=np.arange(14), split=split)
    context = Context(root=tmp_path / "store", device="cpu", threads=1)
    with_shift, without = experiment(first, second), experiment(first)
    prepared, plain = prepare(context, with_shift), prepare(context, without)
    assert prepared.shift is not None and plain.shift is None
    shift = load_images(prepared.shift)
    assert [shift.classes[label] for label in shift.labels] == [("cat", "dog")[seed % 2] for seed in range(24, 34)]
    assert (shift.images[:, 0] == np.stack([noise(seed, 16, 16) for seed in range(24, 34)])).all()
    assert shift.table["id"].tolist() == [f"shift/images/{at:06d}" for at in range(4, 14)]
    removed = load_table(prepared.quarantine)
    assert len(removed) == 4 and removed["reason"].str.fullmatch(r"removed from shift: equal to images/00002\d").all()
    assert any("4 images removed from shift: also in the source" in note for note in prepared.intake.notes)
    # No training depends on it, and it counts in what `augpipe refresh` watches.
    assert content(prepared) == content(plain) and prepared.intake.fingerprint != plain.intake.fingerprint
    assert "shift" not in dump(without) and build(without.model_dump(mode="json")) == without
    assert build(with_shift.model_dump(mode="json")) == with_shift

    def call(stage: Stage, *inputs: Any, title: str, total: float | None = None) -> Any:
        return stage(context, *inputs)

    run = train_and_score(with_shift, {0: prepared}, call).arms["a", 0]
    assert run.scored is not None and run.classifier is not None and run.recipe is not None
    table = load_table(run.scored.table)
    assert set(table.split) == {"val", "test", "shift"}
    alone = load_table(score(context, plain, run.classifier, run.recipe).table)
    assert table[table.split != "shift"].reset_index(drop=True).equals(alone.reset_index(drop=True))


def test_what_cannot_be_a_second_test_set(tmp_path: Path) -> None:
    first = save(tmp_path / "a.npz", range(24))
    context = Context(root=tmp_path / "store", device="cpu", threads=1)
    other = save(tmp_path / "b.npz", range(30, 39), ("cat", "dog", "cow"))
    with pytest.raises(UserError, match=r"source\.shift has classes that the source lacks, cow; it needs the classes"):
        prepare(context, experiment(first, other))
    assert prepare(context, experiment(first, other, min_images=2)).shift, "as the source's own small classes"
    with pytest.raises(UserError, match=r"source\.shift has no image of dog; it needs"):
        prepare(context, experiment(first, save(tmp_path / "c.npz", range(30, 39), ("cat",))))
    with pytest.raises(UserError, match=r"class 'dog' has no image left in source\.shift after copies"):
        prepare(context, experiment(first, save(tmp_path / "d.npz", range(23, 25))))
    kept = prepare(context, experiment(first, tmp_path / "d.npz", duplicates="keep"))
    assert kept.shift and len(load_images(kept.shift)) == 2
    with pytest.raises(UserError, match="set resplit: false"):
        prepare(context, experiment(first, other, resplit=True))
    nested = {"kind": "arrays", "path": "x.npz", "shift": {"kind": "arrays", "path": "y.npz"}}
    with pytest.raises(UserError, match=r"source.*: shift\.shift has no effect: remove it"):
        build({**experiment(first).model_dump(mode="json"), "source": {**nested, "shift": nested}})


def inspected(tmp_path: Path, first: Path, second: Path, *more: str) -> dict[str, Any]:
    """What `augpipe inspect` writes."""
    values = experiment(first, second).model_dump(mode="json")
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(values))
    inspection, folder = inspect_source(tmp_path / "x.yaml", more, tmp_path / "out")
    assert json.loads((folder / "inspect.json").read_text()) == json.loads(json.dumps(inspection.facts()))
    return inspection.facts()


def test_inspect_says_what_a_run_says_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts after copies are removed, the notes, and what stops a run, by the functions of a run."""
    monkeypatch.setenv("AUGPIPE_HOME", str(tmp_path / "home"))
    first, second = save(tmp_path / "a.npz", range(24)), save(tmp_path / "b.npz", range(20, 34))
    facts = inspected(tmp_path, first, second)
    assert {row["name"]: row["shift"] for row in facts["classes"]} == {"cat": 5, "dog": 5}
    page = (tmp_path / "out" / "inspect.html").read_text()
    assert "<th>shift</th>" in page
    prepared = prepare(Context(root=tmp_path / "store", device="cpu", threads=1), experiment(first, second))
    of_run = [note for note in prepared.intake.notes if "shift" in note]
    assert of_run and set(of_run) <= {problem["text"] for problem in facts["problems"]}
    assert not any(problem["severity"] == "stop" for problem in facts["problems"])
    for seeds, classes in ((range(40, 52), ("cat", "cow")), (range(2), ("cat", "dog"))):
        with pytest.raises(UserError) as caught:
            prepare(
                Context(root=tmp_path / "store", device="cpu", threads=1),
                experiment(first, save(tmp_path / "c.npz", seeds, classes)),
            )
        stops = [
            p["text"] for p in inspected(tmp_path, first, tmp_path / "c.npz")["problems"] if p["severity"] == "stop"
        ]
        assert stops == [str(caught.value)]


def test_the_plan_counts_it(tmp_path: Path) -> None:
    values = {"confirm": {"generators": 3, "classifiers": 1}}
    first, second = save(tmp_path / "a.npz", range(24)), save(tmp_path / "b.npz", range(100, 900))
    with_shift, without = (for_config(experiment(first, one, **values)) for one in (second, None))
    assert "second test set: 800 pictures" in with_shift.data and len(with_shift.data) == len(without.data) + 1
    assert with_shift.estimate.disk - without.estimate.disk == 800 * 16 * 16
    rows, before = ({row.stage: row for row in plan.estimate.rows} for plan in (with_shift, without))
    assert rows.keys() == before.keys() and all(rows[stage].tasks == before[stage].tasks for stage in rows)


def test_its_paths_are_those_of_a_source(tmp_path: Path) -> None:
    config = experiment(tmp_path / "a.npz", tmp_path / "folder" / "b.npz").source
    mapped = sources.map_paths(config.model_dump(mode="json"), lambda path: f"{path}!")
    assert mapped["path"].endswith("a.npz!") and mapped["shift"]["path"].endswith("b.npz!")
    folders = {"kind": "folder", "path": str(tmp_path / "x")}
    both = experiment(tmp_path / "a.npz").model_dump(mode="json")
    placed = build({**both, "source": {**folders, "shift": {**folders, "path": str(tmp_path / "y")}}})
    assert sources.places(placed.source) == (tmp_path / "x", tmp_path / "y")

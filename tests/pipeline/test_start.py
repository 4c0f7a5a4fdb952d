"""Generators that start on another set (`generators.NAME.start`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from augpipe.core.errors import UserError
from augpipe.core.seeds import torch_stream
from augpipe.core.store import load_images, load_state
from augpipe.generators import families
from augpipe.generators.protocol import Deriving
from augpipe.pipeline.context import Context
from augpipe.pipeline.experiment import Experiment, load
from augpipe.pipeline.generator_warnings import generator_warnings
from augpipe.pipeline.graph import call_generator, call_reference, local
from augpipe.pipeline.records import TrainingSpec
from augpipe.pipeline.runs import Runs
from augpipe.pipeline.stages.prepare import prepare

CONFIG = """
name: start
source: {kind: arrays, path: set.npz}
image: {size: 16, channels: 1}
split: {val: 0.25, test: 0.25}
classifier: {width: 0.1, steps: 3, batch: 8, evaluations: 1}
generators:
  moved: {kind: deform, width: 2, pairs: 8, batch: 8, kimg: 0, start: {source: {kind: arrays, path: other.npz}, kimg: 0.05}}
  gan: {kind: cgan, start: {source: {kind: arrays, path: other.npz}}}
arms:
  - {name: real}
  - {name: moved, generator: moved, mix: {share: 0.2}}
  - {name: gan, generator: gan, mix: {share: 0.2}}
baseline: real
confirm: off
seeds: 1
"""


def pictures(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 16, 16), dtype=np.uint8)


def experiment_in(folder: Path, other: np.ndarray, labels: np.ndarray) -> tuple[Experiment, Context]:
    np.savez(folder / "set.npz", images=pictures(40, 0), labels=np.arange(40) % 2)
    np.savez(folder / "other.npz", images=other, labels=labels)
    (folder / "start.yaml").write_text(CONFIG)
    return load(folder / "start.yaml"), Context(root=folder / "store", device="cpu", precision="32-true", threads=1)


def test_a_generator_is_trained_on_another_set_without_copies_of_val_and_test(tmp_path) -> None:
    ours, other = pictures(40, 0), pictures(30, 1)
    copies = ours.copy()
    copies[:20] = np.clip(copies[:20].astype(int) + 1, 0, 255)  # every image of the set, some of them not quite equal
    experiment, context = experiment_in(tmp_path, np.concatenate([other, copies]), np.arange(70) % 5)
    prepared = prepare(context, experiment)
    held_out = len(load_images(prepared.splits.val)) + len(load_images(prepared.splits.test))
    assert len(load_images(prepared.starts["moved"])) == 70 - held_out == 50
    assert "moved starts on another set: 50 images of 5 classes" in prepared.intake.notes
    assert experiment.knowledge() == {"real": "closed set", "moved": "other set", "gan": "other set"}
    (line,) = generator_warnings(experiment, prepared)
    assert line.startswith("generator 'moved': deform learns from 3 of 5 classes")

    runs = Runs({0: prepared})
    call_reference(runs, experiment, 0, local(context))
    run = call_generator(runs, experiment, TrainingSpec(name="moved", seed=0), local(context))
    assert run.pooled is not None and run.pooled.class_model == "other set" and run.pooled.best_kimg > 0
    generator, problem = families.unpack(load_state(run.trained.checkpoint), context.runtime(), context.store.images)
    assert problem.classes == ("0", "1") and isinstance(generator, Deriving)
    labels, train = torch.tensor([1, 0, 1]), load_images(prepared.splits.train)
    assert train.labels[generator.derive(labels, torch_stream(0, "x")).parents.numpy()].tolist() == [1, 0, 1]
    before, after = (load_state(one.checkpoint)["state"]["ema"] for one in (run.pooled, run.trained))
    assert all(torch.equal(value, before[name]) for name, value in after.items())  # kimg: 0


def test_another_set_of_copies_alone_is_refused(tmp_path) -> None:
    experiment, context = experiment_in(tmp_path, pictures(40, 0), np.arange(40) % 2)
    held_out = load_images(prepare(context, experiment).splits.test)
    experiment, context = experiment_in(tmp_path, held_out.images[:, 0], np.arange(len(held_out)) % 2)
    with pytest.raises(UserError, match=r"generators\.gan\.start\.source: all its images are copies of images of val"):
        prepare(context, experiment)

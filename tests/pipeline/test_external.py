"""Images that were made elsewhere (`kind: images`), where the right answer is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from jobs import Work
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from augpipe.core.errors import UserError
from augpipe.core.images import SYNTHETIC
from augpipe.core.refs import Ref
from augpipe.core.seeds import torch_stream
from augpipe.core.store import load_images, load_state, load_table
from augpipe.generators import families
from augpipe.generators.protocol import Finite
from augpipe.pipeline.context import Context
from augpipe.pipeline.experiment import load
from augpipe.pipeline.records import Prepared, TrainedGenerator, TrainingSpec
from augpipe.synthetic.draw import labels_of

NAMES = ("three", "five", "eight")
CONFIG = """
name: external
source: {kind: arrays, path: real.npz, names: [three, five, eight]}
image: {size: 16, channels: 1}
split: {val: 0.25, test: 0.25}
classifier: {width: 0.5, steps: 120, batch: 32, evaluations: 4}
fidelity: {images: 40, gan_train: false}
arms:
  - {name: real}
baseline: real
confirm: off
seeds: 1
"""
Pixels, Labels = NDArray[np.uint8], NDArray[np.int64]


@dataclass(frozen=True)
class Sets:
    """Digits of three classes: `real` is the experiment's, `further` were never in it."""

    real: tuple[Pixels, Labels]
    further: tuple[Pixels, Labels]


def digits() -> Sets:
    data = load_digits()
    label = np.full(10, -1)
    label[[3, 5, 8]] = range(3)
    images = np.kron((255 / 16 * data.images).astype(np.uint8), np.ones((1, 2, 2), np.uint8))
    labels = label[data.target].astype(np.int64)
    rows = [np.flatnonzero(labels == c) for c in range(3)]
    real, further = np.concatenate([r[:120] for r in rows]), np.concatenate([r[120:165] for r in rows])
    return Sets((images[real], labels[real]), (images[further], labels[further]))


def save(folder: Path, name: str, images: Pixels, labels: Labels) -> None:
    np.savez(folder / f"{name}.npz", images=images, labels=labels)


def work_with(folder: Path, *names: str, rare: str = "{profile: natural}", shift: str = "null") -> Work:
    """The experiment in a folder, with a generator and an arm for each of the files `names`.

    rare: its imbalance. shift: its second test set.
    """
    (folder / "external.yaml").write_text(CONFIG)
    generators = [
        f"generators.{name}={{kind: images, source: {{kind: arrays, path: {folder}/{name}.npz, names: {list(NAMES)}}}}}"
        for name in names
    ]
    arms = [f"{{name: {name}, generator: {name}, mix: {{fill: 30, share: 0.3}}}}" for name in names]
    experiment = load(
        folder / "external.yaml",
        [*generators, f"imbalance={rare}", f"source.shift={shift}", f"arms=[{', '.join(['{name: real}', *arms])}]"],
    )
    context = Context(root=folder / "store", device="cpu", precision="32-true", threads=1)
    return Work(experiment, context)


@dataclass(frozen=True)
class Ready:
    work: Work
    prepared: Prepared
    reference: Ref
    trained: Mapping[str, TrainedGenerator]

    def images(self, name: str, n: int, *, curated: bool):
        made = self.work.synthetic(
            self.prepared, self.reference, self.trained[name], dict.fromkeys(range(3), n), curated
        )
        return load_images(made.images), made

    def figures(self, name: str) -> dict[str, float]:
        table = load_table(self.work.measured(self.prepared, self.reference, self.trained[name]).table)
        return dict(zip(table.metric[table["class"] == ""], table.value[table["class"] == ""], strict=True))


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Ready:
    folder, sets = tmp_path_factory.mktemp("external"), digits()
    save(folder, "real", *sets.real)
    first = work_with(folder).prepare()
    train = load_images(first.splits.train)
    rng = np.random.default_rng(0)
    save(folder, "further", *sets.further)
    save(folder, "swapped", sets.further[0], (sets.further[1] + 1) % 3)
    save(folder, "noise", rng.integers(0, 256, (90, 16, 16), dtype=np.uint8), np.arange(90) % 3)
    copied = np.clip(train.images[:, 0].astype(int) + rng.integers(-3, 4, train.images[:, 0].shape), 0, 255)
    save(folder, "copied", copied.astype(np.uint8), np.array(train.labels))
    names = ("further", "swapped", "noise", "copied")
    work = work_with(folder, *names)
    prepared = work.prepare()
    assert prepared.splits == first.splits and prepared.intake.fingerprint != first.intake.fingerprint
    reference = work.reference(prepared)
    specs = {name: TrainingSpec(name=name, seed=0, images=prepared.external[name]) for name in names}
    trained = {name: work.generator(prepared, reference, spec) for name, spec in specs.items()}
    return Ready(work, prepared, reference, trained)


def test_images_are_drawn_once_without_parents_and_from_a_checkpoint_without_paths(ready: Ready) -> None:
    images, made = ready.images("further", 50, curated=False)
    assert images.counts() == {0: 45, 1: 45, 2: 45} and made.short == dict.fromkeys(range(3), 5)
    assert len(np.unique(images.digests, axis=0)) == len(images)
    assert set(images.table.origin) == {SYNTHETIC} and set(images.table.parent) == {""}
    few, _ = ready.images("further", 10, curated=False)
    assert few.counts() == dict.fromkeys(range(3), 10)
    state = load_state(ready.trained["further"].checkpoint)
    assert state["config"]["source"] is None
    model, _ = families.unpack(state, ready.work.runtime, ready.work.store.images)
    assert isinstance(model, Finite) and model.available == dict.fromkeys(range(3), 45)
    assert labels_of({0: 1, 2: 1}, 64, model).bincount().tolist() == [45, 0, 45]
    once = model.without_replacement(torch_stream(0, "x"))
    parts = [once.sample(torch.tensor([1] * 20), torch_stream(0, "x")) for _ in range(2)]
    assert len(np.unique(torch.cat(parts).numpy(), axis=0)) == 40
    with pytest.raises(UserError, match="class 'five' has 45 images, each of which is drawn once; 60 were requested"):
        once.sample(torch.tensor([1] * 20), torch_stream(0, "x"))


def test_more_real_images_pass_the_checks(ready: Ready) -> None:
    images, _ = ready.images("further", 30, curated=True)
    assert len(images) >= 60  # most; real images of val would fail as often
    assert ready.figures("further")["memorisation.p"] > 0.05


def test_more_real_images_of_a_rare_class_help(tmp_path: Path) -> None:
    sets = digits()
    save(tmp_path, "real", *sets.real)
    save(tmp_path, "further", *sets.further)
    work = work_with(tmp_path, "further", rare="{profile: step, classes: [eight], keep: 0.05}")
    prepared = work.prepare()
    assert prepared.counts["train"] == {0: 60, 1: 60, 2: 3}
    reference = work.reference(prepared)
    trained = work.generator(
        prepared, reference, TrainingSpec(name="further", seed=0, images=prepared.external["further"])
    )
    made = work.synthetic(prepared, reference, trained, {2: 40}, False)
    recall = {}
    for name, synthetic in (("real", None), ("further", made)):
        recipe = work.recipe(prepared, work.arm(name), synthetic)
        table = load_table(work.score(prepared, work.classifier(prepared, recipe, name), recipe).table)
        rows = (table.split == "test") & (table.metric == "recall") & (table["class"] == "eight")
        recall[name] = float(table.value[rows].iloc[0])
    assert recall["further"] > recall["real"] + 0.1


def test_copies_of_train_are_memorised_and_rejected(ready: Ready) -> None:
    assert ready.figures("copied")["memorisation.p"] < 0.01
    assert len(ready.images("copied", 20, curated=True)[0]) == 0


def test_noise_and_swapped_labels_are_rejected(ready: Ready) -> None:
    counts = ready.images("noise", 20, curated=True)[0].counts()
    # A classifier of three classes calls noise by one of them, and some lies among that class's features.
    assert sorted(counts.values())[:2] == [0, 0] and max(counts.values()) < 20
    images, made = ready.images("swapped", 20, curated=True)
    funnel = load_table(made.funnel).groupby("check")[["seen", "passed"]].sum()
    assert len(images) < 5 and funnel.passed["agreement"] < 0.1 * funnel.seen["agreement"]


def test_a_note_says_whether_images_lie_nearer_to_test_than_to_train(ready: Ready, tmp_path: Path) -> None:
    notes = [note for note in ready.prepared.intake.notes if "nearer" in note]
    assert len(notes) == 4 and all("no nearer to val and test than to train" in note for note in notes)
    splits = ready.prepared.splits
    held_out = [load_images(ref) for ref in (splits.val, splits.test)]
    pixels = np.concatenate([images.images[:, 0] for images in held_out]).astype(int)
    blurred = (
        pixels + np.roll(pixels, 1, 1) + np.roll(pixels, 2, 2) + np.random.default_rng(1).integers(0, 90, pixels.shape)
    ) // 4
    save(tmp_path, "real", *digits().real)
    save(tmp_path, "seen", blurred.clip(0, 255).astype(np.uint8), np.concatenate([i.labels for i in held_out]))
    notes = [note for note in work_with(tmp_path, "seen").prepare().intake.notes if "nearer" in note]
    assert len(notes) == 1 and "seen: its images lie nearer to val and test than to train" in notes[0]


@pytest.mark.parametrize("change", ["none", "brighter", "shifted"])
def test_copies_of_test_stop_the_run(ready: Ready, tmp_path: Path, change: str) -> None:
    test = load_images(ready.prepared.splits.test)
    pixels = np.array(test.images[:30, 0])
    if change == "brighter":
        pixels = np.clip(pixels.astype(int) * 0.9 + 12, 0, 255).astype(np.uint8)
    if change == "shifted":
        pixels = np.pad(pixels, ((0, 0), (1, 0), (0, 0)))[:, :-1]
    sets = digits()
    save(tmp_path, "real", *sets.real)
    save(
        tmp_path, "leak", np.concatenate([pixels, sets.further[0]]), np.concatenate([test.labels[:30], sets.further[1]])
    )
    words = f"{'' if change == 'none' else 'nearly '}equal to one of val or test"
    with pytest.raises(UserError, match=f"of generators.leak.source {words}, such as 'generators.leak/"):
        work_with(tmp_path, "leak").prepare()


@pytest.mark.parametrize("change", ["equal", "nearly equal"])
def test_copies_of_the_second_test_set_stop_the_run(tmp_path: Path, change: str) -> None:
    sets = digits()
    save(tmp_path, "real", *sets.real)
    save(tmp_path, "second", *sets.further)
    pixels = sets.further[0] if change == "equal" else (sets.further[0] * 0.9 + 12).astype(np.uint8)
    save(tmp_path, "leak", pixels, sets.further[1])
    second = f"{{kind: arrays, path: {tmp_path}/second.npz, names: {list(NAMES)}}}"
    with pytest.raises(UserError, match=rf"leak\.source {change} to one of val or test, such as '.*' to 'shift/"):
        work_with(tmp_path, "leak", shift=second).prepare()

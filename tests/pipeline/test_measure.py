"""Judging stages by hand, without an orchestrator, on tiny data."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from jobs import Work, make_work
from pictures import source

from augpipe.core.errors import UserError
from augpipe.core.images import ImageSet
from augpipe.core.refs import Ref
from augpipe.core.seeds import torch_stream
from augpipe.core.store import load_images, load_state, load_table
from augpipe.data.sources import listing, suggest
from augpipe.generators import families
from augpipe.pipeline.arm import Arm
from augpipe.pipeline.records import Prepared, Synthetic, TrainedGenerator
from augpipe.pipeline.stages.embed import feature_extractor
from augpipe.pipeline.stages.measure import SUSPICIOUS
from augpipe.pipeline.stages.synthesize import FUNNEL, pool
from augpipe.report.balanced_set import Balanced, publish
from augpipe.synthetic import curation, fidelity, gates, views
from augpipe.synthetic import draw as synthesis
from augpipe.synthetic.curation import Reference
from augpipe.synthetic.embeddings import Embedded
from augpipe.synthetic.options import GAN_TRAIN

FEW = (
    "fidelity.images=12",
    "imbalance.keep=0.2",
    "curation.rounds=3",
    f"curation.checks=[{', '.join(curation.checks)}]",
)


class Ready(NamedTuple):
    """Everything up to where generators are judged."""

    work: Work
    prepared: Prepared
    classifier: Ref
    acgan: TrainedGenerator
    smote: TrainedGenerator

    def synthesise(self, counts: dict[int, int], *, of: str = "smote", curated: bool) -> Synthetic:
        generator = getattr(self, of)
        return self.work.synthetic(self.prepared, self.classifier, generator, counts, curated)

    def look(self, images: Ref) -> Embedded:
        features = self.work.experiment.fidelity.features
        extractor = feature_extractor(self.classifier, features, self.work.runtime, None)
        return extractor.embed(load_images(images))

    def reference(self) -> Reference:
        splits = self.prepared.splits
        reject = self.work.experiment.curation.reject
        return Reference(self.look(splits.train), self.look(splits.val), reject)


def quick(ready: Ready) -> Work:
    """Without the one figure that trains a classifier."""
    return make_work(ready.work.store.root.parent, *FEW, "fidelity.gan_train=false")


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Ready:
    work = make_work(tmp_path_factory.mktemp("judging"), *FEW)
    prepared = work.prepare()
    reference = work.reference(prepared)
    acgan, smote = (work.generator(prepared, reference, name) for name in ("acgan", "smote"))
    return Ready(work, prepared, reference, acgan, smote)


def test_every_figure_is_given_overall_and_of_each_class(ready: Ready) -> None:
    found = ready.work.measured(ready.prepared, ready.classifier, ready.acgan)
    table = load_table(found.table)
    assert list(table.columns) == list(fidelity.COLUMNS)
    wanted = {*fidelity.names(), GAN_TRAIN}
    names = ["", *ready.prepared.classes]
    assert {name: set(own.metric) for name, own in table.groupby("class")} == dict.fromkeys(names, wanted)
    assert len(table) == len(names) * len(wanted), "each once"
    # Twelve images of each class are drawn, and compared with val; what has no value has a word.
    val = ready.prepared.counts["val"]
    for label, name in enumerate(ready.prepared.classes):
        own = table[table["class"] == name]
        assert set(own.n_real) == {val[label]} and set(own.n_synthetic) == {12}
    whole = table[table["class"] == ""]
    assert set(whole.n_real) == {sum(val.values())} and set(whole.n_synthetic) == {120}
    assert (table[table.value.isna()].note != "").all()
    assert table[table.metric == "gan_train"].value.between(0, 1).all()
    assert found.time.seconds > 0


def test_gan_train_is_what_a_classifier_of_synthetic_images_alone_finds(ready: Ready) -> None:
    longer = make_work(ready.work.store.root.parent, *FEW, "classifier.steps=50")
    made = load_images(ready.synthesise(dict.fromkeys(range(10), 40), curated=False).images)
    shifted = ImageSet(made.images, (made.labels + 1) % 10, made.classes, made.table)
    found = []
    for images in (made, shifted):
        told = longer.measured_set(ready.prepared, ready.classifier, images)
        table = load_table(told.table)
        own = table[table.metric == "gan_train"].set_index("class").value
        assert own[""] == pytest.approx(own.drop("").mean())
        found.append(own[""])
    # Images between train images teach the classes; under the next class's name they teach that one.
    assert found[0] > 0.5 and found[1] < 0.1


def test_gan_train_of_a_class_that_val_lacks_is_not_given(ready: Ready) -> None:
    val = load_images(ready.prepared.splits.val)
    rows = np.flatnonzero(val.labels != 9)
    lacking = ready.work.store.put_images(val.take(rows))
    splits = ready.prepared.splits.model_copy(update={"val": lacking})
    prepared = ready.prepared.model_copy(update={"splits": splits})
    made = load_images(ready.synthesise(dict.fromkeys(range(10), 6), curated=False).images)
    table = load_table(ready.work.measured_set(prepared, ready.classifier, made).table)
    own = table[table.metric == "gan_train"].set_index("class")
    assert np.isnan(own.value["9"]) and own.note["9"]
    assert own.value[""] == pytest.approx(own.value.drop(["", "9"]).mean())


def test_gan_train_asks_of_val_the_classes_that_were_made(ready: Ready) -> None:
    longer = make_work(ready.work.store.root.parent, *FEW, "classifier.steps=50")
    tables = []
    for labels in ((7, 8, 9), (8,)):
        made = load_images(ready.synthesise(dict.fromkeys(labels, 40), curated=False).images)
        table = load_table(longer.measured_set(ready.prepared, ready.classifier, made).table)
        tables.append(table[table.metric == "gan_train"].set_index("class"))
    three, one = tables
    val = ready.prepared.counts["val"]
    assert three.value[""] == pytest.approx(three.value[["7", "8", "9"]].mean()) and three.value[""] > 0.5
    assert three.n_real[""] == val[7] + val[8] + val[9]
    assert three.value.isna().sum() == 7 and "synthetic image" in three.note["0"]
    # Of one class alone every image is it: nothing was learned.
    assert one.value.isna().all() and (one.note != "").all() and "two classes" in one.note[""]


def test_the_gallery_is_threes_of_one_class(ready: Ready) -> None:
    found = quick(ready).measured(ready.prepared, ready.classifier, ready.smote)
    assert set(load_table(found.table).metric) == set(fidelity.names()), "gan_train is left out"
    gallery = load_images(found.gallery)
    assert len(gallery) == 3 * SUSPICIOUS
    made, near, far = (np.array(gallery.images[at::3]) for at in range(3))
    train, val = (load_images(getattr(ready.prepared.splits, s)) for s in ("train", "val"))
    suspicion = []
    for row, label in enumerate(gallery.labels[::3]):
        assert set(gallery.labels[3 * row : 3 * row + 3]) == {label}
        gaps = []
        for shown, real in ((near, train), (far, val)):
            own = np.array(real.images[real.labels == label])
            to_nearest, to_shown = (views.nearest(made[[row]], others)[0][0, 0] for others in (own, shown[[row]]))
            assert to_shown == pytest.approx(to_nearest, abs=1e-4)
            gaps.append(to_nearest)
        suspicion.append(gaps[0] / gaps[1])
    assert suspicion == pytest.approx(sorted(suspicion)), "the most suspicious come first"


def test_curated_images_are_those_that_pass(ready: Ready) -> None:
    plan = dict.fromkeys((7, 8, 9), 15)
    made = ready.synthesise(plan, curated=True)
    images, checks, funnel = (load_images(made.images), load_table(made.checks), load_table(made.funnel))
    assert len(images) > 10, "most of what lies between train images passes"
    names = list(ready.work.experiment.curation.checks)
    assert list(checks.columns) == ["id", *names] and checks["id"].tolist() == images.table["id"].tolist()
    real, own = ready.reference(), ready.look(made.images)
    for name in names:
        found = curation.checks[name](real, own, own.take(np.empty(0, np.int64)))
        assert found.keep.all(), name
        if name != "duplicates":  # which depends on what came before
            assert found.values == pytest.approx(checks[name].to_numpy(), rel=1e-3), name
    missing = {c: n - images.counts()[c] for c, n in plan.items() if n > images.counts()[c]}
    assert made.short == missing
    # The funnel's first check saw every candidate, its last one passed at least what was taken.
    assert list(funnel.columns) == list(FUNNEL)
    for label in plan:
        part = funnel[funnel["class"] == ready.prepared.classes[label]].set_index("check")
        assert list(part.index) == names[: len(part)]
        assert part.seen.tolist()[1:] == part.passed.tolist()[:-1]
        assert part.passed.iloc[-1] >= images.counts()[label]
    assert (funnel.seen - funnel.passed).sum() > 0


def test_without_curation_the_plan_is_met_whatever_the_images(ready: Ready) -> None:
    plan = {7: 30, 9: 20}
    made = ready.synthesise(plan, of="acgan", curated=False)
    images = load_images(made.images)
    assert {c: n for c, n in images.counts().items() if n} == plan and made.short == {}
    assert len(load_table(made.funnel)) == 0
    assert list(load_table(made.checks).columns) == ["id"]
    found = curation.checks["agreement"](ready.reference(), *[ready.look(made.images)] * 2)
    assert not found.keep.all(), "some would have been turned away"


def test_copies_of_train_never_pass(ready: Ready) -> None:
    """SMOTE of a class with one image repeats it; all that it makes is turned away, and missing."""
    train = load_images(ready.prepared.splits.train)
    rows = np.concatenate([np.flatnonzero(train.labels != 9), np.flatnonzero(train.labels == 9)[:1]])
    one = ready.work.store.put_images(train.take(rows))
    prepared = ready.prepared.model_copy(
        update={
            "splits": ready.prepared.splits.model_copy(update={"train": one}),
            "counts": {**ready.prepared.counts, "train": train.take(rows).counts()},
        }
    )
    generator = ready.work.generator(prepared, ready.classifier, "smote")
    work = make_work(ready.work.store.root.parent, *FEW, "curation.checks=[copies]")
    made = work.synthetic(prepared, ready.classifier, generator, {9: 10}, True)
    assert made.short == {9: 10} and len(load_images(made.images)) == 0
    funnel = load_table(made.funnel)
    assert funnel["passed"].tolist() == [0] and funnel["seen"].iloc[0] >= 10
    # An empty set can be measured and mixed: nothing is given, and each figure says why.
    measured = work.measured_set(prepared, ready.classifier, made)
    table = load_table(measured.table)
    assert table.value.isna().all() and (table.note != "").all()
    assert len(load_images(measured.gallery)) == 0
    arm = Arm(name="x", generator="smote")
    recipe = work.recipe(prepared, arm, made)
    assert recipe.short == {"9": 10} and recipe.synthetic_share == 0
    assert list(recipe.funnel) == funnel.to_dict("records")


def test_what_an_arm_was_filled_with_is_what_is_measured(ready: Ready) -> None:
    made = ready.synthesise({7: 12, 8: 3}, curated=False)
    table = load_table(quick(ready).measured_set(ready.prepared, ready.classifier, made).table)
    whole = table[(table["class"] == "") & (table.metric == "agreement")].iloc[0]
    own = ready.look(made.images)
    assert whole.value == pytest.approx((own.predicted == own.labels).mean())
    assert whole.n_synthetic == 15
    one = table[table.metric == "agreement"].set_index("class")
    assert one.loc["8"].note == "needs 5 synthetic images, has 3" and np.isnan(one.loc["8"].value)


def test_a_gate_on_each_class_asks_those_that_were_filled(ready: Ready) -> None:
    """By default the largest class is filled with nothing: were it asked, no such gate could ever hold."""
    made = ready.synthesise({7: 12, 8: 12}, curated=False)
    told = quick(ready).measured_set(ready.prepared, ready.classifier, made)
    assert gates.outcome("each agreement >= 0", load_table(told.table)).holds


def test_test_images_are_never_read(ready: Ready) -> None:
    """Where the test set should be there is nothing: every byte stays the same."""
    nothing = Ref(path=ready.work.store.root / "images" / "gone", sha256="0" * 64)
    splits = ready.prepared.splits.model_copy(update={"test": nothing})
    blind = ready._replace(prepared=ready.prepared.model_copy(update={"splits": splits}))
    found = []
    for own in (ready, blind):
        made = own.synthesise({7: 6, 9: 6}, curated=True)
        measured = quick(own).measured(own.prepared, own.classifier, own.smote)
        again = quick(own).measured_set(own.prepared, own.classifier, made)
        refs = (made.images, made.checks, made.funnel, measured.table, measured.gallery, again.table)
        found.append([ref.sha256 for ref in refs])
    assert found[0] == found[1]


def test_judging_is_repeatable_in_another_store(ready: Ready, tmp_path: Path) -> None:
    """Nothing depends on what was kept by content before."""
    found = []
    for root in (ready.work.store.root, tmp_path / "store"):
        own = ready._replace(work=quick(ready).but(root=root))
        made = own.synthesise({7: 6, 9: 6}, of="acgan", curated=True)
        measured = own.work.measured(own.prepared, own.classifier, own.acgan)
        found.append([made.images.sha256, made.checks.sha256, measured.table.sha256])
    assert found[0] == found[1]


def test_measuring_draws_other_images_than_synthesis(ready: Ready) -> None:
    """Uncurated ones of every class, of a stream of their own."""
    made = load_images(ready.synthesise({0: 12}, of="acgan", curated=False).images)
    generator, _ = families.unpack(load_state(ready.acgan.checkpoint), ready.work.runtime, ready.work.store.images)
    labels = torch.zeros(12, dtype=torch.int64)
    drawn = [
        synthesis.draw(generator, labels, torch_stream(0, stream)).images.numpy() for stream in ("synthesis", "measure")
    ]
    assert np.array_equal(made.images, drawn[0]) and not np.array_equal(made.images, drawn[1])


def test_no_word_to_a_figure_names_a_place_on_this_machine(make_shapes, tmp_path: Path, monkeypatch) -> None:
    """fidelity.csv is published, and the same bytes wherever it is made."""
    monkeypatch.setenv("AUGPIPE_HOME", str(tmp_path / "data"))

    def look(seed: int) -> Embedded:
        found = make_shapes((20, 20), size=32, seed=seed)
        vectors = found.images.reshape(40, -1)[:, ::64].astype(np.float32)
        return Embedded(vectors, np.eye(2, dtype=np.float32)[found.labels], found.labels, found.images)

    table = fidelity.measure(fidelity.Compared(look(0), look(1), look(2)), ("a", "b"))
    assert not [note for note in table.note if str(tmp_path) in note]


@pytest.mark.parametrize(
    ("curated", "expected"),
    [
        (None, {"real": False, "classic": False, "smote": False, "acgan": True}),
        ("true", {"real": False, "classic": False, "smote": True, "acgan": True}),
        ("false", {"real": False, "classic": False, "smote": False, "acgan": False}),
    ],
)
def test_trained_generators_are_curated_unless_an_arm_says_otherwise(
    curated: str | None, expected: dict[str, bool], tmp_path: Path
) -> None:
    made = ("smote", "acgan")  # an arm without a generator has nothing to curate, and is refused
    given = [] if curated is None else [f"arms.{arm}.mix.curated={curated}" for arm in made]
    found = make_work(tmp_path, *given).experiment
    assert {arm.name: found.curates(arm) for arm in found.arms} == expected


def test_what_is_judged_can_be_published(ready: Ready, tmp_path: Path) -> None:
    made = ready.synthesise({7: 8, 9: 8}, curated=True)
    measured = quick(ready).measured_set(ready.prepared, ready.classifier, made)
    experiment = ready.work.experiment
    arm = next(arm for arm in experiment.arms if arm.name == "smote")
    outcomes = tuple(gates.outcome(g, load_table(measured.table)) for g in experiment.gate)
    publish(Balanced(experiment, arm, ready.prepared, ready.smote, made, measured, outcomes), tmp_path / "out")
    # The set is itself a folder of pictures by class. SMOTE's images belong to the groups of their parents, which only
    # the manifest has: a run on the folder would divide them, so it names the manifest.
    assert suggest(tmp_path / "out")["kind"] == "folder"
    with pytest.raises(UserError, match=r"column 'group' looks like groups.*columns.group=group"):
        listing(source("folder", path=tmp_path / "out"))
    columns = {"path": "file", "label": "class", "group": "group"}
    found = listing(source("manifest", path=tmp_path / "out" / "manifest.csv", columns=columns))
    train, images = load_images(ready.prepared.splits.train), load_images(made.images)
    assert found.classes == ready.prepared.classes and found.groups is not None
    assert np.bincount(found.labels).tolist() == [
        n + m for n, m in zip(train.counts().values(), images.counts().values(), strict=True)
    ]


def test_pooled_images_take_turns_within_a_class(ready: Ready) -> None:
    """Whatever part of a class a search tries, it is of all generators."""
    one = ready.synthesise({3: 6, 7: 2}, curated=False)
    other = ready.synthesise({3: 6}, of="acgan", curated=False)
    pooled = load_images(pool(ready.work.context, [one, other]).images)
    first = set(load_images(one.images).table["id"])
    of_first = [name in first for name in pooled.table["id"]]
    assert pooled.labels.tolist() == [3] * 12 + [7] * 2
    assert of_first == [True, False] * 6 + [True, True]
    ids = {*load_images(one.images).table["id"], *load_images(other.images).table["id"]}
    assert set(pooled.table["id"]) == ids

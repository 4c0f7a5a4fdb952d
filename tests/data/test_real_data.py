"""Real data sets as they were published, where they lie beside the checkout."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pictures import came, source
from tiny import ROOT, augpipe

from augpipe.core.errors import UserError
from augpipe.core.options import ImageOptions
from augpipe.data import sources
from augpipe.data.clean import part
from augpipe.data.inspect import inspect
from augpipe.data.intake import take_in
from augpipe.data.listing_check import divided_groups
from augpipe.data.options import Policy, SplitOptions
from augpipe.data.split_check import NAMES
from augpipe.pipeline.experiment import load


def test_pneumonia_has_eight_images_of_val_in_train(shared: Path) -> None:
    folder = shared / "medmnist"
    listed = sources.listing(source("medmnist", name="pneumoniamnist", root=folder))
    found = inspect(listed, ImageOptions())
    assert found.counts("train") == {"normal": 1214, "pneumonia": 3494}
    assert found.counts("val") == {"normal": 135, "pneumonia": 389}
    assert found.counts("test") == {"normal": 234, "pneumonia": 390}
    assert found.equal.across_splits == {"val in train": 8, "test in train": 0, "test in val": 0}
    parted = part(found.intake, SplitOptions(), Policy(), np.random.default_rng(0))
    sides = {name: set(found.intake.facts.content[parted.rows[name]].tolist()) for name in NAMES}
    assert not sides["train"] & sides["val"] and len(parted.rows["val"]) == 524
    # Two of the eight lie in train twice.
    assert len(parted.removed) == 10
    # Read as arrays, they are the same images, classes and splits.
    arrays = source("arrays", path=folder / "pneumoniamnist.npz", names=("normal", "pneumonia"))
    again = take_in(sources.listing(arrays), ImageOptions())
    assert (again.facts.content == found.intake.facts.content).all() and again.listing.classes == listed.classes
    assert (again.labels == found.intake.labels).all() and (again.splits == found.intake.splits).all()


def test_orl_by_person(shared: Path, tmp_path: Path) -> None:
    """40 people with ten pictures each; told apart by shot, no person stands on two sides."""
    path = shared / "orl_faces" / "orl_faces.zip"
    taken = came("archive", tmp_path, ImageOptions(size=32, resize="crop"), path=path)
    assert len(taken.listing.classes) == 40 and (np.bincount(taken.labels) == 10).all()
    assert taken.facts.format[0] == "PPM" and (taken.facts.width[0], taken.facts.height[0]) == (92, 112)
    assert taken.listing.ignored == {".md": 1}
    shots = came("archive", tmp_path / "2", path=path, layout="{group}/{label}.pgm")
    parted = part(shots, SplitOptions(), Policy(), np.random.default_rng(0))
    assert parted.kind == "grouped" and divided_groups(shots.groups, parted.rows) == 0
    people = [len(set(shots.groups[parted.rows[name]])) for name in NAMES]
    assert people == [24, 8, 8]


def test_omniglot_by_character_and_by_alphabet(shared: Path) -> None:
    """Two zips of five alphabets each, two of which are in both: told, and taken once where that is asked for."""
    zips = sorted((shared / "omniglot").glob("*.zip"))
    with pytest.raises(UserError, match=r"Balinese, Early_Aramaic, Greek, .* either may be the classes"):
        sources.listing(source("archive", path=zips[0]))
    one = sources.listing(source("archive", path=zips[0], layout="{label}/**/*"))
    assert one.classes == ("Balinese", "Early_Aramaic", "Greek", "Korean", "Latin")
    by_character = sources.listing(source("archive", path=zips, layout="*/{label}/{label}/*"))
    assert len(by_character.classes) == 242 and len(by_character) == 5840
    assert sorted(set(by_character.counts().values())) == [20, 40]
    alphabets = source("archive", path=zips, layout="*/{label}/{group}/*")
    found = inspect(sources.listing(alphabets), ImageOptions(), SplitOptions())
    facts = found.facts()
    assert found.split == "grouped" and facts["groups"]["on_several_sides"] == 0
    assert found.equal.extra == 1000 and found.equal.mixed_classes == 0
    assert set(facts["modes"]) == {"1"} and facts["sizes"]["most_common"] == [[105, 105, 5840]]
    rules = Policy(duplicates="once")
    parted = part(found.intake, SplitOptions(), rules, np.random.default_rng(0))
    kept = np.concatenate([parted.rows[name] for name in NAMES])
    assert len(kept) == 4840
    with pytest.raises(UserError, match=r"matches the layout '\{label\}/\*'; the first is"):
        sources.listing(source("archive", path=zips, layout="{label}/*"))


PLACES = {
    "fashion": ["source.download=false", "source.root={shared}", "imbalance.counts={{Coat: 50, Bag: 10}}"],
    "pneumonia": ["source.download=false", "source.root={shared}/medmnist"],
    "orl": ["source.path={shared}/orl_faces/orl_faces.zip"],
    "omniglot": [
        "source.path=[{shared}/omniglot/images_background_small1.zip, {shared}/omniglot/images_background_small2.zip]"
    ],
}


# Training images of each class: LeCun's counts of digits, and as many of each garment.
DIGITS = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
GARMENTS = [6000] * 10


def test_a_large_config_is_inspected(shared: Path, tmp_path: Path) -> None:
    """From the raw files; the smaller ones below are run."""
    sets = [part for one in PLACES["fashion"] for part in ("--set", one.format(shared=shared))]
    looked = augpipe(tmp_path, "inspect", str(ROOT / "configs" / "fashion.yaml"), "--json", *sets)
    assert looked.status == 0, looked.err[-2000:]
    facts = json.loads(looked.out)
    assert not [p for p in facts["problems"] if p["severity"] == "stop"]
    assert facts["split"] == "official" and facts["images"] == 70_000
    assert [c["train"] + c["val"] for c in facts["classes"]] == GARMENTS
    assert [c["test"] for c in facts["classes"]][:1] == [1000]
    assert facts["classes"][0]["name"] == "T-shirt/top"


def test_the_mnist_config_lists_the_raw_files(shared: Path) -> None:
    """The same reader as of the one above, which is inspected."""
    place = ["source.download=false", f"source.root={shared}"]
    config = load(ROOT / "configs" / "mnist.yaml", place)
    listing = sources.listing(config.source)
    assert len(listing) == 70_000 and listing.classes[0] == "0 - zero"
    sides = {side: np.bincount(listing.labels[listing.splits == side]).tolist() for side in ("train", "test")}
    assert sides["train"] == DIGITS and sides["test"][0] == 980
    assert config.imbalance.drop_class in listing.classes


FILL = {"orl": 3}  # as in the configs; the others: auto


@pytest.mark.parametrize("name", ["pneumonia", "orl", "omniglot"])
def test_each_config_runs_short(name: str, shared: Path, tmp_path: Path) -> None:
    """The arm with the most options; the demo, which `test_demo` runs, has the same others."""
    sets = [part for one in PLACES[name] for part in ("--set", one.format(shared=shared))]
    short = [
        "classifier.steps=5",
        "classifier.evaluations=1",
        "generators.acgan.kimg=0.1",
        "seeds=1",
        "generators.acgan.ticks=1",
        "generators.acgan.width=0.1",
        "fidelity.images=8",
        "fidelity.gan_train=false",
        "runner.workers=1",
        "runner.threads=1",
        f"arms=[{{name: real}}, {{name: acgan+classic, generator: acgan, mix: {{fill: {FILL.get(name, 'auto')}, "
        "share: 0.3, sampler: balanced, transform: light}}]",
    ]
    sets += [part for one in short for part in ("--set", one)]
    ran = augpipe(tmp_path, "run", str(ROOT / "configs" / f"{name}.yaml"), "--out", "out", *sets)
    assert ran.status == 0, ran.err[-3000:]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    kind = {"pneumonia": "official", "orl": "stratified", "omniglot": "grouped"}[name]
    assert summary["data"]["intake"]["split"] == kind
    assert summary["data"]["intake"]["removed"] == {"pneumonia": 10, "orl": 0, "omniglot": 1000}[name]

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from embeddings import embedded, gauss, untrained
from numpy.typing import NDArray

from augpipe.classifiers import trained as trained_classifier
from augpipe.classifiers.options import ClassifierOptions
from augpipe.core.images import ImageSet, Splits, provenance
from augpipe.core.store import Store, load_images
from augpipe.pipeline.stages.train_classifier import fit_reference
from augpipe.synthetic.embeddings import FeatureExtractor

SMALL = ClassifierOptions(width=0.25)


class Means:
    """A network that learned elsewhere: mean, least and largest grey of an image; counts the sets it is shown."""

    def __init__(self, digest: str = "means") -> None:
        self.digest, self.shown = digest, 0

    def vectors(self, images: ImageSet) -> NDArray[np.float32]:
        self.shown += 1
        own = images.images.reshape(len(images), -1).astype(np.float32)
        return np.stack([own.mean(1), own.min(1), own.max(1)], 1)


def files(store: Store) -> list[Path]:
    return sorted((store.root / "features").glob("*"))


def test_domain_features_tell_the_classes_apart(here, make_shapes) -> None:
    splits = Splits(make_shapes((40, 20, 6)), make_shapes((15, 15, 15), seed=1), make_shapes((5, 5, 5), seed=2))
    options = ClassifierOptions(width=0.25, steps=60, batch=32, evaluations=2)
    domain = fit_reference(splits, options, here, seed=0)
    found = FeatureExtractor(domain, here).embed(splits.val)
    assert found.vectors.shape == (45, domain.net.head.in_features)
    assert (found.predicted == found.labels).mean() > 0.9
    one = found.of(1)
    assert len(one) == 15 and set(one.labels) == {1}
    assert np.array_equal(one.vectors, found.vectors[15:30])


def test_test_images_do_not_change_the_features(here, make_shapes) -> None:
    options = ClassifierOptions(width=0.25, steps=10, batch=8, evaluations=1)
    train, val = make_shapes((10, 6)), make_shapes((5, 5), seed=1)
    found = []
    for seed in (2, 3):
        splits = Splits(train, val, make_shapes((5, 5), seed=seed))
        domain = fit_reference(splits, options, here, seed=0)
        found.append(FeatureExtractor(domain, here).embed(val))
    assert np.array_equal(found[0].vectors, found[1].vectors)


def test_an_embedding_is_the_networks_own_activations(here, make_shapes) -> None:
    domain, images = untrained(here), make_shapes((7, 5))
    found = FeatureExtractor(domain, here).embed(images)
    x = torch.from_numpy(images.images).float() / 127.5 - 1
    with torch.no_grad():
        expected = domain.net.features(x)
        probabilities = torch.softmax(domain.net.head(expected), 1)
    np.testing.assert_allclose(found.vectors, expected.numpy(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.probabilities, probabilities.numpy(), rtol=1e-4)
    np.testing.assert_array_equal(found.probabilities, trained_classifier.predict(domain, images, here))
    np.testing.assert_array_equal(found.labels, images.labels)
    np.testing.assert_array_equal(found.images, images.images)


def test_another_networks_features_come_with_the_domains_probabilities(here, make_shapes) -> None:
    domain, images = untrained(here), make_shapes((7, 5))
    found = FeatureExtractor(domain, here, Means()).embed(images)
    np.testing.assert_array_equal(found.vectors, Means().vectors(images))
    np.testing.assert_array_equal(found.probabilities, trained_classifier.predict(domain, images, here))


def test_the_same_images_are_embedded_once(here, make_shapes, tmp_path: Path) -> None:
    store, network, images = Store(tmp_path), Means(), make_shapes((7, 5))
    first = FeatureExtractor(untrained(here), here, network, store).embed(images)
    again = FeatureExtractor(untrained(here), here, network, store).embed(images)
    assert network.shown == 1 and len(files(store)) == 1
    np.testing.assert_array_equal(again.vectors, first.vectors)
    np.testing.assert_array_equal(again.probabilities, first.probabilities)


def test_what_is_kept_is_what_is_given(here, make_shapes, tmp_path: Path) -> None:
    """Read back and not computed anew; damaged or deleted, it is."""
    store, images = Store(tmp_path), make_shapes((7, 5))
    network = Means()
    look = FeatureExtractor(untrained(here), here, network, store=store)
    first = look.embed(images)
    shown = network.shown
    np.testing.assert_array_equal(look.embed(images).vectors, first.vectors)
    assert network.shown == shown
    (kept,) = files(store)
    kept.write_bytes(kept.read_bytes()[:-1])
    np.testing.assert_array_equal(look.embed(images).vectors, first.vectors)
    assert network.shown == 2 * shown
    files(store)[0].unlink()
    np.testing.assert_array_equal(look.embed(images).vectors, first.vectors)
    assert network.shown == 3 * shown


def test_without_a_store_nothing_is_kept(here, make_shapes, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("AUGPIPE_HOME", str(tmp_path))
    network = Means()
    look = FeatureExtractor(untrained(here), here, network)
    for _ in range(2):
        look.embed(make_shapes((4, 4)))
    assert network.shown == 2 and not list(tmp_path.rglob("*"))


def test_equal_pixels_in_another_set_are_the_same_file(here, make_shapes, tmp_path: Path) -> None:
    """Labels, names and where the pixels lie have no part in what a network sees."""
    store, network, images = Store(tmp_path), Means(), make_shapes((7, 5))
    look = FeatureExtractor(untrained(here), here, network, store)
    look.embed(images)
    other = ImageSet(images.images.copy(), 1 - images.labels, ("x", "y"), provenance([f"o{i}" for i in range(12)]))
    found = look.embed(other)
    look.embed(load_images(store.put_images(images)))
    assert network.shown == 1 and len(files(store)) == 1
    np.testing.assert_array_equal(found.labels, 1 - images.labels)


def one_grey_level_off(images: ImageSet) -> ImageSet:
    pixels = images.images.copy()
    pixels[-1, 0, -1, -1] ^= 1
    return ImageSet(pixels, images.labels, images.classes, images.table)


def backwards(images: ImageSet) -> ImageSet:
    return images.take(np.arange(len(images))[::-1].copy())


def folded(images: ImageSet) -> ImageSet:
    """The same bytes as images of another shape."""
    n, _, h, w = images.images.shape
    return ImageSet(
        images.images.reshape(n // 4, 1, 2 * h, 2 * w),
        images.labels[: n // 4],
        images.classes,
        provenance([str(i) for i in range(n // 4)]),
    )


@pytest.mark.parametrize("change", [one_grey_level_off, backwards, folded])
def test_other_pixels_are_another_file(here, make_shapes, tmp_path: Path, change) -> None:
    store, network, images = Store(tmp_path), Means(), make_shapes((8, 4))
    look = FeatureExtractor(untrained(here), here, network, store)
    look.embed(images)
    found = look.embed(change(images))
    assert network.shown == 2 and len(files(store)) == 2
    np.testing.assert_array_equal(found.vectors, Means().vectors(change(images)))


def test_another_network_is_another_file(here, make_shapes, tmp_path: Path) -> None:
    store, images = Store(tmp_path), make_shapes((7, 5))
    for seed, network in ((0, None), (1, None), (0, Means("a")), (0, Means("b")), (0, Means("a"))):
        FeatureExtractor(untrained(here, seed), here, network, store).embed(images)
    assert len(files(store)) == 4


def test_images_on_disk_stay_there(here, make_shapes, tmp_path: Path) -> None:
    store = Store(tmp_path)
    images = load_images(store.put_images(make_shapes((7, 5))))
    found = FeatureExtractor(untrained(here), here, store=store).embed(images)
    assert isinstance(found.images, np.memmap)


@pytest.mark.parametrize("network", [None, Means()], ids=["domain", "elsewhere"])
def test_no_images_join_those_there_are(here, make_shapes, tmp_path: Path, network) -> None:
    images = make_shapes((7, 5))
    look = FeatureExtractor(untrained(here), here, network, Store(tmp_path))
    none, some = look.embed(images.take(np.empty(0, np.int64))), look.embed(images)
    assert len(none) == 0 and none.probabilities.shape == (0, 2)
    np.testing.assert_array_equal(none.join(some).vectors, some.vectors)


def test_rows_of_an_embedding_belong_together() -> None:
    whole = embedded(gauss(6, 3), np.array([0, 1, 0, 1, 1, 0]))
    for part, rows in (
        (whole.take(np.array([4, 0])), [4, 0]),
        (whole.of(1), [1, 3, 4]),
        (whole.take(whole.labels == 0), [0, 2, 5]),
        (whole.of(0).join(whole.of(1)), [0, 2, 5, 1, 3, 4]),
    ):
        for field in ("vectors", "probabilities", "labels", "images"):
            np.testing.assert_array_equal(getattr(part, field), getattr(whole, field)[rows])
    assert len(whole.of(7)) == 0

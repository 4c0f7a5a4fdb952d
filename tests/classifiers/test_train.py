from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
import torch

from augpipe.classifiers import scores
from augpipe.classifiers import train as classification
from augpipe.classifiers import trained as trained_classifier
from augpipe.classifiers.mixing import Mixture
from augpipe.classifiers.models import Shape, build, classifiers
from augpipe.classifiers.options import ClassifierOptions, Mix
from augpipe.core.checkpoint import Checkpoint, Clocked
from augpipe.core.images import SYNTHETIC, ImageSet

QUICK = ClassifierOptions(width=0.25, steps=40, batch=16, evaluations=4)


def test_it_learns_and_keeps_its_best_moment_by_val(here, make_shapes) -> None:
    train, val = make_shapes((40, 12, 8)), make_shapes((15, 15, 15), seed=1)
    mixture = Mixture(train, None, Mix(sampler="balanced"), here, seed=0)
    trained = classification.train(mixture, val, QUICK, here, seed=0)
    assert [e.step for e in trained.history] == [10, 20, 30, 40]
    best = max(trained.history, key=lambda e: (e.val_macro_recall, -e.val_loss))
    assert trained.best_step == best.step
    found = trained_classifier.predict(trained, val, here)
    assert scores.macro_recall(found, val.labels) == pytest.approx(best.val_macro_recall)
    assert best.val_macro_recall > 0.9
    assert found.sum(1) == pytest.approx(np.ones(45), abs=1e-5)


def test_same_seed_same_classifier_whatever_the_global_generator(here, make_shapes) -> None:
    train, val = make_shapes((20, 8)), make_shapes((5, 5), seed=1)
    found = []
    for seed, global_seed in ((0, 1), (0, 2), (1, 1)):
        torch.manual_seed(global_seed)
        mixture = Mixture(train, None, Mix(transform="light"), here, seed=seed)
        trained = classification.train(mixture, val, QUICK, here, seed=seed)
        found.append(trained_classifier.predict(trained, val, here))
    assert np.array_equal(found[0], found[1]) and not np.array_equal(found[0], found[2])


OBJECTIVES = {
    "plain": {},
    "weights": {"weights": "balanced"},
    "deferred": {"weights": "balanced", "defer": 0.5},
    "effective": {"weights": "effective"},
    "focal": {"loss": "focal"},
    "logit adjustment": {"loss": "logit_adjustment"},
    "ldam": {"loss": "ldam"},
    "ldam, deferred": {"loss": "ldam", "weights": "effective", "defer": 0.5},
    "mixup": {"blend": "mixup"},
    "cutmix": {"blend": "cutmix"},
    "cutmix of little": {"blend": "cutmix", "alpha": 0.1},
    "mixup, ldam, weights": {"blend": "mixup", "loss": "ldam", "weights": "balanced"},
}


def test_every_way_of_learning_learns_and_is_its_own(here, make_shapes) -> None:
    train, val = make_shapes((40, 12, 8)), make_shapes((15, 15, 15), seed=1)
    told = []
    options = ClassifierOptions(width=0.25, steps=80, batch=24, evaluations=2)
    for name, more in OBJECTIVES.items():
        mixture = Mixture(train, None, Mix(sampler="sqrt", **more), here, seed=0)
        trained = classification.train(mixture, val, options, here, seed=0)
        assert max(e.val_macro_recall for e in trained.history) > 0.85, name
        told.append([e.loss for e in trained.history])
    assert all(a != b for i, a in enumerate(told) for b in told[:i])
    plain, deferred = told[0], told[2]
    assert plain[0] == deferred[0] and plain[1] != deferred[1]


def test_two_classifiers_of_one_seed_blend_alike(here, make_shapes) -> None:
    train, val = make_shapes((20, 8)), make_shapes((5, 5), seed=1)
    found = []
    for seed, global_seed in ((0, 1), (0, 2), (1, 1)):
        np.random.seed(global_seed)
        mixture = Mixture(train, None, Mix(blend="cutmix"), here, seed=0)
        found.append(classification.train(mixture, val, QUICK, here, seed=seed).history)
    assert found[0] == found[1] != found[2]


def test_a_synthetic_image_of_next_to_no_weight_teaches_nothing(here, make_shapes) -> None:
    """Liars that are drawn half of the time, and count for next to nothing, do no harm."""
    train, val = make_shapes((40, 40)), make_shapes((20, 20), seed=1)
    liar = make_shapes((40, 40), seed=2)
    liar.labels[:] = 1 - liar.labels
    liar.table["origin"] = SYNTHETIC
    recall = {}
    for weight in (1e-6, 1.0):
        mix = Mix(share=0.7, synthetic_weight=weight)
        options = ClassifierOptions(width=0.25, steps=100, batch=32, evaluations=1)
        trained = classification.train(Mixture(train, liar, mix, here, seed=0), val, options, here, seed=0)
        recall[weight] = trained.history[-1].val_macro_recall
    assert recall[1e-6] > 0.9 > 0.5 > recall[1.0]


def test_norms_apart_keep_synthetic_statistics_out_of_the_test(here, make_shapes) -> None:
    """Synthetic images of twice the brightness: their statistics are another's, and nothing of them is used at test."""
    train, val = make_shapes((40, 40)), make_shapes((20, 20), seed=1)
    made = make_shapes((40, 40), seed=2)
    made.images[:] = 255 - made.images // 2
    made.table["origin"] = SYNTHETIC
    trained = {}
    for own in (False, True):
        mix = Mix(share=0.5, norms_apart=own)
        mixture = Mixture(train, made, mix, here, seed=0)
        trained[own] = classification.train(mixture, val, QUICK, here, seed=0)
    first = {own: next(m for m in t.net.modules() if isinstance(m, torch.nn.BatchNorm2d)) for own, t in trained.items()}
    real, mixed, other = (first[True].running_mean, first[False].running_mean, first[True].other.running_mean)
    assert float((other - real).norm()) > 2 * float((mixed - real).norm()) > 0
    back = trained_classifier.from_state(trained_classifier.state_of(trained[True], QUICK), here)
    assert np.array_equal(
        trained_classifier.predict(back, val, here), trained_classifier.predict(trained[True], val, here)
    )
    assert max(e.val_macro_recall for e in trained[True].history) > 0.9


def test_arms_of_a_seed_start_alike_with_norms_apart(here, make_shapes) -> None:
    """Without a synthetic image norms apart change nothing."""
    train, val = make_shapes((20, 8)), make_shapes((5, 5), seed=1)
    found = []
    for own in (False, True):
        mixture = Mixture(train, None, Mix(norms_apart=own), here, seed=0)
        found.append(classification.train(mixture, val, QUICK, here, seed=0).history)
    assert found[0] == found[1]


def test_the_origin_flag_is_a_plane_that_says_real_at_test(here, make_shapes) -> None:
    images = torch.zeros(3, 1, 4, 4, dtype=torch.uint8)
    x = trained_classifier.inputs(images, torch.tensor([True, False, True]), True, here)
    assert x.shape == (3, 2, 4, 4)
    assert x[:, 1].mean((1, 2)).tolist() == [1, 0, 1]
    assert trained_classifier.inputs(images, None, True, here)[:, 1].abs().max() == 0
    assert trained_classifier.inputs(images, None, False, here).shape == (3, 1, 4, 4)

    # Synthetic images that say the opposite do no harm to a classifier that knows which they are.
    train, val = make_shapes((40, 40)), make_shapes((20, 20), seed=1)
    liar = make_shapes((40, 40), seed=2)
    liar.labels[:] = 1 - liar.labels
    liar.table["origin"] = SYNTHETIC
    recall = {}
    for flag in (False, True):
        mix = Mix(share=0.5, origin_flag=flag)
        options = ClassifierOptions(width=0.25, steps=150, batch=32, evaluations=1)
        mixture = Mixture(train, liar, mix, here, seed=0)
        trained = classification.train(mixture, val, options, here, seed=0)
        found = trained_classifier.predict(trained, val, here)
        recall[flag] = float(np.log(found[np.arange(40), val.labels]).mean())
    assert recall[True] > recall[False] + 0.3


@pytest.mark.parametrize("kind", list(classifiers))
def test_weights_follow_from_the_generator(kind) -> None:
    def made(global_seed: int) -> list[torch.Tensor]:
        torch.manual_seed(global_seed)
        net = build(ClassifierOptions(kind=kind), Shape(1, 4, 0.5), torch.Generator().manual_seed(0))
        return list(net.parameters())

    assert all(torch.equal(a, b) for a, b in zip(made(0), made(1), strict=True))


def test_batches_that_are_all_synthetic_leave_the_real_norms_alone(here, make_shapes) -> None:
    """Pretraining on synthetic images: until real ones come, the norms used at test have seen nothing."""
    train, val = make_shapes((40, 40)), make_shapes((5, 5), seed=1)
    made = make_shapes((40, 40), seed=2)
    made.table["origin"] = SYNTHETIC
    mixture = Mixture(train, made, Mix(share=1.0, norms_apart=True), here, seed=0)
    trained = classification.train(mixture, val, QUICK, here, seed=0)
    norm = next(m for m in trained.net.modules() if isinstance(m, torch.nn.BatchNorm2d))
    assert not norm.running_mean.any() and norm.other.running_mean.abs().sum() > 0


class StoppedError(Exception):
    """The process is killed here."""


RESUMED = {
    "batches": (Mix(transform="light", sampler="balanced"), {}),
    "blended": (Mix(blend="cutmix"), {}),
    "two norms, origin flag, deferred weights": (
        Mix(share=0.4, norms_apart=True, origin_flag=True, weights="balanced", defer=0.5),
        {},
    ),
    "dropout, another net": (Mix(transform="trivialaugment"), {"kind": "mobilenet_v3_small"}),
}


@pytest.mark.parametrize("kind", RESUMED)
@pytest.mark.parametrize("stop", [3, 7, 8])  # before, between and at evaluations
def test_a_training_that_was_killed_goes_on_to_the_same_bytes(
    kind: str, stop: int, here, make_shapes, tmp_path
) -> None:
    """Saved at each step of a clock that runs fast; killed right after the save of step `stop`."""
    mix, more = RESUMED[kind]
    options = QUICK.model_copy(update={"steps": 12, "evaluations": 3, "batch": 8, **more})
    real, val = make_shapes((12, 8)), make_shapes((5, 5), seed=1)
    made = make_shapes((6, 6), seed=2)
    synthetic = ImageSet(made.images, made.labels, made.classes, made.table.assign(origin=SYNTHETIC))

    def trained(checkpoint: Checkpoint | None, kill: bool = False) -> bytes:
        ticks = itertools.count(0, 100)
        resume = None
        if checkpoint is not None:
            resume = classification.Resume(checkpoint, lambda: float(next(ticks)))
        mixture = Mixture(real, synthetic if mix.share else None, mix, here, seed=5)
        draw, n = mixture.draw, itertools.count(1)

        def counted(*arguments):
            if kill and next(n) > stop:
                raise StoppedError
            return draw(*arguments)

        mixture.draw = counted  # type: ignore[method-assign]
        found = classification.train(mixture, val, options, here, seed=5, resume=resume)
        stream = io.BytesIO()
        history = [vars(evaluation) for evaluation in found.history]
        torch.save([trained_classifier.state_of(found, options), history], stream)
        return stream.getvalue()

    whole = trained(None)
    place = Checkpoint(tmp_path / "last.pt", {"of": kind})
    with pytest.raises(StoppedError):
        trained(place, kill=True)
    assert place.path.is_file()
    assert trained(place) == whole
    assert not place.path.exists()


def test_a_training_is_saved_each_minute_and_less_often_if_writing_is_slow(tmp_path) -> None:
    now, saved = [0.0], []

    class Slow(Checkpoint):
        def save(self, state) -> None:
            saved.append(now[0])
            now[0] += 10.0  # writing takes 10 s, so the next one comes 200 s later

    clocked = Clocked(Slow(tmp_path / "x.pt", {}), lambda: now[0])
    while now[0] < 700:
        clocked.save_if_due(dict)
        now[0] += 1.0
    assert saved == [60, 270, 480, 690]

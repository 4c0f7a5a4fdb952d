"""The stages of a run: load by Ref, call the library, write a Ref. No stage knows who orchestrates it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from augpipe import (
    classification,
    classifiers,
    features,
    generators,
    mixing,
    partition,
    scores,
    searching,
    sources,
)
from augpipe.config import Arm, Experiment
from augpipe.counts import Imbalance, plan, thin
from augpipe.errors import UserError
from augpipe.generators import Problem
from augpipe.images import ImageSet, require_classes
from augpipe.intake import Intake, Progress, Survey, survey, take_in
from augpipe.quarantine import quarantine
from augpipe.records import (
    Chosen,
    Clock,
    IntakeRecord,
    Job,
    Prepared,
    Report,
    Scored,
    Synthesised,
    TrainedClassifier,
)
from augpipe.searching import Candidate
from augpipe.seeds import entropy, numpy_stream
from augpipe.splits import NAMES
from augpipe.store import (
    Ref,
    SplitRefs,
    Store,
    load_images,
    load_json,
    load_splits,
    load_state,
    load_table,
)


def prepare(
    job: Job, progress: Progress = lambda done, total: None, seed: int | None = None
) -> Prepared:
    """source → split → thinned train, each stored; every arm's fill resolved before anything is trained.

    seed: of a replicate that draws a split of its own; None for the experiment's one.
    """
    clock, store = Clock(), Store(job.store)
    experiment = job.experiment
    policy, options = experiment.policy, experiment.split
    if seed is not None:
        options = options.model_copy(update={"seed": entropy(options.seed, "resplit", seed)})
    listed = partition.without_small(sources.listing(experiment.source), policy.min_images)
    require_classes(listed.classes)
    partition.check_names(listed.classes)
    found = survey(listed, experiment.image)
    _check(experiment, found, listed.classes)
    with store.scratch() as scratch:
        taken = take_in(
            listed, experiment.image, policy, folder=scratch, found=found, progress=progress
        )
        partition.check_classes(taken, policy.min_images)
        parted = partition.part(taken, options, policy, numpy_stream(options.seed, "split"))
        if seed is not None and parted.kind == "official":
            raise UserError(
                "resplit draws a split for each seed, and the source has its own: set split.kind to stratified, "
                "grouped or k_fold"
            )
        images = taken.image_set()
        thinned = _thinned(images, parted.rows["train"], experiment.imbalance, options.seed)
        rows = {**parted.rows, "train": thinned}
        data = store.put_images(images)
        refs = SplitRefs(**{name: store.put_images(images, rows[name]) for name in NAMES})
        counts = {name: images.counts(rows[name]) for name in NAMES}
    return Prepared(
        data=data,
        splits=refs,
        classes=images.classes,
        size=found.spec.size,
        channels=found.spec.channels,
        counts=counts,
        plans={
            arm.name: plan(arm.mix.fill, counts["train"], images.classes) if arm.generator else {}
            for arm in experiment.arms
        },
        fingerprint=f"{entropy(0, *(getattr(refs, name).sha256 for name in NAMES)):016x}",
        intake=_told(taken, parted),
        quarantine=store.put_table("quarantine", quarantine(taken.bad, parted.removed)),
        time=clock.stop(),
    )


def _check(experiment: Experiment, found: Survey, classes: tuple[str, ...]) -> None:
    """UserError for a generator or a classifier that cannot make or take such images."""
    for name in {name for arm in experiment.arms for name in arm.generators}:
        generators.check(experiment.generators[name], Problem(found.spec, classes))
    classifiers.check(experiment.classifier, found.spec.channels, len(classes), found.spec.size)


def _thinned(
    images: ImageSet, rows: NDArray[np.int64], imbalance: Imbalance, seed: int
) -> NDArray[np.int64]:
    target = imbalance.target(images.counts(rows), images.classes)
    return rows[thin(images.labels[rows], target, numpy_stream(seed, "thin"))]


def _told(taken: Intake, parted: partition.Partition) -> IntakeRecord:
    groups = taken.groups
    return IntakeRecord(
        fingerprint=taken.fingerprint(),
        images=len(taken.rows),
        quarantined=len(taken.bad),
        removed=len(parted.removed),
        ignored=dict(sorted(taken.listing.ignored.items())),
        split=parted.kind,
        groups=None if groups is None else len(set(groups.tolist())),
        notes=(*taken.notes, *parted.notes),
    )


def train_features(job: Job, prepared: Prepared, seed: int) -> Ref:
    """The real-only classifier whose features and classes judge synthetic images."""
    store, here = job.start()
    splits = load_splits(prepared.splits)
    prepared.refuse_leaks(splits.train, "the classifier that judges generators")
    options = job.experiment.classifier
    domain = features.train_domain(splits, options, here, seed=entropy(seed, "domain"))
    return store.put_state("classifiers", classification.state_of(domain, options))


def search_steps(job: Job, arm: Arm) -> int:
    """How many steps of training `choose` takes."""
    return searching.steps_of(searching.candidates(arm.mix), job.experiment.classifier.steps)


def choose(
    job: Job,
    prepared: Prepared,
    arm: Arm,
    synthetic: Synthesised,
    seed: int,
    domain: Ref | None = None,
    *,
    report: Report,
) -> Chosen:
    """An arm's share, and how much of its fill, by successive halving on val. domain: as in `mix`."""
    clock, (store, here) = Clock(), job.start()
    real, made = load_images(prepared.splits.train), _made(arm, synthetic)
    for images in (real, made):
        prepared.refuse_leaks(images, f"the classifier of arm {arm.name!r}")
    val, options = load_images(prepared.splits.val), job.experiment.classifier
    said = _said(job, domain, arm, made)
    spent = 0

    def attempt(candidate: Candidate, steps: int) -> tuple[float, float]:
        nonlocal spent
        spent += steps
        report(f"share {candidate.share}, {candidate.part:.0%} of the images", spent)
        rows = searching.rows_of(made, candidate.part)
        mixture = mixing.Mixture(
            real,
            made.take(rows),
            searching.settled(arm.mix, candidate),
            here,
            seed=entropy(seed, "mixture"),
            said=None if said is None else said[torch.from_numpy(rows)],
        )
        short = options.model_copy(
            update={"steps": steps, "evaluations": min(options.evaluations, steps)}
        )
        trained = classification.train(mixture, val, short, here, seed=entropy(seed, "classifier"))
        best = min(trained.history, key=lambda e: (-e.val_macro_recall, e.val_loss))
        return best.val_macro_recall, best.val_loss

    open_ = searching.candidates(arm.mix) if len(made) else searching.candidates(arm.mix)[:1]
    best, tried = searching.halve(open_, options.steps, attempt)
    rows = [(t.rung, *t.candidate, t.steps, t.recall, t.loss, t.stayed) for t in tried]
    names = ["rung", "share", "part", "steps", "val_macro_recall", "val_loss", "stayed"]
    return Chosen(
        share=best.share,
        part=best.part,
        steps=spent,
        table=store.put_table("searches", pd.DataFrame(rows, columns=names)),
        time=clock.stop(),
    )


def _made(arm: Arm, synthetic: Synthesised) -> ImageSet:
    """The arm's synthetic images, weighted where it prefers some."""
    made = load_images(synthetic.images)
    prefer = arm.mix.prefer
    if prefer is None or len(made) == 0:
        return made
    return mixing.preferred(made, load_table(synthetic.checks), prefer)


def _said(job: Job, domain: Ref | None, arm: Arm, made: ImageSet) -> torch.Tensor | None:
    """What the real-only classifier says of each image, float32 (N,K), where the arm's labels are soft."""
    if not arm.mix.soft:
        return None
    if domain is None:
        raise ValueError(f"the soft labels of arm {arm.name!r} need the real-only classifier")
    _, here = job.start()
    judge = classification.from_state(load_state(domain), here)
    return torch.from_numpy(classification.predict(judge, made, here))


def mix(
    job: Job,
    prepared: Prepared,
    arm: Arm,
    synthetic: Synthesised | None,
    chosen: Chosen | None = None,
    domain: Ref | None = None,
) -> Ref:
    """What an arm's classifier is drawn from, as a recipe: sets, counts, class probabilities, shares.

    domain: the real-only classifier, whose word soft labels are.
    """
    store, own = Store(job.store), arm.mix
    real = load_images(prepared.splits.train)
    ref = synthetic.images if synthetic else None
    made = _made(arm, synthetic) if synthetic else None
    if chosen is not None:
        own = searching.settled(own, Candidate(chosen.share, chosen.part))
    part = chosen.part if chosen else 1.0
    if made is not None and (part < 1 or arm.mix.prefer):
        ref = store.put_images(made, searching.rows_of(made, part))
        made = load_images(ref)
    have = real.counts()
    added = made.counts() if made else dict.fromkeys(have, 0)
    said = _said(job, domain, arm, made) if made is not None else None
    probabilities = mixing.class_probabilities(have, added, own)
    share = mixing.shares(have, added, own)
    recipe = {
        "real": prepared.splits.train.model_dump(mode="json"),
        "synthetic": ref.model_dump(mode="json") if ref else None,
        "said": store.put_state("said", {"probabilities": said}).model_dump(mode="json")
        if said is not None
        else None,
        "drawn": synthetic.images.sha256
        if synthetic
        else None,  # before any were left out or weighted
        "mix": own.model_dump(mode="json"),
        "chosen": chosen.model_dump(mode="json", include={"share", "part", "steps"})
        if chosen
        else None,
        "real_count": list(have.values()),
        "synthetic_count": list(added.values()),
        "class_probability": probabilities.tolist(),
        "class_share": share.tolist(),
        "synthetic_share": float((probabilities * share).sum()) * own.until,
        "synthetic_ratio": sum(added.values()) / max(1, sum(have.values())),
        "short": {
            prepared.classes[c]: n for c, n in (synthetic.short if synthetic else {}).items()
        },
        "funnel": load_table(synthetic.funnel).to_dict("records") if synthetic else [],
    }
    return store.put_json("mixtures", recipe)


def train_classifier(
    job: Job, prepared: Prepared, recipe: Ref, arm: str, seed: int, *, report: Report
) -> TrainedClassifier:
    """One classifier on one mixture; its best moment by val macro recall is kept."""
    clock, (store, here) = Clock(), job.start()
    told = load_json(recipe)
    real = load_images(Ref.model_validate(told["real"]))
    made = load_images(Ref.model_validate(told["synthetic"])) if told["synthetic"] else None
    for images in (real, made):
        if images is not None:
            prepared.refuse_leaks(images, f"the classifier of arm {arm!r}")
    said = load_state(Ref.model_validate(told["said"]))["probabilities"] if told["said"] else None
    mixture = mixing.Mixture(
        real,
        made,
        mixing.Mix.model_validate(told["mix"]),
        here,
        seed=entropy(seed, "mixture"),
        said=said,
    )
    options = job.experiment.classifier
    trained = classification.train(
        mixture,
        load_images(prepared.splits.val),
        options,
        here,
        seed=entropy(seed, "classifier"),
        on_evaluation=lambda e: report(f"val macro recall {e.val_macro_recall:.3f}", e.step),
    )
    history = [
        (e.step, metric, value)
        for e in trained.history
        for metric, value in (
            ("loss", e.loss),
            ("val_macro_recall", e.val_macro_recall),
            ("val_loss", e.val_loss),
        )
    ]
    return TrainedClassifier(
        arm=arm,
        seed=seed,
        state=store.put_state("classifiers", classification.state_of(trained, options)),
        history=store.put_table(
            "histories", pd.DataFrame(history, columns=["step", "metric", "value"])
        ),
        best_step=trained.best_step,
        time=clock.stop(),
    )


def score(job: Job, prepared: Prepared, classifier: TrainedClassifier, recipe: Ref) -> Scored:
    """Val and, this once, test."""
    store, here = job.start()
    trained = classification.from_state(load_state(classifier.state), here)
    told = load_json(recipe)
    beside = mixing.Mix.model_validate(told["mix"]).beside
    made = load_images(Ref.model_validate(told["synthetic"])) if beside else None
    tables, probabilities = [], {}
    for split in ("val", "test"):
        images = load_images(getattr(prepared.splits, split))
        if beside is None or made is None:
            found = classification.predict(trained, images, here)
        else:
            found = classification.predict_beside(
                trained, images, made, beside.k, beside.weight, here
            )
        probabilities[split] = torch.from_numpy(np.ascontiguousarray(found))
        table = scores.score(found, images.labels, prepared.classes, prepared.counts["train"])
        table.insert(0, "split", split)
        tables.append(table)
    return Scored(
        arm=classifier.arm,
        seed=classifier.seed,
        table=store.put_table("scores", pd.concat(tables)),
        probabilities=store.put_state("probabilities", probabilities),
    )

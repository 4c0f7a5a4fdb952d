"""The stages that settle what an arm's classifier is drawn from: what val chooses, and the recipe."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd
import torch
from pydantic import BaseModel

from augpipe.classifiers import mixing
from augpipe.classifiers import search as searching
from augpipe.classifiers import train as classification
from augpipe.classifiers.plans import Share
from augpipe.classifiers.search import Candidate, Seen
from augpipe.core.images import ImageSet
from augpipe.core.seeds import entropy
from augpipe.core.store import Ref, Store, load_images, load_state, load_table
from augpipe.pipeline.cache import reads
from augpipe.pipeline.experiment import Arm
from augpipe.pipeline.records import Chosen, Clock, Job, Prepared, Report, Synthesised


def search_steps(job: Job, arm: Arm) -> int:
    """How many steps of training `choose` takes."""
    steps = job.experiment.classifier.steps
    return searching.steps_of(searching.candidates(arm.mix), steps, searching.joins(arm.mix))


@reads("classifier")
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

    def attempt(candidate: Candidate, steps: int) -> Seen:
        nonlocal spent
        spent += steps
        share = "by class" if isinstance(candidate.share, Mapping) else candidate.share
        report(f"share {share}, {candidate.part:.0%} of the images", spent)
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
        of_class = {made.classes[c]: best.val_recalls[c] for c, n in made.counts().items() if n}
        return Seen(best.val_macro_recall, best.val_loss, of_class)

    open_ = searching.candidates(arm.mix) if len(made) else searching.candidates(arm.mix)[:1]
    best, tried = searching.halve(open_, options.steps, attempt, searching.joins(arm.mix))
    rows = [
        (t.rung, _spelled(t.candidate.share), t.candidate.part, t.steps, t.recall, t.loss, t.stayed)
        for t in tried
    ]
    names = ["rung", "share", "part", "steps", "val_macro_recall", "val_loss", "stayed"]
    return Chosen(
        share=best.share,
        part=best.part,
        steps=spent,
        table=store.put_table("searches", pd.DataFrame(rows, columns=names)),
        time=clock.stop(),
    )


def _spelled(share: Share) -> str:
    """`0.1`, `fill`, or each class's as JSON: a column of a table has one type."""
    return json.dumps(dict(share)) if isinstance(share, Mapping) else str(share)


@reads()
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
    share = mixing.shares(have, added, own, prepared.classes)
    probabilities = mixing.class_probabilities(have, mixing.shown(added, share), own)
    recipe = {
        "real": _plain(prepared.splits.train),
        "synthetic": _plain(ref),
        "said": None if said is None else _plain(store.put_state("said", {"probabilities": said})),
        "mix": own.model_dump(mode="json"),
        "chosen": _plain(chosen, include={"share", "part", "steps"}),
        "real_count": list(have.values()),
        "synthetic_count": list(added.values()),
        "made_by": {} if made is None else made.table["source"].value_counts().to_dict(),
        "class_probability": probabilities.tolist(),
        "class_share": share.tolist(),
        "synthetic_share": float((probabilities * share).sum()) * own.until,
        "synthetic_ratio": sum(added.values()) / max(1, sum(have.values())),
        **_filling(prepared, synthetic),
    }
    return store.put_json("mixtures", recipe)


def _plain(value: BaseModel | None, include: set[str] | None = None) -> dict[str, Any] | None:
    return None if value is None else value.model_dump(mode="json", include=include)


def _filling(prepared: Prepared, synthetic: Synthesised | None) -> dict[str, Any]:
    """How the images came about. drawn: their set before any were left out or weighted."""
    if synthetic is None:
        return {"drawn": None, "short": {}, "funnel": []}
    return {
        "drawn": synthetic.images.sha256,
        "short": {prepared.classes[c]: n for c, n in synthetic.short.items()},
        "funnel": load_table(synthetic.funnel).to_dict("records"),
    }


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

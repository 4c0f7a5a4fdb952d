"""The stages that determine the training data of an arm's classifier: the search on val, and the recipe."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property

import pandas as pd
import torch

from augpipe.classifiers import mixing, search
from augpipe.classifiers import train as classification
from augpipe.classifiers import trained as trained_classifier
from augpipe.classifiers.options import ClassifierOptions, Mix
from augpipe.classifiers.plans import Share
from augpipe.classifiers.search import Candidate, Seen, Trial
from augpipe.classifiers.trained import Trained
from augpipe.core.device import Runtime
from augpipe.core.images import ImageSet
from augpipe.core.refs import Ref
from augpipe.core.seeds import entropy
from augpipe.core.store import load_images, load_state, load_table
from augpipe.pipeline import cache
from augpipe.pipeline.context import Context, Report, Timer, silent
from augpipe.pipeline.records import Choice, Prepared, Recipe, Synthetic, Tried


def search_steps(mix: Mix, steps: int) -> int:
    """Training steps that `choose` takes; steps: of one whole training."""
    return search.steps_of(search.candidates(mix), steps, search.joins(mix))


def choose(
    context: Context,
    prepared: Prepared,
    mix: Mix,
    synthetic: Synthetic,
    reference: Ref,
    options: ClassifierOptions,
    seed: int,
    *,
    report: Report = silent,
) -> Choice:
    """Select the share and the part of the fill by successive halving on val; reference: as in `mix`.

    The result of each candidate is stored: a search that was killed goes on with the next one.
    """
    timer, spent = Timer(), 0
    images = _SearchImages(context, prepared, mix, synthetic, reference)
    try_candidate = _trial(images)

    def attempt(candidate: Candidate, steps: int) -> Seen:
        nonlocal spent
        spent += steps
        share = "by class" if isinstance(candidate.share, Mapping) else candidate.share
        report(f"share {share}, {candidate.part:.0%} of the images", spent)
        evaluations = min(options.evaluations, steps)
        short = options.model_copy(update={"steps": steps, "evaluations": evaluations})
        tried: Tried = cache.run(
            try_candidate,
            context,
            prepared,
            search.settled(mix, candidate),
            candidate.part,
            synthetic,
            reference,
            short,
            seed,
        ).value
        return Seen(tried.recall, tried.loss, _in_label_order(tried.of_class, prepared.classes))

    candidates = search.candidates(mix) if len(images.synthetic) else search.candidates(mix)[:1]
    best, trials = search.halve(candidates, options.steps, attempt, search.joins(mix))
    return Choice(
        share=best.share,
        part=best.part,
        steps=spent,
        table=context.store.put_table("searches", _table(trials)),
        time=timer.stop(),
    )


class _SearchImages:
    """Images that all candidates of a search share; LeakError if some are of val or test."""

    def __init__(self, context: Context, prepared: Prepared, mix: Mix, synthetic: Synthetic, reference: Ref) -> None:
        self.runtime = context.runtime()
        self.real, self.val = (load_images(prepared.splits.train), load_images(prepared.splits.val))
        self.synthetic = _weighted(mix, synthetic)
        for images in (self.real, self.synthetic):
            prepared.refuse_leaks(images, "a classifier of the search")
        self._mix, self._reference = mix, reference

    @cached_property
    def soft_labels(self) -> torch.Tensor | None:
        """Probabilities of each synthetic image; None if labels are not soft."""
        return _soft_labels(self._reference, self._mix, self.synthetic, self.runtime)


def _trial(images: _SearchImages) -> cache.Stage:
    """The stage of one candidate; its arguments are what the stored result depends on, `images` follow from them."""

    def try_candidate(
        context: Context,
        prepared: Prepared,
        mix: Mix,
        part: float,
        synthetic: Synthetic,
        reference: Ref,
        options: ClassifierOptions,
        seed: int,
    ) -> Tried:
        return _tried(images, mix, part, options, seed)

    return try_candidate


def _in_label_order(of_class: Mapping[str, float], classes: Sequence[str]) -> dict[str, float]:
    """Values by class name in the order of the labels, which a stored mapping does not keep."""
    return {name: of_class[name] for name in classes if name in of_class}


def _tried(images: _SearchImages, mix: Mix, part: float, options: ClassifierOptions, seed: int) -> Tried:
    """Train a classifier on the candidate's mix and take its best evaluation on val."""
    rows = search.rows_of(images.synthetic, part)
    soft = images.soft_labels
    mixture = mixing.Mixture(
        images.real,
        images.synthetic.take(rows),
        mix,
        images.runtime,
        seed=entropy(seed, "mixture"),
        soft_labels=None if soft is None else soft[torch.from_numpy(rows)],
    )
    trained = classification.train(mixture, images.val, options, images.runtime, seed=entropy(seed, "classifier"))
    return _seen(trained, images.synthetic)


def _seen(trained: Trained, generated: ImageSet) -> Tried:
    """The best evaluation on val, with the recalls of the classes that have synthetic images."""
    best = min(trained.history, key=lambda e: (-e.val_macro_recall, e.val_loss))
    counts = generated.counts()
    of_class = {generated.classes[c]: best.val_recalls[c] for c, n in counts.items() if n}
    return Tried(recall=best.val_macro_recall, loss=best.val_loss, of_class=of_class)


def _table(tried: Sequence[Trial]) -> pd.DataFrame:
    """The table of a `Choice`."""
    rows = [(t.rung, _as_text(t.candidate.share), t.candidate.part, t.steps, t.recall, t.loss, t.stayed) for t in tried]
    names = ["rung", "share", "part", "steps", "val_macro_recall", "val_loss", "stayed"]
    return pd.DataFrame(rows, columns=names)


def _as_text(share: Share) -> str:
    """`0.1`, `fill`, or shares by class as JSON, because a table column has one type."""
    return json.dumps(dict(share)) if isinstance(share, Mapping) else str(share)


def mix(
    context: Context,
    prepared: Prepared,
    mix: Mix,
    synthetic: Synthetic | None,
    chosen: Choice | None = None,
    reference: Ref | None = None,
) -> Recipe:
    """Training data of an arm's classifier; reference: classifier that computes soft labels."""
    store, settled, part = context.store, mix, chosen.part if chosen else 1.0
    real = load_images(prepared.splits.train)
    ref = synthetic.images if synthetic else None
    generated = _weighted(mix, synthetic) if synthetic else None
    if chosen is not None:
        settled = search.settled(mix, Candidate(chosen.share, chosen.part))
    if synthetic and generated is not None and (part < 1 or mix.prefer):
        ref = (
            store.put_images(generated, search.rows_of(generated, part))
            if part < 1
            else store.put_rows(synthetic.images, 0, len(generated), generated.table)
        )
        generated = load_images(ref)
    soft_labels = None
    if generated is not None and mix.soft:
        soft_labels = _soft_labels(reference, mix, generated, context.runtime())
    have = real.counts()
    added = generated.counts() if generated else dict.fromkeys(have, 0)
    share = mixing.shares(have, added, settled, prepared.classes)
    probabilities = mixing.class_probabilities(have, mixing.drawn_counts(added, share), settled)
    return Recipe(
        real=prepared.splits.train,
        synthetic=ref,
        soft_labels=None if soft_labels is None else store.put_state("soft_labels", {"probabilities": soft_labels}),
        mix=settled,
        chosen=chosen.model_dump(mode="json", include={"share", "part", "steps"}) if chosen else None,
        real_count=tuple(have.values()),
        synthetic_count=tuple(added.values()),
        made_by={} if generated is None else generated.table["source"].value_counts().to_dict(),
        class_probability=tuple(probabilities.tolist()),
        class_share=tuple(share.tolist()),
        synthetic_share=float((probabilities * share).sum()) * settled.until,
        synthetic_ratio=sum(added.values()) / max(1, sum(have.values())),
        drawn=synthetic.images.sha256 if synthetic else None,
        short={prepared.classes[c]: n for c, n in synthetic.short.items()} if synthetic else {},
        funnel=tuple(load_table(synthetic.funnel).to_dict("records")) if synthetic else (),
    )


def _weighted(mix: Mix, synthetic: Synthetic) -> ImageSet:
    """The synthetic images, weighted if the mix prefers some."""
    images = load_images(synthetic.images)
    if mix.prefer is None or len(images) == 0:
        return images
    return mixing.preferred(images, load_table(synthetic.checks), mix.prefer)


def _soft_labels(reference: Ref | None, mix: Mix, images: ImageSet, runtime: Runtime) -> torch.Tensor | None:
    """The reference classifier's probabilities for each image, float32 (N,K), if labels are soft."""
    if not mix.soft:
        return None
    if reference is None:
        raise ValueError("soft labels need the reference classifier")
    classifier = trained_classifier.from_state(load_state(reference), runtime)
    return torch.from_numpy(trained_classifier.predict(classifier, images, runtime))

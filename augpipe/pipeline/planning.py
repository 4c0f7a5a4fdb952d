"""Plan a run before it starts: time its nets, fit its numbers to the budget,
and keep the plan for the next equal command.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from augpipe.core import machine
from augpipe.core.device import pick_device, pick_precision
from augpipe.core.errors import UserError, several
from augpipe.core.files import beside, check_regular, write_json
from augpipe.core.home import home
from augpipe.core.image_spec import ImageSpec
from augpipe.core.machine import cores
from augpipe.data.few_test import few_test_note
from augpipe.data.imbalance import imbalance_ratio
from augpipe.data.sources import Listing
from augpipe.pipeline import choose_transform as trials
from augpipe.pipeline.budget import DEFAULT, QUICK, SIZES, Budget, Numbers, duration, fit, ladder, parse
from augpipe.pipeline.context import workers_and_threads
from augpipe.pipeline.costs import Costs, request
from augpipe.pipeline.defaults import expected_counts, timed_external, timed_survey
from augpipe.pipeline.estimate import Estimate, Images, estimate
from augpipe.pipeline.experiment import Experiment
from augpipe.pipeline.suggestion import NOT_TRIED, POLICY, Choice, Suggestion, Transform
from augpipe.pipeline.timing import Timers
from augpipe.pipeline.validate import check_images, list_images, list_shift

PLANS: Final = "plans"
ROUGH: Final = 1.5  # times the budget: a size whose nets would take longer by the number of its pixels is not timed
POLICIES_FROM: Final = 600.0  # seconds of a budget in which policies are tried too
READING: Final = 0.05  # fraction of the budget that reading the pictures for the trial of transforms may take


@dataclass(frozen=True)
class Plan:
    """What a run will do and is expected to take.

    data: one line each on what the source holds. reused: whether the numbers are those of an earlier equal command.
    budget: None for a config, whose numbers stand.
    """

    experiment: Experiment
    data: tuple[str, ...]
    choices: tuple[Choice, ...]
    estimate: Estimate
    budget: Budget | None = None
    within: bool = True
    reused: bool = False


def for_images(
    suggestion: Suggestion, budget: Budget | None = None, *, alone: bool = False, fresh: bool = False
) -> Plan:
    """The plan for images, with numbers that fit the budget.

    alone: everything runs in this process, without servers. fresh: nets are timed anew. UserError if the user's budget
    is less than any run that makes sense takes.
    """
    budget = budget or parse(DEFAULT, explicit=False)
    planning = _Planning(suggestion, budget, alone)
    stored = None if fresh else planning.stored()
    numbers, expected, transform = stored or planning.fitted()
    within = expected.seconds <= budget.seconds
    if not within and budget.explicit:
        raise UserError(_too_short(budget, expected, suggestion.overrides))
    if stored is None:
        planning.store(numbers, expected, transform)
    suggestion = replace(suggestion, transform=transform)
    return Plan(
        suggestion.experiment(numbers, _note(suggestion.experiment(numbers), numbers, budget)),
        (
            *_data(suggestion.listing, planning.images, suggestion.shift),
            *_few_test(suggestion.listing, planning.images, suggestion.experiment(numbers)),
        ),
        suggestion.choices(numbers),
        expected,
        budget,
        within,
        stored is not None,
    )


def for_config(experiment: Experiment) -> Plan:
    """The plan of an experiment whose numbers stand."""
    listing = list_images(experiment)
    surveyed, read = timed_survey(listing, experiment.image)
    counts = expected_counts(listing, experiment.split)
    train = experiment.imbalance.target(counts["train"], listing.classes)
    spec, counts = surveyed.spec, {**counts, "train": train}
    shift = list_shift(experiment, listing.classes)
    read_shift = 0.0 if shift is None else timed_survey(shift, experiment.image)[1]
    external = timed_external(experiment, listing.classes)
    images = Images(counts, listing.classes, spec.size, spec.channels, read, len(shift or ()), read_shift, *external)
    processes, threads = _processes(experiment, alone=False)
    with Timers(processes) as timers:
        shape = (images.size, images.channels)
        costs = timers.costs(request(experiment, shape, len(images.classes), threads))
    expected = estimate(experiment, images, costs, processes, threads)
    data = (*_data(listing, images, shift), *_few_test(listing, images, experiment))
    return Plan(experiment, data, (), expected)


class _Planning:
    """The numbers of one suggestion for one budget."""

    def __init__(self, suggestion: Suggestion, budget: Budget, alone: bool) -> None:
        self._suggestion, self._budget, self._alone = suggestion, budget, alone
        spec, classes = suggestion.images.spec, suggestion.listing.classes
        shift = (len(suggestion.shift or ()), suggestion.read_shift)
        external = (suggestion.external, suggestion.read_external)
        shape = (spec.size, spec.channels)
        self.images = Images(suggestion.counts, classes, *shape, suggestion.read, *shift, *external)
        self._costs = dict[int, Costs]()

    def fitted(self) -> tuple[Numbers, Estimate, Transform]:
        """The numbers that fit, by timing; the least ones if none do. The time of planning is part of the budget."""
        start, suggestion, wish = time.perf_counter(), self._suggestion, self._suggestion.wish()
        processes, _ = _processes(suggestion.experiment(wish), self._alone)
        rungs = ladder(wish, suggestion.needed(), tuple(self._sizes()))
        with Timers(processes) as timers:

            def seconds(numbers: Numbers) -> float:
                expected = self._estimate(numbers, timers, rough=True).seconds
                if numbers.size not in self._costs and expected <= ROUGH * self._budget.seconds:
                    expected = self._estimate(numbers, timers).seconds
                return expected + self._trial_seconds() + time.perf_counter() - start

            numbers = fit(rungs, seconds, self._budget.seconds)
            least = self._estimate(numbers, timers).seconds
            refused = self._budget.explicit and least > self._budget.seconds
            transform = NOT_TRIED if refused else self._transform(numbers)
            self._suggestion = replace(suggestion, transform=transform)
            return numbers, self._estimate(numbers, timers), transform

    @property
    def _tries_policies(self) -> bool:
        return self._budget.seconds >= POLICIES_FROM

    def _transform(self, numbers: Numbers) -> Transform:
        """The transform that suits the pictures; the default one if trying takes too long, or no arm uses it."""
        experiment = self._suggestion.experiment(numbers)
        if experiment.resplit or all(arm.mix.transform != POLICY for arm in experiment.arms):
            return NOT_TRIED
        if self.images.reading > READING * self._budget.seconds:
            return Transform(why="mirrors are not tried: that would read all pictures, which takes too long")
        return trials.choose_transform(experiment, policies=self._tries_policies)

    def _trial_seconds(self) -> float:
        """Expected seconds of `_transform`, by the nets that were timed last."""
        size = min(self._costs)
        costs = self._costs[size]
        took = trials.seconds(costs.step, costs.batch.get(POLICY, 0.0), size, policies=self._tries_policies)
        return took + self.images.reading

    def _estimate(self, numbers: Numbers, timers: Timers, *, rough: bool = False) -> Estimate:
        experiment = self._suggestion.experiment(numbers)
        images = self.images.resized(experiment.image.size or numbers.size)
        processes, threads = _processes(experiment, self._alone)
        costs = self._costs.get(images.size)
        if costs is None and rough and self._costs:
            known = min(self._costs)  # the size above that was timed last
            costs = self._costs[known].scaled((images.size / known) ** 2)
        elif costs is None:
            shape = (images.size, images.channels)
            wanted = request(experiment, shape, len(images.classes), threads)
            if self._tries_policies:
                more = (POLICY, *trials.OTHERS, trials.WITH_MIRRORS)
                wanted = wanted.model_copy(update={"transforms": tuple(dict.fromkeys((*wanted.transforms, *more)))})
            self._costs[images.size] = costs = timers.costs(wanted)
        return estimate(experiment, images, costs, processes, threads, servers=not self._alone)

    def _sizes(self) -> Iterator[int]:
        """Sizes that the images may have instead, if the user set none; those that its nets support."""
        suggestion = self._suggestion
        if suggestion.fixed.get("image", {}).get("size") is not None:
            return
        for size in SIZES:
            experiment = suggestion.experiment(suggestion.standard())
            try:
                check_images(experiment, ImageSpec(size, self.images.channels), self.images.classes)
            except UserError:
                continue
            yield size

    def _path(self) -> Path:
        return home() / PLANS / f"{_digest(self._depends_on())[:32]}.json"

    def _depends_on(self) -> dict[str, Any]:
        suggestion = self._suggestion
        experiment = suggestion.experiment(suggestion.wish())
        runner, images = experiment.runner, self.images
        device = pick_device(runner.device)
        _, threads = _processes(experiment, self._alone)
        environment = machine.environment(device, pick_precision(device, runner.precision), threads, cores())
        return {
            "budget": self._budget.seconds,
            "overrides": list(suggestion.overrides),
            "classes": list(images.classes),
            "counts": {split: sorted(of.items()) for split, of in images.counts.items()},
            "image": [images.size, images.channels],
            "alone": self._alone,
            "pictures": self._suggestion.images.digest,
            **({"external": suggestion.external} if suggestion.external else {}),
            **({} if suggestion.shift is None else {"shift": sorted(suggestion.shift.counts().items())}),
            "with": {**environment, "chip": machine.chip(device)},
        }

    def stored(self) -> tuple[Numbers, Estimate, Transform] | None:
        """The plan of an earlier equal command; None if there is none, or it cannot be read."""
        try:
            check_regular(self._path())
            plan = json.loads(self._path().read_bytes())
            if plan["depends_on"] != json.loads(json.dumps(self._depends_on())):
                return None
            values = {**plan["numbers"], "arms": tuple(plan["numbers"]["arms"])}
            return Numbers(**values), Estimate.model_validate(plan["estimate"]), Transform(**plan["transform"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def store(self, numbers: Numbers, expected: Estimate, transform: Transform) -> None:
        """Write the plan, for the next equal command."""
        path = self._path()
        with beside(path) as draft:
            plan = {"numbers": asdict(numbers), "transform": transform._asdict()}
            plan["estimate"] = expected.model_dump(mode="json")
            write_json(draft, {**plan, "depends_on": self._depends_on()})


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _processes(experiment: Experiment, alone: bool) -> tuple[int, int]:
    """Processes of a run, and threads of each."""
    jobs = len(experiment.seeds) * len(experiment.arms)
    processes, threads = workers_and_threads(experiment.runner, jobs)
    return 1 if alone else processes, threads


def _note(experiment: Experiment, numbers: Numbers, budget: Budget) -> str:
    """That a run is a first look, if its budget leaves no time for a confirm stage."""
    if experiment.confirm != "off" or (numbers.replicates and budget.seconds > parse(QUICK).seconds):
        return ""
    return (
        f"A first look: {several(len(experiment.seeds), 'seed')} within {budget.text}. A gain that it shows is not "
        "confirmed; repeat with more time (--budget 1h) and the confirm stage before you rely on it."
    )


def _too_short(budget: Budget, expected: Estimate, overrides: Sequence[str]) -> str:
    stay = (
        "; values of --set stay as they are" if set(overrides) - {"confirm=off"} else ""
    )  # that of --quick costs nothing
    return (
        f"a budget of {budget.text} is too short: the least that makes sense takes about "
        f"{duration(expected.seconds)} here, with what else the machine does now{stay}; give more with "
        "--budget, or fewer or smaller images"
    )


def _data(listing: Listing, images: Images, shift: Listing | None) -> Iterator[str]:
    """What the source holds, and what is wrong with it, as far as no picture has to be read."""
    counts = listing.counts()
    n = several(len(listing), "picture")
    yield f"{n} of {several(len(counts), 'class')}; {images.size} px, {'colour' if images.channels == 3 else 'grey'}"
    ranked = sorted(counts.items(), key=lambda item: -item[1])
    some = ranked if len(ranked) <= 8 else [*ranked[:4], ("...", 0), *ranked[-3:]]
    named = ", ".join(f"{name} {count:,}" if count else name for name, count in some)
    ratio = imbalance_ratio(dict(enumerate(counts.values())))
    yield f"classes: {named} (imbalance ratio {ratio:.1f})"
    sides = ", ".join(f"{split} {images.number(split):,}" for split in ("train", "val", "test"))
    yield f"expected splits: {sides}"
    if listing.bad:
        yield f"{several(len(listing.bad), 'file')} that cannot be used"
    yield from listing.notes
    if shift is not None:
        named = ", ".join(f"{name} {count:,}" for name, count in shift.counts().items())
        yield f"second test set: {several(len(shift), 'picture')} ({named})"
        if shift.bad:
            yield f"second test set: {several(len(shift.bad), 'file')} that cannot be used"
        yield from (f"second test set: {note}" for note in shift.notes)


def _few_test(listing: Listing, images: Images, experiment: Experiment) -> tuple[str, ...]:
    """That no verdict is possible with so few test images; of groups that is known only when they are divided."""
    kind = experiment.split.kind
    if kind == "auto":
        kind = "stratified" if listing.splits is None else "official"
    if listing.groups is not None:
        return ()
    test = {name: images.counts["test"].get(label, 0) for label, name in enumerate(images.classes)}
    return few_test_note(test, listing.counts(), "image", kind)

"""Expected time, memory and disk of an experiment:
its graph of calls, with the seconds of each, over the run's processes.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from pydantic import BaseModel

from augpipe.classifiers.heads import OfFeatures
from augpipe.classifiers.options import ClassifierOptions, Mix
from augpipe.comparison.finalists import Finalists
from augpipe.generators.options import GeneratorConfig
from augpipe.pipeline import cache
from augpipe.pipeline.confirm import further, pooled_seeds, replicates, stage
from augpipe.pipeline.costs import Costs, name_of
from augpipe.pipeline.experiment import Experiment
from augpipe.pipeline.graph import More, call_stages, train_and_score
from augpipe.pipeline.records import Prepared, TrainingSpec
from augpipe.pipeline.stages.mix import search_steps
from augpipe.pipeline.stages.train_generator import SHOWN, SHOWN_CLASSES, VALIDATED
from augpipe.synthetic.options import Curation, FidelityOptions

# In seconds of a core that takes PYTHON for the loop of `timing`. BEGIN and END: a demo whose results are all reused
# takes 24 to 29 s (docs/results/speed.md), and starts no worker. The others are first guesses, to be set by
# tests/benchmarks/bench_plan.py on a machine that does nothing else.
PYTHON: Final = 0.012
BEGIN, END = 24.0, 8.0  # servers, database, workers; then the report and its models
EACH: Final = 0.35  # of each task, besides what its stage computes
READ: Final = 2.5  # times what a sample took: pixels are also hashed, compared and stored
CANDIDATES: Final = 2.5  # images drawn for one that the checks let pass
CHECKED: Final = 1e-3  # of a candidate, besides its drawing and its features
# Of a measurement, of each of its images, and of each pair of them: 1.0 s of processor time for 640 images on a core
# that takes 0.57 times PYTHON (the set `digits` of bench_plan), 74 s for 20,000 (docs/results/speed.md).
FIDELITY: Final = (0.8, 1.4e-3, 1.15e-7)
HEAD: Final = 2.0  # a head's own training
DIVERSE: Final = 8  # images of a class whose diversity is measured at a tick
PARENT: Final = 700_000_000  # bytes of the command and its server
FILES: Final = 30_000_000  # bytes of databases and report


class Row(BaseModel, frozen=True):
    """A line of the plan: stage, number of tasks, and their seconds together."""

    stage: str
    tasks: int
    seconds: float


class Estimate(BaseModel, frozen=True):
    """rows: by stage. seconds: from start to end. memory, disk: bytes at most."""

    rows: tuple[Row, ...]
    seconds: float
    processes: int
    threads: int
    memory: int
    disk: int


@dataclass(frozen=True)
class Images:
    """What is expected of the source: images of each split and class, their shape, seconds to read them all.

    shift, read_shift: images of the second test set, and seconds to read them. external, read_external: of images that
    were made elsewhere.
    """

    counts: Mapping[str, Mapping[int, int]]
    classes: tuple[str, ...]
    size: int
    channels: int
    read: float
    shift: int = 0
    read_shift: float = 0.0
    external: int = 0
    read_external: float = 0.0

    def resized(self, size: int) -> Images:
        """The same at another size."""
        return replace(self, size=size)

    def number(self, *splits: str) -> int:
        """Images of these splits."""
        return sum(sum(self.counts[split].values()) for split in splits)

    @property
    def reading(self) -> float:
        """Seconds to read and check all of them."""
        return READ * (self.read + self.read_shift + self.read_external)

    @property
    def bytes(self) -> int:
        """Bytes of one image."""
        return self.channels * self.size**2


@dataclass(frozen=True, eq=False)
class Task:
    """A call of the graph; in place of its result, it is passed on to the calls that need it."""

    stage: cache.Stage
    inputs: tuple[Any, ...]

    @property
    def after(self) -> list[Task]:
        """The tasks whose results it needs."""
        return list(_tasks(self.inputs))


def _tasks(values: Any) -> Iterator[Task]:
    for value in values:
        if isinstance(value, Task):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tasks(value)


def graph(experiment: Experiment, images: Images, nested: More | None = None, pooled: Sequence[int] = ()) -> list[Task]:
    """Every call of the comparison, in order, none made; nested: of the confirm stage (see `train_and_score`), in which
    the calls of the seeds `pooled` are not repeated."""
    tasks = list[Task]()

    def call(stage: cache.Stage, *inputs: Any, title: str, total: float | None = None) -> Task:
        tasks.append(Task(stage, inputs))
        return tasks[-1]

    # Only what the graph reads.
    values: dict[str, Any] = {"counts": images.counts, "classes": images.classes, "shift": images.shift or None}
    prepared = Prepared.model_construct(**values)
    by_seed = dict.fromkeys(experiment.seeds, prepared)
    if nested is None:
        call_stages(experiment, by_seed, call)
    else:
        first = experiment.model_copy(update={"seeds": tuple(pooled)})
        known = train_and_score(first, by_seed, call) if pooled else None
        tasks.clear()
        train_and_score(experiment, by_seed, call, nested, known)
    return tasks


def confirm_graph(experiment: Experiment, images: Images, seconds: _Seconds) -> list[Task]:
    """Every call of the confirm stage if it goes on to its end, with the arms that take longest;
    empty if there is none.
    """
    options = experiment.confirm
    if options == "off" or experiment.resplit:
        return []
    cost = {
        arm.name: sum(map(seconds.of, graph(stage(experiment, [arm.name], [0]), images, {}))) for arm in experiment.arms
    }
    generative = experiment.generative()
    longest = [
        max(names, key=lambda name: cost[name])
        for kind in (True, False)
        if (names := [name for name in cost if generative[name] == kind])
    ]
    if len(longest) < 2:
        return []
    pooled = pooled_seeds(experiment, Finalists(*longest))
    every = replicates(experiment, options, pooled)
    part = stage(experiment, [*longest, experiment.baseline], list(every))
    return graph(part, images, further(longest, every, list(every)), pooled)


def estimate(
    experiment: Experiment, images: Images, costs: Costs, processes: int, threads: int, *, servers: bool = True
) -> Estimate:
    """What a run is expected to take. servers: whether it is the command's, with its server and worker processes."""
    seconds = _Seconds(costs, images)
    explored = graph(experiment, images)
    confirmed = confirm_graph(experiment, images, seconds)
    tasks = [*explored, *confirmed]
    speed = costs.python / PYTHON
    spent = {task: EACH * speed * servers + seconds.of(task) for task in tasks}
    fixed = speed * (BEGIN * servers + END)
    rows = [*_rows(explored, spent), *_rows(confirmed, spent, CONFIRM)]
    reading = images.reading
    return Estimate(
        rows=(
            Row(stage="read the pictures", tasks=1, seconds=reading),
            *rows,
            Row(stage="start, tracking and report", tasks=1, seconds=fixed),
        ),
        seconds=reading + fixed + wall(explored, spent, processes) + wall(confirmed, spent, processes),
        processes=processes,
        threads=threads,
        memory=PARENT * servers + processes * (costs.memory + images.bytes * images.number("train")),
        disk=_disk(tasks, images, costs),
    )


def _rows(tasks: Sequence[Task], spent: Mapping[Task, float], prefix: str = "") -> list[Row]:
    """The tasks of each stage and their seconds together."""
    names = {task: TITLES.get(task.stage.__name__, OTHER) for task in tasks}
    return [
        Row(stage=prefix + name, tasks=len(members), seconds=sum(spent[task] for task in members))
        for name in dict.fromkeys((*TITLES.values(), OTHER))
        if (members := [task for task in tasks if names[task] == name])
    ]


CONFIRM: Final = "confirm: "  # before the stages of the second round
OTHER: Final = "mixtures and scores"
TITLES: Final = {
    "train_reference": "reference classifiers",
    "train_generator": "generators",
    "synthesize": "synthetic images and their checks",
    "choose": "search of the mix",
    "train_classifier": "classifiers of the arms",
    "train_head": "heads of classifiers",
    "measure": "fidelity and memorisation",
}


def wall(tasks: Sequence[Task], spent: Mapping[Task, float], processes: int) -> float:
    """Seconds until the last task ends: each process takes the first task whose inputs are there;
    those of other tasks are.
    """
    ends, pending, awaited = dict[Task, float](), list(tasks), set(tasks)
    free = [0.0] * processes
    while pending:
        now = heapq.heappop(free)
        task = next((t for t in pending if all(ends.get(a, now + 1) <= now for a in t.after if a in awaited)), None)
        if task is None:  # wait for the next one that ends
            heapq.heappush(free, min(end for end in ends.values() if end > now))
            continue
        pending.remove(task)
        ends[task] = now + spent[task]
        heapq.heappush(free, ends[task])
    return max(ends.values(), default=0.0)


class _Seconds:
    """Expected seconds of each stage in one process; methods have the names and inputs of the stages."""

    def __init__(self, costs: Costs, images: Images) -> None:
        self._costs, self._images = costs, images
        self._speed = costs.python / PYTHON

    def of(self, task: Task) -> float:
        """Seconds of a call; 0 for a stage without a method, which takes next to none."""
        method = getattr(self, task.stage.__name__, None)
        return 0.0 if method is None else float(method(*task.inputs))

    def _training(self, options: ClassifierOptions, transform: Any, steps: int, *, evaluations: int) -> float:
        per_step = self._costs.step + self._costs.batch[name_of(transform)]
        return steps * per_step + evaluations * self._costs.predicted * self._images.number("val")

    def train_reference(self, prepared: Prepared, options: ClassifierOptions, seed: int) -> float:
        return self._training(options, "light", options.steps, evaluations=options.evaluations)

    def train_classifier(
        self, prepared: Prepared, recipe: Task, options: ClassifierOptions, arm: str, seed: int
    ) -> float:
        mix: Mix = recipe.inputs[1]
        return self._training(options, mix.transform, options.steps, evaluations=options.evaluations)

    def train_head(
        self, prepared: Prepared, recipe: Task, base: Task, options: ClassifierOptions, arm: str, seed: int
    ) -> float:
        mix: Mix = recipe.inputs[1]
        if not isinstance(mix.head, OfFeatures):
            return self._costs.predicted * self._images.number("val")
        views = mix.head.views if mix.transform is not None else 1
        drawn = views * self._images.number("train") / options.batch * self._costs.batch[name_of(mix.transform)]
        shown = self._costs.predicted * (views * self._images.number("train") + self._images.number("val"))
        return drawn + shown + self._speed * HEAD

    def choose(
        self, prepared: Prepared, mix: Mix, synthetic: Task, reference: Task, options: ClassifierOptions, seed: int
    ) -> float:
        steps = search_steps(mix, options.steps)
        evaluations = options.evaluations * steps // options.steps
        return self._training(options, mix.transform, steps, evaluations=evaluations)

    def train_generator(
        self,
        prepared: Prepared,
        reference: Task,
        spec: TrainingSpec,
        start: Task | None,
        options: GeneratorConfig,
        classifier: ClassifierOptions,
    ) -> float:
        costs = self._costs.generators[spec.name]
        single = spec.pooled or spec.label is not None
        kimg = options.start_kimg if spec.other else options.pretrain if spec.pooled else options.kimg
        classes = SHOWN_CLASSES if spec.other else 1 if single else len(self._images.classes)
        drawn = classes * (VALIDATED + SHOWN + DIVERSE)
        tick = costs.settle + drawn * costs.drawn + classes * VALIDATED * self._costs.predicted
        ticks = options.ticks if options.kimg else 1
        embedded = self._costs.predicted * self._images.number("val")
        return 1000 * kimg * costs.shown / spec.devices + ticks * tick + embedded

    def synthesize(
        self,
        prepared: Prepared,
        reference: Task,
        generator: Task,
        counts: Mapping[int, int],
        curation: Curation | None,
        features: str,
    ) -> float:
        costs, n = self._costs.generators[_name_of(generator)], sum(counts.values())
        if curation is None:
            return costs.settle + n * costs.drawn
        each = costs.drawn + self._costs.predicted + self._speed * CHECKED
        real = self._costs.predicted * self._images.number("train", "val")
        return costs.settle + CANDIDATES * n * each + real

    def measure(
        self,
        prepared: Prepared,
        reference: Task,
        generator: Task,
        options: FidelityOptions,
        classifier: ClassifierOptions,
    ) -> float:
        costs = self._costs.generators[_name_of(generator)]
        drawn = options.images * len(self._images.classes)
        real = self._images.number("train", "val")
        seconds = costs.settle + drawn * costs.drawn + (drawn + real) * self._costs.predicted
        once, each, pair = FIDELITY
        seconds += self._speed * (once + each * (drawn + real) + pair * (drawn + real) ** 2)
        if options.gan_train:
            seconds += self._training(classifier, "light", classifier.steps, evaluations=1)
        return seconds

    def score(self, prepared: Prepared, classifier: Task, recipe: Task) -> float:
        return self._costs.predicted * self._images.number("val", "test")

    def score_with_shift(self, prepared: Prepared, classifier: Task, recipe: Task, shift: Any) -> float:
        return self.score(prepared, classifier, recipe) + self._costs.predicted * self._images.shift


def _name_of(generator: Task) -> str:
    """Name of the generator that a task trains, or joins from models of single classes."""
    if generator.stage.__name__ == "train_generator":
        spec: TrainingSpec = generator.inputs[2]
        return spec.name
    return _name_of(generator.inputs[2][0])


def _disk(tasks: Sequence[Task], images: Images, costs: Costs) -> int:
    """Bytes of the pictures, of each synthetic set and of each checkpoint."""
    total = FILES + images.bytes * (images.number("train", "val", "test") + images.shift + images.external)
    for task in tasks:
        if task.stage.__name__ == "synthesize":
            total += images.bytes * sum(task.inputs[3].values())
        elif task.stage.__name__ == "train_generator":
            total += 2 * costs.generators[task.inputs[2].name].bytes  # in the store and as a tracked model
    return total

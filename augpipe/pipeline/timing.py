"""Time a few real steps of every net of an experiment, in as many processes at once as the run will have."""

from __future__ import annotations

import multiprocessing
import resource
import signal
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from io import BytesIO
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Final

import numpy as np
import torch

from augpipe.classifiers import train as classification
from augpipe.classifiers import trained as trained_classifier
from augpipe.classifiers.mixing import Batch, Mixture
from augpipe.classifiers.options import Mix
from augpipe.core.device import Pool, Runtime, start
from augpipe.core.errors import RunError
from augpipe.core.images import ImageSet, provenance
from augpipe.core.processes import ignore_terminal
from augpipe.core.seeds import torch_stream
from augpipe.generators import families
from augpipe.generators.class_draws import ClassUniform
from augpipe.generators.options import GeneratorConfig
from augpipe.generators.protocol import Problem
from augpipe.pipeline.costs import LOOP, Costs, GeneratorCosts, Request, mean, name_of

AT_ONCE: Final = 4  # processes that are timed together, at most
WARM: Final = 2  # first steps of a classifier, in which kernels are chosen
LAZY: Final = 16  # steps between those with a penalty; the first step has one
DRAWN: Final = 64  # images drawn from a generator at once


def measure(wanted: Request) -> Costs:
    """Time the nets in this process, on noise of the images' shape."""
    runtime = start(wanted.device, wanted.precision, wanted.threads)
    images = _noise(wanted)
    step, predicted = _classifier(wanted, images, runtime)
    generators = {
        name: _generator(options, images, runtime, wanted.limit) for name, options in wanted.generators.items()
    }
    batch = {name_of(transform): _batch(wanted, transform, images, runtime) for transform in wanted.transforms}
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Costs(
        python=_python(runtime),
        step=max(0.0, step - batch.get("", 0.0)),
        batch=batch,
        predicted=predicted,
        generators=generators,
        memory=used if sys.platform == "darwin" else 1024 * used,
    )


def _python(runtime: Runtime) -> float:
    times = [_clock(runtime)]
    for _ in range(10):
        sum(n + 1 for n in range(LOOP))
        times.append(_clock(runtime))
    return float(np.diff(times).mean())


def _noise(wanted: Request) -> ImageSet:
    n = max(2 * wanted.classes, 256)
    shape = (n, wanted.channels, wanted.size, wanted.size)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    names = tuple(str(label) for label in range(wanted.classes))
    table = provenance([str(row) for row in range(n)])
    return ImageSet(pixels, np.arange(n, dtype=np.int64) % wanted.classes, names, table)


def _clock(runtime: Runtime) -> float:
    if runtime.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


class _EnoughError(Exception):
    """Ends a training that is only timed."""


class _Timed(Mixture):
    """Batches that note when each is drawn, and end the training after `limit` seconds."""

    times: list[float]
    limit: float
    runtime: Runtime

    def draw(self, n: int, done: float = 0.0) -> Batch:
        """The next batch; raises _EnoughError after the limit."""
        self.times.append(_clock(self.runtime))
        if len(self.times) > WARM + 2 and self.times[-1] - self.times[0] > self.limit:
            raise _EnoughError
        return super().draw(n, done)


def _classifier(wanted: Request, images: ImageSet, runtime: Runtime) -> tuple[float, float]:
    """Seconds of a training step, and of one image's prediction."""
    timed = _Timed(images, None, Mix(), runtime, seed=0)
    timed.times, timed.limit, timed.runtime = [], wanted.limit, runtime
    # The published weights of a pretrained net take as long as its own, and need no download.
    changes = {"steps": 10**6, "evaluations": 1, "pretrained": False}
    options = wanted.classifier.model_copy(update=changes)
    try:
        classification.train(timed, images, options, runtime, seed=0)
    except _EnoughError:
        step = float(np.diff(timed.times)[WARM:].mean())
    changes = {"steps": 1, "batch": 2, "evaluations": 1, "pretrained": False}
    trained = classification.train(
        Mixture(images, None, Mix(), runtime, seed=0), images, options.model_copy(update=changes), runtime, seed=0
    )
    began = _clock(runtime)
    trained_classifier.predict(trained, images, runtime)
    return step, (_clock(runtime) - began) / len(images)


def _batch(wanted: Request, transform: Any, images: ImageSet, runtime: Runtime) -> float:
    """Seconds of drawing one batch; the first is not counted."""
    mixture = Mixture(images, None, Mix(transform=transform), runtime, seed=0)
    times = [_clock(runtime)]
    while len(times) < 3 or (len(times) < 10 and times[-1] - times[0] < wanted.limit / 4):
        mixture.draw(wanted.classifier.batch)
        times.append(_clock(runtime))
    return float(np.diff(times)[1:].mean())


def _generator(options: GeneratorConfig, images: ImageSet, runtime: Runtime, limit: float) -> GeneratorCosts:
    """Draw images, then train for some steps."""
    problem = Problem(images.spec, images.classes)
    generator = families.build_one(options, problem, runtime, 0)
    generator.prepare(images)
    labels, times = torch.arange(DRAWN) % len(images.classes), [_clock(runtime)]
    for _ in range(3):
        generator.sample(labels, torch_stream(0, "timing"))
        times.append(_clock(runtime))
    drawn = float(np.diff(times)[1:].min()) / DRAWN
    # Images from which the averaged weights take their batch statistics; see `LatentGenerator`.
    settled = float(np.prod(getattr(generator, "recalibration", (0,))))
    shown = 0.0
    if options.kimg:
        pool = Pool(images, runtime)
        rows = ClassUniform(images, torch_stream(0, "timing"), options.together)

        def step() -> None:
            batch = rows.draw(options.batch)
            generator.step(pool.gather(batch), pool.labels[batch])

        shown = _steps(step, runtime, limit) / options.batch
    return GeneratorCosts(shown=shown, settle=settled * drawn, drawn=drawn, bytes=_stored(generator.state_dict()))


def _stored(state: Mapping[str, Any]) -> int:
    """Bytes of a checkpoint."""
    stored = BytesIO()
    torch.save(state, stored)
    return stored.tell()


def _steps(step: Callable[[], None], runtime: Runtime, limit: float) -> float:
    """Mean seconds of a step, with one of LAZY like the first."""
    times = [_clock(runtime)]
    while len(times) < 3 or (len(times) <= LAZY + 1 and times[-1] - times[0] < limit):
        step()
        times.append(_clock(runtime))
    first, *rest = np.diff(times).tolist()
    usual = float(np.mean(rest))
    return usual if len(rest) >= LAZY else usual + max(0.0, first - usual) / LAZY


class Timers:
    """Processes that time the same nets at the same moment, as those of a run compute; a single one is this process."""

    def __init__(self, processes: int) -> None:
        self._count = min(processes, AT_ONCE)
        self._processes = list[BaseProcess]()
        self._pipes = list[Connection]()

    def __enter__(self) -> Timers:
        # A copy of this process has its imports, which take longer than the timing. It uses no device but the
        # processor.
        context: Any = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
        for _ in range(self._count if self._count > 1 else 0):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, ours), daemon=True)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # threads that only wait
                process.start()
            theirs.close()
            self._processes.append(process)
            self._pipes.append(ours)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process, pipe in zip(self._processes, self._pipes, strict=True):
            process.kill()
            process.join()
            pipe.close()

    def costs(self, wanted: Request) -> Costs:
        """The mean over the processes; RunError if one ended."""
        if not self._processes:
            return measure(wanted)
        try:
            for pipe in self._pipes:
                pipe.send(wanted)
            answers = [pipe.recv() for pipe in self._pipes]
        except (EOFError, OSError):
            raise RunError("a process that timed the nets of the plan ended") from None
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return mean(answers)


def _serve(pipe: Connection, other: Connection) -> None:
    """Answer requests until the other end is closed."""
    ignore_terminal()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    other.close()
    while True:
        try:
            wanted = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(measure(wanted))
        except Exception as error:
            pipe.send(RunError(f"the nets of the plan could not be timed: {error}"))

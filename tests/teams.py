"""What tests run in several processes that train together; spawned processes import it by name."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from contracts import draw, few_images_for_statistics, fresh, steps, tiny
from shapes import shapes
from torch import nn

from augpipe.core import device as runtime
from augpipe.core import distributed as parallel
from augpipe.core.checkpoint import Checkpoint
from augpipe.core.errors import UserError
from augpipe.core.seeds import torch_stream
from augpipe.core.team import Team, launch
from augpipe.generators import families
from augpipe.generators import fit as training
from augpipe.generators.protocol import Problem
from augpipe.generators.ticks import Hooks
from augpipe.nn.norms import GlobalBatchNorm2d, minibatch_stddev

Told = list[dict[str, float]]
TWO = Team(2, "cpu")


def launched(work: Callable[..., Any], *given: Any) -> Any:
    """What a team of two gives; none of it is left then, however it ends."""
    try:
        return launch(TWO, work, *given)
    finally:
        assert not multiprocessing.active_children()


def several(calls: dict[str, tuple[str, tuple[Any, ...]]]) -> dict[str, Any]:
    """What these functions of this module give, one after the other, by name: a team takes seconds to come up."""
    return {name: globals()[call](*given) for name, (call, given) in calls.items()}


@few_images_for_statistics()
def in_step(names: list[str], n: int, warm: bool = False) -> dict[str, tuple[Told, Any, Any]]:
    """Losses of n steps on equal global batches, what is then drawn, and the generator's own counts."""
    here = runtime.start("cpu", "32-true", threads=1)
    train, found = shapes((8, 6, 5), size=16), {}
    for name in names:
        generator: Any = fresh(name, train, here)
        generator._warm = warm  # bagan's: past its autoencoder from the first step
        told = [parallel.means({k: torch.tensor(v) for k, v in one.items()}) for one in steps(generator, train, n)]
        adaptive = getattr(generator, "adaptive", None)
        found[name] = (told, draw(generator, [0, 1, 2] * 4).numpy(), adaptive and adaptive.state_dict())
    return found


@few_images_for_statistics()
def fitted(name: str) -> tuple[list[tuple[float, float, dict[str, float]]], list[int], list[int]]:
    """A whole training's ticks (kimg, metric, losses), the rows that it was shown, and how many each process had."""
    here = runtime.start("cpu", "32-true", threads=1)
    train = shapes((40, 6, 5), size=16)
    config = tiny(name, batch=8, kimg=0.16, ticks=2)
    generator: Any = families.build(config, Problem(train.spec, train.classes), here, 0)
    shown, parts = [], []
    step, local_batch = generator.step, generator.local_batch

    def watched(images: torch.Tensor, labels: torch.Tensor) -> Any:
        shown.append(labels)
        return step(images, labels)

    def counted(images: torch.Tensor, labels: torch.Tensor) -> Any:
        found = local_batch(images, labels)
        parts.append(len(found[0]))
        return found

    generator.step, generator.local_batch = watched, counted
    hooks = Hooks(lambda made: float(made.sample(torch.tensor([0, 1, 2]), torch_stream(0)).float().mean()))
    done = training.fit(generator, train, config, here, seed=3, hooks=hooks)
    return [(t.kimg, t.metric, t.losses) for t in done.ticks], torch.cat(shown).tolist(), parts


def normed(x: Any, weight: Any) -> list[Any]:
    """Batch norm of all of x: output, a loss's gradient, and the gradient of a penalty on gradients;
    running statistics.
    """
    x, weight = torch.from_numpy(x).float(), torch.from_numpy(weight).float()
    norm = nn.BatchNorm2d(x.shape[1])
    with torch.no_grad():
        norm.weight.copy_(torch.arange(1.0, x.shape[1] + 1))
    norm = GlobalBatchNorm2d(norm) if parallel.size() > 1 else norm
    mine, weights = parallel.local_rows(x).clone().requires_grad_(), parallel.local_rows(weight)
    out = norm(mine)
    (gradient,) = torch.autograd.grad((out.square() * weights).sum(), mine, create_graph=True)
    penalty = gradient.square().sum()
    (again,) = torch.autograd.grad(penalty, mine)
    kept = norm.running_mean, norm.running_var
    return [
        *(parallel.gather(y.detach()).numpy() for y in (out, gradient, again)),
        *(y.numpy() for y in kept if y is not None),
    ]


def mistaken() -> None:
    raise UserError("image.size is 17")


def broken() -> None:
    if not parallel.leads():
        raise RuntimeError("the second one is broken")
    parallel.agreed(None)  # waits for it


def one_sided() -> None:
    """A disk that is full for the second process alone."""
    if not parallel.leads():
        raise UserError("No space left on device")
    parallel.agreed(None)


def killed() -> None:
    """The second process is gone, the first one waits for it."""
    if not parallel.leads():
        os.kill(os.getpid(), signal.SIGKILL)
    parallel.wait_for_all()


def large() -> bytes:
    """More than fits a pipe."""
    return bytes(1_000_000)


def endless(marks: str) -> None:
    """Leaves its process's number, and goes on for ever."""
    Path(marks, str(os.getpid())).touch()
    while True:
        time.sleep(0.1)


def begun(marks: Path) -> list[int]:
    """The numbers of both processes of `endless`."""
    until = time.monotonic() + 120
    while len(found := [int(mark.name) for mark in marks.iterdir()]) < 2:
        assert time.monotonic() < until
        time.sleep(0.1)
    return found


def rung(marks: str) -> None:
    """A team that goes on for ever, and a signal that raises TimeoutError where it is waited for."""

    def too_long(*_: object) -> None:
        raise TimeoutError("too long")

    def ring() -> None:
        try:
            begun(Path(marks))
        finally:
            os.kill(os.getpid(), signal.SIGUSR1)

    signal.signal(signal.SIGUSR1, too_long)
    threading.Thread(target=ring).start()
    launched(endless, marks)


@few_images_for_statistics()
def resumed(checkpoint: str, breaks: bool) -> tuple[list[float], Any]:
    """A training of three ticks, saved at each; one that breaks ends at its second look."""
    here = runtime.start("cpu", "32-true", threads=1)
    train, looks = shapes((40, 6, 5), size=16), []
    config = tiny("cgan", batch=8, kimg=0.12, ticks=3)
    generator: Any = families.build(config, Problem(train.spec, train.classes), here, 0)

    def look(made: Any) -> float:
        looks.append(1)
        if breaks and len(looks) == 2:
            raise RuntimeError("broken at the second tick")
        return float(made.sample(torch.tensor([0, 1, 2]), torch_stream(0)).float().mean())

    kept = Checkpoint(Path(checkpoint), {"config": "tiny"})
    done = training.fit(generator, train, config, here, seed=3, hooks=Hooks(look), checkpoint=kept)
    generator.load_state_dict(done.state)
    return [t.metric for t in done.ticks], draw(generator, [0, 1, 2]).numpy()


def halves(n: int) -> tuple[Any, Any]:
    """The minibatch's one more map, and the gradient of a penalty on its gradient,
    of parts that hold no whole groups.
    """
    x = torch.randn(n, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    mine = parallel.local_rows(x).clone().requires_grad_()
    out = minibatch_stddev(mine)
    (gradient,) = torch.autograd.grad(out.square().sum(), mine, create_graph=True)
    (again,) = torch.autograd.grad(gradient.square().sum(), mine)
    return tuple(parallel.gather(y.detach()).numpy() for y in (out, again))


if __name__ == "__main__":  # a process to be killed with its team at work
    launch(TWO, endless, sys.argv[1])

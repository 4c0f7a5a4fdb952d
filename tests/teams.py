"""What tests run in several processes that train together; spawned processes import it by name."""

from __future__ import annotations

from typing import Any

import torch
from conftest import shapes
from contracts import draw, fresh, steps, tiny
from torch import nn

from augpipe import generators, parallel, runtime, training
from augpipe.errors import UserError
from augpipe.generators import Problem
from augpipe.nn.norms import GlobalBatchNorm2d
from augpipe.seeds import torch_stream

Told = list[dict[str, float]]


def in_step(names: list[str], n: int) -> dict[str, tuple[Told, Any, Any]]:
    """Losses of n steps on equal global batches, what is then drawn, and the generator's own counts."""
    here = runtime.start("cpu", "32-true", threads=1)
    train, found = shapes((8, 6, 5), size=16), {}
    for name in names:
        generator: Any = fresh(name, train, here)
        told = [
            parallel.means({k: torch.tensor(v) for k, v in one.items()})
            for one in steps(generator, train, n)
        ]
        adaptive = getattr(generator, "adaptive", None)
        found[name] = (
            told,
            draw(generator, [0, 1, 2] * 4).numpy(),
            adaptive and adaptive.state_dict(),
        )
    return found


def fitted(name: str) -> tuple[list[tuple[float, float, dict[str, float]]], list[int], list[int]]:
    """A whole training's ticks (kimg, metric, losses), the rows that it was shown, and how many each process had."""
    here = runtime.start("cpu", "32-true", threads=1)
    train = shapes((40, 6, 5), size=16)
    config = tiny(name, batch=8, kimg=0.16, ticks=2)
    generator: Any = generators.build(config, Problem(train.spec, train.classes), here, 0)
    shown, parts = [], []
    step, own_part = generator.step, generator.own_part

    def watched(images: torch.Tensor, labels: torch.Tensor) -> Any:
        shown.append(labels)
        return step(images, labels)

    def counted(images: torch.Tensor, labels: torch.Tensor) -> Any:
        found = own_part(images, labels)
        parts.append(len(found[0]))
        return found

    generator.step, generator.own_part = watched, counted
    hooks = training.Hooks(
        lambda made: float(made.sample(torch.tensor([0, 1, 2]), torch_stream(0)).float().mean())
    )
    done = training.fit(generator, train, config, here, seed=3, hooks=hooks)
    return [(t.kimg, t.metric, t.losses) for t in done.ticks], torch.cat(shown).tolist(), parts


def normed(x: Any, weight: Any) -> list[Any]:
    """Batch norm of all of x: output, a loss's gradient, and the gradient of a penalty on gradients; running statistics."""
    x, weight = torch.from_numpy(x).float(), torch.from_numpy(weight).float()
    norm = nn.BatchNorm2d(x.shape[1])
    with torch.no_grad():
        norm.weight.copy_(torch.arange(1.0, x.shape[1] + 1))
    norm = GlobalBatchNorm2d(norm) if parallel.size() > 1 else norm
    mine, weights = parallel.own(x).clone().requires_grad_(), parallel.own(weight)
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

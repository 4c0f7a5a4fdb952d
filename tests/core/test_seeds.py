from __future__ import annotations

import torch

from augpipe.core import seeds


def test_streams_are_named_and_independent() -> None:
    draws = {
        tuple(torch.rand(4, generator=seeds.torch_stream(root, *names)).tolist())
        for root in (0, 1)
        for names in (("a",), ("b",), ("a", "b"), ("ab",), ("a", 1), ())
    }
    assert len(draws) == 12
    again = torch.rand(4, generator=seeds.torch_stream(0, "a"))
    assert torch.equal(again, torch.rand(4, generator=seeds.torch_stream(0, "a")))
    assert seeds.numpy_stream(3, "x").integers(1 << 30) == seeds.numpy_stream(3, "x").integers(1 << 30)


def test_a_restored_state_goes_on_where_it_was() -> None:
    rngs = {"a": seeds.torch_stream(0, "a")}
    torch.rand(3, generator=rngs["a"])
    state = seeds.capture(rngs)
    ahead = torch.rand(5, generator=rngs["a"])
    seeds.restore(rngs, state)
    assert torch.equal(torch.rand(5, generator=rngs["a"]), ahead)

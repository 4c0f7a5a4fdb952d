"""Parameters of a net that have a row for each class, and a class between two others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from augpipe.nn.norms import ConditionalBatchNorm2d


def class_tables(net: nn.Module) -> Iterator[torch.Tensor]:
    """The parameters (K,...) that the label picks a row of: embeddings, gains and shifts of class-conditional norms."""
    for layer in net.modules():
        if isinstance(layer, nn.Embedding):
            yield layer.weight
        elif isinstance(layer, ConditionalBatchNorm2d):
            yield from (layer.gain, layer.shift)


@contextmanager
def blended_classes(net: nn.Module, first: int, second: int, amount: float) -> Iterator[None]:
    """While the block lasts, the row of `first` lies on the line to that of `second`, at `amount` in [0,1]."""
    tables = [table.data for table in class_tables(net)]
    before = [table[first].clone() for table in tables]
    for table in tables:
        table[first] = torch.lerp(table[first], table[second], amount)
    try:
        yield
    finally:
        for table, row in zip(tables, before, strict=True):
            table[first] = row

"""Options of where and how the tasks of an experiment run."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from augpipe.core.options import Device, Precision
from augpipe.core.schema import Strict


class Runner(Strict):
    """Where and how tasks run. No result depends on it, except through device, precision, threads and devices."""

    kind: Literal["processes", "dask"] = "processes"
    """`processes`: worker processes on this machine. `dask`: the workers of a Dask scheduler, which must see
    AUGPIPE_HOME at the same path (a shared folder)."""

    address: str | None = None
    """Address of the Dask scheduler, such as tcp://127.0.0.1:8786; only with `kind: dask`."""

    workers: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Number of worker processes. `auto`: one per core, or a single one with a GPU."""

    device: Device = "auto"
    """Device of every task. `auto`: cuda if there is one, else mps, else cpu."""

    precision: Precision = "auto"
    """Arithmetic of forward passes. `auto`: bf16-mixed where the hardware supports it, else 32-true."""

    threads: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Threads of a task, at most the cores of this machine. `auto`: the cores divided by the workers; 1 on a Dask
    worker."""

    devices: int = Field(default=1, ge=1, le=64)
    """GPUs (with `device: cpu`: processes) that one generator is trained on, each with its part of every batch. Must
    divide the generator's batch."""

    timeout: float = Field(default=86400.0, gt=0)
    """Seconds that a task may take, such as the training of a generator; after that it and its arms fail."""

    @model_validator(mode="after")
    def _address_of_a_scheduler(self) -> Runner:
        if self.kind == "dask" and not re.fullmatch(r"(tcp|tls|ws|wss)://[^/\s]+:\d+/?", self.address or ""):
            raise ValueError(
                f"runner.kind dask needs a scheduler address such as tcp://127.0.0.1:8786; got {self.address!r}"
            )
        if self.kind != "dask" and self.address is not None:
            raise ValueError("runner.address needs a Dask scheduler; set runner.kind: dask")
        if self.kind == "dask" and self.devices > 1:
            raise ValueError(
                f"runner.devices is {self.devices}, but a Dask worker has one device; set it to 1, or runner.kind: "
                "processes"
            )
        return self

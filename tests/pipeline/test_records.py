from __future__ import annotations

import pickle
from pathlib import Path

import torch
import yaml
from tiny import CONFIG

from augpipe.core.refs import Ref
from augpipe.pipeline import experiment as config
from augpipe.pipeline.context import Context
from augpipe.pipeline.records import Timed, TrainedGenerator


def test_an_experiment_keeps_what_only_a_family_knows() -> None:
    experiment = config.build(yaml.safe_load(CONFIG))
    back = pickle.loads(pickle.dumps(experiment))
    assert back == experiment and back.generators["acgan"].width == 0.06
    assert experiment.model_dump(mode="json")["generators"]["acgan"]["width"] == 0.06


def test_a_runtime_sets_the_process_to_its_share_of_threads() -> None:
    context = Context(root=Path("s"), device="cpu", threads=1)
    assert context.store.root == Path("s") and context.runtime().device.type == "cpu"
    assert torch.get_num_threads() == 1


def test_auto_is_resolved_once() -> None:
    resolved = Context(root=Path("s")).resolved()
    assert "auto" not in (resolved.device, resolved.precision)
    assert resolved.resolved() is resolved


def test_records_survive_json() -> None:
    ref = Ref(path=Path("x.pt"), sha256="0" * 64)
    record = TrainedGenerator(
        name="g",
        kind="acgan",
        seed=1,
        checkpoint=ref,
        history=ref,
        previews=((0.5, ref),),
        samples=ref,
        learned=ref,
        best_kimg=0.5,
        best_metric=0.1,
        stopped="",
        time=Timed(began=1.0, seconds=2.0),
    )
    assert TrainedGenerator.model_validate_json(record.model_dump_json()) == record

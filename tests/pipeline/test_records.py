from __future__ import annotations

import pickle
from pathlib import Path

import yaml
from tiny import CONFIG

from augpipe.core.store import Ref
from augpipe.pipeline import experiment as config
from augpipe.pipeline.records import Job, Timed, TrainedGenerator


def test_a_job_keeps_what_only_a_family_knows() -> None:
    experiment = config.build(yaml.safe_load(CONFIG))
    job = Job(experiment=experiment, store=Path("s"), progress=Path("p"), threads=2)
    back = pickle.loads(pickle.dumps(job))
    assert back == job and back.experiment.generators["acgan"].width == 0.06
    assert job.model_dump(mode="json")["experiment"]["generators"]["acgan"]["width"] == 0.06


def test_start_gives_the_process_its_share_of_threads() -> None:
    import torch

    experiment = config.build(yaml.safe_load(CONFIG), ["runner.device=cpu"])
    job = Job(experiment=experiment, store=Path("s"), progress=Path("p"), threads=1)
    store, here = job.start()
    assert store.root == Path("s") and here.device.type == "cpu" and torch.get_num_threads() == 1


def test_records_survive_json() -> None:
    ref = Ref(path=Path("x.pt"), sha256="0" * 64)
    record = TrainedGenerator(
        name="g", seed=1, checkpoint=ref, history=ref, previews=((0.5, ref),), samples=ref, learned=ref,
        best_kimg=0.5, best_metric=0.1, stopped="", time=Timed(began=1.0, seconds=2.0),
    )  # fmt: skip
    assert TrainedGenerator.model_validate_json(record.model_dump_json()) == record


def test_what_a_task_is_handed_does_not_grow_with_the_arms() -> None:
    def handed(arms: int) -> int:
        values = yaml.safe_load(CONFIG)
        values["arms"] += [{"name": f"arm {n}"} for n in range(arms)]
        job = Job(experiment=config.build(values), store=Path("s"), progress=Path("p"), threads=2)
        light = job.for_a_task()
        assert light.experiment.classifier == job.experiment.classifier
        assert light.experiment.generators == job.experiment.generators
        return len(pickle.dumps(light))

    assert handed(500) == handed(0)

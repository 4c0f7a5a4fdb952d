"""What runs again after an edit, and what does not; what is kept, and what is not trusted."""

from __future__ import annotations

import inspect
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from reuse import go, job, lines, made
from tiny import ROOT

from augpipe.classifiers.options import Mix
from augpipe.core import fingerprints as code
from augpipe.core.refs import Ref, SplitRefs
from augpipe.pipeline import cache, classifier_calls, graph
from augpipe.pipeline.context import Context
from augpipe.pipeline.experiment import Experiment
from augpipe.pipeline.records import (
    Choice,
    IntakeRecord,
    Prepared,
    Recipe,
    Synthetic,
    Timed,
    TrainedClassifier,
    TrainedGenerator,
    TrainingSpec,
)
from augpipe.pipeline.stages import measure as measuring
from augpipe.pipeline.stages import mix, prepare, score, synthesize, train_classifier, train_generator, train_head

OF_AN_ARM = ("mix", "classifier", "score")
ARMS = ("real", "classic", "smote", "acgan")
TRAINED = ("smote", "acgan")


def every(*whats: str, of: tuple[str, ...] = ARMS, seed: int = 0) -> set[str]:
    return {f"{what} {name}, seed {seed}" for what in whats for name in of}


REFERENCE = {"reference classifier, seed 0"}
GENERATORS = every("generator", "measure", of=TRAINED)
FILLED = every("synthesize", of=TRAINED) | every("search the mix of", of=("smote",))
MIXED_OF_REAL = every("mix", of=("real", "classic"))  # the same for every seed and classifier
ALL = REFERENCE | GENERATORS | FILLED | every(*OF_AN_ARM)

# What follows from each setting, and nothing else. A stage that gives the same bytes as before ends the chain: what is
# made of them is reused.
SETTINGS = {
    "name=other": set(),
    "arms.acgan.mix.share=0.2": every(*OF_AN_ARM, of=("acgan",)),
    "arms.acgan.mix.fill=0.4": every("synthesize", *OF_AN_ARM, of=("acgan",)),
    "arms.classic.mix.transform=faces": every(*OF_AN_ARM, of=("classic",)),
    "generators.acgan.width=0.12": every("generator", "measure", "synthesize", *OF_AN_ARM, of=("acgan",)),
    "curation.rounds=6": every("synthesize", of=("acgan",)),  # nothing checks SMOTE's images here
    "fidelity.gan_train=false": every("measure", of=TRAINED),
    "gate=[]": set(),
}
# Nearly all follows from these, so only the keys are computed: the calls that read the setting itself.
SEARCHED = every("search the mix of", of=("smote",))
READ = {
    "imbalance.keep=0.2": ALL,
    "classifier.steps=20": REFERENCE | GENERATORS | SEARCHED | every("classifier"),
    "seeds=[1]": REFERENCE | every("generator", of=TRAINED) | SEARCHED | every("classifier"),
}
# In a copy of the package: a function more in a module, as a helper's change.
CODE = {
    "generators/models/acgan.py": every("generator", "measure", "synthesize", of=("acgan",)),
    "generators/models/bagan.py": set(),
    "synthetic/curation.py": every("synthesize", of=TRAINED),
    "classifiers/scores.py": every("score") | every("measure", of=TRAINED),
    "classifiers/search.py": every("mix") | every("search the mix of", of=("smote",)),
    "pipeline/stages/measure.py": every("measure", of=TRAINED),
    "pipeline/graph.py": set(),
    "data/sources/folder.py": set(),
    "report/figures.py": set(),
    "core/seeds.py": ALL - every("score"),  # which draws nothing
}


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    """A store in which everything was made once; each edit's results come to it under keys of their own."""
    place = tmp_path_factory.mktemp("before") / "store"
    assert made(lines(job(place))) == ALL
    return place


def test_nothing_is_made_twice(store: Path) -> None:
    calls = lines(job(store))
    assert not made(calls) and len(calls) == len(ALL)


@pytest.mark.parametrize("edit", SETTINGS)
def test_a_setting_runs_what_follows_from_it(store: Path, edit: str) -> None:
    assert made(lines(job(store, edit))) == SETTINGS[edit]


@pytest.mark.parametrize("edit", READ)
def test_a_setting_concerns_what_reads_it(store: Path, edit: str) -> None:
    """Of the results of before: what follows from another result is in the tests above and below."""
    before: dict[str, Any] = {}

    def reused(stage: cache.Stage, *inputs: Any, title: str, total: float | None = None) -> Any:
        before[f"{stage.__name__} {title}"] = cache.lookup(stage, job(store).context, *inputs)
        return before[f"{stage.__name__} {title}"]

    work, titles = job(store), set()
    graph.call_stages(work.experiment, dict.fromkeys(work.experiment.seeds, work.prepare()), reused)

    def call(stage: cache.Stage, *inputs: Any, title: str, total: float | None = None) -> Any:
        title = title.replace("seed 1", "seed 0")
        if cache.lookup(stage, work.context, *inputs) is None:
            titles.add(f"generator {title}" if stage is train_generator.train_generator else title)
        return before[f"{stage.__name__} {title}"]

    work = job(store, edit)
    graph.call_stages(work.experiment, dict.fromkeys(work.experiment.seeds, work.prepare()), call)
    assert titles == READ[edit]


@pytest.fixture(scope="module")
def copied(tmp_path_factory) -> Path:
    """The package elsewhere."""
    place = tmp_path_factory.mktemp("code")
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "augpipe", place / "augpipe", ignore=ignore)
    return place


def elsewhere(code: Path, store: Path) -> list[str]:
    """The stages by the package in `code`."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "reuse.py"), str(store)],
        env={**os.environ, "PYTHONPATH": str(code), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@contextmanager
def edited(copied: Path, module: str, text: str) -> Iterator[None]:
    path = copied / "augpipe" / module
    before = path.read_text()
    path.write_text(before + text)
    try:
        yield
    finally:
        path.write_text(before)


NEW = "\n\ndef _new() -> int:\n    return 1\n"


def concerned(store: Path, code_of: Path) -> set[str]:
    """The calls whose code is another in this copy. Their results are not, so what follows from them is reused."""
    work, titles = job(store), set()

    def call(stage: cache.Stage, *inputs: Any, title: str, total: float | None = None) -> Any:
        parts = cache.dependencies(stage, work.context, inputs)
        with pytest.MonkeyPatch.context() as patch:
            there = partial(code.fingerprint, root=code_of / "augpipe")
            patch.setattr(code, "fingerprint", there)
            if cache.dependencies(stage, work.context, inputs) != parts:
                titles.add(f"generator {title}" if stage is train_generator.train_generator else title)
        return cache.lookup(stage, work.context, *inputs)

    graph.call_stages(work.experiment, dict.fromkeys(work.experiment.seeds, work.prepare()), call)
    return titles


@pytest.mark.parametrize("module", CODE)
def test_a_helpers_code_concerns_what_uses_it(copied: Path, store: Path, module: str) -> None:
    with edited(copied, module, NEW):
        assert concerned(store, copied) == CODE[module]


def test_a_helpers_code_runs_what_uses_it(copied: Path, store: Path) -> None:
    """In a process that imports the edited package, and runs it."""
    with edited(copied, "classifiers/scores.py", NEW):
        assert made(elsewhere(copied, store)) == CODE["classifiers/scores.py"]


def test_a_comment_concerns_nothing(copied: Path, store: Path) -> None:
    with edited(copied, "generators/fit.py", "\n\n\n# a remark\n"):
        assert not concerned(store, copied)


def test_threads_and_versions_count(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = job(store, "arms=[{name: real}]", "generators={}")  # all stages' keys are made alike
    assert made(lines(work.but(threads=2))) == every(*OF_AN_ARM, of=("real",))
    monkeypatch.setattr(code, "libraries", lambda: {"scipy": "0.1"})
    assert made(lines(work)) == every(*OF_AN_ARM, of=("real",))


def test_fresh_recalls_nothing(store: Path) -> None:
    work = job(store, "arms=[{name: real}]", "generators={}")
    assert made(lines(work.but(fresh=True))) == every(*OF_AN_ARM, of=("real",))
    assert not made(lines(work))


def test_a_record_whose_files_are_gone_counts_for_nothing(store: Path) -> None:
    """And what is made anew is the same, so that what follows from it is recalled."""
    runs, _ = go(job(store))
    ref = runs.references[0].reference
    gone = ref.path.rename(ref.path.with_suffix(".gone"))
    try:
        assert made(lines(job(store))) == REFERENCE
    finally:
        gone.rename(ref.path)


@pytest.mark.parametrize("text", ["", "{", '{"result": 7}', '{"result": {"path": "/etc/passwd"}}'])
def test_a_damaged_record_counts_for_nothing(store: Path, text: str) -> None:
    for record in (store / "records").glob("train_reference-*"):
        record.write_text(text)
    assert made(lines(job(store))) == REFERENCE


def test_a_link_or_a_folder_in_place_of_a_record_is_replaced(store: Path, tmp_path: Path) -> None:
    record, other = next((store / "records").glob("train_reference-*")), tmp_path / "other"
    other.write_text("another's")
    record.unlink()
    record.symlink_to(other)
    assert made(lines(job(store))) == REFERENCE
    assert not record.is_symlink() and other.read_text() == "another's" and not made(lines(job(store)))
    record.unlink()
    (record / "inside").mkdir(parents=True)
    assert made(lines(job(store))) == REFERENCE
    assert record.is_file() and not made(lines(job(store)))


STAGES: tuple[Callable[..., Any], ...] = (
    train_classifier.train_reference,
    train_generator.train_generator,
    train_generator.join_generators,
    synthesize.synthesize,
    synthesize.pool,
    measuring.measure,
    measuring.measure_synthetic,
    mix.choose,
    mix.mix,
    train_classifier.train_classifier,
    train_head.train_head,
    score.score,
    score.score_with_shift,
)


def test_a_record_under_the_name_of_another_counts_for_nothing(store: Path) -> None:
    records = sorted((store / "records").glob("score-*.json"))
    texts = [record.read_bytes() for record in records]
    try:
        for record, text in zip(records, [*texts[1:], texts[0]], strict=True):
            record.write_bytes(text)
        assert made(lines(job(store))) == every("score")
    finally:
        for record, text in zip(records, texts, strict=True):
            record.write_bytes(text)


def test_no_stage_but_the_first_is_given_the_experiment() -> None:
    """So that no result can depend on a setting that its key does not hold."""
    assert Experiment in get_type_hints(prepare.prepare).values()
    for stage in STAGES:
        hints = get_type_hints(stage)
        assert Experiment not in hints.values(), stage.__name__
        assert hints["context"] is Context


def test_the_graph_calls_no_other_stage() -> None:
    """The table above is whole: every function of the stages' modules that takes a context and gives a record."""
    modules = (measuring, mix, score, synthesize, train_classifier, train_generator, train_head)
    public = {
        f
        for module in modules
        for name, f in inspect.getmembers(module, inspect.isfunction)
        if f.__module__ == module.__name__ and not name.startswith("_")
        if "context" in inspect.signature(f).parameters
    }
    # Of images in memory, which no key can hold: for the two stages that measure stored ones.
    assert public - {measuring.measure_set} == set(STAGES)
    calling = (*vars(graph).values(), *vars(classifier_calls).values())
    called = public.intersection(f for f in calling if inspect.isfunction(f))
    assert called == set(STAGES) - {measuring.measure_synthetic}  # which `balance` calls


REF = Ref(path=Path("x"), sha256="0" * 64)
OTHER = Ref(path=Path("x"), sha256="1" * 64)
NOW, LATER = Timed(began=1.0, seconds=2.0), Timed(began=3.0, seconds=4.0)
PREPARED = Prepared(
    data=REF,
    splits=SplitRefs(train=REF, val=REF, test=REF),
    classes=("a", "b"),
    size=16,
    channels=1,
    counts={"train": {0: 5, 1: 2}},
    fingerprint="f" * 16,
    quarantine=REF,
    time=NOW,
    intake=IntakeRecord(
        fingerprint="0" * 16, images=7, quarantined=0, removed=0, ignored={}, split="random", groups=None, notes=()
    ),
)
GENERATOR = TrainedGenerator(
    name="g",
    kind="acgan",
    seed=1,
    checkpoint=REF,
    history=REF,
    previews=(),
    samples=REF,
    learned=REF,
    best_kimg=0.5,
    best_metric=0.1,
    stopped="",
    time=NOW,
)
SYNTHETIC = Synthetic(images=REF, checks=REF, funnel=REF, short={}, time=NOW)
CHOICE = Choice(share=0.1, part=1.0, steps=3, table=REF, time=NOW)
RECIPE = Recipe(
    real=REF,
    synthetic=None,
    soft_labels=None,
    mix=Mix(),
    chosen=None,
    real_count=(5, 2),
    synthetic_count=(0, 0),
    made_by={},
    class_probability=(0.5, 0.5),
    class_share=(0, 0),
    synthetic_share=0,
    synthetic_ratio=0,
    drawn=None,
    short={},
    funnel=(),
)
CLASSIFIER = TrainedClassifier(arm="a", seed=0, state=REF, history=REF, best_step=10, time=NOW)

COUNTED = [
    (PREPARED, {"data": OTHER}),
    (PREPARED, {"splits": SplitRefs(train=REF, val=REF, test=OTHER)}),
    (PREPARED, {"classes": ("a", "c")}),
    (PREPARED, {"size": 32}),
    (PREPARED, {"channels": 3}),
    (PREPARED, {"class_of": (0, 1)}),
    (PREPARED, {"counts": {"train": {0: 5, 1: 3}}}),
    (TrainingSpec(name="g", seed=0), {"name": "h"}),
    (TrainingSpec(name="g", seed=0), {"seed": 1}),
    (TrainingSpec(name="g", seed=0), {"label": 0}),
    (TrainingSpec(name="g", seed=0), {"pooled": True}),
    (TrainingSpec(name="g", seed=0), {"other": True}),
    (TrainingSpec(name="g", seed=0), {"images": REF}),
    (GENERATOR, {"name": "h"}),
    (GENERATOR, {"kind": "bagan"}),
    (GENERATOR, {"seed": 2}),
    (GENERATOR, {"class_model": "a"}),
    (GENERATOR, {"class_of": (0, 1)}),
    (GENERATOR, {"checkpoint": OTHER}),
    (GENERATOR, {"best_kimg": 1.0}),
    (GENERATOR, {"best_metric": 0.2}),
    (GENERATOR, {"stopped": "early"}),
    (SYNTHETIC, {"images": OTHER}),
    (SYNTHETIC, {"checks": OTHER}),
    (SYNTHETIC, {"funnel": OTHER}),
    (SYNTHETIC, {"short": {1: 2}}),
    (CHOICE, {"share": {"a": 0.1}}),
    (CHOICE, {"part": 0.5}),
    (CHOICE, {"steps": 4}),
    (CHOICE, {"table": OTHER}),
    (RECIPE, {"real": OTHER}),
    (RECIPE, {"synthetic": REF}),
    (RECIPE, {"soft_labels": REF}),
    (RECIPE, {"mix": Mix(sampler="balanced")}),
    (CLASSIFIER, {"arm": "b"}),
    (CLASSIFIER, {"seed": 1}),
    (CLASSIFIER, {"history": OTHER}),
    (CLASSIFIER, {"state": OTHER}),
    (CLASSIFIER, {"best_step": 20}),
]
NOT_COUNTED = [
    (PREPARED, {"time": LATER}),
    (PREPARED, {"quarantine": OTHER}),
    (PREPARED, {"fingerprint": "e" * 16}),
    (PREPARED, {"data": Ref(path=Path("elsewhere"), sha256=REF.sha256)}),
    (PREPARED, {"external": {"sd": REF}}),
    (TrainingSpec(name="g", seed=0), {"folder": Path("out")}),
    (GENERATOR, {"time": LATER}),
    (GENERATOR, {"history": OTHER}),
    (GENERATOR, {"previews": ((0.5, REF),)}),
    (SYNTHETIC, {"time": LATER}),
    (CHOICE, {"time": LATER}),
    (RECIPE, {"drawn": "d"}),
    (CLASSIFIER, {"time": LATER}),
]


def label(value: Any) -> str:
    return type(value).__name__ if not isinstance(value, dict) else next(iter(value))


@pytest.mark.parametrize(("record", "change"), COUNTED, ids=label)
def test_a_key_changes_with_each_field_that_counts(record: Any, change: dict[str, Any]) -> None:
    assert cache.content(record) != cache.content(record.model_copy(update=change))


@pytest.mark.parametrize(("record", "change"), NOT_COUNTED, ids=label)
def test_a_key_holds_no_time_and_no_path(record: Any, change: dict[str, Any]) -> None:
    assert cache.content(record) == cache.content(record.model_copy(update=change))


def test_every_field_that_counts_is_in_the_table() -> None:
    for record in (PREPARED, TrainingSpec(name="g", seed=0), GENERATOR, SYNTHETIC, CHOICE, RECIPE, CLASSIFIER):
        changed = {next(iter(change)) for own, change in COUNTED if own == record}
        assert changed == set(type(record).model_fields) - type(record).uncounted


KEY = """
import sys
from pathlib import Path
from augpipe.core.refs import Ref
from augpipe.pipeline import cache
from augpipe.pipeline.context import Context

def score(context, prepared, classifier, recipe): ...

score.__module__ = "augpipe.pipeline.stages.score"
context = Context(root="store", device="cpu", precision="32-true", threads=1)
parts = cache.dependencies(score, context, [Ref(path="x", sha256="0"), "classifier", "recipe"])
print(cache._path(context.root, score, parts).name, sorted({"lightning", "pandas", "torch"} & set(sys.modules)))
"""


def test_a_key_needs_no_torch() -> None:
    """The same key as here, where torch is imported: by the code of a stage that is not."""
    done = subprocess.run([sys.executable, "-c", KEY], cwd=ROOT, capture_output=True, text=True, check=True)
    name, imported = done.stdout.strip().split(" ", 1)
    context = Context(root=Path("store"), device="cpu", precision="32-true", threads=1)
    parts = cache.dependencies(score.score, context, [Ref(path=Path("x"), sha256="0"), "classifier", "recipe"])
    assert imported == "[]" and name == cache._path(context.root, score.score, parts).name


def test_widths_of_a_generator_are_told_apart() -> None:
    """Options typed as the base of all families' options are dumped as their own family's."""
    context = Context(root=Path("x"), device="cpu", precision="32-true")
    keys = []
    for width in (0.1, 0.2):
        experiment = job(Path("x/store"), f"generators.acgan.width={width}").experiment
        inputs = (
            PREPARED,
            REF,
            TrainingSpec(name="acgan", seed=0),
            None,
            experiment.generators["acgan"],
            experiment.classifier,
        )
        keys.append(cache.dependencies(train_generator.train_generator, context, inputs))
    assert keys[0]["inputs"]["options"] != keys[1]["inputs"]["options"]
    assert keys[0] != keys[1] and keys[0]["code"] == keys[1]["code"]


def test_the_code_of_a_family_counts_for_its_own_generators_alone() -> None:
    context = Context(root=Path("x"), device="cpu", precision="32-true")
    inputs = (PREPARED, REF, GENERATOR, {0: 1}, None, "")
    other = (PREPARED, REF, GENERATOR.model_copy(update={"kind": "bagan"}), {0: 1}, None, "")
    one, two = (cache.dependencies(synthesize.synthesize, context, i) for i in (inputs, other))
    assert one["code"] != two["code"]


def test_a_context_and_an_experiment_cross_to_a_worker() -> None:
    """What only a family knows is kept, and an option that no stage reads is not in what it is handed."""
    work = job(Path("x/store"))
    for value in (work.context, work.experiment):
        assert pickle.loads(pickle.dumps(value)) == value
    back = pickle.loads(pickle.dumps(work.experiment))
    assert back.generators["acgan"].width == 0.06


def test_what_cannot_be_a_key_is_refused() -> None:
    with pytest.raises(TypeError, match="a Random cannot be part of a cache key"):
        cache.content(__import__("random").Random(0))


def test_an_edit_under_a_process_keeps_nothing(tmp_path: Path, monkeypatch) -> None:
    """It runs what it imported: under the new code's key its results would be the old code's."""
    work = job(tmp_path / "store", "arms=[{name: real}]", "generators={}")
    edited = dict(code._AT_START)
    edited[code.ROOT / "classifiers/trained.py"] -= 1
    with monkeypatch.context() as patch:
        patch.setattr(code, "_AT_START", edited)
        first = lines(work)
    assert made(first) == made(lines(work)) != set()
    assert not made(lines(work))


ONE_ARM = ("arms=[{name: real}]", "generators={}")


@pytest.mark.parametrize("way", [shutil.copytree, shutil.move], ids=["copied", "moved"])
def test_a_copied_or_moved_store_is_reused(store: Path, tmp_path: Path, way: Callable[[Path, Path], Any]) -> None:
    """Even after the first is gone: a record's paths are relative to its store."""
    before = shutil.copytree(store, tmp_path / "store")
    work = job(before)
    first, _ = go(work)
    place = tmp_path / "elsewhere" / "store"
    place.parent.mkdir()
    way(before, place)
    shutil.rmtree(before, ignore_errors=True)
    runs, calls = go(work.but(root=place))
    assert len(calls) > 5 and not made(calls)
    for key, run in runs.arms.items():
        assert run.scored.table.sha256 == first.arms[key].scored.table.sha256
        assert all(ref.path.is_relative_to(place) for ref in cache.refs(run.recipe))


def test_nothing_that_is_stored_names_its_place(tmp_path: Path) -> None:
    """Two stores, one experiment: the same files, and the same records but for times."""
    found = []
    for name in ("one", "other"):
        work = job(
            tmp_path / name / "store",
            "arms=[{name: real}, {name: smote, generator: smote}]",
            "fidelity.gan_train=false",
        )
        runs, _ = go(work)
        records = sorted((work.store.root / "records").iterdir())
        assert records and not [r for r in records if str(tmp_path) in r.read_text()]
        files = {
            path.relative_to(work.store.root).as_posix()
            for kind in ("images", "classifiers", "scores", "probabilities", "fidelity", "checks", "funnels")
            for path in (work.store.root / kind).iterdir()
        }
        recipes = [cache.content(run.recipe) for run in runs.arms.values()]
        plain = [run.recipe.model_dump(exclude={"real", "synthetic"}) for run in runs.arms.values()]
        found.append(([r.name.rpartition("-")[0] for r in records], files, recipes, plain))
    assert found[0] == found[1]

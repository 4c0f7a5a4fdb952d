"""The wheel: what it installs, and that logged models load from it beside a foreign package `flows`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from contracts import fresh, tiny
from mlflow import MlflowClient, pyfunc
from pictures import folders
from tiny import ROOT, environment, tracking

from augpipe import serving
from augpipe.classifiers import train as classification
from augpipe.classifiers import trained as trained_classifier
from augpipe.classifiers.mixing import Mixture
from augpipe.classifiers.options import ClassifierOptions, Mix
from augpipe.core.options import ImageOptions
from augpipe.core.store import Store
from augpipe.generators import families
from augpipe.generators.protocol import Problem
from flows.tracking.models import classifier_signature, generator_signature, log_model

LOAD = """
import os, sys
import albucore, mlflow.pyfunc, sklearn, torch
before = dict(os.environ)
import augpipe.serving
assert dict(os.environ) == before
import numpy as np
import flows
site, foreign, classifier, generator, images, out = sys.argv[1:]
assert augpipe.__file__.startswith(site) and flows.__file__.startswith(foreign)
images = np.load(images)
table = mlflow.pyfunc.load_model(classifier).predict(images)
drawn = mlflow.pyfunc.load_model(generator).predict(np.array([0, 1, 1]), params={"seed": 5})
np.savez(out, table=table.drop(columns="label").to_numpy(), label=table.label.to_numpy(str), drawn=drawn)
assert not [name for name in sys.modules if name.startswith(("flows.", "augpipe_flows", "prefect"))]
"""


# What a build needs of the checkout.
PACKAGES = ("augpipe", "flows")
FILES = ("pyproject.toml", "setup.py", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's files in a folder of their own; built from a copy, for a build writes beside its sources."""
    place = tmp_path_factory.mktemp("wheel")
    copy = place / "source"
    for name in PACKAGES:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, copy / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(place), str(copy)]
    subprocess.run([*pip, *build], check=True, cwd=place, timeout=120)
    (wheel,) = place.glob("augpipe-*.whl")
    install = ["install", "--no-deps", "--no-compile", "--target", str(place / "site"), str(wheel)]
    subprocess.run([*pip, *install], check=True, cwd=place, timeout=120)
    return place / "site"


def test_it_installs_every_module_and_no_package_called_flows(site: Path) -> None:
    names = {path.name for path in site.iterdir() if path.is_dir() and "-" not in path.name}
    assert names - {"bin"} == {"augpipe", "augpipe_flows"}
    for folder, installed in (("augpipe", "augpipe"), ("flows", "augpipe_flows")):
        files = {
            path.relative_to(ROOT / folder)
            for path in (ROOT / folder).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert files == {path.relative_to(site / installed) for path in (site / installed).rglob("*") if path.is_file()}


COMMAND = """
import sys
from augpipe_flows.cli import main
sys.argv[1:], place = ["list", "families"], sys.argv[1]
main()
sys.argv[1:] = ["inspect", "pictures", "--out", "inspection"]
main()
parts = [m for name, m in sys.modules.items() if name.partition(".")[0] in ("augpipe", "augpipe_flows", "flows")]
assert parts and all(m.__file__.startswith(place) for m in parts)
"""


def test_its_command_works_from_any_folder_without_the_checkout(site: Path, tmp_path: Path) -> None:
    folders(tmp_path / "pictures", 6)
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, str(site)],
        cwd=tmp_path,
        env=environment(tmp_path, PYTHONPATH=str(site)),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "deepsmote" in done.stdout
    assert (tmp_path / "inspection" / "inspect.html").is_file()  # of a template inside the package


def test_the_dockerfile_names_what_a_build_needs() -> None:
    """No container runtime is needed for this, and none was there to build the image."""
    text = (ROOT / "Dockerfile").read_text("utf-8")
    copied = [word for line in re.findall(r"^COPY (.*)", text, re.M) for word in line.split()[:-1]]
    assert sorted(copied) == sorted((*FILES, *PACKAGES))
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert {f"!{name}" for name in copied} <= set(ignored)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    (extras,) = re.findall(r"/source\[([\w,]+)\]", text)
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    pinned = re.findall(r'"(torch(?:vision)?[<>=][^"]+)"', text)
    assert len(pinned) == 2 and set(pinned) <= set(project["dependencies"])


def test_logged_models_load_beside_a_foreign_package_flows(site: Path, here, make_shapes, tmp_path: Path) -> None:
    images, store = make_shapes((8, 8)), Store(tmp_path / "store")
    client = MlflowClient(tracking(tmp_path))
    experiment = client.create_experiment("x", artifact_location=str(tmp_path / "artifacts"))

    options = ClassifierOptions(width=0.25, steps=2, batch=8, evaluations=1)
    mixture = Mixture(images, None, Mix(), here, seed=0)
    trained = classification.train(mixture, images, options, here, seed=0)
    state = store.put_state("classifiers", trained_classifier.state_of(trained, options))
    learned, generator = store.put_images(images), fresh("smote", images, here)
    problem = Problem(images.spec, images.classes)
    packed = families.pack(tiny("smote"), problem, 0, learned, generator.state_dict())
    checkpoint = store.put_state("generators", packed)

    def write_classifier(folder: Path) -> None:
        serving.write_classifier(folder, state.path, images.classes, images.spec, ImageOptions())

    def write_generator(folder: Path) -> None:
        serving.write_generator(folder, checkpoint.path, learned)

    signatures = (classifier_signature(images.classes), generator_signature(images.spec.shape))
    places = []
    for write, signature in zip((write_classifier, write_generator), signatures, strict=True):
        logged = log_model(client, client.create_run(experiment), "m", write, signature)
        places.append(client.get_logged_model(logged.model).artifact_location)
    shutil.rmtree(store.root)

    foreign = tmp_path / "project"
    (foreign / "flows").mkdir(parents=True)
    (foreign / "flows" / "__init__.py").touch()
    np.save(tmp_path / "images.npy", images.images)
    arguments = [site, foreign, *places, tmp_path / "images.npy", tmp_path / "out.npz"]
    # The project comes first, as the working directory does.
    path = os.pathsep.join([str(foreign), str(site)])
    subprocess.run(
        [sys.executable, "-c", LOAD, *map(str, arguments)],
        check=True,
        cwd=foreign,
        timeout=120,
        env=environment(tmp_path, PYTHONPATH=path),
    )

    found = np.load(tmp_path / "out.npz")
    table = pyfunc.load_model(places[0]).predict(images.images)
    assert np.array_equal(found["table"], table.drop(columns="label").to_numpy())
    assert found["label"].tolist() == table.label.tolist()
    drawn = pyfunc.load_model(places[1]).predict(np.array([0, 1, 1]), params={"seed": 5})
    assert np.array_equal(found["drawn"], drawn)

"""`augpipe init` and `augpipe schema`."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from in_process import call
from jsonschema.validators import validator_for
from pictures import noise, save
from slow_nets import use

from augpipe.core.yaml_loader import read_yaml
from augpipe.pipeline import planning
from augpipe.pipeline.defaults import suggest
from augpipe.pipeline.experiment import load

CLASSES = {"7": 12, "yes": 6, "Über [x]: #1": 5}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    for name, n in CLASSES.items():
        for i in range(n):
            save(tmp_path / "pics" / name / f"{i}.png", noise(i))
    return tmp_path


@pytest.mark.parametrize("home", ["work/data", "ho me"])
def test_the_config_that_a_run_would_choose(home, place, monkeypatch, capsys) -> None:
    monkeypatch.setenv("AUGPIPE_HOME", str(place / home))
    use(monkeypatch)
    overrides = ("arms.real.name='7'", "baseline='7'", "imbalance={profile: counts, counts: {7: 4, yes: 2}}")
    status, said = call(monkeypatch, capsys, "init", "../pics", "--set", *overrides)
    assert status == 0 and said == "config: pics.yaml; augpipe run pics.yaml runs it"
    text = (place / "work" / "pics.yaml").read_text(encoding="utf-8")
    plan = planning.for_images(suggest(Path("../pics"), overrides))
    experiment, choices = plan.experiment, plan.choices
    monkeypatch.chdir(place)  # its paths are relative to its folder
    assert load(Path("work/pics.yaml")) == experiment.model_copy(
        update={"source": experiment.source.model_copy(update={"path": place / "pics"})}
    )
    assert 'path: "../pics"' in text
    assert choices and all(" ".join(choice.why.split()) in text for choice in choices)
    # Editors find the schema, which takes the file and refuses a wrong key.
    first, address = text.splitlines()[0].split("$schema=")
    assert first == "# yaml-language-server: " and " " not in address
    schema = json.loads((place / "work" / unquote(urlsplit(address).path)).read_text())
    values = read_yaml(text, "it")
    validator = validator_for(schema)(schema)
    validator.validate(values)
    values["arms"][0]["mxi"] = {}
    assert not validator.is_valid(values)


def test_init_overwrites_nothing(place, monkeypatch, capsys) -> None:
    monkeypatch.setenv("AUGPIPE_HOME", str(place / "home"))
    (place / "work" / "a.yaml").write_text("mine")
    (place / "work" / "pics.yaml").write_text("mine")
    for words, told in (
        (("../pics",), "pics.yaml exists; choose another --out"),
        (("../pics", "--out", "a.yaml"), "a.yaml exists; choose another --out"),
        (("../pics", "--out", "a.txt"), "--out must be a .yaml file; got 'a.txt'"),
        (("../pics", "--out", "../pics/a.yaml"), "lies in the image folder"),
        (("a.yaml", "--out", "b.yaml"), "a.yaml is a config already"),
    ):
        status, said = call(monkeypatch, capsys, "init", *words)
        assert status == 2 and told in said and len(said.splitlines()) == 1, said
    assert {p.name: p.read_text() for p in (place / "work").iterdir()} == {"a.yaml": "mine", "pics.yaml": "mine"}


def test_schema(monkeypatch, capsys) -> None:
    status, said = call(monkeypatch, capsys, "schema")
    schema = json.loads(said)
    assert status == 0 and {"name", "source", "arms"} <= set(schema["properties"])
    validator_for(schema).check_schema(schema)

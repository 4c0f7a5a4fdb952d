from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from augpipe.core.errors import UserError
from augpipe.core.yaml_loader import read_yaml
from augpipe.pipeline import experiment as config
from augpipe.pipeline.experiment import build, dump, load

DIGITS = Path(__file__).resolve().parents[2] / "configs" / "digits.yaml"


def values() -> dict:
    return yaml.safe_load(DIGITS.read_text())


def test_the_demo_is_what_was_asked_for() -> None:
    demo = load(DIGITS)
    assert [arm.name for arm in demo.arms] == [
        "real",
        "weighted",
        "oversample",
        "classic",
        "smote",
        "acgan",
        "acgan+classic",
    ]
    assert demo.seeds == (0, 1, 2) and demo.image.size == 16 and demo.baseline == "real"
    assert demo.generative() == {
        "real": False,
        "weighted": False,
        "oversample": False,
        "classic": False,
        "smote": False,
        "acgan": True,
        "acgan+classic": True,
    }


@pytest.mark.parametrize("path", sorted(DIGITS.parent.rglob("*.yaml")), ids=lambda p: p.name)
def test_every_config_loads_and_comes_back_equal(path: Path) -> None:
    experiment = load(path)
    assert build(yaml.safe_load(dump(experiment))) == experiment
    head = path.read_text().split("\nname: ")[0]
    assert f"augpipe run {path.relative_to(DIGITS.parents[1])}" in head, "a config's head says its command"
    assert experiment.name == path.stem


@settings(max_examples=25, deadline=None)
@given(st.floats(0.05, 2), st.floats(0.05, 2))
def test_what_only_a_family_knows_survives_the_dump(one: float, two: float) -> None:
    """Typed as their base class, widths would vanish and two experiments would look the same."""
    texts = []
    for width in (one, two):
        given = values()
        given["generators"]["acgan"]["width"] = width
        texts.append(dump(build(given)))
        assert build(yaml.safe_load(texts[-1])).generators["acgan"].width == width
    assert (texts[0] == texts[1]) == (one == two)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("arms.acgan.mix.shear=1", "unknown key 'shear' (did you mean 'share'?); choose from fill, share"),
        (
            "generators.acgan.kind=acgn",
            "unknown generator 'acgn' (did you mean 'acgan'?); choose from acgan, bagan, cgan",
        ),
        ("generators.acgan.widht=2", "unknown key 'widht' (did you mean 'width'?)"),
        ("source.kind=digts", "unknown source 'digts'; choose from archive, arrays, bundled, dicom"),
        ("source=digits", "a source must be a mapping with a kind; got 'digits'"),
        ("imbalance=3", "an imbalance must be a mapping with a profile; got 3"),
        ("imbalance.profile=stp", "unknown imbalance profile 'stp' (did you mean 'step'?)"),
        ("baseline=reel", "unknown baseline 'reel' (did you mean 'real'?)"),
        ("arms.real.mix.transform=lite", "unknown transform 'lite'"),
        ("arms.acgan.generator=x", "unknown generator of arm 'acgan': 'x'; choose from smote, acgan"),
        ("arms.acgan.name=real", "two arms have the name 'real'"),
        ("arms.acgan.name=a/b", "the name 'a/b' must be"),
        ("classifier.kind=vgg", "unknown classifier 'vgg'; choose from small_cnn"),
        ("seeds=0", "at least one seed is needed; got 0"),
        ("seeds=[1, 1]", "seeds must be different numbers"),
        ("seeds=-1", "at least one seed"),
        ("seeds=100000000", "at most 1,000 seeds are trained; got 100,000,000"),
        ("split.val=.9", "leave no images for train"),
        ("arms.nope.mix.share=1", "no entry 'nope'; choose from real"),
        ("arms.acgan.mix.share=0", "mix.share of arm 'acgan' is 0, so the images of its generator are not used"),
        ("arms.acgan.mix.share={}", "mix.share of arm 'acgan' is 0, so the images of its generator are not used"),
        ("arms.real.mix.share={0: 0.1}", "mix.share of arm 'real' needs synthetic images"),
        ("arms.acgan.mix.share=2", "a share must be a number in [0, 1]; got 2"),
        ("arms.acgan.mix.share=.nan", "arms"),
        ("generators.acgan.kimg=abc", "kimg: must be a number (got 'abc')"),
        ("classifier.steps=0", "greater than or equal to 1 (got 0)"),
        ("nme=x", "unknown key 'nme' (did you mean 'name'?)"),
        ("arms=[]", "arms: needs at least 1 entry (got [])"),
        ("arms=real", "arms: must be a list (got 'real')"),
        ("image=32", "image: must have keys and values (got 32)"),
        ("runner.device=gpu", "must be 'auto', 'cpu', 'cuda' or 'mps' (got 'gpu')"),
        ("generators.acgan.kind=ACGAN", "unknown generator 'ACGAN' (did you mean 'acgan'?)"),
        ("gate=[fidd < 3]", "(did you mean 'fid'?); the closest of"),
        ("seeds", "--set takes key.key=value"),
        ("name.x=1", "'name' has no keys"),
        ("name=[1", "is not YAML"),
        ("mix={a: 1}}", "is not YAML"),
        ("arms.acgan.mix.share={0:0.1}", "write a space after the colon, {0: 0.1}"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(override: str, told: str) -> None:
    with pytest.raises(UserError) as caught:
        load(DIGITS, [override])
    line = str(caught.value).replace(str(DIGITS), "digits.yaml")  # a checkout may lie anywhere
    assert told in line and "\n" not in line and len(line) < 400, line


def test_overrides_reach_lists_by_name_and_by_position() -> None:
    found = load(DIGITS, ["arms.acgan.mix.share=0.1", "arms.0.mix.sampler=sqrt", "seeds=[4, 7]"])
    assert found.arms[5].mix.share == 0.1 and found.arms[0].mix.sampler == "sqrt"
    assert found.seeds == (4, 7)


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("layout={label}/{group}", "{label}/{group}"),
        ("layout={label}/*", "{label}/*"),
        ("exclude=[*_mask*, *.bmp]", ("*_mask*", "*.bmp")),
        ('exclude=["*_mask*"]', ("*_mask*",)),
        ("exclude=*_mask.png", ("*_mask.png",)),
        ("classes=[0, 2]", ("0", "2")),
    ],
)
def test_values_that_only_look_like_yaml(tmp_path: Path, override: str, value: object) -> None:
    source = {"kind": "folder", "path": str(tmp_path)}
    experiment = build(
        {"name": "x", "source": source, "arms": [{"name": "a"}], "baseline": "a"}, [f"source.{override}"]
    )
    assert getattr(experiment.source, override.split("=")[0]) == value


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_a_config_in_another_encoding(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes("name: café".encode(encoding))
    with pytest.raises(UserError, match=r"c\.yaml: it is not UTF-8; save it as UTF-8"):
        load(path)


def test_a_key_given_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(DIGITS.read_text() + "seeds: 5\n")
    with pytest.raises(UserError, match=r"duplicate key 'seeds' \(line"):
        load(path)


def test_yaml_cannot_run_code(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"name: !!python/object/apply:os.mkdir ['{tmp_path / 'ran'}']\n")
    with pytest.raises(UserError, match="is not YAML"):
        load(path)
    assert not (tmp_path / "ran").exists()


def test_yes_and_no_are_names(tmp_path: Path) -> None:
    """Of classes, as in YAML 1.2; of options that are true or false they are values."""
    found = load(DIGITS, ["imbalance={profile: counts, counts: {yes: 10, on: 3}}", "resplit=yes"])
    assert found.imbalance.counts == {"yes": 10, "on": 3} and found.resplit is True
    assert build(yaml.safe_load(dump(found))) == found


def test_a_byte_order_mark_and_letters_of_other_scripts(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + DIGITS.read_bytes())
    found = load(path, ["name=Größe", "arms.real.name=前", "baseline=前"])
    assert (found.name, found.arms[0].name) == ("Größe", "前")
    with pytest.raises(UserError, match="the name '/x' must be"):
        load(DIGITS, ["name=/x"])


def test_files_that_are_no_config(tmp_path: Path) -> None:
    for content, told in (
        (b"\xff\xfe\x00", "cannot read"),
        (b"- 1\n", "is a list; it must have keys"),
        (b"", "is empty; it must have keys"),
    ):
        (tmp_path / "c.yaml").write_bytes(content)
        with pytest.raises(UserError, match=told):
            load(tmp_path / "c.yaml")


def test_configs_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        config.load(DIGITS).name = "x"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("baseline=acgan", "the baseline 'acgan' uses a trained generator; gains are measured against an arm without"),
        ("arms.real.mix.fill=majorty", "unknown fill 'majorty'; choose from minority"),
        ("arms.acgan.mix.fill={5: -1}", "a fill must be an integer of at least 0 per class; got -1"),
        ("arms.acgan.mix.fill=true", "a fill must be a name, a number or a mapping; got True"),
        ("arms.acgan.mix.fill={5: 1, '5': 2}", "duplicate key '5'"),
        ("arms.²=1", "--set arms.²=1"),
        ("generators.acgan.width=1e300", "less than or equal to 16"),
        (f"name={'[' * 5000}", "nested too deeply"),
    ],
)
def test_mistakes_that_once_came_through(override: str, told: str) -> None:
    with pytest.raises(UserError) as caught:
        load(DIGITS, [override])
    assert told in str(caught.value), str(caught.value)[:300]


def test_a_fill_for_a_class_called_by_a_number_comes_back_equal() -> None:
    experiment = load(DIGITS, ["arms.acgan.mix.fill={5: 3}"])
    assert experiment.arms[5].mix.fill == {"5": 3}
    assert build(yaml.safe_load(dump(experiment))) == experiment


def test_merge_keys_are_yaml_too(tmp_path: Path) -> None:
    text = DIGITS.read_text().replace(
        "classifier: {", "x-shared: &c {kind: small_cnn, width: 0.5}\nclassifier: {<<: *c, "
    )
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(UserError, match="unknown key 'x-shared'"):  # parsed, then checked
        load(tmp_path / "c.yaml")


@pytest.mark.parametrize(
    "setting",
    [
        "until: 0.5",
        "synthetic_weight: 0.5",
        "share: auto",
        "fill: search",
        "soft: 0.5",
        "beside: {k: 3}",
        "fill: 100",
        "origin_flag: true",
        "curated: false",
    ],
)
def test_what_is_of_synthetic_images_needs_a_generator(setting: str, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(f"name: x\nsource: {{kind: bundled}}\nbaseline: real\narms: [{{name: real, mix: {{{setting}}}}}]\n")
    key = setting.partition(":")[0]
    with pytest.raises(UserError, match=rf"{key}.*of arm 'real' needs? synthetic images"):
        load(path)


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (
            ["arms.acgan.mix.prefer={check: agreemnt}"],
            "prefers by 'agreemnt', a check that is not applied to its images; choose from blank, agreement",
        ),
        (
            ["arms.acgan.mix.prefer={check: agreement}", "arms.acgan.mix.curated=false"],
            "to its images; these are not curated",
        ),
        (["arms.smote.mix.prefer={check: agreement}"], "to its images; these are not curated"),
        (["arms.acgan.mix.prefer={check: realism}", "curation.checks=[copies]"], "choose from copies"),
    ],
)
def test_a_preference_is_of_a_check_that_the_images_pass(overrides: list[str], told: str) -> None:
    with pytest.raises(UserError, match=told):
        build(values(), overrides)
    assert build(values(), ["arms.acgan.mix.prefer={check: realism, power: -1}"])


def test_norms_apart_need_norms() -> None:
    with pytest.raises(UserError, match="norms_apart needs batch norms; convnext_tiny has none"):
        build(values(), ["arms.acgan.mix.norms_apart=true", "classifier={kind: convnext_tiny}"])


def test_an_arm_may_pool_several_generators() -> None:
    made = build(values(), ["arms.acgan.generator=[acgan, smote]"])
    arm = next(a for a in made.arms if a.name == "acgan")
    assert arm.generators == ("acgan", "smote") and arm.made_by == "acgan + smote"
    assert made.generative()["acgan"] and build(read_yaml(dump(made), "x")) == made
    # A trained generator's images are checked, those of SMOTE are not, unless the arm says so.
    assert made.curates(arm, "acgan") and not made.curates(arm, "smote")
    every = build(values(), ["arms.acgan.generator=[acgan, smote]", "arms.acgan.mix.curated=true"])
    assert every.curates(next(a for a in every.arms if a.name == "acgan"), "smote")
    for wrong, told in (
        ("[acgan, smoet]", "unknown generator of arm 'acgan': 'smoet' .did you mean 'smote'"),
        ("[smote, smote]", "arm 'acgan' names a generator twice"),
        ("[smote]", "arms.*generator"),
    ):
        with pytest.raises(UserError, match=told):
            build(values(), [f"arms.acgan.generator={wrong}"])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["promotion.margin=0.05"], "promotion: margin: 0.05 has no effect with rule: better"),
        (["split.fold=3"], "split: fold: 3 has no effect with kind: auto"),
        (["split.folds=7", "split.kind=stratified"], "folds: 7 has no effect with kind: stratified"),
        (["split={kind: k_fold, test: 0.4}"], "test: 0.4 has no effect with kind: k_fold"),
        (["split={kind: k_fold, val: 0.1}"], "val: 0.1 has no effect with kind: k_fold"),
        (["generators.acgan.pretrain_below=50"], "pretrain_below: 50 has no effect with pretrain: 0"),
        (["generators.smote.ticks=9"], "ticks: 9 has no effect on smote"),
        (["generators.smote.batch=7"], "batch: 7 has no effect on smote"),
        (["generators.smote.collapse=0.5"], "collapse: 0.5 has no effect on smote"),
        (
            ["curation={checks: [copies], reject: 0.3}"],
            "reject: 0.3 has no effect without the checks agreement and realism",
        ),
        (["curation={checks: [], rounds: 3}"], "rounds: 3 has no effect without checks"),
        (["generators.smote.around=3"], "generators.smote.around: 3 has no effect with method: plain"),
        (["generators.acgan.r1_every=4"], "r1_every: 4 has no effect with r1: 0"),
        (["generators.acgan.margin=0.5"], "margin: 0.5 has no effect with class_loss: head"),
        (["generators.acgan={kind: acgan, augment: [], ada: {}}"], "has no effect with augment: []"),
        (["generators.acgan={kind: cgan, r1: 0, r1_every: 4}"], "r1_every: 4 has no effect with r1: 0"),
        (["generators.acgan={kind: dcgan, r1_every: 4}"], "r1_every: 4 has no effect with r1: 0"),
        (["generators.acgan={kind: dagan, r1: 1}"], "r1: 1 has no effect with loss: wasserstein"),
        (
            ["generators.acgan={kind: deepsmote, penalty: 0, permuted: codes}"],
            "permuted: codes has no effect with penalty: 0",
        ),
        (
            ["generators.acgan={kind: bagan, critic_steps: 2}"],
            "critic_steps: 2 has no effect with gradient_penalty: false",
        ),
        (
            ["generators.acgan={kind: bagan, gradient_penalty: true, fakes: 2}"],
            "fakes: 2 has no effect with gradient_penalty: true",
        ),
        (
            ["generators.acgan={kind: bagan, class_weight: 2}"],
            "class_weight: 2 has no effect with generator_loss: class",
        ),
        (["classifier.kind=resnet18"], "width: 0.5 has no effect with kind: resnet18"),
        (["classifier.evaluations=500"], "evaluations: 500 is more than steps: 300"),
        (["imbalance.keep=1"], "keep: must be less than 1"),
        (["imbalance.classes=[]"], "classes: needs at least 1 entry"),
        (["imbalance={profile: long_tail, factor: 1}"], "factor: must be greater than 1"),
        (["imbalance={profile: counts, counts: {}}"], "counts: needs at least 1 entry"),
        (["imbalance={profile: drop, drop_class: 1, percent: 0}"], "percent: must be greater than 0"),
        (["arms.acgan.mix.fill=0"], "mix.fill of arm 'acgan' is 0, so its generator draws no images"),
        (["arms.acgan.mix.fill={9: 0}"], "mix.fill of arm 'acgan' is 0, so its generator draws no images"),
        (
            ["fidelity.gan_train=false", "gate=[each gan_train > 0.2]"],
            "the gate 'each gan_train > 0.2' needs fidelity.gan_train: true",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_setting_without_effect_is_refused(overrides: list[str], message: str) -> None:
    """Its default is not: `dump` writes every default."""
    with pytest.raises(UserError) as caught:
        load(DIGITS, overrides)
    assert message in str(caught.value), str(caught.value)


def test_a_default_without_effect_is_not_refused() -> None:
    load(
        DIGITS,
        [
            "promotion.margin=0.01",
            "split={kind: k_fold, val: 0.2, test: 0.2}",
            "generators.smote.ticks=6",
            "classifier={kind: resnet18, width: 1, steps: 5, evaluations: 10}",
            "arms.acgan.mix.fill={9: 3, 8: 0}",
        ],
    )


def test_generators_that_no_arm_uses_are_named() -> None:
    """Not refused: `augpipe train` trains one alone, and --set arms=... leaves some out."""
    extra = load(DIGITS, ["generators.extra={kind: cgan}"])
    assert extra.notes() == ("no arm uses the generator 'extra', so it is not trained",)
    sets = ["curation.rounds=9", "fidelity.images=50"]
    assert load(DIGITS, sets).notes() == ()
    plain = "arms=[{name: real}, {name: smote, generator: smote}]"
    notes = load(DIGITS, [plain, *sets]).notes()
    assert notes[1:] == ("no arm has curated images, so curation.rounds has no effect",)
    notes = load(DIGITS, ["arms=[{name: real}]", *sets]).notes()
    assert notes[-1] == "no arm has a generator, so fidelity.images has no effect"


def test_too_few_seeds_for_a_verdict_are_named() -> None:
    note = "no verdict is possible: at least 3 seeds are needed, and seeds has 2"
    assert load(DIGITS, ["seeds=2"]).notes() == (note,)
    alone = load(DIGITS, ["seeds=1", "arms=[{name: real}]", "baseline=real", "generators={}"])
    assert not any("verdict" in one for one in alone.notes())


def test_paths_of_a_config_are_relative_to_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder, work = tmp_path / "configs", tmp_path / "work"
    for place in (folder / "pics", tmp_path / "beside", work / "old", work / "pics"):
        place.mkdir(parents=True)
    monkeypatch.chdir(work)
    text = "name: c\narms: [{name: real}]\nbaseline: real\nsource: "

    def path(source: str, *overrides: str) -> object:
        (folder / "c.yaml").write_text(text + source)
        return getattr(load(Path("../configs/c.yaml"), overrides).source, "path", None)

    assert path("{kind: folder, path: pics}") == folder / "pics"
    assert path("{kind: folder, path: ../beside}") == tmp_path / "beside"
    assert path("{kind: folder, path: missing}") == folder / "missing"
    assert path("{kind: archive, path: [a.zip, /b.zip]}") == (folder / "a.zip", Path("/b.zip"))
    assert path("{kind: folder, path: pics}", "source.path=pics") == work / "pics"
    assert not caplog.records
    assert path("{kind: folder, path: old}") == work / "old"
    (record,) = caplog.records
    assert "the path 'old' is relative to the working directory. That is deprecated" in record.getMessage()
    with pytest.raises(UserError, match=r"source: path: .*~nobody-here/x.* home, which is not known"):
        path("{kind: folder, path: ~nobody-here/x}")
    with pytest.raises(UserError, match="unknown source 'flder'"):
        path("{kind: flder, path: pics}")

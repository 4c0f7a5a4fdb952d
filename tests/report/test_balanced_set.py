"""The published set, from results made by hand: no training."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token
from PIL import Image

from augpipe.core.errors import RunError, UserError
from augpipe.core.refs import Ref
from augpipe.core.store import Store, load_images, load_table
from augpipe.pipeline import experiment as config
from augpipe.report.balanced_set import Balanced, publish
from augpipe.report.out import BALANCED_FILES, check_balanced_out
from augpipe.synthetic import fidelity
from augpipe.synthetic.gates import Outcome

NASTY = (
    "../x",
    "a/b",
    "T-shirt/top",
    ".hidden",
    "CON",
    "Cat",
    "cat",
    "manifest.csv",
    "..",
    "/etc/passwd",
    "<b>bold</b>",
    "a | b",
    "`code`",
    "[link](http://x)",
    "*star*_under_",
    "&lt;i&gt; &amp;",
    "a\nb",
    'größe, "x"',
    "x" * 300,
)
LINEAGE = [
    "file",
    "class",
    "origin",
    "id",
    "group",
    "source",
    "parent",
    "generator",
    "checkpoint",
    "seed",
    "check_blank",
    "check_realism",
]


def manifest_of(out: Path) -> pd.DataFrame:
    return pd.read_csv(out / "manifest.csv", dtype=str, keep_default_na=False)


def files_in(out: Path) -> set[str]:
    return {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        found = np.array(picture)
    return found[None] if found.ndim == 2 else found.transpose(2, 0, 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_every_image_is_there_with_the_pixels_of_its_set(channels, balanced, tmp_path) -> None:
    found, out = balanced(channels=channels), tmp_path / "deep" / "out"
    publish(found, out)
    table = manifest_of(out)
    assert files_in(out) == {*BALANCED_FILES, *table["file"]} and table["file"].is_unique
    assert [p.name for p in out.parent.iterdir()] == ["out"]
    real = load_images(found.prepared.splits.train)
    made = load_images(found.made.images)
    assert table["origin"].tolist() == ["real"] * 12 + ["synthetic"] * 7
    for rows, images in ((table[:12], real), (table[12:], made)):
        for name, own, label in zip(rows["file"], images.images, images.labels, strict=True):
            assert np.array_equal(pixels(out / name), own)
            assert name.startswith(f"{images.classes[label]}/")


def test_real_pictures_may_have_their_own_size(balanced, tmp_path) -> None:
    found, out = balanced(), tmp_path / "out"
    own = [Image.new("L", (40 + i, 30), 5 * i) for i in range(12)]
    publish(found, out, iter(own))
    table = manifest_of(out)
    assert [pixels(out / name).shape for name in table["file"][:12]] == [(1, 30, 40 + i) for i in range(12)]
    assert {pixels(out / name).shape for name in table["file"][12:]} == {(1, 16, 16)}
    card = json.loads((out / "card.json").read_text())
    assert card["made_from"]["real_size"] == "original"
    assert any("the synthetic ones 16x16 pixels: reduce all to one size" in line for line in card["limits"])
    publish(found, out)  # again, at the size of the run: replaced completely
    assert json.loads((out / "card.json").read_text())["made_from"]["real_size"] == "run"


def test_the_manifest_says_where_each_image_comes_from(balanced, tmp_path) -> None:
    found, out = balanced(), tmp_path / "out"
    publish(found, out)
    table = manifest_of(out)
    assert list(table.columns) == LINEAGE
    assert table["class"].tolist() == [*np.repeat(["cat", "dog", "eel"], 4), *["cat"] * 2, *["dog"] * 5]
    real, made = table[:12], table[12:]
    assert real["id"].tolist() == [f"img{row}" for row in range(12)]
    assert set(real[LINEAGE[6:]].to_numpy().ravel()) == {""}
    assert made["id"].tolist() == [f"my_gan/7/{row}" for row in range(7)]
    assert made["parent"].tolist() == ["img1"] + [""] * 6
    assert made["group"].tolist() == ["img1", *made["id"][1:]]
    for column, told in (("source", "my_gan"), ("generator", "my_gan"), ("seed", "7")):
        assert set(made[column]) == {told}
    assert set(made["checkpoint"]) == {found.generator.checkpoint.sha256}
    checks = load_table(found.made.checks)
    assert made["check_blank"].astype(float).tolist() == checks["blank"].tolist()
    assert np.isinf(made["check_realism"].astype(float)).all()


def test_names_from_the_data_stay_in_the_folder(balanced, tmp_path) -> None:
    found, out = balanced(NASTY, made=(1,) * len(NASTY)), tmp_path / "out"
    before = {p for p in tmp_path.rglob("*") if out not in p.parents}
    publish(found, out)
    assert {p for p in tmp_path.rglob("*") if out not in p.parents} == before | {out}
    assert not [p for p in out.rglob("*") if p.is_symlink()]
    table = manifest_of(out)
    assert files_in(out) == {*BALANCED_FILES, *table["file"]} and table["file"].is_unique
    folders = table.groupby("class", sort=False)["file"].agg(lambda f: {Path(n).parent for n in f})
    assert folders.index.tolist() == list(NASTY), "names come back as they were"
    single = [str(one) for one, *more in folders if not more]
    assert len({name.casefold() for name in single}) == len(NASTY)
    assert all(Path(name).name == name and name[0] != "." for name in single)
    real = load_images(found.prepared.splits.train)
    for name, own in zip(table["file"], real.images, strict=False):
        assert np.array_equal(pixels(out / name), own)


def parsed(text: str) -> list[Token]:
    found: list[Token] = MarkdownIt("commonmark").enable("table").parse(text)
    return found


def cells(text: str) -> list[list[list[str]]]:
    """Tables of a Markdown text as a reader sees them: table, row, cell."""
    tables: list[list[list[str]]] = []
    tokens = parsed(text)
    for at, token in enumerate(tokens):
        if token.type == "table_open":
            tables.append([])
        elif token.type == "tr_open":
            tables[-1].append([])
        elif token.type in ("td_open", "th_open"):
            tables[-1][-1].append(shown(tokens[at + 1]))
    return tables


def shown(inline: Token) -> str:
    """Text without marks; anything but plain text, code and bold is a name that broke out."""
    parts = inline.children or []
    kinds = {part.type for part in parts}
    assert kinds <= {"text", "text_special", "code_inline", "strong_open", "strong_close"}, kinds
    return "".join(part.content for part in parts)


def test_the_card_reads_right_whatever_the_classes_are_called(balanced, tmp_path) -> None:
    found, out = balanced(NASTY), tmp_path / "out"
    publish(found, out)
    text = (out / "card.md").read_text(encoding="utf-8")
    tokens = parsed(text)
    assert "html_block" not in {t.type for t in tokens}
    headings = [tokens[at + 1].content for at, t in enumerate(tokens) if t.type == "heading_open"]
    assert headings[1:] == ["Gates", "Metrics of the synthetic images", "Pass rates of the checks", "Limits"]
    classes, gates, figures, kept = cells(text)
    told = [" ".join(name.split()) for name in NASTY]
    assert classes[0] == ["class", "real", "synthetic", "missing"]
    assert [row[0] for row in classes[1:]] == told
    assert [row[1:] for row in classes[1:4]] == [["4", "2", "3"], ["4", "5", "0"], ["4", "0", "0"]]
    assert gates[1:] == [["memorisation.p > 0.01", "holds", "0.4"], ["each fid < 9", "holds", "in | each"]]
    assert figures[1:] == [["agreement", "0.5", "12 / 7"], ["kid", "needs <5> | images", "12 / 7"]]
    assert {len(row) for row in kept} == {2}
    assert ["kept", "0.200"] in kept and ["kept.realism", "0.250"] in kept
    assert {row[0] for row in kept} >= {f"kept.blank/{name}" for name in told}


def test_the_card_names_the_generator_as_it_is_called(balanced, tmp_path) -> None:
    publish(balanced(), tmp_path / "out")
    text = (tmp_path / "out" / "card.md").read_text(encoding="utf-8")
    tokens = parsed(text)
    code = [part.content for token in tokens for part in token.children or () if part.type == "code_inline"]
    assert "my_gan" in code and shown(tokens[1]) == "by_hand, arm filled_up: balanced set"


def test_the_card_as_json_says_what_holds_and_what_is_missing(balanced, tmp_path) -> None:
    publish(balanced(), tmp_path / "out")
    text = (tmp_path / "out" / "card.json").read_text(encoding="utf-8")
    card = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert card["gates"] == [
        {"gate": "memorisation.p > 0.01", "holds": True, "detail": "0.4"},
        {"gate": "each fid < 9", "holds": True, "detail": "in | each"},
    ]
    assert card["override"] is None and card["missing"] == {"cat": 3}
    assert card["made_from"]["real"] == {"cat": 4, "dog": 4, "eel": 4}
    assert card["synthetic"] == {"cat": 2, "dog": 5, "eel": 0}
    assert card["generator"]["checkpoint"] == "c0ffee" * 10 and card["generator"]["seed"] == 7
    assert card["generator"]["config"]["kind"] == "acgan"
    assert card["figures"]["agreement"]["value"] == 0.5 and card["figures"]["kid"]["value"] is None
    assert card["figures"]["kid"]["note"] == "needs <5> | images"
    kept = card["checks"]["kept"]
    # Of 30 candidates 24 are not blank, of which 6 look real.
    assert (kept["kept.blank"], kept["kept.realism"], kept["kept"]) == (0.8, 0.25, 0.2)
    assert kept["kept/cat"] == 0.2 and card["checks"]["curated"] is True
    back = config.load(tmp_path / "out" / "experiment.yaml")
    assert back == balanced().experiment
    figures = pd.read_csv(tmp_path / "out" / "fidelity.csv", keep_default_na=False)
    assert list(figures.columns) == list(fidelity.COLUMNS) and "kept.blank" in set(figures.metric)


def test_an_override_and_its_reason_are_on_the_card(balanced, tmp_path) -> None:
    reason = "for a trial | <b>only</b>\n# see [1]"
    broken = (Outcome("memorisation.p > 0.01", False, "0.001"),)
    publish(balanced(gates=broken, override=reason), tmp_path / "out")
    card = json.loads((tmp_path / "out" / "card.json").read_text(encoding="utf-8"))
    assert card["override"] == reason and card["gates"][0]["holds"] is False
    text = (tmp_path / "out" / "card.md").read_text(encoding="utf-8")
    assert cells(text)[1][1] == ["memorisation.p > 0.01", "does not hold", "0.001"]
    lines = [shown(t) for t in parsed(text) if t.type == "inline" and t.level == 1]
    told = "Published although a gate does not hold: for a trial | <b>only</b> # see [1]"
    assert told in lines


def test_a_set_without_synthetic_images_or_checks_is_published_too(balanced, tmp_path) -> None:
    found, out = balanced(made=()), tmp_path / "out"
    none = pd.DataFrame(columns=["class", "check", "seen", "passed"])
    store = Store(tmp_path / "store")
    made = found.made.model_copy(
        update={
            "checks": store.put_table("checks", pd.DataFrame({"id": []})),
            "funnel": store.put_table("funnels", none),
        }
    )
    publish(Balanced(**{**vars(found), "made": made}), out)
    table = manifest_of(out)
    assert len(table) == 12 and set(table["origin"]) == {"real"}
    assert list(table.columns) == LINEAGE[:10]
    card = json.loads((out / "card.json").read_text(encoding="utf-8"))
    assert card["synthetic"] == {"cat": 0, "dog": 0, "eel": 0} and card["checks"]["kept"] == {}


def test_an_earlier_set_is_replaced_as_a_whole(balanced, tmp_path) -> None:
    out = tmp_path / "out"
    publish(balanced(("cat", "dog", "eel", "fox"), made=(2, 5, 3, 3)), out)
    check_balanced_out(out)
    publish(balanced(made=(1,)), out)
    table = manifest_of(out)
    assert len(table) == 13 and files_in(out) == {*BALANCED_FILES, *table["file"]}
    assert {p.name for p in out.iterdir() if p.is_dir()} == {"cat", "dog", "eel"}
    assert {p.name for p in tmp_path.iterdir()} == {"out", "store"}


def test_a_set_that_cannot_be_written_leaves_the_earlier_one(balanced, tmp_path) -> None:
    out = tmp_path / "out"
    publish(balanced(), out)
    before = {name: (out / name).read_bytes() for name in files_in(out)}
    found = balanced(made=(1,))
    lost = found.made.model_copy(update={"checks": Ref(path=tmp_path / "gone", sha256="")})
    with pytest.raises(RunError, match="damaged or missing"):
        publish(Balanced(**{**vars(found), "made": lost}), out)
    assert {name: (out / name).read_bytes() for name in files_in(out)} == before
    assert {p.name for p in tmp_path.iterdir()} == {"out", "store"}


def test_places_that_cannot_become_a_balanced_set(balanced, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("AUGPIPE_HOME", str(tmp_path / "home" / "data"))
    monkeypatch.chdir(tmp_path)
    images, mine, kept = tmp_path / "images", tmp_path / "mine", tmp_path / "kept"
    (mine / "cats").mkdir(parents=True)
    (mine / "cats" / "mine.png").write_text("dear")
    images.mkdir()
    (tmp_path / "file").write_text("")
    publish(balanced(), kept)
    (kept / "cat" / "mine.png").write_text("dear")
    damaged = tmp_path / "damaged"
    publish(balanced(), damaged)
    (damaged / "card.json").unlink()
    refused = {
        tmp_path / "file": "is a file",
        tmp_path / "file" / "x": "is a file",
        images / "out": "lies in the image folder",
        images: "lies in the image folder",
        mine: "which is not a file of a balanced set",
        kept: "holds 'cat/mine.png', which is not a file of a balanced set",
        damaged: "which is not a file of a balanced set",
        tmp_path: "would be replaced completely but holds",
    }
    for out, told in refused.items():
        with pytest.raises(UserError, match=re.escape(told)) as raised:
            check_balanced_out(out, [images])
        assert "\n" not in str(raised.value)
    check_balanced_out(tmp_path / "new" / "deep", [images])
    (tmp_path / "empty").mkdir()
    check_balanced_out(tmp_path / "empty", [images])
    assert not (tmp_path / "new").exists() and (mine / "cats" / "mine.png").read_text() == "dear"


@pytest.mark.parametrize("place", ["home", "home/data", "work"])
def test_a_set_never_takes_the_place_of_what_a_run_works_in(place, tmp_path, monkeypatch) -> None:
    """`publish` replaces the folder: neither AUGPIPE_HOME nor the working directory may lie in it."""
    monkeypatch.setenv("AUGPIPE_HOME", str(tmp_path / "home" / "data"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    with pytest.raises(UserError):
        check_balanced_out(tmp_path / place)


@pytest.mark.parametrize("text", ["", "a,b\n1,2,3\n", "\x00\x01"])
def test_a_manifest_that_is_none_is_told_in_one_line(text, balanced, tmp_path) -> None:
    out = tmp_path / "out"
    publish(balanced(), out)
    (out / "manifest.csv").write_text(text)
    with pytest.raises(UserError):
        check_balanced_out(out)


def test_what_came_into_the_out_folder_meanwhile_is_not_lost(balanced, tmp_path) -> None:
    """Between the check and the publishing a generator is trained, for hours."""
    out = tmp_path / "out"
    check_balanced_out(out)
    out.mkdir()
    (out / "mine.txt").write_text("dear")
    with pytest.raises(UserError, match=re.escape("holds 'mine.txt'")):
        publish(balanced(), out)
    assert (out / "mine.txt").read_text() == "dear"

"""Mistakes of the user: each is answered by one plain line that names the value, before any server starts.

A real file for each. All are tried in the test's own process; some also in processes of their own, whose processor time
and imports are looked at. What is wrong with single pictures, rows and archives: test_bad_input.
"""

from __future__ import annotations

import json
import re
import shlex
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from in_process import call
from pictures import folders, noise, save
from tiny import ROOT, environment

from augpipe.core.states import save_state

CONFIG = """
name: good
source: {kind: folder, path: pictures}
image: {size: 16, channels: 1}
split: {val: 0.2, test: 0.2}
generators:
  smote: {kind: smote}
  acgan: {kind: acgan, kimg: 1, ticks: 2, width: 0.06, latent: 16, batch: 50}
classifier: {width: 0.25, steps: 30, batch: 32, evaluations: 3}
arms:
  - {name: real}
  - {name: acgan, generator: acgan, mix: {fill: 0.5, share: 0.3, sampler: balanced}}
  - {name: smote, generator: smote}
baseline: real
"""
# Words of pydantic, PyYAML, cyclopts and Python that tell a user nothing.
JARGON = re.compile(
    r"Errno|NoneType|valid (dictionary|tuple|list)|Input should|Traceback|<class|<unicode string>|object at 0x|"
    r"validation error|instance of|Unused Tokens|after validation|stream end|\w+Error\b"
)
LONGEST = 420  # characters of a line, with the test's own paths
SECONDS = 2.0  # of processor time
WEIGHT = 0.7071
TEXTS = {
    "good.yaml": CONFIG,
    "empty.yaml": "",
    "comment.yaml": "# nothing yet\n",
    "list.yaml": "- a\n- b\n",
    "text.yaml": "hello\n",
    "broken.yaml": "name: [1\n",
    "tabs.yaml": "name:\n\tx: 1\n",
    "file": "x",
    "file.html": "x",
    "words/a.txt": "x",
    "gone.csv": "path,label\nno.png,a\nnor.png,b\n",
    "nolabel.csv": "path,size\npictures/a/000.png,1\n",
    "head.csv": "path,label\n",
    "out/thesis.txt": "x",
    "model.pt": "no model",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a good config and good pictures, and with much that is not good."""
    root = tmp_path_factory.mktemp("mistakes")
    for name, text in TEXTS.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    (root / "latin.yaml").write_bytes("name: größe\n".encode("latin-1"))
    (root / "cut.zip").write_bytes(b"PK\3\4 not a zip")
    models(root)
    (root / "tracked").mkdir()
    with closing(sqlite3.connect(root / "tracked" / "mlflow.db")) as database, database:
        database.execute("CREATE TABLE registered_models (name TEXT)")
        database.execute("CREATE TABLE runs (run_uuid TEXT)")
        database.execute("INSERT INTO registered_models VALUES ('good-classifier')")
    (root / "nowhere").symlink_to("gone")
    (root / "loop").symlink_to("loop")
    folders(root / "pictures", 12, ("a", "b", "c"))
    for name in ("hollow", "rare", "pair", "damaged"):
        folders(root / name, 12)
    (root / "hollow" / "c").mkdir()
    (root / "nothing").mkdir()
    save(root / "rare" / "c" / "0.png", noise(7001))
    save(root / "pair" / "c" / "0.png", noise(7002))
    save(root / "pair" / "c" / "1.png", noise(7003))
    for i in range(4):
        (root / "damaged" / "a" / f"x{i}.png").write_text("no picture")
    folders(root / "names", 6, ("Cat", "cat "))
    folders(root / "single", 6, ("a",))
    folders(root / "mixed" / "train", 6)
    folders(root / "mixed" / "test", 6, ("a", "d"))
    np.savez(root / "nolabels.npz", images=noise(0, 5, 8, 8))
    np.savez(root / "short.npz", images=noise(0, 5, 8, 8), labels=np.arange(4))
    np.save(root / "lone.npy", noise(0, 5, 8, 8))
    return root


def models(root: Path) -> None:
    """Files of models, as far as they are read before torch is imported, and files that are none."""
    about = {"classes": ["a", "b", "c"], "state": {"weight": torch.full((2,), WEIGHT)}}
    for kind in ("classifier", "generator"):
        save_state({"augpipe": kind, **about}, root / f"{kind}.pt")
    (root / "made" / "models").mkdir(parents=True)
    for name in ("cgan", "cvae", "diffusion", "smote", "images"):
        config = {"kind": name, **({"draw": "between"} if name == "cvae" else {})}
        state = {"config": config, "spec": [16, 1], "train": {"sha256": "0" * 64}}
        held = {"reference": {}, "available": {0: 8, 1: 5, 2: 0}} if name == "images" else {}
        save_state(
            {"augpipe": "generator", "classes": about["classes"], "state": state, **held},
            root / "made" / "models" / f"generator-{name}.pt",
        )
        save_state({"classes": about["classes"], **state}, root / f"checkpoint-{name}.pt")
    whole = (root / "generator.pt").read_bytes()
    at = whole.index(np.float32(WEIGHT).tobytes())
    (root / "flipped.pt").write_bytes(whole[:at] + b"flip" + whole[at + 4 :])
    (root / "halved.pt").write_bytes(whole[: len(whole) // 2])
    torch.save({"weight": torch.zeros(2)}, root / "foreign.pt")


RUN = "run good.yaml --set "
NOBODY = "http://127.0.0.1:9"
CASES = {
    # Those that fell short of one plain line within 2 seconds when 141 were tried.
    "one image of a class": (f"{RUN} source.path=rare", "class 'c' has 1 image; train, val and test need at least 3"),
    "two images of a class": (f"{RUN} source.path=pair", "class 'c' has 2 images; train, val and test need at least 3"),
    "one image, without a config": ("run rare", "class 'c' has 1 image; train, val and test need at least 3"),
    "an empty class folder": (
        f"{RUN} source.path=hollow",
        "class 'c' has no usable picture; add some, or exclude it with source.classes (--set 'source.classes=[a, b]')",
    ),
    "an empty class folder, without a config": (
        "run hollow",
        "class 'c' has no usable picture; add some, or exclude it",
    ),
    "an unknown class in a share": (
        f"{RUN} 'arms.acgan.mix.share={{eleven: 0.1}}'",
        "mix.share of arm 'acgan': unknown class 'eleven'; choose from a, b, c",
    ),
    "an unknown class in a fill": (
        f"{RUN} 'arms.acgan.mix.fill={{eleven: 9}}'",
        "mix.fill of arm 'acgan': unknown class 'eleven'; choose from a, b, c",
    ),
    "an unknown class in an imbalance": (
        f"{RUN} 'imbalance={{profile: step, classes: [x], keep: 0.5}}'",
        "imbalance: unknown class 'x'; choose from a, b, c",
    ),
    "a missing source": (f"{RUN} source.path=/no/such", "the folder /no/such does not exist"),
    "an image size that no family draws": (f"{RUN} image.size=1000", "image size 1000 is above 256; choose from 8, 10"),
    "an image size between two": (
        f"{RUN} image.size=36",
        "image size 36 is not 4, 5, 6 or 7 doubled; choose from 8, 10",
    ),
    "a grouped split without groups": (
        f"{RUN} split.kind=grouped",
        "split.kind is grouped, but the source has no groups",
    ),
    "files that are no pictures": (
        f"{RUN} source.path=damaged",
        "more than 5% of 28 files cannot be used, 4 so far: not a picture of a supported format (4); the first is "
        "a/x0.png",
    ),
    "files that are no pictures, without a config": (
        "run damaged",
        "more than 5% of 28 files cannot be used, 4 so far",
    ),
    "an unknown MedMNIST set": (
        f"{RUN} 'source={{kind: medmnist, name: bloodmnst}}'",
        "unknown MedMNIST set 'bloodmnst' (did you mean 'bloodmnist'?)",
    ),
    "a MedMNIST set that is not there": (
        f"{RUN} 'source={{kind: medmnist, name: bloodmnist}}'",
        "no bloodmnist.npz in",
    ),
    "an unknown set of torchvision": (
        f"{RUN} 'source={{kind: torchvision, name: FashonMNIST}}'",
        "unknown torchvision set 'FashonMNIST' (did you mean 'FashionMNIST'?)",
    ),
    "a set of torchvision that is not there": (
        f"{RUN} 'source={{kind: torchvision, name: FashionMNIST}}'",
        "torchvision of FashionMNIST is not a folder; set source.download",
    ),
    "an unknown bundled set": (
        f"{RUN} 'source={{kind: bundled, name: digit}}'",
        "source: name: must be 'digits' (got 'digit')",
    ),
    "a missing config": ("run nosuch.yaml", "no config or folder 'nosuch.yaml'"),
    "another ending": ("run good.yml", "no config or folder 'good.yml' (did you mean 'good.yaml'?)"),
    "an empty file": ("run empty.yaml", "the config empty.yaml is empty; it must have keys and values"),
    "only a comment": ("run comment.yaml", "the config comment.yaml is empty; it must have keys and values"),
    "a word as seeds": (f"{RUN} seeds=three", "seeds: must be a number or a list of numbers; got 'three'"),
    "a number as image": (f"{RUN} image=32", "image: must have keys and values (got 32)"),
    "arms as a mapping": (f"{RUN} 'arms={{real: {{}}}}'", "arms: must be a list (got {'real': {}})"),
    "no arms": (f"{RUN} arms=[]", "arms: needs at least 1 entry (got [])"),
    "a device by another name": (
        f"{RUN} runner.device=gpu",
        "runner.device: must be 'auto', 'cpu', 'cuda' or 'mps' (got 'gpu')",
    ),
    "a family in capitals": (
        f"{RUN} generators.acgan.kind=ACGAN",
        "unknown generator 'ACGAN' (did you mean 'acgan'?); choose from acgan",
    ),
    "nothing to train": (
        f"{RUN} generators.acgan.kimg=0",
        "kimg: 0 would draw from an untrained acgan; set it above 0",
    ),
    "a value without --set": (
        "run good.yaml fidelity.images=5",
        "unexpected argument 'fidelity.images=5' of augpipe run; --set A=1 B=2 sets values",
    ),
    "train without a generator": ("train good.yaml", "augpipe train needs --generator VALUE; see augpipe train --help"),
    "balance without an arm": ("balance good.yaml", "augpipe balance needs --arm VALUE; see augpipe balance --help"),
    "a table without its files": (
        "run gone.csv",
        "such as 'no.png': set source.root to the folder that the paths are relative to",
    ),
    "a tracking store of no kind": (
        "run good.yaml",
        "unknown scheme in MLFLOW_TRACKING_URI banana://x: 'banana'; choose from http, https, sqlite",
        {"MLFLOW_TRACKING_URI": "banana://x"},
    ),
    "a limit that is no size": (
        "run good.yaml",
        "AUGPIPE_STORE_LIMIT must be a size such as 500MB, 20GB or 1TB; got 'much'",
        {"AUGPIPE_STORE_LIMIT": "much"},
    ),
    "no Dask scheduler": (
        f"{RUN} 'runner={{kind: dask, address: \"tcp://127.0.0.1:9\"}}'",
        "no Dask scheduler answers at runner.address tcp://127.0.0.1:9: connection refused",
    ),
    "an unknown figure of a gate": (
        f"{RUN} 'gate=[fidd < 3]'",
        "unknown figure of the gate 'fidd < 3': 'fidd' (did you mean 'fid'?)",
    ),
    # More.
    "no tracking server": (
        "run good.yaml",
        f"no MLflow server answers at MLFLOW_TRACKING_URI {NOBODY}: connection refused",
        {"MLFLOW_TRACKING_URI": NOBODY},
    ),
    "no Prefect server": (
        "run good.yaml",
        f"no Prefect server answers at PREFECT_API_URL {NOBODY}/api: connection refused",
        {"PREFECT_API_URL": f"{NOBODY}/api"},
    ),
    "a proxy that is no address": (
        "run good.yaml",
        "http_proxy 'foo:bar:baz' is not the address of a proxy",
        {"http_proxy": "foo:bar:baz"},
    ),
    "an address without http": (
        "run good.yaml",
        "PREFECT_API_URL banana must begin with http:// or https://",
        {"PREFECT_API_URL": "banana"},
    ),
    "a port that is none": (
        "run good.yaml",
        "MLFLOW_TRACKING_URI http://localhost:x is not an address",
        {"MLFLOW_TRACKING_URI": "http://localhost:x"},
    ),
    "a home that is a file": ("run good.yaml", "file cannot be a folder", {"AUGPIPE_HOME": "file"}),
    "a home that is a link to nowhere": (
        "run good.yaml",
        "nowhere is a link to gone, which does not exist",
        {"AUGPIPE_HOME": "nowhere"},
    ),
    "a home that is a link to itself": (
        "run good.yaml",
        "loop is a link that leads to itself",
        {"AUGPIPE_HOME": "loop"},
    ),
    "a home among the pictures": ("run good.yaml", "which must not be written to", {"AUGPIPE_HOME": "pictures/x"}),
    "a list as a config": ("run list.yaml", "the config list.yaml is a list; it must have keys and values"),
    "a word as a config": ("run text.yaml", "the config text.yaml is only 'hello'; it must have keys and values"),
    "broken YAML": ("run broken.yaml", "the config broken.yaml is not YAML: line 2, column 1: expected ',' or ']'"),
    "tabs in YAML": ("run tabs.yaml", "is not YAML: line 2, column 1: a tab, where YAML needs spaces"),
    "another encoding": ("run latin.yaml", "cannot read the config latin.yaml: it is not UTF-8; save it as UTF-8"),
    "a command that is none": ("rnu good.yaml", 'Unknown command "rnu". Did you mean "run"?'),
    "an option that is none": ("run good.yaml --oot x", "Unknown option: --oot. Did you mean --out?"),
    "a list that is none": ("list familys", "unknown list 'familys' (did you mean 'families'?)"),
    "--set without a value": ("run good.yaml --set", "augpipe run needs --set VALUE"),
    "--set without =": (f"{RUN} seeds", "--set takes key.key=value; got 'seeds'"),
    "an unknown key": (f"{RUN} sedes=3", "unknown key 'sedes' (did you mean 'seeds'?)"),
    "an unknown arm in --set": (f"{RUN} arms.acgn.mix.share=0.1", "no entry 'acgn'; choose from real, acgan, smote"),
    "an unknown option of a family": (
        f"{RUN} generators.acgan.widht=1",
        "generators.acgan: unknown key 'widht' (did you mean 'width'?)",
    ),
    "a word as an option of a family": (
        f"{RUN} generators.acgan.width=wide",
        "generators.acgan: width: must be a number (got 'wide')",
    ),
    "an option out of range": (f"{RUN} generators.acgan.width=1e300", "width: must be less than or equal to 16"),
    "an option without effect": (f"{RUN} generators.acgan.r1_every=3", "r1_every: 3 has no effect with r1: 0"),
    "a generator without a kind": (
        f"{RUN} 'generators.acgan={{kimg: 3}}'",
        "a generator must be a mapping with a kind",
    ),
    "a table without labels": ("run nolabel.csv", "has no column 'label'; it has path, size (set source.columns.label"),
    "a table without rows": ("run head.csv", "head.csv has no rows"),
    "arrays without labels": ("run nolabels.npz", "has no labels; it has images"),
    "too few labels": ("run short.npz", "5 images of"),
    "an array alone": ("run lone.npy", "set the array of their labels, such as --set source.labels=labels.npy"),
    "an archive that is none": ("run cut.zip", "cannot read the archive"),
    "a file of no kind": ("run file", "unknown kind of source: file; use a folder, .zip"),
    "a folder without pictures": (
        "run words",
        "needs a sub-folder of pictures for each of at least 2 classes; it has none",
    ),
    "an empty folder": ("run nothing", "needs a sub-folder of pictures for each of at least 2 classes; it has none"),
    "a single class": ("run single", "at least 2 classes are needed; got a"),
    "names that hardly differ": ("run names", "the classes 'Cat' and 'cat ' differ only in case, spaces or spelling"),
    "a class that train lacks": ("run mixed", "the official train of the source has no image of class 'd'"),
    "min_images above all classes": (
        f"{RUN} min_images=20",
        "min_images 20 leaves fewer than 2 of 3 classes; the largest have: a 12, b 12, c 12",
    ),
    "exclude that leaves nothing": (
        f"{RUN} 'source.exclude=*'",
        "source.exclude leaves out all 36 pictures of the folder",
    ),
    "an unknown class in source.classes": (f"{RUN} source.classes=[a,x]", "'x'; choose from a, b, c"),
    "an unknown field of a layout": (
        f"{RUN} 'source.layout={{clas}}/*'",
        "unknown field {clas} in the layout '{clas}/*'; choose from label",
    ),
    "a budget that is no time": (
        "run pictures --budget soon",
        "--budget takes a time such as 90s, 10m, 2h or 1h30m; got 'soon'",
    ),
    "a budget of a config": (
        "run good.yaml --budget 5m",
        "--budget applies to images only; the config good.yaml has its own settings",
    ),
    "two budgets": ("run pictures --budget 5m --quick", "--budget and --quick are mutually exclusive"),
    "fresh and resume": ("run good.yaml --fresh --resume", "--resume and --fresh are mutually exclusive"),
    "an out folder that is a file": ("run good.yaml --out file", "the out folder file cannot be a folder"),
    "an out folder among the pictures": (
        "run good.yaml --out pictures",
        "which must not be written to; choose another path",
    ),
    "an out folder with other files": ("run good.yaml --out out", "holds 'thesis.txt', which no run has written"),
    "an unknown generator": ("train good.yaml --generator cgann", "unknown generator 'cgann' (did you mean 'acgan'?)"),
    "a negative seed": ("train good.yaml --generator acgan --seed -1", "a seed must be 0 or more; got -1"),
    "a word as a seed": (
        "train good.yaml --generator acgan --seed x",
        'Invalid value for --seed: unable to convert "x" into int',
    ),
    "an arm without a generator": (
        "balance good.yaml --arm real",
        "unknown arm with a generator 'real'; choose from acgan, smote",
    ),
    "arrays of several sizes": (
        "balance good.yaml --arm acgan --format npz --real-size original",
        "--format npz has one size for all images",
    ),
    "an unknown baseline": (f"{RUN} baseline=reel", "unknown baseline 'reel' (did you mean 'real'?)"),
    "a share above 1": (f"{RUN} arms.acgan.mix.share=2", "a share must be a number in [0, 1]; got 2"),
    "an unknown sampler": (
        f"{RUN} arms.acgan.mix.sampler=balnced",
        "sampler: must be 'natural', 'sqrt' or 'balanced' (got 'balnced')",
    ),
    "an unknown transform": (f"{RUN} arms.real.mix.transform=lite", "unknown transform 'lite' (did you mean 'light'?)"),
    "a transform that is not there": (
        f"{RUN} arms.real.mix.transform=no.yaml",
        "cannot read the transform no.yaml: No such file or directory",
    ),
    "an unknown loss": (f"{RUN} arms.real.mix.loss=focl", "unknown loss 'focl' (did you mean 'focal'?)"),
    "an unknown classifier": (
        f"{RUN} classifier.kind=resnet",
        "unknown classifier 'resnet' (did you mean 'resnet50'?)",
    ),
    "half a step": (f"{RUN} classifier.steps=1.5", "classifier.steps: must be a whole number (got 1.5)"),
    "a split that leaves no train": (f"{RUN} split.val=0.9", "val 0.9 and test 0.2 leave no images for train"),
    "more folds than images": (
        f"{RUN} 'split={{kind: k_fold, folds: 50}}'",
        "class 'a' has 12 images; 50 folds need at least 50",
    ),
    "an official split that is not there": (
        f"{RUN} split.kind=official",
        "split.kind is official, but the source has no split",
    ),
    "more images than there are": (
        f"{RUN} 'imbalance={{profile: counts, counts: {{a: 500}}}}'",
        "class 'a' has 12 images, of which train has at most 9, fewer than the 500",
    ),
    "an unknown metric": (
        f"{RUN} metric=f1",
        "metric: must be 'macro_recall', 'macro_f1', 'macro_auc', 'minority_recall' or 'worst_class_recall' (got 'f1')",
    ),
    "an unknown profile": (f"{RUN} imbalance.profile=stp", "unknown imbalance profile 'stp' (did you mean 'step'?)"),
    "a share without a generator": (
        f"{RUN} arms.real.mix.share=0.1",
        "mix.share of arm 'real' needs synthetic images, but the arm has no generator",
    ),
    "four channels": (f"{RUN} image.channels=4", "image.channels: must be 1 or 3 (got 4)"),
    "a window upside down": (
        f"{RUN} 'image.window=[9, 3]'",
        "a window must be [low, high] with low < high; got [9.0, 3.0]",
    ),
    "no workers": (f"{RUN} runner.workers=0", "runner.workers: must be greater than or equal to 1 (got 0)"),
    "a model that is not there": ("generate nowhere --counts 3=5", "no file or folder 'nowhere'"),
    "a file that is no model": ("generate model.pt --counts 3=5", "model.pt is not a model of augpipe"),
    "generate without counts": ("generate model.pt", "augpipe generate needs --counts VALUE"),
    "an unknown format": (
        "generate model.pt --counts 5 --format tfrecord",
        'Invalid value "tfrecord" for --format. Choose from: "folder", "npz", "webdataset", "hf", "dicom"',
    ),
    "images of a classifier": (
        "generate classifier.pt --counts 3=5",
        "classifier.pt is a classifier; `augpipe generate` needs a generator",
    ),
    "predictions of a generator": (
        "predict generator.pt pictures",
        "generator.pt is a generator; `augpipe predict` needs a classifier",
    ),
    "a classifier to explore": (
        "explore classifier.pt",
        "classifier.pt is a classifier; `augpipe explore` needs a generator",
    ),
    "exploring an unknown class": ("explore generator.pt --classes a,eel", "unknown class 'eel'; choose from a, b, c"),
    "exploring a class twice": ("explore generator.pt --classes a --classes b,a", "--classes names class 'a' twice"),
    "exploring into words": ("explore generator.pt --out words", "the out folder words holds 'a.txt'"),
    "exploring with a negative seed": ("explore generator.pt --seed=-1", "--seed must be 0 or more; got -1"),
    "exploring a model whose images are gone": ("explore checkpoint-smote.pt", "no image set with SHA-256"),
    "images of an unknown class": ("generate generator.pt --counts eel=5", "unknown class 'eel'; choose from a, b, c"),
    "counts that are none": ("generate generator.pt --counts a=five", "--counts 'a=five' is not CLASS=NUMBER"),
    "one of several generators": (
        "generate made --counts 5",
        "made has several generators; choose one with --generator: cgan, cvae, diffusion, images, smote",
    ),
    "an unknown generator of a run": (
        "generate made --counts 5 --generator cgn",
        "unknown generator 'cgn' (did you mean 'cgan'?); choose from cgan, cvae, diffusion, images, smote",
    ),
    "predictions of an empty folder": ("predict classifier.pt nothing", "no picture below nothing; supported are .png"),
    "a picture given twice": (
        "predict classifier.pt pictures ./pictures",
        "the picture pictures/a/000.png is given twice; leave it out of one of pictures, pictures",
    ),
    "a run without a classifier": ("predict made pictures", "made holds no classifier: give a classifier's file"),
    "images into a folder that holds some": (
        "generate generator.pt --counts 5 --out words",
        "the out folder words holds 'a.txt'",
    ),
    "an export with another ending": (
        "export classifier.pt --format torchscript --out x.onnx",
        "--out must be a .pt file for torchscript; got 'x.onnx'",
    ),
    "a certificate without its key": (
        "generate generator.pt --counts 5 --c2pa-certificate file",
        "--c2pa-certificate and --c2pa-key need each other",
    ),
    "signed arrays": (
        "balance good.yaml --arm acgan --format npz --c2pa-certificate file --c2pa-key file",
        "--c2pa-certificate signs PNG files; --format npz has none: choose folder, webdataset, hf",
    ),
    "a truncation above 1": (
        "generate model.pt --counts 5 --truncation 2",
        "--truncation must be above 0 and at most 1; got 2",
    ),
    "predictions without pictures": (
        "predict model.pt",
        "augpipe predict needs pictures: augpipe predict MODEL IMAGES...",
    ),
    "a picture that is not there": ("predict out nosuch.png", "no picture or folder 'nosuch.png'"),
    "predictions as text": ("predict model.pt pictures --out x.txt", "--out must be a .csv file; got 'x.txt'"),
    "an age that is none": (
        "cache prune --older-than soon",
        "an age must be a number of minutes, hours or days such as 90m, 12h or 7d; got 'soon'",
    ),
    "a schedule that is none": (
        "serve good.yaml --cron soon",
        "--cron takes minute, hour, day of month, month and day of week",
    ),
    "an hour that is none": ("serve good.yaml --cron '0 25 * * *'", "hour '25' of '0 25 * * *' is not from 0 to 23"),
    "a minute that is none": ("serve good.yaml --cron '*/0 2 * * *'", "got minute '*/0' in '*/0 2 * * *'"),
    "a day that is none": (
        "serve good.yaml --cron '0 2 * * monday'",
        "day of week 'monday' of '0 2 * * monday' is not from 0 to 7",
    ),
    "several tables": (
        f"{RUN} 'source={{kind: manifest, path: [gone.csv, head.csv]}}'",
        "source: path: must be a single path (got ['gone.csv', 'head.csv'])",
    ),
    "several folders": (
        f"{RUN} 'source.path=[pictures, rare]'",
        "source: path: must be a single path (got ['pictures', 'rare'])",
    ),
    "an image size that no family draws, without a config": (
        "run pictures --set image.size=512 --dry-run",
        "image size 512 is above 256; choose from 8, 10",
    ),
    "an image size that doubles no start, without a config": (
        "run pictures --set image.size=36",
        "image size 36 is not 4, 5, 6 or 7 doubled",
    ),
    "a setting that an inspection does not read": (
        "inspect pictures --set classifier.steps=5",
        "--set classifier.steps=5 has no effect on augpipe inspect of images, which reads source, image, split",
    ),
    "an arm that an inspection does not read": (
        "inspect pictures --set arms.cgan.mix.share=0.1",
        "--set arms.cgan.mix.share=0.1 has no effect on augpipe inspect of images",
    ),
    "an inspection of an empty folder": (
        "inspect nothing",
        "nothing needs a sub-folder of pictures for each of at least 2 classes; it has none",
    ),
    "an inspection with a misspelt setting": (
        "inspect pictures --set image.sise=32",
        "image: unknown key 'sise' (did you mean 'size'?)",
    ),
    "a config of a config": ("init good.yaml", "good.yaml is a config already; augpipe init takes images"),
    "a config that exists": ("init pictures --out good.yaml", "good.yaml exists; choose another --out, or delete it"),
    "an unknown shell": (
        "completion powershell",
        'Invalid value "powershell" for SHELL. Choose from: "bash", "zsh", "fish"',
    ),
    "an out folder that is a file, without a config": (
        "run pictures --out file",
        "the out folder file cannot be a folder",
    ),
    "a port that nothing listens at, without a config": (
        "run pictures",
        f"no MLflow server answers at MLFLOW_TRACKING_URI {NOBODY}",
        {"MLFLOW_TRACKING_URI": NOBODY},
    ),
    "an unknown key of an arm, without a config": ("run pictures --set arms.cgan.mix.shear=1", "unknown key 'shear'"),
    "an unknown generator, without a config": (
        "train pictures --generator cgann",
        "unknown generator 'cgann' (did you mean 'cgan'?)",
    ),
    "a figure that needs larger images": (
        f"{RUN} 'gate=[ms_ssim < 0.5]'",
        "the gate 'ms_ssim < 0.5' cannot hold: ms_ssim needs images of 161 px; these have 16",
    ),
    "a run with itself": ("compare-runs out ./out", "out and out are the same folder"),
    "folders of no run": ("compare-runs out words", "out is not the out folder of a run: it has no summary.json"),
    "a folder that is not there": ("compare-runs nosuch words", "no folder 'nosuch'"),
    "a page with another ending": ("compare-runs out words --out x.txt", "--out must be a .html file; got 'x.txt'"),
    "a page that is another's": (
        "compare-runs out words --out file.html",
        "file.html exists and is no page of compare-runs",
    ),
    "a quiz without answers": ("quiz score", "augpipe quiz score needs a file: augpipe quiz score answers.csv"),
    "answers of no quiz": (
        "quiz score gone.csv",
        "gone.csv has no column 'quiz'; a quiz page saves the columns quiz, item",
    ),
    "answers that are not there": ("quiz score nosuch.csv", "no file 'nosuch.csv'"),
    "an archive that is no model": ("generate short.npz --counts 3", "short.npz is not a model of augpipe"),
    "a broken archive as a model": ("predict cut.zip pictures", "cut.zip is not a model of augpipe"),
    "a checkpoint of another program": ("generate foreign.pt --counts 3", "foreign.pt is not a model of augpipe"),
    "an export of another program's checkpoint": (
        "export foreign.pt --format torchscript",
        "foreign.pt is not a model of augpipe",
    ),
    "half of a model's file": ("generate halved.pt --counts 3", "halved.pt is not a model of augpipe"),
    "a changed byte in a model's file": (
        "generate flipped.pt --counts 3",
        "flipped.pt is damaged: the checksum of its part",
    ),
    "predictions of a checkpoint": (
        "predict checkpoint-cgan.pt pictures",
        "checkpoint-cgan.pt is a generator; `augpipe predict` needs a classifier",
    ),
    "pictures as a model": ("generate pictures --counts 3", "pictures holds no generator: give a trained generator's"),
    "no images": ("generate made --generator cgan --counts a=0", "--counts asks for no image; write CLASS=NUMBER"),
    "fewer than no images": (
        "generate made --generator cgan --counts a=-4",
        "--counts 'a=-4' is not CLASS=NUMBER or a number",
    ),
    "more images than the disk holds": (
        "generate made --generator cgan --counts a=1000000000000",
        "1,000,000,000,000 images of 16 px need 256,000.0 GB, and ",
    ),
    "more images than were made elsewhere": (
        "generate made --generator images --counts b=6",
        "the model has 5 images of class 'b', made elsewhere, and draws each once; 6 were requested",
    ),
    "a checkpoint without its training set": (
        "generate checkpoint-smote.pt --counts 3",
        "smote derives images from its training set, which is not available: no image set with SHA-256 0000",
    ),
    "truncated latents of a family without any": (
        "generate made --generator smote --counts 3 --truncation 0.5",
        "--truncation has no effect on smote: it has no latents; leave it out",
    ),
    "truncated latents of a diffusion": (
        "generate checkpoint-diffusion.pt --counts 3 --truncation 0.5",
        "--truncation has no effect on diffusion: its images depend on noise of every level; train with guidance above",
    ),
    "truncated latents between images": (
        "generate made --generator cvae --counts 3 --truncation 0.5",
        "--truncation has no effect on cvae: it interpolates between images of train, and draws no latents; leave it",
    ),
    "an export of what lies between images": (
        "export made --generator cvae --format torchscript",
        "a generator of kind cvae cannot be exported: its images are more than its network draws",
    ),
    "checks of no run": (
        "generate made --generator cgan --counts 3 --checked",
        "--checked needs the out folder of a run, whose experiment.yaml names the checks; made has none",
    ),
    "images into a folder with others": (
        "generate made --generator cgan --counts 3 --out pictures",
        "the out folder pictures holds 'a'; choose a new or empty one with --out",
    ),
    "predictions below a file": ("predict classifier.pt pictures --out file/x.csv", "the folder of --out "),
    "an export below a file": ("export classifier.pt --format torchscript --out file/x.pt", "the folder of --out "),
    "an export of a family without a network": (
        "export made --generator smote --format torchscript",
        "a generator of kind smote cannot be exported: its images are not those of one network",
    ),
    "a model that nobody logged": (
        "generate models:/nobody/1 --counts 3",
        "cannot get models:/nobody/1 from MLflow: no run has logged a model yet",
    ),
    "a model of another name": (
        "generate models:/good-clasifier@champion --counts 3",
        "unknown registered model in MLflow: 'good-clasifier' (did you mean 'good-classifier'?)",
        {"AUGPIPE_HOME": "tracked"},
    ),
    "a run that is not there": (
        "predict runs:/abc/classifier pictures",
        "unknown run in MLflow: 'abc'",
        {"AUGPIPE_HOME": "tracked"},
    ),
    "a model of a server that is away": (
        "predict models:/nobody/1 pictures",
        f"no MLflow server answers at MLFLOW_TRACKING_URI {NOBODY}",
        {"MLFLOW_TRACKING_URI": NOBODY},
    ),
    "an inspection into a file": ("inspect good.yaml --out file", "the out folder file cannot be a folder"),
    "images from elsewhere without a source": (
        f"{RUN} 'generators.smote={{kind: images}}'",
        "generators.smote.source: kind images needs a source",
    ),
    "images from elsewhere that are not there": (
        f"{RUN} 'generators.smote={{kind: images, source: {{kind: folder, path: nosuch}}}}'",
        "nosuch does not exist",
    ),
    "images from elsewhere of other classes": (
        f"{RUN} 'generators.smote={{kind: images, source: {{kind: folder, path: names}}}}' duplicates=keep",
        "generators.smote.source: it has classes that the experiment lacks, Cat, cat ; rename them",
    ),
    "images from elsewhere that are none": (
        f"{RUN} 'generators.smote={{kind: images, source: {{kind: folder, path: damaged}}}}' on_bad=fail",
        "generators.smote.source: cannot use generators.smote/a/x0.png: not a picture of a supported format",
    ),
    "an out folder among images from elsewhere": (
        f"{RUN} 'generators.smote={{kind: images, source: {{kind: folder, path: mixed/train}}}}' --out mixed/train/x",
        "the out folder mixed/train/x lies in the image folder ",
    ),
    "training on images from elsewhere": (
        f"{RUN} 'generators.smote={{kind: images, kimg: 5, source: {{kind: folder, path: pictures}}}}'",
        "generators.smote: kimg: must be less than or equal to 0 (got 5)",
    ),
    "nothing to inspect": ("inspect nosuch", "no config, folder or file 'nosuch'"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_answered_by_one_plain_line(
    name: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line, message, *more = CASES[name]
    monkeypatch.chdir(place)
    for key in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL", "AUGPIPE_STORE_LIMIT"):
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setenv("AUGPIPE_HOME", str(tmp_path / "data"))
    for key, value in (more[0] if more else {}).items():
        monkeypatch.setenv(key, value)
    before = _contents(place)
    status, answer = call(monkeypatch, capsys, *shlex.split(line))
    assert status == 2 and message in answer, answer
    assert answer.startswith("augpipe: ") and "\n" not in answer
    assert not JARGON.search(answer) and len(answer.replace(str(place), "")) < LONGEST
    assert _contents(place) == before
    assert not (tmp_path / "data" / "store").exists()


def _contents(place: Path) -> dict[Path, int]:
    """Everything below a folder; of files when they were written."""
    return {p: p.stat().st_mtime_ns if p.is_file() else 0 for p in place.rglob("*")}


# Imports the command, then answers each line in a fork of its own: status, imports, the answer, and seconds of
# processor time.
SCRIPT = """
import contextlib, io, json, os, resource, sys
from flows import cli
def seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
for arguments, variables in json.loads(sys.argv[1]):
    before = seconds()
    if os.fork() == 0:
        os.environ.update(variables)
        sys.argv, status = ["augpipe", *arguments], 0
        with contextlib.redirect_stderr(io.StringIO()) as answer:
            try:
                cli.main()
            except SystemExit as end:
                status = end.code
        print(json.dumps([status, sorted({m.split(".")[0] for m in sys.modules}), answer.getvalue()]), flush=True)
        os._exit(0)
    os.wait()
    print(seconds() - before, flush=True)
"""
EARLY = (
    "an empty class folder",
    "an image size that no family draws",
    "an unknown MedMNIST set",
    "an hour that is none",
    "a tracking store of no kind",
    "an option out of range",
    "files that are no pictures, without a config",
    "an unknown key of an arm, without a config",
    "a figure that needs larger images",
    "images of an unknown class",
    "one of several generators",
    "an export with another ending",
    "an archive that is no model",
    "a checkpoint of another program",
    "half of a model's file",
    "a changed byte in a model's file",
    "more images than the disk holds",
    "more images than were made elsewhere",
    "a checkpoint without its training set",
    "truncated latents of a family without any",
    "checks of no run",
    "an export of a family without a network",
    "truncated latents of a diffusion",
    "truncated latents between images",
    "an export of what lies between images",
    "a model that nobody logged",
    "an inspection into a file",
    "images from elsewhere of other classes",
    "a setting that an inspection does not read",
)


def test_the_answer_comes_early(place: Path, tmp_path: Path) -> None:
    """Within SECONDS of processor time after the import of the command, which test_imports bounds;
    and without torch.
    """
    cases = [CASES[name] for name in EARLY]
    lines = [(shlex.split(line), more[0] if more else {}) for line, _, *more in cases]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(lines)],
        cwd=place,
        capture_output=True,
        text=True,
        check=True,
        env=environment(tmp_path, PYTHONPATH=str(ROOT), AUGPIPE_HOME=str(tmp_path / "data")),
    )
    printed = [json.loads(line) for line in done.stdout.splitlines()]
    for name, (_, message, *_), answered, seconds in zip(EARLY, cases, printed[::2], printed[1::2], strict=True):
        status, modules, answer = answered
        assert status == 2 and message in answer, (name, answer)
        assert not {"torch", "prefect", "mlflow"} & set(modules), name
        assert seconds < SECONDS, name

"""The commands of the page on published sets, on files of their layout."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from augpipe.pipeline.defaults import suggest

PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "known-tables.md"
N = 60


def picture(path: str, seed: int) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def write(path: str, *lines: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text("\n".join(lines) + "\n")


def ham10000() -> None:
    lines = ["lesion_id,image_id,dx,dx_type,age,sex,localization"]
    for i in range(N):
        picture(f"HAM10000/HAM10000_images_part_{1 + i % 2}/ISIC_{i:07d}.jpg", i)
        lines.append(f"HAM_{i // 2:07d},ISIC_{i:07d},{('nv', 'mel', 'bkl')[i // 2 % 3]},histo,50.0,male,back")
    write("HAM10000/HAM10000_metadata.csv", *lines)


def isic_2019() -> None:
    classes = ["MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK"]
    truth, more = [",".join(["image", *classes])], ["image,age_approx,anatom_site_general,lesion_id,sex"]
    for i in range(2 * N):
        picture(f"ISIC/ISIC_2019_Training_Input/ISIC_{i:07d}.jpg", i)
        label = i // 2 % 8
        truth.append(",".join([f"ISIC_{i:07d}", *("1.0" if c == label else "0.0" for c in range(9))]))
        more.append(f"ISIC_{i:07d},55.0,anterior torso,{f'BCN_{i // 2:07d}' if i % 16 else ''},female")
    write("ISIC/ISIC_2019_Training_GroundTruth.csv", *truth)
    write("ISIC/ISIC_2019_Training_Metadata.csv", *more)


def chexpert() -> None:
    findings = [
        *("No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema"),
        *("Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other"),
        *("Fracture", "Support Devices"),
    ]
    lines = [",".join(["Path,Sex,Age,Frontal/Lateral,AP/PA", *findings])]
    marks = (
        {"No Finding": "1.0"},
        {"Pleural Effusion": "1.0", "Pneumothorax": "0.0"},
        {"Pleural Effusion": "-1.0"},
        {"Pleural Effusion": "1.0", "Edema": "1.0"},
        {"Support Devices": "1.0"},
        {"Pneumonia": "0.0"},
    )
    for i in range(2 * N):
        path = f"CheXpert-v1.0-small/train/patient{i // 2:05d}/study1/view{1 + i % 2}_frontal.jpg"
        picture(f"CheXpert/{path}", i)
        lines.append(",".join([f"{path},Male,60,Frontal,AP", *(marks[i // 2 % 6].get(name, "") for name in findings)]))
    write("CheXpert/CheXpert-v1.0-small/train.csv", *lines)


def celeba() -> None:
    lines, people = [str(N), "Male Smiling "], []
    for i in range(N):
        picture(f"celeba/img_align_celeba/{i + 1:06d}.jpg", i)
        lines.append(f"{i + 1:06d}.jpg {1 - 2 * (i % 2):2d} {1 - 2 * (i // 2 % 2):2d}")
        people.append(f"{i + 1:06d}.jpg {i // 2}")
    write("celeba/list_attr_celeba.txt", *lines)
    write("celeba/identity_CelebA.txt", *people)


SETS = {
    "HAM10000": (ham10000, ("bkl", "mel", "nv"), N, N // 2),
    "ISIC 2019": (isic_2019, ("AK", "BCC", "BKL", "DF", "MEL", "NV", "SCC", "VASC"), 2 * N, N),
    "CheXpert": (chexpert, ("No Finding", "Pleural Effusion"), 2 * N // 3, N // 3),
    "CelebA": (celeba, ("-1", "1"), N, N // 2),
}


@pytest.mark.parametrize("name", SETS)
def test_the_command_reads_the_set(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = PAGE.read_text("utf-8").partition(f"## {name}\n")[2]
    (command,) = re.findall(r"^```\n(augpipe run .*)\n```", section.partition("\n## ")[0], re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUGPIPE_HOME", str(tmp_path / "home"))
    write_set, classes, n, groups = SETS[name]
    write_set()
    _, _, table, _, *overrides = shlex.split(command)
    listing = suggest(Path(table), overrides).listing
    assert sorted(listing.classes) == sorted(classes) and len(listing) == n and not listing.bad
    assert listing.groups is not None and len(set(listing.groups)) >= groups

"""Columns that look like groups or a split."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from pictures import source

from augpipe.core.errors import UserError
from augpipe.data import sources
from augpipe.data.sources._unused import like_groups


def test_one_long_cell_takes_no_memory_for_all(tmp_path: Path) -> None:
    """Text of fixed width would take 4 bytes x 1,000,000 characters x 2,000 rows."""
    values = np.array([f"p{i // 2}" for i in range(2000)], object)
    values[0] = "x" * 1_000_000
    labels = np.arange(2000) % 4 // 2
    tracemalloc.start()
    assert like_groups("patient", values, labels)
    assert not like_groups("score", np.linspace(0, 1, 2000).astype(np.float16), labels)
    rows = "gone.png,1,0\n" * 500
    (tmp_path / "m.csv").write_text(f"path,x,y\n{rows}gone.png,1,{'y' * 500_000}\n")
    with pytest.raises(UserError, match=r"row 501 of the manifest .* has the labels") as caught:
        sources.listing(source("manifest", path=tmp_path / "m.csv", columns={"label": ["x", "y"]}))
    assert len(str(caught.value)) < 1000
    assert tracemalloc.get_traced_memory()[1] < 50_000_000
    tracemalloc.stop()


GROUPS = """patient Lesion_ID MRN StudyInstanceUID SeriesInstanceUID patientunitid patientunitstayid PATIENT.ID pat_id ptid hadm_id
person_identifier tumor_id video sequence sequence_id burst_id meta.patient_id SampleID subject-number patient_id.1
id_patient num_patient img_patient Patient(anon) patient_hash exam_id wsi_name Patienten_Nr Patientennummer id_paciente id_personne
пациент ID_пациента 患者 病人ID 환자번호 paziente"""
NO_GROUPS = """sex age site view dataset label_id tumor path id laterality pattern patch sample session visit biopsy device_id
inpatient n_patients tumor_name stay meta.age num_patients exam image_id image_name возраст 年龄 del_id персона personalité"""


LABELS = "labels_fine fine_label fineLabel subclass y_fine species label_names superclass target2 categories"


def test_finer_labels_are_no_groups() -> None:
    """As CIFAR-100's: few images of each value, all of one class. Under another name the same values are groups."""
    values, labels = np.arange(400) // 20, np.arange(400) // 100
    assert like_groups("rooms", values, labels)
    assert [name for name in LABELS.split() if like_groups(name, values, labels)] == []


def test_names_of_groups() -> None:
    """Values that repeat in images of several classes are groups by their name alone."""
    values, labels = np.array([f"v{i // 4}" for i in range(80)], object), np.arange(80) % 2
    assert [name for name in GROUPS.split() if not like_groups(name, values, labels)] == []
    assert [name for name in NO_GROUPS.split() if like_groups(name, values, labels)] == []
    kinds = np.array(["T1", "T2", "FLAIR", "PD", "DWI"] * 16, object)  # of a scanner
    assert not like_groups("sequence", kinds, labels) and like_groups("video", kinds, labels)

"""Columns of a table that are groups."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from labelled_tables import images, listed
from pictures import source
from pyarrow import parquet as pq
from shards import png, shard

from augpipe.core.errors import UserError
from augpipe.data import sources


def test_patients_as_numbers_with_gaps(tmp_path: Path) -> None:
    """Which are stored as floats; measurements with fractions are no groups."""
    frame = pd.DataFrame({"path": images(tmp_path, 20), "label": ["x"] * 10 + ["y"] * 10})
    frame["patient"] = [np.nan, *(float(i // 2) for i in range(19))]
    frame.to_parquet(tmp_path / "m.parquet")
    with pytest.raises(UserError, match="has the column 'patient', which looks like groups"):
        listed(tmp_path / "m.parquet")
    frame["patient"] += 0.5
    frame.to_parquet(tmp_path / "m.parquet")
    assert listed(tmp_path / "m.parquet").groups is None


@pytest.mark.parametrize("form", ["decimal", "date", "bytes", "list", "category", "float"])
def test_patients_of_any_type(tmp_path: Path, form: str) -> None:
    """In a table and in Parquet with pictures they are refused unless used, and used as they are."""
    n = [i // 2 for i in range(20)]
    numbers = pa.array(n)
    patients = {
        "decimal": numbers.cast(pa.decimal128(20)),
        "date": numbers.cast(pa.int32()).cast(pa.date32()),
        "bytes": pa.array([bytes([200 + i]) for i in n]),
        "list": pa.array([[i] for i in n]),
        "category": pa.array([f"q{i}" for i in n]).dictionary_encode(),
        "float": numbers.cast(pa.float64()),
    }[form]
    label = pa.array(["x", "y"] * 10)
    paths = images(tmp_path, 20)
    table = pa.table({"path": paths, "label": label, "patient_id": patients})
    pq.write_table(table, tmp_path / "m.parquet")
    shard = pa.table({"image": [png(i) for i in range(20)], "label": label, "patient_id": patients})
    (tmp_path / "hf").mkdir()
    pq.write_table(shard.slice(0, 14), tmp_path / "hf" / "a.parquet")
    pq.write_table(shard.slice(14).drop_columns("patient_id"), tmp_path / "hf" / "b.parquet")
    with pytest.raises(UserError, match=r"set source\.columns\.group=patient_id"):
        listed(tmp_path / "m.parquet")
    with pytest.raises(UserError, match=r"set source\.group=patient_id"):
        sources.listing(source("huggingface", path=tmp_path / "hf"))
    assert len(set(listed(tmp_path / "m.parquet", columns={"group": "patient_id"}).groups)) == 10
    pq.write_table(shard.slice(14), tmp_path / "hf" / "b.parquet")
    grouped = sources.listing(source("huggingface", path=tmp_path / "hf", group="patient_id"))
    assert len(set(grouped.groups)) == 10


def test_patients_inside_of_an_object(tmp_path: Path) -> None:
    """In JSON Lines, Parquet and WebDataset's .json files: `meta.patient_id`."""
    rows = [
        {"path": path, "label": "xy"[i % 2], "meta": {"patient_id": i // 2, "hospital": "a"}}
        for i, path in enumerate(images(tmp_path, 20))
    ]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
    pd.DataFrame(rows).to_parquet(tmp_path / "m.parquet")
    samples = {f"{i}": {"png": png(i), "json": json.dumps(row).encode()} for i, row in enumerate(rows)}
    shard(tmp_path / "set" / "0.tar", samples)
    tar = {"path": tmp_path / "set", "label": "label", "ignore": ["path"]}
    with pytest.raises(UserError, match=r"set source\.group=meta\.patient_id"):
        sources.listing(source("webdataset", **tar))
    groups = [sources.listing(source("webdataset", group="meta.patient_id", **tar)).groups]
    for name in ("m.jsonl", "m.parquet"):
        with pytest.raises(UserError, match=r"set source\.columns\.group=meta\.patient_id"):
            listed(tmp_path / name)
        groups.append(listed(tmp_path / name, columns={"group": "meta.patient_id"}).groups)
    assert [len(set(one)) for one in groups] == [10, 10, 10]


def test_the_widest_of_several_groups(tmp_path: Path) -> None:
    """A patient has several studies: groups of studies leave the patient on both sides of a split."""
    paths, patients = images(tmp_path, 24), [f"P{i // 6}" for i in range(24)]
    frame = pd.DataFrame({"path": paths, "study": [i // 2 for i in range(24)], "patient": patients})
    frame["label"] = ["a", "a", "b", "b"] * 6
    frame.to_csv(tmp_path / "m.csv", index=False)
    wide = r"the columns 'study', 'patient', .*set {}=patient, the widest groups, .*\[study, patient\]"
    with pytest.raises(UserError, match=wide.format(r"source\.columns\.group")):
        listed(tmp_path / "m.csv")
    finer = listed(tmp_path / "m.csv", columns={"group": "study"})
    note = "those of the column 'patient', which is not used: images of one of these could be on both sides"
    assert len(set(finer.groups)) == 12 and any(note in one for one in finer.notes)
    wider = listed(tmp_path / "m.csv", columns={"group": "patient"})
    assert len(set(wider.groups)) == 4 and not any("which is not used" in one for one in wider.notes)
    assert not any(
        note in one for one in listed(tmp_path / "m.csv", columns={"group": "study"}, ignore=["patient"]).notes
    )
    frame.rename(columns={"label": "dx"}).to_csv(tmp_path / "m.csv", index=False)
    with pytest.raises(UserError, match=r"columns\.label=dx --set source\.columns\.group=patient$"):
        listed(tmp_path / "m.csv")
    samples = {
        f"{i}": {
            "png": png(i),
            "cls": row.label.encode(),
            "json": json.dumps({"study": row.study, "patient": row.patient}).encode(),
        }
        for i, row in enumerate(frame.itertuples())
    }
    shard(tmp_path / "set" / "0.tar", samples)
    with pytest.raises(UserError, match=wide.format(r"source\.group").replace("column", "key")):
        sources.listing(source("webdataset", path=tmp_path / "set"))

from __future__ import annotations

from pathlib import Path

import pytest
from in_process import call

from flows.command_line import split_sets


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("run --set a=1 b=2 c.d={x:1} c.yaml", "run --set a=1 --set b=2 --set c.d={x:1} c.yaml"),
        ("run --set=a=1 b=2 --out x=y d=4", "run --set=a=1 --set b=2 --out x=y d=4"),
        ("run --set a=1 --set b=2 c=3", "run --set a=1 --set b=2 --set c=3"),
        ("run --set a=1 my=folder b=2", "run --set a=1 my=folder b=2"),
        ("run x a=1 --set", "run x a=1 --set"),
        ("generate m --counts 3=5 7=2", "generate m --counts 3=5 7=2"),
    ],
)
def test_values_after_set(words: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my=folder").mkdir()
    monkeypatch.chdir(tmp_path)
    assert split_sets(words.split(" ")) == expected.split(" ")


def test_each_command_takes_several(monkeypatch, capsys, tmp_path: Path) -> None:
    """The mistake in the last of the values is reported, so that all were read."""
    config = tmp_path / "c.yaml"
    config.write_text("name: c\nsource: {kind: bundled, name: digits}\narms: [{name: real}]\nbaseline: real\n")
    monkeypatch.setenv("AUGPIPE_HOME", str(tmp_path / "home"))
    for command in (
        ["run"],
        ["train", "--generator", "g"],
        ["balance", "--arm", "a"],
        ["refresh"],
        ["serve"],
        ["inspect"],
    ):
        words = (*command, "--set", "seeds=1", "name=x", "baseline=nope", str(config))
        status, said = call(monkeypatch, capsys, *words)
        assert status == 2 and "unknown baseline 'nope'" in said, (command, said)

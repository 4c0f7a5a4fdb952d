from __future__ import annotations

import shlex
import subprocess
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


def test_a_shell_completes_commands_options_and_their_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for shell in ("zsh", "fish", "bash"):
        status, script = call(monkeypatch, capsys, "completion", shell)
        assert status == 0 and "compare-runs" in script and "c2pa-certificate" in script
    (tmp_path / "script").write_text(script)
    for words, offered in (
        (["augpipe", "gen"], "generate"),
        (["augpipe", "generate", "--c2pa"], "--c2pa-certificate --c2pa-key"),
        (["augpipe", "export", "x", "--format", ""], "torchscript torch-export onnx"),
    ):
        line = f"COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}; _augpipe; echo ${{COMPREPLY[@]}}"
        command = ["bash", "-c", f"source {tmp_path / 'script'}; {line}"]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == offered

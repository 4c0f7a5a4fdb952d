"""Export a run's models for programs without augpipe: TorchScript, an exported program of torch, or ONNX.

An exported classifier takes uint8 (N,C,H,W) of its own size and returns calibrated probabilities (N,K); a generator
takes latents (N,L) and labels (N,) and returns uint8 (N,C,H,W); the file says how latents are distributed. Each file is
read back and compared with the model before it is kept.
"""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from augpipe.core.errors import RunError, UserError
from augpipe.core.files import beside
from augpipe.core.images import to_float, to_uint8
from augpipe.export_formats import ABOUT, SUFFIXES, Format
from augpipe.generators.latents import LatentGenerator
from augpipe.generators.protocol import Generator
from augpipe.serving import ServedClassifier, ServedGenerator, load

TOLERANCE: Final = 1e-4  # of probabilities; of pixels, one grey level of rounding
TRIED: Final = (3, 5)  # batch sizes: the one of the export, and another one


class _Classifier(nn.Module):
    """Images → calibrated probabilities."""

    def __init__(self, model: ServedClassifier) -> None:
        super().__init__()
        self.net = copy.deepcopy(model.trained.net).cpu().float().eval()
        self.flag, self.temperature = model.trained.origin_flag, model.temperature

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = to_float(images)
        if self.flag:  # 0: a real image
            x = torch.cat([x, torch.zeros_like(x[:, :1])], 1)
        logits: torch.Tensor = self.net(x)
        return torch.softmax(logits / self.temperature, 1)


class _Generator(nn.Module):
    """Latents and labels → images."""

    def __init__(self, generator: LatentGenerator) -> None:
        super().__init__()
        self.net = copy.deepcopy(generator.averaged()).cpu().float().eval()

    def forward(self, latents: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return to_uint8(self.net(latents, labels))


def export(model: ServedClassifier | ServedGenerator, form: Format, file: Path) -> dict[str, Any]:
    """Write the file atomically; returns what it says about itself (ABOUT).
    UserError for a generator that cannot be exported.
    """
    module, inputs = _classifier(model) if isinstance(model, ServedClassifier) else _generator(model)
    about = _about(model)
    with beside(file) as draft:
        try:
            _write(module, inputs(TRIED[0]), form, draft, about)
        except Exception as error:  # of torch, for a network that depends on more than its inputs' values
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise UserError(f"the model cannot be exported as {form}: {reason[:200]}") from error
        loaded = _read(draft, form)
        for n in TRIED:
            _compare(module, loaded, inputs(n))
    return about


def export_all(models: Path, out: Path, form: Format) -> dict[str, dict[str, str]]:
    """Write the models of the folder `models` to the new folder `out`, those that can be exported.

    Returns the model's file → `exported`, the new file below the folder of `out`, or `not_exported`, the reason.
    """
    out.mkdir()
    about: dict[str, dict[str, str]] = {}
    for path in sorted(models.glob("*.pt")):
        file = out / f"{path.stem}{SUFFIXES[form]}"
        try:
            export(load(path), form, file)
        except (UserError, RunError) as error:
            about[path.name] = {"not_exported": str(error)}
        else:
            about[path.name] = {"exported": f"{out.name}/{file.name}"}
    return about


Inputs = Callable[[int], tuple[torch.Tensor, ...]]  # batch size → inputs to try


def _classifier(model: ServedClassifier) -> tuple[nn.Module, Inputs]:
    size, channels = int(model.image.size or 0), int(model.image.channels or 0)

    def inputs(n: int) -> tuple[torch.Tensor, ...]:
        rng = torch.Generator().manual_seed(n)
        return (torch.randint(0, 256, (n, channels, size, size), generator=rng, dtype=torch.uint8),)

    return _Classifier(model), inputs


def _generator(model: ServedGenerator) -> tuple[nn.Module, Inputs]:
    generator = _exportable(model.generator, model.kind)

    def inputs(n: int) -> tuple[torch.Tensor, ...]:
        rng = torch.Generator().manual_seed(n)
        return torch.randn(n, generator.latent, generator=rng), torch.arange(n) % len(model.classes)

    return _Generator(generator), inputs


def _exportable(generator: Generator, kind: str) -> LatentGenerator:
    """A generator whose images are one net's of latents and labels; UserError for any other."""
    reason = "its images are not those of one network"
    if isinstance(generator, LatentGenerator):
        names = ("sample", "decode", "latents", "latent_law")
        overridden = {name for name in names if _overrides(type(generator), name)}
        if overridden & {"sample", "decode"}:
            reason = "its images are more than its network draws"
        elif "latents" in overridden and "latent_law" not in overridden:
            reason = "the family does not say how its latents are distributed (latent_law)"
        elif generator.latent_law:
            return generator
        else:
            reason = "its latents depend on the class"
    raise UserError(f"a generator of kind {kind} cannot be exported: {reason}")


def _overrides(family: type[LatentGenerator], name: str) -> bool:
    """Whether a family replaces an attribute of `LatentGenerator`."""
    return bool(getattr(family, name) is not getattr(LatentGenerator, name))


def _about(model: ServedClassifier | ServedGenerator) -> dict[str, Any]:
    classes = list(model.classes)
    if isinstance(model, ServedClassifier):
        options = model.image
        shape = ["N", options.channels, options.size, options.size]
        return {
            "augpipe": "classifier",
            "classes": classes,
            "image": options.model_dump(mode="json"),
            "inputs": {"images": ["uint8", *shape]},
            "outputs": {"probabilities": ["float32", "N", len(classes)]},
        }
    generator = _exportable(model.generator, model.kind)
    return {
        "augpipe": "generator",
        "classes": classes,
        "synthetic": True,
        "inputs": {"latents": [f"float32, {generator.latent_law}", "N", generator.latent], "labels": ["int64", "N"]},
        "outputs": {"images": ["uint8", "N", *model.spec.shape]},
    }


def _write(module: nn.Module, inputs: Sequence[torch.Tensor], form: Format, file: Path, about: dict[str, Any]) -> None:
    extra = {ABOUT: json.dumps(about)}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated, and still what many programs load
        if form == "torchscript":
            torch.jit.trace(module, tuple(inputs)).save(str(file), _extra_files=extra)
            return
        batch = torch.export.Dim("batch", min=1)
        program = torch.export.export(module, tuple(inputs), dynamic_shapes=tuple({0: batch} for _ in inputs))
        if form == "onnx":
            _write_onnx(program, file, about)
            return
        with file.open("wb") as stream:
            torch.export.save(program, stream, extra_files=extra)


def _write_onnx(program: torch.export.ExportedProgram, file: Path, about: dict[str, Any]) -> None:
    """One file with weights and with inputs and outputs called as in `about`."""
    inputs, outputs = list(about["inputs"]), list(about["outputs"])
    written = torch.onnx.export(program, dynamo=True, verbose=False, input_names=inputs, output_names=outputs)
    if written is None:
        raise RuntimeError("torch.onnx returned nothing")
    written.model.metadata_props[ABOUT] = json.dumps(about)
    written.save(file, external_data=False)


def _read_onnx(file: Path) -> Callable[..., torch.Tensor]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]

    def call(*inputs: torch.Tensor) -> torch.Tensor:
        values = {name: value.numpy() for name, value in zip(names, inputs, strict=True)}
        return torch.from_numpy(session.run(None, values)[0])

    return call


def _read(file: Path, form: Format) -> Callable[..., torch.Tensor]:
    if form == "onnx":
        return _read_onnx(file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if form == "torchscript":
            script: Callable[..., torch.Tensor] = torch.jit.load(str(file))
            return script
        with file.open("rb") as stream:
            program: Callable[..., torch.Tensor] = torch.export.load(stream).module()
        return program


@torch.no_grad()
def _compare(module: nn.Module, loaded: Callable[..., torch.Tensor], inputs: tuple[torch.Tensor, ...]) -> None:
    """RunError if the file's outputs differ from the model's."""
    one, other = module(*inputs), loaded(*inputs)
    gap = float((one.float() - other.float()).abs().max())
    if gap > (TOLERANCE if one.is_floating_point() else 1):
        raise RunError(f"the exported model differs from the original by {gap:.3g}")

"""The quiz page of a generator: real
or synthetic? Held-out real images (of val) against the generator's, one at a time.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from augpipe.comparison.proportion import Z
from augpipe.core.images import ImageSet
from augpipe.core.seeds import numpy_stream
from augpipe.report.page_templates import TEMPLATES
from augpipe.report.results import GeneratorResult, Results

FOLDER: Final = "quiz"
OF_EACH: Final = 20  # real images, and as many synthetic ones
LEAST: Final = 2  # with fewer of each there is no page: two answers say nothing
SIDE: Final = 320  # pixels of an image on the page, at least
BYTES: Final = 6_000_000  # of all images of a page

Rows = NDArray[np.int64]


def quiz_file(results: Results, generator: GeneratorResult) -> str:
    """The page's file below the out folder; "" if fewer than LEAST real and synthetic images share their classes."""
    n = sum(_room(results.splits["val"], generator.quiz).values())
    return f"{FOLDER}/{generator.name}.html" if n >= LEAST else ""


def write_quizzes(results: Results, out: Path) -> None:
    """Write the page of each generator to the draft of an out folder."""
    for generator in results.generators:
        file = quiz_file(results, generator)
        if file:
            (out / FOLDER).mkdir(exist_ok=True)
            (out / file).write_text(quiz_page(results, generator), encoding="utf-8")


def quiz_page(results: Results, generator: GeneratorResult) -> str:
    """The self-contained page of one generator; the same results give the same page."""
    real, synthetic = results.splits["val"], generator.quiz
    seed = results.experiment.seeds[0]
    rng = numpy_stream(seed, "quiz", generator.name)
    one, other = pairs(real, synthetic, _affordable(real), rng)
    items = [_item(real, row, "real") for row in one]
    items += [_item(synthetic, row, "synthetic") for row in other]
    items = [items[at] for at in rng.permutation(len(items))]
    digest = hashlib.sha256("".join(item["image"] for item in items).encode()).hexdigest()[:8]
    name = f"{results.experiment.name}, {generator.name}, seed {seed}, {digest}"
    script = resources.files("augpipe.report").joinpath("templates/quiz.js").read_text("utf-8")
    return TEMPLATES.get_template("quiz.html").render(
        name=name,
        generator=generator,
        experiment=results.experiment.name,
        n=len(items),
        side=SIDE // real.spec.size * real.spec.size or real.spec.size,
        data=_json({"quiz": name, "items": items, "z": Z}),
        script=script,
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def pairs(real: ImageSet, synthetic: ImageSet, most: int, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """Rows of at most `most` real and as many synthetic images, as many of each class of both, drawn without
    replacement.

    So a class says nothing about which is which. Classes take turns, those with few images until they have none left.
    """
    room = _room(real, synthetic)
    taken = dict.fromkeys(room, 0)
    while sum(taken.values()) < most and taken != room:
        for label in [c for c in room if taken[c] < room[c]]:
            taken[label] += sum(taken.values()) < most
    chosen = [
        np.concatenate(
            [np.empty(0, np.int64)]
            + [rng.choice(np.flatnonzero(images.labels == c), n, replace=False) for c, n in taken.items()]
        )
        for images in (real, synthetic)
    ]
    return chosen[0], chosen[1]


def _room(real: ImageSet, synthetic: ImageSet) -> dict[int, int]:
    """Class → images that both sets have of it."""
    drawn = synthetic.counts()
    return {c: min(n, drawn[c]) for c, n in real.counts().items() if min(n, drawn[c])}


def _affordable(images: ImageSet) -> int:
    """Images of each kind for which a page stays within BYTES, at most OF_EACH:
    PNG in base64 takes up to 4/3 of the pixels.
    """
    return int(min(OF_EACH, BYTES / (2 * 4 / 3 * np.prod(images.spec.shape))))


def _item(images: ImageSet, row: int, truth: str) -> dict[str, Any]:
    pixels = np.array(images.images[row])
    buffer = io.BytesIO()
    # From the pixels alone, real and synthetic alike: a file's own metadata would tell.
    picture = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
    picture.save(buffer, format="PNG")
    uri = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    return {"class": images.classes[images.labels[row]], "truth": truth, "image": uri}


def _json(value: Any) -> str:
    """JSON for an element `script`: nothing in it ends the element."""
    text = json.dumps(value, ensure_ascii=False)
    return text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")

"""Peak memory of training at 64 px in colour, batch 64: each family with its defaults, in a process of its own.

python tests/benchmarks/bench_memory.py [FAMILY ...]
"""

from __future__ import annotations

import subprocess
import sys

from augpipe.core.registry import load_kind
from augpipe.generators import families

TRAINED = [
    name for name in families.names() if load_kind("augpipe.generators.models", name, "generator").Config.generative
]
WORKER = """
import resource, sys
import numpy as np, torch
from augpipe.core import device as runtime
from augpipe.generators import families
from augpipe.generators.protocol import Problem
from augpipe.core.images import ImageSet, provenance
from augpipe.core.registry import load_kind

family = sys.argv[1]
config = load_kind("augpipe.generators.models", family, "generator").Config(kind=family, batch=64, kimg=0.128)
labels = np.arange(640) % 10
pixels = np.random.default_rng(0).integers(0, 256, (640, 3, 64, 64), dtype=np.uint8)
train = ImageSet(pixels, labels, tuple("abcdefghij"), provenance([str(i) for i in range(640)]))
here = runtime.start("cpu", "auto", threads=2)
made = families.build(config, Problem(train.spec, train.classes), here, 0)
made.prepare(train)
images, of = train.tensors()
for step in range(6):  # bagan's last ones come after its autoencoder's; dagan's fifth moves its generator
    made.step(images[step * 64 : step * 64 + 64], of[step * 64 : step * 64 + 64])
assert made.sample(of[:64], torch.Generator()).shape == (64, 3, 64, 64)
unit = 1 if sys.platform == "darwin" else 1024
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9)
"""


for family in sys.argv[1:] or TRAINED:
    done = subprocess.run([sys.executable, "-c", WORKER, family], capture_output=True, text=True, check=True)
    print(f"{family}: {float(done.stdout):.2f} GB", flush=True)

"""Training techniques that `cgan` and `dcgan` share: what the critic is shown, and terms of both nets' losses.

A family adds its nets, and asks for `show` and `with_critic_terms` in the critic's update, for `fakes`, `compared` and
`with_generator_terms` in the generator's. With the options' defaults nothing is drawn or computed beyond a plain step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, cast

import torch
from torch import nn

from augpipe.core import distributed as parallel
from augpipe.core.device import Runtime
from augpipe.core.images import to_float
from augpipe.core.seeds import torch_stream
from augpipe.generators.adversarial import Adversarial
from augpipe.generators.protocol import Problem
from augpipe.generators.technique_options import TechniqueConfig
from augpipe.nn import adversarial_losses, losses
from augpipe.nn.augment import Adaptive
from augpipe.nn.blocks import Scheme
from augpipe.nn.codes import WithCodes, code_losses
from augpipe.nn.encoders import LatentEncoder
from augpipe.nn.heads import CriticOutput
from augpipe.nn.history import PastFakes, ScoreMeans, WeightHistory
from augpipe.nn.losses import Target
from augpipe.nn.options import PAIRED, RELATIVISTIC
from augpipe.nn.penalties import Critic, gradient_penalty
from augpipe.nn.rotations import TURNS, quarter_turns
from augpipe.nn.virtual_norm import WithReference


class Side(NamedTuple):
    """Images (N,C,H,W) as the critic was shown them, their labels (N,), and what it returned.

    latents (N,Z): those of fakes; of reals only if there is an encoder.
    """

    images: torch.Tensor
    labels: torch.Tensor
    output: CriticOutput
    latents: torch.Tensor | None = None


class Techniques(Adversarial):
    """Base class of the families with these options; the critic returns a `CriticOutput` and has `FeatureHeads`."""

    # Whether the critic's batches are sorted by class.
    class_order: ClassVar[bool] = False

    def __init__(self, config: TechniqueConfig, problem: Problem, runtime: Runtime, seed: int) -> None:
        super().__init__(config, problem, runtime, seed)
        self.options = config
        self.pseudo = Adaptive(config.apa.kimg, config.apa.target) if config.apa else None
        self.past = PastFakes(config.replay) if config.replay else None
        self.score_means = ScoreMeans() if config.lecam else None
        self.histories: dict[str, WeightHistory] = {}
        if config.encoder:
            self.add("encoder", LatentEncoder(problem.spec, config.latent, width=config.width))

    def add(self, name: str, net: nn.Module, scheme: Scheme = "kaiming", *, spectral: bool = False) -> nn.Module:
        """See `NetworkGenerator`; with codes, orthogonal initialisation and virtual batch norms if requested."""
        if name == "generator" and self.options.infogan and self.options.infogan.categories:
            net = WithCodes(net, self.options.infogan.categories)
        if name == "generator" and self.options.virtual_batch_norm:
            labels = torch.arange(self.options.virtual_batch_norm) % len(self.problem.classes)
            latents = self.latents(labels, torch_stream(self._seed, "reference batch"))
            net = WithReference(net, latents, labels)
        return super().add(name, net, "orthogonal" if self.options.orthogonal else scheme, spectral=spectral)

    def with_encoder(self, net: nn.Module) -> nn.Module:
        """The generator's net and the encoder, if there is one: they are trained together."""
        return nn.ModuleList([net, self.nets["encoder"]]) if self.options.encoder else net

    def adam(
        self, name: str, net: nn.Module, learning_rate: float, betas: tuple[float, float]
    ) -> torch.optim.Optimizer:
        """See `NetworkGenerator`; also starts the history of the net's weights if requested."""
        if self.options.historical_averaging:
            self.histories[name] = WeightHistory(net)
        return super().adam(name, net, learning_rate, betas)

    def update(self, name: str, loss: torch.Tensor) -> None:
        """Take one step of the optimiser `name` on `loss` and the penalty of the weights' history, if there is one."""
        history = self.histories.get(name)
        if history is not None:
            loss = loss + self.options.historical_averaging * history.penalty()
        super().update(name, loss)
        if history is not None:
            history.add()

    def show(self, real: torch.Tensor, labels: torch.Tensor) -> tuple[Side, Side]:
        """Reals (N,C,H,W) in [-1,1] and as many fakes, through the critic for its update."""
        real = self.augment(self._with_pseudo_reals(real, labels))
        with self.runtime.autocast():
            z, fake_labels = self.noise(self._fake_labels(labels))
            with torch.no_grad():
                fake = self.nets["generator"](z, fake_labels)
            fake, fake_labels = self._with_past(fake, fake_labels)
            with torch.no_grad():
                latents = self._encoded(real)
            on_real = self._score(real, labels, latents)
            return on_real, self._score(self.augment(fake), fake_labels, z)

    def _score(self, images: torch.Tensor, labels: torch.Tensor, latents: torch.Tensor | None = None) -> Side:
        return Side(images, labels, self.nets["discriminator"](images, labels, latents), latents)

    def _encoded(self, images: torch.Tensor) -> torch.Tensor | None:
        """Latents (N,Z) of images (N,C,H,W), if there is an encoder."""
        return self.nets["encoder"](images) if self.options.encoder else None

    @torch.no_grad()
    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Images uint8 (N,C,H,W) → their latents (N,Z), on the CPU; with `encoder: true`."""
        with self.runtime.autocast():
            latents: torch.Tensor = self.nets["encoder"](to_float(self.runtime.move(images)))
        return latents.float().cpu()

    def _fake_labels(self, labels: torch.Tensor) -> torch.Tensor:
        """Labels of the global batch's fakes, on the CPU: those of the reals (N,) if pairs are compared, else drawn."""
        if self.options.adversarial in PAIRED:
            return parallel.gather(labels).cpu()
        drawn = self.draw_labels(len(labels))
        return drawn.sort()[0] if self.class_order else drawn

    def _uniform(self, n: int, columns: int = 1) -> torch.Tensor:
        """U(0,1), (n,columns): this process's rows of the global batch."""
        shape = (parallel.global_count(n), columns)
        return parallel.local_rows(torch.rand(shape, generator=self.rngs["device"], device=self.runtime.device))

    def _with_pseudo_reals(self, real: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Reals of which APA replaced some by fakes of the same classes."""
        if self.pseudo is None or self.pseudo.p == 0:
            return real
        replaced = self._uniform(len(real)) < self.pseudo.p
        with torch.no_grad(), self.runtime.autocast():
            fake = self.nets["generator"](*self.noise(parallel.gather(labels).cpu()))
        return torch.where(replaced[:, :, None, None], fake.to(real), real)

    def _with_past(self, fake: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Fakes of which some were exchanged with past ones."""
        if self.past is None:
            return fake, labels
        fake, labels = self.past.exchange(parallel.gather(fake), parallel.gather(labels), self.rngs["noise"])
        if self.class_order:
            labels, order = labels.sort(stable=True)
            fake = fake[order]
        return parallel.local_rows(fake), parallel.local_rows(labels)

    def flipped(self, real: Side, fake: Side) -> tuple[Side, Side]:
        """Both sides, of which a random fraction of rows is exchanged: reals labelled fake, and as many fakes real."""
        if not self.options.label_flips:
            return real, fake
        mask = self._uniform(len(real.labels))[:, 0] < self.options.label_flips
        return _chosen(mask, fake, real), _chosen(mask, real, fake)

    def observe(self, real: torch.Tensor) -> None:
        """Report scores of reals (N,) to the controllers of ADA and APA, if there are any."""
        super().observe(real)
        if self.pseudo:
            self.pseudo.observe(parallel.gather(real.detach()))

    def critic_loss(self, real: Side, fake: Side, real_target: float = 1.0) -> torch.Tensor:
        """The adversarial loss of the critic; real_target: target of reals, where the loss has targets."""
        targets: tuple[Target, Target] = (real_target, 0.0)
        if self.options.label_noise:
            noise = self.options.label_noise * self._uniform(len(real.labels), 2)
            targets = (real_target - noise[:, 0], noise[:, 1])
        return adversarial_losses.losses[self.options.adversarial].critic(
            real.output.score, fake.output.score, *targets
        )

    def with_critic_terms(self, loss: torch.Tensor, real: Side, fake: Side) -> torch.Tensor:
        """The critic's loss and the terms that were requested, of both sides before any flips."""
        options = self.options
        if options.adversarial == "wasserstein_gp" and options.gradient_penalty:
            with self.runtime.autocast():
                penalty = gradient_penalty(self._critic_of(real), real.images, fake.images, self.rngs["device"])
            loss = loss + options.gradient_penalty * penalty
        if self.score_means is not None:
            on_real, on_fake, means = real.output.score, fake.output.score, self.score_means
            means.observe(on_real, on_fake)
            loss = loss + options.lecam * losses.lecam(on_real, on_fake, means.real, means.fake)
        if options.rotation:
            loss = loss + options.rotation * self._rotation_loss(real.images)
        loss = self._with_codes(loss, fake)
        for side, gamma in ((real, options.r1), (fake, options.r2)):
            loss = self.with_r1(loss, self._critic_of(side), side.images, gamma, options.r1_every)
        return loss

    def _critic_of(self, side: Side) -> Critic:
        """The critic's scores as a function of images of the side's labels and latents."""
        return lambda images: self._score(images, side.labels, side.latents).output.score

    def compared(self, real: torch.Tensor, labels: torch.Tensor) -> CriticOutput | None:
        """What the critic returns for reals in the generator's update; None if no term needs it."""
        options = self.options
        if not (options.feature_matching or options.adversarial in RELATIVISTIC or options.encoder):
            return None
        real = self.augment(real)
        with torch.set_grad_enabled(options.encoder), self.runtime.autocast():
            return self._score(real, labels, self._encoded(real)).output

    def fakes(self, labels: torch.Tensor) -> Side:
        """Fakes through the critic for the generator's update; labels (N,): those of the reals."""
        with self.runtime.autocast():
            z, fake_labels = self.noise(self._fake_labels(labels))
            return self._score(self.augment(self.nets["generator"](z, fake_labels)), fake_labels, z)

    def generator_loss(self, fake: Side, real: CriticOutput | None) -> torch.Tensor:
        """The adversarial loss of the generator; real: see `compared`."""
        score = fake.output.score
        loss = adversarial_losses.losses[self.options.generator_side]
        return loss.generator(score, score if real is None else real.score.detach())

    def _encoder_loss(self, fake: Side, real: CriticOutput) -> torch.Tensor:
        """The loss of the encoder, for which reals with their latents are what fakes are for the generator.

        Every loss is the same with reals and fakes exchanged and their scores' signs changed.
        """
        loss = adversarial_losses.losses[self.options.generator_side]
        return loss.generator(-real.score, -fake.output.score.detach())

    def with_generator_terms(self, loss: torch.Tensor, fake: Side, real: CriticOutput | None) -> torch.Tensor:
        """The generator's loss and the terms that were requested; real: see `compared`."""
        if self.options.encoder and real is not None:
            loss = loss + self._encoder_loss(fake, real)
        if self.options.feature_matching and real is not None:
            matching = losses.feature_matching(real.features.float(), fake.output.features.float())
            loss = loss + self.options.feature_matching * matching
        if self.options.rotation and self.options.rotation_generator:
            loss = loss + self.options.rotation_generator * self._rotation_loss(fake.images)
        return self._with_codes(loss, fake)

    def _with_codes(self, loss: torch.Tensor, fake: Side) -> torch.Tensor:
        """The loss and that of the critic's guess of the fakes' codes, if there are any."""
        infogan, d = self.options.infogan, cast(Any, self.nets["discriminator"])
        if infogan is None or fake.latents is None:
            return loss
        with self.runtime.autocast():
            guess = d.heads.guess(fake.output.features)
        categorical, continuous = code_losses(guess, fake.latents, infogan.categories)
        return loss + infogan.categorical_weight * categorical + infogan.continuous_weight * continuous

    def _rotation_loss(self, images: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of the critic's guess of a random number of quarter turns for each image."""
        d: Any = self.nets["discriminator"]
        turns = (self._uniform(len(images))[:, 0] * TURNS).long()
        with self.runtime.autocast():
            logits = d.heads.turns(d.features(quarter_turns(images, turns)))
        return losses.classification(logits, turns)

    def warm_start(self, state: Mapping[str, Any]) -> None:
        """See `NetworkGenerator`; the weights' histories start at the loaded weights."""
        super().warm_start(state)
        for history in self.histories.values():
            history.restart()

    def extra_state(self) -> dict[str, Any]:
        """The state of the techniques that have one."""
        parts = {"pseudo": self.pseudo, "past": self.past, "score_means": self.score_means, **self.histories}
        return {name: part.state_dict() for name, part in parts.items() if part is not None}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `extra_state` returned."""
        if self.pseudo:
            self.pseudo.load_state_dict(state["pseudo"])
        if self.past:
            self.past.load_state_dict(state["past"], self.runtime.device)
        if self.score_means:
            self.score_means.load_state_dict(state["score_means"], self.runtime.device)
        for name, history in self.histories.items():
            history.load_state_dict(state[name])


def _chosen(mask: torch.Tensor, one: Side, other: Side) -> Side:
    """Rows of `one` where the mask (N,) is True, else of `other`."""

    def pick(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.where(mask.view(-1, *[1] * (a.dim() - 1)), a, b)

    output = CriticOutput(*map(pick, one.output, other.output))
    return Side(pick(one.images, other.images), pick(one.labels, other.labels), output)

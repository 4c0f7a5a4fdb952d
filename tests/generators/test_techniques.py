"""Training techniques in the updates of `cgan` and `dcgan`; their parts are in `nn/test_techniques.py`."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from contracts import steps, tiny
from torch.nn import functional as F

from augpipe.core import device as runtime
from augpipe.core.errors import UserError
from augpipe.core.image_spec import ImageSpec
from augpipe.generators import families
from augpipe.generators.protocol import Problem
from augpipe.generators.techniques import Side, Techniques
from augpipe.nn.heads import CriticOutput
from augpipe.nn.penalties import gradient_penalty, r1
from augpipe.nn.rotations import quarter_turns


def build(name: str, *, size: int = 16, classes: int = 3, **options: Any) -> Techniques:
    names = tuple("abc"[:classes])
    problem, here = Problem(ImageSpec(size, 1), names), runtime.start("cpu", "32-true", threads=1)
    generator = families.build(tiny(name, **options), problem, here, 0)
    assert isinstance(generator, Techniques)
    return generator


def batch(n: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """Images uint8 and labels, sorted by class."""
    images = torch.randint(0, 256, (n, 1, 16, 16), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    return images, torch.arange(n) * 3 // n


def side(scores: torch.Tensor, mark: float) -> Side:
    """A side of so many images, all values of which but the scores are the mark."""
    n = len(scores)
    output = CriticOutput(scores, torch.full((n, 2), mark), torch.full((n, 4), mark))
    return Side(torch.full((n, 1, 2, 2), mark), torch.full((n,), int(mark)), output)


def mean_square(x: torch.Tensor) -> torch.Tensor:
    return x.square().mean()


# Terms of the critic's loss by their equations: of the generator, both sides, and the options.
def no_term(g, real, fake, options) -> torch.Tensor:
    return torch.zeros(())


def lecam_term(g, real, fake, options) -> torch.Tensor:
    r, f = real.output.score, fake.output.score  # in the first step the running means are the batch's
    return options["lecam"] * (mean_square(r - f.mean()) + mean_square(f - r.mean()))


def rotation_term(g, real, fake, options) -> torch.Tensor:
    turns = (torch.rand(len(real.labels), 1, generator=g.rngs["device"])[:, 0] * 4).long()
    features = g.d.features(quarter_turns(real.images, turns))
    return options["rotation"] * F.cross_entropy(g.d.heads.rotation(features), turns)


def code_term(g, real, fake, options) -> torch.Tensor:
    """Cross-entropy of the largest of the first three latents, and a tenth of that of a Gaussian, for the fourth."""
    guess = g.d.heads.codes(fake.output.features)
    squares = (fake.latents[:, 3:4] - guess[:, 3:]).square().sum(1)
    return F.cross_entropy(guess[:, :3], fake.latents[:, :3].argmax(1)) + 0.1 * 0.5 * squares.mean()


def gradient_term(g, real, fake, options) -> torch.Tensor:
    def critic(x: torch.Tensor) -> torch.Tensor:
        return g.d(x, real.labels).score

    return 10 * gradient_penalty(critic, real.images, fake.images, g.rngs["device"])


def r1_and_r2(g, real, fake, options) -> torch.Tensor:
    """Both every second step, with twice the weight."""
    total = torch.zeros(())
    for images, labels, *_ in (real, fake):
        total = total + 2 * 0.3 * r1(lambda x, labels=labels: g.d(x, labels).score, images)
    return total


@pytest.mark.parametrize(
    ("name", "options", "adversarial", "term"),
    [
        ("dcgan", {}, lambda r, f: F.softplus(-r).mean() + F.softplus(f).mean(), no_term),
        ("cgan", {"loss": "hinge", "lecam": 0.3, "r1": 0}, lambda r, f: F.relu(1 - r).mean() + F.relu(1 + f).mean(), lecam_term),
        ("dcgan", {"loss": "least_squares", "rotation": 0.5}, lambda r, f: (mean_square(r - 1) + mean_square(f + 1)) / 2, rotation_term),
        ("dcgan", {"infogan": {"categories": 3, "continuous": 1}}, lambda r, f: F.softplus(-r).mean() + F.softplus(f).mean(), code_term),
        ("cgan", {"loss": "wasserstein_gp", "r1": 0}, lambda r, f: f.mean() - r.mean(), gradient_term),
        ("cgan", {"loss": "relativistic_pairing", "r1": 0.3, "r2": 0.3, "r1_every": 2}, lambda r, f: F.softplus(f - r).mean(), r1_and_r2),
    ],
)  # fmt: skip
def test_the_critics_loss_is_the_sum_of_its_equations(name, options, adversarial, term) -> None:
    more = {"head": "projection"} if name == "cgan" else {"classic": []}
    one, same = build(name, **options, **more), build(name, **options, **more)
    images, labels = batch()
    loss = one.step(images, labels)["loss_d"]
    real, fake = same.show(*same.local_batch(images, labels))
    expected = adversarial(real.output.score, fake.output.score) + term(same, real, fake, options)
    torch.testing.assert_close(loss, expected.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"loss": "relativistic_average"}, lambda f, r: F.softplus(r.score.mean() - f.score).mean() + F.softplus(r.score - f.score.mean()).mean()),
        ({"loss": "relativistic_pairing"}, lambda f, r: F.softplus(r.score - f.score).mean()),
        # What a fake is for the generator, a real image with its latent is for the encoder.
        ({"encoder": True}, lambda f, r: -f.score.mean() + r.score.mean()),
        ({"encoder": True, "loss": "nonsaturating"}, lambda f, r: F.softplus(-f.score).mean() + F.softplus(r.score).mean()),
        ({"encoder": True, "loss": "relativistic_pairing"}, lambda f, r: 2 * F.softplus(r.score - f.score).mean()),
        ({"feature_matching": 2.0}, lambda f, r: -f.score.mean() + 2 * (f.features.mean(0) - r.features.mean(0)).square().sum()),
    ],
)  # fmt: skip
def test_the_generators_loss_is_the_sum_of_its_equations(options, expected) -> None:
    one, same = (build("cgan", head="projection", **options) for _ in range(2))
    images, labels = batch()
    loss = one.step(images, labels)["loss_g"]
    real, labels = same.in_class_order(images, labels)
    critic_loss, _ = same._critic_loss(real, labels)
    same.update("d", critic_loss)
    on_real = same.compared(real, labels)
    torch.testing.assert_close(loss, expected(same.fakes(labels).output, on_real).detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "head"), [("cgan", "softmax"), ("cgan", "projection"), ("dcgan", "")])
def test_the_critic_sees_images_with_their_latents(name: str, head: str) -> None:
    generator = build(name, encoder=True, **({"head": head} if head else {}))
    images, labels = generator.local_batch(*batch())
    real, fake = generator.show(images, labels)
    assert torch.equal(real.latents, generator.nets["encoder"](real.images))
    for side in (real, fake):
        joint = generator.d.heads.joint(torch.cat([generator.d.features(side.images), side.latents], 1))
        without = generator.d(side.images, side.labels).score
        torch.testing.assert_close(side.output.score, without + joint.squeeze(1), rtol=1e-4, atol=1e-5)
    before = [p.detach().clone() for p in generator.nets["encoder"].parameters()]
    generator.step(*batch())
    assert all(not torch.equal(p, b) for p, b in zip(generator.nets["encoder"].parameters(), before, strict=True))
    assert generator.encode(batch()[0]).shape == (8, 8)


def test_rotation_is_in_the_generators_loss_with_a_weight_of_its_own() -> None:
    images, labels = batch()
    found = [build("cgan", rotation=1.0, rotation_generator=w).step(images, labels)["loss_g"] for w in (0, 1, 3)]
    assert found[2] - found[0] == pytest.approx(3 * (found[1] - found[0]).item(), rel=1e-4)
    assert found[1] > found[0]


@pytest.mark.parametrize("loss", ["relativistic_pairing", "wasserstein_gp"])
@pytest.mark.parametrize("name", ["cgan", "dcgan"])
def test_pairs_are_of_one_class(name: str, loss: str) -> None:
    more = {"head": "projection"} if name == "cgan" else {}
    generator = build(name, loss=loss, **more)
    images, labels = generator.local_batch(*batch())
    real, fake = generator.show(images, labels)
    assert torch.equal(real.labels, fake.labels) and torch.equal(generator.fakes(labels).labels, labels)


def test_flipped_labels_exchange_whole_rows() -> None:
    generator = build("cgan", label_flips=0.2)
    real, fake = generator.flipped(side(torch.ones(4000), 1.0), side(torch.full((4000,), -2.0), 2.0))
    flipped = real.labels == 2
    assert flipped.float().mean().item() == pytest.approx(0.2, abs=0.02)
    for rows, other in ((real, fake), (fake, real)):
        assert torch.equal(rows.images[:, 0, 0, 0], rows.labels.float())
        assert torch.equal(rows.output.score == -2, rows.labels == 2)
        assert torch.equal(rows.output.classes[:, 3], rows.labels.float())
        assert torch.equal(rows.labels + other.labels, torch.full((4000,), 3))


@pytest.mark.parametrize("real_target", [1.0, 0.9])
def test_noisy_targets(real_target: float) -> None:
    """A score of 0 costs log 2 whatever its target, a score of 1 costs softplus(1) - target."""
    generator = build("dcgan", label_noise=0.3)
    one, none = torch.ones(4000), torch.zeros(4000)
    at_one, at_zero = F.softplus(torch.tensor(1.0)), torch.tensor(2.0).log()
    of_reals = at_one + at_zero - generator.critic_loss(side(one, 1), side(none, 2), real_target)
    of_fakes = at_one + at_zero - generator.critic_loss(side(none, 1), side(one, 2), real_target)
    assert of_reals.item() == pytest.approx(real_target - 0.15, abs=0.01)
    assert of_fakes.item() == pytest.approx(0.15, abs=0.01)


def test_pseudo_reals_are_fakes_of_the_same_classes() -> None:
    generator = build("cgan", apa={"kimg": 0.05}, augment=[])
    assert generator.pseudo is not None
    images, labels = batch(600)
    real, labels = generator.local_batch(images, labels)
    assert torch.equal(generator.show(real, labels)[0].images, real)  # p starts at 0
    generator.pseudo.p = 0.3
    shown, _ = generator.show(real, labels)
    replaced = (shown.images != real).flatten(1).any(1)
    assert replaced.float().mean().item() == pytest.approx(0.3, abs=0.06)
    assert torch.equal(shown.labels, labels)
    for _ in range(4):
        generator.observe(torch.ones(10))
    assert generator.pseudo.p == pytest.approx(0.8)  # 40 images of 50: overfitting


def test_past_fakes_are_shown_in_class_order() -> None:
    generator = build("cgan", replay=8, augment=[])
    images, labels = generator.local_batch(*batch())
    _, first = generator.show(images, labels)
    _, second = generator.show(images, labels)
    assert second.labels.tolist() == sorted(second.labels.tolist())
    stored = ((first.images + 1) * 127.5).round()
    again = [bool((((image + 1) * 127.5).round() == stored).flatten(1).all(1).any()) for image in second.images]
    assert sum(again) == 4


def test_historical_averaging_holds_the_weights_back(make_shapes) -> None:
    train = make_shapes((9, 9, 9))
    moved = []
    for weight in (0.0, 100.0):
        generator = build("dcgan", historical_averaging=weight, augment=[])
        generator.prepare(train)
        before = [p.detach().clone() for p in generator.g.parameters()]
        steps(generator, train, 12)
        moved.append(
            sum(float((p - b).detach().square().sum()) for p, b in zip(generator.g.parameters(), before, strict=True))
        )
    assert moved[1] < 0.5 * moved[0]
    for history in generator.histories.values():
        assert history.penalty() > 0
    generator.warm_start(generator.state_dict())
    assert [history.penalty().item() for history in generator.histories.values()] == [0.0, 0.0]


@pytest.mark.parametrize("name", ["cgan", "dcgan"])
def test_with_a_reference_batch_an_image_is_of_its_latent_alone(name: str) -> None:
    generator = build(name, virtual_batch_norm=7)
    generator.step(*batch())
    z, labels = torch.randn(6, 8, generator=torch.Generator().manual_seed(1)), torch.arange(6) % 3
    whole = generator.decode(z, labels).int()
    single = torch.cat([generator.decode(z[i : i + 1], labels[i : i + 1]) for i in range(6)]).int()
    assert (whole - single).abs().max() <= 1  # rounding
    assert not torch.equal(whole[0], whole[3])


@pytest.mark.parametrize("name", ["cgan", "dcgan"])
def test_each_part_of_the_latent_counts_and_attention_starts_as_nothing(name: str) -> None:
    generator = build(name, latent_skips=True, attention=4, orthogonal=True)
    net = generator.g.eval()
    assert net.parts == [3, 3, 2]  # 16 pixels: two blocks
    z, labels = torch.randn(4, 8, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1, 2, 0])
    with torch.no_grad():
        images = net(z, labels)
        for at in (0, 3, 6):
            other = z.clone()
            other[:, at] += 1
            assert (net(other, labels) - images).abs().amax((1, 2, 3)).min() > 1e-5
        gains = [value for key, value in net.state_dict().items() if key.endswith("gain") and value.dim() == 0]
        assert [float(gain) for gain in gains] == [0.0]
        gains[0].fill_(5.0)
        assert not torch.allclose(net(z, labels), images)
    of_critic = [key for key, value in generator.d.state_dict().items() if key.endswith("gain") and value.dim() == 0]
    assert len(of_critic) == 1


def test_without_a_technique_nothing_is_added() -> None:
    for name in ("cgan", "dcgan"):
        state = build(name).state_dict()
        assert state["more"] == {}
        assert not [key for net in state["nets"].values() for key in net if "heads" in key]
        assert not [key for key in state["ema"] if "norm" in key and "skip" in key]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "hinge"}, "loss: hinge needs head: projection; the loss of head: softmax is class or FAKE"),
        ({"head": "projection", "loss": "huge"}, "unknown loss 'huge'.*nonsaturating, hinge, least_squares"),
        ({"label_noise": 0.1}, "label_noise is noise of targets, and loss: class_or_fake has none; choose loss from"),
        ({"head": "projection", "loss": "wasserstein_gp", "apa": {}}, "apa needs .* choose loss from nonsaturating, hinge"),
        ({"head": "projection", "loss": "relativistic_average", "ada": {}}, "set ada: null"),
        ({"label_flips": 0.5}, "less than 0.5"),
        ({"infogan": {"categories": 1}}, "categories: 1 with continuous: 0 is no code"),
        ({"infogan": {"categories": 8}}, "infogan has 8 codes, .* set latent above that"),
        ({"infogan": {}, "replay": 5}, "replay: 5 .* with infogan set replay: 0"),
        ({"encoder": True, "replay": 5}, "encoder: true needs the latent of each image, which replay: 5 does not have"),
    ],
)  # fmt: skip
def test_options_that_do_not_go_together(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiny("cgan", **options)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cgan", {"rotation_generator": 0.1}, "rotation_generator.*with rotation: 0"),
        ("dcgan", {"gradient_penalty": 1.0}, "gradient_penalty.*with loss: nonsaturating"),
        ("dcgan", {"loss": "hinge", "real_target": 0.9}, "real_target.*with loss: hinge"),
        ("cgan", {"r1": 0, "r1_every": 2}, "r1_every.*with r1: 0 and r2: 0"),
    ],
)
def test_options_without_effect(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiny(name, **options).check_used()


@pytest.mark.parametrize("name", ["cgan", "dcgan"])
def test_options_that_do_not_fit_the_images(name: str) -> None:
    problem = Problem(ImageSpec(16, 1), ("a", "b"))
    with pytest.raises(UserError, match=r"attention: 16 is no resolution .* 16 pixels; choose from 4, 8"):
        families.check(tiny(name, attention=16), problem)
    with pytest.raises(UserError, match=r"into 3 parts .* 16 pixels; latent is 2, set it to 3 or more"):
        families.check(tiny(name, latent_skips=True, latent=2), problem)
    families.check(tiny(name, latent_skips=True, attention=8), problem)

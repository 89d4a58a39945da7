"""Both training iterations in PyTorch, written from the method's description, for comparison with ours.

They run in eager mode and, on CUDA, with bfloat16 autocast if requested.

``PUBLISHED`` also does the unnecessary work that the published program is known to do. ``LEAN`` does only what is
needed, batched like ours:

- generator iteration: PUBLISHED decodes a pair nine times for the generator's update and three times for the
  discriminator's, LEAN three times and once;
- classifier iteration: in PUBLISHED gradients flow back through the frozen generator, in LEAN they do not.

Where the description leaves open what the published program does, the twin does what costs less. It encodes an image
once per update. Unused decodes have no gradient, and neither has the network that is not being updated. The decoder's
unused residual blocks do not run, and nothing is read back from the device during the iterations.
"""

import contextlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from benchmarks.pytorch_networks import Discriminator, Generator, WideResNet

PUBLISHED, LEAN = "published", "lean"

Images = Float[Tensor, "batch 3 side side"]
Features = Float[Tensor, "batch channels side/4 side/4"]
Mask = Float[Tensor, "batch 1 side/4 side/4"]


def blend(features_a: Features, features_b: Features, mask: Mask) -> Features:
    """Returns the features of a where the mask is 1 and those of b where it is 0."""
    mask = mask.to(features_a.dtype)
    return mask * features_a + (1 - mask) * features_b


def grid_masks(batch_size: int, side: int, device: torch.device, mix_size: int = 4) -> Mask:
    """Draws a grid of fair coins per image, enlarges it, and crops it at an offset that the batch shares."""
    pad = side // mix_size
    cells = torch.randint(0, 2, (batch_size, 1, mix_size, mix_size), device=device).float()
    row, column = torch.randint(0, pad, (2,)).tolist()  # drawn on the host: nothing waits for the device
    return F.interpolate(cells, size=side + pad, mode="nearest")[:, :, row : row + side, column : column + side]


@lru_cache
def _binomial_kernel(device: torch.device, dtype: torch.dtype) -> Float[Tensor, "3 1 5 5"]:
    weights = torch.tensor([1, 4, 6, 4, 1], device=device, dtype=dtype) / 16
    return torch.outer(weights, weights).expand(3, 1, 5, 5).contiguous()


def _blur(images: Images) -> Images:
    kernel = _binomial_kernel(images.device, images.dtype)
    return F.conv2d(F.pad(images, (2, 2, 2, 2), mode="reflect"), kernel, groups=3)


def _double(images: Images) -> Images:
    batch, channels, height, width = images.shape
    spread = images.new_zeros(batch, channels, 2 * height, 2 * width)
    spread[:, :, ::2, ::2] = images
    return 4 * _blur(spread)


def laplacian_pyramid(images: Images, levels: int = 3) -> list[Images]:
    """Returns the band-pass levels, finest first."""
    pyramid = []
    for _ in range(levels):
        smaller = _blur(images)[:, :, ::2, ::2]
        pyramid.append(images - _double(smaller))
        images = smaller
    return pyramid


def laplacian_pyramid_loss(x: Images, y: Images) -> Float[Tensor, ""]:
    """Sums the mean absolute difference over the levels. The pyramid is linear, so that of the difference suffices."""
    return torch.stack([level.abs().mean() for level in laplacian_pyramid(x - y)]).sum()


class _Training:
    """Base of both stages: how much work is done, in which number format, and the state for checkpoints."""

    def __init__(self, work: str, *, autocast: bool):
        self._published = work == PUBLISHED
        self._autocast = autocast
        self._stateful: dict[str, Any] = {}  # networks, optimizers and schedules, by name

    def state_dict(self) -> dict[str, Any]:
        """Returns everything that a checkpoint needs, except for the state of the random number generator."""
        return {name: part.state_dict() for name, part in self._stateful.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what ``state_dict`` returned."""
        for name, part in self._stateful.items():
            part.load_state_dict(state[name])

    def _mixed_precision(self) -> contextlib.AbstractContextManager[Any]:
        return torch.autocast("cuda", torch.bfloat16) if self._autocast else contextlib.nullcontext()

    def _encode_pair(self, generator: Generator, a: Images, b: Images) -> tuple[Features, Features]:
        if self._published:
            return generator.encoder(a), generator.encoder(b)
        features_a, features_b = generator.encoder(torch.cat([a, b])).chunk(2)
        return features_a, features_b


class AdversarialTraining(_Training):
    """The generator's and the discriminator's updates."""

    def __init__(
        self,
        generator: Generator,
        discriminator: Discriminator,
        work: str,
        *,
        learning_rate: float = 2e-4,
        drops: Sequence[int] = (),
        drop_factor: float = 0.2,
        autocast: bool = False,
    ):
        """Prepares both optimizers; ``work`` is PUBLISHED or LEAN.

        The learning rate is multiplied by ``drop_factor`` after each of the numbers of iterations in ``drops``.
        """
        super().__init__(work, autocast=autocast)
        self.generator, self.discriminator = generator, discriminator
        self._optimizers: dict[nn.Module, torch.optim.Adam] = {
            network: torch.optim.Adam(network.parameters(), lr=learning_rate, betas=(0.5, 0.999))
            for network in (generator, discriminator)
        }
        self._schedules = {
            network: torch.optim.lr_scheduler.MultiStepLR(optimizer, list(drops), drop_factor)
            for network, optimizer in self._optimizers.items()
        }
        for name, network in (("generator", generator), ("discriminator", discriminator)):
            self._stateful[name] = network
            self._stateful[f"{name}_optimizer"] = self._optimizers[network]
            self._stateful[f"{name}_schedule"] = self._schedules[network]

    def iteration(self, a: Images, b: Images, masks: tuple[Mask, Mask], real: Images) -> dict[str, Tensor]:
        """Updates the generator with the first mask, then the discriminator on mixes with the second.

        ``real`` are the images shown to the discriminator as real. Returns the losses without waiting for them.
        """
        losses = self._generator_losses(a, b, masks[0])
        self._update(self.generator, losses["generator"])
        losses["discriminator"] = self._discriminator_loss(real, self._fakes(a, b, masks[1]))
        self._update(self.discriminator, losses["discriminator"])
        return {name: loss.detach() for name, loss in losses.items()}

    def _generator_losses(self, a: Images, b: Images, mask: Mask) -> dict[str, Tensor]:
        self.discriminator.requires_grad_(False)
        with self._mixed_precision():
            features_a, features_b = self._encode_pair(self.generator, a, b)
            decoded = self._decoded((blend(features_a, features_b, mask), features_a, features_b), times=3)
            scores = self.discriminator(decoded[0]).to(a.dtype)
        self.discriminator.requires_grad_(True)
        pairs = ((decoded[1].to(a.dtype), a), (decoded[2].to(a.dtype), b))
        losses = {
            "reconstruction": F.mse_loss(*pairs[0]) + F.mse_loss(*pairs[1]),
            "adversarial": (scores - 1).square().mean(),
            "perceptual": laplacian_pyramid_loss(*pairs[0]) + laplacian_pyramid_loss(*pairs[1]),
        }
        total = 1000 * losses["reconstruction"] + losses["adversarial"] + losses["perceptual"]
        return losses | {"generator": total}

    def _decoded(self, features: Sequence[Features], times: int) -> Sequence[Tensor]:
        """Decodes all features; the published work does so ``times`` times and uses the last results."""
        if not self._published:
            return self.generator.decoder(torch.cat(list(features))).chunk(len(features))
        for _ in range(times - 1):
            for one in features:
                self.generator.decoder(one)
        return [self.generator.decoder(one) for one in features]

    @torch.no_grad()
    def _fakes(self, a: Images, b: Images, mask: Mask) -> Images:
        with self._mixed_precision():
            features_a, features_b = self._encode_pair(self.generator, a, b)
            unused = (features_a, features_b) if self._published else ()
            return self._decoded((blend(features_a, features_b, mask), *unused), times=1)[0].to(a.dtype)

    def _discriminator_loss(self, real: Images, fake: Images) -> Tensor:
        with self._mixed_precision():
            if self._published:
                scores = (self.discriminator(real), self.discriminator(fake))
            else:
                scores = self.discriminator(torch.cat([real, fake])).chunk(2)
        real_scores, fake_scores = (one.to(real.dtype) for one in scores)
        return (real_scores - 1).square().mean() + fake_scores.square().mean()

    def _update(self, network: nn.Module, loss: Tensor) -> None:
        self._optimizers[network].zero_grad()
        loss.backward()
        self._optimizers[network].step()
        self._schedules[network].step()


class ClassifierTraining(_Training):
    """The classifier's update on images mixed by a frozen generator."""

    def __init__(
        self,
        generator: Generator | None,
        classifier: WideResNet,
        work: str,
        *,
        generator_side: int,
        total_steps: int,
        learning_rate: float = 4.6e-3,
        autocast: bool = False,
    ):
        """Prepares the optimizer with the published settings. Without a generator, images are not mixed.

        ``work`` is PUBLISHED or LEAN; the learning rate falls from ``learning_rate`` to 0 over ``total_steps``.
        """
        super().__init__(work, autocast=autocast)
        self._generator, self._classifier, self._side = generator, classifier, generator_side
        self._optimizer = torch.optim.SGD(
            classifier.parameters(), lr=learning_rate, momentum=0.9, nesterov=True, weight_decay=5.3e-3
        )
        self._schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self._optimizer, total_steps)
        self._stateful = {"classifier": classifier, "optimizer": self._optimizer, "schedule": self._schedule}

    def iteration(self, a: Images, b: Images, labels: Int[Tensor, "batch"], mask: Mask | None) -> dict[str, Tensor]:
        """Updates the classifier on mixes of pairs of the labels' classes; returns the loss.

        The loss is not waited for. If ``mask`` is None the batch is not mixed: the classifier sees ``a``.
        """
        with self._mixed_precision():
            images = a
            if self._generator is not None and mask is not None:
                images = self.mixes(a, b, mask)
            logits = self._classifier(images)
        loss = F.cross_entropy(logits.to(a.dtype), labels)
        self._optimizer.zero_grad()
        if self._generator is not None:
            self._generator.zero_grad()
        loss.backward()
        self._optimizer.step()
        self._schedule.step()
        return {"loss": loss.detach()}

    def mixes(self, a: Images, b: Images, mask: Mask) -> Images:
        """Returns mixes of pairs of images by the frozen generator, which there has to be."""
        assert self._generator is not None
        with torch.set_grad_enabled(self._published):
            features_a, features_b = self._encode_pair(self._generator, self._resized(a), self._resized(b))
            mixes = self._generator.decoder(blend(features_a, features_b, mask)).to(a.dtype)
            return _resize(mixes, a.shape[-1])

    def _resized(self, images: Images) -> Images:
        return _resize(images, self._side)


def _resize(images: Images, side: int) -> Images:
    if images.shape[-1] == side:
        return images
    return F.interpolate(images, size=(side, side), mode="bilinear", align_corners=True)

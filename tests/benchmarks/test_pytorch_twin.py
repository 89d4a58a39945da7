"""The PyTorch twin of the speed comparison against the published program's own figures; skipped without torch."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
networks = pytest.importorskip("benchmarks.pytorch_networks")
twin = pytest.importorskip("benchmarks.pytorch_twin")

WORKS = (twin.PUBLISHED, twin.LEAN)
TERMS = ("reconstruction", "adversarial", "perceptual", "generator", "discriminator")


@pytest.fixture
def tensor(reference):
    """A function from a name in the fixture file to its array in double precision, as the reference was computed."""
    return lambda name: torch.from_numpy(reference[name].astype(np.float64))


@pytest.fixture
def weights(reference):
    def of(prefix):
        names = [name for name in reference if name.startswith(prefix) and "decoder.model_blocks" not in name]
        return {name.removeprefix(prefix): torch.from_numpy(reference[name].astype(np.float64)) for name in names}

    return of


def loaded(network, state):
    network = network.double()
    unfilled = network.load_state_dict(state, strict=False)
    assert not unfilled.unexpected_keys
    assert all(name.endswith("num_batches_tracked") for name in unfilled.missing_keys)
    return network


@pytest.fixture
def generator(weights):
    return loaded(networks.Generator(8), weights("generator/"))


@pytest.fixture
def discriminator(weights):
    return loaded(networks.Discriminator(8), weights("discriminator/"))


def assert_same_parameters(network, expected):
    """Relative to each parameter's largest value: biases before an instance norm have gradients of rounding noise."""
    parameters = {name: value for name, value in network.state_dict().items() if name in expected}
    assert parameters.keys() == expected.keys()
    for name, value in parameters.items():
        difference = (value - expected[name]).abs().max() / (expected[name].abs().max() + 1e-9)
        assert difference < 1e-5, name


@pytest.mark.parametrize("work", WORKS)
def test_two_adversarial_iterations_equal_the_reference(work, generator, discriminator, tensor, weights):
    training = twin.AdversarialTraining(generator, discriminator, work)
    a, b, mask = (tensor(f"in/{name}") for name in ("a", "b", "mask"))
    iterations = [training.iteration(a, b, (mask, mask), a) for _ in range(2)]
    losses = [[float(losses[term]) for term in TERMS] for losses in iterations]
    np.testing.assert_allclose(losses, tensor("out/losses"), rtol=1e-6)
    assert_same_parameters(generator, weights("after2/generator/"))
    assert_same_parameters(discriminator, weights("after2/discriminator/"))


def test_three_classifier_steps_equal_the_reference(tensor, weights):
    classifier = loaded(networks.WideResNet(10, 1, 10, dropout_rate=0.0), weights("classifier/"))
    training = twin.ClassifierTraining(None, classifier, twin.LEAN, generator_side=32, total_steps=10)
    images, labels = tensor("in/classifier_images"), tensor("in/classifier_labels").long()
    losses = [float(training.iteration(images, images, labels, None)["loss"]) for _ in range(3)]
    np.testing.assert_allclose(losses, tensor("out/classifier_losses"), rtol=1e-6)
    assert_same_parameters(classifier, weights("after3/classifier/"))


@pytest.mark.parametrize("work", WORKS)
def test_classifier_is_shown_the_mixes_of_the_reference(work, generator, tensor):
    shown = []

    class Classifier(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.head = torch.nn.Linear(3, 10).double()

        def forward(self, images):
            shown.append(images.detach())
            return self.head(images.mean(dim=(2, 3)))

    training = twin.ClassifierTraining(generator, Classifier(), work, generator_side=32, total_steps=10)
    a, b, mask = (tensor(f"in/{name}") for name in ("a", "b", "mask"))
    training.iteration(a, b, torch.tensor([3, 4]), mask)
    np.testing.assert_allclose(shown[0], tensor("out/mixed"), atol=1e-5)  # computed in single precision
    through_generator = [parameter.grad is not None for parameter in generator.parameters()]
    assert all(through_generator) if work == twin.PUBLISHED else not any(through_generator)


def test_without_a_mask_the_classifier_is_shown_the_images_themselves(generator, tensor):
    shown = []
    classifier = networks.WideResNet(10, 1, 10, dropout_rate=0.0).double()
    classifier.register_forward_pre_hook(lambda _, inputs: shown.append(inputs[0].clone()))
    training = twin.ClassifierTraining(generator, classifier, twin.LEAN, generator_side=32, total_steps=10)
    training.iteration(tensor("in/a"), tensor("in/b"), torch.tensor([3, 4]), None)
    assert torch.equal(shown[0], tensor("in/a"))


def test_learning_rates_of_both_networks_drop_after_the_given_iterations(generator, discriminator, tensor):
    training = twin.AdversarialTraining(generator, discriminator, twin.LEAN, learning_rate=0.1, drops=(1, 3))
    a, b, mask = (tensor(f"in/{name}") for name in ("a", "b", "mask"))
    rates = []
    for _ in range(4):
        rates.append([optimizer.param_groups[0]["lr"] for optimizer in training._optimizers.values()])
        training.iteration(a, b, (mask, mask), a)
    np.testing.assert_allclose(rates, np.transpose([[0.1, 0.02, 0.02, 0.004]] * 2))


def test_resizes_equal_the_reference(tensor):
    for name, side in (("out/resize_up", 64), ("out/resize_down", 16)):
        np.testing.assert_allclose(twin._resize(tensor("in/a"), side), tensor(name), atol=1e-6)


@pytest.mark.parametrize(("work", "decodes"), [(twin.PUBLISHED, 12), (twin.LEAN, 4)])
def test_pairs_are_decoded_as_often_as_the_work_says(work, decodes, generator, discriminator, tensor):
    decoded = []
    generator.decoder.register_forward_hook(lambda _, inputs, __: decoded.append(len(inputs[0])))
    a, b, mask = (tensor(f"in/{name}") for name in ("a", "b", "mask"))
    twin.AdversarialTraining(generator, discriminator, work).iteration(a, b, (mask, mask), a)
    assert sum(decoded) == decodes * len(a)


def test_decoder_with_residual_blocks_uses_the_published_names(reference):
    names = {name.removeprefix("generator/") for name in reference if name.startswith("generator/")}
    assert networks.Generator(8, decoder_residual_blocks=2).state_dict().keys() == names


def test_grid_masks_are_cells_of_a_stretched_grid():
    torch.manual_seed(0)
    masks = twin.grid_masks(100, 16, torch.device("cpu"))
    assert masks.shape == (100, 1, 16, 16)
    assert set(masks.unique().tolist()) == {0.0, 1.0}
    assert 0.4 < float(masks.mean()) < 0.6
    changes = (masks.diff(dim=2) != 0).sum(dim=2)
    assert int(changes.max()) <= 4  # of 5 cells at most, in which rows of 16 can be cut

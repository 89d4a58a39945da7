"""Own functions that return something else than they must are refused, with file and line."""

import pytest

from chimeramix_jax import config as settings
from chimeramix_jax.errors import InputError
from chimeramix_jax.training import own_functions

BEGINNING = """import jax.numpy as jnp
from flax import nnx
from chimeramix_jax import extensions
from chimeramix_jax.models.pooled import PooledClassifier
"""
NETWORK = """
@extensions.network("mine")
class Mine(PooledClassifier):
    def __init__(self, num_classes, *, dropout_rate, dtype, rngs):
        self.head = nnx.Linear(3, num_classes, rngs=rngs)
    def feature_maps(self, images, *, example_mask=None, dropout_key=None):
        return images
"""


pytestmark = pytest.mark.usefixtures("nothing_registered")


@pytest.fixture
def checked(tmp_path):
    """Checks a file's function, of whose kind the setting ``key`` names one."""

    def check(key, content):
        path = tmp_path / "mine.py"
        path.write_text(f"{BEGINNING}{content}\nextensions.experiment('mine', {{'{key}': 'mine'}})")
        config = settings.load(str(path))
        config.classifier.batch_size = 4
        settings.check(config, environment=False)
        own_functions.check(config)

    return check


def function(kind, arguments, value):
    return f"\n@extensions.{kind}('mine')\ndef mine({arguments}):\n    return {value}\n"


AUGMENTATION, MASK, LOSS = (
    ("augmentation", "key, images"),
    ("mask", "key, batch, side, images"),
    ("loss", "logits, labels"),
)
ZEROS = "jnp.zeros((images, batch, side, side, 1))"


@pytest.mark.parametrize(
    ("key", "content"),
    [
        ("augment.own", function(*AUGMENTATION, "images * 0.5")),
        ("mixing.mask", function(*MASK, "jnp.zeros((batch, side, side), jnp.int32)")),
        ("mixing.mask", function(*MASK, ZEROS)),
        ("classifier.loss", function(*LOSS, "logits[:, 0]")),
        ("classifier.model", NETWORK),
    ],
)
def test_functions_that_return_what_is_needed_are_accepted(checked, key, content):
    checked(key, content)


@pytest.mark.parametrize(
    ("key", "content", "complaint"),
    [
        (
            "augment.own",
            function(*AUGMENTATION, "images[:, 1:]"),
            "mine.py:6: augmentation 'mine' returns float32 of shape (4, 15, 16, 3); it must be float32 of shape "
            "(4, 16, 16, 3)",
        ),
        ("augment.own", function(*AUGMENTATION, "(images * 9).astype(jnp.uint8)"), "returns uint8 of shape"),
        ("augment.own", function(*AUGMENTATION, "None"), "returns a NoneType; it must be float32"),
        (
            "augment.own",
            function("augmentation", "images", "images"),
            "mine.py:6: TypeError: mine() takes 1 positional",
        ),
        (
            "augment.own",
            function(*AUGMENTATION, "images if images.sum() > 0 else key"),
            "mine.py:8: TracerBoolConversion",
        ),
        (
            "mixing.mask",
            function(*MASK, "jnp.zeros((batch, side), jnp.int32)"),
            "mask 'mine' returns int32 of shape (4, 8); it must be float32 of shape (2, 4, 8, 8, 1) or int32 of shape "
            "(4, 8, 8)",
        ),
        (
            "classifier.loss",
            function(*LOSS, "logits.mean()"),
            "loss 'mine' returns float32 of shape (); it must be float32 of shape (4,): the loss of each image",
        ),
        ("classifier.loss", function(*LOSS, "logits[:, 0] + nosuch"), "mine.py:8: NameError: name 'nosuch' is not"),
        (
            "classifier.model",
            NETWORK.replace("Linear(3", "Linear(5"),
            "have the shape (2, 16, 16, 3); it must be (2, height",
        ),
        (
            "classifier.model",
            NETWORK.replace("3, num_classes", "3, 7"),
            "its head is Linear of 7 outputs; for 3 classes",
        ),
        (
            "classifier.model",
            NETWORK.replace("(PooledClassifier)", "(nnx.Module)"),
            "is a Mine; it must be a PooledClassifier",
        ),
        (
            "classifier.model",
            NETWORK.replace("self.head", "self.dropout = nnx.Dropout(0.5, rngs=rngs)\n        self.head"),
            "has variables of type RngCount, RngKey; it may have nnx.Param and nnx.BatchStat alone",
        ),
        ("classifier.model", NETWORK.replace("return images", "return images @ 1"), "mine.py:11: ValueError: matmul"),
    ],
)
def test_functions_that_return_something_else_are_refused(checked, key, content, complaint):
    with pytest.raises(InputError) as caught:
        checked(key, content)
    assert complaint in str(caught.value) and "\n" not in str(caught.value)

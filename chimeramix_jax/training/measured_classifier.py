"""A classifier as it is measured: its metrics, logits and features in any state of its training."""

from collections.abc import Sequence
from functools import partial

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, UInt8
from ml_collections import ConfigDict

from chimeramix_jax.models.classifier import Classifier
from chimeramix_jax.models.ensemble import Ensemble, members_of
from chimeramix_jax.runtime.precision import computing
from chimeramix_jax.training.calls import State
from chimeramix_jax.training.classification_step import evaluated
from chimeramix_jax.training.evaluation import Evaluation, TestSet, evaluate_logits
from chimeramix_jax.training.evaluation_views import EvaluationViews
from chimeramix_jax.training.networks import parameters_and_statistics
from chimeramix_jax.training.prediction import predict_with_features


class MeasuredClassifier:
    """A classifier with the held-out images that it is measured on; one program serves all states and images."""

    def __init__(self, classifier: Classifier, test_set: TestSet, config: ConfigDict):
        """Prepares measuring a classifier.

        Args:
            classifier: has the structure of what is measured, in evaluation mode; its values are not used.
            test_set: the held-out images; there may be none.
            config: the run's settings.
        """
        self.network: nnx.GraphDef[Classifier] = nnx.graphdef(classifier)
        self.test_set, self.config = test_set, config
        self._predict = jax.jit(partial(predict_with_features, self.network, views=EvaluationViews.of(config)))

    def joined(self, states: Sequence[State]) -> tuple["MeasuredClassifier", State]:
        """Joins the trained members of an ensemble: returns the ensemble as it is measured, and its state.

        ``states`` are those of several classifiers of this structure.
        """
        trained = [nnx.merge(self.network, *evaluated(state)) for state in states]
        ensemble = Ensemble([member for classifier in trained for member in members_of(classifier)])
        parameters, statistics = parameters_and_statistics(ensemble)
        state = {"parameters": parameters, "batch_statistics": statistics}
        return MeasuredClassifier(ensemble, self.test_set, self.config), state

    def evaluate(self, state: State) -> dict[str, float]:
        """Returns top-1 accuracy and loss on the held-out images, if any, named after the split they come from."""
        if not len(self.test_set.labels):
            return {}
        evaluation, split = self.measure(state), self.config.dataset.evaluate_on
        return {f"{split}_top1": evaluation.top1, f"{split}_loss": evaluation.loss}

    def measure(self, state: State) -> Evaluation:
        """Returns all metrics of the held-out images."""
        return evaluate_logits(self.logits(state), self.test_set.labels)

    def logits(self, state: State) -> Float[np.ndarray, "examples classes"]:
        """Returns the logits of the held-out images, in their order."""
        with computing(self.config.precision):
            return self.test_set.logits(lambda images: self._outputs(state, images)[0])

    def logits_and_features(
        self, state: State
    ) -> tuple[Float[np.ndarray, "examples classes"], Float[np.ndarray, "examples channels"]]:
        """Returns the logits of the held-out images and their features (``predict_with_features``), in their order."""
        with computing(self.config.precision):
            logits, features = self.test_set.outputs(partial(self._outputs, state))
            return logits, features

    def features(
        self, state: State, images: UInt8[np.ndarray, "examples side side 3"]
    ) -> Float[np.ndarray, "examples channels"]:
        """Returns the features of other images, computed by the compiled program of the held-out images."""
        with computing(self.config.precision):
            return self.test_set.outputs_of(images, partial(self._outputs, state))[1]

    def logits_of(
        self, state: State, images: UInt8[np.ndarray, "examples side side 3"]
    ) -> Float[np.ndarray, "examples classes"]:
        """Returns the logits of other images, computed in the same way."""
        with computing(self.config.precision):
            return self.test_set.outputs_of(images, partial(self._outputs, state))[0]

    def _outputs(
        self, state: State, images: UInt8[Array, "batch side side 3"]
    ) -> tuple[Float[Array, "batch classes"], Float[Array, "batch channels"]]:
        return self._predict(*evaluated(state), images)

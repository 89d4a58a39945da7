"""The stages whose memory is shown, without data."""

import jax
import pytest

from benchmarks import memory
from chimeramix_jax import config as settings


@pytest.mark.parametrize("stage_of", [memory.generator_stage, memory.classifier_stage])
def test_a_step_with_masks_along_segments_compiles_and_needs_memory(stage_of):
    config = settings.load("configs/digits.py:chimeramix_segmentation")
    config.update_from_flattened_dict(
        {
            "generator.channels": 4,
            "generator.discriminator_channels": 4,
            "generator.residual_blocks": 1,
            "classifier.model": "wrn-10-1",
            "max_labels_per_class": 1,
        }
    )
    stage = stage_of(config)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(stage.inputs))  # the GPU kit also runs the step
    images = stage.inputs.data
    segments = [len(set(labels.ravel().tolist())) for labels in images.segments]
    assert max(segments) > 1  # a mask has segments to choose from
    given, working = memory.memory(memory.compiled(stage))
    assert given > 0 and working > 0

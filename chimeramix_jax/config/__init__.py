"""Loads, checks, compares and stores the settings of a run.

Nothing here imports JAX or TensorFlow Datasets, so a mistake in the settings is reported at once.
"""

from chimeramix_jax.config.checking import (
    MEASURING_STAGES,
    STAGES,
    check,
    check_mixed_images,
    needs_generator,
    refuse_enlarged,
)
from chimeramix_jax.config.comparing import (
    NO_EFFECT_ON_RESULTS,
    OF_MASKS,
    OF_MEASURING,
    differences,
    generator_identity,
    generator_settings,
    leaving_out,
    shortened,
)
from chimeramix_jax.config.defaults import SETTINGS
from chimeramix_jax.config.each_setting import check_key, check_value
from chimeramix_jax.config.experiments import AUTO, folds_of_choice, parse_recipes
from chimeramix_jax.config.loading import (
    load,
    load_search_space,
    overridden,
    override,
    register_from,
    shipped_settings,
)
from chimeramix_jax.config.naming import default_workdir
from chimeramix_jax.config.own_code import CODES, code_arguments, codes, record
from chimeramix_jax.config.rules import LARGEST_SEED
from chimeramix_jax.config.seed_lists import SEED_PLACE, config_of_seed, parse_seeds, seed_in, with_seed
from chimeramix_jax.config.side_lists import parse_growing_sides, parse_larger_sides
from chimeramix_jax.config.storing import (
    PATHS,
    config_to_dict,
    flatten,
    from_dict,
    from_json,
    to_json,
    with_absolute_paths,
)

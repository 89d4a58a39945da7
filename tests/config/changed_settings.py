"""Settings that are not as they should be."""

from ml_collections import ConfigDict

from chimeramix_jax import config as settings


def changed(config: ConfigDict, key: str, value: object) -> ConfigDict:
    """Returns settings in which a key has an arbitrary value of any type."""
    plain = settings.config_to_dict(config)
    *groups, last = key.split(".")
    holder = plain
    for group in groups:
        holder = holder[group]
    holder[last] = value
    return ConfigDict(plain, convert_dict=True)

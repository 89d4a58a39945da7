"""What pyproject.toml has no words for: configs/ stands beside the package here, and is installed within it."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["chimeramix_jax*"]), "chimeramix_jax.configs"],
    package_dir={"chimeramix_jax.configs": "configs"},
)

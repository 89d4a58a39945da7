"""What a config may ask for; without JAX, so that checking a config stays fast."""

POLICY_NAMES = ("none", "autoaugment_cifar10", "autoaugment_imagenet", "trivialaugment")  # augment/policies.py has each

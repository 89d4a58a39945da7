"""What a config may ask for; without JAX, so that checking a config stays fast."""

POLICIES = ("none", "autoaugment", "trivialaugment")  # augment/policies.py
AUTOAUGMENT_POLICIES = ("cifar10", "imagenet")  # the data sets that AutoAugment's policies were found on

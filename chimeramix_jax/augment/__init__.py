"""Augmentation of images on the device."""

"""The experiments of the published study: what each changes in a data set's settings."""

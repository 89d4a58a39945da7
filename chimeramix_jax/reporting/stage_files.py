"""The names of what a training stage writes into its directory."""

CHECKPOINTS = "checkpoints"  # a folder (training/checkpoints.py)
METRICS = "metrics.jsonl"  # reporting/metrics.py reads and writes it
PICTURES = "pictures"  # a folder of mixes during training (reporting/picture_folder.py)

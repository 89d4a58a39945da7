"""The two training stages, the loop that runs them, and their checkpoints."""

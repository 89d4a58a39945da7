"""The flags of ``--launcher=ray``, which sweeps and searches have in common."""

from chimeramix_jax.command_line.flags import Arguments, Flag
from chimeramix_jax.sweep import ray_cluster

RAY_FLAGS = (
    Flag(
        "ray_address=ADDRESS",
        "HOST:PORT of a cluster that this machine belongs to, auto, or local for a new one of this machine alone. "
        "Default: RAY_ADDRESS or else auto, which finds the cluster that runs here.",
    ),
    Flag("ray_cpus=N", "CPU cores of a run. Default: 1; with --ray_gpus, Ray counts one, and no core is reserved."),
    Flag("ray_gpus=N", "GPUs of a run. Default: none."),
    Flag("ray_memory_gb=N", "Main memory of a run, which Ray counts but does not limit. Default: not counted."),
)


def resources(parsed: Arguments) -> ray_cluster.RayResources:
    """Returns the resources of a run that the flags request."""
    return ray_cluster.RayResources(cpus=parsed.ray_cpus, gpus=parsed.ray_gpus, memory_gb=parsed.ray_memory_gb)

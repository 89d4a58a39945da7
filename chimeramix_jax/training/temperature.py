"""Temperature scaling: a number by which a classifier's logits are divided, so that its probabilities can be trusted.

C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger, *On calibration of modern neural networks*, ICML 2017. The temperature
minimises the negative log-likelihood of images that the classifier was not trained on. It changes no prediction, since
dividing by a positive number keeps the order of the logits.
"""

import numpy as np
from jaxtyping import Float, Int
from scipy import special

_GRID = np.linspace(-6.0, 6.0, 49)  # binary logarithms of 1 / temperature: the minimum is beside the best of these


def fitted_temperature(logits: Float[np.ndarray, "examples classes"], labels: Int[np.ndarray, "examples"]) -> float:
    """Returns the temperature that suits the logits best, which must be finite.

    The likelihood alone has no best temperature if every image is classified correctly: it would make the classifier
    ever more certain. A weak prior prevents that, which matters for few images only: before any image is seen, the
    binary logarithm of the temperature has a standard normal distribution, so that 1 is the most likely value, and 2 or
    1/2 are one standard deviation away.
    """
    from scipy import optimize  # takes as long to import as everything else that predicting needs of SciPy

    gaps = logits.astype(np.float64) - logits[np.arange(len(labels)), labels, None]

    def cost(binary_logarithm: float) -> float:
        likelihood = special.logsumexp(2.0**binary_logarithm * gaps, axis=1)
        return float(np.sum(likelihood)) + binary_logarithm**2 / 2

    best = int(np.argmin([cost(value) for value in _GRID]))
    around = _GRID[max(best - 1, 0)], _GRID[min(best + 1, len(_GRID) - 1)]
    found = optimize.minimize_scalar(cost, bounds=around, method="bounded", options={"xatol": 1e-4})
    return float(2.0**-found.x)


def probabilities(
    logits: Float[np.ndarray, "examples classes"], temperature: float | Float[np.ndarray, "examples"] = 1.0
) -> Float[np.ndarray, "examples classes"]:
    """Returns the class probabilities at a temperature, or at one for each image."""
    divisor = np.broadcast_to(np.asarray(temperature, np.float64), len(logits))
    return special.softmax(logits.astype(np.float64) / divisor[:, None], axis=1)

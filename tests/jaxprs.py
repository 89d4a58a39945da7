"""Looking into traced programs."""

import jax


def equations(jaxpr, *names):
    """All equations of some primitives, those of inner programs among them."""
    found = []
    for equation in jaxpr.eqns:
        found += [equation] if equation.primitive.name in names else []
        for inner in jax.tree.leaves(list(equation.params.values())):
            inner = getattr(inner, "jaxpr", inner)
            found += equations(inner, *names) if hasattr(inner, "eqns") else []
    return found


def products(jaxpr):
    """All convolutions and matrix products."""
    return equations(jaxpr, "conv_general_dilated", "dot_general")

"""The formats of generated images; importing them does not load JAX."""

PNG = "png"
ARRAY_RECORD = "array_record"
FORMATS = (PNG, ARRAY_RECORD)

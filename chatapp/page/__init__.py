"""A trace as one HTML page: gathered, drawn and written. Nothing here needs a model, a screen or a network."""

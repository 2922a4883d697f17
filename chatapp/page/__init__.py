"""A trace as one page of HTML: gathered, drawn and written. Nothing here needs a model, a screen or a network."""

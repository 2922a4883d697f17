"""How many first tokens a model needs, measured once."""

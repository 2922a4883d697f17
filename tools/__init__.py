"""What `make` runs to set swachat up: the standard library alone, on any Python that is asked to say it is too old."""

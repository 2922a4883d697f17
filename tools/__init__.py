"""What `make` runs to set up swachat: standard library only, on any Python, even one too old for swachat."""

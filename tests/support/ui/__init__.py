"""Apps that tests of the interface run."""

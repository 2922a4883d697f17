"""What is shown of the cache, as data: no screen, no model."""

"""What a load would do, before a weight is read."""

"""What the model attends to, read out of a decode."""

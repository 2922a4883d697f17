"""The inspector's panels and what they draw with."""

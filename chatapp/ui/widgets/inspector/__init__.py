"""The inspector: its panels, and what they draw."""

"""What each action does, and the table that finds it."""

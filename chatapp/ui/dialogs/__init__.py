"""Questions and lists over the chat."""

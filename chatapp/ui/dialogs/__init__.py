"""Dialogs over the chat: questions and lists."""

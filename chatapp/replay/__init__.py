"""Trace files: how a conversation is recorded, and how it is read again. Nothing here knows a screen or a model."""

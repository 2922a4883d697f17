"""Trace files: recording a conversation and reading it back. Nothing here knows a screen or a model."""

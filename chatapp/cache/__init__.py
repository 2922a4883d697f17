"""Decisions about the KV cache, as pure functions over plain data: no llama.cpp, no screen, no files."""

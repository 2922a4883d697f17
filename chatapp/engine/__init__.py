"""The engine: a process of its own that owns llama.cpp, and the client that talks to it."""

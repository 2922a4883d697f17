"""Every call into llama.cpp and ggml, each signature and struct once, and what is read from their logs."""

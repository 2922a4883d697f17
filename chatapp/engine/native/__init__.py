"""Every call into llama.cpp and ggml, with each signature and struct defined once, and the parsing of their logs."""

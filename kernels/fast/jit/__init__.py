"""The kernels themselves, in Numba: plain loops over plain arrays; `kernels.fast` calls them with checked shapes."""

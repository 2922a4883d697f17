"""The cache map as data: which tokens each block stands for, and what is said of it."""

"""The cache and its ledger, changed together."""

"""The command `release`."""

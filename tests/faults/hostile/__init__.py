"""Nodes that lie in every way that we could think of, beside honest ones: what it costs whom."""

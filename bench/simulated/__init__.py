"""Nodes that are no machines: SSH servers, many to a process, that say what our node program says and do nothing."""

"""Reads an archive nobody trusts and writes it again as one a node may extract.

These modules run in a child process with limits (`deploys.packages.repack_process`): they import the standard library
and each other, never Django.
"""

"""Agents propose changes, measurements decide: the ledger-driven fix loop of this repository.

Knows the simulator only by its commands and files; imports neither it nor torch nor numpy.
"""

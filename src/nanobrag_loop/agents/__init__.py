"""Agents: programs that are given a prompt and propose a change."""

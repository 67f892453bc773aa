"""Findings on a pair of trees: protected files, tests, the policy of roles."""

"""Comparison of this program with a C build of nanoBragg: runners, comparisons, random differential tests."""

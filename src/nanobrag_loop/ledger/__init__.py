"""The ledger: text without loss, a typed view, lint, edits, merge."""

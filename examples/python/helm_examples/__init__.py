"""Programs that work with helmd over its socket (docs/api.md)."""

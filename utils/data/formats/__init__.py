"""Annotation formats: one module a format, recognised by content. `registry` has the list and the entry points."""

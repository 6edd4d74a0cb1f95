"""The version of the plugin API; alone in its file, since `list` compares it without importing NumPy."""

VERSION = "1.6"
"""Grows its second number with each addition, its first with each change that breaks a plugin."""

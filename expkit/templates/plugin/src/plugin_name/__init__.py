"""Plugins for expkit, one component a file."""

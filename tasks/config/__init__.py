"""Sections of a configuration -> objects, checked."""

"""A dictionary -> the record and fx modules on the meta device, with all errors in one pass."""

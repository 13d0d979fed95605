"""JSON Schema of the language, for editors."""

from blocks.graph.describe.schema.model import schemas
from blocks.graph.describe.schema.parts import format_schema

__all__ = ["format_schema", "schemas"]
